//! Multicast datagrams (MS-MSB): packets, beacons, and the parity that restores a lost packet
//! (`docs/protocol/msb-nsc.md` §2–§4).
//!
//! Decode with [`Datagram::decode`], look at the error correction part of a packet's ASF packet with
//! [`Correction::decode`]. The headers are elsewhere, in an [`nsc`](crate::nsc) file.

mod correction;
mod datagram;
mod parity;

pub use correction::{Correction, CorrectionError, Place};
pub use datagram::{
    ASF_PACKET_BYTES_MAX, BEACON, Datagram, DatagramError, HEADER_BYTES, Packet, PacketTooLong,
    StreamId,
};
pub use parity::{ParityError, Span, compose, lost_id, restore};
