//! What a run is and what came of it, before it is told to anybody.

use std::time::{Duration, SystemTime};

use crate::tally::Tally;

/// One second of a run, as the live view and the plots show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Moment {
    /// Since the start of the run, s.
    pub at_s: f64,
    /// Viewers connected at its end.
    pub up: u64,
    /// Of these, playing: well-behaved and with media.
    pub playing: u64,
    /// Bytes received in it × 8 ÷ its length.
    pub bits_per_s: f64,
    /// Delay in it, ms; `None` without marks or packets.
    pub delay_p50_ms: Option<f64>,
    /// See `delay_p50_ms`.
    pub delay_p99_ms: Option<f64>,
    /// See `delay_p50_ms`.
    pub delay_max_ms: Option<f64>,
    /// Failed viewers so far.
    pub failed: u64,
    /// Missing + duplicate + reordered + corrupt packets so far.
    pub bad_packets: u64,
    /// Viewers stalled in the playback model at its end.
    pub stalled: u64,
    /// Stalls that began in it.
    pub stalls: u64,
    /// Server CPU in it, share of one core (1.0 = one core); `None` without `--server-pid`.
    pub server_cores: Option<f64>,
    /// This program's.
    pub own_cores: f64,
}

/// What was asked for, in words for people and values for machines.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Asked {
    /// As given.
    pub url: String,
    /// `--viewers`.
    pub viewers: u64,
    /// Such as `ramp 1000/s`, `at once`, `poisson 1000/s, mean stay 60 s`.
    pub arrival: String,
    /// The steady time: begins when all have arrived.
    pub duration_s: f64,
    /// Threads with a ring each.
    pub workers: usize,
    /// Source addresses used.
    pub sources: usize,
    /// Playback model's buffer, s.
    pub buffer_s: f64,
    /// Share of viewers whose every packet's checksum is computed, 0–1.
    pub verify_share: f64,
    /// Such as `10 % stalled, 1 % garbage`; empty: none.
    pub misbehaving: String,
    /// `--seed`.
    pub seed: u64,
    /// The command line.
    pub command: String,
}

/// What the server said about itself and the channel.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Served {
    /// `MMS over TCP` or `HTTP`.
    pub protocol: String,
    /// Name and version, if told.
    pub server: Option<String>,
    /// Bit rate of the channel, if known (header, probe, `--rate`).
    pub bits_per_s: Option<u64>,
    /// Bytes of an ASF packet, if it is ASF.
    pub packet_bytes: Option<u32>,
    /// Whether its packets carry marks: else delay is "n/a".
    pub marked: bool,
}

/// Processor and memory use over the steady time.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Usage {
    /// Of `--server-pid`.
    pub server: Option<ServerUsage>,
    /// This program, all threads, share of one core.
    pub own_cores: f64,
    /// Its busiest worker thread, share of one core.
    pub own_busiest_worker: f64,
    /// Resident memory of this program at the end, bytes.
    pub own_resident_bytes: u64,
    /// Busy share of each core from `/proc/stat` (0–1), and stolen share.
    pub cores: Vec<CoreUsage>,
}

/// One core of the machine over the steady time, shares 0–1.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct CoreUsage {
    /// Its number.
    pub core: usize,
    /// Not idle and not waiting for disks; interrupts included, stolen not.
    pub busy: f64,
    /// Taken away by the hypervisor.
    pub steal: f64,
}

/// A server process over the steady time.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct ServerUsage {
    /// `--server-pid`.
    pub pid: i32,
    /// User + system time, share of one core.
    pub cores: f64,
    /// User time of that.
    pub user_cores: f64,
    /// µs of CPU per second and playing viewer (mean number over the steady time); `None` if nobody played.
    pub cpu_us_per_viewer_s: Option<f64>,
    /// Resident before the first viewer (of a search: of its first step), bytes.
    pub resident_before_bytes: u64,
    /// Resident at the end of the steady time (viewers still there), bytes.
    pub resident_bytes: u64,
    /// The difference ÷ viewers.
    pub resident_bytes_per_viewer: f64,
    /// Context switches per second, all threads: given up, taken away.
    pub voluntary_switches_per_s: f64,
    /// See `voluntary_switches_per_s`.
    pub involuntary_switches_per_s: f64,
    /// TCP listen overflows of the machine during the whole run (`/proc/net/netstat`, ListenOverflows).
    pub listen_overflows: u64,
}

/// All there is to tell about a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was asked for.
    pub asked: Asked,
    /// By whom it was answered.
    pub served: Served,
    /// When it began.
    pub began: SystemTime,
    /// First arrival to the end.
    pub took: Duration,
    /// Length of the steady time that was measured; shorter than asked if it was interrupted.
    pub steady: Duration,
    /// Playing viewers, mean over the steady time.
    pub viewers_mean: f64,
    /// What was measured.
    pub tally: Tally,
    /// Second by second.
    pub moments: Vec<Moment>,
    /// Processors and memory.
    pub usage: Usage,
    /// What makes these numbers doubtful, one sentence each: the tester was the bottleneck, clocks disagree, interrupted, …
    pub warnings: Vec<String>,
    /// First few failures in words, with how many of each kind.
    pub failures: Vec<(String, u64)>,
}
