//! The owner of the engine in virtual time: what a shard thread and its ring do, with simulated sockets.
//!
//! One turn is a shard's turn: begin, fill (each send is answered at once, as MSG_DONTWAIT sends are), release, actions,
//! then every completion with its actions, in any order that keeps each connection's bytes in order. The owner sleeps only
//! when no completion is there, and then exactly until the deadline the engine gave: an engine that forgets to ask is
//! found out by what arrives late.

mod time;
mod watch;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use funnel_engine::{
    Action, Admission, AdmissionLimits, Datagrams, Engine, EngineConfig, Found, Key, Report,
    Served, Tuning, UdpLimits,
};
use funnel_session::server::Settings;

use crate::book::Book;
use crate::player::{Plan, Player, udp_port};
use crate::rng::Rng;
use crate::source::{Schedule, Source};

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Determines everything.
    pub seed: u64,
    /// The channels.
    pub channels: Vec<(Schedule, Tuning)>,
    /// The players.
    pub players: Vec<Plan>,
    /// When the server begins to drain.
    pub drains_at: Duration,
    /// The server's ceilings.
    pub limits: AdmissionLimits,
    /// Connections at a time.
    pub viewers_max: usize,
}

impl WorldConfig {
    /// A world without ceilings.
    pub fn plain(
        channels: Vec<(Schedule, Tuning)>,
        players: Vec<Plan>,
        drains_at: Duration,
    ) -> Self {
        Self {
            seed: 1,
            channels,
            players,
            drains_at,
            limits: AdmissionLimits::default(),
            viewers_max: 1024,
        }
    }
}

/// A run that is over, or under way.
pub struct World {
    /// As given.
    pub config: WorldConfig,
    /// What happened.
    pub outcome: Outcome,
    /// The players, by number.
    pub players: Vec<Player>,
    /// The channels.
    pub sources: Vec<Source>,
    /// Virtual time.
    pub now: Instant,
    engine: Engine,
    admission: Arc<Admission>,
    start: Instant,
    /// Which player has a place in the engine's table, as the shard's table of sockets.
    places: Vec<Option<usize>>,
    happenings: BinaryHeap<Reverse<Happening>>,
    order: u64,
    completions: Vec<Completion>,
    bell: Arc<AtomicBool>,
    rng: Rng,
    arena: Box<[u8]>,
    nothing_in_a_row: u32,
}

/// What a run showed, apart from what each player got.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was wrong with the server as a whole.
    pub faults: Vec<String>,
    /// Turns of the engine.
    pub turns: u64,
    /// Turns that sent nothing and had nothing to tell.
    pub idle_turns: u64,
    /// Most connections at a time.
    pub connections_max: u64,
    /// Most logs held open at a time.
    pub feeds_max: usize,
    /// Most bytes of messages and cut packets waiting at a time.
    pub queued_bytes_max: usize,
    /// Reports that were made.
    pub reports: u64,
    /// Totals of the engine at the end.
    pub counters: funnel_engine::Counters,
}

/// Something that happens outside of the engine.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Happening {
    at: Instant,
    order: u64,
    what: What,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum What {
    Source(usize),
    Join(usize),
    Step(usize, usize),
    Read(usize),
    Wake(usize),
    /// A datagram reaches its player.
    Datagram(usize, Vec<u8>),
    /// A datagram reaches the server.
    Request(usize, Vec<u8>),
    Bytes(usize, Vec<u8>),
    HangUp(usize, i32),
    Drain,
}

/// What the ring would tell the shard.
#[derive(Debug)]
enum Completion {
    Accepted(usize),
    Received(usize, Vec<u8>),
    Datagram(usize, Vec<u8>),
    ReceiveEnded(usize, i32),
    Writable(usize),
    Sent(Key, i32),
}

impl World {
    /// Everything is set up; nothing has happened.
    pub fn new(config: WorldConfig) -> Self {
        // Ahead of the real clock, by which the logs note when they were made.
        let start = Instant::now() + Duration::from_secs(86_400);
        let mut sources = Vec::new();
        let mut served = Vec::new();
        let bell = Arc::new(AtomicBool::new(false));
        for (schedule, tuning) in &config.channels {
            let source = Source::new(schedule.clone(), start);
            let ring = Arc::clone(&bell);
            source
                .channel
                .on_change(Box::new(move || ring.store(true, Ordering::Relaxed)));
            served.push(Served {
                channel: Arc::clone(&source.channel),
                tuning: *tuning,
            });
            sources.push(source);
        }
        let admission = Arc::new(Admission::new(config.limits));
        let engine = Engine::new(
            EngineConfig {
                settings: Arc::new(Settings::default()),
                admission: Arc::clone(&admission),
                lookup: Box::new(move |name| {
                    let found = served.iter().find(|served| served.channel.name() == name);
                    found.cloned().map(Found::Channel)
                }),
                viewers_max: config.viewers_max,
                selections_max: 16,
                sends_max: 256,
                visit_bytes_max: 256 << 10,
                shard: 0,
                shards: 1,
                udp: UdpLimits::default(),
            },
            start,
        );
        let players = (config.players.iter())
            .map(|plan| Player::new(plan.clone(), config.seed, start))
            .collect();
        let mut world = Self {
            rng: Rng::new(config.seed, 1),
            outcome: Outcome::default(),
            players,
            sources,
            now: start,
            engine,
            admission,
            start,
            places: Vec::new(),
            happenings: BinaryHeap::new(),
            order: 0,
            completions: Vec::new(),
            bell,
            arena: vec![0; 1 << 20].into(),
            nothing_in_a_row: 0,
            config,
        };
        world.schedule_all();
        world
    }

    /// Runs to the end: everybody left and the engine is empty, or it is found that this does not come.
    pub fn run(&mut self) {
        let drained_by = self.start + self.config.drains_at + DRAIN_MAX;
        while self.now <= drained_by && self.step() {}
        self.look_at_the_end();
    }

    /// Runs until virtual time `until` since the start.
    pub fn run_until(&mut self, until: Duration) {
        while self.now < self.start + until && self.step() {}
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The server's ceilings.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// What the channel of a player's path published.
    pub fn book(&self, path: &str) -> Option<&Book> {
        let mut sources = self.sources.iter();
        sources
            .find(|source| source.channel.name() == path)
            .map(|source| &source.book)
    }

    /// One turn and the time until the next. False when all is over.
    fn step(&mut self) -> bool {
        let (sends, wake) = self.turn();
        self.look();
        if sends == 0 && self.completions.is_empty() {
            self.idle_turn(wake);
            if !self.sleep(wake) {
                return false;
            }
        } else {
            self.nothing_in_a_row = 0;
        }
        // Now and then the shard is late, and much has come together.
        if self.rng.chance(1, 24) {
            let late = self.rng.millis(1, 40);
            self.pass_time(self.now + late, false);
        }
        self.tell();
        for source in &mut self.sources {
            source.look_at_demand(self.now);
        }
        self.schedule_sources();
        true
    }

    fn turn(&mut self) -> (usize, Option<Instant>) {
        let Self {
            engine,
            players,
            places,
            completions,
            arena,
            now,
            outcome,
            sources,
            ..
        } = self;
        outcome.turns += 1;
        let (guards, sends, wake) = engine.begin(*now);
        let mut count = 0;
        let mut twice = None;
        let (mut faults, mut arrivals) = (Vec::new(), Vec::new());
        sends.fill(&guards, arena, |send| {
            let key = send.key;
            count += 1;
            if completions
                .iter()
                .any(|done| matches!(done, Completion::Sent(other, _) if *other == key))
            {
                twice = Some(key);
            }
            let place = places.get(key.index as usize).copied().flatten();
            if let Some(player) = place.and_then(|id| players.get_mut(id)) {
                let book = book_of(sources, &player.plan.path);
                let result = match send.datagrams {
                    None => player.take(*now, send.pieces, book),
                    Some(how) => {
                        let id = player.plan.id;
                        faults.extend(look_at_datagrams(id, how, send.pieces));
                        player.take_datagrams(*now, how, send.pieces, book, |after, bytes| {
                            arrivals.push((after, id, bytes));
                        })
                    }
                };
                completions.push(Completion::Sent(key, result));
            }
        });
        let spare = guards.release();
        engine.end(spare);
        if let Some(key) = twice {
            self.fault(format!("two sends in flight for {key:?}"));
        }
        for what in faults {
            self.fault(what);
        }
        for (after, id, bytes) in arrivals {
            self.schedule(self.now + after, What::Datagram(id, bytes));
        }
        for done in 0..self.completions.len() {
            if let Completion::Sent(key, _) = self.completions[done]
                && let Some(id) = self.places.get(key.index as usize).copied().flatten()
            {
                self.read_later(id);
            }
        }
        self.carry_out();
        (count, wake)
    }

    /// Tells the engine all completions, in a random order that keeps each player's own.
    fn tell(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        for at in (1..completions.len()).rev() {
            let other = usize::try_from(self.rng.range(0, at as u64 + 1)).unwrap_or(at);
            if completions[at].player() != completions[other].player()
                || completions[at].player().is_none()
            {
                let between = &completions[other + 1..at.max(other + 1)];
                let (a, b) = (completions[at].player(), completions[other].player());
                let keeps = |player: Option<usize>| {
                    player.is_none() || between.iter().all(|done| done.player() != player)
                };
                if keeps(a) && keeps(b) {
                    completions.swap(at, other);
                }
            }
        }
        for completion in completions.drain(..) {
            self.take(completion);
            self.carry_out();
        }
        // Sockets that were writable at once told so meanwhile.
        completions.append(&mut self.completions);
        self.completions = completions;
    }

    fn take(&mut self, completion: Completion) {
        let now = self.now;
        match completion {
            Completion::Accepted(id) => self.accept(id),
            Completion::Received(id, bytes) => {
                if let Some(key) = self.players[id].key {
                    self.engine.received(now, key, &bytes);
                }
            }
            Completion::Datagram(id, bytes) => {
                let from = datagram_address(id);
                if self.engine.datagram(now, from, &bytes).is_some() {
                    self.fault(
                        "a request is handed to another shard, of which there is none".into(),
                    );
                }
            }
            Completion::ReceiveEnded(id, result) => {
                if let Some(key) = self.players[id].key {
                    self.engine.hung_up(key, result);
                }
            }
            Completion::Writable(id) => {
                if let Some(key) = self.players[id].key {
                    self.engine.writable(now, key);
                }
            }
            Completion::Sent(key, result) => self.engine.sent(now, key, result),
        }
    }

    fn accept(&mut self, id: usize) {
        let random = self.rng.number();
        let Some(key) = self.engine.accept(self.now, address(id), random) else {
            self.players[id].server_closed_at = Some(self.now);
            return;
        };
        let index = key.index as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        if self.places[index].replace(id).is_some() {
            self.fault(format!("place {index} was given away twice"));
        }
        self.players[id].key = Some(key);
        let doings = self.players[id].connect(self.now);
        self.do_for(id, doings);
    }

    fn carry_out(&mut self) {
        let actions: Vec<Action> = self.engine.actions().collect();
        for action in actions {
            let (Action::AwaitWritable(key)
            | Action::Datagrams(key)
            | Action::Close(key)
            | Action::Abort(key)) = action
            else {
                self.fault(format!("{action:?}, though nobody speaks HTTP"));
                continue;
            };
            let place = self.places.get(key.index as usize).copied().flatten();
            let Some(id) = place.filter(|id| self.players[*id].key == Some(key)) else {
                self.fault(format!("{action:?} for nobody"));
                continue;
            };
            match action {
                Action::AwaitWritable(_) => {
                    self.players[id].link.awaits_writable = true;
                    self.look_writable(id);
                }
                Action::Datagrams(_) | Action::HandOver(..) | Action::Forward { .. } => {}
                Action::Close(_) | Action::Abort(_) => {
                    // The key stays with the player: completions under way still carry it, and must find nobody.
                    self.places[key.index as usize] = None;
                    let player = &mut self.players[id];
                    player.server_closed_at = Some(self.now);
                    if matches!(action, Action::Abort(_)) {
                        player.link.reset();
                    }
                    self.read_later(id);
                }
            }
        }
        self.take_reports();
    }

    fn take_reports(&mut self) {
        let reports: Vec<Report> = self.engine.reports().collect();
        for report in reports {
            self.outcome.reports += 1;
            if let Report::Left {
                peer,
                reason,
                stats,
                ..
            } = report
            {
                let id = usize::from(peer.port()) - usize::from(FIRST_PORT);
                if self.players[id].left.replace((reason, stats)).is_some() {
                    self.fault(format!("player {id} left twice"));
                }
            }
        }
    }
}

impl Completion {
    fn player(&self) -> Option<usize> {
        match self {
            Self::Accepted(id)
            | Self::Received(id, _)
            | Self::Datagram(id, _)
            | Self::ReceiveEnded(id, _)
            | Self::Writable(id) => Some(*id),
            Self::Sent(..) => None,
        }
    }
}

/// Player `id`'s address; the port tells the player.
fn address(id: usize) -> SocketAddr {
    let port = FIRST_PORT + u16::try_from(id).unwrap_or(u16::MAX - FIRST_PORT);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port)
}

/// Where its datagrams go, and come from.
fn datagram_address(id: usize) -> SocketAddr {
    SocketAddr::new(address(id).ip(), udp_port(id))
}

/// What the channel of a path published; nothing, if there is none.
fn book_of<'s>(sources: &'s [Source], path: &str) -> &'s Book {
    static NOTHING: Book = Book {
        stretches: Vec::new(),
    };
    let source = sources.iter().find(|source| source.channel.name() == path);
    source.map_or(&NOTHING, |source| &source.book)
}

/// What is wrong with a send over UDP to player `id`.
fn look_at_datagrams(id: usize, how: Datagrams, pieces: &[&[u8]]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what| faults.push(format!("datagrams to player {id}: {what}"));
    if how.to != datagram_address(id) {
        fault(format!("go to {}", how.to));
    }
    let sizes: Vec<usize> = pieces
        .chunks(2)
        .map(|packet| packet.iter().map(|piece| piece.len()).sum())
        .collect();
    let Some(segment) = how.segment_bytes else {
        if sizes.len() != 1 {
            fault(format!("{} packets in one", sizes.len()));
        }
        return faults;
    };
    let (last, others) = sizes.split_last().unwrap_or((&0, &[]));
    if *last > usize::from(segment) || others.iter().any(|size| *size != usize::from(segment)) {
        fault(format!("sizes {sizes:?} cut at {segment}"));
    }
    if sizes.len() > 64 || sizes.iter().sum::<usize>() > 65_000 || segment > 1472 {
        fault(format!("too large a train: {sizes:?}"));
    }
    faults
}

const FIRST_PORT: u16 = 1024;
/// A drain takes the session's grace (1.5 s), 2 s for the last bytes, and what was stalled before that.
const DRAIN_MAX: Duration = Duration::from_secs(6);
