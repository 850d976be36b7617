//! Viewers over UDP that say what players say, without a player's mind: every byte they get is the test's to judge.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::Start;
use funnel_engine::{
    Action, Admission, AdmissionLimits, Datagrams, Engine, EngineConfig, Found, Key, Outgoing,
    Report, Served, Tuning, UdpLimits,
};
use funnel_session::server::{Session, Settings};
use funnel_sim::{Cue, Reel, Schedule, Source};
use funnel_wire::codec::Writer;
use funnel_wire::mms::{
    Connect, ConnectFunnel, Incarnation, MAC_TO_VIEWER_REVISION, OpenFile, ReadBlock,
    ResendRequest, StartPlaying, StopPlaying, VIEWER_TO_MAC_REVISION, ViewerMessage,
};

pub struct Rig {
    pub engine: Engine,
    pub source: Source,
    pub now: Instant,
    pub wake: Option<Instant>,
    pub reports: Vec<Report>,
    arena: Box<[u8]>,
    results: Vec<(Key, i32)>,
}

/// One send, copied.
#[derive(Clone, Debug)]
pub struct Sent {
    pub key: Key,
    pub how: Option<Datagrams>,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn of(send: &Outgoing<'_, '_>) -> Self {
        Self {
            key: send.key,
            how: send.datagrams,
            bytes: send.pieces.concat(),
        }
    }

    /// The datagrams it becomes.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        let Some(how) = self.how else {
            return Vec::new();
        };
        let size = how.segment_bytes.map_or(self.bytes.len(), usize::from);
        self.bytes.chunks(size.max(1)).map(Into::into).collect()
    }
}

/// The low byte of a media datagram's sequence number.
pub fn af_flags(datagram: &[u8]) -> u8 {
    datagram[5]
}

impl Rig {
    /// A channel on air from a file; nobody watches.
    pub fn new(file: &'static str, limits: UdpLimits, shard_of: (u16, u16)) -> Self {
        let begin = Cue::Begin(Reel::load(file, "live", 1));
        Self::of(vec![(Duration::ZERO, begin)], limits, shard_of)
    }

    /// The same with a script.
    pub fn of(cues: Vec<(Duration, Cue)>, limits: UdpLimits, (shard, shards): (u16, u16)) -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        let schedule = Schedule::plain("live", Start::Always, cues);
        let source = Source::new(schedule, now);
        let served = Served {
            channel: Arc::clone(&source.channel),
            tuning: Tuning::default(),
        };
        let settings = Settings {
            ping: Duration::from_secs(1 << 30),
            ..Settings::default()
        };
        let config = EngineConfig {
            settings: Arc::new(settings),
            admission: Arc::new(Admission::new(AdmissionLimits::default())),
            lookup: Box::new(move |_| Some(Found::Channel(served.clone()))),
            viewers_max: 2048,
            selections_max: 16,
            sends_max: 1024,
            visit_bytes_max: 256 << 10,
            shard,
            shards,
            udp: limits,
        };
        Self {
            engine: Engine::new(config, now),
            source,
            now,
            wake: None,
            reports: Vec::new(),
            arena: vec![0; 1 << 20].into(),
            results: Vec::with_capacity(2048),
        }
    }

    /// A player connects from `address` and asks for everything up to the header.
    pub fn connect(&mut self, address: SocketAddr, random: u64, funnel: &str) -> Key {
        let key = self
            .engine
            .accept(self.now, address, random)
            .expect("room for one more");
        for message in [
            Connect {
                play_incarnation: Incarnation(0),
                mac_to_viewer_revision: MAC_TO_VIEWER_REVISION,
                viewer_to_mac_revision: VIEWER_TO_MAC_REVISION,
                subscriber_name: "NSPlayer/9.0.0.2980".into(),
            }
            .into(),
            funnel_to(funnel),
            OpenFile {
                play_incarnation: Incarnation(1),
                file_name: "live".into(),
                ..OpenFile::default()
            }
            .into(),
            read_block(),
        ] {
            self.say(key, &message);
        }
        let over_udp = funnel.contains("UDP").then_some(Action::Datagrams(key));
        assert!(self.engine.actions().eq(over_udp), "{funnel}");
        key
    }

    pub fn say(&mut self, key: Key, message: &ViewerMessage) {
        let mut bytes = Vec::new();
        message.encode(0, &mut Writer::new(&mut bytes));
        self.engine.received(self.now, key, &bytes);
    }

    /// A player that plays over UDP, its header on the way.
    pub fn play_over_udp(&mut self, address: SocketAddr, random: u64) -> Key {
        let key = self.connect(address, random, r"\\10.9.8.7\UDP\7000");
        self.run(Duration::from_secs(3), &mut whole); // the header comes at the channel's rate
        self.say(key, &start_playing());
        key
    }

    /// One turn; `kernel` answers each send. Returns how many there were.
    pub fn turn(&mut self, kernel: &mut dyn FnMut(&Outgoing<'_, '_>) -> i32) -> usize {
        let (guards, sends, wake) = self.engine.begin(self.now);
        let results = &mut self.results;
        sends.fill(&guards, &mut self.arena, |send| {
            results.push((send.key, kernel(&send)));
        });
        let spare = guards.release();
        self.engine.end(spare);
        self.wake = wake;
        let count = self.results.len();
        while let Some((key, sent)) = self.results.pop() {
            self.engine.sent(self.now, key, sent);
        }
        assert_eq!(self.engine.actions().count(), 0, "nobody is to leave");
        self.reports.extend(self.engine.reports());
        count
    }

    /// Lives for some time.
    pub fn run(&mut self, time: Duration, kernel: &mut dyn FnMut(&Outgoing<'_, '_>) -> i32) {
        let until = self.now + time;
        loop {
            self.publish();
            if self.turn(kernel) > 0 || self.wake.is_some_and(|at| at <= self.now) {
                continue;
            }
            if self.now >= until {
                return;
            }
            self.pass(until);
        }
    }

    pub fn publish(&mut self) {
        if self.source.next_at().is_some_and(|at| at <= self.now) {
            self.source.step(self.now);
        }
    }

    /// Time goes on to the next thing there is to do.
    pub fn pass(&mut self, until: Instant) {
        let next = [self.wake, self.source.next_at(), Some(until)];
        let next = next.into_iter().flatten().min().unwrap_or(until);
        self.now = next.max(self.now);
    }

    /// Lives for some time; all sends.
    pub fn record(&mut self, time: Duration) -> Vec<Sent> {
        let mut all = Vec::new();
        self.run(time, &mut |send| {
            all.push(Sent::of(send));
            whole(send)
        });
        all
    }

    /// A request for packets arrives.
    pub fn ask(&mut self, from: IpAddr, client_id: u32, sequences: &[u32]) -> Option<u16> {
        let bytes = request(client_id, Session::SOURCE_ID, sequences);
        self.engine
            .datagram(self.now, SocketAddr::new(from, 7000), &bytes)
    }
}

/// The kernel takes everything.
pub fn whole(send: &Outgoing<'_, '_>) -> i32 {
    send.pieces.iter().map(|piece| piece.len() as i32).sum()
}

pub fn request(client_id: u32, source_id: u16, sequences: &[u32]) -> Vec<u8> {
    let sequences: Vec<_> = sequences.iter().map(|n| (*n).into()).collect();
    let mut bytes = Vec::new();
    ResendRequest {
        client_id,
        source_id,
        sequences: &sequences,
    }
    .encode(&mut Writer::new(&mut bytes));
    bytes
}

pub fn funnel_to(name: &str) -> ViewerMessage {
    ConnectFunnel {
        max_block_bytes: u32::MAX,
        funnel_mode: 2,
        funnel_name: name.into(),
        ..ConnectFunnel::default()
    }
    .into()
}

pub fn read_block() -> ViewerMessage {
    ReadBlock {
        open_file_id: 1,
        play_incarnation: Incarnation(2),
        ..ReadBlock::default()
    }
    .into()
}

pub fn start_playing() -> ViewerMessage {
    StartPlaying {
        open_file_id: 1,
        asf_offset: u32::MAX,
        location_id: u32::MAX,
        play_incarnation: Incarnation(4),
        ..StartPlaying::default()
    }
    .into()
}

pub fn stop_playing() -> ViewerMessage {
    StopPlaying {
        open_file_id: 1,
        play_incarnation: Incarnation(4),
    }
    .into()
}
