//! The state machine of our player over HTTP.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use funnel_asf::Header;
use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{ResponseHead, StatusCode};

use super::super::{CloseReason, Event, FileInfo};
use super::exchange::{Exchange, Unit};
use super::login::Guard;
use super::requests::is_askable;
use super::{Input, Options, Output};
use crate::url::Url;

/// A player of one channel. See the module for the contract.
#[derive(Debug)]
pub struct Session {
    pub(super) options: Arc<Options>,
    /// Where redirects have led so far.
    pub(super) url: Arc<Url>,
    pub(super) state: State,
    /// The answer the session waits for, or that brings the media.
    pub(super) exchange: Option<Exchange>,
    /// The connection of a SelectStream, whose answer says nothing.
    pub(super) beside: Option<u32>,
    /// The number of the last connection.
    pub(super) connections: u32,
    pub(super) outbox: VecDeque<Queued>,
    /// Requests in the outbox, back to back.
    pub(super) bytes: Vec<u8>,
    /// How much of `bytes` was sent.
    sent: usize,
    /// The header last told; empty before the first.
    pub(super) header: Vec<u8>,
    /// The packet that is told next.
    packet: Vec<u8>,
    /// Packets told so far.
    packets: u32,
    pub(super) client_id: Option<u32>,
    pub(super) guard: Guard,
    /// The server goes on with streams of its own choice after a header change.
    predicts_streams: bool,
    is_introduced: bool,
    redirects: u8,
    /// Descriptions since the last packet, beyond the first.
    renewals: u8,
    /// A header has to follow: the entry is over, or `$C` was there.
    is_changing: bool,
    /// Since when an answer is due, if one is.
    asked_at: Option<Instant>,
    heard_at: Instant,
    now: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Asked for the header.
    Describing,
    /// The header is there.
    Ready,
    /// Asked for the media.
    Playing,
    Over,
}

#[derive(Debug)]
pub(super) enum Queued {
    Connect(u32),
    Send(u32, usize),
    Disconnect(u32),
    Event(Event<'static>),
    Header,
    Packet { location: u32 },
}

impl Session {
    /// The first poll yields the first connection.
    pub fn new(url: Arc<Url>, options: Arc<Options>, now: Instant) -> Self {
        let mut session = Self {
            options,
            url,
            state: State::Describing,
            exchange: None,
            beside: None,
            connections: 0,
            outbox: VecDeque::new(),
            bytes: Vec::new(),
            sent: 0,
            header: Vec::new(),
            packet: Vec::new(),
            packets: 0,
            client_id: None,
            guard: Guard::default(),
            predicts_streams: false,
            is_introduced: false,
            redirects: 0,
            renewals: 0,
            is_changing: false,
            asked_at: None,
            heard_at: now,
            now,
        };
        session.describe();
        session
    }

    /// Takes one input; poll the outputs afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Received { connection, bytes } => {
                if let Some(exchange) = self.exchange_on(connection) {
                    exchange.received(bytes);
                    self.heard_at = now;
                }
            }
            Input::Closed { connection } => {
                if self.beside == Some(connection) {
                    self.beside = None;
                }
                if let Some(exchange) = self.exchange_on(connection) {
                    exchange.closed();
                }
            }
            Input::Timeout => {
                if self.deadline().is_some_and(|at| now >= at) {
                    self.close(CloseReason::TimedOut);
                }
            }
            Input::Play if self.state == State::Ready => self.play(),
            Input::Play => {}
            Input::Close => self.close(CloseReason::Finished),
        }
    }

    /// What to do next; call until [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output<'_> {
        loop {
            if let Some(queued) = self.outbox.pop_front() {
                return self.output(queued);
            }
            self.bytes.clear();
            self.sent = 0;
            let Some(exchange) = &mut self.exchange else {
                break;
            };
            match exchange.next(&mut self.packet) {
                Ok(Some(unit)) => self.on_unit(unit),
                Ok(None) => break,
                Err(reason) => self.close(reason),
            }
        }
        Output::Idle {
            wake_at: self.deadline(),
        }
    }

    /// Where the channel is: the URL asked for, or where redirects led.
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn output(&mut self, queued: Queued) -> Output<'_> {
        match queued {
            Queued::Connect(connection) => Output::Connect {
                connection,
                url: &self.url,
            },
            Queued::Send(connection, size) => {
                let start = self.sent;
                self.sent += size;
                let bytes = self.bytes.get(start..self.sent).unwrap_or_default();
                Output::Send { connection, bytes }
            }
            Queued::Disconnect(connection) => Output::Disconnect { connection },
            Queued::Event(event) => Output::Event(event),
            Queued::Header => Output::Event(Event::Header(&self.header)),
            Queued::Packet { location } => {
                let sequence = self.packets;
                self.packets = sequence.wrapping_add(1);
                Output::Event(Event::Packet {
                    location,
                    sequence,
                    bytes: &self.packet,
                })
            }
        }
    }

    fn exchange_on(&mut self, connection: u32) -> Option<&mut Exchange> {
        self.exchange
            .as_mut()
            .filter(|exchange| exchange.connection == connection)
    }

    fn on_unit(&mut self, unit: Unit) {
        match unit {
            Unit::Head(head) => self.on_head(&head),
            Unit::Header(bytes) => self.on_header(bytes),
            Unit::Packet { location } if self.state == State::Playing => {
                self.asked_at = None;
                self.renewals = 0;
                self.outbox.push_back(Queued::Packet { location });
            }
            Unit::Packet { .. } => {} // behind the header of a Describe: comes again with Play
            Unit::Change => self.await_header(),
            Unit::End(HResult::S_FALSE) => self.await_header(),
            Unit::End(reason) => {
                self.event(Event::End(reason));
                self.close(CloseReason::Finished);
            }
            Unit::Over { is_whole } => self.on_over(is_whole),
        }
    }

    fn on_head(&mut self, head: &ResponseHead) {
        match head.status {
            status if status.is_success() => self.on_success(head),
            StatusCode::UNAUTHORIZED
                if self.url.login.is_some() && self.guard.is_challenged(&head.fields) =>
            {
                self.ask_again();
            }
            StatusCode::MULTIPLE_CHOICES
            | StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => self.on_redirect(head),
            status => self.close(CloseReason::Answered(status)),
        }
    }

    fn on_success(&mut self, head: &ResponseHead) {
        let pragmas = head.fields.pragmas();
        self.client_id = pragmas.client_id().or(self.client_id);
        if head.fields.get("Supported").is_some() {
            self.predicts_streams = head.fields.lists("Supported", PREDICTIVE_STREAMS);
        }
        if !self.is_introduced {
            self.is_introduced = true;
            let server = head.fields.get("Server").unwrap_or_default();
            let (version, product) = server.split_once(' ').unwrap_or((server, ""));
            self.event(Event::Connected {
                server_version: version.to_owned(),
                product: Some(product.to_owned()).filter(|text| !text.is_empty()),
            });
        }
        if self.state == State::Playing {
            self.event(Event::Started);
        }
    }

    fn on_redirect(&mut self, head: &ResponseHead) {
        let location = head.fields.get("Location");
        let url = location.and_then(|location| self.url.redirected(location).ok());
        let Some(url) = url.filter(is_askable) else {
            return self.close(CloseReason::Answered(head.status));
        };
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX || !url.scheme.is_http() {
            self.event(Event::Redirect(url.to_string()));
            return self.close(CloseReason::Redirected);
        }
        if (&url.host, url.port) != (&self.url.host, self.url.port) {
            self.client_id = None;
            self.guard = Guard::default();
        }
        self.hang_up();
        self.url = Arc::new(url);
        self.describe();
    }

    fn on_header(&mut self, bytes: Vec<u8>) {
        let Ok(header) = Header::parse(&bytes) else {
            return self.close(CloseReason::Damaged("ASF header"));
        };
        let was_changing = std::mem::take(&mut self.is_changing);
        self.tell_header(&header, bytes);
        self.asked_at = None;
        match self.state {
            State::Describing if self.exchange.as_ref().is_some_and(Exchange::is_plain) => {
                self.state = State::Playing;
                self.event(Event::Started);
            }
            State::Describing => {
                self.hang_up();
                self.state = State::Ready;
                if self.options.auto_play || self.packets > 0 {
                    self.play();
                }
            }
            State::Playing
                if was_changing && !self.predicts_streams && self.client_id.is_some() =>
            {
                self.select_streams();
            }
            State::Playing | State::Ready | State::Over => {}
        }
    }

    /// Tells a header, unless it says the same as the one before.
    fn tell_header(&mut self, header: &Header, bytes: Vec<u8>) {
        let info = FileInfo {
            packet_bytes: header.packet_bytes(),
            header_bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            bit_rate: header.bit_rate(),
            attributes: 0,
        };
        if self.header.is_empty() {
            self.event(Event::Opened(info));
        } else if Header::parse(&self.header).is_ok_and(|known| known.equivalent(header)) {
            return;
        } else {
            self.event(Event::StreamChange(info));
        }
        self.header = bytes;
        self.outbox.push_back(Queued::Header);
    }

    /// The answer is over, or its connection.
    fn on_over(&mut self, is_whole: bool) {
        let is_plain = self.exchange.as_ref().is_some_and(Exchange::is_plain);
        if self.state == State::Playing && is_plain && is_whole {
            self.event(Event::End(HResult::S_OK)); // plain ASF has no word for it
            self.close(CloseReason::Finished);
        } else if self.state == State::Playing && self.is_changing && self.renewals < RENEWALS_MAX {
            // The server wants to be asked anew, as it does from old players.
            self.renewals += 1;
            self.is_changing = false;
            self.hang_up();
            self.describe();
        } else {
            self.close(CloseReason::ConnectionLost);
        }
    }

    /// The last request once more.
    fn ask_again(&mut self) {
        self.hang_up();
        match self.state {
            State::Playing => self.play(),
            _ => self.describe(),
        }
    }

    fn await_header(&mut self) {
        if !self.is_changing {
            self.is_changing = true;
            self.wait();
        }
    }

    pub(super) fn wait(&mut self) {
        self.asked_at = Some(self.now);
        self.heard_at = self.now;
    }

    fn event(&mut self, event: Event<'static>) {
        self.outbox.push_back(Queued::Event(event));
    }

    fn hang_up(&mut self) {
        let media = self.exchange.take().map(|exchange| exchange.connection);
        for connection in [media, self.beside.take()].into_iter().flatten() {
            self.outbox.push_back(Queued::Disconnect(connection));
        }
    }

    fn close(&mut self, reason: CloseReason) {
        if self.state != State::Over {
            self.state = State::Over;
            self.hang_up();
            self.event(Event::Close(reason));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.state == State::Over {
            return None;
        }
        match self.asked_at {
            Some(asked_at) => Some(asked_at + self.options.answer_within),
            None if self.state == State::Playing => {
                self.options.silence.map(|silence| self.heard_at + silence)
            }
            None => None,
        }
    }
}

/// In `Supported` of a server that goes on by itself after a header change.
const PREDICTIVE_STREAMS: &str = "com.microsoft.wm.predstrm";
/// Redirects that are followed.
const REDIRECTS_MAX: u8 = 5;
/// New descriptions without a packet between them.
const RENEWALS_MAX: u8 = 5;
