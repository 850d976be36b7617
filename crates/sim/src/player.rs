//! A scripted player: our client session in some player's manner, its moods, and a tap on its wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_engine::{Datagrams, Key, Reason, ViewerStats};
use funnel_session::client::{
    CloseReason, Event, Input, Manner, Options, Output, Session, Transport,
};
use funnel_session::{HResult, Selection};
use funnel_wire::mms::Acceleration;

use crate::book::Book;
use crate::ether::{Ether, EtherQuality};
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

/// What a player speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speech {
    /// MMS, in some [`Manner`].
    Mms,
    /// Windows Media HTTP streaming as an old player: media as `$H` and `$D`.
    Wmsp,
    /// One that takes a `$C`, too.
    Wmsp9,
    /// The same in the chunks of HTTP/1.1, on a connection that outlives its media.
    Chunked,
    /// A plain GET: ASF.
    Plain,
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
    /// What it speaks.
    pub speech: Speech,
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
    /// Header and media are to come over UDP, on this way.
    pub udp: Option<EtherQuality>,
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
            speech: Speech::Mms,
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
            udp: None,
            trickle: None,
            breaks_off: None,
        }
    }

    /// The same over HTTP: one request on one connection, with nobody's habits but its own.
    pub fn over_http(id: usize, path: &str, speech: Speech) -> Self {
        Self {
            speech,
            ..Self::plain(id, path, Manner::FFMPEG)
        }
    }

    /// The same over UDP.
    pub fn over_udp(id: usize, path: &str, manner: Manner, quality: EtherQuality) -> Self {
        Self {
            udp: Some(quality),
            ..Self::plain(id, path, manner)
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
    /// Its way of datagrams.
    pub ether: Ether,
    /// The server's name for it, while it has one.
    pub key: Option<Key>,
    /// The check of what it got.
    pub tap: Tap,
    /// What it made of it.
    pub session: Option<Session>,
    /// Packets its session gave out.
    pub played: usize,
    /// Packets its session gave up, over UDP.
    pub lost: u64,
    /// Sequence number its session must tell next, over UDP.
    next_told: Option<u32>,
    /// Its session told of a run.
    started: bool,
    /// When its session wants to be woken, over UDP.
    pub wakes_at: Option<Instant>,
    /// The earliest time for which that is arranged.
    pub wake_scheduled: Option<Instant>,
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
    /// Datagrams to the server.
    pub datagrams: Vec<Vec<u8>>,
    /// Then close: 0, or `-errno`.
    pub hang_up: Option<i32>,
}

impl Player {
    /// Not connected yet.
    pub fn new(plan: Plan, seed: u64, now: Instant) -> Self {
        let rng = Rng::new(seed, 0x1000_0000 + plan.id as u64);
        Self {
            link: Link::new(plan.quality, rng, now),
            ether: Ether::new(
                plan.udp.unwrap_or_default(),
                Rng::new(seed, 0x3000_0000 + plan.id as u64),
            ),
            key: None,
            tap: Tap::default(),
            session: None,
            played: 0,
            lost: 0,
            next_told: Some(0),
            started: false,
            wakes_at: None,
            wake_scheduled: None,
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
        self.connected_at = Some(now);
        if self.plan.speech != Speech::Mms {
            return self.ask();
        }
        let url = format!("mms://funnel.example/{}", self.plan.path);
        let options = Options {
            manner: self.plan.manner.clone(),
            acceleration: self.plan.acceleration,
            packet_pair: self.plan.packet_pair,
            answer_within: Duration::from_secs(3600),
            silence: None,
            transport: match self.plan.udp {
                Some(_) => Transport::Udp {
                    port: udp_port(self.plan.id),
                },
                None => Transport::Tcp,
            },
            ..Options::default()
        };
        let url = url.parse().expect("a well-formed URL");
        self.session = Some(Session::new(Arc::new(url), Arc::new(options), now));
        self.poll()
    }

    /// All that a player over HTTP ever says.
    fn ask(&mut self) -> Doings {
        let mut request = self.request();
        let mut doings = Doings::default();
        match self.plan.breaks_off.clone() {
            Some((_, step)) => {
                request.truncate(request.len() / 2);
                doings.sends.push(request);
                self.break_off(step, &mut doings);
            }
            None => doings.sends.push(request),
        }
        doings
    }

    fn request(&self) -> Vec<u8> {
        let agent = match self.plan.speech {
            Speech::Mms | Speech::Plain => "sim/1.0",
            Speech::Wmsp => "NSPlayer/4.1.0.3856",
            Speech::Wmsp9 | Speech::Chunked => "NSPlayer/9.0.0.2980",
        };
        let (version, tokens) = match self.plan.speech {
            Speech::Chunked => ("1.1", "Pragma: version11-enabled=1\r\n"),
            _ => ("1.0", ""),
        };
        let mut request = format!(
            "GET /{} HTTP/{version}\r\nHost: funnel.example\r\nUser-Agent: {agent}\r\n{tokens}",
            self.plan.path
        );
        if self.plan.speech != Speech::Plain {
            let wishes = self.plan.acceleration;
            let wishes = [
                ("LinkBW", wishes.link),
                ("AccelBW", wishes.bandwidth),
                ("AccelDuration", wishes.duration_ms),
            ];
            request += "Pragma: no-cache,rate=1.000000,stream-time=0\r\nPragma: xPlayStrm=1\r\n";
            for (name, wish) in wishes {
                request += &wish.map_or_else(String::new, |n| format!("Pragma: {name}={n}\r\n"));
            }
        }
        request += "\r\n";
        request.into_bytes()
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
            match self.plan.speech {
                Speech::Mms if self.plan.udp.is_some() => {}
                Speech::Mms => self.tap.bytes(now, &bytes, book),
                Speech::Wmsp | Speech::Wmsp9 | Speech::Chunked | Speech::Plain => {
                    self.tap.http_bytes(now, &bytes, book);
                }
            }
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
            match &mut self.session {
                Some(session) => session.handle_input(now, Input::Closed),
                None => self.closed = Some(CloseReason::Finished),
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
        let input = match step {
            Step::Leave if self.session.is_none() => return self.fall_silent(Some(0)),
            Step::Leave => Input::Close,
            Step::Stop => Input::Stop,
            Step::Play => Input::Play,
            Step::Select(selection) => {
                self.tap.selects = self.session.is_some();
                Input::Select(*selection)
            }
            Step::Stall(time) => {
                self.link.stalled_until = now + *time;
                return Doings::default();
            }
            Step::HangUp => return self.fall_silent(Some(0)),
            Step::Reset => return self.fall_silent(Some(-crate::link::ECONNRESET)),
            Step::Vanish => {
                self.link.stalled_until = now + Duration::from_secs(1 << 20);
                return self.fall_silent(None);
            }
            Step::Say(bytes) => {
                return Doings {
                    sends: vec![bytes.clone()],
                    ..Doings::default()
                };
            }
        };
        if matches!(step, Step::Stop | Step::Play) {
            self.next_told = None;
        }
        if let Some(session) = &mut self.session {
            session.handle_input(now, input);
        }
        self.poll()
    }

    fn fall_silent(&mut self, hang_up: Option<i32>) -> Doings {
        self.is_silent = true;
        Doings {
            hang_up,
            ..Doings::default()
        }
    }

    /// The server sends on the connection: what the kernel takes. Over UDP the tap reads along here, where messages and
    /// datagrams are still in the server's order.
    pub fn take(&mut self, now: Instant, pieces: &[&[u8]], book: &Book) -> i32 {
        let taken = self.link.send(pieces);
        if let (true, Ok(taken)) = (self.plan.udp.is_some(), usize::try_from(taken)) {
            self.tap.bytes(now, &pieces.concat()[..taken], book);
        }
        taken
    }

    /// The server sends datagrams: the kernel's answer. What arrives goes to `arrives` with the time it takes.
    pub fn take_datagrams(
        &mut self,
        now: Instant,
        how: Datagrams,
        pieces: &[&[u8]],
        book: &Book,
        mut arrives: impl FnMut(Duration, Vec<u8>),
    ) -> i32 {
        let datagrams = match self.ether.cut(now, how, pieces) {
            Ok(datagrams) => datagrams,
            Err(refusal) => return refusal,
        };
        let mut taken = 0;
        for datagram in datagrams {
            taken += datagram.len();
            self.tap.datagram(now, &datagram, book);
            for late in self.ether.carry() {
                arrives(self.link.latency() + late, datagram.clone());
            }
        }
        i32::try_from(taken).unwrap_or(i32::MAX)
    }

    /// A datagram is there.
    pub fn datagram(&mut self, now: Instant, bytes: &[u8]) -> Doings {
        self.input(now, Input::Datagram(bytes))
    }

    /// Its session's time has come.
    pub fn wake(&mut self, now: Instant) -> Doings {
        self.input(now, Input::Timeout)
    }

    fn input(&mut self, now: Instant, input: Input<'_>) -> Doings {
        if self.is_silent || self.closed.is_some() {
            self.wakes_at = None;
            return Doings::default();
        }
        if let Some(session) = &mut self.session {
            session.handle_input(now, input);
        }
        self.poll()
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
                Output::Event(Event::Packet {
                    location,
                    sequence,
                    bytes,
                }) => {
                    self.played += 1;
                    if self.plan.udp.is_some() {
                        self.tap
                            .told(&mut self.next_told, location, sequence, bytes);
                    }
                }
                // What was under way of the run before is nobody's loss.
                Output::Event(Event::Started) => {
                    if std::mem::replace(&mut self.started, true) {
                        self.next_told = None;
                    }
                }
                Output::Event(Event::Lost { sequence, count }) => {
                    self.lost += u64::from(count);
                    self.tap.lost(&mut self.next_told, sequence, count);
                }
                Output::Event(Event::End(hr)) => self.end = Some(hr),
                Output::Event(Event::Refused { hr, .. }) => self.refused = Some(hr),
                Output::Event(Event::Close(reason)) => {
                    self.closed = Some(reason);
                    doings.hang_up = Some(0);
                }
                Output::Datagram(bytes) => doings.datagrams.push(bytes.to_vec()),
                Output::Event(_) => {}
                Output::Idle { wake_at } => {
                    self.wakes_at = wake_at.filter(|_| self.plan.udp.is_some());
                    break;
                }
            }
        }
        if let Some(step) = broken_off {
            self.break_off(step, &mut doings);
        }
        doings
    }

    /// What follows on half a message.
    fn break_off(&mut self, step: Step, doings: &mut Doings) {
        if let Step::Say(bytes) = step {
            doings.sends.push(bytes);
            return;
        }
        doings.hang_up = match step {
            Step::HangUp => Some(0),
            Step::Reset => Some(-crate::link::ECONNRESET),
            _ => None,
        };
        self.is_silent = true;
    }
}

/// The UDP port of player `id`.
pub fn udp_port(id: usize) -> u16 {
    FIRST_UDP_PORT + u16::try_from(id).unwrap_or(u16::MAX - FIRST_UDP_PORT)
}

const FIRST_UDP_PORT: u16 = 20_000;
