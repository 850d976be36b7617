//! What a log counts: written by its one writer with relaxed stores, read by anybody as a snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A snapshot of one log. Fields may be a publish apart from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets published, absent ones included.
    pub published: u64,
    /// Packets refused, at the ceiling or too long. `shed ÷ (published + shed)` is what viewers cannot get.
    pub shed: u64,
    /// Bytes of memory the log holds: slots and the touched part of every segment's arena, pooled segments included.
    pub bytes: u64,
    /// Segments with readable packets, or still pinned.
    pub segments_live: u64,
    /// Segments waiting to be used again.
    pub segments_pooled: u64,
    /// Oldest readable packet.
    pub head: u64,
    /// Number the next packet will get.
    pub tail: u64,
}

/// The shared cells behind [`Counters`]; `head` and `tail` are the log's own.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    published: AtomicU64,
    shed: AtomicU64,
    bytes: AtomicU64,
    segments_live: AtomicU64,
    segments_pooled: AtomicU64,
}

impl Cells {
    /// Counts one published packet. Only the writer calls this, so a load and a store do.
    pub(crate) fn count_published(&self) {
        self.published
            .store(self.published.load(Relaxed) + 1, Relaxed);
    }

    /// Counts one refused packet.
    pub(crate) fn count_shed(&self) {
        self.shed.store(self.shed.load(Relaxed) + 1, Relaxed);
    }

    /// Notes the bytes held.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Relaxed);
    }

    /// Notes where the segments are.
    pub(crate) fn set_segments(&self, live: usize, pooled: usize) {
        self.segments_live.store(live as u64, Relaxed);
        self.segments_pooled.store(pooled as u64, Relaxed);
    }

    /// Everything but `head` and `tail`.
    pub(crate) fn snapshot(&self) -> Counters {
        Counters {
            published: self.published.load(Relaxed),
            shed: self.shed.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            segments_live: self.segments_live.load(Relaxed),
            segments_pooled: self.segments_pooled.load(Relaxed),
            head: 0,
            tail: 0,
        }
    }
}
