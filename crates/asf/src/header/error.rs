//! Why a header is refused: each rule of `docs/protocol/asf.md` §18 by its name, with the offending number.

use thiserror::Error;

use crate::header::{
    HEADER_BYTES_MAX, HEADER_BYTES_MIN, PACKET_BYTES_MAX, PACKET_BYTES_MIN, WIRE_BYTES_MAX,
};

/// Why a header is refused. Sizes in bytes.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The first bytes are not the Header Object's GUID.
    #[error("not ASF: the first bytes are not a Header Object")]
    NotAsf,
    /// Outside [`HEADER_BYTES_MIN`]…[`HEADER_BYTES_MAX`]; all ones is FFmpeg writing a header over 32 KB to a pipe.
    #[error("Header Object of {size} bytes (allowed: {HEADER_BYTES_MIN} to {HEADER_BYTES_MAX})")]
    HeaderSize {
        /// As written.
        size: u64,
    },
    /// Fewer bytes than the header says it has.
    #[error("the header is cut off after {have} bytes")]
    Truncated {
        /// Bytes at hand.
        have: usize,
    },
    /// The second reserved byte is not 2.
    #[error("reserved byte of the Header Object is {value}, not 2")]
    Reserved {
        /// As written.
        value: u8,
    },
    /// A child's size is below 24 or runs past its container.
    #[error("header object at offset {at} says it has {size} bytes, {room} are there")]
    ObjectSize {
        /// Offset in the header.
        at: usize,
        /// As written.
        size: u64,
        /// Bytes left in the container.
        room: usize,
    },
    /// An object is shorter than its fixed fields.
    #[error("{object} Object of {size} bytes is too short")]
    ObjectTooShort {
        /// Name of the object.
        object: &'static str,
        /// Its size.
        size: usize,
    },
    /// No File Properties Object.
    #[error("no File Properties Object")]
    NoFileProperties,
    /// A second File Properties Object.
    #[error("two File Properties Objects")]
    FilePropertiesTwice,
    /// Minimum and maximum differ, or are outside the limits for serving.
    #[error(
        "packet size {minimum} to {maximum}: must be one size from {PACKET_BYTES_MIN} to {PACKET_BYTES_MAX}"
    )]
    PacketSize {
        /// Minimum packet size.
        minimum: u32,
        /// Maximum packet size.
        maximum: u32,
    },
    /// 2^31 ms or more.
    #[error("preroll of {preroll_ms} ms")]
    Preroll {
        /// As written.
        preroll_ms: u64,
    },
    /// No stream at all.
    #[error("no streams")]
    NoStreams,
    /// Stream numbers start at 1.
    #[error("a stream has number 0")]
    StreamNumberZero,
    /// Two streams share a number.
    #[error("two streams have number {stream}")]
    StreamTwice {
        /// The number.
        stream: u8,
    },
    /// Type-specific and error correction data run past the object.
    #[error("stream {stream}: its data runs past the Stream Properties Object")]
    StreamDataOverrun {
        /// Stream number.
        stream: u8,
    },
    /// Type-specific data shorter than an audio or video header.
    #[error("stream {stream}: type-specific data too short for its type")]
    StreamDataTooShort {
        /// Stream number.
        stream: u8,
    },
    /// The Data Object does not follow the Header Object.
    #[error("no Data Object behind the header")]
    NoDataObject,
    /// A rewritten header would not fit the 16-bit lengths of the protocols.
    #[error("header of {size} bytes does not fit the wire (at most {WIRE_BYTES_MAX})")]
    WireSize {
        /// Bytes.
        size: usize,
    },
}
