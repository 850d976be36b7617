//! One pinned thread: a ring and an engine, and the loop that carries results one way and sends the other.
//!
//! A shard owns its listeners, connections and timers. It is told to drain or to stop through two flags and its doorbell;
//! everything else it learns from its ring, its clock and the channels' versions.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use funnel_channel::Channel;
use funnel_control::directory::Directory;
use funnel_engine::{Action, Admission, Engine, EngineConfig, Found, Key, UdpLimits};
use funnel_session::server::Settings;
use funnel_uring::{Completion, Doorbell, File, Ops, Ring, RingConfig, RingError};
use rustls::ServerConfig;

pub use funnel_engine::{Served, Tuning};

use crate::listen::{Kind, Listener};
use crate::mailbox::{Letter, Mailbox};
use crate::multicast::{Seat, ShardGroups};
use crate::report::Reporter;
use crate::sockets::{Connection, Named, OF_DATAGRAMS, Sockets, named, token, token_of_veil};
use crate::veil::{Room, Veils};
use crate::visitors::{Desks, Visitors};

/// What all shards share: values that never change, and the admission's counters.
pub struct Services {
    /// The channels by name, and where those are that are elsewhere.
    pub directory: Directory<Found>,
    /// What all sessions have in common.
    pub settings: Arc<Settings>,
    /// The server's ceilings.
    pub admission: Arc<Admission>,
    /// Filtered logs per channel and shard.
    pub selections_max: usize,
    /// Connections per shard.
    pub viewers_per_shard_max: u32,
    /// One per shard, for what came to another one.
    pub mailboxes: Vec<Mailbox>,
    /// Who goes on with connections that are no player's.
    pub desks: Desks,
    /// Bounds of media over UDP.
    pub udp: UdpLimits,
}

/// One shard to be.
pub struct Plan {
    /// Its number, for names and logs.
    pub index: usize,
    /// Where it is pinned.
    pub core: Option<core_affinity::CoreId>,
    /// Its own listeners (SO_REUSEPORT).
    pub listeners: Vec<Listener>,
    /// What connections over TLS are shown.
    pub tls: Option<Arc<ServerConfig>>,
    /// The multicast groups it sends to.
    pub groups: Vec<Seat>,
    /// What it shares with the others.
    pub services: Arc<Services>,
}

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The kernel gave it no ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The ring did not take a UDP socket.
    #[error("a UDP socket cannot be used: {0}")]
    Datagrams(#[source] std::io::Error),
    /// No thread.
    #[error("no thread for a worker: {0}")]
    Thread(#[source] std::io::Error),
    /// The thread ended before it said how it went.
    #[error("a worker thread ended while it started")]
    Died,
}

/// A running shard.
pub struct Shard {
    doorbell: Doorbell,
    /// [`RUN`], [`DRAIN`] or [`STOP`].
    order: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

/// Starts a shard and waits until its ring stands and it listens.
///
/// # Errors
/// When thread or ring cannot be made.
pub fn start(plan: Plan) -> Result<Shard, ShardError> {
    let order = Arc::new(AtomicU8::new(RUN));
    let (tell, told) = bounded(1);
    let seen = Arc::clone(&order);
    let thread = std::thread::Builder::new()
        .name(format!("shard-{}", plan.index))
        .spawn(move || {
            if let Some(core) = plan.core {
                core_affinity::set_for_current(core);
            }
            let ring = Ring::new(RingConfig {
                sends_per_turn: SENDS_PER_TURN,
                files: plan
                    .services
                    .viewers_per_shard_max
                    .saturating_add(FILES_SPARE),
                receive_buffers: RECEIVE_BUFFERS,
                receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
                ..RingConfig::default()
            });
            match ring {
                Err(error) => drop(tell.send(Err(error.into()))),
                Ok(ring) => {
                    let doorbell = ring.doorbell();
                    match Worker::new(plan, ring, seen) {
                        Err(error) => drop(tell.send(Err(error))),
                        Ok(worker) => {
                            drop(tell.send(Ok(doorbell)));
                            worker.run();
                        }
                    }
                }
            }
        })
        .map_err(ShardError::Thread)?;
    let doorbell = told.recv().map_err(|_| ShardError::Died)??;
    Ok(Shard {
        doorbell,
        order,
        thread,
    })
}

impl Shard {
    /// Tells it to accept nobody any more and to end every session in the protocol's way. It finishes when all are gone.
    pub fn drain(&self) {
        self.order.fetch_max(DRAIN, Ordering::Relaxed);
        self.doorbell.ring();
    }

    /// Tells it to finish at once.
    pub fn stop(&self) {
        self.order.fetch_max(STOP, Ordering::Relaxed);
        self.doorbell.ring();
    }

    /// Whether its thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end; false if it panicked.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

struct Worker {
    index: usize,
    ring: Ring,
    connections: Connections,
    groups: ShardGroups,
    /// Heads and messages of one turn.
    arena: Box<[u8]>,
    /// Ciphertext of one turn.
    cipher: Box<[u8]>,
    answers: Vec<(Key, i32)>,
    order: Arc<AtomicU8>,
}

/// The engine and what ties its keys to sockets. Apart from the ring, so that both can be used at a time.
struct Connections {
    engine: Engine,
    sockets: Sockets,
    veils: Veils,
    visitors: Visitors,
    /// What new connections over TLS are shown.
    tls: Option<Arc<ServerConfig>>,
    /// Which of the services' mailboxes is its own.
    shard: usize,
    services: Arc<Services>,
    reporter: Reporter,
    random: RandomState,
    accepted: u64,
    look_at_drops: Instant,
}

impl Worker {
    fn new(mut plan: Plan, mut ring: Ring, order: Arc<AtomicU8>) -> Result<Self, ShardError> {
        let sockets = Sockets::open(std::mem::take(&mut plan.listeners), &mut ring)
            .map_err(ShardError::Datagrams)?;
        let groups = ShardGroups::open(plan.groups, &mut ring, Instant::now())
            .map_err(ShardError::Datagrams)?;
        let services = plan.services;
        if let Some(mailbox) = services.mailboxes.get(plan.index) {
            mailbox.open(ring.doorbell());
        }
        for (_, found) in services.directory.iter() {
            if let Found::Channel(served) = found {
                wake_on_change(&served.channel, ring.doorbell());
            }
        }
        let viewers_max = services.viewers_per_shard_max as usize;
        let directory = Arc::clone(&services);
        let config = EngineConfig {
            settings: Arc::clone(&services.settings),
            admission: Arc::clone(&services.admission),
            viewers_max,
            selections_max: services.selections_max,
            sends_max: SENDS_PER_TURN as usize,
            visit_bytes_max: VISIT_BYTES_MAX,
            shard: u16::try_from(plan.index).unwrap_or(u16::MAX),
            shards: u16::try_from(services.mailboxes.len()).unwrap_or(u16::MAX),
            udp: services.udp,
            lookup: Box::new(move |name| Some(directory.directory.find(name)?.value.clone())),
        };
        let connections = Connections {
            engine: Engine::new(config, Instant::now()),
            sockets,
            veils: Veils::default(),
            visitors: Visitors::default(),
            tls: plan.tls,
            shard: plan.index,
            services,
            reporter: Reporter::new(plan.index),
            random: RandomState::new(),
            accepted: 0,
            look_at_drops: Instant::now(),
        };
        let cipher_bytes = connections.tls.as_ref().map_or(0, |_| CIPHER_BYTES);
        Ok(Self {
            index: plan.index,
            ring,
            connections,
            groups,
            arena: vec![0; ARENA_BYTES].into(),
            cipher: vec![0; cipher_bytes].into(),
            answers: Vec::new(),
            order,
        })
    }

    fn run(mut self) {
        let mut draining = false;
        loop {
            let now = Instant::now();
            match self.order.load(Ordering::Relaxed) {
                STOP => break,
                DRAIN if !draining => {
                    draining = true;
                    self.ring.ops().stop_accepting();
                    self.connections.engine.drain(now);
                    self.groups.groups.drain(now);
                }
                _ => {}
            }
            self.turn(now);
            if draining && self.connections.is_empty() {
                break;
            }
        }
        // Lets the last closes reach the kernel; the ring finishes them as it is dropped.
        let now = Instant::now();
        self.ring.turn(Some(now), now, |_| {});
        // Whoever left with the last completions has its line, too.
        let Connections {
            engine, reporter, ..
        } = &mut self.connections;
        reporter.write(engine.reports(), now);
        self.connections.report_drops();
        self.connections
            .reporter
            .finish(&self.connections.engine.counters());
        self.groups.finish();
        tracing::debug!(shard = self.index, "finished");
    }

    fn turn(&mut self, now: Instant) {
        let Connections {
            engine,
            sockets,
            veils,
            reporter,
            ..
        } = &mut self.connections;
        veils.cut_late(now, self.ring.ops());
        let ShardGroups {
            groups,
            sockets: group_sockets,
        } = &mut self.groups;
        let (guards, sends, wake) = engine.begin(now);
        let (group_guards, group_sends, group_wake) = groups.begin(now);
        let wake = [wake, group_wake, veils.wake(now)];
        let wake = wake.into_iter().flatten().min();
        let mut room = Room::new(&mut self.cipher, std::mem::take(&mut self.answers));
        self.ring.turn(wake, now, |batch| {
            group_sends.fill(&group_guards, |send| group_sockets.send(batch, &send));
            sends.fill(&guards, &mut self.arena, |send| {
                sockets.send(batch, veils, &mut room, &send);
            });
            veils.send_rest(batch, &mut room);
        });
        self.answers = room.answers;
        let spare = guards.release();
        engine.end(spare);
        let spare = group_guards.release();
        groups.end(spare);
        let now = Instant::now();
        for (key, result) in self.answers.drain(..) {
            engine.sent(now, key, result);
        }
        reporter.write(engine.reports(), now);
        self.connections.carry_out(now, self.ring.ops());
        self.groups.tell();
        let (connections, groups, cipher) = (&mut self.connections, &mut self.groups, &self.cipher);
        if now >= connections.look_at_drops {
            connections.look_at_drops = now + LOOK_AT_DROPS_EVERY;
            connections.report_drops();
        }
        self.ring.drain(|completion, ops| {
            if !groups.take(&completion) {
                connections.take(now, completion, cipher, ops);
            }
        });
    }
}

impl Connections {
    /// `cipher` is what the last turn's ciphertext was sent from.
    fn take(&mut self, now: Instant, completion: Completion<'_>, cipher: &[u8], ops: &mut Ops) {
        let Self { engine, veils, .. } = self;
        match completion {
            Completion::Accepted {
                file,
                peer,
                listener,
            } => {
                // The number of a listener in its list, as given to `listen`.
                self.accept(now, file, peer, listener as u16, ops);
            }
            Completion::AcceptFailed { errno, .. } => self.reporter.accept_failed(errno, now),
            Completion::Received { token, bytes } => match named(token) {
                Named::Viewer(key) => engine.received(now, key, bytes),
                Named::Veil(veil) => {
                    if let Err((peer, error)) = veils.received(now, veil, bytes, engine) {
                        self.reporter.tls_failed(peer, &error, now);
                    }
                }
                Named::Visitor(number) => self.visitors.received(number, bytes),
            },
            Completion::ReceiveEnded { token, result } if token == OF_DATAGRAMS => {
                self.reporter.deaf(result);
            }
            Completion::ReceiveEnded { token, result } => match named(token) {
                Named::Viewer(key) => engine.hung_up(key, result),
                Named::Veil(veil) => veils.ended(veil, result, engine, ops),
                Named::Visitor(_) => {}
            },
            Completion::Writable { token } => match named(token) {
                Named::Viewer(key) => engine.writable(now, key),
                Named::Veil(veil) => veils.writable(now, veil, engine, ops),
                Named::Visitor(_) => {}
            },
            Completion::Sent { token, result } => match named(token) {
                Named::Viewer(key) => engine.sent(now, key, result),
                Named::Veil(veil) => veils.sent(now, veil, result, cipher, engine, ops),
                Named::Visitor(_) => {}
            },
            Completion::LocalAddress { token, address } => {
                if let Named::Viewer(key) = named(token) {
                    self.sockets.set_source(key, address);
                }
            }
            Completion::Datagram { from, bytes, .. } => self.datagram(now, from, bytes),
            Completion::DoorbellRang => self.empty_mailbox(now),
            Completion::HandedOver { token, socket } => {
                if let Named::Visitor(number) = named(token) {
                    let desks = &self.services.desks;
                    (self.visitors).arrived(number, socket, desks, &mut self.reporter, now);
                }
            }
            // A shard connects to nobody.
            Completion::Connected { .. } | Completion::ConnectFailed { .. } => {}
        }
        self.carry_out(now, ops);
    }

    fn accept(&mut self, now: Instant, file: File, peer: SocketAddr, listener: u16, ops: &mut Ops) {
        self.accepted += 1;
        // Keyed with fresh process-wide secrets, so nobody can predict it.
        let random = self.random.hash_one(self.accepted);
        let Some(key) = self.engine.accept(now, peer, random) else {
            return ops.abort(file);
        };
        let port = self.sockets.port(listener);
        let tls = self.tls.as_ref();
        let tls = tls.filter(|_| port.is_some_and(|port| port.kind == Kind::Https));
        let veil = tls.map(|tls| self.veils.add(file, peer, key, Arc::clone(tls)));
        if let Some(Err(error)) = &veil {
            self.reporter.tls_failed(peer, error, now);
            self.engine.hung_up(key, 0);
        }
        let veil = veil.and_then(Result::ok);
        let connection = Connection {
            file,
            listener,
            veil,
            source: None,
        };
        self.sockets.add(key, connection);
        ops.receive(file, veil.map_or(token(key), token_of_veil));
    }

    /// Does what the engine asks for, at once: the index of a removed viewer may be given to the next connection.
    fn carry_out(&mut self, now: Instant, ops: &mut Ops) {
        let Self {
            engine,
            sockets,
            veils,
            visitors,
            services,
            ..
        } = self;
        for action in engine.actions() {
            match action {
                Action::AwaitWritable(key) => match sockets.get(key) {
                    None => {}
                    Some(Connection {
                        veil: Some(veil), ..
                    }) => veils.await_writable(veil, ops),
                    Some(connection) => ops.poll_writable(connection.file, token(key)),
                },
                Action::Datagrams(key) => sockets.ask_source(key, ops),
                Action::Close(key) => match sockets.remove(key) {
                    None => {}
                    Some(Connection {
                        veil: Some(veil), ..
                    }) => veils.close(now, veil),
                    Some(connection) => ops.close(connection.file),
                },
                Action::Abort(key) => match sockets.remove(key) {
                    None => {}
                    Some(Connection {
                        veil: Some(veil), ..
                    }) => veils.abort(veil, ops),
                    Some(connection) => ops.abort(connection.file),
                },
                Action::HandOver(key, hand_over) => match sockets.remove(key) {
                    None => {}
                    Some(Connection {
                        veil: Some(veil), ..
                    }) => veils.hand_over(now, veil, hand_over),
                    Some(connection) => visitors.lead_out(connection.file, hand_over, None, ops),
                },
                Action::Forward {
                    shard,
                    connection,
                    order,
                } => {
                    let mailbox = services.mailboxes.get(usize::from(shard));
                    // One that finds no room is lost, as a player's word on the network might be.
                    let _ = mailbox.map(|mailbox| mailbox.put(Letter::Order { connection, order }));
                }
            }
        }
        veils.settle_touched(now, engine, ops);
        while let Some((file, hand_over, tls)) = veils.next_guest() {
            visitors.lead_out(file, hand_over, Some(tls), ops);
        }
    }

    /// Whether nobody is left whom anything is owed.
    fn is_empty(&self) -> bool {
        self.engine.is_empty() && self.veils.is_empty() && self.visitors.is_empty()
    }

    /// Says what was dropped unread, by the kernel or for want of room in the mailbox.
    fn report_drops(&mut self) {
        let mailbox = self.services.mailboxes.get(self.shard);
        let unread = self.sockets.dropped() + mailbox.map_or(0, Mailbox::lost);
        self.reporter.unheard(unread);
    }

    /// A resend request: this shard's, or another's.
    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if let Some(shard) = self.engine.datagram(now, from, bytes)
            && let Some(mailbox) = self.services.mailboxes.get(usize::from(shard))
        {
            mailbox.put_datagram(from, bytes);
        }
    }

    fn empty_mailbox(&mut self, now: Instant) {
        while let Some(letter) = self
            .services
            .mailboxes
            .get(self.shard)
            .and_then(Mailbox::take)
        {
            // A client id names its shard, so this is the right one.
            match letter {
                Letter::Datagram { from, bytes } => drop(self.engine.datagram(now, from, &bytes)),
                Letter::Order { connection, order } => self.engine.order(now, connection, order),
                Letter::Certificate(tls) => self.tls = Some(tls),
            }
        }
    }
}

/// A channel's changes wake the shard; its packets do not: viewers are visited at their own times.
fn wake_on_change(channel: &Channel, doorbell: Doorbell) {
    channel.on_change(Box::new(move || doorbell.ring()));
}

const RUN: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

/// Sends submitted with one entry into the kernel. From 16 on a send costs the same, and the engine's part up to this
/// (benches `ring`, `engine_turn`); at 5 µs each these are one tick of the engine's timers.
const SENDS_PER_TURN: u32 = 1024;
/// Direct descriptors beside those of viewers: connections on their way out, and UDP sockets.
const FILES_SPARE: u32 = 256;
/// How often the kernel is asked what it dropped.
const LOOK_AT_DROPS_EVERY: Duration = Duration::from_secs(10);
/// Requests of players are small (the largest is 1,536 bytes); the ring hands a buffer back at once.
const RECEIVE_BUFFERS: u16 = 512;
const RECEIVE_BUFFER_BYTES: u32 = 2048;
/// Ciphertext of a turn, if there is TLS: a full turn of trains of 8 KiB, or 31 visits of a fast start; who finds no room comes in the
/// next. Pages nobody has touched cost nothing.
const CIPHER_BYTES: usize = 8 << 20;
/// Bytes sent to one viewer per visit, so that one fast start does not hold up a turn.
const VISIT_BYTES_MAX: u64 = 256 << 10;
/// Heads (16 bytes a packet: a full turn with trains of 20 takes a third) and messages of a turn; who finds no room comes
/// first in the next.
const ARENA_BYTES: usize = 1 << 20;
