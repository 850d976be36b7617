//! An encoder's side of a push (`docs/protocol/wmsp.md` §20, §22), in the manner of those that push to servers: Windows Media
//! Encoder, ffmpeg with either muxer, GStreamer, and bare TCP.
//!
//! ```text
//! Windows Media   setup ─ 204 ─► start, body of $ packets ─ full: 204 ─► start …      ┐
//! POST            head (Expect if there is a login) ─ 100 ─► body of chunks ─ 200     ├─► over
//! PUT             head, one packet ─ 200 ─► head, one packet ─ 200 …                  │
//! raw             packets                                                             ┘
//! ```
//!
//! Contract: feed one [`Input`], then call [`Sender::poll_output`] until [`Output::Idle`]. There is one connection at a time; the
//! shell makes it when told to. Packets that come while the server has the word wait here. Leaves to the shell: pace, and what to do
//! after [`Event::Lost`].

mod answer;
mod body;
mod requests;

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use funnel_asf::Header;
use funnel_wire::wmsp::{PacketKind, ResponseHead, StatusCode};

use self::answer::{Answer, push_id};
use self::body::{Budget, chunk, framed, last_chunk, pushed};
use crate::client::http::login::Guard;
use crate::url::Url;

/// How to push.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// Windows Media Encoder's (§20).
    #[default]
    WindowsMedia,
    /// One POST of plain ASF, in HTTP chunks, as `ffmpeg -f asf` (§22.1).
    Post,
    /// One POST of `$H` and `$D` packets, in HTTP chunks, as `ffmpeg -f asf_stream` (§22.3).
    Chunks,
    /// Plain ASF, one PUT for each packet, as GStreamer's `souphttpclientsink` (§22.4).
    Put,
    /// Plain ASF and no HTTP (§22.2).
    Raw,
}

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of Windows Media or HTTP kind; with [`Protocol::Raw`] only host and port matter.
    pub url: Url,
    /// How to push.
    pub protocol: Protocol,
    /// `User-Agent`, but for Windows Media.
    pub agent: String,
    /// Time each answer may take, connecting included.
    pub answer_within: Duration,
    /// Length of a body of Windows Media, bytes; raised to what one packet needs.
    pub body_bytes: u32,
}

impl Options {
    /// What Windows Media Encoder calls an endless body (§20.1).
    pub const BODY_BYTES: u32 = 2_147_483_647;
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The connection stands.
    Connected,
    /// It is closed or lost, or could not be made.
    Closed,
    /// Bytes of the server.
    Received(&'a [u8]),
    /// The next ASF packet, full size.
    Packet(&'a [u8]),
    /// There are no more packets.
    End,
    /// `now` has reached the `wake_at` of the last [`Output::Idle`].
    Timeout,
}

/// What to do next.
#[derive(Debug, Eq, PartialEq)]
pub enum Output {
    /// Make a connection.
    Connect,
    /// Send these bytes on it.
    Send(Vec<u8>),
    /// Close it, once everything was sent.
    Disconnect,
    /// Something to know.
    Event(Event),
    /// Nothing more.
    Idle {
        /// Next deadline.
        wake_at: Option<Instant>,
    },
}

/// What became of the push.
#[derive(Debug, Eq, PartialEq)]
pub enum Event {
    /// The server takes packets.
    Ready,
    /// It does not want them. Nothing follows.
    Refused {
        /// Why, as a number.
        status: StatusCode,
        /// Why, in the server's words; may be empty.
        reason: String,
    },
    /// The server is gone, or makes no sense. Nothing follows.
    Lost(&'static str),
    /// Everything was sent, and taken as far as the protocol says so. Nothing follows.
    Done,
}

/// Pushes one show. See the [module](self).
#[derive(Debug)]
pub struct Sender {
    options: Options,
    stage: Stage,
    request: Request,
    guard: Guard,
    push_id: String,
    /// What the body under way may still hold; for Windows Media.
    budget: Budget,
    /// Pieces of the body that are still to be sent, the header first.
    queue: VecDeque<Vec<u8>>,
    /// Number of the next ASF packet.
    location: u32,
    answer: Answer,
    out: VecDeque<Output>,
    /// Since when the server has the word, or the connection is awaited.
    since: Instant,
    is_connected: bool,
    was_ready: bool,
    ends: bool,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The request is made when the connection stands.
    Connecting,
    /// The server has the word.
    Asked,
    /// The body goes out.
    Open,
    /// No packet, no request.
    Resting,
    /// All is said; the server has the last word.
    Closing,
    Over,
}

/// What is asked now, or next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Request {
    Setup,
    Start,
    Post,
    Put,
    None,
}

impl Sender {
    /// For a show with this header; the first poll asks for a connection.
    pub fn new(options: Options, header: &Header, now: Instant) -> Self {
        let (request, first) = match options.protocol {
            Protocol::WindowsMedia => (Request::Setup, pushed(PacketKind::HEADER, header.bytes())),
            Protocol::Chunks => (Request::Post, framed::header(header.bytes())),
            Protocol::Post => (Request::Post, header.bytes().to_vec()),
            Protocol::Put => (Request::Put, header.bytes().to_vec()),
            Protocol::Raw => (Request::None, header.bytes().to_vec()),
        };
        let largest = header.bytes().len().max(header.packet_bytes() as usize);
        Self {
            budget: Budget::new(options.body_bytes, largest),
            options,
            stage: Stage::Connecting,
            request,
            guard: Guard::default(),
            push_id: "0".to_owned(),
            queue: [first].into(),
            location: 1, // `$H` took 0 (§22.3)
            answer: Answer::default(),
            out: [Output::Connect].into(),
            since: now,
            is_connected: false,
            was_ready: false,
            ends: false,
        }
    }

    /// Takes one input; then poll.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        match input {
            Input::Connected => {
                self.is_connected = true;
                if self.stage == Stage::Connecting {
                    self.ask(now);
                }
            }
            Input::Closed => self.on_closed(now),
            Input::Received(bytes) => {
                self.answer.push(bytes);
                self.read(now);
            }
            Input::Packet(packet) => self.on_packet(packet, now),
            Input::End => {
                self.ends = true;
                if self.options.protocol == Protocol::WindowsMedia {
                    self.queue
                        .push_back(pushed(PacketKind::END, &0_u32.to_le_bytes()));
                } else if self.options.protocol == Protocol::Chunks {
                    self.queue.push_back(framed::end(self.location));
                }
                self.pump(now);
            }
            Input::Timeout => {
                if self.wake_at().is_some_and(|at| now >= at) {
                    self.lose("no answer in time");
                }
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        match self.out.pop_front() {
            Some(output) => output,
            None => Output::Idle {
                wake_at: self.wake_at(),
            },
        }
    }

    fn on_packet(&mut self, packet: &[u8], now: Instant) {
        let piece = match self.options.protocol {
            Protocol::WindowsMedia => pushed(PacketKind::DATA, packet),
            Protocol::Chunks => framed::packet(self.location, packet),
            Protocol::Post | Protocol::Put | Protocol::Raw => packet.to_vec(),
        };
        self.location = self.location.wrapping_add(1);
        self.queue.push_back(piece);
        self.pump(now);
    }

    fn on_closed(&mut self, now: Instant) {
        self.is_connected = false;
        if let Some(head) = self.answer.cut_short() {
            self.on_answer(&head, now);
        } else if self.stage != Stage::Resting {
            self.lose("the server closed the connection");
        }
    }

    /// The server takes packets.
    fn open(&mut self, now: Instant) {
        self.stage = Stage::Open;
        self.say_ready();
        self.pump(now);
    }

    fn say_ready(&mut self) {
        if !mem::replace(&mut self.was_ready, true) {
            self.out.push_back(Output::Event(Event::Ready));
        }
    }

    /// Sends what may be sent.
    fn pump(&mut self, now: Instant) {
        match (self.stage, self.request) {
            (Stage::Resting, _) if !self.queue.is_empty() => {
                if self.is_connected {
                    self.ask(now);
                } else {
                    self.connect(now);
                }
            }
            (Stage::Resting, _) if self.ends => self.finish(),
            (Stage::Open, Request::Start) => self.pump_body(now),
            (Stage::Open, request) => {
                let pieces = mem::take(&mut self.queue);
                for piece in pieces {
                    let piece = match request {
                        Request::Post => chunk(&piece),
                        _ => piece,
                    };
                    self.out.push_back(Output::Send(piece));
                }
                match request {
                    Request::Post if self.ends => {
                        self.out.push_back(Output::Send(last_chunk()));
                        self.stage = Stage::Closing;
                        self.since = now;
                    }
                    _ if self.ends => self.finish(),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// A body of Windows Media, filled to its last byte before the next is asked for (§20.3).
    fn pump_body(&mut self, now: Instant) {
        while let Some(piece) = self.queue.front() {
            let is_taken = self.budget.take(piece.len());
            let bytes = match is_taken {
                true => self.queue.pop_front().unwrap_or_default(),
                false => self.budget.fill(),
            };
            self.out.push_back(Output::Send(bytes));
            if self.ends && self.queue.is_empty() {
                self.finish();
                return;
            }
            if self.budget.is_full() {
                self.stage = Stage::Asked;
                self.since = now;
                return;
            }
        }
    }

    /// Reads answers as far as they have come.
    fn read(&mut self, now: Instant) {
        while self.stage != Stage::Over {
            match self.answer.step() {
                Ok(Some(head)) => self.on_answer(&head, now),
                Ok(None) => return,
                Err(_) => self.lose("the server's answer is no HTTP"),
            }
        }
    }

    fn on_answer(&mut self, head: &ResponseHead, now: Instant) {
        let text = self.answer.take_text();
        self.is_connected &= head.keeps_connection() || head.status.is_informational();
        match (self.stage, self.request) {
            (Stage::Asked, Request::Post) if head.status == StatusCode::CONTINUE => self.open(now),
            _ if head.status.is_informational() => {}
            (Stage::Asked, _)
                if head.status == StatusCode::UNAUTHORIZED && self.may_log_in(head) =>
            {
                self.ask_again(now);
            }
            _ if !head.status.is_success() => self.refuse(head, &text),
            (Stage::Asked, Request::Setup) => {
                self.push_id = push_id(head).unwrap_or_else(|| "0".to_owned());
                self.request = Request::Start;
                self.ask_again(now);
            }
            (Stage::Asked, Request::Start) => self.ask_again(now),
            (Stage::Asked, Request::Put) => {
                self.queue.pop_front();
                self.say_ready();
                self.stage = Stage::Resting;
                self.pump(now);
            }
            (Stage::Closing, _) => self.finish(),
            _ => self.lose("the server says that it has everything already"),
        }
    }

    /// The same or the next request, on this connection if it stays.
    fn ask_again(&mut self, now: Instant) {
        if self.is_connected {
            self.ask(now);
        } else {
            self.connect(now);
        }
    }

    fn connect(&mut self, now: Instant) {
        self.answer = Answer::default();
        self.out.extend([Output::Disconnect, Output::Connect]);
        self.stage = Stage::Connecting;
        self.since = now;
    }

    fn refuse(&mut self, head: &ResponseHead, text: &[u8]) {
        let is_text = head
            .fields
            .content_type()
            .is_some_and(|kind| kind.starts_with("text/plain"));
        let text = String::from_utf8_lossy(if is_text { text } else { &[] });
        let reason = match text.trim() {
            "" => head.reason.clone(),
            text => text.to_owned(),
        };
        let status = head.status;
        self.over(Event::Refused { status, reason });
    }

    fn lose(&mut self, why: &'static str) {
        self.over(Event::Lost(why));
    }

    fn finish(&mut self) {
        self.over(Event::Done);
    }

    fn over(&mut self, event: Event) {
        self.stage = Stage::Over;
        self.out.extend([Output::Disconnect, Output::Event(event)]);
    }

    fn may_log_in(&mut self, head: &ResponseHead) -> bool {
        self.options.url.login.is_some() && self.guard.is_challenged(&head.fields)
    }

    fn wake_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Connecting | Stage::Asked | Stage::Closing => {
                Some(self.since + self.options.answer_within)
            }
            Stage::Open | Stage::Resting | Stage::Over => None,
        }
    }
}

#[cfg(test)]
mod tests;
