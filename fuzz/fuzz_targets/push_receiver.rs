//! A receiver of pushes, and encoders that may be anybody. Input: one byte of options; then steps of one byte that says what happens and to
//! which of the last eight connections, a length (u16), and that many bytes for it.
//!
//! Laws: outputs come to an end and are bounded by what came in, deadlines move on, media comes only within a run, nothing is said to a
//! connection that was closed, each is closed once, and a shutdown leaves none.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use funnel_session::push::{
    Access, ConnectionId, Input, Options, Output, REALM, Receiver, Secret, Way, ha1,
};
use libfuzzer_sys::fuzz_target;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

struct Desk {
    receiver: Receiver,
    now: Instant,
    wake_at: Option<Instant>,
    open: BTreeSet<ConnectionId>,
    next: u64,
    is_running: bool,
    bytes_in: usize,
    bytes_out: usize,
}

impl Desk {
    fn feed(&mut self, input: Input<'_>) {
        self.receiver.handle_input(self.now, input);
        for _ in 0..20_000 {
            match self.receiver.poll_output() {
                Output::Send(id, bytes) => {
                    assert!(
                        self.open.contains(&id),
                        "said to a connection that was closed"
                    );
                    assert!(bytes.starts_with(b"HTTP/1.") && bytes.len() < 2048);
                }
                Output::Close(id) => assert!(self.open.remove(&id), "closed twice"),
                Output::Check { connection, .. } => assert!(self.open.contains(&connection)),
                Output::Began { .. } => self.is_running = true,
                Output::Media(bytes) => {
                    assert!(self.is_running && !bytes.is_empty());
                    self.bytes_out += bytes.len();
                    // An empty packet of a push gets a head of 8 bytes to its 4.
                    assert!(self.bytes_out <= 3 * self.bytes_in);
                }
                Output::Paused => assert!(self.is_running),
                Output::Ended(_) => assert!(std::mem::take(&mut self.is_running)),
                Output::Refused { status, .. } => assert!(status.as_u16() >= 400),
                Output::Idle { wake_at } => {
                    assert!(
                        wake_at.is_none_or(|at| at > self.now),
                        "a deadline that stays"
                    );
                    self.wake_at = wake_at;
                    return;
                }
            }
        }
        panic!("outputs do not come to an end");
    }

    fn step(&mut self, what: u8, bytes: &[u8]) {
        let (what, which) = (what >> 3, u64::from(what & 7));
        let id = ConnectionId(self.next.saturating_sub(1 + which));
        let is_open = self.open.contains(&id);
        match what {
            0 | 1 if self.open.len() < 32 => {
                let connection = ConnectionId(self.next);
                self.next += 1;
                self.open.insert(connection);
                self.feed(Input::Connected {
                    connection,
                    peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, what * 2 + (which as u8 & 1))),
                    way: if which == 7 { Way::Raw } else { Way::Http },
                    push_id: 7 + connection.0 as u32 % 4,
                });
                self.bytes_in += bytes.len();
                self.feed(Input::Bytes(connection, bytes));
            }
            2 if is_open => self.feed(Input::Closed(id)),
            3 => self.feed(Input::Unusable),
            4 | 5 => self.feed(Input::Checked(id, what == 4)),
            6 => {
                self.now += Duration::from_millis(bytes.len() as u64 * 100);
                self.feed(Input::Timeout);
            }
            7 => {
                if let Some(at) = self.wake_at {
                    self.now = at;
                    self.feed(Input::Timeout);
                    assert!(self.wake_at.is_none_or(|next| next > at), "late for ever");
                }
            }
            _ => {
                self.bytes_in += bytes.len();
                self.feed(Input::Bytes(id, bytes));
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&options, mut rest)) = data.split_first() else {
        return;
    };
    let access = |secret| Access {
        user: "u".into(),
        secret,
    };
    let options = Options {
        access: match options & 3 {
            0 | 1 => None,
            2 => Some(access(Secret::Digest(ha1("u", REALM, "p")))),
            _ => Some(access(Secret::Asked)),
        },
        takeover: options & 4 != 0,
        product: "funnel".into(),
        secret: [1; 16],
    };
    let now = *START;
    let mut desk = Desk {
        receiver: Receiver::new(options, now),
        now,
        wake_at: None,
        open: BTreeSet::new(),
        next: 0,
        is_running: false,
        bytes_in: 0,
        bytes_out: 0,
    };
    while let [what, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        desk.step(*what, bytes);
        rest = behind;
    }
    desk.feed(Input::Shutdown);
    assert!(desk.open.is_empty(), "a shutdown closes all connections");
});
