//! The probe channel: a stream whose every packet says which one it is and when it should have been published.
//!
//! It exists to be load tested. A viewer who reads the [`Mark`]s knows what is missing, what is damaged and how late
//! each packet is, without keeping anything to compare with. To players it is an ordinary broadcast with one script
//! command stream, which has nothing to show. Packets are exactly full, one object each, and every one is a clean
//! point. Pure: the caller brings the clock and publishes.
//!
//! Invariants worth naming:
//! - Packet `seq` is due at [`Probe::due`], computed from `seq` alone: the rate does not drift.
//! - Everything in a payload depends on `seq` and the due time only, and nothing on the way rewrites payloads.

mod header;
mod mark;

use std::time::Duration;

use thiserror::Error;

pub use self::header::is_probe;
pub use self::mark::{Corrupt, Mark};
use crate::packet::PREFIX;

/// What a probe channel is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    bits_per_second: u32,
    packet_bytes: u32,
}

/// Why there is no such probe channel.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProbeError {
    /// Outside [`BITS_PER_SECOND_MIN`]…[`BITS_PER_SECOND_MAX`].
    #[error("{0} bit/s is not between {BITS_PER_SECOND_MIN} and {BITS_PER_SECOND_MAX}")]
    BitRate(u32),
    /// Outside [`PACKET_BYTES_MIN`]…[`PACKET_BYTES_MAX`].
    #[error("a packet of {0} bytes is not between {PACKET_BYTES_MIN} and {PACKET_BYTES_MAX}")]
    PacketBytes(u32),
    /// Packets would be further apart than [`INTERVAL_MAX`].
    #[error("{packet_bytes} bytes at {bits_per_second} bit/s are less than one packet a second")]
    TooRare {
        /// As asked for.
        bits_per_second: u32,
        /// As asked for.
        packet_bytes: u32,
    },
}

impl Probe {
    /// A channel of `bits_per_second`, counting whole ASF packets and no protocol heads, in packets of `packet_bytes`.
    ///
    /// # Errors
    /// A number is out of range, or there would be less than one packet a second.
    pub const fn new(bits_per_second: u32, packet_bytes: u32) -> Result<Probe, ProbeError> {
        if bits_per_second < BITS_PER_SECOND_MIN || bits_per_second > BITS_PER_SECOND_MAX {
            return Err(ProbeError::BitRate(bits_per_second));
        }
        if packet_bytes < PACKET_BYTES_MIN || packet_bytes > PACKET_BYTES_MAX {
            return Err(ProbeError::PacketBytes(packet_bytes));
        }
        let probe = Probe {
            bits_per_second,
            packet_bytes,
        };
        if probe.due(1).as_nanos() > INTERVAL_MAX.as_nanos() {
            return Err(ProbeError::TooRare {
                bits_per_second,
                packet_bytes,
            });
        }
        Ok(probe)
    }

    /// Rate of the ASF packets, bit/s.
    pub const fn bits_per_second(&self) -> u32 {
        self.bits_per_second
    }

    /// Size of every packet.
    pub const fn packet_bytes(&self) -> u32 {
        self.packet_bytes
    }

    /// The header a live encoder would write: Header Object and the first 50 bytes of the Data Object.
    /// `file_id` identifies this run of the channel.
    pub fn header(&self, file_id: [u8; 16]) -> Vec<u8> {
        header::compose(self, file_id)
    }

    /// When packet `seq` is due, counted from the stream's start; whole nanoseconds, rounded down.
    pub const fn due(&self, seq: u64) -> Duration {
        let ns = seq as u128 * self.packet_ns_bits() / self.bits_per_second as u128;
        Duration::new((ns / NS_PER_SECOND) as u64, (ns % NS_PER_SECOND) as u32)
    }

    /// How many packets are due `elapsed` after the start; the first is at once.
    pub const fn packets_until(&self, elapsed: Duration) -> u64 {
        let behind = (elapsed.as_nanos() + 1) * self.bits_per_second as u128 - 1;
        let count = behind / self.packet_ns_bits() + 1;
        if count > u64::MAX as u128 {
            u64::MAX
        } else {
            count as u64
        }
    }

    /// Lays packet `seq` into `out`, replacing its content: exactly [`packet_bytes`](Self::packet_bytes), no padding,
    /// one payload with the mark. `due_unix_ns` is when it should be published, ns since 1970. Allocates only when
    /// `out` must grow.
    pub fn packet(&self, seq: u64, due_unix_ns: u64, out: &mut Vec<u8>) {
        let payload_bytes = self.packet_bytes as usize - MARK_AT;
        let send_ms = self.due(seq).as_millis() as u32;
        out.clear();
        out.extend_from_slice(&PREFIX);
        out.extend_from_slice(&[0, PROPERTY_FLAGS]);
        out.extend_from_slice(&send_ms.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&[KEY | STREAM, seq as u8]);
        out.extend_from_slice(&0u32.to_le_bytes());
        out.push(8);
        out.extend_from_slice(&(payload_bytes as u32).to_le_bytes());
        out.extend_from_slice(&send_ms.wrapping_add(PREROLL_MS).to_le_bytes());
        debug_assert_eq!(out.len(), MARK_AT, "the head is where marks are looked for");
        Mark { seq, due_unix_ns }.put(payload_bytes, out);
        debug_assert_eq!(out.len(), self.packet_bytes as usize, "packets are full");
    }

    /// Size of a packet in bits times ns per second: divided by the rate, the time between two packets.
    const fn packet_ns_bits(&self) -> u128 {
        self.packet_bytes as u128 * 8 * NS_PER_SECOND
    }
}

/// Slowest probe channel, bit/s.
pub const BITS_PER_SECOND_MIN: u32 = 8_000;
/// Fastest probe channel, bit/s.
pub const BITS_PER_SECOND_MAX: u32 = 1_000_000_000;
/// Smallest packet of a probe channel.
pub const PACKET_BYTES_MIN: u32 = 256;
/// Largest packet of a probe channel.
pub const PACKET_BYTES_MAX: u32 = 64_000;
/// Longest time between two packets: viewers can begin at least this often.
pub const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// The only stream.
const STREAM: u8 = 1;
/// Key bit of the stream number byte.
const KEY: u8 = 0x80;
/// What a player buffers, ms.
const PREROLL_MS: u32 = 1_000;
/// The property flags every writer uses (§6.2).
const PROPERTY_FLAGS: u8 = 0x5D;
/// Where the payload begins in the packets we write: prefix, flags, times, head of a single payload.
const MARK_AT: usize = 3 + 2 + 4 + 2 + 15;
const NS_PER_SECOND: u128 = 1_000_000_000;

const _: () = assert!(MARK_AT + mark::MARK_BYTES <= PACKET_BYTES_MIN as usize);
const _: () = assert!(PACKET_BYTES_MAX <= crate::header::PACKET_BYTES_MAX);
