//! One viewer: a session, a place in the log, and what its socket still has to take.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{Epoch, Form};
use funnel_session::server::{Framing, Play, Session};
use funnel_session::{HResult, Selection};

use crate::admission::Permit;
use crate::pacing::FastStart;
use crate::report::ViewerStats;

/// Names a connection. The index is below `viewers_max` and reused; the generation is not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    /// Place in the engine's table.
    pub index: u32,
    /// Tells this connection from earlier ones at the same place.
    pub generation: u32,
}

/// Everything the engine knows about a connection. Parts that are rare are behind pointers: see the size below.
#[derive(Debug)]
pub(crate) struct Viewer {
    /// Tells this connection from earlier ones with the same index.
    pub(crate) generation: u32,
    pub(crate) peer: SocketAddr,
    pub(crate) session: Session,
    /// When the session wants to be woken.
    pub(crate) session_wake: Option<Instant>,
    /// Messages and header fragments to send, each as a send of its own.
    pub(crate) control: VecDeque<Box<[u8]>>,
    /// What the kernel took of the first of them.
    pub(crate) control_sent: usize,
    /// Bytes of all of them.
    pub(crate) control_bytes: usize,
    /// Rest of a packet the kernel took a part of; goes before everything else.
    pub(crate) cut: Vec<u8>,
    pub(crate) cut_sent: usize,
    pub(crate) flight: Flight,
    /// Since when the socket takes nothing.
    pub(crate) blocked: Option<Instant>,
    /// A channel it waits for.
    pub(crate) opening: Option<Box<Opening>>,
    pub(crate) open: Option<Box<Open>>,
    pub(crate) media: Option<Box<Media>>,
    /// Sequence number of its next media packet, over all runs.
    pub(crate) sequence: u32,
    /// The session is over: close when everything is flushed, or at this time.
    pub(crate) closing: Option<(HResult, Instant)>,
    /// It stands in the list for the next turn.
    pub(crate) queued: bool,
    pub(crate) stats: ViewerStats,
}

// DESIGN: a viewer costs at most 4 KiB of resident memory, heap parts included.
const _: () = assert!(size_of::<Viewer>() <= 1024);

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

/// A run of media.
#[derive(Debug)]
pub(crate) struct Media {
    /// Log it reads; `None` while it waits for one.
    pub(crate) feed: Option<u32>,
    pub(crate) run: Run,
    pub(crate) selection: Selection,
    /// Log to change to at its next clean point, after a stream switch.
    pub(crate) switch_to: Option<u32>,
    pub(crate) fast_start: Option<FastStart>,
    /// How far behind the live edge it stays, from a bounded fast start.
    pub(crate) delay: Duration,
    /// Never send it stripped packets.
    pub(crate) keep_padding: bool,
    pub(crate) next_visit: Instant,
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
    pub(crate) fn new(play: &Play, sequence: u32, now: Instant) -> Self {
        Self {
            feed: None,
            run: Run {
                framing: play.framing,
                cursor: UNJOINED,
                sequence: play.framing.first_sequence(sequence),
                joined_at: None,
            },
            selection: play.selection,
            switch_to: None,
            fast_start: None,
            delay: Duration::ZERO,
            keep_padding: play.keep_padding,
            next_visit: now,
            spread: false,
            missed_until: None,
            rewind_polls: 0,
            drained: false,
            lagged: false,
        }
    }
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
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flight {
    None,
    Cut,
    Control,
    Media(Train),
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
    /// Its run was stopped while the kernel had it.
    pub(crate) stopped: bool,
}

impl Viewer {
    pub(crate) fn new(generation: u32, peer: SocketAddr, session: Session) -> Self {
        Self {
            generation,
            peer,
            session,
            session_wake: None,
            control: VecDeque::new(),
            control_sent: 0,
            control_bytes: 0,
            cut: Vec::new(),
            cut_sent: 0,
            flight: Flight::None,
            blocked: None,
            opening: None,
            open: None,
            media: None,
            sequence: 0,
            closing: None,
            queued: false,
            stats: ViewerStats::default(),
        }
    }

    /// Whether anything but media waits for the socket.
    pub(crate) fn has_urgent(&self) -> bool {
        !self.cut.is_empty() || !self.control.is_empty()
    }

    /// Bytes that wait for the socket, media in the log not among them.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.cut.len() + self.control_bytes
    }

    /// Whether a send may be made now, and of what.
    pub(crate) fn may_send(&self, now: Instant) -> bool {
        if self.blocked.is_some() || !matches!(self.flight, Flight::None) {
            return false;
        }
        self.has_urgent()
            || self.media.as_ref().is_some_and(|media| {
                media.feed.is_some() && !media.drained && media.next_visit <= now
            })
    }

    /// When it must be looked at next.
    pub(crate) fn deadline(&self, lag_disconnect: Option<Duration>) -> Option<Instant> {
        let media = self
            .media
            .as_ref()
            .filter(|media| self.blocked.is_none() && !media.drained)
            .map(|media| media.next_visit);
        let lag = self.blocked.and_then(|since| Some(since + lag_disconnect?));
        let opening = self.opening.as_ref().map(|opening| opening.until);
        let closing = self.closing.map(|(_, until)| until);
        [self.session_wake, media, lag, opening, closing]
            .into_iter()
            .flatten()
            .min()
    }
}
