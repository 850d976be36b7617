//! A client session under any server. Input: a byte that chooses TCP (even) or UDP, then steps of one byte that says
//! what happens, a length (u16), and that many bytes.
//!
//! Laws: outputs come to an end, each send is exactly one message, packets only come behind a header and after
//! Started or a StreamChange and are no longer than MMS can carry, nothing follows a close. Over UDP: numbers only go
//! up, what is told as lost is not told as a packet, and each datagram is a resend request that names no number more
//! often than the options say.
#![no_main]

use funnel_session::client::{Event, Input, Options, Output, Session, Transport};
use funnel_session::url::Url;
use funnel_wire::mms::{Framer, ResendRequest, Traffic};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static URL: LazyLock<Arc<Url>> =
    LazyLock::new(|| Arc::new("mmst://127.0.0.1/live2.asf".parse().expect("an address")));
static OPTIONS: LazyLock<Arc<Options>> = LazyLock::new(|| Arc::new(Options::default()));
static UDP: LazyLock<Arc<Options>> = LazyLock::new(|| {
    Arc::new(Options {
        transport: Transport::Udp { port: 7000 },
        ..Options::default()
    })
});
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

struct Owner {
    session: Session,
    now: Instant,
    wake_at: Option<Instant>,
    has_header: bool,
    may_play: bool,
    closed: bool,
    /// The number that the next packet has at least, over UDP.
    next: Option<u32>,
    asked: HashMap<u32, u32>,
}

impl Owner {
    fn note_told(&mut self, sequence: u32, count: u32) {
        if let Some(next) = &mut self.next {
            assert!(sequence >= *next, "{sequence} after {next}");
            *next = sequence + count;
        }
    }

    fn note_request(&mut self, datagram: &[u8]) {
        let request = ResendRequest::decode(datagram).expect("a resend request");
        for sequence in request.sequences {
            let times = self.asked.entry(sequence.get()).or_default();
            *times += 1;
            // Each of eight short runs may ask twice on suspicion for what then goes missing in the ninth.
            let most = 1 + u32::from(Options::default().udp.retries) + 2 * 8;
            assert!(*times <= most, "asked too often");
        }
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            match self.session.poll_output() {
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
                _ if self.closed => panic!("an output after the close"),
                Output::Send(bytes) => {
                    let mut framer = Framer::new(Traffic::Messages);
                    let mut rest = bytes;
                    assert!(
                        matches!(framer.next(&mut rest), Ok(Some(_))),
                        "a send is a whole message"
                    );
                    assert!(rest.is_empty(), "a send is one message");
                }
                Output::Event(Event::Packet {
                    bytes, sequence, ..
                }) => {
                    assert!(self.has_header, "media before a header");
                    assert!(self.may_play, "media that nothing announced");
                    assert!(bytes.len() <= 65_527);
                    self.note_told(sequence, 1);
                }
                Output::Event(Event::Lost { sequence, count }) => {
                    assert!(count > 0);
                    self.note_told(sequence, count);
                }
                Output::Datagram(bytes) => {
                    assert!(self.next.is_some(), "a datagram over TCP");
                    let datagram = bytes.to_vec();
                    self.note_request(&datagram);
                }
                Output::Event(Event::Header(bytes)) => {
                    assert!(bytes.len() <= Options::default().header_bytes_max);
                    self.has_header = true;
                }
                Output::Event(Event::Started) => self.may_play = true,
                Output::Event(Event::StreamChange(_)) => {
                    self.has_header = false;
                    self.may_play = true;
                }
                Output::Event(Event::Close(_)) => self.closed = true,
                Output::Event(_) => {}
            }
        }
        panic!("outputs without end");
    }

    fn feed(&mut self, input: Input<'_>) {
        self.session.handle_input(self.now, input);
        self.drain();
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((transport, bytes)) = bytes.split_first() else {
        return;
    };
    let is_udp = transport & 1 == 1;
    let options = if is_udp { &UDP } else { &OPTIONS };
    let now = *START;
    let session = Session::new(Arc::clone(&URL), Arc::clone(options), now);
    let mut owner = Owner {
        session,
        now,
        wake_at: None,
        has_header: false,
        may_play: false,
        closed: false,
        next: is_udp.then_some(0),
        asked: HashMap::new(),
    };
    owner.drain();
    let mut rest = bytes;
    while let Some(([op, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (data, behind) = behind.split_at(length.min(behind.len()));
        owner.now += Duration::from_millis(u64::from(op >> 4) * 40);
        match op & 15 {
            8 => owner.feed(Input::Play),
            9 => owner.feed(Input::Stop),
            10 => owner.feed(Input::Closed),
            11 => owner.feed(Input::Close),
            12 => {
                if let Some(at) = owner.wake_at {
                    owner.now = owner.now.max(at);
                    owner.feed(Input::Timeout);
                }
            }
            13 | 14 => owner.feed(Input::Datagram(data)),
            _ => owner.feed(Input::Received(data)),
        }
        if owner.closed {
            return;
        }
        rest = behind;
    }
});
