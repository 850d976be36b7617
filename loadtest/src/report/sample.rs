//! Outcomes for tests: a clean run, one with every kind of trouble, one without viewers.

use std::time::{Duration, SystemTime};

use crate::outcome::{Asked, CoreUsage, Moment, Outcome, Served, ServerUsage, Usage};
use crate::require::Requirements;
use crate::search::Step;
use crate::tally::{self, Counts, Datagrams, Distribution, Failed, Tally};

/// 1,000 viewers at 300 kb/s, 30 s, nothing wrong.
pub fn clean() -> Outcome {
    let spread = |low_us: u64, high_us: u64| {
        let mut distribution = tally::distribution();
        for step in 0..1_000 {
            let value = low_us + (high_us - low_us) * step * step * step / 999_u64.pow(3);
            distribution.record_n(value, 100).expect("in bounds");
        }
        distribution
    };
    Outcome {
        asked: asked(),
        served: Served {
            protocol: "MMS over TCP".to_owned(),
            server: Some("Cougar/9.01.01.3841".to_owned()),
            bits_per_s: Some(300_000),
            packet_bytes: Some(1_444),
            marked: true,
        },
        began: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
        took: Duration::from_secs(31),
        steady: Duration::from_secs(30),
        viewers_mean: 1_000.0,
        tally: Tally {
            connect: spread(80, 4_200),
            first_packet: spread(900, 61_000),
            delay: spread(1_200, 550_000),
            delay_ramp: spread(1_200, 610_000),
            gap: spread(190_000, 240_000),
            start: spread(2_000, 90_000),
            stall: tally::distribution(),
            rate_permille: constant(1_000, 1_000),
            loss_ppm: tally::distribution(),
            counts: counts(),
            datagrams: Datagrams::default(),
        },
        moments: (1..=31).map(moment).collect(),
        usage: usage(),
        warnings: Vec::new(),
        failures: Vec::new(),
    }
}

/// The same with every kind of trouble, and a server whose name is not to be trusted.
pub fn troubled() -> Outcome {
    let mut outcome = clean();
    outcome.served.server = Some("<script>alert('x')</script> & \"Sons\"".to_owned());
    outcome.asked.misbehaving = "10 % stalled, 1 % garbage".to_owned();
    outcome
        .asked
        .command
        .push_str(" --stalled 10% --garbage 1%");
    outcome.tally.stall = constant(700_000, 12);
    let counts = &mut outcome.tally.counts;
    counts.missing = 7;
    counts.duplicate = 2;
    counts.reordered = 1;
    counts.corrupt = 3;
    counts.overdue = 5;
    counts.stalls = 12;
    counts.stalled_viewers = 9;
    counts.stalled_ms = 8_400;
    counts.misbehaved = 110;
    counts.failed = Failed {
        connect: 4,
        refused: 2,
        timed_out: 3,
        no_media: 1,
        closed_early: 5,
        protocol: 1,
    };
    counts.succeeded = 1_000 - 110 - counts.failed.total();
    for (second, moment) in outcome.moments.iter_mut().enumerate() {
        if second >= 15 {
            moment.failed = 16;
            moment.bad_packets = 13;
            moment.stalled = 9_u64.saturating_sub(second as u64 - 15);
        }
        if second == 15 {
            moment.stalls = 12;
            moment.delay_p99_ms = Some(1_900.0);
            moment.delay_max_ms = Some(2_600.0);
            moment.bits_per_s /= 2.0;
        }
    }
    outcome.warnings = vec![
        "The busiest worker used 97 % of a core: this program was the bottleneck, use --workers."
            .to_owned(),
    ];
    outcome.failures = vec![
        ("connection closed by the server".to_owned(), 5),
        ("<b>403</b> & forbidden".to_owned(), 2),
    ];
    outcome
}

/// A hundredth of the datagrams dropped on purpose; most of it repaired.
pub fn over_udp() -> Outcome {
    let mut outcome = clean();
    outcome.served.protocol = "MMS over UDP".to_owned();
    outcome.tally.datagrams = Datagrams {
        received: 799_000,
        dropped: 8_050,
        packets: 789_000,
        duplicate: 12,
        reordered: 34,
        gaps: 7_900,
        requested: 7_990,
        recovered: 7_920,
        lost: 80,
    };
    outcome.tally.loss_ppm = constant(100, 1_000);
    outcome.tally.counts.missing = 80;
    outcome
}

/// Nobody came.
pub fn nobody() -> Outcome {
    let mut outcome = clean();
    outcome.served = Served::default();
    outcome.took = Duration::ZERO;
    outcome.steady = Duration::ZERO;
    outcome.viewers_mean = 0.0;
    outcome.moments.clear();
    outcome.tally = Tally {
        connect: tally::distribution(),
        first_packet: tally::distribution(),
        delay: tally::distribution(),
        delay_ramp: tally::distribution(),
        gap: tally::distribution(),
        start: tally::distribution(),
        stall: tally::distribution(),
        rate_permille: tally::distribution(),
        loss_ppm: tally::distribution(),
        counts: Counts {
            planned: 1_000,
            ..Counts::default()
        },
        datagrams: Datagrams::default(),
    };
    outcome.usage = Usage::default();
    outcome
}

/// A search: 8,000 viewers are well, with more the delay grows.
pub fn steps(requirements: &str) -> Vec<Step> {
    let requirements: Requirements = requirements.parse().expect("requirements");
    let step = |(viewers, slower): (u32, f64)| {
        let mut outcome = clean();
        let factor = f64::from(viewers) / 1_000.0;
        outcome.asked.viewers = viewers.into();
        outcome.viewers_mean = viewers.into();
        let mut delay = tally::distribution();
        for value in outcome.tally.delay.iter_recorded() {
            let value_us = (value.value_iterated_to() as f64 * slower) as u64;
            delay
                .record_n(value_us, value.count_at_value())
                .expect("in bounds");
        }
        outcome.tally.delay = delay;
        for moment in &mut outcome.moments {
            moment.bits_per_s *= factor;
        }
        if let Some(server) = &mut outcome.usage.server {
            server.cores *= factor;
        }
        let verdicts = requirements.check(&outcome);
        Step {
            viewers,
            passed: verdicts.iter().all(|verdict| verdict.met),
            outcome,
            verdicts,
        }
    };
    [
        (500, 0.9),
        (1_000, 0.91),
        (2_000, 0.93),
        (4_000, 0.97),
        (8_000, 1.1),
        (9_000, 1.4),
        (12_000, 4.2),
    ]
    .map(step)
    .into()
}

fn constant(value: u64, times: u64) -> Distribution {
    let mut distribution = tally::distribution();
    distribution.record_n(value, times).expect("in bounds");
    distribution
}

fn asked() -> Asked {
    let url = "mms://127.0.0.1/probe".to_owned();
    Asked {
        command: format!("funnel-load {url} --viewers 1000 --ramp 1000/s --duration 30s"),
        url,
        viewers: 1_000,
        arrival: "ramp 1000/s".to_owned(),
        duration_s: 30.0,
        workers: 1,
        sources: 1,
        buffer_s: 3.0,
        verify_share: 0.05,
        misbehaving: String::new(),
        seed: 42,
    }
}

fn counts() -> Counts {
    Counts {
        planned: 1_000,
        arrived: 1_000,
        connected: 1_000,
        played: 1_000,
        succeeded: 1_000,
        packets: 805_000,
        bytes: 1_180_000_000,
        marked: 805_000,
        verified: 40_250,
        verified_viewers: 50,
        backlog: 12_000,
        ..Counts::default()
    }
}

fn usage() -> Usage {
    let core = |core, busy| CoreUsage {
        core,
        busy,
        steal: 0.004,
    };
    Usage {
        server: Some(ServerUsage {
            pid: 4_711,
            cores: 0.025,
            user_cores: 0.004,
            cpu_us_per_viewer_s: Some(25.0),
            resident_before_bytes: 12 << 20,
            resident_bytes: (12 << 20) + 3_200_000,
            resident_bytes_per_viewer: 3_200.0,
            voluntary_switches_per_s: 5.1,
            involuntary_switches_per_s: 0.2,
            listen_overflows: 0,
        }),
        own_cores: 0.061,
        own_busiest_worker: 0.052,
        own_resident_bytes: 48 << 20,
        cores: vec![core(0, 0.041), core(1, 0.082)],
    }
}

/// The first second is the ramp.
fn moment(second: u32) -> Moment {
    let wave = f64::from(second % 5);
    let ramp = second == 1;
    Moment {
        at_s: f64::from(second),
        up: 1_000,
        playing: if ramp { 930 } else { 1_000 },
        bits_per_s: if ramp { 150e6 } else { 300e6 },
        delay_p50_ms: Some(68.0 + wave),
        delay_p99_ms: Some(530.0 + 4.0 * wave),
        delay_max_ms: Some(545.0 + wave),
        failed: 0,
        bad_packets: 0,
        stalled: 0,
        stalls: 0,
        server_cores: Some(0.025 + 0.001 * wave),
        own_cores: 0.06,
    }
}
