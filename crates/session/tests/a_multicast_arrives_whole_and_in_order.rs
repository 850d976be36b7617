//! A multicast receiver against a sender written from `docs/protocol/msb-nsc.md` §1–§5 (not from our encoder), with seeded
//! loss, reordering and duplication between them, in virtual time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::multicast::{Event, Input, Mode, Options, Output, Receiver, Stats};
use funnel_wire::nsc::{Announcement, Format, FormatId, Formats};
use proptest::prelude::*;

const TINY: &[u8] = include_bytes!("../../../testdata/media/tiny-audio.asf");
const SOURCE: &str = "10.77.0.1:1024";
const BEACON: &[u8] = b"MSB ";
const FIRST: u16 = 926;
const SECOND: u16 = 5;
const SPAN: usize = 10;
/// Between two datagrams.
const STEP: Duration = Duration::from_millis(10);

/// A Header Object with this inside, and 50 bytes: the second announced header.
fn other_header() -> Vec<u8> {
    [&TINY[..16], &27u64.to_le_bytes(), b"two", &[7; 50]].concat()
}

fn announcement() -> Announcement {
    let format = |id, bytes| {
        let id = FormatId::new(id).expect("11 bits");
        Format::new(id, bytes, None).expect("a header")
    };
    let mut formats = Formats::of(format(FIRST, TINY));
    formats.push(format(SECOND, &other_header())).expect("two");
    let group = IpAddr::from([239, 192, 48, 179]);
    let port = NonZeroU16::new(19_009).expect("not zero");
    let mut announcement = Announcement::new(group, port, formats).expect("a group");
    announcement.span_max = Some(SPAN as u8);
    announcement.adapter = Some(IpAddr::from([10, 77, 0, 1]));
    announcement
}

/// §2, §3, by hand.
struct Sender {
    id: u32,
    stream: u16,
    span: usize,
    cycle: u8,
    /// Packets of the open span, without their first three bytes.
    open: Vec<Vec<u8>>,
    /// §3: "a server MAY put Number 1 in every packet".
    numbers: bool,
    /// Datagrams in order.
    sent: Vec<Vec<u8>>,
    /// What each packet held behind the error correction part.
    bodies: BTreeMap<u32, Vec<u8>>,
}

impl Sender {
    fn new(id: u32, stream: u16) -> Self {
        Self {
            id,
            stream,
            span: SPAN,
            cycle: 0,
            open: Vec::new(),
            numbers: true,
            sent: Vec::new(),
            bodies: BTreeMap::new(),
        }
    }

    fn datagram(&mut self, id: u32, head: [u8; 3], body: &[u8]) {
        let size = u16::try_from(8 + 3 + body.len()).expect("short");
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.extend(self.stream.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(head);
        bytes.extend(body);
        self.sent.push(bytes);
    }

    fn packet(&mut self, body: &[u8]) {
        let id = self.id;
        self.id = id.wrapping_add(1);
        self.bodies.insert(id, body.to_vec());
        if self.span == 0 {
            return self.datagram(id, [0x82, 0, 0], body);
        }
        self.open.push(body.to_vec());
        let number = if self.numbers { self.open.len() } else { 1 } as u8;
        self.datagram(id, [0x82, number << 4 | 1, self.cycle], body);
        if self.open.len() == self.span {
            self.end_span();
        }
    }

    fn end_span(&mut self) {
        let longest = self.open.iter().map(Vec::len).max().unwrap_or(0);
        let mut parity = vec![0; longest];
        for packet in &self.open {
            for (sum, byte) in parity.iter_mut().zip(packet) {
                *sum ^= byte;
            }
        }
        let number = self.open.len() as u8 + 1;
        let id = self.id.wrapping_sub(1);
        self.datagram(id, [0x92, number << 4 | 2, self.cycle], &parity);
        self.open.clear();
        self.cycle = self.cycle.wrapping_add(1);
    }

    fn packets(&mut self, count: u32) {
        for number in 0..count {
            let length = 20 + (self.id.wrapping_mul(37).wrapping_add(number) % 90) as usize;
            // The last byte is never 0, so that trailing zeros can be told apart.
            let mut body: Vec<u8> = (0..length).map(|at| (at as u32 ^ self.id) as u8).collect();
            *body.last_mut().expect("20 at least") = 0xE1;
            self.packet(&body);
        }
    }
}

/// What a receiver told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Header(u16),
    Packet(u32, bool),
    Lost(u32, u32),
    Changed,
    Beacon,
    Unknown(u16),
    OpenTimedOut,
    Ended,
}

struct Viewer {
    receiver: Receiver,
    now: Instant,
    wake_at: Option<Instant>,
    told: Vec<Told>,
    bytes: Vec<(u32, Vec<u8>)>,
}

impl Viewer {
    fn new(options: Options) -> Self {
        Self::of(announcement(), options)
    }

    fn of(announcement: Announcement, options: Options) -> Self {
        let now = Instant::now();
        let mut viewer = Self {
            receiver: Receiver::new(Arc::new(announcement), options, now),
            now,
            wake_at: None,
            told: Vec::new(),
            bytes: Vec::new(),
        };
        viewer.drain();
        viewer
    }

    fn take(&mut self, datagram: &[u8]) {
        self.take_from(SOURCE, datagram);
    }

    fn take_from(&mut self, from: &str, datagram: &[u8]) {
        self.pass(STEP);
        let from: SocketAddr = from.parse().expect("an address");
        self.receiver
            .handle_input(self.now, Input::Datagram(from, datagram));
        self.drain();
    }

    fn take_all<'a>(&mut self, datagrams: impl IntoIterator<Item = &'a Vec<u8>>) {
        for datagram in datagrams {
            self.take(datagram);
        }
    }

    /// Lets time pass, with the deadlines in it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.receiver.handle_input(self.now, Input::Timeout);
            self.drain();
            assert_ne!(self.wake_at, Some(at), "a deadline that does not move");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        loop {
            let told = match self.receiver.poll_output() {
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
                Output::Event(event) => match event {
                    Event::Header(bytes) if TINY.starts_with(bytes) => Told::Header(FIRST),
                    Event::Header(bytes) if bytes == other_header() => Told::Header(SECOND),
                    Event::Header(_) => panic!("a header nobody announced"),
                    Event::Packet {
                        id,
                        bytes,
                        restored,
                    } => {
                        assert_eq!(bytes[..3], [0x82, 0, 0], "no error correction data");
                        self.bytes.push((id, bytes[3..].to_vec()));
                        Told::Packet(id, restored)
                    }
                    Event::Lost { id, count } => Told::Lost(id, count),
                    Event::Changed => Told::Changed,
                    Event::Beacon => Told::Beacon,
                    Event::UnknownFormat(id) => Told::Unknown(id.get()),
                    Event::OpenTimedOut => Told::OpenTimedOut,
                    Event::Ended => Told::Ended,
                },
            };
            self.told.push(told);
        }
    }

    fn close(&mut self) -> Stats {
        self.receiver.handle_input(self.now, Input::Close);
        self.drain();
        assert_eq!(self.told.last(), Some(&Told::Ended));
        assert_eq!(self.receiver.poll_output(), Output::Idle { wake_at: None });
        self.receiver.stats()
    }

    fn ids(&self) -> Vec<u32> {
        self.bytes.iter().map(|(id, _)| *id).collect()
    }

    fn lost(&self) -> Vec<u32> {
        let mut lost = Vec::new();
        for told in &self.told {
            if let Told::Lost(id, count) = told {
                lost.extend((0..*count).map(|at| id.wrapping_add(at)));
            }
        }
        lost
    }

    fn restored(&self) -> Vec<u32> {
        let restored = |told: &Told| match told {
            Told::Packet(id, true) => Some(*id),
            _ => None,
        };
        self.told.iter().filter_map(restored).collect()
    }

    /// Every packet is what was sent; zeros may follow restored ones.
    fn check(&self, bodies: &BTreeMap<u32, Vec<u8>>) {
        let restored = self.restored();
        for (id, bytes) in &self.bytes {
            let sent = &bodies[id];
            let (head, tail) = bytes.split_at(sent.len());
            assert_eq!(head, sent, "packet {id}");
            assert!(tail.iter().all(|byte| *byte == 0));
            assert!(tail.is_empty() || restored.contains(id));
        }
    }
}

#[test]
fn nothing_lost_nothing_changed() {
    for span in [0, 1, 10, 14] {
        let mut sender = Sender::new(0, FIRST);
        sender.span = span;
        sender.packets(100);
        let mut viewer = Viewer::new(Options::default());
        viewer.take_all(&sender.sent);
        let stats = viewer.close();
        assert_eq!(viewer.told[0], Told::Header(FIRST));
        assert_eq!(viewer.ids(), (0..100).collect::<Vec<_>>());
        viewer.check(&sender.bodies);
        let expected = Stats {
            datagrams: sender.sent.len() as u64,
            parities: sender.sent.len() as u64 - 100,
            packets: 100,
            ..Stats::default()
        };
        assert_eq!(stats, expected);
    }
}

#[test]
fn the_first_packet_is_told_within_the_time_of_reordering() {
    let mut sender = Sender::new(7, FIRST);
    sender.packets(1);
    let mut viewer = Viewer::new(Options::default());
    viewer.take_all(&sender.sent);
    assert_eq!(viewer.told, []);
    viewer.pass(Options::default().reorder);
    assert_eq!(viewer.told, [Told::Header(FIRST), Told::Packet(7, false)]);
}

#[test]
fn two_losses_of_a_span_are_told_and_nothing_waits_long() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(40);
    let mut viewer = Viewer::new(Options::default());
    let gone = [12, 13, 25];
    for (datagram, number) in sender.sent.iter().zip(0..) {
        // With the parity packets in between, datagram 12 is packet 11 and so on.
        if !gone.contains(&number) {
            viewer.take(datagram);
        }
    }
    viewer.pass(Duration::from_millis(100));
    assert_eq!(viewer.lost(), [11, 12]);
    assert_eq!(viewer.restored(), [23]);
    assert_eq!(viewer.told.last(), Some(&Told::Packet(39, false)));
    viewer.check(&sender.bodies);
    let stats = viewer.close();
    assert_eq!((stats.lost, stats.restored, stats.packets), (2, 1, 38));
}

#[test]
fn a_lost_parity_packet_costs_nothing_by_itself() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(40);
    let mut viewer = Viewer::new(Options::default());
    for (datagram, number) in sender.sent.iter().zip(0..) {
        // Parity packets of the first two spans, and packet 14 with the second.
        if ![10, 15, 21].contains(&number) {
            viewer.take(datagram);
        }
    }
    let stats = viewer.close();
    assert_eq!(viewer.lost(), [14]);
    assert_eq!((stats.restored, stats.packets), (0, 39));
}

#[test]
fn a_loss_without_parity_to_come_waits_no_longer_than_patience() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(25);
    let mut viewer = Viewer::new(Options::default());
    let last = sender.sent.len() - 1;
    viewer.take_all(sender.sent[..last - 2].iter());
    viewer.take(&sender.sent[last]);
    viewer.pass(Duration::from_secs(9));
    assert_eq!(viewer.ids().last(), Some(&21));
    viewer.pass(Duration::from_secs(2));
    assert_eq!(viewer.ids().last(), Some(&24));
    assert_eq!(viewer.lost(), [22, 23]);
}

#[test]
fn a_toggled_stream_begins_anew_with_its_header() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(15);
    sender.stream = FIRST | 0x8000;
    sender.open.clear();
    sender.cycle += 1;
    sender.packets(10);
    sender.stream = SECOND;
    sender.packets(10);
    let mut viewer = Viewer::new(Options::default());
    viewer.take_all(&sender.sent);
    let stats = viewer.close();
    let told = |ids: std::ops::Range<u32>| ids.map(|id| Told::Packet(id, false));
    let mut expected = vec![Told::Header(FIRST)];
    expected.extend(told(0..15));
    expected.extend([Told::Changed, Told::Header(FIRST)]);
    expected.extend(told(15..25));
    expected.extend([Told::Changed, Told::Header(SECOND)]);
    expected.extend(told(25..35));
    expected.push(Told::Ended);
    assert_eq!(viewer.told, expected);
    assert_eq!(stats.changes, 2);
}

#[test]
fn a_restarted_server_is_followed_and_one_odd_number_is_not() {
    let mut sender = Sender::new(70_000, FIRST);
    sender.packets(20);
    let mut alien = Sender::new(5, FIRST);
    alien.packets(1);
    let mut again = Sender::new(0, FIRST);
    again.packets(20);
    let mut viewer = Viewer::new(Options::default());
    viewer.take_all(&sender.sent[..8]);
    viewer.take_all(&alien.sent);
    viewer.take_all(&sender.sent[8..]);
    viewer.take_all(&again.sent);
    viewer.close();
    let ids: Vec<u32> = (70_000..70_020).chain(0..20).collect();
    assert_eq!(viewer.ids(), ids);
    assert_eq!(
        viewer.told.iter().filter(|t| **t == Told::Changed).count(),
        1
    );
    // Far ahead in the same stream: so many are lost.
    let mut later = Sender::new(100_000, FIRST);
    later.packets(20);
    let mut viewer = Viewer::new(Options::default());
    viewer.take_all(&sender.sent);
    viewer.take_all(&later.sent);
    let stats = viewer.close();
    assert_eq!((stats.lost, stats.changes), (100_000 - 70_020, 0));
    assert!(viewer.told.contains(&Told::Lost(70_020, 29_980)));
    assert_eq!(viewer.ids().len(), 40);
    // And who comes behind those is late: it was told as lost.
    let mut viewer = Viewer::new(Options::default());
    viewer.take_all(&sender.sent);
    viewer.take_all(&later.sent[1..5]);
    viewer.take(&later.sent[0]);
    let stats = viewer.close();
    assert_eq!((stats.lost, stats.late), (29_981, 1));
}

#[test]
fn strangers_change_nothing() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(20);
    let mut unknown = Sender::new(500, 77);
    unknown.packets(5);
    let mut viewer = Viewer::new(Options::default());
    viewer.take_from("10.77.0.9:1024", BEACON);
    let mut short_head = sender.sent[0].clone();
    short_head.truncate(10);
    short_head[6] = 10;
    for datagram in &sender.sent {
        viewer.take_from("10.77.0.9:1024", datagram);
        viewer.take(b"MSB!");
        viewer.take(&datagram[..datagram.len() - 1]);
        viewer.take(&[]);
        viewer.take(&short_head);
    }
    viewer.take_all(&unknown.sent);
    assert_eq!(viewer.told, [Told::Unknown(77)]);
    let stats = viewer.receiver.stats();
    assert_eq!((stats.foreign, stats.invalid, stats.unknown), (23, 88, 5));
    // None of them stopped the timer.
    viewer.pass(Duration::from_secs(20));
    assert_eq!(viewer.told.last(), Some(&Told::OpenTimedOut));
    // The same as an IPv4-mapped address is the source.
    let mut viewer = Viewer::new(Options::default());
    viewer.take_from("[::ffff:10.77.0.1]:1024", &sender.sent[0]);
    viewer.close();
    assert_eq!(viewer.ids(), [0]);
}

#[test]
fn a_newer_announcement_brings_the_missing_header() {
    let formats = |ids: &[u16]| {
        let mut list = ids.iter().map(|id| {
            let known = announcement();
            let format = known.formats().get(FormatId::new(*id).expect("11 bits"));
            format.expect("announced").clone()
        });
        let mut formats = Formats::of(list.next().expect("one"));
        list.for_each(|format| formats.push(format).expect("room"));
        let known = announcement();
        Announcement::new(known.group(), known.port(), formats).expect("a group")
    };
    let mut sender = Sender::new(0, FIRST);
    sender.span = 0;
    sender.packets(3);
    sender.stream = SECOND | 0x8000;
    sender.packets(4);
    let mut viewer = Viewer::of(formats(&[FIRST]), Options::default());
    viewer.take_all(&sender.sent[..4]);
    let second = Arc::new(formats(&[SECOND]));
    assert!(
        !viewer.receiver.renew(Arc::clone(&second)),
        "packets of the first header are held"
    );
    viewer.pass(Duration::from_secs(1));
    viewer.take(&sender.sent[4]);
    assert!(viewer.receiver.renew(Arc::new(formats(&[FIRST]))));
    viewer.take(&sender.sent[5]);
    assert!(viewer.receiver.renew(second));
    viewer.take(&sender.sent[6]);
    viewer.close();
    let told = |id| Told::Packet(id, false);
    let expected = [
        Told::Unknown(SECOND),
        Told::Header(FIRST),
        told(0),
        told(1),
        told(2),
        // Told again, since the announcement that was read lacks it too.
        Told::Unknown(SECOND),
        Told::Lost(3, 3),
        Told::Changed,
        Told::Header(SECOND),
        told(6),
        Told::Ended,
    ];
    assert_eq!(viewer.told, expected);
}

#[test]
fn timers_of_section_4() {
    // Nothing at all.
    let mut viewer = Viewer::new(Options::default());
    viewer.pass(Duration::from_millis(19_999));
    assert_eq!(viewer.told, []);
    viewer.pass(Duration::from_millis(1));
    assert_eq!(viewer.told, [Told::OpenTimedOut]);
    let mut sender = Sender::new(0, FIRST);
    sender.packets(2);
    viewer.take_all(&sender.sent);
    assert_eq!(viewer.told, [Told::OpenTimedOut], "nothing follows");

    // Beacons hold the door open for ever, but do not keep a stream alive.
    let mut viewer = Viewer::new(Options::default());
    viewer.pass(Duration::from_secs(19));
    for _ in 0..10 {
        viewer.take(BEACON);
        viewer.pass(Duration::from_secs(600));
    }
    assert_eq!(viewer.told, vec![Told::Beacon; 10]);
    viewer.take(&sender.sent[0]);
    viewer.pass(Duration::from_secs(25));
    viewer.take(BEACON);
    viewer.take(&sender.sent[1]);
    viewer.pass(Duration::from_millis(29_900));
    assert_eq!(viewer.told.last(), Some(&Told::Packet(1, false)));
    viewer.pass(Duration::from_millis(100));
    assert_eq!(viewer.told.last(), Some(&Told::Ended));
    assert_eq!(viewer.wake_at, None);
}

#[test]
fn a_crowd_of_strangers_holds_no_timer_up() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(2);
    // An owner that is never idle: no Timeout is fed, only datagrams.
    let flood = |viewer: &mut Viewer, seconds: u64| {
        let from = "10.77.0.9:1024".parse().expect("an address");
        for _ in 0..seconds * 10 {
            viewer.now += Duration::from_millis(100);
            let stranger = Input::Datagram(from, &[0; 20]);
            viewer.receiver.handle_input(viewer.now, stranger);
            viewer.drain();
        }
    };
    let mut viewer = Viewer::new(Options::default());
    flood(&mut viewer, 21);
    assert_eq!(viewer.told, [Told::OpenTimedOut]);
    let mut viewer = Viewer::new(Options::default());
    viewer.take_all(&sender.sent);
    flood(&mut viewer, 31);
    assert_eq!(viewer.told.last(), Some(&Told::Ended));
}

#[test]
fn a_set_top_box_gets_what_comes_filled_with_zeros() {
    let mut sender = Sender::new(0, FIRST);
    sender.packets(12);
    let mut viewer = Viewer::new(Options {
        mode: Mode::Simple,
        ..Options::default()
    });
    for number in [0, 3, 2, 4, 10] {
        viewer.take_from("10.9.9.9:7", &sender.sent[number]);
    }
    // A header nobody announced, and a stranger's: it does not look.
    let mut other = Sender::new(900, 77);
    other.packets(1);
    viewer.take_all(&other.sent);
    let stats = viewer.close();
    assert_eq!(viewer.told[0], Told::Header(FIRST));
    assert_eq!(viewer.ids(), [0, 3, 2, 4, 900]);
    assert_eq!((stats.parities, stats.packets, stats.lost), (1, 5, 0));
    let packet_bytes = 128 - 3;
    for (id, bytes) in &viewer.bytes {
        let sent = sender.bodies.get(id).unwrap_or_else(|| &other.bodies[id]);
        assert!(bytes.starts_with(sent));
        assert_eq!(bytes.len(), packet_bytes.max(sent.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Any one loss of every span comes back, wherever the numbers begin.
    #[test]
    fn one_loss_of_every_span_is_restored(
        start in prop_oneof![Just(0u32), Just(u32::MAX - 30), any::<u32>()],
        span in 1usize..=14,
        numbers: bool,
        lost in prop::collection::vec(0usize..15, 8),
    ) {
        let mut sender = Sender::new(start, FIRST);
        (sender.span, sender.numbers) = (span, numbers);
        sender.packets(span as u32 * 8);
        let mut announced = announcement();
        announced.span_max = Some(span as u8);
        let mut viewer = Viewer::of(announced, Options::default());
        let mut expected = Vec::new();
        for (number, cycle) in sender.sent.chunks(span + 1).enumerate() {
            // The very first packet cannot be missed: who was there before it joined?
            let gone = if number == 0 { lost[0].max(1) } else { lost[number] };
            for (at, datagram) in cycle.iter().enumerate() {
                if at != gone {
                    viewer.take(datagram);
                }
            }
            if gone < span {
                expected.push(start.wrapping_add((number * span + gone) as u32));
            }
        }
        let stats = viewer.close();
        prop_assert_eq!(viewer.restored(), expected);
        prop_assert_eq!(stats.lost, 0);
        let ids: Vec<u32> = (0..8 * span as u32).map(|at| start.wrapping_add(at)).collect();
        prop_assert_eq!(viewer.ids(), ids);
        viewer.check(&sender.bodies);
    }

    /// Loss, duplicates and reordering: everything is told once, in order, and is what was sent; who was not restored is lost.
    #[test]
    fn whatever_the_network_does(
        start in prop_oneof![Just(0u32), Just(u32::MAX - 30), any::<u32>()],
        span in 0usize..=14,
        fates in prop::collection::vec((0u32..100, 0usize..8), 1..300),
        loss_percent in 0u32..30,
    ) {
        let mut sender = Sender::new(start, FIRST);
        sender.span = span;
        let count = fates.len() as u32;
        sender.packets(count);
        // Each datagram is delayed by up to seven places; some are sent twice, some not at all.
        let mut arrivals = Vec::new();
        let (mut arrived, mut parities) = (BTreeMap::new(), Vec::new());
        for (place, datagram) in sender.sent.iter().enumerate() {
            let (chance, delay) = fates[place % fates.len()];
            let is_data = datagram[8] == 0x82;
            if chance >= loss_percent {
                arrivals.push((place + delay, datagram.clone()));
                let id = u32::from_le_bytes(datagram[..4].try_into().expect("four"));
                let id = id.wrapping_sub(start);
                if is_data {
                    arrived.insert(id, ());
                } else {
                    parities.push((id, id + 1 - span as u32..id + 1));
                }
            }
            if chance > 90 {
                arrivals.push((place + 7 - delay, datagram.clone()));
            }
        }
        arrivals.sort_by_key(|(place, _)| *place);
        let mut announced = announcement();
        announced.span_max = (span > 0).then_some(span as u8);
        let mut viewer = Viewer::of(announced, Options { reorder: STEP * 30, ..Options::default() });
        viewer.take_all(arrivals.iter().map(|(_, datagram)| datagram));
        let stats = viewer.close();
        viewer.check(&sender.bodies);
        // In order, without repetition, and with the losses in their places.
        let mut next = None;
        for told in &viewer.told {
            let (id, count) = match told {
                Told::Packet(id, _) => (*id, 1),
                Told::Lost(id, count) => (*id, *count),
                Told::Header(_) | Told::Ended => continue,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(id, next.unwrap_or(id));
            next = Some(id.wrapping_add(count));
        }
        // Seven places, and the copies between them, are less than 300 ms: what arrived is told.
        let told: BTreeMap<u32, ()> = viewer.ids().iter().map(|id| (id.wrapping_sub(start), ())).collect();
        prop_assert!(arrived.keys().all(|id| told.contains_key(id)), "{:?}", stats);
        // So is one missing of a span if its parity packet arrived, once we have really begun.
        let first = viewer.ids().first().map(|id| id.wrapping_sub(start));
        for (parity, of) in &parities {
            let missing: Vec<u32> = of.clone().filter(|id| !arrived.contains_key(id)).collect();
            if let ([id], true) = (&missing[..], first.is_some_and(|first| first + 8 <= of.start)) {
                prop_assert!(told.contains_key(id), "{id} of {of:?}, parity {parity}: {stats:?}");
            }
        }
        prop_assert_eq!(stats.late, 0);
        prop_assert_eq!(stats.packets, viewer.ids().len() as u64);
        prop_assert_eq!(stats.restored, viewer.restored().len() as u64);
        prop_assert_eq!(stats.lost, viewer.lost().len() as u64);
    }

    /// Anybody may send anything: no panic, no endless outputs, and memory within the window.
    #[test]
    fn whatever_a_stranger_sends(
        datagrams in prop::collection::vec(
            (any::<u32>(), 0u32..4, prop_oneof![Just(FIRST), Just(SECOND), Just(FIRST | 0x8000), any::<u16>()],
             prop::collection::vec(any::<u8>(), 0..20), any::<bool>(), 0u64..40_000),
            1..200,
        ),
    ) {
        let mut viewer = Viewer::new(Options::default());
        for (id, spread, stream, mut asf, is_parity, ms) in datagrams {
            let mut sender = Sender::new(0, stream);
            let id = if spread > 0 { id % (spread * 700) } else { id };
            asf.resize(asf.len().max(2), 0);
            sender.datagram(id, [if is_parity { 0x92 } else { 0x82 }, asf[0], asf[1] % 2], &asf);
            viewer.take(&sender.sent[0]);
            viewer.pass(Duration::from_millis(ms / 200));
        }
        viewer.close();
    }
}
