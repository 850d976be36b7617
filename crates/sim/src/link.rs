//! One connection's way from the server to its player: a send buffer, a rate, a delay, and the kernel's moods.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rng::Rng;

/// What a connection is like.
#[derive(Clone, Copy, Debug)]
pub struct LinkQuality {
    /// Bytes the kernel keeps, receive buffer included.
    pub buffer_bytes: usize,
    /// Bytes the player reads a second.
    pub bytes_per_second: u64,
    /// One way.
    pub latency: Duration,
    /// Of a thousand sends, how many the kernel cuts at any byte although it has room.
    pub short_per_mille: u64,
    /// Of a thousand sends, how many fail.
    pub broken_per_mille: u64,
}

/// The server's end of a connection and what is under way to the player.
#[derive(Debug)]
pub struct Link {
    quality: LinkQuality,
    rng: Rng,
    under_way: VecDeque<u8>,
    read_at: Instant,
    /// The player reads nothing until then.
    pub stalled_until: Instant,
    /// The server wants to know when there is room.
    pub awaits_writable: bool,
    /// Bytes taken so far.
    pub taken_bytes: u64,
}

impl Link {
    /// Nothing under way.
    pub fn new(quality: LinkQuality, rng: Rng, now: Instant) -> Self {
        Self {
            quality,
            rng,
            under_way: VecDeque::new(),
            read_at: now,
            stalled_until: now,
            awaits_writable: false,
            taken_bytes: 0,
        }
    }

    /// sendmsg without waiting: bytes taken, or `-errno`.
    pub fn send(&mut self, pieces: &[&[u8]]) -> i32 {
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.rng.chance(self.quality.broken_per_mille, 1000) {
            return *self.rng.pick(&[-ECONNRESET, -EPIPE, -ETIMEDOUT]);
        }
        let mut room = self.room().min(wanted);
        if self.rng.chance(self.quality.short_per_mille, 1000) {
            room = usize::try_from(self.rng.range(0, room as u64 + 1)).unwrap_or(room);
        }
        if room == 0 {
            return -EAGAIN;
        }
        let mut left = room;
        for piece in pieces {
            let taken = piece.len().min(left);
            self.under_way.extend(&piece[..taken]);
            left -= taken;
        }
        self.taken_bytes += room as u64;
        i32::try_from(room).unwrap_or(i32::MAX)
    }

    /// Whether poll would say writable: a third of the buffer is free, as in Linux.
    pub fn is_writable(&self) -> bool {
        self.room() * 3 >= self.quality.buffer_bytes
    }

    /// Bytes under way.
    pub fn waiting(&self) -> usize {
        self.under_way.len()
    }

    /// One way's time.
    pub fn latency(&self) -> Duration {
        self.quality.latency
    }

    /// What the player reads now, at its rate; appended to `into`.
    pub fn read(&mut self, now: Instant, into: &mut Vec<u8>) {
        let since = now
            .saturating_duration_since(self.read_at)
            .min(READ_SPAN_MAX);
        self.read_at = now;
        if now < self.stalled_until {
            return;
        }
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        let allowed = self.quality.bytes_per_second.saturating_mul(millis) / 1000;
        let taken = self
            .under_way
            .len()
            .min(usize::try_from(allowed.max(1)).unwrap_or(usize::MAX));
        into.extend(self.under_way.drain(..taken));
    }

    /// Everything that is left, as after a close.
    pub fn read_all(&mut self, into: &mut Vec<u8>) {
        into.extend(self.under_way.drain(..));
    }

    /// A reset throws away what is under way.
    pub fn reset(&mut self) {
        self.under_way.clear();
    }

    fn room(&self) -> usize {
        self.quality
            .buffer_bytes
            .saturating_sub(self.under_way.len())
    }
}

const EAGAIN: i32 = 11;
const EPIPE: i32 = 32;
pub(crate) const ECONNRESET: i32 = 104;
const ETIMEDOUT: i32 = 110;
/// Reading does not catch up on time in which nothing was there.
const READ_SPAN_MAX: Duration = Duration::from_millis(250);
