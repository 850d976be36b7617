//! The state machine of our own player.
//!
//! ```text
//! Connect ► [FunnelInfo] ► ConnectFunnel ► OpenFile ► ReadBlock ► header ► Ready ⇄ Playing ► over
//!                                                        └──── StreamChange ◄──────┘
//! ```
//!
//! Each step waits for one report (`awaiting`). Ping is answered and surplus messages are tolerated at any time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use funnel_asf::Selection;
use funnel_wire::mms::{
    CloseFile, DataHeader, Frame, HResult, Incarnation, MacMessage, Traffic, split,
};

use super::inbox::Inbox;
use super::udp::{Farewell, Udp};
use super::window::Told;
use super::{CloseReason, Event, Input, Options, Output, Stage, Transport};
use crate::url::Url;

/// One connection to one channel. See the module for the contract.
#[derive(Debug)]
pub struct Session {
    pub(super) options: Arc<Options>,
    pub(super) url: Arc<Url>,
    pub(super) inbox: Inbox,
    pub(super) outbox: VecDeque<Queued>,
    pub(super) bytes: Vec<u8>,
    pub(super) taken: usize,
    pub(super) sequence: u16,
    pub(super) awaiting: Awaiting,
    pub(super) asked_at: Instant,
    pub(super) heard_at: Instant,
    pub(super) now: Instant,
    pub(super) pair_packets_left: u8,
    pub(super) header: Header,
    pub(super) selection: Selection,
    pub(super) run: Option<Run>,
    pub(super) last_tag: Option<u8>,
    /// Sequence number the next packet should have over TCP; runs on over stops.
    pub(super) expected: u32,
    /// Over UDP only.
    pub(super) udp: Option<Box<Udp>>,
    /// Tag of a StopPlaying that is not answered yet.
    pub(super) stopping: Option<Incarnation>,
    pub(super) stale_packets: u64,
}

/// What the session waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Awaiting {
    Connected,
    FunnelInfo,
    Funnel,
    Open,
    ReadBlock,
    HeaderData,
    Switched,
    Started,
    /// After EndOfStream hr 1.
    StreamChange,
    /// Ready or playing: no answer is due.
    Nothing,
    /// Over.
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) bytes: Vec<u8>,
    pub(super) tag: u8,
    pub(super) next_location: u32,
    pub(super) is_complete: bool,
    /// It came with a StreamChange, and nothing was played since: the server may send media before it is asked (§8.4).
    pub(super) may_play_unasked: bool,
    pub(super) streams: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) tag: u8,
    pub(super) is_started: bool,
}

#[derive(Debug)]
pub(super) enum Queued {
    Send(usize),
    Datagram(usize),
    Event(Event<'static>),
    Header,
}

/// What a Data packet turned out to be.
pub(super) enum Data {
    Packet {
        location: u32,
        sequence: u32,
        payload: Range<usize>,
    },
    Other,
}

impl Session {
    /// The connection exists; the first poll yields Connect.
    pub fn new(url: Arc<Url>, options: Arc<Options>, now: Instant) -> Self {
        let mut session = Self {
            selection: options.streams,
            udp: match options.transport {
                Transport::Tcp => None,
                Transport::Udp { .. } => Some(Box::new(Udp::new(options.udp))),
            },
            options,
            url,
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            bytes: Vec::new(),
            taken: 0,
            sequence: 0,
            awaiting: Awaiting::Connected,
            asked_at: now,
            heard_at: now,
            now,
            pair_packets_left: 0,
            header: Header::default(),
            run: None,
            last_tag: None,
            expected: 0,
            stopping: None,
            stale_packets: 0,
        };
        session.send_connect();
        session
    }

    /// Takes one input; poll the outputs afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        if self.awaiting == Awaiting::Closed {
            return;
        }
        match input {
            Input::Received(bytes) => {
                self.heard_at = now;
                self.inbox.push(bytes);
            }
            Input::Datagram(bytes) => self.on_datagram(bytes),
            Input::Closed => self.bid_in_turn(Farewell::Close(CloseReason::ConnectionLost)),
            Input::Timeout => {
                if self.deadline().is_some_and(|at| now >= at) {
                    self.on_deadline();
                }
            }
            Input::Play => self.play(),
            Input::Stop => self.stop(),
            Input::Select(selection) => self.select(selection),
            Input::Close => self.leave(CloseReason::Finished),
        }
        self.ask_again(now);
    }

    /// What to do next; call until [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output<'_> {
        loop {
            match self.outbox.pop_front() {
                Some(Queued::Send(size)) => return Output::Send(self.queued_bytes(size)),
                Some(Queued::Datagram(size)) => return Output::Datagram(self.queued_bytes(size)),
                Some(Queued::Event(event)) => return Output::Event(event),
                Some(Queued::Header) => return Output::Event(Event::Header(&self.header.bytes)),
                None => {}
            }
            self.bytes.clear();
            self.taken = 0;
            if self.awaiting == Awaiting::Closed {
                return Output::Idle { wake_at: None };
            }
            if let Some(told) = self.next_told() {
                return Output::Event(match told {
                    Told::Lost { sequence, count } => Event::Lost { sequence, count },
                    Told::Packet { location, sequence } => Event::Packet {
                        location,
                        sequence,
                        bytes: self.udp.as_ref().map_or(&[], |udp| udp.window.bytes()),
                    },
                });
            }
            if !self.outbox.is_empty() {
                continue;
            }
            match self.next_unit() {
                Ok(Some(Data::Packet {
                    location,
                    sequence,
                    payload,
                })) => {
                    return Output::Event(Event::Packet {
                        location,
                        sequence,
                        bytes: self.inbox.slice(payload),
                    });
                }
                Ok(Some(Data::Other)) => {}
                Ok(None) => {
                    return Output::Idle {
                        wake_at: self.wake_at(),
                    };
                }
                Err(reason) => self.close(reason),
            }
        }
    }

    /// Data packets with the tag of an earlier run, dropped.
    pub fn stale_packets(&self) -> u64 {
        self.stale_packets
    }

    /// Is media of the current run expected?
    pub fn is_playing(&self) -> bool {
        self.run.is_some_and(|run| run.is_started)
    }

    fn queued_bytes(&mut self, size: usize) -> &[u8] {
        let start = self.taken;
        self.taken += size;
        self.bytes.get(start..self.taken).unwrap_or_default()
    }

    fn next_unit(&mut self) -> Result<Option<Data>, CloseReason> {
        let position = self.inbox.position;
        let Some((frame, size)) = split(self.inbox.unread(), Traffic::MessagesAndData, position)
            .map_err(CloseReason::Framing)?
        else {
            return Ok(None);
        };
        match frame {
            Frame::Message(frame) => {
                let messages: Result<Vec<_>, _> = frame
                    .messages()
                    .map(|(mid, body)| MacMessage::decode(mid, body))
                    .collect();
                let messages =
                    messages.map_err(|error| CloseReason::Damaged(error.truncated.field))?;
                self.inbox.advance(size);
                for message in messages {
                    self.on_message(message);
                }
                Ok(Some(Data::Other))
            }
            Frame::Data { header, .. } => {
                let unit = self.inbox.advance(size);
                self.on_data(header, unit.start + size_of::<DataHeader>()..unit.end)
                    .map(Some)
            }
        }
    }

    pub(super) fn event(&mut self, event: Event<'static>) {
        self.outbox.push_back(Queued::Event(event));
    }

    pub(super) fn expect(&mut self, awaiting: Awaiting) {
        self.awaiting = awaiting;
        self.asked_at = self.now;
    }

    pub(super) fn is_accepted(&mut self, stage: Stage, hr: HResult) -> bool {
        if hr.is_error() {
            self.refused(stage, hr);
        }
        !hr.is_error()
    }

    pub(super) fn refused(&mut self, stage: Stage, hr: HResult) {
        self.event(Event::Refused { stage, hr });
        self.close(CloseReason::Refused(hr));
    }

    /// Says good-bye in the player's manner, then closes.
    pub(super) fn leave(&mut self, reason: CloseReason) {
        if self.options.manner.closes_file && (self.header.is_complete || self.options.blind) {
            self.send(CloseFile {
                play_incarnation: Incarnation(1),
                open_file_id: 1,
            });
        }
        self.close(reason);
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.awaiting != Awaiting::Closed {
            self.awaiting = Awaiting::Closed;
            self.run = None;
            self.event(Event::Close(reason));
        }
    }

    fn on_deadline(&mut self) {
        match (&self.udp, self.awaiting) {
            (Some(_), Awaiting::HeaderData) => self.header_timed_out(),
            _ => self.leave(CloseReason::TimedOut),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let asks = self.udp.as_ref().and_then(|udp| udp.window.due());
        [self.deadline(), asks].into_iter().flatten().min()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.awaiting, &self.udp) {
            (Awaiting::Closed, _) => None,
            (Awaiting::Nothing, _) if self.is_playing() => {
                self.options.silence.map(|silence| self.heard_at + silence)
            }
            (Awaiting::Nothing, _) => None,
            (Awaiting::HeaderData, Some(udp)) => Some(self.asked_at + udp.header_patience),
            _ => Some(self.asked_at + self.options.answer_within),
        }
    }
}
