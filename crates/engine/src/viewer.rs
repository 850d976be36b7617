//! One viewer: a session, a place in the log, and what its socket still has to take.
//!
//! In two parts, in two tables with the same index. [`Hot`] is all that a *steady* visit reads and writes: the next train
//! goes out, the kernel takes it whole, nothing else happens. It is two cache lines in a dense table, because what a visit
//! costs is memory. [`Viewer`] is everything else. `Hot::steady` is the promise that a visit needs no [`Viewer`], or, over UDP,
//! nothing of it but [`Viewer::udp`]: only the end of a visit that looked at everything gives it, and whoever changes anything
//! takes it back (`Engine::queue`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{Epoch, Form};
use funnel_session::HResult;
use funnel_session::server::{Framing, HandOver, Play, Session};

use crate::admission::Permit;
use crate::feeds::Wanted;
use crate::outgoing::{Buffers, Messages};
use crate::pacing::FastStart;
use crate::report::{Counters, ViewerStats};
use crate::train::Coupled;
use crate::udp::Udp;

/// Names a connection. The index is below `viewers_max` and reused; the generation is not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    /// Place in the engine's table.
    pub index: u32,
    /// Tells this connection from earlier ones at the same place.
    pub generation: u32,
}

impl Key {
    /// Generations have 31 bits, so that an owner who makes one number of a key has a bit for what is no viewer.
    pub const GENERATION_MAX: u32 = u32::MAX >> 1;
}

/// What a steady visit needs of a viewer.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Hot {
    /// Where it stands. Valid while it plays; the sequence number counts on over all runs.
    pub(crate) run: Run,
    /// Log it reads; `None` while it waits for one or does not play.
    pub(crate) feed: Option<u32>,
    pub(crate) next_visit: Instant,
    /// How far behind the live edge it stays, from a bounded fast start.
    pub(crate) delay_ms: u32,
    /// When the session wants to be woken.
    pub(crate) session_wake: Option<Instant>,
    /// When the kernel last took something; the session is told before its deadline is looked at.
    pub(crate) progress_at: Instant,
    pub(crate) flight: Flight,
    /// Bytes and whole packets the kernel took: [`ViewerStats::bytes`] and [`ViewerStats::packets`].
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    /// Tells this connection from earlier ones with the same index.
    pub(crate) generation: u32,
    /// Somebody is at this place.
    pub(crate) taken: bool,
    /// It stands in the list for the next turn.
    pub(crate) queued: bool,
    /// Nothing but the next train is to be done: until the session's deadline no visit needs the [`Viewer`].
    pub(crate) steady: bool,
    pub(crate) carriage: Carriage,
}

const _: () = assert!(size_of::<Hot>() == 128);

/// How a viewer's media travels. Stands still during a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carriage {
    /// Over its connection, in the form its log's viewers take.
    Stream,
    /// The same, but never stripped packets.
    PaddedStream,
    /// As datagrams, never stripped either: trains are cut into equal sizes.
    Datagrams,
}

/// What the engine knows about a connection besides. Parts that are rare are behind pointers: see the size below.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) peer: SocketAddr,
    pub(crate) session: Session,
    /// Messages and header fragments to send.
    pub(crate) control: Messages,
    /// Rest of a packet the kernel took a part of; goes before everything else.
    pub(crate) cut: Vec<u8>,
    pub(crate) cut_sent: usize,
    /// What it needs while its media goes over UDP.
    pub(crate) udp: Option<Box<Udp>>,
    /// The train in flight, when it is [`Flight::Noted`].
    pub(crate) train: Option<Train>,
    /// Since when the socket takes nothing.
    pub(crate) blocked: Option<Instant>,
    /// A channel it waits for.
    pub(crate) opening: Option<Box<Opening>>,
    pub(crate) open: Option<Box<Open>>,
    pub(crate) media: Option<Box<Media>>,
    /// The session is over: this follows when everything is flushed, or an abort at this time.
    pub(crate) closing: Option<(Exit, Instant)>,
    /// What it got; bytes and packets are counted in [`Hot`].
    pub(crate) stats: ViewerStats,
}

// DESIGN: a viewer costs at most 4 KiB of resident memory, heap parts included.
const _: () = assert!(size_of::<Viewer>() <= 1024);

/// How a session ends.
#[derive(Debug)]
pub(crate) enum Exit {
    Close(HResult),
    HandOver(Box<HandOver>),
}

/// A channel a viewer waits for.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) station: u32,
    pub(crate) until: Instant,
    /// As received, for the log.
    pub(crate) wanted: String,
}

/// A channel a viewer has open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) station: u32,
    /// Whose header the player has.
    pub(crate) epoch: Arc<Epoch>,
    /// Its place among the server's viewers, for as long as the channel is open.
    pub(crate) _permit: Permit,
}

/// A run of media: what a steady visit does not need.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) wanted: Wanted,
    /// Log to change to at its next clean point, after a stream switch.
    pub(crate) switch_to: Option<u32>,
    pub(crate) fast_start: Option<FastStart>,
    /// Its visits have a phase of their own.
    pub(crate) spread: bool,
    /// It was moved when no clean point was there: what it misses is counted up to here.
    pub(crate) missed_until: Option<u64>,
    /// How often it has looked in vain whether its show was rewound.
    pub(crate) rewind_polls: u8,
    /// It has everything to the end of its log.
    pub(crate) drained: bool,
    /// Its socket was full: note how far behind it is.
    pub(crate) lagged: bool,
}

impl Media {
    pub(crate) fn new(play: &Play, fast_start: Option<FastStart>) -> Self {
        Self {
            wanted: Wanted {
                selection: play.selection,
                framing: shared_framing(play),
            },
            switch_to: None,
            fast_start,
            spread: false,
            missed_until: None,
            rewind_polls: 0,
            drained: false,
            lagged: false,
        }
    }
}

/// The framing of a log whose packets have their heads already, if this is to be sent from one.
fn shared_framing(play: &Play) -> Option<Framing> {
    (play.framing.is_shared() && !play.keep_padding).then_some(play.framing)
}

/// Where a viewer stands in its log and its stream: all that a train changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) framing: Framing,
    /// Number of the next packet, or [`UNJOINED`].
    pub(crate) cursor: u64,
    pub(crate) sequence: u32,
    /// The clean point it joined at, while it takes the forms made for joiners there.
    pub(crate) joined_at: Option<u64>,
}

/// No clean point was there to join at.
pub(crate) const UNJOINED: u64 = u64::MAX;

/// What the kernel has been given and not yet answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flight {
    None,
    Cut,
    Control,
    /// A message of the queue that goes over UDP: a part of a header.
    Datagram,
    /// The first packet of those it asked for again.
    Resend,
    /// A train that ends where the viewer stands now, in its present log.
    Steady(SteadyTrain),
    /// Any other train: [`Viewer::train`].
    Noted,
}

/// What is not known of a steady train from where the viewer stands behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SteadyTrain {
    /// Packets, those that were skipped not among them.
    pub(crate) packets: u16,
    pub(crate) form: Form,
    /// What the cursor moved.
    pub(crate) span: u32,
    pub(crate) bytes: u32,
}

impl SteadyTrain {
    pub(crate) fn new(span: u64, form: Form, coupled: &Coupled) -> Self {
        // At most PACKETS_MAX packets of 64 KiB; and a log has far fewer slots than 2³².
        Self {
            packets: coupled.packets as u16,
            form,
            span: span as u32,
            bytes: coupled.bytes as u32,
        }
    }
}

/// A train as it left, so that its cut can be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Train {
    pub(crate) feed: u32,
    pub(crate) start: Run,
    /// First packet it does not hold.
    pub(crate) end: u64,
    pub(crate) form: Form,
    pub(crate) bytes: usize,
    pub(crate) packets: u32,
    /// It went over UDP.
    pub(crate) datagrams: bool,
    /// Its run was stopped while the kernel had it.
    pub(crate) stopped: bool,
}

impl Hot {
    pub(crate) fn new(generation: u32, now: Instant) -> Self {
        Self {
            run: Run {
                framing: Framing::default(),
                cursor: UNJOINED,
                sequence: 0,
                joined_at: None,
            },
            feed: None,
            next_visit: now,
            delay_ms: 0,
            session_wake: None,
            progress_at: now,
            flight: Flight::None,
            bytes: 0,
            packets: 0,
            generation,
            taken: true,
            queued: false,
            steady: false,
            carriage: Carriage::Stream,
        }
    }

    /// Begins a run of media.
    pub(crate) fn play(&mut self, play: &Play, over_udp: bool, now: Instant) {
        self.run = Run {
            framing: match shared_framing(play) {
                Some(_) => Framing::ASF, // the heads stand in the log
                None => play.framing,
            },
            cursor: UNJOINED,
            sequence: play.framing.first_sequence(self.run.sequence),
            joined_at: None,
        };
        self.feed = None;
        self.next_visit = now;
        self.delay_ms = 0;
        self.carriage = match (over_udp, play.keep_padding) {
            (true, _) => Carriage::Datagrams,
            (false, true) => Carriage::PaddedStream,
            (false, false) => Carriage::Stream,
        };
    }

    /// How far behind the live edge it stays.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(u64::from(self.delay_ms))
    }

    /// Its next packet goes out once it was published before this.
    pub(crate) fn published_until(&self, now: Instant) -> Option<Instant> {
        (self.delay_ms > 0).then(|| now.checked_sub(self.delay()).unwrap_or(now))
    }

    /// The form it takes of a log whose viewers take `form`.
    pub(crate) fn form(&self, form: Form) -> Form {
        match self.carriage {
            Carriage::Stream => form,
            Carriage::PaddedStream | Carriage::Datagrams => Form::Full,
        }
    }

    /// The steady train in flight at its full length; `None` when something else is.
    pub(crate) fn train(&self) -> Option<Train> {
        let (Flight::Steady(train), Some(feed)) = (self.flight, self.feed) else {
            return None;
        };
        Some(Train {
            feed,
            start: Run {
                cursor: self.run.cursor - u64::from(train.span),
                sequence: self.run.sequence.wrapping_sub(u32::from(train.packets)),
                ..self.run
            },
            end: self.run.cursor,
            form: train.form,
            bytes: train.bytes as usize,
            packets: u32::from(train.packets),
            datagrams: self.carriage == Carriage::Datagrams,
            stopped: false,
        })
    }

    /// When a steady viewer must be looked at next.
    pub(crate) fn deadline(&self) -> Instant {
        self.session_wake
            .map_or(self.next_visit, |at| at.min(self.next_visit))
    }

    /// Counts what the kernel took.
    pub(crate) fn count(&mut self, bytes: usize, packets: u32, counters: &mut Counters) {
        self.bytes += bytes as u64;
        self.packets += u64::from(packets);
        counters.bytes += bytes as u64;
        counters.packets += u64::from(packets);
    }
}

impl Viewer {
    pub(crate) fn new(peer: SocketAddr, session: Session) -> Self {
        Self {
            peer,
            session,
            control: Messages::default(),
            cut: Vec::new(),
            cut_sent: 0,
            udp: None,
            train: None,
            blocked: None,
            opening: None,
            open: None,
            media: None,
            closing: None,
            stats: ViewerStats::default(),
        }
    }

    /// Whether anything but media waits for the socket.
    pub(crate) fn has_urgent(&self) -> bool {
        let again = |udp: &Udp| !udp.resends.is_empty();
        !self.cut.is_empty() || !self.control.is_empty() || self.udp.as_deref().is_some_and(again)
    }

    /// Bytes that wait for the socket, media in the log not among them.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.cut.len() + self.control.waiting_bytes()
    }

    /// What the kernel had as a datagram that is no train waits no longer. Whether it did.
    pub(crate) fn drop_first_datagram(&mut self, flight: Flight, buffers: &mut Buffers) -> bool {
        if flight == Flight::Datagram {
            return self.control.take(self.control.first().len(), buffers);
        }
        let udp = self.udp.as_mut();
        udp.is_some_and(|udp| udp.resends.pop_at(0).is_some())
    }

    /// Writes down the train in flight, before the place it follows from changes.
    pub(crate) fn note_train(&mut self, hot: &mut Hot) {
        if let Some(train) = hot.train() {
            self.train = Some(train);
            hot.flight = Flight::Noted;
        }
    }

    /// Whether a visit has nothing to do but the next train. Its session's deadline is looked at all the same.
    pub(crate) fn is_steady(&self, hot: &Hot) -> bool {
        let plays = self.media.as_ref().is_some_and(|media| {
            media.spread
                && !media.drained
                && !media.lagged
                && media.switch_to.is_none()
                && media.fast_start.is_none()
                && media.missed_until.is_none()
        });
        let joined =
            hot.feed.is_some() && hot.run.cursor != UNJOINED && hot.run.joined_at.is_none();
        let waits = self.has_urgent()
            || self.blocked.is_some()
            || self.opening.is_some()
            || self.closing.is_some();
        plays && joined && !waits
    }

    /// Whether a send may be made now, and of what.
    pub(crate) fn may_send(&self, hot: &Hot, now: Instant) -> bool {
        let refused = |udp: &Udp| udp.refused_until.is_some_and(|until| until > now);
        if self.blocked.is_some()
            || hot.flight != Flight::None
            || self.udp.as_deref().is_some_and(refused)
        {
            return false;
        }
        self.has_urgent()
            || self
                .media
                .as_ref()
                .is_some_and(|media| hot.feed.is_some() && !media.drained && hot.next_visit <= now)
    }

    /// When it must be looked at next.
    pub(crate) fn deadline(&self, hot: &Hot, lag_disconnect: Option<Duration>) -> Option<Instant> {
        let media = self
            .media
            .as_ref()
            .filter(|media| self.blocked.is_none() && !media.drained)
            .map(|_| hot.next_visit);
        let lag = self.blocked.and_then(|since| Some(since + lag_disconnect?));
        let opening = self.opening.as_ref().map(|opening| opening.until);
        let closing = self.closing.as_ref().map(|(_, until)| *until);
        let refused = self.udp.as_ref().and_then(|udp| udp.refused_until);
        [hot.session_wake, media, lag, opening, closing, refused]
            .into_iter()
            .flatten()
            .min()
    }
}
