//! The log as its readers see it: pins, guards, packets, clean points.
//!
//! The hazard protocol. A reader loads `head`, stores it as its pin, and loads `head` again until it stands still; the writer stores a new
//! `head` and then looks at the pins. A sequentially consistent fence stands between the two steps on both sides, so of a reader and the
//! writer that cross each other at least one sees the other: either the writer sees the pin, or the reader sees the new head and pins that.
//! Therefore no packet at or after a guard's `head` is overwritten while the guard lives.
//!
//! Clean points need no index: every packet carries the newest clean point at or before it, a number that never falls along the log, so
//! "the first clean point from here on" is a binary search.

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;

use crate::{
    counters::{Cells, Counters},
    publisher::Publisher,
    segment::{JOIN_DONE, Meta, NO_CLEAN_POINT, PRESENT, Segment},
    sync::{AtomicPtr, AtomicU64, Ordering, fence},
};

/// What a log is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Size of a full packet; none may be longer, in any form.
    pub packet_bytes: u32,
    /// How long packets stay readable. The newest clean point stays longer when the key frames are further apart.
    pub retain: Duration,
    /// Ceiling for the log's memory: slots and bodies. Exceeded by at most the twins of one segment.
    pub bytes_max: u64,
    /// Readers that may exist at a time.
    pub readers_max: usize,
    /// Number of the first packet (filtered logs keep the numbering of their base).
    pub first_seq: u64,
}

/// Why a log cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No packet has this size.
    #[error("packet size {0} is outside of 1 to {PACKET_BYTES_MAX} bytes")]
    PacketSize(u32),
    /// The ceiling leaves no room to write one segment while another is read.
    #[error(
        "a log of {packet_bytes}-byte packets needs at least {needed} bytes, its ceiling is {bytes_max}"
    )]
    Ceiling {
        /// Size of a packet.
        packet_bytes: u32,
        /// The configured ceiling.
        bytes_max: u64,
        /// The smallest workable ceiling.
        needed: u64,
    },
}

/// Makes a log and returns its writing and its reading end.
///
/// # Errors
/// When the configuration cannot hold packets; nothing else fails.
pub fn log(config: LogConfig) -> Result<(Publisher, Arc<Log>), LogError> {
    let geometry = Geometry::of(&config)?;
    Ok(Publisher::new(&config, geometry, Instant::now()))
}

/// How a log's memory is cut up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// log₂ of the packets in a segment.
    pub(crate) packets_log2: u32,
    /// Segments that may exist at a time, live and pooled.
    pub(crate) segments_max: usize,
}

impl Geometry {
    fn of(config: &LogConfig) -> Result<Self, LogError> {
        if config.packet_bytes == 0 || config.packet_bytes > PACKET_BYTES_MAX {
            return Err(LogError::PacketSize(config.packet_bytes));
        }
        let slot_bytes = u64::from(config.packet_bytes) + size_of::<Meta>() as u64;
        let slots_max = config.bytes_max / slot_bytes;
        if slots_max < SEGMENTS_MIN {
            return Err(LogError::Ceiling {
                packet_bytes: config.packet_bytes,
                bytes_max: config.bytes_max,
                needed: SEGMENTS_MIN * slot_bytes,
            });
        }
        // A segment is a 128th of the log, so that recycling is fine-grained, but between 4 KiB and 256 KiB, and an 8th at most.
        let wanted = (slots_max / 128).clamp(
            1 + SEGMENT_BYTES_LOW / slot_bytes,
            1 + SEGMENT_BYTES_HIGH / slot_bytes,
        );
        let packets_log2 = wanted.min(slots_max / SEGMENTS_MIN).ilog2();
        let segments_max = usize::try_from(slots_max >> packets_log2)
            .unwrap_or(usize::MAX)
            .min(SEGMENTS_MAX);
        Ok(Self {
            packets_log2,
            segments_max,
        })
    }
}

/// The reading end of a log; shared by every thread that reads it.
pub struct Log {
    /// Oldest readable packet. Written by the writer only.
    pub(crate) head: CachePadded<AtomicU64>,
    /// Twice the next packet's number, plus one when the log has ended: one load tells both.
    pub(crate) tail: CachePadded<AtomicU64>,
    /// One hazard per reader: [`FREE`], [`IDLE`], or the head it has pinned.
    pub(crate) pins: Box<[CachePadded<AtomicU64>]>,
    /// Segment `n` at `n & (len − 1)`. Owns what it points to.
    pub(crate) table: Box<[AtomicPtr<Segment>]>,
    pub(crate) packets_log2: u32,
    pub(crate) made_at: Instant,
    pub(crate) cells: CachePadded<Cells>,
}

impl Log {
    /// Makes a log for packets of this one: they keep the times of their publication, also those from before the log was made.
    ///
    /// # Errors
    /// As [`log()`].
    pub fn derive(&self, config: LogConfig) -> Result<(Publisher, Arc<Log>), LogError> {
        let geometry = Geometry::of(&config)?;
        Ok(Publisher::new(&config, geometry, self.made_at))
    }

    /// Claims one of the reader places; given back when the reader is dropped. `None` when all are taken.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let place = self.pins.iter().position(|pin| {
            pin.compare_exchange(FREE, IDLE, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })?;
        Some(Reader {
            log: Arc::clone(self),
            place,
        })
    }

    /// A snapshot of the counters.
    pub fn counters(&self) -> Counters {
        let mut counters = self.cells.snapshot();
        counters.head = self.head.load(Ordering::Relaxed);
        counters.tail = self.tail.load(Ordering::Relaxed) >> 1;
        counters
    }

    /// Whether the last packet was published.
    pub fn ended(&self) -> bool {
        self.tail.load(Ordering::Acquire) & 1 == 1
    }

    /// Slot index within a segment.
    #[inline(always)]
    pub(crate) fn slot_index(&self, seq: u64) -> usize {
        (seq & ((1 << self.packets_log2) - 1)) as usize
    }

    /// The table entry of the segment `seq` lies in.
    #[inline(always)]
    pub(crate) fn entry(&self, seq: u64) -> &AtomicPtr<Segment> {
        // Wrapping the segment number to the table's width is the purpose of the mask, so a narrowing cast loses nothing.
        &self.table[(seq >> self.packets_log2) as usize & (self.table.len() - 1)]
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        for entry in &self.table {
            let segment = entry.load(Ordering::Acquire);
            if !segment.is_null() {
                // SAFETY: a segment in the table was made by `Box::into_raw` in the publisher and belongs to the log; no reader, guard
                // or publisher is left, since each holds the log alive.
                drop(unsafe { Box::from_raw(segment) });
            }
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// One place to pin from. A thread keeps one for each log it reads.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    place: usize,
}

impl Reader {
    /// Pins everything readable now. Hold the guard for a turn, not for longer: it keeps the writer from reusing memory.
    pub fn pin(&mut self) -> Guard<'_> {
        let pin = &self.log.pins[self.place];
        let mut head = self.log.head.load(Ordering::Acquire);
        loop {
            // Release: what this place read under an older pin comes before the writer's reuse, whichever pin value the writer sees.
            pin.store(head, Ordering::Release);
            fence(Ordering::SeqCst);
            let again = self.log.head.load(Ordering::Acquire);
            if again == head {
                break;
            }
            head = again;
        }
        let tail = self.log.tail.load(Ordering::Acquire);
        debug_assert!(head <= tail >> 1);
        Guard {
            log: &self.log,
            pin,
            head,
            tail: tail >> 1,
            ended: tail & 1 == 1,
            thread: PhantomData,
        }
    }

    /// The log this reads.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Which of the pins is this reader's.
    #[cfg(all(test, loom))]
    pub(crate) fn place(&self) -> usize {
        self.place
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.pins[self.place].store(FREE, Ordering::Release);
    }
}

/// What was readable when the reader pinned. Packets borrowed from it cannot change or vanish while it lives.
pub struct Guard<'a> {
    log: &'a Log,
    pin: &'a AtomicU64,
    head: u64,
    tail: u64,
    ended: bool,
    /// A guard stands for one turn of one thread.
    thread: PhantomData<*const ()>,
}

impl Guard<'_> {
    /// Number of the oldest readable packet.
    #[inline]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Number the next packet will get; one past the newest readable.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Whether no packet will follow at [`Guard::tail`].
    #[inline]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Packet `seq`, or `None` when it is not readable (any more, or yet).
    #[inline]
    pub fn packet(&self, seq: u64) -> Option<Packet<'_>> {
        if seq < self.head || seq >= self.tail {
            return None;
        }
        Some(self.readable(seq))
    }

    /// The newest clean point that is readable.
    pub fn newest_clean_point(&self) -> Option<u64> {
        let newest = self
            .packet(self.tail.checked_sub(1)?)?
            .meta(|meta| meta.clean_point);
        (newest != NO_CLEAN_POINT && newest >= self.head).then_some(newest)
    }

    /// The first readable clean point at or after `from`.
    pub fn next_clean_point(&self, from: u64) -> Option<u64> {
        let from = from.max(self.head);
        // The newest clean point so far never falls along the log, and first reaches `from` at the packet that is it.
        let found = self.first(from, |meta| {
            meta.clean_point != NO_CLEAN_POINT && meta.clean_point >= from
        });
        (found < self.tail).then_some(found)
    }

    /// Where a viewer joins who wants at most `max_age` of what has been: the oldest clean point published not longer than `max_age` ago,
    /// else the newest one. `None` when no clean point is readable.
    pub fn join_point(&self, now: Instant, max_age: Duration) -> Option<u64> {
        let now_ns = nanos(now.saturating_duration_since(self.log.made_at));
        let oldest_ns = now_ns.saturating_sub(nanos(max_age));
        let young = self.first(self.head, |meta| meta.published_ns >= oldest_ns);
        self.next_clean_point(young)
            .or_else(|| self.newest_clean_point())
    }

    /// The first packet from `from` on for which `reached` holds (which must stay true once it is), else `tail`.
    fn first(&self, from: u64, reached: impl Fn(&Meta) -> bool) -> u64 {
        let (mut low, mut high) = (from, self.tail);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.readable(middle).meta(&reached) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// Packet `seq`, which lies between head and tail.
    #[inline(always)]
    fn readable(&self, seq: u64) -> Packet<'_> {
        debug_assert!(seq >= self.head && seq < self.tail);
        // Relaxed: the entry was stored before the tail we acquired, and is not stored again while the segment is pinned.
        let segment = self.log.entry(seq).load(Ordering::Relaxed);
        // SAFETY: `seq` is published and pinned, so its segment is in the table (the table is at least as wide as the number of segments)
        // and neither freed nor reused before the guard is dropped, which the returned lifetime forbids.
        let segment = unsafe { &*segment };
        Packet {
            segment,
            index: self.log.slot_index(seq),
            seq,
            made_at: self.log.made_at,
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Release: every read under this pin comes before whatever the writer does once it sees the pin gone.
        self.pin.store(IDLE, Ordering::Release);
    }
}

impl std::fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            head, tail, ended, ..
        } = self;
        write!(
            f,
            "Guard({head}..{tail}{})",
            if *ended { ", ended" } else { "" }
        )
    }
}

/// Which body of a packet is wanted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// All of it, padding included: every packet of a log has the same size.
    Full = 0,
    /// Padding removed where that saves something.
    Stripped = 1,
}

/// One packet of a pinned log.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    segment: &'a Segment,
    index: usize,
    seq: u64,
    made_at: Instant,
}

impl<'a> Packet<'a> {
    /// The body to send. `joining`: for a viewer who began at the latest clean point and has not passed a packet with
    /// [`Packet::join_done`]. Empty: nothing of this packet is for this viewer.
    #[inline]
    pub fn bytes(&self, form: Form, joining: bool) -> &'a [u8] {
        let span = self.meta(|meta| meta.bodies[form as usize | (joining as usize) << 1]);
        // SAFETY: a packet is made only for a published slot, and cannot outlive the guard that pins it.
        unsafe { self.segment.body(span) }
    }

    /// `before` and `body` as one piece when they lie side by side in the log, as the full forms of packets without twins do.
    /// `body` is a form of this packet, `before` whatever came before it.
    #[inline]
    pub fn joined(&self, before: &'a [u8], body: &'a [u8]) -> Option<&'a [u8]> {
        self.segment.joined(before, body)
    }

    /// Number in the log.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Position on the channel's timeline in ms; the low 32 bits are the packet's own send time.
    #[inline]
    pub fn send_ms(&self) -> u64 {
        self.meta(|meta| meta.send_ms)
    }

    /// Spread due time in ms on the same timeline: when paced transports send it.
    #[inline]
    pub fn due_ms(&self) -> u64 {
        self.meta(|meta| {
            meta.send_ms
                .saturating_add_signed(i64::from(meta.due_after_ms))
        })
    }

    /// When it was published.
    #[inline]
    pub fn published_at(&self) -> Instant {
        self.made_at + Duration::from_nanos(self.meta(|meta| meta.published_ns))
    }

    /// Whether a viewer may start here.
    #[inline]
    pub fn clean_point(&self) -> bool {
        self.meta(|meta| meta.clean_point == self.seq)
    }

    /// Whether a joiner takes the ordinary forms from the next packet on.
    #[inline]
    pub fn join_done(&self) -> bool {
        self.meta(|meta| meta.flags & JOIN_DONE != 0)
    }

    /// Whether it has bytes: false where a filtered log has only a number.
    #[inline]
    pub fn present(&self) -> bool {
        self.meta(|meta| meta.flags & PRESENT != 0)
    }

    #[inline(always)]
    fn meta<R>(&self, read: impl FnOnce(&Meta) -> R) -> R {
        // SAFETY: a packet is made only for a published slot, and cannot outlive the guard that pins it.
        unsafe { self.segment.read_meta(self.index, read) }
    }
}

impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet")
            .field("seq", &self.seq)
            .field("meta", &self.meta(|meta| *meta))
            .finish_non_exhaustive()
    }
}

/// A duration in whole ns, capped at 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A place nobody has claimed. Newer than every packet, as is [`IDLE`], so that the writer needs no case for them.
pub(crate) const FREE: u64 = u64::MAX;
/// A claimed place that pins nothing.
pub(crate) const IDLE: u64 = u64::MAX - 1;

/// Larger packets than this are not ASF on any network (and offsets within a segment must fit 32 bits).
pub(crate) const PACKET_BYTES_MAX: u32 = 1 << 20;
/// One to write, and enough behind it that a pinned one does not stop the writer.
const SEGMENTS_MIN: u64 = 8;
/// The table costs 8 bytes for each.
const SEGMENTS_MAX: usize = 1 << 20;
/// Smaller segments than this would be taken and given back too often.
const SEGMENT_BYTES_LOW: u64 = 4 << 10;
/// Larger segments than this would hold too much memory behind one pin.
const SEGMENT_BYTES_HIGH: u64 = 256 << 10;
