//! Data packets: where every field and payload lies, in-place edits, and the forms packets take on the network.
//!
//! [`Layout::parse`] walks a packet once and remembers positions; everything else (re-timing, key bits, filtering,
//! padding removal) works from them. A packet that breaks a rule of `docs/protocol/asf.md` §6 is an error, never a
//! panic. [`compose()`] lays a choice of its payloads into a new packet.

mod compose;
mod layout;
mod payload;
mod writer;

use thiserror::Error;

use crate::bytes::guid_at;
use crate::guid;

pub(crate) use self::compose::all_payloads;
pub use self::compose::{Fit, compose, restore_padding};
pub use self::layout::{Layout, PAYLOADS_MAX};
pub use self::payload::{Parts, Payload, Replicated};
pub use self::writer::{Fragmented, PacketWriter};

/// The first three bytes of every packet we send: two bytes of error correction data, all zero (§6.2).
pub const PREFIX: [u8; 3] = [0x82, 0, 0];

/// True when the bytes at a packet boundary are no packet but the end of the data: an index or another top-level
/// object, or a stray `$E` chunk (§6.5). Needs 16 bytes to see an object, 4 for `$E`.
pub fn ends_data(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x24, 0x45, 0x08, 0x00])
        || guid_at(bytes, 0).is_some_and(|id| guid::TOP_LEVEL.contains(&id))
}

/// Why a packet is dropped. Offsets in bytes from the packet's start.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum PacketError {
    /// Shorter than its own fields say.
    #[error("packet ends inside its {field} at offset {at}")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where.
        at: usize,
    },
    /// Error correction length type is not 0.
    #[error("error correction flags 0x{flags:02x}: length type is not 0")]
    ErrorCorrection {
        /// First byte.
        flags: u8,
    },
    /// The stream number does not have one byte: this is no packet.
    #[error("length type flags 0x{flags:02x}, property flags 0x{property:02x}: not a packet")]
    NotAPacket {
        /// Length type flags.
        flags: u8,
        /// Property flags.
        property: u8,
    },
    /// The declared packet length is longer than the packet.
    #[error("packet length {declared} in a packet of {have} bytes")]
    Length {
        /// As written.
        declared: u32,
        /// Bytes at hand.
        have: usize,
    },
    /// Padding reaches into the packet's own fields.
    #[error("padding of {padding} bytes in a packet of {have}")]
    Padding {
        /// As written.
        padding: u32,
        /// Bytes at hand.
        have: usize,
    },
    /// Payload lengths have no bytes in a packet of several payloads.
    #[error("payload flags 0x{flags:02x}: payloads without lengths")]
    PayloadFlags {
        /// Payload flags.
        flags: u8,
    },
    /// Replicated data of 2 to 7 bytes.
    #[error("replicated data of {bytes} bytes at offset {at}")]
    Replicated {
        /// As written.
        bytes: u32,
        /// Where the payload begins.
        at: usize,
    },
    /// Sub-payloads of a compressed payload do not add up.
    #[error("compressed payload at offset {at}: its parts do not add up")]
    Compressed {
        /// Where the payload begins.
        at: usize,
    },
    /// The packet does not fit the size every packet of the stream must have.
    #[error("packet of {have} bytes where packets have {packet_bytes}")]
    Size {
        /// Bytes needed or at hand.
        have: usize,
        /// Bytes allowed.
        packet_bytes: usize,
    },
}
