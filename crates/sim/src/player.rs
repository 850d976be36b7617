//! A scripted player: our client session in some player's manner, its moods, and a tap on its wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_engine::{Key, Reason, ViewerStats};
use funnel_session::client::{CloseReason, Event, Input, Manner, Options, Output, Session};
use funnel_session::{HResult, Selection};
use funnel_wire::mms::Acceleration;

use crate::book::Book;
use crate::link::{Link, LinkQuality};
use crate::rng::Rng;
use crate::tap::Tap;

/// What a player is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Plays until it leaves; reads fast enough. Nothing others do may reach it.
    Steady,
    /// The same, but selects streams on the way.
    Switcher,
    /// Anything else: reads slowly, stalls, vanishes, talks nonsense.
    Troublesome,
}

/// What a player does at a time of its script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Says good-bye in its manner.
    Leave,
    /// Closes the connection without a word.
    HangUp,
    /// Its connection is reset.
    Reset,
    /// Neither reads nor writes any more, and nobody tells the server.
    Vanish,
    /// StopPlaying.
    Stop,
    /// StartPlaying; while playing a seek.
    Play,
    /// StreamSwitch.
    Select(Selection),
    /// Reads nothing for a while.
    Stall(Duration),
    /// Sends these bytes, whatever the session thinks.
    Say(Vec<u8>),
}

/// A player to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its number; its address follows from it.
    pub id: usize,
    /// What it is like.
    pub role: Role,
    /// Channel, as it asks for it.
    pub path: String,
    /// Whose habits it has.
    pub manner: Manner,
    /// Wishes for a fast start.
    pub acceleration: Acceleration,
    /// Asks for packet pair.
    pub packet_pair: bool,
    /// Connects at this time.
    pub joins_at: Duration,
    /// What it does, by time since it connected.
    pub steps: Vec<(Duration, Step)>,
    /// Its connection.
    pub quality: LinkQuality,
    /// Sends each message byte by byte, one in this time.
    pub trickle: Option<Duration>,
    /// Breaks off in the middle of its message of this number and then does this.
    pub breaks_off: Option<(usize, Step)>,
}

impl Plan {
    /// A player with a good connection that comes at once, plays and stays.
    pub fn plain(id: usize, path: &str, manner: Manner) -> Self {
        Self {
            id,
            role: Role::Steady,
            path: path.into(),
            manner,
            acceleration: Acceleration::default(),
            packet_pair: false,
            joins_at: Duration::ZERO,
            steps: Vec::new(),
            quality: LinkQuality {
                buffer_bytes: 256 << 10,
                bytes_per_second: 4 << 20,
                latency: Duration::from_millis(10),
                short_per_mille: 0,
                broken_per_mille: 0,
            },
            trickle: None,
            breaks_off: None,
        }
    }
}

/// A player.
#[derive(Debug)]
pub struct Player {
    /// What it was made from.
    pub plan: Plan,
    /// Its connection.
    pub link: Link,
    /// The server's name for it, while it has one.
    pub key: Option<Key>,
    /// The check of what it got.
    pub tap: Tap,
    /// What it made of it.
    pub session: Option<Session>,
    /// Packets its session gave out.
    pub played: usize,
    /// How its session ended.
    pub closed: Option<CloseReason>,
    /// End(hr) as its session told.
    pub end: Option<HResult>,
    /// Refusal as its session told.
    pub refused: Option<HResult>,
    /// When it connected, if it did.
    pub connected_at: Option<Instant>,
    /// The server closed the connection.
    pub server_closed_at: Option<Instant>,
    /// It does nothing any more.
    pub is_silent: bool,
    /// Why the server let it go, and what it counted.
    pub left: Option<(Reason, ViewerStats)>,
    /// A read is scheduled.
    pub reads_later: bool,
    /// When its latest bytes reach the server: bytes keep their order.
    pub sent_until: Instant,
    sends: usize,
    scratch: Vec<u8>,
}

/// What a player wants to happen.
#[derive(Debug, Default)]
pub struct Doings {
    /// Bytes to the server, in order.
    pub sends: Vec<Vec<u8>>,
    /// Then close: 0, or `-errno`.
    pub hang_up: Option<i32>,
}

impl Player {
    /// Not connected yet.
    pub fn new(plan: Plan, seed: u64, now: Instant) -> Self {
        let rng = Rng::new(seed, 0x1000_0000 + plan.id as u64);
        Self {
            link: Link::new(plan.quality, rng, now),
            key: None,
            tap: Tap::default(),
            session: None,
            played: 0,
            closed: None,
            end: None,
            refused: None,
            connected_at: None,
            server_closed_at: None,
            is_silent: false,
            left: None,
            reads_later: false,
            sent_until: now,
            sends: 0,
            scratch: Vec::new(),
            plan,
        }
    }

    /// Its connection stands.
    pub fn connect(&mut self, now: Instant) -> Doings {
        let url = format!("mms://funnel.example/{}", self.plan.path);
        let options = Options {
            manner: self.plan.manner.clone(),
            acceleration: self.plan.acceleration,
            packet_pair: self.plan.packet_pair,
            answer_within: Duration::from_secs(3600),
            silence: None,
            ..Options::default()
        };
        let url = url.parse().expect("a well-formed URL");
        self.session = Some(Session::new(Arc::new(url), Arc::new(options), now));
        self.connected_at = Some(now);
        self.poll()
    }

    /// Reads what its link gives now.
    pub fn read(&mut self, now: Instant, book: &Book) -> Doings {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        if self.server_closed_at.is_some() && now >= self.link.stalled_until {
            self.link.read_all(&mut bytes);
        } else {
            self.link.read(now, &mut bytes);
        }
        let mut doings = Doings::default();
        if !self.is_silent && !bytes.is_empty() {
            self.tap.bytes(now, &bytes, book);
            if let Some(session) = &mut self.session {
                session.handle_input(now, Input::Received(&bytes));
            }
            doings = self.poll();
        }
        self.scratch = bytes;
        if self.server_closed_at.is_some()
            && self.link.waiting() == 0
            && self.closed.is_none()
            && !self.is_silent
        {
            if let Some(session) = &mut self.session {
                session.handle_input(now, Input::Closed);
            }
            self.poll();
        }
        doings
    }

    /// Does a step of its script.
    pub fn step(&mut self, now: Instant, step: &Step) -> Doings {
        if self.is_silent || self.closed.is_some() {
            return Doings::default();
        }
        let Some(session) = &mut self.session else {
            return Doings::default();
        };
        match step {
            Step::Leave => session.handle_input(now, Input::Close),
            Step::Stop => session.handle_input(now, Input::Stop),
            Step::Play => session.handle_input(now, Input::Play),
            Step::Select(selection) => {
                self.tap.selects = true;
                session.handle_input(now, Input::Select(*selection));
            }
            Step::Stall(time) => self.link.stalled_until = now + *time,
            Step::HangUp => return self.fall_silent(Some(0)),
            Step::Reset => return self.fall_silent(Some(-crate::link::ECONNRESET)),
            Step::Vanish => {
                self.link.stalled_until = now + Duration::from_secs(1 << 20);
                return self.fall_silent(None);
            }
            Step::Say(bytes) => {
                return Doings {
                    sends: vec![bytes.clone()],
                    hang_up: None,
                };
            }
        }
        self.poll()
    }

    fn fall_silent(&mut self, hang_up: Option<i32>) -> Doings {
        self.is_silent = true;
        Doings {
            sends: Vec::new(),
            hang_up,
        }
    }

    /// What the session wants, until it is idle.
    fn poll(&mut self) -> Doings {
        let mut doings = Doings::default();
        let mut broken_off = None;
        let Some(session) = &mut self.session else {
            return doings;
        };
        loop {
            match session.poll_output() {
                Output::Send(bytes) => {
                    self.sends += 1;
                    match &self.plan.breaks_off {
                        Some((at, step)) if *at == self.sends => {
                            doings.sends.push(bytes[..bytes.len() / 2].to_vec());
                            broken_off = Some(step.clone());
                        }
                        Some((at, _)) if *at < self.sends => {}
                        _ => doings.sends.push(bytes.to_vec()),
                    }
                }
                Output::Event(Event::Packet { .. }) => self.played += 1,
                Output::Event(Event::End(hr)) => self.end = Some(hr),
                Output::Event(Event::Refused { hr, .. }) => self.refused = Some(hr),
                Output::Event(Event::Close(reason)) => {
                    self.closed = Some(reason);
                    doings.hang_up = Some(0);
                }
                Output::Event(_) | Output::Datagram(_) => {}
                Output::Idle { .. } => break,
            }
        }
        if let Some(Step::Say(bytes)) = broken_off {
            doings.sends.push(bytes);
        } else if let Some(step) = broken_off {
            doings.hang_up = match step {
                Step::HangUp => Some(0),
                Step::Reset => Some(-crate::link::ECONNRESET),
                _ => None,
            };
            self.is_silent = true;
        }
        doings
    }
}
