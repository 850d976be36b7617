//! An owner of the engine for one test: one channel, some players, sends that are cut where the test says.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod rig;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::Start;
use funnel_engine::{
    Action, Admission, AdmissionLimits, Engine, EngineConfig, Found, Key, Served, Tuning, UdpLimits,
};
use funnel_session::client::Manner;
use funnel_session::server::Settings;
use funnel_sim::{Cue, Plan, Player, Reel, Schedule, Source, Speech};

pub struct Desk {
    pub engine: Engine,
    pub source: Source,
    pub players: Vec<Player>,
    pub now: Instant,
    pub arena: Box<[u8]>,
    pub results: Vec<(Key, i32)>,
    pub wake: Option<Instant>,
}

impl Desk {
    /// A channel on air from a file, published `slower` than it says; nobody watches.
    pub fn new(file: &'static str, slower: u32, train: Duration) -> Self {
        Self::with(file, slower, train, (0, 1))
    }

    /// The same with one of several shards.
    pub fn of_shard(file: &'static str, shard_of: (u16, u16)) -> Self {
        Self::with(file, 1, Duration::from_millis(200), shard_of)
    }

    fn with(file: &'static str, slower: u32, train: Duration, (shard, shards): (u16, u16)) -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        let begin = Cue::Begin(Reel::load(file, "live", slower));
        let schedule = Schedule::plain("live", Start::Always, vec![(Duration::ZERO, begin)]);
        let source = Source::new(schedule, now);
        let tuning = Tuning {
            train,
            ..Tuning::default()
        };
        let served = Served {
            channel: Arc::clone(&source.channel),
            tuning,
        };
        let config = EngineConfig {
            settings: Arc::new(Settings::default()),
            admission: Arc::new(Admission::new(AdmissionLimits::default())),
            lookup: Box::new(move |_| Some(Found::Channel(served.clone()))),
            viewers_max: 2048,
            selections_max: 16,
            sends_max: 1024,
            visit_bytes_max: 256 << 10,
            shard,
            shards,
            udp: UdpLimits::default(),
        };
        Self {
            engine: Engine::new(config, now),
            source,
            players: Vec::new(),
            now,
            arena: vec![0; 1 << 20].into(),
            results: Vec::with_capacity(2048),
            wake: None,
        }
    }

    /// A player connects; returns its number, which is also its index in the engine.
    pub fn join(&mut self, manner: Manner) -> usize {
        self.join_as(|id| Plan::plain(id, "live", manner))
    }

    /// The same over HTTP.
    pub fn join_over_http(&mut self, speech: Speech) -> usize {
        self.join_as(|id| Plan::over_http(id, "live", speech))
    }

    fn join_as(&mut self, plan: impl FnOnce(usize) -> Plan) -> usize {
        let id = self.players.len();
        let peer = SocketAddr::from(([192, 0, 2, 1], u16::try_from(id + 1).expect("few players")));
        let key = self.engine.accept(self.now, peer, 7).expect("room");
        assert_eq!(key.index as usize, id);
        let mut player = Player::new(plan(id), 1, self.now);
        player.key = Some(key);
        let doings = player.connect(self.now);
        self.players.push(player);
        self.say(id, doings.sends);
        id
    }

    pub fn say(&mut self, id: usize, messages: Vec<Vec<u8>>) {
        let key = self.players[id].key.expect("connected");
        for message in messages {
            self.engine.received(self.now, key, &message);
        }
    }

    /// One turn. `kernel` says how many bytes of a send it takes: of which player, of how many.
    pub fn turn(&mut self, mut kernel: impl FnMut(usize, &[&[u8]]) -> usize) -> usize {
        let Self {
            engine,
            arena,
            results,
            now,
            players,
            ..
        } = self;
        let (guards, sends, wake) = engine.begin(*now);
        sends.fill(&guards, arena, |send| {
            let (key, pieces) = (send.key, send.pieces);
            let taken = kernel(key.index as usize, pieces);
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .take(taken)
                .collect();
            let link = &mut players[key.index as usize].link;
            let sent = if taken == 0 {
                -11
            } else {
                link.send(&[&bytes])
            };
            assert!(
                taken == 0 || sent as usize == taken,
                "the test's link has room"
            );
            results.push((key, sent));
        });
        let spare = guards.release();
        engine.end(spare);
        self.wake = wake;
        let count = self.results.len();
        while let Some((key, sent)) = self.results.pop() {
            self.engine.sent(self.now, key, sent);
        }
        self.carry_out();
        count
    }

    /// Sockets are writable again at once; players read at once and answer at once.
    pub fn carry_out(&mut self) {
        let actions: Vec<Action> = self.engine.actions().collect();
        for action in actions {
            match action {
                Action::AwaitWritable(key) => self.engine.writable(self.now, key),
                Action::Datagrams(_) => {}
                Action::HandOver(..) | Action::Forward { .. } => panic!("{action:?}"),
                Action::Close(key) | Action::Abort(key) => {
                    self.players[key.index as usize].server_closed_at = Some(self.now);
                }
            }
        }
        self.engine.reports();
        for id in 0..self.players.len() {
            while self.players[id].link.waiting() > 0 {
                let doings = self.players[id].read(self.now, &self.source.book);
                self.say(id, doings.sends);
            }
        }
    }

    /// Runs for some time; every send is taken whole.
    pub fn run(&mut self, time: Duration) {
        self.run_with(time, |_, pieces| {
            pieces.iter().map(|piece| piece.len()).sum()
        });
    }

    pub fn run_with(&mut self, time: Duration, mut kernel: impl FnMut(usize, &[&[u8]]) -> usize) {
        let until = self.now + time;
        loop {
            if self.source.next_at().is_some_and(|at| at <= self.now) {
                self.source.step(self.now);
            }
            if self.turn(&mut kernel) > 0 || self.wake.is_some_and(|at| at <= self.now) {
                continue;
            }
            if self.now >= until {
                return;
            }
            let next = [self.wake, self.source.next_at(), Some(until)];
            self.now = next
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(until)
                .max(self.now);
        }
    }

    pub fn assert_no_faults(&self) {
        for player in &self.players {
            assert_eq!(
                player.tap.faults,
                Vec::<String>::new(),
                "{}",
                player.plan.manner.name
            );
        }
    }
}

pub fn sum(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}
