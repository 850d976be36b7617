//! Checks of datagrams, the timers, streams and their headers. Order and restoration are [`Window`]'s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use funnel_asf::Header;
use funnel_wire::msb::{Correction, Datagram, Packet, StreamId};
use funnel_wire::nsc::{Announcement, Format, FormatId};

use crate::multicast::window::{Arrival, Told, Window};
use crate::multicast::{Event, Input, Mode, Options, Output, Stats};

/// One receiver of one multicast. See the [module](crate::multicast) for how to drive it.
#[derive(Debug)]
pub struct Receiver {
    announcement: Arc<Announcement>,
    options: Options,
    window: Window,
    stats: Stats,
    /// Stream of the last packet told.
    current: Option<StreamId>,
    /// A number that fits nowhere, until a second one like it comes.
    stray: Option<Stray>,
    /// Another sequence of numbers, begun once the last one is told to its end.
    restart: Option<Restart>,
    /// Headers told to be unknown.
    unknown: Option<FormatId>,
    news: News,
    /// A packet in [`Mode::Simple`].
    simple: Option<u32>,
    /// The packet size of the first header, 0 if that is damaged.
    packet_bytes: usize,
    state: State,
    open_by: Option<Instant>,
    silent_at: Option<Instant>,
    /// The packet being told.
    told: Vec<u8>,
}

/// What waits to be told, apart from packets.
#[derive(Debug, Default)]
struct News {
    beacon: bool,
    unknown: Option<FormatId>,
    changed: bool,
    lost: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Receiving,
    /// What is held is still to be told.
    Ending,
    TimedOut,
    Over,
}

#[derive(Debug)]
struct Stray {
    id: u32,
    stream: StreamId,
    asf: Vec<u8>,
}

#[derive(Debug)]
struct Restart {
    at: Instant,
    packets: [Stray; 2],
}

/// Two packets this close make a sequence.
const NEAR: u32 = 16;

impl Receiver {
    /// Begins at `now`, with the group joined.
    pub fn new(announcement: Arc<Announcement>, options: Options, now: Instant) -> Self {
        Self {
            packet_bytes: packet_bytes(&announcement),
            window: Window::new(announcement.span_max.unwrap_or(0)),
            stats: Stats::default(),
            current: None,
            stray: None,
            restart: None,
            unknown: None,
            news: News::default(),
            simple: None,
            state: State::Receiving,
            open_by: options.open_within.map(|within| now + within),
            silent_at: None,
            told: Vec::new(),
            announcement,
            options,
        }
    }

    /// Takes one input; then poll.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        if self.state != State::Receiving {
            return;
        }
        match input {
            Input::Datagram(from, bytes) => self.on_datagram(now, from, bytes),
            Input::Timeout => {}
            Input::Close => return self.end(),
        }
        // With every input: an owner that a flood keeps busy feeds no Timeout.
        if self.open_by.is_some_and(|by| now >= by) {
            self.state = State::TimedOut;
        } else if self.silent_at.is_some_and(|at| now >= at) {
            self.end();
        }
        self.window.settle(now, &self.options);
    }

    /// Goes on with another announcement of the same multicast, which may have other headers: after
    /// [`Event::UnknownFormat`]. False if packets are held whose header it does not have; then nothing has changed. A header
    /// that this one lacks too is told again.
    pub fn renew(&mut self, announcement: Arc<Announcement>) -> bool {
        let formats = announcement.formats();
        let mut held = self.window.held_streams();
        if !held.all(|stream| formats.get(stream.format()).is_some()) {
            return false;
        }
        drop(held);
        self.unknown = None;
        self.packet_bytes = packet_bytes(&announcement);
        self.announcement = announcement;
        true
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output<'_> {
        if std::mem::take(&mut self.news.beacon) {
            return Output::Event(Event::Beacon);
        }
        if let Some(format) = self.news.unknown.take() {
            return Output::Event(Event::UnknownFormat(format));
        }
        if self.simple.is_some() {
            return self.tell_simple();
        }
        if self.restart.is_some() && self.window.is_told() {
            self.begin_anew();
        }
        if let Some((id, count)) = self.news.lost.take() {
            self.stats.lost += u64::from(count);
            return Output::Event(Event::Lost { id, count });
        }
        if let Some(stream) = self.window.next_stream()
            && self.current != Some(stream)
        {
            if self.current.take().is_some() || std::mem::take(&mut self.news.changed) {
                self.stats.changes += 1;
                return Output::Event(Event::Changed);
            }
            self.current = Some(stream);
            let format = self.announcement.formats().get(stream.format());
            let format = format.expect("only packets of known headers are taken");
            return Output::Event(Event::Header(format.header()));
        }
        match self.window.tell(&mut self.told) {
            Some(Told::Packet { id, restored }) => self.packet(id, restored),
            Some(Told::Lost { id, count }) => {
                self.stats.lost += u64::from(count);
                Output::Event(Event::Lost { id, count })
            }
            None => self.rest(),
        }
    }

    /// What arrived so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn end(&mut self) {
        self.window.flush();
        self.state = State::Ending;
    }

    fn on_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.stats.datagrams += 1;
        let is_strict = self.options.mode == Mode::Strict;
        let source = self.announcement.adapter.filter(|_| is_strict);
        if source.is_some_and(|source| source.to_canonical() != from.ip().to_canonical()) {
            self.stats.foreign += 1;
            return;
        }
        match Datagram::decode(bytes) {
            Ok(Datagram::Beacon) => {
                self.stats.beacons += 1;
                self.open_by = None;
                self.news.beacon = true;
            }
            Ok(Datagram::Packet(packet)) if is_strict => self.on_packet(now, packet),
            Ok(Datagram::Packet(packet)) => self.on_simple(now, packet),
            Err(_) => self.stats.invalid += 1,
        }
    }

    fn on_packet(&mut self, now: Instant, packet: Packet<'_>) {
        let format = packet.stream.format();
        if self.announcement.formats().get(format).is_none() {
            self.stats.unknown += 1;
            if self.unknown.replace(format) != Some(format) {
                self.news.unknown = Some(format);
            }
            return;
        }
        let Ok(correction) = Correction::decode(packet.asf) else {
            self.stats.invalid += 1;
            return;
        };
        self.heard(now);
        let arrival = Arrival {
            id: packet.id,
            stream: packet.stream,
            asf: packet.asf,
        };
        let (options, stats) = (&self.options, &mut self.stats);
        if self.window.take(now, arrival, correction, options, stats) {
            self.stray = None;
        } else if !matches!(correction, Correction::Parity(_)) {
            self.on_stray(now, arrival);
        }
    }

    /// One number out of place is an accident, two that belong together are another sequence.
    fn on_stray(&mut self, now: Instant, arrival: Arrival<'_>) {
        let Arrival { id, stream, asf } = arrival;
        let second = Stray {
            id,
            stream,
            asf: asf.to_vec(),
        };
        match self.stray.take() {
            Some(first) if first.is_near(&second) => {
                self.restart = Some(Restart {
                    at: now,
                    packets: [first, second],
                });
                self.window.flush();
            }
            first => {
                self.stats.invalid += u64::from(first.is_some());
                self.stray = Some(second);
            }
        }
    }

    fn begin_anew(&mut self) {
        let Some(Restart { at, packets }) = self.restart.take() else {
            return;
        };
        let [first, second] = &packets;
        let lost = first.earlier_id(second).wrapping_sub(self.window.end());
        if self.current == Some(first.stream) && lost <= u32::MAX / 2 {
            self.news.lost = Some((self.window.end(), lost));
        } else {
            self.news.changed = true;
            self.current = None;
        }
        self.window.reset();
        for stray in &packets {
            let arrival = Arrival {
                id: stray.id,
                stream: stray.stream,
                asf: &stray.asf,
            };
            if let Ok(correction) = Correction::decode(&stray.asf) {
                let (options, stats) = (&self.options, &mut self.stats);
                self.window.take(at, arrival, correction, options, stats);
            }
        }
        if self.news.lost.is_some() {
            // All before them are told as lost.
            self.window.start(at, &self.options);
        }
    }

    fn on_simple(&mut self, now: Instant, packet: Packet<'_>) {
        self.heard(now);
        match packet.asf {
            [first, ..] if first & OPAQUE != 0 => self.stats.parities += 1,
            [_, _, _, ..] => {
                self.told.clear();
                self.told.extend_from_slice(packet.asf);
                self.simple = Some(packet.id);
            }
            _ => self.stats.invalid += 1,
        }
    }

    fn tell_simple(&mut self) -> Output<'_> {
        if self.current.is_none() {
            let format = first_format(&self.announcement);
            self.current = Some(StreamId::new(format.id()));
            return Output::Event(Event::Header(format.header()));
        }
        let id = self.simple.take().unwrap_or_default();
        let bytes = self.told.len().max(self.packet_bytes);
        self.told.resize(bytes, 0);
        self.packet(id, false)
    }

    fn packet(&mut self, id: u32, restored: bool) -> Output<'_> {
        self.stats.packets += 1;
        if let Some(head) = self.told.first_chunk_mut() {
            *head = Correction::None.encode();
        }
        Output::Event(Event::Packet {
            id,
            bytes: &self.told,
            restored,
        })
    }

    /// A packet that counts.
    fn heard(&mut self, now: Instant) {
        self.open_by = None;
        self.silent_at = self.options.silence.map(|silence| now + silence);
    }

    /// With nothing left to tell.
    fn rest(&mut self) -> Output<'_> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Receiving => {
                self.state = State::Receiving;
                let deadlines = [
                    self.open_by,
                    self.silent_at,
                    self.window.wake_at(&self.options),
                ];
                Output::Idle {
                    wake_at: deadlines.into_iter().flatten().min(),
                }
            }
            State::Ending => Output::Event(Event::Ended),
            State::TimedOut => Output::Event(Event::OpenTimedOut),
            State::Over => Output::Idle { wake_at: None },
        }
    }
}

impl Stray {
    fn is_near(&self, other: &Self) -> bool {
        let apart = other.id.wrapping_sub(self.id).wrapping_add(NEAR);
        self.stream == other.stream && apart <= 2 * NEAR && apart != NEAR
    }

    /// Of two near ones.
    fn earlier_id(&self, other: &Self) -> u32 {
        if other.id.wrapping_sub(self.id) <= NEAR {
            self.id
        } else {
            other.id
        }
    }
}

/// Of the first header.
fn packet_bytes(announcement: &Announcement) -> usize {
    let header = Header::parse(first_format(announcement).header());
    header.map_or(0, |header| header.packet_bytes() as usize)
}

fn first_format(announcement: &Announcement) -> &Format {
    let mut formats = announcement.formats().iter();
    formats.next().expect("there is at least one")
}

/// "Opaque data present", which marks a parity packet (§3).
const OPAQUE: u8 = 0x10;
