//! The channels as this shard sees them: a copy of each one's state, renewed when its version changes.

use std::sync::Arc;
use std::time::Duration;

use funnel_channel::{Air, Channel, Snapshot, Start};
use funnel_session::HResult;
use funnel_session::server::Opened;

/// A channel and how its viewers are served.
#[derive(Clone, Debug)]
pub struct Served {
    /// What is on air.
    pub channel: Arc<Channel>,
    /// How it is served.
    pub tuning: Tuning,
}

/// How a channel's viewers are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tuning {
    /// Time between two visits to a viewer: the length of a train.
    pub train: Duration,
    /// How much of what has been a new viewer gets at once.
    pub fast_start: Duration,
    /// How long a viewer may take nothing before it is closed.
    pub lag_disconnect: Duration,
    /// How long a request for a channel waits for its header.
    pub open_wait: Duration,
    /// How long the filtered logs of stream selections keep packets.
    pub retain: Duration,
    /// Ceiling of each filtered log.
    pub log_bytes_max: u64,
    /// Packets a viewer over UDP gets at once at most; the next follow 5 ms later.
    pub udp_burst_packets: u16,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            train: Duration::from_millis(200),
            fast_start: Duration::from_secs(5),
            lag_disconnect: Duration::from_secs(15),
            open_wait: Duration::from_secs(5),
            retain: Duration::from_secs(30),
            log_bytes_max: 64 << 20,
            udp_burst_packets: 16,
        }
    }
}

/// A channel somebody on this shard has asked for.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) served: Served,
    version: u64,
    pub(crate) snapshot: Snapshot,
    /// Viewers here that have it open or wait for it.
    pub(crate) members: u32,
    /// It was reported that its packets do not fit a datagram.
    pub(crate) told_of_fragments: bool,
}

/// What to answer to a viewer who asks for a channel.
pub(crate) enum Answer {
    Open(Opened),
    Wait,
    Refuse(HResult),
}

impl Station {
    pub(crate) fn new(served: Served) -> Self {
        let version = served.channel.version();
        let snapshot = served.channel.snapshot();
        Self {
            served,
            version,
            snapshot,
            members: 0,
            told_of_fragments: false,
        }
    }

    /// Looks at the channel; whether something changed since the last time.
    pub(crate) fn look(&mut self) -> bool {
        let version = self.served.channel.version();
        if version == self.version {
            return false;
        }
        // The version first: a change in between shows as another version next time.
        self.version = version;
        self.snapshot = self.served.channel.snapshot();
        true
    }

    pub(crate) fn answer(&self) -> Answer {
        let rewinds = self.served.channel.options().start == Start::FirstViewer;
        match (self.snapshot.air, self.opened()) {
            (Air::Ready | Air::OnAir | Air::Gap, Some(opened)) => Answer::Open(opened),
            (Air::Lost, _) => Answer::Refuse(HResult::NS_E_PUBLISHING_POINT_STOPPED),
            (Air::Ended, _) if !rewinds => Answer::Refuse(HResult::NS_E_PUBLISHING_POINT_STOPPED),
            _ => Answer::Wait,
        }
    }

    /// The channel as a session wants to know it.
    pub(crate) fn opened(&self) -> Option<Opened> {
        let epoch = self.snapshot.epoch.as_ref()?;
        Some(Opened {
            header: Arc::clone(&epoch.header),
            packet_bytes: epoch.packet_bytes,
            bit_rate: epoch.bit_rate,
            streams: epoch.streams,
        })
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.snapshot.air == Air::Lost
    }
}
