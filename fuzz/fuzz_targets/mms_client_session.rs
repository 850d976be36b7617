//! A client session under any server. Input: steps of one byte that says what happens, a length (u16), and that
//! many bytes.
//!
//! Laws: outputs come to an end, each send is exactly one message, packets only come behind a header and after
//! Started or a StreamChange and are no longer than MMS can carry, nothing follows a close.
#![no_main]

use funnel_session::client::{Event, Input, Options, Output, Session};
use funnel_session::url::Url;
use funnel_wire::mms::{Framer, Traffic};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static URL: LazyLock<Arc<Url>> =
    LazyLock::new(|| Arc::new("mmst://127.0.0.1/live2.asf".parse().expect("an address")));
static OPTIONS: LazyLock<Arc<Options>> = LazyLock::new(|| Arc::new(Options::default()));
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

struct Owner {
    session: Session,
    now: Instant,
    wake_at: Option<Instant>,
    has_header: bool,
    may_play: bool,
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
                Output::Send(bytes) => {
                    let mut framer = Framer::new(Traffic::Messages);
                    let mut rest = bytes;
                    assert!(
                        matches!(framer.next(&mut rest), Ok(Some(_))),
                        "a send is a whole message"
                    );
                    assert!(rest.is_empty(), "a send is one message");
                }
                Output::Event(Event::Packet { bytes, .. }) => {
                    assert!(self.has_header, "media before a header");
                    assert!(self.may_play, "media that nothing announced");
                    assert!(bytes.len() <= 65_527);
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
                Output::Event(_) | Output::Datagram(_) => {}
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
    let now = *START;
    let session = Session::new(Arc::clone(&URL), Arc::clone(&OPTIONS), now);
    let mut owner = Owner {
        session,
        now,
        wake_at: None,
        has_header: false,
        may_play: false,
        closed: false,
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
            _ => owner.feed(Input::Received(data)),
        }
        if owner.closed {
            return;
        }
        rest = behind;
    }
});
