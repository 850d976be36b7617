//! The channel object: a name, what is on air under it now, and who wants it.
//!
//! Ingest writes (announces epochs, sets the air state), shards read (snapshots, demand), control looks on. Nothing here is on the path of
//! a packet: a shard compares [`Channel::version`] once a turn, one load, and takes a lock only when something changed. A channel outlives
//! every source and every log; old epochs live as long as a viewer holds one.
//!
//! Wakers are called with a lock held on the list of wakers: they ring a bell and return, and never register another.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::{
    log::{Log, LogConfig, LogError, log},
    publisher::Publisher,
};

/// When a channel's source runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// From the beginning, whether anybody watches or not.
    #[default]
    Always,
    /// Its clock starts with the first viewer who plays.
    FirstViewer,
}

/// How a channel behaves.
#[derive(Clone, Copy, Debug)]
pub struct ChannelOptions {
    /// When the source runs.
    pub start: Start,
    /// Readers each of its logs can have: one for each shard, and a few for filters and recorders.
    pub readers_max: usize,
}

/// What viewers can expect of a channel now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Air {
    /// No header is known yet.
    #[default]
    Waiting,
    /// The header is known, the clock has not started.
    Ready,
    /// Packets are coming.
    OnAir,
    /// The source is away but may return within its grace.
    Gap,
    /// The source came to its end.
    Ended,
    /// The source is away for longer than its grace.
    Lost,
}

/// What [`Channel::announce`] needs to begin an epoch.
#[derive(Clone, Debug)]
pub struct EpochSpec {
    /// The header as viewers get it.
    pub header: Arc<[u8]>,
    /// Size of a data packet; the log's `packet_bytes` is set to it.
    pub packet_bytes: u32,
    /// Sum over the streams, in bit/s.
    pub bit_rate: u32,
    /// Bit n stands for stream n.
    pub streams: u128,
    /// The log to make; `packet_bytes` and `readers_max` are filled in.
    pub log: LogConfig,
}

/// A stretch of a channel with one header and one log.
#[derive(Debug)]
pub struct Epoch {
    /// 1 for the channel's first epoch.
    pub number: u64,
    /// The header as viewers get it.
    pub header: Arc<[u8]>,
    /// Size of a data packet.
    pub packet_bytes: u32,
    /// Sum over the streams, in bit/s.
    pub bit_rate: u32,
    /// Bit n stands for stream n.
    pub streams: u128,
    /// The packets.
    pub log: Arc<Log>,
}

/// A channel's state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What viewers can expect.
    pub air: Air,
    /// The latest epoch, once a header was known.
    pub epoch: Option<Arc<Epoch>>,
}

/// What viewers have asked of a channel. The totals only grow, so that ingest can tell what is new.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Times a header was asked for.
    pub opens: u64,
    /// Times a viewer began to play.
    pub plays: u64,
    /// Viewers playing now.
    pub viewers: u32,
}

/// A name, its state, its viewers' demand. Shared by ingest, shards and control.
pub struct Channel {
    name: String,
    options: ChannelOptions,
    version: AtomicU64,
    state: Mutex<Snapshot>,
    opens: AtomicU64,
    plays: AtomicU64,
    viewers: AtomicU32,
    change_wakers: Mutex<Vec<Waker>>,
    demand_wakers: Mutex<Vec<Waker>>,
}

type Waker = Box<dyn Fn() + Send + Sync>;

impl Channel {
    /// A channel that waits for its source.
    pub fn new(name: impl Into<String>, options: ChannelOptions) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            options,
            version: AtomicU64::new(0),
            state: Mutex::default(),
            opens: AtomicU64::new(0),
            plays: AtomicU64::new(0),
            viewers: AtomicU32::new(0),
            change_wakers: Mutex::default(),
            demand_wakers: Mutex::default(),
        })
    }

    /// The name viewers ask for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was made with.
    pub fn options(&self) -> &ChannelOptions {
        &self.options
    }

    /// Begins an epoch: a new header with a new log, number one up. The air state stays; set it when packets come.
    ///
    /// # Errors
    /// When the log cannot be made; the channel then stays as it is.
    pub fn announce(&self, spec: EpochSpec) -> Result<Publisher, LogError> {
        let EpochSpec {
            header,
            packet_bytes,
            bit_rate,
            streams,
            log: config,
        } = spec;
        let (publisher, log) = log(LogConfig {
            packet_bytes,
            readers_max: self.options.readers_max,
            ..config
        })?;
        self.change(|state| {
            let number = state.epoch.as_ref().map_or(0, |epoch| epoch.number) + 1;
            state.epoch = Some(Arc::new(Epoch {
                number,
                header,
                packet_bytes,
                bit_rate,
                streams,
                log,
            }));
            true
        });
        Ok(publisher)
    }

    /// Says what viewers can expect from now on. Saying the same twice is no change.
    pub fn set_air(&self, air: Air) {
        self.change(|state| std::mem::replace(&mut state.air, air) != air);
    }

    /// What viewers have asked for so far.
    pub fn demand(&self) -> Demand {
        Demand {
            opens: self.opens.load(Ordering::Acquire),
            plays: self.plays.load(Ordering::Acquire),
            viewers: self.viewers.load(Ordering::Acquire),
        }
    }

    /// Registers a bell for changes of demand: a header asked for while none is on air, the first viewer playing, the last one gone.
    pub fn on_demand(&self, wake: Box<dyn Fn() + Send + Sync>) {
        lock(&self.demand_wakers).push(wake);
    }

    /// A number that changes whenever [`Channel::snapshot`] would tell something new. One acquire load.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Air state and epoch, as they belong together. Takes a lock.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.state).clone()
    }

    /// Notes that somebody needs the header; wakes ingest unless packets are coming anyway.
    pub fn ask_header(&self) {
        self.opens.fetch_add(1, Ordering::AcqRel);
        if lock(&self.state).air != Air::OnAir {
            ring(&self.demand_wakers);
        }
    }

    /// Notes a viewer who begins to play; wakes ingest for the first, and for each while no packets are coming.
    pub fn viewer_started(&self) {
        self.plays.fetch_add(1, Ordering::AcqRel);
        let before = self.viewers.fetch_add(1, Ordering::AcqRel);
        if before == 0 || lock(&self.state).air != Air::OnAir {
            ring(&self.demand_wakers);
        }
    }

    /// Notes that a viewer who had begun to play stopped or left; wakes ingest for the last.
    pub fn viewer_left(&self) {
        let before = self.viewers.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "viewer_left without viewer_started");
        if before == 1 {
            ring(&self.demand_wakers);
        }
    }

    /// Registers a bell for changes of air state or epoch (a shard's doorbell). It stays for the channel's life.
    pub fn on_change(&self, wake: Box<dyn Fn() + Send + Sync>) {
        lock(&self.change_wakers).push(wake);
    }

    fn change(&self, apply: impl FnOnce(&mut Snapshot) -> bool) {
        let mut state = lock(&self.state);
        if !apply(&mut state) {
            return;
        }
        // Within the lock, so that versions follow the order of changes.
        self.version.fetch_add(1, Ordering::AcqRel);
        drop(state);
        ring(&self.change_wakers);
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("name", &self.name)
            .field("state", &self.snapshot())
            .field("demand", &self.demand())
            .finish_non_exhaustive()
    }
}

fn ring(wakers: &Mutex<Vec<Waker>>) {
    for wake in lock(wakers).iter() {
        wake();
    }
}

/// What these locks guard is valid after every statement, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spec(header: &[u8]) -> EpochSpec {
        let log = LogConfig {
            packet_bytes: 0,
            retain: Duration::from_secs(1),
            bytes_max: 1 << 20,
            readers_max: 0,
            first_seq: 0,
        };
        EpochSpec {
            header: header.into(),
            packet_bytes: 100,
            bit_rate: 1000,
            streams: 0b10,
            log,
        }
    }

    fn channel() -> Arc<Channel> {
        Channel::new(
            "demo",
            ChannelOptions {
                start: Start::FirstViewer,
                readers_max: 2,
            },
        )
    }

    fn bell() -> (Arc<AtomicU64>, Waker) {
        let rung = Arc::new(AtomicU64::new(0));
        let bell = Arc::clone(&rung);
        (
            rung,
            Box::new(move || {
                bell.fetch_add(1, Ordering::Relaxed);
            }),
        )
    }

    #[test]
    fn an_announced_epoch_is_seen_with_its_header_and_log() {
        let channel = channel();
        let (rung, waker) = bell();
        channel.on_change(waker);
        let before = channel.version();
        let publisher = channel.announce(spec(b"one")).expect("a workable log");
        assert_ne!(channel.version(), before);
        let first = channel.snapshot().epoch.expect("announced");
        assert_eq!(
            (first.number, &*first.header, first.packet_bytes),
            (1, &b"one"[..], 100)
        );
        assert!(Arc::ptr_eq(&first.log, publisher.log()));
        let readers = [first.log.reader(), first.log.reader(), first.log.reader()];
        assert_eq!(
            readers.iter().flatten().count(),
            2,
            "the channel's readers_max holds"
        );
        drop(publisher);
        assert!(first.log.ended(), "an epoch ends with its publisher");
        channel.announce(spec(b"two")).expect("a workable log");
        assert_eq!(channel.snapshot().epoch.expect("announced").number, 2);
        assert_eq!(rung.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_refused_log_leaves_the_channel_as_it_was() {
        let channel = channel();
        channel
            .announce(EpochSpec {
                packet_bytes: 0,
                ..spec(b"x")
            })
            .expect_err("no packet has no bytes");
        assert_eq!(channel.version(), 0);
        assert!(channel.snapshot().epoch.is_none());
    }

    #[test]
    fn repeating_the_air_state_wakes_nobody() {
        let channel = channel();
        let (rung, waker) = bell();
        channel.on_change(waker);
        for air in [Air::Ready, Air::Ready, Air::OnAir, Air::OnAir, Air::Gap] {
            channel.set_air(air);
        }
        assert_eq!(rung.load(Ordering::Relaxed), 3);
        assert_eq!(channel.version(), 3);
        assert_eq!(channel.snapshot().air, Air::Gap);
    }

    #[test]
    fn demand_wakes_for_headers_first_and_last_viewers_only() {
        let channel = channel();
        let (rung, waker) = bell();
        channel.on_demand(waker);
        channel.ask_header();
        assert_eq!(rung.load(Ordering::Relaxed), 1);
        channel.set_air(Air::OnAir);
        channel.ask_header();
        assert_eq!(
            rung.load(Ordering::Relaxed),
            1,
            "on air nobody has to fetch a header"
        );
        channel.viewer_started();
        channel.viewer_started();
        channel.viewer_left();
        assert_eq!(rung.load(Ordering::Relaxed), 2);
        channel.viewer_left();
        assert_eq!(rung.load(Ordering::Relaxed), 3);
        assert_eq!(
            channel.demand(),
            Demand {
                opens: 2,
                plays: 2,
                viewers: 0
            }
        );
    }
}
