//! The engine itself: connections come and go, sessions speak, channels change, viewers fall due.
//!
//! What a viewer is sent in a turn is decided in `sends.rs`; here is everything that may be slow.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::server::{HandOver, Input, Order, Redirect, Session, Settings};
use slab::Slab;

use crate::admission::Admission;
use crate::control::{self, Taken};
use crate::errno::{EAGAIN, ECONNRESET, EPIPE};
use crate::feeds::Feeds;
use crate::outgoing::Buffers;
use crate::report::{Counters, Reason, Report, ViewerStats};
use crate::resend::Budget;
use crate::sends::{Guards, Sends, Spare};
use crate::stations::{Served, Station};
use crate::udp::{Lane, UdpLimits};
use crate::viewer::{Carriage, Exit, Flight, Hot, Key, Viewer};
use crate::wheel::Wheel;

/// What an engine is made with.
pub struct EngineConfig {
    /// What all sessions have in common.
    pub settings: Arc<Settings>,
    /// The server's ceilings.
    pub admission: Arc<Admission>,
    /// Finds a channel by a name a player gave.
    pub lookup: Lookup,
    /// Connections this engine takes at most.
    pub viewers_max: usize,
    /// Filtered logs per channel.
    pub selections_max: usize,
    /// Sends per turn; the ring's submission queue.
    pub sends_max: usize,
    /// Bytes per visit to a viewer.
    pub visit_bytes_max: u64,
    /// Number of this engine among `shards`: the low bits of its viewers' client ids, by which resend requests find it.
    pub shard: u16,
    /// How many engines there are.
    pub shards: u16,
    /// What it may do over UDP.
    pub udp: UdpLimits,
}

/// Finds a channel by name.
pub type Lookup = Box<dyn Fn(&str) -> Option<Found>>;

/// What stands under a channel's name.
#[derive(Clone, Debug)]
pub enum Found {
    /// A channel of this server.
    Channel(Served),
    /// It is elsewhere.
    Elsewhere(Arc<Redirect>),
}

/// What the owner has to do with a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Tell [`Engine::writable`] when its socket takes bytes again.
    AwaitWritable(Key),
    /// Its header and media go over UDP from now on. They are to leave from the address its connection came to.
    Datagrams(Key),
    /// Close it, after what was sent. The key is void.
    Close(Key),
    /// Close it at once. The key is void.
    Abort(Key),
    /// Somebody else goes on with it. The key is void.
    HandOver(Key, HandOver),
    /// Give this to [`Engine::order`] of another shard's engine.
    Forward {
        /// Which shard.
        shard: u16,
        /// Whom it is for.
        connection: u32,
        /// What is asked.
        order: Order,
    },
}

/// One core's viewers. See the crate's documentation for the contract.
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) viewers: Slab<Viewer>,
    /// By the same index; places nobody is at keep their last record.
    pub(crate) hot: Vec<Hot>,
    /// By the same index, for viewers over UDP; as long as the highest of them.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) stations: Vec<Station>,
    pub(crate) feeds: Feeds,
    wheel: Wheel,
    /// Viewers to look at in the next turn.
    ready: Vec<u32>,
    /// The list that becomes `ready` when this turn's is taken.
    spare_list: Vec<u32>,
    visits: Vec<u32>,
    /// Feeds viewers left while trains were coupled.
    released: Vec<u32>,
    spare: Option<Spare>,
    pub(crate) buffers: Buffers,
    pub(crate) actions: Vec<Action>,
    pub(crate) reports: Vec<Report>,
    pub(crate) counters: Counters,
    next_generation: u32,
    pub(crate) draining: bool,
    /// The viewers over UDP, and those that play over HTTP, by client id.
    pub(crate) clients: HashMap<u32, u32>,
    pub(crate) resend_budget: Budget,
    /// The kernel cuts trains into datagrams (UDP_SEGMENT), as far as is known.
    pub(crate) segments: bool,
}

impl Engine {
    /// An engine without viewers. `now` is the beginning of its time.
    pub fn new(config: EngineConfig, now: Instant) -> Self {
        let mut wheel = Wheel::new(now);
        wheel.reserve(config.viewers_max);
        let list = || Vec::with_capacity(config.viewers_max);
        Self {
            viewers: Slab::with_capacity(config.viewers_max.min(VIEWERS_AT_START)),
            hot: Vec::with_capacity(config.viewers_max),
            lanes: Vec::with_capacity(config.viewers_max),
            stations: Vec::new(),
            feeds: Feeds::default(),
            wheel,
            ready: list(),
            spare_list: list(),
            visits: list(),
            released: Vec::new(),
            spare: None,
            buffers: Buffers::new(config.sends_max), // no turn makes more messages than sends, in steady state
            actions: Vec::new(),
            reports: Vec::new(),
            counters: Counters::default(),
            next_generation: 0,
            draining: false,
            clients: HashMap::new(),
            resend_budget: Budget::of_engine(config.udp.resends_per_second, now),
            segments: true,
            config,
        }
    }

    /// A connection was accepted. `random` must be unpredictable. `None`: no place left, abort it.
    pub fn accept(&mut self, now: Instant, peer: SocketAddr, random: u64) -> Option<Key> {
        if self.viewers.len() >= self.config.viewers_max || self.draining {
            return None;
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1) & Key::GENERATION_MAX;
        let mask = u64::from(self.shard_mask());
        let random = random & !mask | u64::from(self.config.shard) & mask; // the session makes its client id of it
        let session = Session::new(Arc::clone(&self.config.settings), random, now);
        let index = u32::try_from(self.viewers.insert(Viewer::new(peer, session))).ok()?;
        let hot = Hot::new(generation, now);
        match self.hot.get_mut(index as usize) {
            Some(place) => *place = hot,
            None => self.hot.push(hot), // the table of viewers takes a free place or the next one
        }
        self.counters.accepted += 1;
        self.pump(index, now, false);
        Some(Key { index, generation })
    }

    /// Bytes came from a player.
    pub fn received(&mut self, now: Instant, key: Key, bytes: &[u8]) {
        let Some(index) = self.find(key) else { return };
        if let Some((Exit::HandOver(hand_over), _)) = &mut self.viewers[index as usize].closing {
            // Still here for its last answers: whoever goes on with it hears this.
            hand_over.received.extend_from_slice(bytes);
            if hand_over.received.len() > HANDED_BYTES_MAX {
                self.end_hoarder(index);
            }
            return;
        }
        self.feed(index, now, Input::Received(bytes));
    }

    /// The player closed its side (`result` 0) or its socket failed (`-errno`).
    pub fn hung_up(&mut self, key: Key, result: i32) {
        let Some(index) = self.find(key) else { return };
        if result == 0 && self.viewers[index as usize].closing.is_some() {
            return; // it hears its last answers first; a desk that goes on with it finds the end of its words again
        }
        let reason = match result {
            0 => Reason::PeerClosed,
            // Gone without a word is a player's usual way to leave (protocol page §5.25).
            errno if [-ECONNRESET, -EPIPE].contains(&errno) => Reason::PeerClosed,
            errno => Reason::Kernel(-errno),
        };
        match result {
            0 => self.remove(index, reason, Action::Close),
            _ => self.remove(index, reason, Action::Abort),
        }
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, now: Instant, key: Key) {
        let Some(index) = self.find(key) else { return };
        let viewer = &mut self.viewers[index as usize];
        if let Some(since) = viewer.blocked.take() {
            let stalled =
                u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
            viewer.stats.lag_ms_max = viewer.stats.lag_ms_max.max(stalled);
        }
        if let Some(media) = &mut viewer.media {
            media.lagged = true;
            self.hot[index as usize].next_visit = now;
        }
        self.queue(index);
    }

    /// The kernel's answer to a send: bytes taken, or `-errno`.
    pub fn sent(&mut self, now: Instant, key: Key, result: i32) {
        let Some(index) = self.find(key) else { return };
        let sent = match usize::try_from(result) {
            Ok(sent) => sent,
            Err(_) if self.is_datagram(index) => {
                return self.datagrams_refused(index, -result, now);
            }
            Err(_) if result == -EAGAIN => 0,
            Err(_) => return self.hung_up(key, result),
        };
        let hot = &mut self.hot[index as usize];
        if let Flight::Steady(train) = hot.flight
            && hot.steady
            && sent == train.bytes as usize
        {
            hot.flight = Flight::None;
            hot.progress_at = now;
            hot.count(sent, u32::from(train.packets), &mut self.counters);
            if hot.next_visit <= now {
                self.list(index);
            }
            return;
        }
        let viewer = &mut self.viewers[index as usize];
        let feeds = &mut self.feeds;
        let taken = control::settle(
            hot,
            viewer,
            sent,
            now,
            &mut self.counters,
            &mut self.buffers,
            |train, look| feeds.with_pinned(train.feed, look),
        );
        match taken {
            Taken::Whole => {
                let more = viewer.has_urgent() || viewer.closing.is_some();
                if more
                    || viewer
                        .media
                        .as_ref()
                        .is_some_and(|media| media.drained || hot.next_visit <= now)
                {
                    self.queue(index);
                }
            }
            Taken::Part => {
                viewer.blocked = Some(now);
                hot.steady = false;
                self.counters.short_sends += 1;
                self.actions.push(Action::AwaitWritable(key));
                self.sleep(index);
            }
            Taken::Torn => {
                self.counters.torn += 1;
                self.remove(index, Reason::Lag(Duration::ZERO), Action::Abort);
            }
        }
    }

    /// Ends every session in the protocol's way; nobody is accepted any more. Done when [`Engine::is_empty`].
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        for index in self.indices() {
            self.feed(index, now, Input::Shutdown);
        }
    }

    /// Begins a turn: looks at channels and timers, pins the logs, and returns the sends that are due and when to wake.
    pub fn begin(&mut self, now: Instant) -> (Guards<'_>, Sends<'_>, Option<Instant>) {
        while let Some(feed) = self.released.pop() {
            self.feeds.release(feed);
        }
        self.feeds.sweep();
        self.look_at_stations(now);
        self.wheel.expire(now, &mut self.visits);
        while let Some(index) = self.visits.pop() {
            self.list(index);
        }
        let mut due = std::mem::replace(&mut self.ready, std::mem::take(&mut self.spare_list));
        for (position, &index) in due.iter().enumerate() {
            if self.visits.len() >= self.config.sends_max {
                self.ready.extend_from_slice(&due[position..]); // still queued: first in the next turn
                break;
            }
            // A place stands here twice when its viewer left and another got it: the second time nothing is queued.
            if std::mem::take(&mut self.hot[index as usize].queued) {
                self.attend(index, now);
            }
        }
        due.clear();
        self.spare_list = due;
        if self.feeds.len() > 0 {
            self.feeds.refresh(now);
        }
        // No sleep while something waits for the owner, or for timers that are set while filling.
        let idle = self.ready.is_empty() && self.visits.is_empty();
        let told = self.actions.is_empty() && self.reports.is_empty();
        let wake = if idle && told {
            self.wheel.next_deadline()
        } else {
            Some(now)
        };
        let mut pinned: Vec<Option<crate::feeds::Pinned<'_>>> =
            self.spare.take().map(|spare| spare.0).unwrap_or_default();
        if !self.visits.is_empty() {
            self.feeds.pin(&mut pinned);
        }
        let sends = Sends {
            viewers: &mut self.viewers,
            hot: &mut self.hot,
            lanes: &mut self.lanes,
            stations: &self.stations,
            visits: &mut self.visits,
            ready: &mut self.ready,
            released: &mut self.released,
            wheel: &mut self.wheel,
            counters: &mut self.counters,
            now,
            sends_max: self.config.sends_max,
            visit_bytes_max: self.config.visit_bytes_max,
            segments: self.segments,
        };
        (Guards { pinned }, sends, wake)
    }

    /// Ends a turn: takes back what [`Guards::release`] returned.
    pub fn end(&mut self, spare: Spare) {
        self.spare = Some(spare);
    }

    /// What the owner has to do, each once.
    pub fn actions(&mut self) -> std::vec::Drain<'_, Action> {
        self.actions.drain(..)
    }

    /// What there is to log, each once.
    pub fn reports(&mut self) -> std::vec::Drain<'_, Report> {
        self.reports.drain(..)
    }

    /// Totals since the start, and what is now.
    pub fn counters(&self) -> Counters {
        let playing = self
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.media.is_some())
            .count();
        Counters {
            connections: self.viewers.len() as u64,
            playing: playing as u64,
            ..self.counters
        }
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    /// Logs held open now: one per channel with viewers, one per selection, and of each one with heads for viewers who share them.
    pub fn feeds_count(&self) -> usize {
        self.feeds.len()
    }

    /// Bytes of messages and cut packets that wait for their sockets. Walks all viewers: for tests and rare looks.
    pub fn queued_bytes(&self) -> usize {
        self.viewers
            .iter()
            .map(|(_, viewer)| viewer.queued_bytes())
            .sum()
    }

    /// Looks at a viewer whose time has come; puts it on the list of visits if something is to be sent.
    fn attend(&mut self, index: u32, now: Instant) {
        let hot = &self.hot[index as usize];
        let session_due = hot.session_wake.is_some_and(|at| at <= now);
        if hot.steady && !session_due {
            debug_assert!(self.viewers[index as usize].is_steady(hot));
            if hot.next_visit <= now {
                self.visits.push(index);
            } else {
                self.sleep(index);
            }
            return;
        }
        if session_due {
            let progress_at = hot.progress_at;
            // What the kernel takes over UDP says nothing of the player.
            if hot.carriage != Carriage::Datagrams {
                self.viewers[index as usize]
                    .session
                    .note_progress(progress_at);
            }
            self.feed(index, now, Input::Timeout);
        }
        if !self.give_up(index, now) {
            return;
        }
        self.answer(index, now);
        self.attend_media(index, now);
        let Some(viewer) = self.viewers.get_mut(index as usize) else {
            return;
        };
        let hot = &self.hot[index as usize];
        let flushed = !viewer.has_urgent() && hot.flight == Flight::None;
        match viewer.closing.take_if(|_| flushed) {
            None => {}
            Some((Exit::Close(hr), _)) => {
                return self.remove(index, Reason::Closed(hr), Action::Close);
            }
            Some((Exit::HandOver(hand_over), _)) => {
                return self.remove(index, Reason::HandedOver, |key| {
                    Action::HandOver(key, *hand_over)
                });
            }
        }
        if viewer.may_send(hot, now) {
            self.visits.push(index);
        } else {
            self.sleep(index);
        }
    }

    /// Closes a viewer that stalls for too long or does not take its last messages. Whether it is still there.
    fn give_up(&mut self, index: u32, now: Instant) -> bool {
        let Some(viewer) = self.viewers.get_mut(index as usize) else {
            return false;
        };
        // The channel's patience is looked up only for who tries it: a cold line per visit otherwise.
        let stalled = viewer.blocked.and_then(|since| {
            let stalled = now.saturating_duration_since(since);
            (stalled >= patience(viewer, &self.stations)).then_some(stalled)
        });
        if let Some(stalled) = stalled {
            viewer.stats.lag_ms_max = viewer
                .stats
                .lag_ms_max
                .max(u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX));
            self.counters.lag_closed += 1;
            self.remove(index, Reason::Lag(stalled), Action::Abort);
            return false;
        }
        let closing = viewer.closing.as_ref();
        if closing.is_some_and(|(_, until)| *until <= now) {
            self.remove(index, Reason::Unflushed, Action::Abort);
            return false;
        }
        true
    }

    pub(crate) fn sleep(&mut self, index: u32) {
        let hot = &self.hot[index as usize];
        if hot.steady {
            return self.wheel.set(index, hot.deadline());
        }
        let viewer = &self.viewers[index as usize];
        let limit = viewer.blocked.map(|_| patience(viewer, &self.stations));
        match viewer.deadline(hot, limit) {
            Some(deadline) => self.wheel.set(index, deadline),
            None => self.wheel.cancel(index),
        }
    }

    /// Something of a viewer has changed: the next turn looks at all of it.
    pub(crate) fn queue(&mut self, index: u32) {
        if let Some(hot) = self.hot.get_mut(index as usize).filter(|hot| hot.taken) {
            hot.steady = false;
            self.list(index);
        }
    }

    /// Puts a viewer on the list of the next turn.
    fn list(&mut self, index: u32) {
        if let Some(hot) = self.hot.get_mut(index as usize).filter(|hot| !hot.queued) {
            hot.queued = true;
            self.ready.push(index);
        }
    }

    /// Gives a session one input and does what it says.
    pub(crate) fn feed(&mut self, index: u32, now: Instant, input: Input<'_>) {
        let Some(viewer) = self.viewers.get_mut(index as usize) else {
            return;
        };
        let is_of_player = matches!(input, Input::Received(_));
        if let Err(error) = viewer.session.handle_input(now, input) {
            self.counters.faults += 1;
            return self.remove(index, Reason::PeerFault(error.to_string()), Action::Abort);
        }
        self.pump(index, now, is_of_player);
    }

    /// Ends a viewer that lets its answers pile up.
    pub(crate) fn end_hoarder(&mut self, index: u32) {
        self.counters.faults += 1;
        let reason = Reason::PeerFault("it asks and does not take the answers".into());
        self.remove(index, reason, Action::Abort);
    }

    pub(crate) fn remove(
        &mut self,
        index: u32,
        reason: Reason,
        action: impl FnOnce(Key) -> Action,
    ) {
        let Some(viewer) = self.viewers.get(index as usize) else {
            return;
        };
        let hot = &mut self.hot[index as usize];
        (hot.taken, hot.queued) = (false, false);
        let key = Key {
            index,
            generation: hot.generation,
        };
        let stats = ViewerStats {
            packets: hot.packets,
            bytes: hot.bytes,
            ..viewer.stats
        };
        let channel = viewer.open.as_ref().map(|open| {
            self.stations[open.station as usize]
                .served
                .channel
                .name()
                .to_owned()
        });
        let report = Report::Left {
            peer: viewer.peer,
            agent: viewer.session.agent().to_owned(),
            channel,
            reason,
            stats,
        };
        self.leave_channel(index);
        self.drop_udp(index);
        self.expect_no_orders(index);
        self.wheel.cancel(index);
        let mut viewer = self.viewers.remove(index as usize);
        viewer.control.clear(&mut self.buffers);
        self.buffers.give(viewer.cut);
        self.reports.push(report);
        self.actions.push(action(key));
    }

    fn find(&self, key: Key) -> Option<u32> {
        let hot = self.hot.get(key.index as usize)?;
        (hot.taken && hot.generation == key.generation).then_some(key.index)
    }

    pub(crate) fn indices(&self) -> Vec<u32> {
        self.viewers
            .iter()
            .filter_map(|(index, _)| u32::try_from(index).ok())
            .collect()
    }
}

/// How long a viewer may take nothing.
fn patience(viewer: &Viewer, stations: &[Station]) -> Duration {
    let open = viewer.open.as_ref();
    open.map_or(UNSENT_MAX, |open| {
        stations[open.station as usize].served.tuning.lag_disconnect
    })
}

/// Slots made before the first viewer comes; the table doubles from there.
const VIEWERS_AT_START: usize = 1024;
/// What may have been heard of a connection when it is handed over: a request's head, and what comes while answers before it
/// are flushed.
const HANDED_BYTES_MAX: usize = 256 << 10;
/// How long a player that has nothing open may take nothing of what it is sent.
const UNSENT_MAX: Duration = Duration::from_secs(10);
