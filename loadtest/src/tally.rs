//! What is measured: distributions and counts of one worker, and how several become one.
//!
//! All distributions are in microseconds and count from when something *should* have happened, not from when this program came
//! to it (no coordinated omission): connecting and the first packet from the viewer's scheduled arrival, delay from the time a
//! packet was due at its source, as its mark says.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A distribution in microseconds, 1 µs to 1 h, three digits; above saturates.
pub type Distribution = Histogram<u64>;

/// An empty distribution.
pub fn distribution() -> Distribution {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .expect("the bounds are in order, three digits exist")
}

/// Everything measured, mergeable.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Scheduled arrival to connected.
    pub connect: Distribution,
    /// Scheduled arrival to the first media packet.
    pub first_packet: Distribution,
    /// Due at the source to received, packets that were due after their viewer began to play. Empty without marks. Packets due in the steady time only.
    pub delay: Distribution,
    /// The same for packets that were due before the steady time: while viewers still arrived.
    pub delay_ramp: Distribution,
    /// Between two arrivals of media at one viewer, steady time.
    pub gap: Distribution,
    /// Playback model: scheduled arrival to the start of playback.
    pub start: Distribution,
    /// Playback model: length of each stall.
    pub stall: Distribution,
    /// For each viewer who played 2 s or longer of the steady time: media received ÷ the channel's rate, in parts per thousand (not µs).
    pub rate_permille: Distribution,
    /// For each viewer who was sent datagrams and heard some: packets lost for good ÷ all of them, in parts per million (not µs).
    pub loss_ppm: Distribution,
    /// What is counted.
    pub counts: Counts,
    /// What is counted where media comes as datagrams.
    pub datagrams: Datagrams,
}

/// What became of datagrams, summed over viewers; all zero where there are none. A packet that was repaired is in its place
/// for the viewer: these are the network's faults, those in [`Counts`] what was left of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Datagrams {
    /// Datagrams that came, of any kind, those dropped on purpose left out.
    pub received: u64,
    /// Datagrams that were dropped on purpose (`--drop`).
    pub dropped: u64,
    /// Media packets that came as datagrams, each once.
    pub packets: u64,
    /// Media packets that came again, or too late.
    pub duplicate: u64,
    /// Media packets that were overtaken.
    pub reordered: u64,
    /// Gaps noticed, however long (MMS).
    pub gaps: u64,
    /// Packets asked for again, however often (MMS).
    pub requested: u64,
    /// Packets that came when they were asked for again, or were restored from others (multicast).
    pub recovered: u64,
    /// Packets that never came.
    pub lost: u64,
}

impl Datagrams {
    /// Recovered packets ÷ those that needed it; `None` if none did.
    pub fn recovered_share(&self) -> Option<f64> {
        let missed = self.recovered + self.lost;
        (missed > 0).then(|| self.recovered as f64 / missed as f64)
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Datagrams) {
        let Datagrams {
            received,
            dropped,
            packets,
            duplicate,
            reordered,
            gaps,
            requested,
            recovered,
            lost,
        } = *other;
        self.received += received;
        self.dropped += dropped;
        self.packets += packets;
        self.duplicate += duplicate;
        self.reordered += reordered;
        self.gaps += gaps;
        self.requested += requested;
        self.recovered += recovered;
        self.lost += lost;
    }
}

/// Counts, summed over viewers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Counts {
    /// Viewers who were to come, those who misbehave on purpose included.
    pub planned: u64,
    /// Viewers whose time came.
    pub arrived: u64,
    /// Of these, connected.
    pub connected: u64,
    /// Of these, got media.
    pub played: u64,
    /// Well-behaved viewers who got media and stayed as long as they wanted (or still played at the end).
    pub succeeded: u64,
    /// Viewers that misbehaved on purpose.
    pub misbehaved: u64,
    /// Well-behaved viewers that failed, by how.
    pub failed: Failed,
    /// Media packets received (0 for streams that are not ASF).
    pub packets: u64,
    /// Bytes received, protocol included.
    pub bytes: u64,
    /// Packets received that carried a mark.
    pub marked: u64,
    /// Of these, whose checksum was computed.
    pub verified: u64,
    /// Viewers of the verified sample.
    pub verified_viewers: u64,
    /// Packets that were due before their viewer began to play: fast start. Not in `delay`.
    pub backlog: u64,
    /// Packets due at the source, or numbered by the server, that a viewer did not get.
    pub missing: u64,
    /// Packets a viewer got more than once.
    pub duplicate: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets with a mark that is not what it was (verified sample), or with no mark on a marked channel (all).
    pub corrupt: u64,
    /// Packets overdue by more than a second when their viewer ended; their age is in `delay` as if they had come then.
    pub overdue: u64,
    /// Playback model: stalls, and viewers that had one.
    pub stalls: u64,
    /// See `stalls`.
    pub stalled_viewers: u64,
    /// Playback model: stalled time, ms.
    pub stalled_ms: u64,
}

/// Well-behaved viewers that failed, by how. Each viewer counts once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Failed {
    /// No connection (refused, unreachable, no port).
    pub connect: u64,
    /// The server said no.
    pub refused: u64,
    /// The server did not answer, or fell silent.
    pub timed_out: u64,
    /// Connected and answered, but no media until the end.
    pub no_media: u64,
    /// The server ended the connection or the stream before its viewer wanted to leave.
    pub closed_early: u64,
    /// The server broke the protocol.
    pub protocol: u64,
}

impl Failed {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.connect
            + self.refused
            + self.timed_out
            + self.no_media
            + self.closed_early
            + self.protocol
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            connect: distribution(),
            first_packet: distribution(),
            delay: distribution(),
            delay_ramp: distribution(),
            gap: distribution(),
            start: distribution(),
            stall: distribution(),
            rate_permille: distribution(),
            loss_ppm: distribution(),
            counts: Counts::default(),
            datagrams: Datagrams::default(),
        }
    }
}

impl Tally {
    /// Adds what another worker measured.
    pub fn merge(&mut self, other: &Tally) {
        let pairs = [
            (&mut self.connect, &other.connect),
            (&mut self.first_packet, &other.first_packet),
            (&mut self.delay, &other.delay),
            (&mut self.delay_ramp, &other.delay_ramp),
            (&mut self.gap, &other.gap),
            (&mut self.start, &other.start),
            (&mut self.stall, &other.stall),
            (&mut self.rate_permille, &other.rate_permille),
            (&mut self.loss_ppm, &other.loss_ppm),
        ];
        for (mine, theirs) in pairs {
            mine.add(theirs)
                .expect("all distributions have the same bounds");
        }
        self.counts.merge(&other.counts);
        self.datagrams.merge(&other.datagrams);
    }
}

impl Counts {
    fn merge(&mut self, other: &Counts) {
        // By name, so that a new field is not forgotten: the compiler asks for it here.
        let Counts {
            planned,
            arrived,
            connected,
            played,
            succeeded,
            misbehaved,
            failed,
            packets,
            bytes,
            marked,
            verified,
            verified_viewers,
            backlog,
            missing,
            duplicate,
            reordered,
            corrupt,
            overdue,
            stalls,
            stalled_viewers,
            stalled_ms,
        } = *other;
        self.planned += planned;
        self.arrived += arrived;
        self.connected += connected;
        self.played += played;
        self.succeeded += succeeded;
        self.misbehaved += misbehaved;
        self.failed.merge(&failed);
        self.packets += packets;
        self.bytes += bytes;
        self.marked += marked;
        self.verified += verified;
        self.verified_viewers += verified_viewers;
        self.backlog += backlog;
        self.missing += missing;
        self.duplicate += duplicate;
        self.reordered += reordered;
        self.corrupt += corrupt;
        self.overdue += overdue;
        self.stalls += stalls;
        self.stalled_viewers += stalled_viewers;
        self.stalled_ms += stalled_ms;
    }
}

impl Failed {
    fn merge(&mut self, other: &Failed) {
        let Failed {
            connect,
            refused,
            timed_out,
            no_media,
            closed_early,
            protocol,
        } = *other;
        self.connect += connect;
        self.refused += refused;
        self.timed_out += timed_out;
        self.no_media += no_media;
        self.closed_early += closed_early;
        self.protocol += protocol;
    }
}

/// What one worker saw in one second.
#[derive(Clone, Debug)]
pub struct Second {
    /// Counted from 1. A worker that had no time tells several at once.
    pub number: u64,
    /// Its end, after the start of the run.
    pub at: Duration,
    /// How long it was: a worker that had no time makes it longer.
    pub length: Duration,
    /// Connections at its end.
    pub up: u64,
    /// Of these, well-behaved and with media.
    pub playing: u64,
    /// Of these, without media to play in the playback model.
    pub stalled: u64,
    /// Received in it.
    pub bytes: u64,
    /// Failed so far.
    pub failed: u64,
    /// Missing, duplicate, reordered and corrupt packets so far.
    pub bad_packets: u64,
    /// Stalls that began in it.
    pub stalls: u64,
    /// Delays in it.
    pub delay: Distribution,
}
