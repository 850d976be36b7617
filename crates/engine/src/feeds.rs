//! The logs this shard reads: each channel's own, one filtered log per selection its viewers made, and of each of these one with
//! heads for viewers whose heads are all alike.
//!
//! What is not the channel's own is written by this shard (`derived.rs`) and lives as long as somebody here reads it. Which form of a packet TCP
//! viewers get is decided here, once per packet and shard: stripped where the padding is above 5 % (DESIGN §5).

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use funnel_channel::{Epoch, Form, Guard, Reader};
use funnel_session::Selection;
use funnel_session::server::Framing;
use slab::Slab;

use crate::derived::Derived;
use crate::stations::Tuning;
use crate::trail::LogId;
use crate::train::due_at;

#[derive(Debug, Default)]
pub(crate) struct Feeds {
    feeds: Slab<Feed>,
    /// Feeds that lost a user since the last sweep.
    released: Vec<u32>,
    /// Feeds made so far: the number of the next.
    made: u32,
}

#[derive(Debug)]
pub(crate) struct Feed {
    /// All packets before this one are due as datagrams: what [`Pinned::due_end`] came to last.
    due_end: Cell<u64>,
    /// Tells it from those that had its place before.
    number: u32,
    station: u32,
    epoch: Arc<Epoch>,
    reader: Reader,
    users: u32,
    /// Its packets are those of another feed, made anew.
    derived: Option<Box<Derived>>,
    /// Streams that were left out of it.
    selection: Option<Selection>,
    /// Its packets have the heads of this framing in front: all viewers with it take the same bytes.
    framing: Option<Framing>,
    form: Form,
    /// Packets before this one have been looked at.
    seen: u64,
    full_bytes: u64,
    stripped_bytes: u64,
}

/// What a viewer wants of a channel's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) selection: Selection,
    /// Packets with the heads of this framing in front of them.
    pub(crate) framing: Option<Framing>,
}

/// A log pinned for one turn, and what trains need to know of it.
pub(crate) struct Pinned<'e> {
    pub(crate) guard: Guard<'e>,
    /// Tells it from those that had its place before.
    pub(crate) number: u32,
    pub(crate) station: u32,
    pub(crate) form: Form,
    due_end: &'e Cell<u64>,
}

impl Pinned<'_> {
    /// First packet that is not due as a datagram at `now`, the time of this turn. Each packet is looked at until it is due, and
    /// not by every viewer again.
    #[inline]
    pub(crate) fn due_end(&self, now: Instant) -> u64 {
        let mut end = self.due_end.get().max(self.guard.head());
        while end < self.guard.tail()
            && (self.guard.packet(end)).is_some_and(|packet| due_at(&packet) <= now)
        {
            end += 1;
        }
        self.due_end.set(end);
        end
    }

    /// Names it, `feed` being its place.
    pub(crate) fn log(&self, feed: u32) -> LogId {
        LogId {
            feed,
            number: self.number,
        }
    }
}

impl Feeds {
    /// The feed of what is wanted of an epoch, for one more user. `None` when the log has no
    /// reader place left or the header cannot be read.
    pub(crate) fn acquire(
        &mut self,
        station: u32,
        epoch: &Arc<Epoch>,
        wanted: Wanted,
        tuning: &Tuning,
        selections_max: usize,
        now: Instant,
    ) -> Option<u32> {
        let base =
            self.acquire_selection(station, epoch, wanted.selection, tuning, selections_max)?;
        let Some(framing) = wanted.framing else {
            return Some(base);
        };
        let of_base = |feed: &Feed| {
            let derived = feed.derived.as_ref();
            feed.framing == Some(framing) && derived.is_some_and(|derived| derived.base == base)
        };
        if let Some((index, feed)) = self.feeds.iter_mut().find(|(_, feed)| of_base(feed)) {
            feed.users += 1;
            self.release(base);
            return u32::try_from(index).ok();
        }
        let reader = &mut self.feeds[base as usize].reader;
        let log = Arc::clone(reader.log());
        let made = Derived::framed(base, &reader.pin(), &log, epoch, framing, tuning, now);
        let Some((derived, reader)) =
            made.and_then(|(derived, log)| Some((derived, log.reader()?)))
        else {
            self.release(base);
            return None;
        };
        Some(self.insert(Feed {
            derived: Some(Box::new(derived)),
            framing: Some(framing),
            ..Feed::new(station, epoch, reader)
        }))
    }

    fn acquire_selection(
        &mut self,
        station: u32,
        epoch: &Arc<Epoch>,
        selection: Selection,
        tuning: &Tuning,
        selections_max: usize,
    ) -> Option<u32> {
        if selection.covers(epoch.streams) {
            return self.acquire_base(station, epoch);
        }
        let selection = selection.within(epoch.streams);
        let of_epoch = |feed: &Feed| Arc::ptr_eq(&feed.epoch, epoch) && feed.selection.is_some();
        if let Some((index, feed)) = self
            .feeds
            .iter_mut()
            .find(|(_, feed)| of_epoch(feed) && feed.selection == Some(selection))
        {
            feed.users += 1;
            return u32::try_from(index).ok();
        }
        if self.feeds.iter().filter(|(_, feed)| of_epoch(feed)).count() >= selections_max {
            return self.acquire_base(station, epoch); // beyond the ceiling everything is sent (DESIGN §6.12)
        }
        let base = self.acquire_base(station, epoch)?;
        let reader = &mut self.feeds[base as usize].reader;
        let log = Arc::clone(reader.log());
        let made = Derived::filtered(base, &reader.pin(), &log, epoch, selection, tuning);
        let Some((derived, reader)) =
            made.and_then(|(derived, log)| Some((derived, log.reader()?)))
        else {
            self.release(base);
            return None;
        };
        Some(self.insert(Feed {
            derived: Some(Box::new(derived)),
            selection: Some(selection),
            ..Feed::new(station, epoch, reader)
        }))
    }

    fn acquire_base(&mut self, station: u32, epoch: &Arc<Epoch>) -> Option<u32> {
        if let Some((index, feed)) = self
            .feeds
            .iter_mut()
            .find(|(_, feed)| Arc::ptr_eq(&feed.epoch, epoch) && feed.derived.is_none())
        {
            feed.users += 1;
            return u32::try_from(index).ok();
        }
        let reader = epoch.log.reader()?;
        Some(self.insert(Feed::new(station, epoch, reader)))
    }

    fn insert(&mut self, mut feed: Feed) -> u32 {
        feed.number = self.made;
        self.made = self.made.wrapping_add(1);
        u32::try_from(self.feeds.insert(feed))
            .expect("fewer feeds than viewers, and those are counted in 32 bits")
    }

    /// One user less; the feed goes at the next [`Feeds::sweep`].
    pub(crate) fn release(&mut self, feed: u32) {
        self.released.push(feed);
    }

    /// Lets feeds go that nobody uses any more. Not while results of sends are outstanding.
    pub(crate) fn sweep(&mut self) {
        while let Some(index) = self.released.pop() {
            let Some(feed) = self.feeds.get_mut(index as usize) else {
                continue;
            };
            feed.users -= 1;
            if feed.users == 0 {
                let feed = self.feeds.remove(index as usize);
                if let Some(derived) = feed.derived {
                    self.released.push(derived.base);
                }
            }
        }
    }

    /// Brings the derived logs up to date and looks at the padding of new packets. Logs with heads last: they may be made of
    /// filtered ones.
    pub(crate) fn refresh(&mut self, now: Instant) {
        for has_heads in [false, true] {
            for index in 0..self.feeds.capacity() {
                let Some(mut derived) = self
                    .feeds
                    .get_mut(index)
                    .filter(|feed| feed.framing.is_some() == has_heads)
                    .and_then(|feed| feed.derived.take())
                else {
                    continue;
                };
                if let Some(base) = self.feeds.get_mut(derived.base as usize) {
                    base.classify(); // a new one may not have been looked at yet
                    derived.follow(now, &base.reader.pin(), base.form);
                }
                self.feeds[index].derived = Some(derived);
            }
        }
        for (_, feed) in &mut self.feeds {
            feed.classify();
        }
    }

    /// Pins every feed, at its own index.
    pub(crate) fn pin<'e>(&'e mut self, pinned: &mut Vec<Option<Pinned<'e>>>) {
        for (index, feed) in &mut self.feeds {
            pinned.resize_with(index, || None);
            pinned.push(Some(Pinned {
                number: feed.number,
                station: feed.station,
                form: feed.form,
                guard: feed.reader.pin(),
                due_end: &feed.due_end,
            }));
        }
    }

    /// Pins one feed, outside of a turn.
    pub(crate) fn with_pinned(&mut self, feed: u32, look: &mut dyn FnMut(&Guard<'_>)) {
        if let Some(feed) = self.feeds.get_mut(feed as usize) {
            look(&feed.reader.pin());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.feeds.len()
    }
}

impl Feed {
    fn new(station: u32, epoch: &Arc<Epoch>, reader: Reader) -> Self {
        Self {
            due_end: Cell::new(0),
            number: 0, // given when it gets its place
            station,
            epoch: Arc::clone(epoch),
            reader,
            users: 1,
            derived: None,
            selection: None,
            framing: None,
            form: Form::Full,
            seen: 0,
            full_bytes: 0,
            stripped_bytes: 0,
        }
    }

    /// Adds the new packets to the padding's running share.
    fn classify(&mut self) {
        let guard = self.reader.pin();
        let from = self
            .seen
            .max(guard.head())
            .max(guard.tail().saturating_sub(CLASSIFIED_MAX));
        for packet in (from..guard.tail()).filter_map(|seq| guard.packet(seq)) {
            self.full_bytes += packet.bytes(Form::Full, false).len() as u64;
            self.stripped_bytes += packet.bytes(Form::Stripped, false).len() as u64;
        }
        self.seen = guard.tail();
        if self.full_bytes > CLASSIFIED_BYTES {
            self.full_bytes /= 2;
            self.stripped_bytes /= 2;
        }
        // Above 5 % of padding: stripped < 95 % of full.
        self.form = if self.stripped_bytes * 20 < self.full_bytes * 19 {
            Form::Stripped
        } else {
            Form::Full
        };
    }
}

/// Packets looked at per turn and feed for their padding.
const CLASSIFIED_MAX: u64 = 256;
/// Bytes after which older packets count half.
const CLASSIFIED_BYTES: u64 = 1 << 20;
