//! Packets in the order of their numbers: a ring of the latest ones, told and held, and the parity packets that may restore
//! a missing one.
//!
//! ```text
//! first          next          released               end
//!   | told, kept   | to be told    | a gap, what is held |
//!   | for parity   |               | behind it           |
//! ```
//!
//! A missing packet is *hopeless* once no parity packet can restore it; then it has the time of reordering left. Numbers wrap.

use std::collections::VecDeque;
use std::time::Instant;

use funnel_wire::msb::{Correction, Span, StreamId, restore};

use crate::multicast::{Options, Stats};

#[derive(Debug)]
pub(super) struct Window {
    first: u32,
    next: u32,
    released: u32,
    slots: VecDeque<Slot>,
    /// Until then the first packets wait for what they have overtaken.
    starting_until: Option<Instant>,
    parities: VecDeque<Parity>,
    /// Most data packets in a span, as far as is known; 0: no error correction.
    span: u8,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

/// What is there under one number.
#[derive(Debug)]
struct Slot {
    /// The ASF packet as sent; empty: missing.
    asf: Vec<u8>,
    stream: StreamId,
    restored: bool,
    noticed_at: Instant,
    hopeless_at: Option<Instant>,
}

/// A parity packet that may still be of use.
#[derive(Debug)]
struct Parity {
    id: u32,
    stream: StreamId,
    span: Span,
    asf: Vec<u8>,
}

/// A data or parity packet of a known stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub id: u32,
    pub stream: StreamId,
    pub asf: &'a [u8],
}

/// What [`Window::tell`] has.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Told {
    Packet { id: u32, restored: bool },
    Lost { id: u32, count: u32 },
}

/// Where a number lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Nothing is known yet.
    Begin,
    /// Less than [`JUMP_MAX`] behind the end.
    Ahead,
    Inside,
    /// Before the first, which has not been told yet.
    Before,
    /// Told a while ago.
    Late,
    Elsewhere,
}

/// Packets kept after they were told: those of a span.
const KEPT: u32 = 16;
/// Numbers may jump this far at once; further is another sequence.
const JUMP_MAX: u32 = 1024;
/// Numbers this far behind are late; further is another sequence.
const LATE_MAX: u32 = 64;
/// Parity packets waiting for packets they came before.
const PARITIES_MAX: usize = 8;
/// Buffers kept for use again.
const SPARE_MAX: usize = 128;

impl Window {
    /// `span` is the announced one, 0 without.
    pub fn new(span: u8) -> Self {
        Self {
            first: 0,
            next: 0,
            released: 0,
            slots: VecDeque::new(),
            starting_until: None,
            parities: VecDeque::new(),
            span: span.min(Span::MAX.get()),
            spare: Vec::new(),
        }
    }

    /// Forgets all but what is known of the error correction.
    pub fn reset(&mut self) {
        while let Some(slot) = self.slots.pop_front() {
            self.recycle(slot.asf);
        }
        (self.first, self.released) = (self.next, self.next);
        self.parities.clear();
        self.starting_until = None;
    }

    /// Takes a packet. False if its number is of another sequence: then nothing has changed.
    pub fn take(
        &mut self,
        now: Instant,
        arrival: Arrival<'_>,
        correction: Correction,
        options: &Options,
        stats: &mut Stats,
    ) -> bool {
        self.trim();
        let place = self.place(arrival.id, options);
        if place == Place::Elsewhere {
            return false;
        }
        match correction {
            Correction::Parity(at) => {
                stats.parities += 1;
                if let Some(span) = Span::new(usize::from(at.number.saturating_sub(1))) {
                    self.span = self.span.max(span.get());
                    self.take_parity(now, arrival, span, place);
                }
            }
            Correction::Data(_) | Correction::None => {
                if self.span == 0 && correction != Correction::None {
                    self.span = Span::MAX.get();
                }
                self.take_data(now, arrival, place, options, stats);
            }
        }
        self.try_parities(now, stats);
        self.settle(now, options);
        true
    }

    /// Releases what is complete, and the gaps whose time is over.
    pub fn settle(&mut self, now: Instant, options: &Options) {
        if self.starting_until.is_some_and(|until| now < until) {
            return;
        }
        self.starting_until = None;
        while let Some(slot) = self.slot(self.released) {
            let is_crowded = self.end().wrapping_sub(self.released) > options.window.into();
            if slot.is_missing() && !is_crowded && now < slot.give_up_at(options) {
                break;
            }
            self.released = self.released.wrapping_add(1);
        }
    }

    /// Nothing before the first one is waited for any more.
    pub fn start(&mut self, now: Instant, options: &Options) {
        self.starting_until = None;
        self.settle(now, options);
    }

    /// Releases everything.
    pub fn flush(&mut self) {
        self.starting_until = None;
        self.released = self.end();
    }

    /// When [`settle`](Self::settle) has something to do without a packet.
    pub fn wake_at(&self, options: &Options) -> Option<Instant> {
        self.starting_until
            .or_else(|| Some(self.slot(self.released)?.give_up_at(options)))
    }

    /// The next number to come, once something came.
    pub fn end(&self) -> u32 {
        // No more than JUMP_MAX and what is held.
        self.first.wrapping_add(self.slots.len() as u32)
    }

    /// What is released has been told.
    pub fn is_told(&self) -> bool {
        self.next == self.released
    }

    /// The stream of the next packet to tell; `None` if there is nothing to tell, or something lost.
    pub fn next_stream(&self) -> Option<StreamId> {
        if self.is_told() {
            return None;
        }
        self.slot(self.next)
            .filter(|slot| !slot.is_missing())
            .map(|slot| slot.stream)
    }

    /// The streams of packets that are still to be told.
    pub fn held_streams(&self) -> impl Iterator<Item = StreamId> {
        let told = self.next.wrapping_sub(self.first) as usize;
        let held = self.slots.iter().skip(told);
        held.filter(|slot| !slot.is_missing())
            .map(|slot| slot.stream)
    }

    /// The next released packet, copied into `out`, or run of lost ones.
    pub fn tell(&mut self, out: &mut Vec<u8>) -> Option<Told> {
        if self.is_told() {
            return None;
        }
        let id = self.next;
        let slot = self.slot(id).expect("what is released has a slot");
        if !slot.is_missing() {
            out.clear();
            out.extend_from_slice(&slot.asf);
            let restored = slot.restored;
            self.next = id.wrapping_add(1);
            return Some(Told::Packet { id, restored });
        }
        let mut count = 0;
        while self.next != self.released && self.slot(self.next).is_some_and(Slot::is_missing) {
            self.next = self.next.wrapping_add(1);
            count += 1;
        }
        Some(Told::Lost { id, count })
    }

    fn take_data(
        &mut self,
        now: Instant,
        arrival: Arrival<'_>,
        place: Place,
        options: &Options,
        stats: &mut Stats,
    ) {
        let Arrival { id, stream, asf } = arrival;
        match place {
            Place::Begin => {
                (self.first, self.next, self.released) = (id, id, id);
                self.starting_until = Some(now + options.reorder);
                self.extend(now, id);
            }
            Place::Ahead => self.extend(now, id),
            Place::Before => self.extend_before(now, id),
            Place::Inside if !self.is_missing(id) => {
                stats.duplicates += 1;
                return;
            }
            Place::Inside => {}
            Place::Late | Place::Elsewhere => {
                stats.late += 1;
                return;
            }
        }
        if is_before(id, self.next) {
            // Too late to be told, but it may restore another one.
            stats.late += 1;
        } else if matches!(place, Place::Inside | Place::Before) {
            stats.reordered += 1;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(asf);
        self.fill(id, stream, bytes, false);
    }

    fn take_parity(&mut self, now: Instant, arrival: Arrival<'_>, span: Span, place: Place) {
        match place {
            Place::Ahead => self.extend(now, arrival.id),
            Place::Inside => {}
            // The span of what was before us.
            Place::Begin | Place::Before | Place::Late | Place::Elsewhere => return,
        }
        let known = |parity: &Parity| (parity.id, parity.stream) == (arrival.id, arrival.stream);
        if self.parities.iter().any(known) {
            return;
        }
        if self.parities.len() == PARITIES_MAX
            && let Some(oldest) = self.parities.pop_front()
        {
            self.recycle(oldest.asf);
        }
        let mut asf = self.spare.pop().unwrap_or_default();
        asf.extend_from_slice(arrival.asf);
        self.parities.push_back(Parity {
            id: arrival.id,
            stream: arrival.stream,
            span,
            asf,
        });
    }

    fn try_parities(&mut self, now: Instant, stats: &mut Stats) {
        let mut index = 0;
        while let Some(parity) = self.parities.get(index) {
            let (range, mut missing) = (parity.ids(), Vec::new());
            missing.extend(range.filter(|id| self.is_missing(*id)));
            let is_done = match missing[..] {
                _ if is_before(parity.id, self.next) => true,
                [] => true,
                [id] if !is_before(id, self.next) => match self.restored(index, id) {
                    Some(bytes) => {
                        self.fill(id, self.parities[index].stream, bytes, true);
                        stats.restored += 1;
                        true
                    }
                    None => false,
                },
                _ => false,
            };
            if is_done {
                let parity = self.parities.remove(index).expect("got above");
                self.recycle(parity.asf);
            } else {
                for id in missing {
                    self.give_up(now, id);
                }
                index += 1;
            }
        }
    }

    /// The one missing packet of a span.
    fn restored(&self, index: usize, id: u32) -> Option<Vec<u8>> {
        let parity = &self.parities[index];
        let mut number = 1;
        let mut others = Vec::with_capacity(usize::from(parity.span.get()));
        for (at, other) in (1..).zip(parity.ids()) {
            if other == id {
                number = at;
                continue;
            }
            let slot = self.slot(other)?;
            if slot.stream != parity.stream {
                return None;
            }
            others.push(&*slot.asf);
        }
        let mut bytes = Vec::new();
        restore(&parity.asf, &others, number, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Makes room up to `id`; who is further back than a span has no parity packet to hope for.
    fn extend(&mut self, now: Instant, id: u32) {
        let hopeless_from = self.end().wrapping_sub(self.span.into());
        while self.end() != id.wrapping_add(1) {
            self.slots.push_back(Slot::missing(now));
        }
        let hopeless_to = self.end().wrapping_sub(self.span.into());
        let mut id = hopeless_from;
        while id != hopeless_to {
            self.give_up(now, id);
            id = id.wrapping_add(1);
        }
    }

    fn extend_before(&mut self, now: Instant, id: u32) {
        while self.first != id {
            self.slots.push_front(Slot::missing(now));
            self.first = self.first.wrapping_sub(1);
        }
        (self.next, self.released) = (id, id);
    }

    fn give_up(&mut self, now: Instant, id: u32) {
        if let Some(slot) = self.slot_mut(id) {
            slot.hopeless_at.get_or_insert(now);
        }
    }

    fn fill(&mut self, id: u32, stream: StreamId, asf: Vec<u8>, restored: bool) {
        let slot = self.slot_mut(id).expect("room was made");
        slot.asf = asf;
        slot.stream = stream;
        slot.restored = restored;
    }

    fn place(&self, id: u32, options: &Options) -> Place {
        if self.slots.is_empty() {
            return Place::Begin;
        }
        if self.slot(id).is_some() {
            return Place::Inside;
        }
        if is_before(id, self.first) {
            let behind = self.next.wrapping_sub(id);
            return match self.starting_until {
                Some(_) if behind <= options.window.into() => Place::Before,
                None if behind <= LATE_MAX => Place::Late,
                _ => Place::Elsewhere,
            };
        }
        if id.wrapping_sub(self.end()) < JUMP_MAX {
            Place::Ahead
        } else {
            Place::Elsewhere
        }
    }

    fn is_missing(&self, id: u32) -> bool {
        self.slot(id).is_none_or(Slot::is_missing)
    }

    fn slot(&self, id: u32) -> Option<&Slot> {
        self.slots.get(id.wrapping_sub(self.first) as usize)
    }

    fn slot_mut(&mut self, id: u32) -> Option<&mut Slot> {
        self.slots.get_mut(id.wrapping_sub(self.first) as usize)
    }

    /// Drops what was told longer ago than any span reaches.
    fn trim(&mut self) {
        while self.next.wrapping_sub(self.first) > KEPT {
            let slot = self.slots.pop_front().expect("told ones are kept");
            self.first = self.first.wrapping_add(1);
            self.recycle(slot.asf);
        }
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && bytes.capacity() > 0 {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

impl Slot {
    fn missing(now: Instant) -> Self {
        Self {
            asf: Vec::new(),
            stream: StreamId(0),
            restored: false,
            noticed_at: now,
            hopeless_at: None,
        }
    }

    fn is_missing(&self) -> bool {
        self.asf.is_empty()
    }

    fn give_up_at(&self, options: &Options) -> Instant {
        let patient = self.noticed_at + options.patience;
        self.hopeless_at
            .map_or(patient, |at| patient.min(at + options.reorder))
    }
}

impl Parity {
    /// The numbers of its span.
    fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        let span = u32::from(self.span.get());
        let first = self.id.wrapping_sub(span - 1);
        (0..span).map(move |at| first.wrapping_add(at))
    }
}

/// Of two numbers that wrap, less than half of all apart.
fn is_before(id: u32, other: u32) -> bool {
    id.wrapping_sub(other) > u32::MAX / 2
}
