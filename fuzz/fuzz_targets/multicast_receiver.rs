//! A multicast receiver in a group where anybody sends. Input: one byte of options; then steps of one byte that says what
//! happens, a length (u16), and that many bytes, most of them a datagram.
//!
//! Laws: outputs come to an end, a header comes before packets and after each change, numbers only go up between changes,
//! every packet is told once or as lost, deadlines move on, nothing follows the end.
#![no_main]

use funnel_session::multicast::{Event, Input, Mode, Options, Output, Receiver};
use funnel_wire::nsc::Announcement;
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static STATIONS: LazyLock<[Arc<Announcement>; 2]> = LazyLock::new(|| {
    let files: [&[u8]; 2] = [
        include_bytes!("../../testdata/nsc/station.nsc"),
        include_bytes!("../../testdata/nsc/two-headers-ipv6.nsc"),
    ];
    files.map(|bytes| Arc::new(Announcement::parse(bytes).expect("a good file")))
});
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The first announcement names this one.
const SOURCE: &str = "157.55.149.102:1024";
const STRANGER: &str = "192.0.2.1:1024";

struct Viewer {
    receiver: Receiver,
    is_simple: bool,
    now: Instant,
    wake_at: Option<Instant>,
    has_header: bool,
    next: Option<u32>,
    packets: u64,
    lost: u64,
    is_over: bool,
}

impl Viewer {
    fn feed(&mut self, input: Input<'_>) {
        self.receiver.handle_input(self.now, input);
        for _ in 0..20_000 {
            let event = match self.receiver.poll_output() {
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
                Output::Event(event) => event,
            };
            assert!(!self.is_over, "an event after the end");
            match event {
                Event::Header(bytes) => {
                    assert!(bytes.len() >= 74);
                    self.has_header = true;
                }
                Event::Changed => (self.has_header, self.next) = (false, None),
                Event::Packet { id, bytes, .. } => {
                    assert!(self.has_header && bytes.starts_with(&[0x82, 0, 0]));
                    self.packets += 1;
                    self.count(id, 1);
                }
                Event::Lost { id, count } => {
                    assert!(count > 0);
                    self.lost += u64::from(count);
                    self.count(id, count);
                }
                Event::OpenTimedOut | Event::Ended => self.is_over = true,
                Event::Beacon | Event::UnknownFormat(_) => {}
            }
        }
        panic!("outputs without end");
    }

    fn count(&mut self, id: u32, count: u32) {
        if !self.is_simple {
            assert_eq!(id, self.next.unwrap_or(id), "neither told nor lost");
            self.next = Some(id.wrapping_add(count));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Input::Timeout);
            assert_ne!(self.wake_at, Some(at), "a deadline that stays");
        }
        self.now = end;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, mut rest)) = bytes.split_first() else {
        return;
    };
    let options = Options {
        mode: [Mode::Strict, Mode::Simple][usize::from(first & 1)],
        window: if first & 4 == 0 { 64 } else { 16 },
        ..Options::default()
    };
    let station = usize::from(first >> 1 & 1);
    let mut viewer = Viewer {
        receiver: Receiver::new(Arc::clone(&STATIONS[station]), options, *START),
        is_simple: first & 1 != 0,
        now: *START,
        wake_at: None,
        has_header: false,
        next: None,
        packets: 0,
        lost: 0,
        is_over: false,
    };
    viewer.feed(Input::Timeout);
    while let Some(([op, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (data, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        viewer.pass(Duration::from_millis(u64::from(op >> 3).pow(3)));
        let from = if op & 7 == 6 { STRANGER } else { SOURCE };
        let from: SocketAddr = from.parse().expect("an address");
        match op & 7 {
            7 if op >> 3 == 31 => viewer.feed(Input::Close),
            7 => {
                let other = Arc::clone(&STATIONS[1 - station]);
                viewer.receiver.renew(other);
            }
            _ => viewer.feed(Input::Datagram(from, data)),
        }
    }
    viewer.feed(Input::Close);
    assert!(viewer.is_over);
    let stats = viewer.receiver.stats();
    assert_eq!((stats.packets, stats.lost), (viewer.packets, viewer.lost));
});
