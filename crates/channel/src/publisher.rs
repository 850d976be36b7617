//! The log's writer: lays packets down, moves the head, takes segments back.
//!
//! A publish is one copy, one line of metadata and one release store. When a segment is full the next one comes, in this order, from the
//! pool, from the oldest segments that nobody can read any more, from the heap while the log is below its ceiling, or from pushing the
//! head over the oldest segment. When a reader still pins that one, the packet is shed and counted; pins last for a turn, so this passes.
//! After warm-up no publish touches the heap.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crossbeam::utils::CachePadded;

use crate::{
    counters::Counters,
    log::{FREE, Geometry, Log, LogConfig, nanos},
    segment::{FORMS_COUNT, JOIN_DONE, Meta, NO_CLEAN_POINT, PRESENT, Segment, Span},
    sync::{AtomicPtr, AtomicU64, Ordering, fence},
};

/// One packet to publish, in the forms it has.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The whole packet, padding included.
    pub full: &'a [u8],
    /// Without its padding; absent when that saves nothing.
    pub stripped: Option<&'a [u8]>,
    /// For a viewer who joined at the latest clean point; absent when that is the same as `full`, empty when nothing is for the joiner.
    pub join: Option<&'a [u8]>,
    /// `join` without padding; absent when that saves nothing.
    pub join_stripped: Option<&'a [u8]>,
    /// Position on the channel's timeline in ms.
    pub send_ms: u64,
    /// Spread due time on the same timeline in ms (stored as a distance of at most ±24 days).
    pub due_ms: u64,
    /// A viewer may start here.
    pub clean_point: bool,
    /// From the next packet on a joiner takes the ordinary forms.
    pub join_done: bool,
}

/// Why a packet was not published. Its number was not used: the next packet gets it, or the caller tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shed {
    /// The log is at its ceiling and a reader still pins the oldest segment.
    #[error("the log is at its ceiling and its oldest segment is still being read")]
    Ceiling,
    /// A form is longer than the log's packets.
    #[error("a packet of {0} bytes does not fit the log")]
    TooLong(usize),
}

/// The writing end of a log. Dropping it ends the log.
pub struct Publisher {
    log: Arc<Log>,
    /// Number of the next packet.
    next: u64,
    head: u64,
    newest_clean_point: u64,
    published_ns: u64,
    retain_ns: u64,
    packet_bytes: usize,
    bytes_max: u64,
    /// Bytes held by all segments, live and pooled.
    bytes: u64,
    segments_max: usize,
    /// Segments in the table, oldest first; the last is being written. Capacity for all that may exist.
    live: VecDeque<Live>,
    /// Segments nobody can read. Capacity for all that may exist.
    pool: Vec<Pooled>,
}

/// A segment in the log's table.
#[derive(Clone, Copy)]
struct Live {
    segment: *mut Segment,
    /// Which packets it holds: those with `seq >> packets_log2 == number`.
    number: u64,
    /// End of what was written into its arena this time.
    used: usize,
    /// Furthest end ever written: the touched part of the arena.
    touched: usize,
}

struct Pooled {
    segment: Box<Segment>,
    touched: usize,
}

// SAFETY: the raw pointers in `live` point to segments in the table of `log`, which this publisher keeps alive; a segment may be
// used from any thread, and the publisher is the only writer wherever it is.
unsafe impl Send for Publisher {}

impl Publisher {
    pub(crate) fn new(
        config: &LogConfig,
        geometry: Geometry,
        made_at: Instant,
    ) -> (Self, Arc<Log>) {
        let table_size = geometry.segments_max.next_power_of_two();
        let log = Arc::new(Log {
            head: CachePadded::new(AtomicU64::new(config.first_seq)),
            tail: CachePadded::new(AtomicU64::new(config.first_seq << 1)),
            pins: (0..config.readers_max)
                .map(|_| CachePadded::new(AtomicU64::new(FREE)))
                .collect(),
            table: (0..table_size)
                .map(|_| AtomicPtr::new(std::ptr::null_mut()))
                .collect(),
            packets_log2: geometry.packets_log2,
            made_at,
            cells: CachePadded::default(),
        });
        let publisher = Self {
            log: Arc::clone(&log),
            next: config.first_seq,
            head: config.first_seq,
            newest_clean_point: NO_CLEAN_POINT,
            published_ns: 0,
            retain_ns: nanos(config.retain),
            packet_bytes: config.packet_bytes as usize,
            bytes_max: config.bytes_max,
            bytes: 0,
            segments_max: geometry.segments_max,
            live: VecDeque::with_capacity(geometry.segments_max),
            pool: Vec::with_capacity(geometry.segments_max),
        };
        (publisher, log)
    }

    /// Publishes one packet and returns its number. The bytes are copied; nothing is kept of `entry`.
    ///
    /// # Errors
    /// When the packet had to be shed; the numbering then stays as it is.
    pub fn publish(&mut self, now: Instant, entry: Entry<'_>) -> Result<u64, Shed> {
        let twins =
            [entry.stripped, entry.join, entry.join_stripped].map(Option::unwrap_or_default);
        let bodies = [entry.full, twins[0], twins[1], twins[2]];
        if let Some(long) = bodies.iter().find(|body| body.len() > self.packet_bytes) {
            self.log.cells.count_shed();
            return Err(Shed::TooLong(long.len()));
        }
        let due_after_ms =
            i64::try_from(i128::from(entry.due_ms) - i128::from(entry.send_ms)).unwrap_or(i64::MAX);
        let flags = PRESENT | if entry.join_done { JOIN_DONE } else { 0 };
        let meta = Meta {
            send_ms: entry.send_ms,
            due_after_ms: due_after_ms.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            flags,
            ..Meta::default()
        };
        self.append(now, meta, entry.clean_point, |offset| {
            (spans(offset, &entry), bodies)
        })
    }

    /// Publishes a number without a packet: keeps the base's numbering in a filtered log.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_absent(&mut self, now: Instant) -> Result<u64, Shed> {
        self.append(now, Meta::default(), false, |_| Default::default())
    }

    /// Says that no packet will follow. Readers see it together with the last packet.
    pub fn end(&mut self) {
        self.log.tail.store(self.next << 1 | 1, Ordering::Release);
    }

    /// Number the next packet will get.
    pub fn tail(&self) -> u64 {
        self.next
    }

    /// The log's counters.
    pub fn counters(&self) -> Counters {
        self.log.counters()
    }

    /// The reading end.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn append<'b>(
        &mut self,
        now: Instant,
        mut meta: Meta,
        clean_point: bool,
        lay_down: impl FnOnce(usize) -> ([Span; FORMS_COUNT], [&'b [u8]; FORMS_COUNT]),
    ) -> Result<u64, Shed> {
        self.published_ns = self
            .published_ns
            .max(nanos(now.saturating_duration_since(self.log.made_at)));
        self.expire();
        let seq = self.next;
        let number = seq >> self.log.packets_log2;
        if self.live.back().is_none_or(|live| live.number != number) {
            self.open_segment(number)?;
        }
        let live = self.live.back_mut().expect("a segment was opened above");
        let (spans, bodies) = lay_down(live.used);
        let newest_clean_point = if clean_point {
            seq
        } else {
            self.newest_clean_point
        };
        meta.bodies = spans;
        meta.published_ns = self.published_ns;
        meta.clean_point = newest_clean_point;
        // SAFETY: the segment is in the table, so it lives; slot `seq` is not published, and was taken over by `open_segment` only when
        // no reader could reach what it held before; `&mut self` of the only publisher makes this the only writer.
        unsafe { (*live.segment).write(self.log.slot_index(seq), meta, live.used, bodies) };
        live.used += bodies.iter().map(|body| body.len()).sum::<usize>();
        if live.used > live.touched {
            self.bytes += (live.used - live.touched) as u64;
            live.touched = live.used;
            self.log.cells.set_bytes(self.bytes);
        }
        self.newest_clean_point = newest_clean_point;
        self.next = seq + 1;
        self.log.cells.count_published();
        // Release: whoever sees this tail sees the slot, the bodies and the table entry.
        self.log.tail.store(self.next << 1, Ordering::Release);
        Ok(seq)
    }

    /// Moves the head over what is older than `retain`, but not over the newest clean point.
    fn expire(&mut self) {
        let Some(oldest_ns) = self.published_ns.checked_sub(self.retain_ns) else {
            return;
        };
        // A clean point that the ceiling has forced out keeps nothing.
        let keep = if self.newest_clean_point < self.head {
            self.next
        } else {
            self.next.min(self.newest_clean_point)
        };
        let mut head = self.head;
        while head < keep && self.age_ns(head) < oldest_ns {
            head += 1;
        }
        self.advance_head(head);
    }

    /// When packet `seq`, which is live, was published.
    fn age_ns(&self, seq: u64) -> u64 {
        let segment = self.log.entry(seq).load(Ordering::Relaxed);
        // SAFETY: `seq` lies between head and tail, so its segment is in the table; only the publisher writes segments.
        unsafe { (*segment).read_meta(self.log.slot_index(seq), |meta| meta.published_ns) }
    }

    fn advance_head(&mut self, head: u64) {
        if head > self.head {
            self.head = head;
            self.log.head.store(head, Ordering::Release);
        }
    }

    /// Puts a segment for `number` into the table, in the order the file comment gives.
    fn open_segment(&mut self, number: u64) -> Result<(), Shed> {
        if self.pool.is_empty() {
            self.reclaim();
        }
        if self.pool.is_empty() && !self.grow() {
            let oldest = self
                .live
                .front()
                .map_or(0, |live| (live.number + 1) << self.log.packets_log2);
            self.advance_head(oldest);
            self.reclaim();
        }
        let Some(Pooled { segment, touched }) = self.pool.pop() else {
            self.log.cells.count_shed();
            return Err(Shed::Ceiling);
        };
        let segment = Box::into_raw(segment);
        // Relaxed: published by the tail's release store; a reader looks here only for packets below that tail.
        let entry = self.log.entry(number << self.log.packets_log2);
        debug_assert!(
            entry.load(Ordering::Relaxed).is_null(),
            "the table is wider than all segments"
        );
        entry.store(segment, Ordering::Relaxed);
        self.live.push_back(Live {
            segment,
            number,
            used: 0,
            touched,
        });
        self.log
            .cells
            .set_segments(self.live.len(), self.pool.len());
        Ok(())
    }

    /// Takes back the segments that lie below the head and every pin.
    fn reclaim(&mut self) {
        // Pairs with the fence in `Reader::pin`: a reader that does not see our head is seen here.
        fence(Ordering::SeqCst);
        // Acquire: pairs with the release stores of pins, so that reads under a pin come before our reuse.
        let pinned = self
            .log
            .pins
            .iter()
            .map(|pin| pin.load(Ordering::Acquire))
            .min()
            .unwrap_or(FREE);
        let reusable = pinned.min(self.head);
        while let Some(&Live {
            segment,
            number,
            touched,
            ..
        }) = self.live.front()
            && (number + 1) << self.log.packets_log2 <= reusable
        {
            self.live.pop_front();
            self.log
                .entry(number << self.log.packets_log2)
                .store(std::ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: made by `Box::into_raw` in `open_segment` and owned by the table entry just cleared; every packet in it is below
            // the head and every pin, so no reader has or can get a reference.
            let segment = unsafe { Box::from_raw(segment) };
            self.pool.push(Pooled { segment, touched });
        }
        self.log
            .cells
            .set_segments(self.live.len(), self.pool.len());
    }

    /// Adds a new segment to the pool if the ceiling allows.
    fn grow(&mut self) -> bool {
        let packets = 1_usize << self.log.packets_log2;
        let slots_bytes = (packets * size_of::<Meta>()) as u64;
        let full_bytes = (packets * self.packet_bytes) as u64;
        let count = self.live.len() + self.pool.len();
        if count >= self.segments_max || self.bytes + slots_bytes + full_bytes > self.bytes_max {
            return false;
        }
        let segment = Box::new(Segment::new(
            packets,
            packets * self.packet_bytes * FORMS_COUNT,
        ));
        self.bytes += slots_bytes;
        self.log.cells.set_bytes(self.bytes);
        self.pool.push(Pooled {
            segment,
            touched: 0,
        });
        true
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// Where the four forms lie when they are laid down at `offset`, one behind the other; a missing form is its nearest substitute.
fn spans(offset: usize, entry: &Entry<'_>) -> [Span; FORMS_COUNT] {
    let mut at = offset;
    let mut next = |body: Option<&[u8]>| {
        let body = body?;
        // A segment's arena is at most four times 256 KiB or four packets of `PACKET_BYTES_MAX`: offsets fit 32 bits.
        let span = Span {
            offset: at as u32,
            size: body.len() as u32,
        };
        at += body.len();
        Some(span)
    };
    let full = next(Some(entry.full)).expect("a body was given");
    let stripped = next(entry.stripped).unwrap_or(full);
    let join = next(entry.join);
    let join_stripped = next(entry.join_stripped);
    [
        full,
        stripped,
        join.unwrap_or(full),
        join_stripped.or(join).unwrap_or(stripped),
    ]
}
