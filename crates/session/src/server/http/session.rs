//! The state machine of one connection: bytes to requests, inputs of the owner, deadlines.
//!
//! ```text
//!               Describe, Play, plain GET            Opened(Ok), for media
//!     Reading ──────────────────────────► Opening ───────────────────────► Streaming ─► Closed
//!      │   ▲  ◄────── header, errors ────────┘                                 │  end of the media
//!      │   └───────────────────────────────────────────────────────────────────┘  in chunks, Stop
//!      ├── anything else: answered at once
//!      └── not ours: HandOver ─► Closed
//! ```
//!
//! Requests that come while a channel is looked up wait; what comes while media flows is read for its orders.

use std::sync::Arc;
use std::time::Instant;

use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{Fault, HEAD_BYTES_MAX, RequestHead, StatusCode};

use super::pipelining::Test;
use super::request::{BODY_BYTES_MAX, Request, Wish};
use super::stream::Stream;
use super::{
    Event, HandOver, Input, Outbox, Output, Player, Redirect, SessionError, Settings, SplitMix,
    Timer,
};
use crate::server::mms;

/// One connection's session.
#[derive(Debug)]
pub(in crate::server) struct Session {
    pub(super) settings: Arc<Settings>,
    pub(super) outbox: Outbox,
    pub(super) state: State,
    /// What was received and not read yet.
    unread: Vec<u8>,
    /// No look at it is worth while before it has so many bytes.
    needed: usize,
    /// Requests served since bytes came last.
    in_a_row: usize,
    /// Until when a whole request must be there.
    pub(super) until: Instant,
    /// The name of this connection for the owner.
    connection: u32,
    pub(super) random: SplitMix,
    pub(super) test: Test,
    agent: Box<str>,
    player: Player,
}

const _: () = assert!(size_of::<Session>() <= 400);
const _: () = assert!(size_of::<Stream>() <= 400);

/// What is known in each state, and only there.
#[derive(Debug)]
pub(super) enum State {
    /// A request is awaited; behind it, whether it is not the first on this connection.
    Reading {
        again: bool,
    },
    /// A channel is looked up for a request.
    Opening(Box<Opening>),
    Streaming(Box<Stream>),
    Closed,
}

/// A request that needs its channel.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) request: Request,
    /// The player's id, unless it is no player of the family.
    pub(super) client: Option<ClientId>,
}

/// A client id as a request uses it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientId {
    pub(super) id: u32,
    /// The player named another that nobody knows (§4, `xResetStrm`).
    pub(super) is_reset: bool,
}

impl ClientId {
    /// One that was given before.
    pub(super) fn known(id: u32) -> Self {
        Self {
            id,
            is_reset: false,
        }
    }
}

impl Session {
    /// Takes over from a session that has heard nothing yet.
    pub(in crate::server) fn instead_of(session: &mms::Session) -> Option<Self> {
        let (settings, nonce, until) = session.untouched()?;
        Some(Self {
            settings: Arc::clone(settings),
            outbox: Outbox::new(),
            state: State::Reading { again: false },
            unread: Vec::new(),
            needed: 0,
            in_a_row: 0,
            until,
            connection: nonce as u32, // as over MMS
            random: SplitMix(nonce),
            test: Test::None,
            agent: Box::default(),
            player: Player::Unknown,
        })
    }

    pub(in crate::server) fn handle_input(
        &mut self,
        now: Instant,
        input: Input<'_>,
    ) -> Result<(), SessionError> {
        match input {
            Input::Received(bytes) if !self.may_be_request(now, bytes) => return Ok(()),
            Input::Received(_) => {}
            Input::Opened(answer) => self.on_opened(now, answer),
            Input::Redirected(redirect) => self.on_redirected(&redirect),
            Input::Order(order) => self.on_order(now, order),
            Input::MediaDrained => self.end_stream(now, HResult::S_OK, true),
            Input::SourceLost(hr) | Input::Kick(hr) => self.end(now, hr),
            Input::HeaderChanged(content) => self.on_header_changed(now, content),
            Input::Shutdown => match self.state {
                State::Streaming(_) => self.end(now, HResult::S_OK), // a normal end
                _ => self.end(now, HResult::NS_E_SHUTDOWN),
            },
            Input::Timeout => self.on_timeout(now),
        }
        self.read(now);
        // While a channel is looked up nobody has reason to say much.
        let unread_max = match self.state {
            State::Opening(_) => HEAD_BYTES_MAX,
            _ => UNREAD_BYTES_MAX,
        };
        if self.in_a_row > REQUESTS_MAX || self.unread.len() > unread_max {
            return Err(SessionError::Flood {
                state: self.state_name(),
                requests: self.in_a_row,
            });
        }
        Ok(())
    }

    pub(in crate::server) fn poll_output(&mut self) -> Output<'_> {
        let wake_at = self.wake_at();
        self.outbox.poll().unwrap_or(Output::Idle { wake_at })
    }

    pub(in crate::server) fn connection(&self) -> u32 {
        self.connection
    }

    pub(in crate::server) fn agent(&self) -> &str {
        &self.agent
    }

    pub(in crate::server) fn player(&self) -> Player {
        self.player
    }

    pub(in crate::server) fn state_name(&self) -> &'static str {
        match self.state {
            State::Reading { .. } => "reading a request",
            State::Opening(_) => "opening",
            State::Streaming(_) => "streaming",
            State::Closed => "closed",
        }
    }

    /// The next request is awaited, for as long as players may be silent; one that has begun is to be whole soon.
    pub(super) fn await_request(&mut self, now: Instant) {
        // Half a request that waits already has the time of one.
        self.until = match self.unread.is_empty() {
            true => now + self.settings.idle,
            false => now + self.settings.handshake,
        };
        self.state = State::Reading { again: true };
    }

    pub(super) fn take_opening(&mut self) -> Option<Box<Opening>> {
        if !matches!(self.state, State::Opening(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    /// Nothing follows this.
    pub(super) fn close(&mut self, hr: HResult) {
        self.unread = Vec::new();
        self.outbox.event(Event::Close(hr));
        self.state = State::Closed;
    }

    /// Takes bytes. Whether a request may have become whole.
    fn may_be_request(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let is_deaf = match &self.state {
            State::Closed => true,
            State::Streaming(stream) => stream.is_deaf(),
            State::Reading { .. } | State::Opening(_) => false,
        };
        if is_deaf {
            return false;
        }
        self.in_a_row = 0;
        if self.unread.is_empty() && !matches!(self.state, State::Reading { again: false }) {
            self.until = now + self.settings.handshake;
        }
        self.unread.extend_from_slice(bytes);
        bytes.contains(&b'\n') || self.unread.len() > HEAD_BYTES_MAX || self.needed > 0
    }

    /// Serves every request that is there.
    fn read(&mut self, now: Instant) {
        loop {
            let reads = match &self.state {
                State::Reading { .. } => true,
                State::Streaming(stream) => !stream.is_deaf(),
                State::Opening(_) | State::Closed => false,
            };
            let is_worth = self.unread.len() >= self.needed.max(1);
            if !reads || !is_worth || self.in_a_row > REQUESTS_MAX {
                break;
            }
            self.needed = 0;
            match RequestHead::parse(&self.unread) {
                Ok(None) => break,
                Ok(Some((head, size))) => {
                    if !self.take_request(now, head, size) {
                        break;
                    }
                }
                Err(fault) => self.on_fault(fault),
            }
        }
        if self.unread.is_empty() {
            self.unread = Vec::new(); // no memory is held between requests
        }
    }

    /// Serves a request whose head has `head_bytes`. Whether all of it was there.
    fn take_request(&mut self, now: Instant, head: RequestHead, head_bytes: usize) -> bool {
        let request = Request::new(head);
        if self.agent.is_empty() {
            self.player = request.player();
            self.agent = self.player.agent(request.user_agent());
        }
        if request.wish != Wish::Pipeline {
            self.end_test();
        }
        let is_first = !matches!(self.state, State::Streaming(_));
        if let Wish::HandOver(to) = request.wish
            && is_first
        {
            let received = std::mem::take(&mut self.unread);
            self.outbox
                .event(Event::HandOver(HandOver { to, received }));
            self.state = State::Closed;
            return true;
        }
        let body_bytes = match request.body_bytes() {
            Ok(bytes) => bytes,
            Err(status) => {
                match &mut self.state {
                    State::Streaming(stream) => stream.turn_deaf(),
                    _ => {
                        self.end_test();
                        self.refuse(&request, status);
                    }
                }
                self.unread = Vec::new();
                return true;
            }
        };
        let size = head_bytes + body_bytes;
        if self.unread.len() < size {
            self.needed = size;
            if request.head.expects_continue() && is_first && self.unread.len() == head_bytes {
                self.outbox.send(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            return false;
        }
        self.in_a_row += 1;
        let mut unread = std::mem::take(&mut self.unread);
        let rest = unread.split_off(size);
        self.unread = rest;
        if let State::Reading { again } = &mut self.state {
            *again = true;
        }
        let body = unread.get(head_bytes..).unwrap_or_default();
        self.serve(now, request, body);
        true
    }

    /// No request begins where one should: nothing behind it can be read.
    fn on_fault(&mut self, fault: Fault) {
        match &mut self.state {
            State::Streaming(stream) => stream.turn_deaf(),
            _ => {
                self.end_test();
                self.refuse_unread(fault.status());
            }
        }
        self.unread = Vec::new();
    }

    fn on_redirected(&mut self, redirect: &Redirect) {
        if let Some(opening) = self.take_opening() {
            self.redirect(&opening.request, &redirect.http);
        }
    }

    /// The end of whatever goes on.
    fn end(&mut self, now: Instant, hr: HResult) {
        match &self.state {
            State::Reading { .. } => self.close(hr),
            State::Opening(_) => {
                if let Some(opening) = self.take_opening() {
                    self.refuse_channel(&opening.request, hr);
                }
            }
            State::Streaming(_) => self.end_stream(now, hr, false),
            State::Closed => {}
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let Some((_, timer)) = self.wake_at().filter(|(at, _)| *at <= now) else {
            return;
        };
        match timer {
            Timer::Idle => self.close(HResult::S_OK),
            Timer::Pipelining => self.end_test(),
            Timer::StreamChange => self.on_change_due(now),
            _ if matches!(self.state, State::Streaming(_)) => self.on_fault(Fault::HeadTooLarge), // a half request
            _ => self.refuse_unread(StatusCode::REQUEST_TIMEOUT),
        }
    }

    fn wake_at(&self) -> Option<(Instant, Timer)> {
        if let Test::Running { until } = self.test {
            return Some((until, Timer::Pipelining));
        }
        let request = (self.until, Timer::Handshake);
        match &self.state {
            State::Reading { again: true } if self.unread.is_empty() => {
                Some((self.until, Timer::Idle))
            }
            State::Reading { .. } => Some(request),
            State::Streaming(stream) => {
                let change = stream.change_due().map(|at| (at, Timer::StreamChange));
                let request = (!self.unread.is_empty()).then_some(request);
                change.into_iter().chain(request).min_by_key(|(at, _)| *at)
            }
            State::Opening(_) | State::Closed => None,
        }
    }
}

/// Unread bytes of which nothing more is taken: a whole request, and the beginning of the next.
const UNREAD_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX + BODY_BYTES_MAX;
/// Requests that may have come at once; players send one, or a few in a pipeline. Each that needs its channel is served while
/// the one before it is.
const REQUESTS_MAX: usize = 16;
