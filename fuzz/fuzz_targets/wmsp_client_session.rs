//! A client session over HTTP under any server. Input: a byte that chooses who asks, then steps of one byte that says what
//! happens, a length (u16), and that many bytes.
//!
//! Laws: outputs come to an end, each send is exactly one request on a connection that was made and is not yet closed, connections
//! are at most two and never named twice, packets only come behind a header and after Started, numbered without a gap;
//! nothing follows a close, and then no connection is left.
#![no_main]

use funnel_session::client::Event;
use funnel_session::client::http::{Input, Manner, Options, Output, Session};
use funnel_session::url::Url;
use funnel_wire::wmsp::RequestHead;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static URL: LazyLock<Arc<Url>> = LazyLock::new(|| {
    Arc::new(
        "http://ann:secret@studio.example/live"
            .parse()
            .expect("an address"),
    )
});
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

struct Owner {
    session: Session,
    now: Instant,
    wake_at: Option<Instant>,
    open: Vec<u32>,
    last: u32,
    has_header: bool,
    may_play: bool,
    packets: u32,
    header_bytes_max: usize,
    closed: bool,
}

impl Owner {
    fn drain(&mut self) {
        for _ in 0..100_000 {
            match self.session.poll_output() {
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
                _ if self.closed => panic!("an output after the close"),
                Output::Connect { connection, url } => {
                    assert!(connection > self.last && url.scheme.is_http());
                    self.last = connection;
                    self.open.push(connection);
                    assert!(self.open.len() <= 2);
                }
                Output::Send { connection, bytes } => {
                    assert!(self.open.contains(&connection));
                    let (_, size) = RequestHead::parse(bytes)
                        .expect("a request")
                        .expect("a whole one");
                    assert_eq!(size, bytes.len());
                }
                Output::Disconnect { connection } => {
                    let at = self.open.iter().position(|known| *known == connection);
                    self.open.remove(at.expect("a connection that is open"));
                }
                Output::Event(Event::Packet {
                    sequence, bytes, ..
                }) => {
                    assert!(self.has_header && self.may_play);
                    assert!(bytes.len() <= 65_535);
                    assert_eq!(sequence, self.packets);
                    self.packets += 1;
                }
                Output::Event(Event::Header(bytes)) => {
                    assert!(bytes.len() <= self.header_bytes_max);
                    self.has_header = true;
                }
                Output::Event(Event::Started) => self.may_play = true,
                Output::Event(Event::Close(_)) => {
                    assert!(self.open.is_empty());
                    self.closed = true;
                }
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
    let Some((manner, bytes)) = bytes.split_first() else {
        return;
    };
    let options = Options {
        manner: [Manner::Player, Manner::Relay, Manner::Plain][usize::from(manner % 3)],
        wants_chunks: manner & 0x80 != 0,
        auto_play: manner & 0x40 == 0,
        ..Options::default()
    };
    let now = *START;
    let mut owner = Owner {
        header_bytes_max: options.header_bytes_max,
        session: Session::new(Arc::clone(&URL), Arc::new(options), now),
        now,
        wake_at: None,
        open: Vec::new(),
        last: 0,
        has_header: false,
        may_play: false,
        packets: 0,
        closed: false,
    };
    owner.drain();
    let mut rest = bytes;
    while let Some(([op, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (bytes, behind) = behind.split_at(length.min(behind.len()));
        owner.now += Duration::from_millis(u64::from(op >> 4) * 40);
        let connection = owner.last;
        match op & 15 {
            8 => owner.feed(Input::Play),
            9 => owner.feed(Input::Closed {
                connection: connection.saturating_sub(1),
            }),
            10 | 13 => owner.feed(Input::Closed { connection }),
            11 => owner.feed(Input::Close),
            12 => {
                if let Some(at) = owner.wake_at {
                    owner.now = owner.now.max(at);
                    owner.feed(Input::Timeout);
                }
            }
            14 => owner.feed(Input::Received {
                connection: connection.saturating_sub(1),
                bytes,
            }),
            _ => owner.feed(Input::Received { connection, bytes }),
        }
        rest = behind;
    }
});
