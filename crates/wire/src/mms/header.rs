//! The two fixed headers: `TcpMessageHeader` in front of messages, 8 bytes in front of Data packets.
//!
//! Told apart by bytes 4–7 (section 2.5). Sizes and limits of both live here.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in front of every message.
pub const MESSAGE_HEADER_BYTES: usize = 32;
/// Bytes in front of every Data packet's payload.
pub const DATA_HEADER_BYTES: usize = 8;
/// Largest `messageLength` accepted. The largest real message is Logging with 1,520 (section 7.1).
pub const MESSAGE_LENGTH_MAX: u32 = 64 * 1024;
/// Smallest `messageLength`: the rest of the header and one empty message.
pub const MESSAGE_LENGTH_MIN: u32 = 24;
/// `sessionId`: the mark by which messages are told from Data packets (section 2.3).
pub const SESSION_ID: u32 = 0xB00B_FACE;
/// `seal`: ASCII "MMS ".
pub const SEAL: u32 = 0x2053_4D4D;
/// Largest ASF packet served: larger ones could imitate a message header (section 2.5).
pub const ASF_PACKET_BYTES_MAX: u32 = 32 * 1024;

/// `TcpMessageHeader`, section 2.3 (MS-MMSP 2.2.3). All integers little-endian.
///
/// ```text
/// | rep 1 | version 1 | minor 1 | pad 1 | session id 4 | message length 4 | seal 4 |
/// | chunk count 4 | seq 2 | zero 2 | time sent 8 |
/// ```
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct TcpMessageHeader {
    /// 1; real servers vary it, so it is never checked.
    pub rep: u8,
    /// 0.
    pub version: u8,
    /// 0.
    pub version_minor: u8,
    /// Ignored.
    pub padding: u8,
    /// [`SESSION_ID`].
    pub session_id: U32,
    /// Size of the messages + 16: bytes from `seal` to the end.
    pub message_length: U32,
    /// [`SEAL`].
    pub seal: U32,
    /// Sent as `message_length / 8`, as every real sender does; never checked.
    pub chunk_count: U32,
    /// The sender's own counter, from 0.
    pub sequence: U16,
    /// 0.
    pub zero: U16,
    /// Milliseconds, or 0, or garbage.
    pub time_sent: U64,
}
const _: () = assert!(size_of::<TcpMessageHeader>() == MESSAGE_HEADER_BYTES);

impl TcpMessageHeader {
    /// The header for `body_bytes` of messages (a multiple of 8).
    pub fn new(body_bytes: u32, sequence: u16) -> Self {
        let length = body_bytes.saturating_add(16);
        Self {
            rep: 1,
            version: 0,
            version_minor: 0,
            padding: 0,
            session_id: SESSION_ID.into(),
            message_length: length.into(),
            seal: SEAL.into(),
            chunk_count: (length / 8).into(),
            sequence: sequence.into(),
            zero: 0.into(),
            time_sent: 0.into(),
        }
    }
}

/// Header of a Data packet, section 3. Identical on TCP and UDP.
///
/// ```text
/// | location id 4 | play incarnation 1 | AFFlags 1 | packet size 2 (with these 8 bytes) |
/// ```
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct DataHeader {
    /// Number of the ASF packet, or of the header fragment.
    pub location_id: U32,
    /// Low byte of the incarnation that asked for this data.
    pub play_incarnation: u8,
    /// Header: 0x04 … 0x0C. Media: low byte of the sequence number.
    pub af_flags: u8,
    /// Payload + 8.
    pub packet_size: U16,
}
const _: () = assert!(size_of::<DataHeader>() == DATA_HEADER_BYTES);

impl DataHeader {
    /// AFFlags of a header fragment that is not the last (section 3.2).
    pub const HEADER_MORE: u8 = 0x04;
    /// AFFlags of the last or only header fragment.
    pub const HEADER_LAST: u8 = 0x0C;
    /// Incarnation of header and media after a StreamChange, and of packet-pair packets.
    pub const INCARNATION_STREAM_CHANGE: u8 = 0xFF;
    /// Largest payload: the size field has 16 bits.
    pub const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize - DATA_HEADER_BYTES;

    /// A header for `payload_bytes`, which the caller keeps at or below [`Self::PAYLOAD_BYTES_MAX`].
    pub fn new(location_id: u32, play_incarnation: u8, af_flags: u8, payload_bytes: usize) -> Self {
        debug_assert!(payload_bytes <= Self::PAYLOAD_BYTES_MAX);
        let size = u16::try_from(payload_bytes + DATA_HEADER_BYTES).unwrap_or(u16::MAX);
        Self {
            location_id: location_id.into(),
            play_incarnation,
            af_flags,
            packet_size: size.into(),
        }
    }

    /// Is this the last fragment of an ASF header? 0x08 is accepted as well (section 3.2).
    pub fn ends_asf_header(&self) -> bool {
        self.af_flags & 0x08 != 0
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn data_header_of_section_14() {
        let bytes = hex!("B4 14 00 00 0A 00 AC 05");
        let header = DataHeader::read_from_bytes(&bytes).unwrap();
        assert_eq!(header, DataHeader::new(5300, 10, 0, 1444));
        assert_eq!(header.as_bytes(), bytes);
    }

    #[test]
    fn last_fragment_of_section_14() {
        let bytes = hex!("00 00 00 00 01 0C 37 03");
        let header = DataHeader::new(0, 1, DataHeader::HEADER_LAST, 815);
        assert_eq!(header.as_bytes(), bytes);
        assert!(header.ends_asf_header());
        assert!(!DataHeader::new(0, 1, DataHeader::HEADER_MORE, 815).ends_asf_header());
    }

    #[test]
    fn chunk_count_is_the_length_in_units_of_8() {
        let bytes = hex!(
            "01 00 00 00 CE FA 0B B0 20 00 00 00 4D 4D 53 20 04 00 00 00 07 00 00 00 00 00 00 00 00 00 00 00"
        );
        assert_eq!(TcpMessageHeader::new(16, 7).as_bytes(), bytes); // section 14, StopPlaying
    }
}
