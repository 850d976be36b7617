//! The source of a probe channel: marked packets, each published when it is due.
//!
//! A packet's due time follows from its number and the moment the run began. A server that was stopped or starved publishes every
//! overdue packet afterwards with the time at which it should have been published: a stop shows as delay, never as missing packets.
//! Nothing is allocated per packet.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use funnel_asf::{Header, HeaderError, PacketError, Probe};
use funnel_channel::{Air, Demand};
use tokio::time::sleep_until;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    feed::{Feed, FeedError},
    wants::Wants,
};

/// What takes a probe channel off the air; it is tried again later.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("its header is damaged: {0}")]
    Header(#[from] HeaderError),
    #[error("its packets are damaged: {0}")]
    Packet(#[from] PacketError),
}

/// Broadcasts until dropped.
pub(crate) async fn run(probe: Probe, file_id: [u8; 16], mut feed: Feed, mut wants: Wants) {
    let mut backoff = Backoff::new();
    loop {
        let began = Instant::now();
        let Err(fault) = broadcast(&probe, file_id, &mut feed, &mut wants).await;
        let wait = backoff.after(began.elapsed());
        warn!(channel = feed.channel().name(), %fault, retry_in = ?wait, "the probe channel is off the air");
        feed.channel().set_air(Air::Waiting);
        tokio::time::sleep(wait).await;
    }
}

/// One run after the other: for good, or one for each audience. Every run counts from 0 in an epoch of its own.
async fn broadcast(
    probe: &Probe,
    file_id: [u8; 16],
    feed: &mut Feed,
    wants: &mut Wants,
) -> Result<std::convert::Infallible, Fault> {
    let header = Header::parse(&probe.header(file_id))?;
    if feed.has_begun() {
        feed.renew()?;
    } else {
        feed.begin(header, probe.packet_bytes(), &[], Instant::now())?;
    }
    info!(
        channel = feed.channel().name(),
        bits_per_second = probe.bits_per_second(),
        packet_bytes = probe.packet_bytes(),
        "the probe channel is ready: it exists to be load tested"
    );
    let mut heard = wants.before_first_run();
    loop {
        wants.go_on_air(heard).await;
        let left: Demand = tokio::select! {
            never = publish(probe, feed) => match never? {},
            seen = wants.idle(), if wants.on_demand() => seen,
        };
        heard = left;
        feed.renew()?;
    }
}

/// Packet after packet at its due time, from 0.
async fn publish(probe: &Probe, feed: &mut Feed) -> Result<std::convert::Infallible, PacketError> {
    let start = Instant::now();
    let mut clock = UnixClock::new(start);
    let mut packet = Vec::with_capacity(probe.packet_bytes() as usize);
    let mut seq = 0;
    loop {
        let now = Instant::now();
        clock.follow(now);
        let due = probe.packets_until(now.saturating_duration_since(start));
        for seq in seq..due.min(seq + TURN_PACKETS_MAX) {
            probe.packet(seq, clock.unix_ns(probe.due(seq)), &mut packet);
            if let Some(prepared) = feed.prepare(&packet)? {
                prepared.publish(Instant::now());
            }
        }
        if due > seq + TURN_PACKETS_MAX {
            // Far behind: the other channels' turns come first.
            seq += TURN_PACKETS_MAX;
            tokio::task::yield_now().await;
        } else {
            seq = due;
            sleep_until((start + probe.due(seq)).into()).await;
        }
    }
}

/// The Unix time of moments since the start.
#[derive(Debug)]
struct UnixClock {
    start: Instant,
    start_unix_ns: u64,
}

impl UnixClock {
    fn new(start: Instant) -> Self {
        let mut clock = Self {
            start,
            start_unix_ns: 0,
        };
        clock.follow(Instant::now());
        clock
    }

    /// Takes over when the system's clock was set. Smaller differences are the time between reading one clock and the other: following
    /// them would make due times uneven.
    fn follow(&mut self, now: Instant) {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start_unix = unix.saturating_sub(now.saturating_duration_since(self.start));
        let start_unix_ns = u64::try_from(start_unix.as_nanos()).unwrap_or(u64::MAX);
        if self.start_unix_ns.abs_diff(start_unix_ns) > CLOCK_SET_NS_MIN {
            self.start_unix_ns = start_unix_ns;
        }
    }

    /// ns since 1970 at `after` the start.
    fn unix_ns(&self, after: Duration) -> u64 {
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.start_unix_ns.saturating_add(after_ns)
    }
}

/// Published in one go before other tasks have their turn.
const TURN_PACKETS_MAX: u64 = 1024;
/// A thread that is interrupted between two clocks loses less; who sets a clock moves it further.
const CLOCK_SET_NS_MIN: u64 = 50_000_000;
