//! Connections over HTTP to one server under any conversation, with the owner's inputs mixed in. Input: steps of one byte
//! that says whose step it is (the lowest two bits) and what happens, a length (u16), and that many bytes.
//!
//! Laws: outputs come to an end; what is sent is heads, bodies and framed packets, whole and in order; media is only asked
//! for after an opening succeeded, and other streams only while it flows; an order names a connection that plays; who is
//! handed over has lost no byte; nothing follows a close.
#![no_main]

use funnel_session::HResult;
use funnel_session::server::{
    Event, Framing, Input, Opened, Order, Output, Redirect, Session, Settings,
};
use funnel_wire::wmsp::{Body, Packet, ResponseHead};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static HEADERS: LazyLock<[Opened; 2]> = LazyLock::new(|| {
    let files: [&[u8]; 2] = [
        include_bytes!("../../testdata/media/tiny-audio.asf"),
        include_bytes!("../../testdata/media/metadata-unicode.wmv"),
    ];
    files.map(|bytes| {
        let header = funnel_asf::Header::parse(bytes).expect("a good header");
        Opened {
            header: header.bytes().into(),
            packet_bytes: header.packet_bytes(),
            bit_rate: header.bit_rate(),
            streams: header.stream_mask(),
        }
    })
});

/// What the owner of a session knows.
struct Owner {
    session: Session,
    wake_at: Option<Instant>,
    opening: bool,
    opened: bool,
    framing: Option<Framing>,
    /// It may have told of a change and wait for a choice.
    has_played: bool,
    closed: bool,
    received: Vec<u8>,
    sent: Vec<u8>,
    orders: Vec<(u32, Order)>,
}

impl Owner {
    fn new(settings: &Arc<Settings>, number: u64) -> Self {
        Self {
            session: Session::new(Arc::clone(settings), 0xA5A5_0000_5EED_0000 | number, *START),
            wake_at: None,
            opening: false,
            opened: false,
            framing: None,
            has_played: false,
            closed: false,
            received: Vec::new(),
            sent: Vec::new(),
            orders: Vec::new(),
        }
    }

    fn feed(&mut self, now: Instant, input: Input<'_>) {
        if self.closed {
            return;
        }
        if let Input::Received(bytes) = &input {
            self.received.extend_from_slice(bytes);
        }
        if self.session.handle_input(now, input).is_err() {
            self.closed = true;
            return;
        }
        for _ in 0..1000 {
            match self.session.poll_output() {
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at.map(|(at, _)| at);
                    return;
                }
                _ if self.closed => panic!("an output after the end"),
                Output::Send(bytes) => self.sent.extend_from_slice(bytes),
                Output::Datagram(_) => panic!("a datagram over HTTP"),
                Output::Event(event) => self.heed(event),
            }
        }
        panic!("outputs without end");
    }

    fn heed(&mut self, event: Event) {
        match event {
            Event::Open(request) => {
                assert!(!request.names.is_empty(), "a request names something");
                self.opening = true;
                self.opened = false;
            }
            Event::Play(play) => {
                assert!(self.opened, "media before a channel was opened");
                assert!(self.framing.is_none(), "media while media flows");
                self.framing = Some(play.framing);
                self.has_played = true;
            }
            Event::StopMedia => {
                assert!(self.framing.take().is_some(), "an end of nothing");
            }
            Event::Select(_) => assert!(self.framing.is_some(), "a selection without media"),
            Event::Order { connection, order } => self.orders.push((connection, order)),
            Event::HandOver(hand_over) => {
                assert!(self.received.ends_with(&hand_over.received));
                self.closed = true;
            }
            Event::Close(_) => {
                self.framing = None;
                self.closed = true;
            }
            Event::ClientLog(_) => {}
            Event::Transport(_) => panic!("a transport over HTTP"),
        }
    }

    fn step(&mut self, now: Instant, op: u8, data: &[u8]) {
        match op >> 2 & 7 {
            0..4 => self.feed(now, Input::Received(data)),
            4 => {
                if let Some(framing) = self.framing {
                    let mut head = [0; Framing::HEAD_BYTES_MAX];
                    let size = framing.head(7, 0, 50, &mut head);
                    self.sent.extend_from_slice(&head[..size]);
                    self.sent.extend_from_slice(&[0x82; 50]);
                }
            }
            5 => match op >> 5 {
                0 if self.framing.is_some() => self.feed(now, Input::MediaDrained),
                1 if self.has_played => self.feed(now, Input::HeaderChanged(HEADERS[1].clone())),
                2 => self.feed(now, Input::Kick(HResult(0xC00D_002A))),
                3 => self.feed(now, Input::Shutdown),
                _ => self.feed(now, Input::Timeout),
            },
            _ => {
                if std::mem::take(&mut self.opening) {
                    self.answer(now, op >> 5);
                }
            }
        }
    }

    fn answer(&mut self, now: Instant, how: u8) {
        self.opened = how < 6;
        self.feed(
            now,
            match how {
                0..6 => Input::Opened(Ok(HEADERS[0].clone())),
                6 => Input::Opened(Err(HResult(0xC00D_001A))),
                _ => Input::Redirected(Arc::new(Redirect {
                    mms: "mms://other/x".into(),
                    http: "http://other/x".into(),
                })),
            },
        );
    }

    /// Reads all that was sent.
    fn check(&self) {
        if self.received.windows(4).any(|word| word == b"HEAD") {
            return; // where its answer ends cannot be told from the answer
        }
        let mut rest = &self.sent[..];
        while !rest.is_empty() {
            let Some((head, size)) = ResponseHead::parse(rest).expect("a head") else {
                return; // that of chunks ends with the first of them
            };
            rest = &rest[size..];
            let is_framed = head.agent().is_some();
            if head.status == 100 {
                continue;
            }
            let (mut body, mut content) = (Body::new(head.length), Vec::new());
            loop {
                let (taken, part) = body
                    .take(rest)
                    .unwrap_or_else(|fault| panic!("{fault} in {}", self.sent.escape_ascii()));
                content.extend_from_slice(part);
                rest = &rest[taken..];
                if taken == 0 {
                    break;
                }
            }
            let mut packets = &content[..];
            while is_framed && !packets.is_empty() {
                let Some((_, size)) = Packet::split(packets).expect("a packet") else {
                    assert!(!body.is_over(), "a packet that is cut");
                    break;
                };
                packets = &packets[size..];
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (cougar, mut rest) = match bytes.split_first() {
        Some((first, rest)) => (first & 1 != 0, rest),
        None => return,
    };
    let mut settings = Settings::default();
    if cougar {
        settings.http_identity = "Cougar/9.5".into();
    }
    let settings = Arc::new(settings);
    let mut owners = [1, 2, 3, 4].map(|number| Owner::new(&settings, number));
    let mut now = *START;
    while let Some(([op, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (data, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        if op >> 2 == 63 {
            now += Duration::from_millis(u64::from(*low) * 500);
            for owner in &mut owners {
                if owner.wake_at.is_some_and(|at| at <= now) {
                    owner.feed(now, Input::Timeout);
                }
            }
            continue;
        }
        let owner = &mut owners[usize::from(op & 3)];
        if data
            .first()
            .is_some_and(|first| !first.is_ascii_alphabetic())
            && owner.received.is_empty()
        {
            continue; // MMS has a target of its own
        }
        owner.step(now, *op, data);
        if op >> 2 & 7 < 4 && std::mem::take(&mut owner.opening) {
            owner.answer(now, 0);
        }
        for (connection, order) in std::mem::take(&mut owner.orders) {
            let target = owners
                .iter_mut()
                .find(|owner| owner.session.client_id() == connection);
            let target = target.expect("an order for somebody");
            assert!(
                target.has_played && !target.closed,
                "an order for who plays"
            );
            target.feed(now, Input::Order(order));
        }
    }
    for owner in &owners {
        owner.check();
    }
});
