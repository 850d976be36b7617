//! An owner of groups for one test: one channel whose packets the test publishes, and every datagram that was sent.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{Air, Channel, ChannelOptions, Entry, EpochSpec, LogConfig, Publisher, Start};
use funnel_engine::{GroupPlan, GroupReport, Groups};
use funnel_wire::msb::{Correction, Datagram, Span, StreamId};

/// One datagram of the group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    pub at: Instant,
    pub bytes: Vec<u8>,
}

/// A data or parity packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    pub id: u32,
    pub stream: StreamId,
    pub correction: Correction,
    pub asf: Vec<u8>,
}

pub struct Desk {
    pub groups: Groups,
    pub channel: Arc<Channel>,
    pub now: Instant,
    pub wake: Option<Instant>,
    pub turns: usize,
    pub sent: Vec<Sent>,
    pub reports: Vec<GroupReport>,
    /// The kernel's answer to every send.
    pub answer: i32,
}

impl Desk {
    pub fn new(span: usize) -> Self {
        Self::starting(span, Start::Always)
    }

    pub fn starting(span: usize, start: Start) -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        let options = ChannelOptions {
            start,
            readers_max: 1,
        };
        let channel = Channel::new("live", options);
        let plan = GroupPlan {
            channel: Arc::clone(&channel),
            span: Span::new(span),
        };
        Self {
            groups: Groups::new(vec![plan], now),
            channel,
            now,
            wake: Some(now),
            turns: 0,
            sent: Vec::new(),
            reports: Vec::new(),
            answer: 0,
        }
    }

    pub fn turn(&mut self) {
        let (guards, sends, wake) = self.groups.begin(self.now);
        let (sent, at) = (&mut self.sent, self.now);
        let before = sent.len();
        sends.fill(&guards, |send| {
            assert_eq!(send.group, 0);
            let bytes = send.pieces.concat();
            assert!(!bytes.is_empty());
            sent.push(Sent { at, bytes });
        });
        let spare = guards.release();
        self.groups.end(spare);
        for _ in before..self.sent.len() {
            self.groups.sent(0, self.answer);
        }
        self.wake = wake;
        self.turns += 1;
        self.reports.extend(self.groups.reports());
    }

    /// Turns until `time` has passed, whenever the groups want to.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.turn();
            match self.wake {
                Some(wake) if wake <= until => self.now = wake.max(self.now),
                _ => break,
            }
            if self.now >= until {
                self.turn();
                break;
            }
        }
        self.now = until;
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Everything sent since the last look.
    pub fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// The packets among it; beacons are left out.
    pub fn packets(&mut self) -> Vec<Packet> {
        self.take().iter().filter_map(Sent::packet).collect()
    }
}

impl Sent {
    pub fn packet(&self) -> Option<Packet> {
        match Datagram::decode(&self.bytes).expect("a datagram of the group") {
            Datagram::Beacon => None,
            Datagram::Packet(packet) => Some(Packet {
                id: packet.id,
                stream: packet.stream,
                correction: Correction::decode(packet.asf).expect("an error correction part"),
                asf: packet.asf.to_vec(),
            }),
        }
    }

    pub fn is_beacon(&self) -> bool {
        self.packet().is_none()
    }
}

impl Packet {
    pub fn is_parity(&self) -> bool {
        matches!(self.correction, Correction::Parity(_))
    }

    /// The packet as it lies in the log.
    pub fn unmarked(&self) -> Vec<u8> {
        [&[0x82, 0, 0], &self.asf[3..]].concat()
    }
}

/// As much of an ASF header as anybody here looks at, with one byte in it.
pub fn header(inside: u8) -> Vec<u8> {
    let guid = 0x6CCE_6200_AA00_D9A6_11CF_668E_75B2_2630_u128;
    let mut bytes = guid.to_le_bytes().to_vec();
    bytes.extend(25_u64.to_le_bytes());
    bytes.push(inside);
    bytes.resize(75, 0xD0);
    bytes
}

pub const PACKET_BYTES: u32 = 1000;
pub const BIT_RATE: u32 = 400_000;

/// Begins an epoch.
pub fn announce(channel: &Channel, header: &[u8]) -> Publisher {
    announce_rate(channel, header, BIT_RATE)
}

pub fn announce_rate(channel: &Channel, header: &[u8], bit_rate: u32) -> Publisher {
    let spec = EpochSpec {
        header: header.into(),
        packet_bytes: PACKET_BYTES,
        bit_rate,
        streams: 0b10,
        log: LogConfig {
            packet_bytes: 0,
            retain: Duration::from_secs(30),
            bytes_max: 4 << 20,
            readers_max: 0,
            first_seq: 0,
        },
    };
    let publisher = channel.announce(spec).expect("a workable log");
    channel.set_air(Air::OnAir);
    publisher
}

/// A packet of `bytes` bytes whose content tells its number.
pub fn body(number: u32, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x82, 0, 0];
    packet.extend(number.to_le_bytes());
    packet.extend((packet.len()..bytes).map(|at| (at as u32 * 31 + number * 7) as u8 | 1));
    packet.truncate(bytes);
    packet
}

/// Publishes a packet that is due `spread_ms` after `now`.
pub fn publish(publisher: &mut Publisher, now: Instant, packet: &[u8], spread_ms: u64) {
    publish_twin(publisher, now, packet, None, spread_ms);
}

pub fn publish_twin(
    publisher: &mut Publisher,
    now: Instant,
    packet: &[u8],
    stripped: Option<&[u8]>,
    spread_ms: u64,
) {
    let entry = Entry {
        full: packet,
        stripped,
        join: None,
        join_stripped: None,
        send_ms: 5000,
        due_ms: 5000 + spread_ms,
        clean_point: publisher.tail().is_multiple_of(10),
        join_done: false,
    };
    publisher.publish(now, entry).expect("room in the log");
}
