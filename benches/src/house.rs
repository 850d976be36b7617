//! A full house: one engine, its channels and their publishers, and viewers who play, in virtual time.
//!
//! Nothing here touches a socket: [`House::turn`] plays the shard's loop with a transport that takes everything. Every
//! cost that is measured is the engine's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{Air, Channel, ChannelOptions, Entry, EpochSpec, LogConfig, Publisher, Start};
use funnel_engine::{
    Action, Admission, AdmissionLimits, Engine, EngineConfig, Found, Key, Served, Tuning, UdpLimits,
};
use funnel_session::server::{Framing, Settings};

use crate::{media, player};

/// Size of the packets that are published, bytes.
pub const PACKET_BYTES: usize = 1444;
/// Bit rate the channels announce, bit/s.
pub const BIT_RATE: u32 = 300_000;
/// Time between two visits to a viewer.
pub const TRAIN: Duration = Duration::from_millis(200);
/// Virtual time of one turn in which everybody is due: a train, and two ticks of the engine's timers, which round up.
pub const STEP: Duration = Duration::from_millis(210);
/// Bytes of heads and messages per turn, as the shards have it, or what everybody needs at once.
const ARENA_BYTES_MIN: usize = 1 << 20;
/// Trains until the logs turn over.
const WARM_ROUNDS: usize = 60;
/// What all logs keep: 20 trains.
const LOG_KEEPS: Duration = Duration::from_secs(4);
/// No Ping falls due: media is what is measured.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// Granularity of the engine's timers.
const TICK: Duration = Duration::from_millis(5);
/// Time for a header of 16 KiB at [`BIT_RATE`].
const HEADER_TICKS: usize = 100;
/// Turns of a tick in a train.
pub const TICKS_PER_TRAIN: usize = 40;

/// What a house is built for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers, spread evenly over the channels.
    pub viewers: usize,
    /// Channels.
    pub channels: usize,
    /// Packets per train and viewer.
    pub train_packets: usize,
    /// Sends the engine may make per turn; the shards use 1,024.
    pub sends_max: usize,
    /// Silence after which a player is pinged; the server's default is 30 s.
    pub ping: Duration,
    /// How everybody plays.
    pub over: Over,
}

/// How viewers play.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// MMS over TCP: heads of their own.
    Mms,
    /// MMS with header and media as datagrams.
    Udp,
    /// HTTP streaming: heads that all share.
    Wmsp,
    /// The same in chunks: heads of their own.
    Chunked,
    /// A plain GET: no heads.
    Plain,
}

impl Over {
    /// Bytes in front of each packet.
    pub fn head_bytes(self) -> usize {
        match self {
            Self::Mms | Self::Udp => 8,
            Self::Wmsp => 12,
            Self::Chunked => 20,
            Self::Plain => 0,
        }
    }

    /// What lies side by side is one piece.
    fn is_flat(self) -> bool {
        matches!(self, Self::Wmsp | Self::Plain)
    }
}

impl Plan {
    /// Viewers of one channel at 300 kb/s, 5 packets each 200 ms, all in one turn.
    pub fn of(viewers: usize) -> Self {
        Self {
            viewers,
            channels: 1,
            train_packets: 5,
            sends_max: viewers,
            ping: NEVER,
            over: Over::Mms,
        }
    }

    /// The same in another way.
    pub fn over(self, over: Over) -> Self {
        Self { over, ..self }
    }
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Turned {
    /// Sends, one per viewer.
    pub sends: usize,
    /// Pieces of all gather lists.
    pub pieces: usize,
    /// Bytes of all sends.
    pub bytes: usize,
}

/// Engine, channels, viewers, and the virtual clock.
pub struct House {
    /// The engine that is measured.
    pub engine: Engine,
    /// The clock.
    pub now: Instant,
    publishers: Vec<Publisher>,
    packet: Vec<u8>,
    published: u64,
    plan: Plan,
    /// Heads and messages of one turn.
    pub arena: Box<[u8]>,
    results: Vec<(Key, i32)>,
    hellos: Vec<Vec<Vec<u8>>>,
}

impl House {
    /// Builds the channels and lets `plan.viewers` join and play. They have not been sent media twice yet.
    ///
    /// # Panics
    /// When the engine does not do what a house needs: a bench of something else would be a lie.
    pub fn new(plan: Plan) -> Self {
        let now = Instant::now();
        let (channels, publishers) = (0..plan.channels).map(channel).unzip();
        let mut house = Self {
            engine: Engine::new(config(channels, &plan), now),
            now,
            publishers,
            packet: vec![0xA5; PACKET_BYTES],
            published: 0,
            arena: vec![
                0;
                ARENA_BYTES_MIN.max(
                    plan.viewers * plan.train_packets * Framing::HEAD_BYTES_MAX + (128 << 10)
                )
            ]
            .into(),
            results: Vec::with_capacity(plan.viewers + 1),
            hellos: (0..plan.channels)
                .map(|n| match plan.over {
                    Over::Mms => player::handshake(&channel_name(n)),
                    Over::Udp => player::handshake_over_udp(&channel_name(n)),
                    Over::Wmsp => vec![player::play_over_http(&channel_name(n), "1.0")],
                    Over::Chunked => vec![player::play_over_http(&channel_name(n), "1.1")],
                    Over::Plain => vec![player::get(&channel_name(n))],
                })
                .collect(),
            plan,
        };
        house.publish(1);
        let keys: Vec<Key> = (0..plan.viewers).map(|n| house.connect(n)).collect();
        house.await_headers();
        for (viewer, key) in keys.into_iter().enumerate() {
            house.play(viewer, key);
        }
        house
    }

    /// A house in which everybody is due at the same time, each [`STEP`]. Its logs have all the memory they will have.
    pub fn gathered(plan: Plan) -> Self {
        let mut house = Self::new(plan);
        for _ in 0..WARM_ROUNDS {
            house.advance(STEP, plan.train_packets);
            house.settle();
        }
        house
    }

    /// A house whose visits are spread over the train, as the engine arranges it for viewers who come together.
    pub fn spread(plan: Plan) -> Self {
        let mut house = Self::new(plan);
        for _ in 0..WARM_ROUNDS {
            house.live_one_train();
        }
        house
    }

    /// One train's time in steps of the timers' granularity, the packets coming one by one: what a shard really does.
    /// Returns the sends made.
    pub fn live_one_train(&mut self) -> usize {
        self.live_one_train_with(&mut |_| {})
    }

    /// The same, with `kernel` as in [`House::turn_with`].
    pub fn live_one_train_with(&mut self, kernel: &mut dyn FnMut(usize)) -> usize {
        let between = TICKS_PER_TRAIN / self.plan.train_packets;
        (0..TICKS_PER_TRAIN)
            .map(|turn| {
                self.advance(TICK, usize::from(turn % between == 0));
                self.turn_with(kernel).sends
            })
            .sum()
    }

    /// One more viewer connects, shakes hands and plays; everything it is sent is taken.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn join(&mut self, viewer: usize) -> Key {
        let key = self.connect(viewer);
        self.await_headers();
        self.play(viewer, key);
        key
    }

    /// All of the handshake but its last request.
    fn connect(&mut self, viewer: usize) -> Key {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1024));
        let key = self
            .engine
            .accept(self.now, peer, viewer as u64)
            .expect("the engine has room");
        let requests = std::mem::take(&mut self.hellos[viewer % self.plan.channels]);
        for request in &requests[..requests.len() - 1] {
            self.engine.received(self.now, key, request);
            self.settle();
        }
        self.hellos[viewer % self.plan.channels] = requests;
        key
    }

    /// Over UDP headers come at the channel's rate.
    fn await_headers(&mut self) {
        let ticks = match self.plan.over {
            Over::Udp => HEADER_TICKS,
            _ => 0,
        };
        for _ in 0..ticks {
            self.advance(TICK, 0);
            self.settle();
        }
    }

    fn play(&mut self, viewer: usize, key: Key) {
        let request = self.hellos[viewer % self.plan.channels].last();
        let request = request.expect("StartPlaying").clone();
        self.engine.received(self.now, key, &request);
        self.settle();
        self.engine.reports().for_each(drop);
    }

    /// A viewer hangs up.
    pub fn leave(&mut self, key: Key) {
        self.engine.hung_up(key, 0);
        self.engine.actions().for_each(drop);
        self.engine.reports().for_each(drop);
    }

    /// Moves the clock and publishes `packets` to each channel.
    pub fn advance(&mut self, time: Duration, packets: usize) {
        self.now += time;
        self.publish(packets);
    }

    /// One turn of the shard's loop with a transport that takes everything at once.
    pub fn turn(&mut self) -> Turned {
        self.turn_with(&mut |_| {})
    }

    /// The same; `kernel` is called where the kernel is entered, with the bytes of all sends.
    pub fn turn_with(&mut self, kernel: &mut dyn FnMut(usize)) -> Turned {
        let mut turned = Turned::default();
        let results = &mut self.results;
        results.clear();
        let (guards, sends, _) = self.engine.begin(self.now);
        sends.fill(&guards, &mut self.arena, |send| {
            let bytes = send.pieces.iter().map(|piece| piece.len()).sum::<usize>();
            turned.sends += 1;
            turned.pieces += send.pieces.len();
            turned.bytes += bytes;
            results.push((send.key, bytes as i32)); // a send is bounded by visit_bytes_max
        });
        let spare = guards.release();
        self.engine.end(spare);
        kernel(turned.bytes);
        for (key, result) in results.drain(..) {
            self.engine.sent(self.now, key, result);
        }
        for action in self.engine.actions() {
            assert!(
                matches!(action, Action::AwaitWritable(_) | Action::Datagrams(_)),
                "nobody is to leave: {action:?}"
            );
        }
        turned
    }

    /// Turns at one moment until nothing is due any more; the sum of what they did.
    pub fn settle(&mut self) -> Turned {
        let mut sum = Turned::default();
        loop {
            let turned = self.turn();
            if turned == Turned::default() {
                return sum;
            }
            sum.sends += turned.sends;
            sum.pieces += turned.pieces;
            sum.bytes += turned.bytes;
        }
    }

    /// Checks a turn in which everybody was due.
    ///
    /// # Panics
    /// When it did not do what it must: timing something else would be a lie.
    pub fn check_everybody(&self, turned: Turned) {
        let Plan { viewers, over, .. } = self.plan;
        let packets = viewers * self.plan.train_packets;
        assert_eq!(turned.sends, viewers);
        assert_eq!(turned.bytes, packets * (PACKET_BYTES + over.head_bytes()));
        if over.is_flat() {
            // Two where a segment of the log ends.
            assert!(turned.pieces <= 2 * viewers, "{turned:?}");
        } else {
            assert_eq!(turned.pieces, 2 * packets);
        }
    }

    fn publish(&mut self, packets: usize) {
        for _ in 0..packets {
            for publisher in &mut self.publishers {
                let entry = Entry {
                    full: &self.packet,
                    stripped: None,
                    join: None,
                    join_stripped: None,
                    send_ms: self.published * 40,
                    due_ms: self.published * 40,
                    clean_point: self.published.is_multiple_of(25),
                    join_done: true,
                };
                publisher
                    .publish(self.now, entry)
                    .expect("far below the ceiling");
            }
            self.published += 1;
        }
    }
}

fn channel_name(number: usize) -> String {
    format!("radio-{number}")
}

/// A channel on air, and its publisher.
fn channel(number: usize) -> (Arc<Channel>, Publisher) {
    let source = media::source("av-300k.wmv");
    let channel = Channel::new(
        channel_name(number),
        ChannelOptions {
            start: Start::Always,
            readers_max: 2,
        },
    );
    let publisher = channel
        .announce(EpochSpec {
            header: source.header.bytes().into(),
            packet_bytes: PACKET_BYTES as u32,
            bit_rate: BIT_RATE,
            streams: source.header.stream_mask(),
            log: LogConfig {
                packet_bytes: 0,
                retain: LOG_KEEPS,
                bytes_max: 64 << 20,
                readers_max: 0,
                first_seq: 0,
            },
        })
        .expect("a workable log");
    channel.set_air(Air::OnAir);
    (channel, publisher)
}

fn config(channels: Vec<Arc<Channel>>, plan: &Plan) -> EngineConfig {
    let tuning = Tuning {
        train: TRAIN,
        fast_start: Duration::ZERO,
        udp_burst_packets: 64,
        retain: LOG_KEEPS,
        ..Tuning::default()
    };
    EngineConfig {
        settings: Arc::new(Settings {
            ping: plan.ping,
            ..Settings::default()
        }),
        admission: Arc::new(Admission::new(AdmissionLimits::default())),
        lookup: Box::new(move |name| {
            let channel = channels.iter().find(|channel| channel.name() == name)?;
            Some(Found::Channel(Served {
                channel: Arc::clone(channel),
                tuning,
            }))
        }),
        viewers_max: plan.viewers + 1,
        selections_max: 4,
        sends_max: plan.sends_max,
        visit_bytes_max: 256 << 10,
        shard: 0,
        shards: 1,
        udp: UdpLimits::default(),
    }
}
