//! One player's way of datagrams: the kernel that takes them or not, and a network that loses, delays and doubles some.

use std::time::{Duration, Instant};

use funnel_engine::Datagrams;

use crate::rng::Rng;

/// What a way of datagrams is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct EtherQuality {
    /// Of a thousand datagrams, how many are lost, in either direction.
    pub lost_per_mille: u64,
    /// Of a thousand datagrams, how many come twice.
    pub doubled_per_mille: u64,
    /// Of a thousand datagrams, how many take up to this much longer, and are overtaken.
    pub late_per_mille: u64,
    /// See `late_per_mille`.
    pub late_max: Duration,
    /// Of a thousand sends, for how many the kernel has no room.
    pub refused_per_mille: u64,
    /// The device's largest payload, which only cut trains must keep to.
    pub segment_max: Option<u16>,
    /// The kernel does not cut trains.
    pub never_cuts: bool,
}

impl EtherQuality {
    /// Loses so many of a thousand, and delays and doubles some.
    pub fn lossy(lost_per_mille: u64) -> Self {
        Self {
            lost_per_mille,
            doubled_per_mille: 5,
            late_per_mille: 20,
            late_max: Duration::from_millis(25),
            refused_per_mille: 20,
            ..Self::default()
        }
    }
}

/// A player's way of datagrams.
#[derive(Debug)]
pub struct Ether {
    quality: EtherQuality,
    rng: Rng,
    /// Sends the kernel refused.
    pub refused: u64,
    /// Datagrams the kernel took on their way to the player.
    pub taken: u64,
    /// Datagrams that were lost, in either direction.
    pub lost: u64,
    /// The largest burst: datagrams within 5 ms.
    pub burst_max: u64,
    burst: (Option<Instant>, u64),
}

impl Ether {
    /// Nothing under way.
    pub fn new(quality: EtherQuality, rng: Rng) -> Self {
        Self {
            quality,
            rng,
            refused: 0,
            taken: 0,
            lost: 0,
            burst_max: 0,
            burst: (None, 0),
        }
    }

    /// sendmsg with UDP_SEGMENT: the datagrams it makes of the pieces, or `-errno`.
    pub fn cut(
        &mut self,
        now: Instant,
        how: Datagrams,
        pieces: &[&[u8]],
    ) -> Result<Vec<Vec<u8>>, i32> {
        let bytes = pieces.concat();
        let segment = how.segment_bytes.map(usize::from);
        let refusal = match segment {
            _ if self.rng.chance(self.quality.refused_per_mille, 1000) => {
                Some(*self.rng.pick(&[-EAGAIN, -ENOBUFS]))
            }
            Some(_) if self.quality.never_cuts => Some(-EIO),
            Some(segment) => (self.quality.segment_max)
                .filter(|max| segment > usize::from(*max))
                .map(|_| -EMSGSIZE),
            None => None,
        };
        if let Some(refusal) = refusal {
            self.refused += 1;
            return Err(refusal);
        }
        let datagrams: Vec<Vec<u8>> = bytes
            .chunks(segment.unwrap_or(bytes.len()).max(1))
            .map(Into::into)
            .collect();
        self.taken += datagrams.len() as u64;
        if (self.burst.0).is_none_or(|began| now.saturating_duration_since(began) >= TICK) {
            self.burst = (Some(now), 0);
        }
        self.burst.1 += datagrams.len() as u64;
        self.burst_max = self.burst_max.max(self.burst.1);
        Ok(datagrams)
    }

    /// What becomes of a datagram: how much later than usual it arrives, each time it does.
    pub fn carry(&mut self) -> Vec<Duration> {
        if self.rng.chance(self.quality.lost_per_mille, 1000) {
            self.lost += 1;
            return Vec::new();
        }
        let copies = 1 + u64::from(self.rng.chance(self.quality.doubled_per_mille, 1000));
        (0..copies)
            .map(|_| {
                if self.rng.chance(self.quality.late_per_mille, 1000) {
                    let millis = self.quality.late_max.as_millis() as u64;
                    self.rng.millis(0, millis + 1)
                } else {
                    Duration::ZERO
                }
            })
            .collect()
    }
}

const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const EMSGSIZE: i32 = 90;
const ENOBUFS: i32 = 105;
/// Bursts are told apart by this.
const TICK: Duration = Duration::from_millis(5);
