//! One pinned thread: a ring and an engine, and the loop that carries results one way and sends the other.
//!
//! A shard owns its listeners, connections and timers. It is told to drain or to stop through two flags and its doorbell;
//! everything else it learns from its ring, its clock and the channels' versions.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use funnel_channel::Channel;
use funnel_control::directory::Directory;
use funnel_engine::{Action, Admission, Engine, EngineConfig, Found, Key, Outgoing, UdpLimits};
use funnel_session::server::Settings;
use funnel_uring::net;
use funnel_uring::{Batch, Completion, Doorbell, File, Ops, Ring, RingConfig, RingError, Target};

pub use funnel_engine::{Served, Tuning};

use crate::listen::Listener;
use crate::mailbox::Mailbox;
use crate::multicast::{Seat, ShardGroups};
use crate::report::Reporter;

/// What all shards share: values that never change, and the admission's counters.
pub struct Services {
    /// The channels by name.
    pub directory: Directory<Served>,
    /// What all sessions have in common.
    pub settings: Arc<Settings>,
    /// The server's ceilings.
    pub admission: Arc<Admission>,
    /// Filtered logs per channel and shard.
    pub selections_max: usize,
    /// Connections per shard.
    pub viewers_per_shard_max: u32,
    /// One per shard, for resend requests that came to another one.
    pub mailboxes: Vec<Mailbox>,
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
    order: Arc<AtomicU8>,
}

/// The engine and what ties its keys to sockets. Apart from the ring, so that both can be used at a time.
struct Connections {
    engine: Engine,
    sockets: Sockets,
    /// Which of the services' mailboxes is its own.
    shard: usize,
    services: Arc<Services>,
    reporter: Reporter,
    random: RandomState,
    accepted: u64,
    look_at_drops: Instant,
}

/// The ring's files behind the engine's keys.
#[derive(Debug, Default)]
struct Sockets {
    /// Socket of each viewer, by the engine's index.
    viewers: Vec<Option<Connection>>,
    /// By the number of their listener.
    ports: Vec<Port>,
    /// Their UDP sockets as ordinary descriptors, which can be asked what the kernel dropped.
    askable: Vec<socket2::Socket>,
}

/// What stands beside a listener.
#[derive(Clone, Copy, Debug)]
struct Port {
    /// Its UDP socket.
    datagrams: Option<File>,
    /// It listens on all addresses of the machine, so its datagrams have to be told which of them to leave from.
    is_everywhere: bool,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    file: File,
    /// Which listener accepted it: its datagrams leave from there.
    listener: u16,
    /// Which address they leave from; `None`: the listener's only one, or not known.
    source: Option<IpAddr>,
}

impl Sockets {
    /// Accepts on the listeners, each named by its place in the list, and receives on their UDP sockets.
    fn open(listeners: Vec<Listener>, ring: &mut Ring) -> std::io::Result<Self> {
        let mut sockets = Self::default();
        for (number, listener) in listeners.into_iter().enumerate() {
            if let Some(socket) = &listener.datagrams {
                sockets.askable.push(socket.try_clone()?);
            }
            let address = listener.connections.local_addr()?.as_socket();
            ring.listen(listener.connections, number as u64, ACCEPTS_ARMED);
            let datagrams = listener
                .datagrams
                .map(|socket| ring.open_datagrams(socket))
                .transpose()?;
            if let Some(file) = datagrams {
                ring.ops().receive_datagrams(file, OF_DATAGRAMS);
            }
            sockets.ports.push(Port {
                datagrams,
                is_everywhere: address.is_some_and(|address| address.ip().is_unspecified()),
            });
        }
        Ok(sockets)
    }

    /// Datagrams the kernel dropped: garbage, and what a flood was too much of.
    fn dropped(&self) -> u64 {
        let counts = self.askable.iter().map(net::datagrams_dropped);
        counts.flatten().sum()
    }

    /// Lends a send of the engine's to the ring.
    fn send<'d>(&self, batch: &mut Batch<'_, 'd>, send: &Outgoing<'_, 'd>) {
        let index = send.key.index as usize;
        let Some(connection) = self.viewers.get(index).copied().flatten() else {
            return;
        };
        let (token, pieces) = (token(send.key), send.pieces.iter().copied());
        match send.datagrams {
            None => batch.send(connection.file, token, pieces),
            Some(how) => {
                let port = self.ports.get(usize::from(connection.listener));
                if let Some(file) = port.and_then(|port| port.datagrams) {
                    let target = Target {
                        to: how.to,
                        source: connection.source,
                        segment_bytes: how.segment_bytes,
                    };
                    batch.send_to(file, token, target, pieces);
                }
            }
        }
    }

    /// Asks which address a viewer called, if its datagrams might otherwise leave from another one. The answer comes with the next
    /// drain; only of a player who asks for the header before it was told that UDP is granted, a datagram may leave before that.
    fn ask_source(&self, key: Key, connection: Connection, ops: &mut Ops) {
        let port = self.ports.get(usize::from(connection.listener));
        if connection.source.is_none() && port.is_some_and(|port| port.is_everywhere) {
            ops.ask_local_address(connection.file, token(key));
        }
    }

    fn set_source(&mut self, key: Key, address: Option<SocketAddr>) {
        if let Some(Some(connection)) = self.viewers.get_mut(key.index as usize) {
            connection.source = address.map(|address| address.ip());
        }
    }
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
        for (_, served) in services.directory.iter() {
            wake_on_change(&served.channel, ring.doorbell());
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
            lookup: Box::new(move |name| {
                let found = directory.directory.find(name)?;
                Some(Found::Channel(found.value.clone()))
            }),
        };
        let connections = Connections {
            engine: Engine::new(config, Instant::now()),
            sockets,
            shard: plan.index,
            services,
            reporter: Reporter::new(plan.index),
            random: RandomState::new(),
            accepted: 0,
            look_at_drops: Instant::now(),
        };
        Ok(Self {
            index: plan.index,
            ring,
            connections,
            groups,
            arena: vec![0; ARENA_BYTES].into(),
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
            if draining && self.connections.engine.is_empty() {
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
            reporter,
            ..
        } = &mut self.connections;
        let ShardGroups {
            groups,
            sockets: group_sockets,
        } = &mut self.groups;
        let (guards, sends, wake) = engine.begin(now);
        let (group_guards, group_sends, group_wake) = groups.begin(now);
        let wake = [wake, group_wake].into_iter().flatten().min();
        self.ring.turn(wake, now, |batch| {
            group_sends.fill(&group_guards, |send| group_sockets.send(batch, &send));
            sends.fill(&guards, &mut self.arena, |send| sockets.send(batch, &send));
        });
        let spare = guards.release();
        engine.end(spare);
        let spare = group_guards.release();
        groups.end(spare);
        carry_out(engine, sockets, self.ring.ops());
        let now = Instant::now();
        reporter.write(engine.reports(), now);
        self.groups.tell();
        let (connections, groups) = (&mut self.connections, &mut self.groups);
        if now >= connections.look_at_drops {
            connections.look_at_drops = now + LOOK_AT_DROPS_EVERY;
            connections.report_drops();
        }
        self.ring.drain(|completion, ops| {
            if !groups.take(&completion) {
                connections.take(now, completion, ops);
            }
        });
    }
}

impl Connections {
    fn take(&mut self, now: Instant, completion: Completion<'_>, ops: &mut Ops) {
        match completion {
            Completion::Accepted {
                file,
                peer,
                listener,
            } => {
                self.accepted += 1;
                // Keyed with fresh process-wide secrets, so nobody can predict it.
                let random = self.random.hash_one(self.accepted);
                match self.engine.accept(now, peer, random) {
                    None => ops.abort(file),
                    Some(key) => {
                        let index = key.index as usize;
                        if self.sockets.viewers.len() <= index {
                            self.sockets.viewers.resize(index + 1, None);
                        }
                        // The number of a listener in its list, as given to `listen`.
                        let listener = listener as u16;
                        self.sockets.viewers[index] = Some(Connection {
                            file,
                            listener,
                            source: None,
                        });
                        ops.receive(file, token(key));
                    }
                }
            }
            Completion::AcceptFailed { errno, .. } => self.reporter.accept_failed(errno, now),
            Completion::Received { token, bytes } => self.engine.received(now, key(token), bytes),
            Completion::ReceiveEnded { token, result } if token == OF_DATAGRAMS => {
                self.reporter.deaf(result);
            }
            Completion::ReceiveEnded { token, result } => self.engine.hung_up(key(token), result),
            Completion::Writable { token } => self.engine.writable(now, key(token)),
            Completion::Sent { token, result } => self.engine.sent(now, key(token), result),
            Completion::LocalAddress { token, address } => {
                self.sockets.set_source(key(token), address)
            }
            Completion::Datagram { from, bytes, .. } => self.datagram(now, from, bytes),
            Completion::DoorbellRang => self.empty_mailbox(now),
            // A shard connects to nobody.
            Completion::Connected { .. }
            | Completion::ConnectFailed { .. }
            | Completion::HandedOver { .. } => {}
        }
        carry_out(&mut self.engine, &mut self.sockets, ops);
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
            mailbox.put(from, bytes);
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
            self.engine.datagram(now, letter.from, &letter.bytes);
        }
    }
}

/// Does what the engine asks for, at once: the index of a removed viewer may be given to the next connection.
fn carry_out(engine: &mut Engine, sockets: &mut Sockets, ops: &mut Ops) {
    for action in engine.actions() {
        let (Action::AwaitWritable(key)
        | Action::Datagrams(key)
        | Action::Close(key)
        | Action::Abort(key)) = action
        else {
            continue;
        };
        let index = key.index as usize;
        let Some(connection) = sockets.viewers.get(index).copied().flatten() else {
            continue;
        };
        match action {
            Action::AwaitWritable(key) => ops.poll_writable(connection.file, token(key)),
            Action::Datagrams(key) => sockets.ask_source(key, connection, ops),
            Action::Close(_) => {
                ops.close(connection.file);
                sockets.viewers[index] = None;
            }
            Action::Abort(_) => {
                ops.abort(connection.file);
                sockets.viewers[index] = None;
            }
            Action::HandOver(..) | Action::Forward { .. } => {}
        }
    }
}

/// A channel's changes wake the shard; its packets do not: viewers are visited at their own times.
fn wake_on_change(channel: &Channel, doorbell: Doorbell) {
    channel.on_change(Box::new(move || doorbell.ring()));
}

/// The ring's name for a viewer's connection. The highest bit is clear ([`Key::GENERATION_MAX`]).
fn token(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

fn key(token: u64) -> Key {
    // The two halves of what `token` put together.
    Key {
        index: token as u32,
        generation: (token >> 32) as u32,
    }
}

/// The ring's name for every UDP socket beside a listener. Sends from there have their viewer's name.
const OF_DATAGRAMS: u64 = u64::MAX;

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
/// Accepts armed per listener.
const ACCEPTS_ARMED: u16 = 64;
/// Requests of players are small (the largest is 1,536 bytes); the ring hands a buffer back at once.
const RECEIVE_BUFFERS: u16 = 512;
const RECEIVE_BUFFER_BYTES: u32 = 2048;
/// Bytes sent to one viewer per visit, so that one fast start does not hold up a turn.
const VISIT_BYTES_MAX: u64 = 256 << 10;
/// Heads (16 bytes a packet: a full turn with trains of 20 takes a third) and messages of a turn; who finds no room comes
/// first in the next.
const ARENA_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_viewer_has_the_name_of_a_udp_socket() {
        for index in [0, u32::MAX] {
            for generation in [0, Key::GENERATION_MAX] {
                let viewer = Key { index, generation };
                assert_eq!(key(token(viewer)), viewer);
                assert_ne!(token(viewer), OF_DATAGRAMS);
            }
        }
    }
}
