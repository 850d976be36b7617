//! Random programmes and crowds: what a seed means.

use std::sync::Arc;
use std::time::Duration;

use funnel_channel::{Air, Start};
use funnel_engine::Tuning;
use funnel_session::client::Manner;
use funnel_session::{Selection, Thinning};
use funnel_wire::mms::Acceleration;

use crate::link::LinkQuality;
use crate::player::{Plan, Role, Speech, Step};
use crate::reel::Reel;
use crate::rng::Rng;
use crate::source::{Cue, Schedule};

/// Five channels over `length`: one that never changes, one whose source comes and goes, one that changes its header, a
/// show for its first viewer, and padded radio.
pub fn programme(seed: u64, length: Duration) -> Vec<(Schedule, Tuning)> {
    let mut rng = Rng::new(seed, 2);
    let slides = Reel::load("slides-3min.asf", "slides", 1);
    let video = Reel::load("live-pipe.asf", "video", 3);
    let other = Reel::load("metadata-unicode.wmv", "other", 4);
    let radio = Reel::load("tiny-audio.asf", "radio", 1);
    let begin = |reel: &Arc<Reel>| (Duration::ZERO, Cue::Begin(Arc::clone(reel)));
    let times = |rng: &mut Rng| -> Vec<Duration> {
        let mut times: Vec<_> = (0..rng.range(1, 5))
            .map(|_| Duration::from_millis(rng.range(1000, length.as_millis() as u64)))
            .collect();
        times.sort_unstable();
        times
    };
    let mut gaps = vec![begin(&video)];
    for at in times(&mut rng) {
        let air = *rng.pick(&[Air::Gap, Air::Lost]);
        gaps.push((at, Cue::Away(air, rng.millis(500, 12_000))));
    }
    let mut changes = vec![begin(&slides)];
    for (count, at) in times(&mut rng).into_iter().enumerate() {
        let reel = if count % 2 == 0 { &other } else { &slides };
        changes.push((at, Cue::Begin(Arc::clone(reel))));
    }
    if rng.chance(1, 2) {
        changes.push((length * 9 / 10, Cue::End));
    }
    let schedule = |name, start, cues, rng: &mut Rng| Schedule {
        name,
        start,
        cues,
        retain: Duration::from_secs(rng.range(8, 31)),
        log_bytes_max: 1 << rng.range(17, 24),
    };
    let tuning = |rng: &mut Rng| Tuning {
        train: rng.millis(100, 400),
        fast_start: rng.millis(0, 6000),
        lag_disconnect: rng.millis(5000, 20_000),
        open_wait: rng.millis(500, 5000),
        retain: Duration::from_secs(20),
        log_bytes_max: 1 << 22,
        udp_burst_packets: 16,
    };
    let channels = [
        ("news", Start::Always, vec![begin(&video)]),
        ("slides", Start::Always, changes),
        ("event", Start::Always, gaps),
        ("show", Start::FirstViewer, vec![begin(&video)]),
        ("radio", Start::Always, vec![begin(&radio)]),
    ];
    channels
        .into_iter()
        .map(|(name, start, cues)| (schedule(name, start, cues, &mut rng), tuning(&mut rng)))
        .collect()
}

/// Players of every kind, coming over `length`.
pub fn crowd(seed: u64, count: usize, length: Duration) -> Vec<Plan> {
    (0..count).map(|id| plan(seed, id, length)).collect()
}

/// Players over HTTP of every kind, numbered from `first` on.
pub fn http_crowd(seed: u64, first: usize, count: usize, length: Duration) -> Vec<Plan> {
    (first..first + count)
        .map(|id| http_plan(seed, id, length))
        .collect()
}

fn http_plan(seed: u64, id: usize, length: Duration) -> Plan {
    let mut rng = Rng::new(seed, 0x2000_0000 + id as u64);
    let speech = *rng.pick(&[Speech::Wmsp, Speech::Wmsp9, Speech::Chunked, Speech::Plain]);
    let role = *rng.pick(&[Role::Steady, Role::Steady, Role::Troublesome]);
    let path = *rng.pick(&["news", "slides", "event", "radio", "show"]);
    let mut plan = Plan {
        role,
        joins_at: Duration::from_millis(rng.range(0, length.as_millis() as u64)),
        quality: quality(&mut rng, role),
        ..Plan::over_http(id, path, speech)
    };
    if speech != Speech::Plain {
        plan.acceleration = acceleration(&mut rng);
    }
    match role {
        Role::Steady | Role::Switcher => {
            let stay = rng.millis(3000, 120_000);
            plan.steps.push((stay, Step::Leave));
        }
        Role::Troublesome => troublesome(&mut plan, &mut rng),
    }
    plan
}

/// A player's plan depends on the seed and its number only: taking others away leaves it as it is.
fn plan(seed: u64, id: usize, length: Duration) -> Plan {
    let mut rng = Rng::new(seed, 0x2000_0000 + id as u64);
    let manner = rng.pick(&Manner::ALL).clone();
    let role = *rng.pick(&[
        Role::Steady,
        Role::Steady,
        Role::Switcher,
        Role::Troublesome,
        Role::Troublesome,
    ]);
    let channels: &[&str] = if role == Role::Troublesome {
        &["news", "slides", "event", "show", "radio", "nowhere"]
    } else {
        &["news", "slides", "event", "radio", "show"]
    };
    let mut plan = Plan {
        id,
        role,
        path: (*rng.pick(channels)).to_owned(),
        speech: Speech::Mms,
        packet_pair: rng.chance(1, 4) && manner.funnel_info.is_some(),
        manner,
        acceleration: acceleration(&mut rng),
        joins_at: Duration::from_millis(rng.range(0, length.as_millis() as u64)),
        steps: Vec::new(),
        quality: quality(&mut rng, role),
        udp: None,
        trickle: None,
        breaks_off: None,
    };
    match role {
        Role::Steady => steady(&mut plan, &mut rng),
        Role::Switcher => switcher(&mut plan, &mut rng),
        Role::Troublesome => troublesome(&mut plan, &mut rng),
    }
    plan
}

fn acceleration(rng: &mut Rng) -> Acceleration {
    let (wishes, link) = (rng.chance(1, 4), rng.chance(1, 6));
    Acceleration {
        bandwidth: wishes.then(|| *rng.pick(&[0, 64_000, 500_000, 3_500_000])),
        duration_ms: wishes.then(|| *rng.pick(&[0, 1000, 5000, 20_000])),
        link: link.then(|| *rng.pick(&[56_000, 1_000_000, 100_000_000])),
    }
}

fn quality(rng: &mut Rng, role: Role) -> LinkQuality {
    let good = LinkQuality {
        buffer_bytes: 64 << 10,
        bytes_per_second: 1 << 20,
        latency: rng.millis(0, 60),
        short_per_mille: *rng.pick(&[0, 20, 300]),
        broken_per_mille: 0,
    };
    if role != Role::Troublesome {
        return good;
    }
    LinkQuality {
        buffer_bytes: usize::try_from(rng.range(300, 40_000)).unwrap_or(4096),
        bytes_per_second: *rng.pick(&[100, 1500, 4000, 20_000, 1 << 20]),
        broken_per_mille: *rng.pick(&[0, 0, 0, 5]),
        ..good
    }
}

/// Stays for a while, maybe stops and starts, leaves in one way or the other.
fn steady(plan: &mut Plan, rng: &mut Rng) {
    let mut at = rng.millis(3000, 40_000);
    for _ in 0..rng.range(0, 3) {
        if rng.chance(2, 3) {
            plan.steps.push((at, Step::Stop));
            at += rng.millis(200, 8000);
        }
        plan.steps.push((at, Step::Play));
        at += rng.millis(1000, 30_000);
    }
    if rng.chance(3, 4) {
        let leave = if rng.chance(1, 3) {
            Step::HangUp
        } else {
            Step::Leave
        };
        plan.steps.push((at, leave));
    }
}

fn switcher(plan: &mut Plan, rng: &mut Rng) {
    let mut at = rng.millis(500, 20_000);
    for _ in 0..rng.range(1, 5) {
        plan.steps.push((at, Step::Select(selection(rng))));
        at += rng.millis(20, 25_000);
    }
    plan.steps.push((at, Step::Leave));
}

fn selection(rng: &mut Rng) -> Selection {
    let mut selection = Selection::ALL;
    for stream in 1..=2 {
        let level = *rng.pick(&[
            Thinning::All,
            Thinning::All,
            Thinning::KeyFramesOnly,
            Thinning::Off,
        ]);
        selection.set(stream, level);
    }
    selection
}

fn troublesome(plan: &mut Plan, rng: &mut Rng) {
    let mut at = rng.millis(100, 20_000);
    for _ in 0..rng.range(0, 6) {
        let step = match rng.range(0, 8) {
            0 => Step::Stall(rng.millis(1000, 60_000)),
            1 => Step::Say(garbage(rng)),
            2 => Step::Stop,
            3 => Step::Play,
            4 => Step::Select(selection(rng)),
            5 => Step::Vanish,
            6 => Step::Reset,
            _ => Step::Stall(rng.millis(100, 3000)),
        };
        plan.steps.push((at, step));
        at += rng.millis(1, 15_000);
    }
    if rng.chance(1, 6) {
        plan.trickle = Some(rng.millis(1, 1000));
    }
    if rng.chance(1, 3) {
        let how = match rng.range(0, 4) {
            0 => Step::HangUp,
            1 => Step::Reset,
            2 => Step::Vanish,
            _ => Step::Say(garbage(rng)),
        };
        let at = usize::try_from(rng.range(1, 9)).unwrap_or(1);
        plan.breaks_off = Some((at, how));
    }
    if rng.chance(1, 3) {
        plan.steps.push((at, Step::Leave));
    }
}

fn garbage(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(1, 4) {
        return b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    }
    (0..rng.range(1, 200))
        .map(|_| rng.number().to_le_bytes()[0])
        .collect()
}
