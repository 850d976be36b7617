//! What a packet of a probe channel says of itself, and whether the whole payload arrived as it was written.
//!
//! ```text
//!  0  "FUNNEL" 0 0   UTF-16LE: to a player a script command of this type with an empty text
//! 16  seq            u64, packet number from 0
//! 24  due_unix_ns    u64, when it should have been published, ns since 1970
//! 32  checksum       u32, CRC-32 of the payload without this field
//! 36  filler         from seq alone, up to the payload's end; incompressible
//! ```
//!
//! All integers little-endian. Heads of packets and payloads are not covered: a server rewrites them.

use thiserror::Error;

use super::{MARK_AT, PROPERTY_FLAGS};
use crate::bytes::{u32_at, u64_at};
use crate::packet::{Layout, PREFIX, Replicated};

/// What a marked packet says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Number of the packet, from 0.
    pub seq: u64,
    /// When it should have been published, ns since 1970.
    pub due_unix_ns: u64,
}

/// Why a packet is not as a probe channel publishes them.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum Corrupt {
    /// There is no mark in it, or not all of one.
    #[error("the packet carries no mark")]
    NoMark,
    /// The payload is not the one the checksum was made of.
    #[error("packet {seq}: checksum {found:08x} where the payload gives {expected:08x}")]
    Checksum {
        /// Sequence number as it stands there: may be what is wrong.
        seq: u64,
        /// Of the payload at hand.
        expected: u32,
        /// As written in it.
        found: u32,
    },
}

impl Mark {
    /// The mark of an ASF packet; `None` where there is none. Cheap: nothing is checked but the magic.
    ///
    /// Finds it with or without error correction in front, with or without padding, and whatever became of times,
    /// numbers and lengths.
    pub fn read(packet: &[u8]) -> Option<Mark> {
        Mark::of_payload(payload(packet)?)
    }

    /// The mark of an ASF packet whose payload is whole and unchanged.
    ///
    /// # Errors
    /// There is no mark, or the checksum says that the payload was cut or changed.
    pub fn verify(packet: &[u8]) -> Result<Mark, Corrupt> {
        let payload = payload(packet).ok_or(Corrupt::NoMark)?;
        let mark = Mark::of_payload(payload).ok_or(Corrupt::NoMark)?;
        let found = u32_at(payload, CHECKSUM_AT).ok_or(Corrupt::NoMark)?;
        let expected = checksum(payload);
        if found != expected {
            return Err(Corrupt::Checksum {
                seq: mark.seq,
                expected,
                found,
            });
        }
        Ok(mark)
    }

    /// Appends the payload of `payload_bytes`, at least [`MARK_BYTES`].
    pub(super) fn put(&self, payload_bytes: usize, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.due_unix_ns.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        fill(self.seq, payload_bytes - MARK_BYTES, out);
        let sum = checksum(&out[at..]);
        out[at + CHECKSUM_AT..at + MARK_BYTES].copy_from_slice(&sum.to_le_bytes());
    }

    fn of_payload(payload: &[u8]) -> Option<Mark> {
        if !payload.starts_with(&MAGIC) || payload.len() < MARK_BYTES {
            return None;
        }
        Some(Mark {
            seq: u64_at(payload, SEQ_AT)?,
            due_unix_ns: u64_at(payload, DUE_AT)?,
        })
    }
}

/// The one payload of a packet: at its place when the packet is laid out as we write them, else by walking it.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let ours = packet.starts_with(&[PREFIX[0], PREFIX[1], PREFIX[2], 0, PROPERTY_FLAGS])
        && packet.get(MARK_AT..MARK_AT + MAGIC.len()) == Some(&MAGIC);
    if ours {
        return packet.get(MARK_AT..);
    }
    let layout = Layout::parse(packet).ok()?;
    let [single] = layout.payloads() else {
        return None;
    };
    let data = packet.get(single.data())?;
    // Zeros behind a payload that has no length of its own are padding cut off and put back.
    match single.replicated() {
        Replicated::Object { size, .. } => data.get(..size as usize).or(Some(data)),
        _ => Some(data),
    }
}

/// CRC-32 of a payload of at least [`MARK_BYTES`] without the field that holds it.
fn checksum(payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&payload[..CHECKSUM_AT]);
    sum.update(&payload[MARK_BYTES..]);
    sum.finalize()
}

/// `count` bytes that follow from `seq` and do not compress: SplitMix64.
fn fill(seq: u64, count: usize, out: &mut Vec<u8>) {
    let end = out.len() + count;
    let mut state = seq.wrapping_mul(STEP);
    while out.len() < end {
        state = state.wrapping_add(STEP);
        let mut word = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let word = (word ^ word >> 31).to_le_bytes();
        out.extend_from_slice(&word[..word.len().min(end - out.len())]);
    }
}

/// "FUNNEL" and its NUL in UTF-16LE, then the NUL of an empty text.
const MAGIC: [u8; 16] = *b"F\0U\0N\0N\0E\0L\0\0\0\0\0";
const SEQ_AT: usize = 16;
const DUE_AT: usize = 24;
const CHECKSUM_AT: usize = 32;
/// Everything before the filler.
pub(super) const MARK_BYTES: usize = 36;
/// SplitMix64's: 2⁶⁴ ÷ the golden ratio, odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

const _: () = assert!(MAGIC.len() == SEQ_AT && CHECKSUM_AT + 4 == MARK_BYTES);
