//! One run: from what was asked for to its outcome.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use crossbeam::sync::WaitGroup;
use funnel_session::Selection;
use funnel_session::client::{Manner, Options};
use funnel_uring::{Ring, RingConfig};

use crate::arrival::{Arrival, Conduct, Crowd, Visit};
use crate::cli::{Cores, Load};
use crate::live::Live;
use crate::meter::{Clock, Scale};
use crate::outcome::{Asked, Moment, Outcome};
use crate::scout::{Findings, own_address, scout};
use crate::tally::{Distribution, Second, distribution};
use crate::target::{Target, Way};
use crate::usage::{Sample, Sampler, datagrams_dropped};
use crate::worker::{self, Found, Plan};

/// What is measured, again and again with other numbers of viewers.
pub struct Course {
    load: Load,
    target: Target,
    findings: Findings,
    /// Has watched the server since before the scout: what viewers of a search's first step left in its memory is theirs too.
    sampler: Sampler,
    stop: Arc<AtomicBool>,
}

impl Course {
    /// Understands the URL, sends the scout ahead.
    ///
    /// # Errors
    /// In words for the user.
    pub fn survey(load: &Load, stop: Arc<AtomicBool>) -> Result<Course, String> {
        let options = Options {
            manner: Manner::from(load.manner),
            streams: load.streams.unwrap_or(Selection::ALL),
            silence: None,
            transport: load.transport.into(),
            blind: load.deaf,
            ..Options::default()
        };
        check_shares(load)?;
        check_cores(load)?;
        let target = Target::find(load.url(), options, load.interface.as_deref())?;
        check_way(load, target.way())?;
        let has_sources = loops(target.host()) && target.host().is_ipv4();
        if load.sources.is_some_and(|sources| sources > 1) && !has_sources {
            return Err(
                "--sources: several source addresses exist on loopback (127.0.0.0/8) only".into(),
            );
        }
        let sampler = Sampler::new(load.server_pid).map_err(|error| error.to_string())?;
        let findings = scout(&target, load.rate)?;
        Ok(Course {
            load: load.clone(),
            target,
            findings,
            sampler,
            stop,
        })
    }

    /// Has the user ended it?
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Measures with so many viewers.
    ///
    /// # Errors
    /// When this machine cannot make so many.
    pub fn run(
        &self,
        viewers: u32,
        duration: Duration,
        live: &mut Live,
    ) -> Result<Outcome, String> {
        let sources = self.sources(viewers);
        let crowd = self.crowd(sources.len());
        let visits = crowd.visits(viewers, self.load.seed);
        let last_arrival = visits.last().map_or(Duration::ZERO, |visit| visit.at);
        let workers = self.workers(viewers)?;
        let cores = self.cores(workers);
        let overflown = datagrams_dropped();
        let (tell, seconds) = unbounded();
        // Rings take a while to make; nobody should arrive late for that.
        let began = Instant::now() + HEAD_START;
        let steady_from = began + last_arrival + SETTLE;
        let timing = Timing {
            began,
            steady_from,
            end: steady_from + duration,
            clock: Clock::start(),
        };
        let began_at = SystemTime::now() + HEAD_START;
        let mut shares: Vec<Vec<Visit>> = vec![Vec::new(); workers];
        for (index, visit) in visits.into_iter().enumerate() {
            shares[index % workers].push(visit);
        }
        let mut threads = Vec::new();
        let all_measured = WaitGroup::new();
        for (index, share) in shares.into_iter().enumerate() {
            let plan = self.plan(
                index,
                share,
                &crowd,
                &sources,
                &timing,
                all_measured.clone(),
            );
            threads.push(start(
                index,
                plan,
                self.files_per_viewer(),
                cores.get(index).copied().flatten(),
                tell.clone(),
            )?);
        }
        drop((tell, all_measured));
        live.begin(
            viewers.into(),
            steady_from.saturating_duration_since(began),
            duration,
        );
        let first = self.sampler.sample();
        let watched = watch(&seconds, workers, &timing, &self.sampler, live);
        let found = join(threads)?;
        let usage = self.sampler.usage(
            [&first, &watched.from, &watched.to],
            watched.viewers_mean,
            watched.viewers_end,
        );
        let mut outcome = self.outcome(
            viewers, duration, workers, &crowd, began_at, &timing, watched, found, usage,
        );
        let overflown = datagrams_dropped() - overflown;
        if overflown > 0 && outcome.tally.datagrams.received > 0 {
            outcome.warnings.push(format!(
                "{overflown} datagrams found the buffers of this machine's sockets full: that is not the server's fault; use more workers, or raise net.core.rmem_max"
            ));
        }
        Ok(outcome)
    }

    fn crowd(&self, sources: usize) -> Crowd {
        let load = &self.load;
        let arrival = match (load.at_once, load.poisson, load.ramp) {
            (true, ..) => Arrival::AtOnce,
            (_, Some(rate), _) => Arrival::Poisson(rate),
            (_, _, rate) => Arrival::Ramp(rate.unwrap_or(RAMP_DEFAULT)),
        };
        let mut conducts = vec![
            (load.stalled, Conduct::Stalled),
            (load.vanish, Conduct::Vanishing),
            (load.garbage, Conduct::Garbage),
        ];
        conducts.extend(
            load.slow
                .map(|slow| (slow.share, Conduct::Slow(slow.bits_per_second))),
        );
        Crowd {
            arrival,
            stay: load.stay,
            conducts,
            verify: load.verify,
            sources,
        }
    }

    /// One address has some 28,000 ports for one target; half of them leaves room for those in TIME_WAIT.
    fn sources(&self, viewers: u32) -> Vec<IpAddr> {
        let host = self.target.host();
        if !loops(host) || host.is_ipv6() {
            // Ears have to be at the address the connection comes from.
            let own = (self.target.way() == Way::Datagrams).then(|| own_address(host));
            return own.flatten().into_iter().collect();
        }
        let needed = viewers.div_ceil(VIEWERS_PER_SOURCE).clamp(1, 250) as u8;
        let count = self
            .load
            .sources
            .map_or(needed, |sources| sources.min(250) as u8);
        (1..=count)
            .map(|last| Ipv4Addr::new(127, 0, 0, last).into())
            .collect()
    }

    fn workers(&self, viewers: u32) -> Result<usize, String> {
        let limit = rlimit::increase_nofile_limit(u64::MAX)
            .unwrap_or(1024)
            .min(1 << 20) as u32;
        let most = (limit.saturating_sub(FILES_SPARE) / self.files_per_viewer()).max(1);
        let needed = viewers.div_ceil(most.min(VIEWERS_PER_WORKER)) as usize;
        let workers = self.load.workers.map_or(needed, usize::from);
        if viewers.div_ceil(workers as u32) > most {
            return Err(format!(
                "{viewers} viewers need {} workers: each holds {most} of them here (limit of open files); use --workers {0}",
                viewers.div_ceil(most)
            ));
        }
        Ok(workers)
    }

    /// A connection, ears, or both.
    fn files_per_viewer(&self) -> u32 {
        match self.target.way() {
            Way::Datagrams => 2,
            Way::Stream | Way::Unheard | Way::Group => 1,
        }
    }

    fn cores(&self, workers: usize) -> Vec<Option<core_affinity::CoreId>> {
        let all = core_affinity::get_core_ids().unwrap_or_default();
        let chosen: Vec<_> = match &self.load.cores {
            Some(Cores::None) => Vec::new(),
            Some(Cores::These(ids)) => ids.iter().map(|&id| core_affinity::CoreId { id }).collect(),
            // The server, if it runs here, begins with the first.
            None => all.into_iter().rev().collect(),
        };
        (0..workers)
            .map(|index| chosen.get(index % chosen.len().max(1)).copied())
            .collect()
    }

    fn plan(
        &self,
        index: usize,
        share: Vec<Visit>,
        crowd: &Crowd,
        sources: &[IpAddr],
        timing: &Timing,
        all_measured: WaitGroup,
    ) -> Plan {
        let probe = self.findings.probe;
        Plan {
            target: self.target.clone(),
            crowd: crowd.clone(),
            visits: share.into(),
            seed: self.load.seed ^ (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            sources: sources.to_vec(),
            began: timing.began,
            drop: self.load.drop,
            scale: Scale {
                clock: timing.clock,
                steady: timing.steady_from..timing.end,
                buffer: self.load.buffer,
                bits_per_second: self.findings.served.bits_per_s,
                // Of packets that go elsewhere none is overdue.
                marked: probe.is_some() && self.target.way() != Way::Unheard,
                interval_ns: probe.map_or(0, |probe| probe.due(1).as_nanos() as u64),
            },
            stop: Arc::clone(&self.stop),
            all_measured,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "it puts together what the run has found, once"
    )]
    fn outcome(
        &self,
        viewers: u32,
        duration: Duration,
        workers: usize,
        crowd: &Crowd,
        began: SystemTime,
        timing: &Timing,
        watched: Watched,
        found: Found,
        usage: crate::outcome::Usage,
    ) -> Outcome {
        let now = Instant::now();
        let arrival = match crowd.stay {
            None => crowd.arrival.to_string(),
            Some(stay) => format!("{}, mean stay {} s", crowd.arrival, stay.as_secs_f64()),
        };
        let mut failures: Vec<(String, u64)> = found.failures.into_iter().collect();
        failures.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        failures.truncate(FAILURES_TOLD);
        let steady = now
            .min(timing.end)
            .saturating_duration_since(timing.steady_from);
        let mut warnings = Vec::new();
        if self.is_stopped() {
            warnings.push("interrupted: the steady time is shorter than asked for".to_owned());
        }
        if self.load.server_pid.is_some() && usage.server.is_none() && !steady.is_zero() {
            warnings.push("the process of --server-pid was not there through the steady time: what it used is not known".to_owned());
        }
        if usage.own_busiest_worker > BUSY {
            warnings.push(format!(
                "this program was the bottleneck: a worker used {:.0} % of its core; delays are too long, use more workers on more cores",
                usage.own_busiest_worker * 100.0
            ));
        }
        if found.own_failures > 0 {
            warnings.push(format!(
                "{} viewers were not connected for want of ports, descriptors or memory of this machine: that is not the server's fault; use more --sources or --workers",
                found.own_failures
            ));
        }
        if found.late_max > LATE && crowd.arrival != Arrival::AtOnce {
            warnings.push(format!(
                "viewers arrived up to {} ms after their time: this program had no time for them",
                found.late_max.as_millis()
            ));
        }
        if found.turn_max > LATE {
            warnings.push(format!(
                "this program looked away for {} ms at a time: delays of up to that are its own",
                found.turn_max.as_millis()
            ));
        }
        if found.early_marks > 0 {
            warnings.push(format!("{} packets came before they were due: the clocks of source and tester differ, delays are wrong", found.early_marks));
        }
        Outcome {
            asked: Asked {
                url: self.load.url().to_owned(),
                viewers: viewers.into(),
                arrival,
                duration_s: duration.as_secs_f64(),
                workers,
                sources: crowd.sources,
                buffer_s: self.load.buffer.as_secs_f64(),
                verify_share: self.load.verify,
                misbehaving: crowd.misbehaving(),
                seed: self.load.seed,
                command: command_line(),
            },
            served: self.findings.served.clone(),
            began,
            took: now.min(timing.end).saturating_duration_since(timing.began),
            steady,
            viewers_mean: watched.viewers_mean,
            tally: found.tally,
            moments: watched.moments,
            usage,
            warnings,
            failures,
        }
    }
}

#[derive(Clone, Copy)]
struct Timing {
    began: Instant,
    steady_from: Instant,
    end: Instant,
    clock: Clock,
}

type Thread = JoinHandle<Found>;

/// # Errors
/// More misbehave than there are.
fn check_shares(load: &Load) -> Result<(), String> {
    let slow = load.slow.map_or(0.0, |slow| slow.share);
    let sum = load.stalled + slow + load.vanish + load.garbage;
    // Shares are decimal fractions, and their sum is not exact.
    if sum > 1.0 + 1e-9 {
        return Err(format!(
            "the shares of those who misbehave add up to {:.0} %: more than all",
            sum * 100.0
        ));
    }
    Ok(())
}

/// # Errors
/// What is asked for makes no sense where media comes this way.
fn check_way(load: &Load, way: Way) -> Result<(), String> {
    let is_lazy = load.stalled > 0.0 || load.slow.is_some();
    let sentence = match way {
        Way::Stream if load.deaf => "--deaf: media goes elsewhere over UDP only; use mmsu://",
        Way::Stream | Way::Unheard if load.drop > 0.0 => {
            "--drop: there are no datagrams to drop; use mmsu:// without --deaf, or a multicast"
        }
        Way::Datagrams | Way::Unheard | Way::Group if is_lazy => {
            "--stalled, --slow: who sends datagrams does not notice who does not read them"
        }
        Way::Group if load.garbage > 0.0 => {
            "--garbage: nobody listens to those who hear a multicast"
        }
        _ => return Ok(()),
    };
    Err(sentence.into())
}

/// # Errors
/// A core to be used is none of this machine's, or not for this program.
fn check_cores(load: &Load) -> Result<(), String> {
    let (Some(Cores::These(asked)), Some(all)) = (&load.cores, core_affinity::get_core_ids())
    else {
        return Ok(());
    };
    match (asked.iter()).find(|id| all.iter().all(|core| core.id != **id)) {
        None => Ok(()),
        Some(id) => {
            let there: Vec<_> = all.iter().map(|core| core.id.to_string()).collect();
            Err(format!(
                "--cores: there is no core {id} for this program, but {}",
                there.join(", ")
            ))
        }
    }
}

/// Starts a worker; its ring stands when this returns.
fn start(
    index: usize,
    plan: Plan,
    files_per_viewer: u32,
    core: Option<core_affinity::CoreId>,
    seconds: Sender<Second>,
) -> Result<Thread, String> {
    let limit = rlimit::Resource::NOFILE
        .get_soft()
        .unwrap_or(1024)
        .min(1 << 20);
    // A quarter of a ring's files may linger while their connections are closed: who leaves needs room beside who comes.
    let files = plan.visits.len() as u64 * u64::from(files_per_viewer);
    let files = (files * 3 / 2 + 64).min(limit) as u32;
    let has_ears = matches!(plan.target.way(), Way::Datagrams | Way::Group);
    let (ready, told) = crossbeam::channel::bounded(1);
    let thread = std::thread::Builder::new()
        .name(format!("load-{index}"))
        .spawn(move || {
            if let Some(core) = core {
                core_affinity::set_for_current(core);
            }
            let ring = Ring::new(RingConfig {
                sends_per_turn: 1_024,
                files,
                receive_buffers: 1_024,
                receive_buffer_bytes: 32 << 10,
                datagram_buffers: if has_ears { 1_024 } else { 0 },
                datagram_bytes: DATAGRAM_BYTES_MAX,
                datagram_rest: Duration::ZERO,
            });
            match ring {
                Ok(ring) => {
                    drop(ready.send(Ok(())));
                    worker::run(plan, ring, &seconds)
                }
                Err(error) => {
                    drop(ready.send(Err(error.to_string())));
                    Found::default()
                }
            }
        });
    let thread = thread.map_err(|error| format!("no thread for a worker: {error}"))?;
    told.recv()
        .map_err(|_| "a worker ended while it started".to_owned())??;
    Ok(thread)
}

fn join(threads: Vec<Thread>) -> Result<Found, String> {
    let mut all = Found::default();
    for thread in threads {
        let found = thread
            .join()
            .map_err(|_| "a worker panicked: this is a bug, and there is no result".to_owned())?;
        all.merge(found);
    }
    Ok(all)
}

struct Watched {
    moments: Vec<Moment>,
    /// Playing, mean over the steady time.
    viewers_mean: f64,
    /// Playing at its end.
    viewers_end: u64,
    /// What processors and memory had used at its beginning and end.
    from: Sample,
    to: Sample,
}

/// Puts the workers' seconds together and samples processors until all workers are through.
fn watch(
    seconds: &Receiver<Second>,
    workers: usize,
    timing: &Timing,
    sampler: &Sampler,
    live: &mut Live,
) -> Watched {
    let mut open: HashMap<u64, Gathered> = HashMap::new();
    let mut moments: Vec<Moment> = Vec::new();
    let (mut playing_sum, mut playing_count) = (0.0, 0u32);
    let mut before = sampler.sample();
    let (mut from, mut to) = (None, None);
    // A worker's thread is gone soon after the end, and its processor time with it.
    let marks = [timing.steady_from, timing.end - END_SAMPLE_AHEAD];
    loop {
        let now = Instant::now();
        for (sample, at) in [&mut from, &mut to].into_iter().zip(marks) {
            if now >= at {
                sample.get_or_insert_with(|| sampler.sample());
            }
        }
        let next_mark = marks.into_iter().find(|at| *at > now);
        let wait = next_mark.map_or(SAMPLE_EVERY, |at| {
            at.saturating_duration_since(now).min(SAMPLE_EVERY)
        });
        let second = match seconds.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(second) => second,
        };
        let number = second.number;
        let gathered = open.entry(number).or_default();
        gathered.take(second);
        if gathered.workers < workers {
            continue;
        }
        let Some(gathered) = open.remove(&number) else {
            continue;
        };
        let sample = sampler.sample();
        let moment = gathered.moment(sampler.cores(&before, &sample));
        before = sample;
        if timing.began + gathered.at > timing.steady_from {
            playing_sum += moment.playing as f64;
            playing_count += 1;
        }
        live.moment(&moment);
        moments.push(moment);
    }
    let viewers_end = moments.last().map_or(0, |moment| moment.playing);
    let viewers_mean = match playing_count {
        0 => viewers_end as f64,
        count => playing_sum / f64::from(count),
    };
    // Interrupted: by now the workers' threads are gone, and what they hung up has cost the server time.
    let to = to.unwrap_or(before);
    Watched {
        moments,
        viewers_mean,
        viewers_end,
        from: from.unwrap_or_else(|| to.clone()),
        to,
    }
}

/// One second of all workers.
struct Gathered {
    workers: usize,
    at: Duration,
    sum: Moment,
    delay: Distribution,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered {
            workers: 0,
            at: Duration::ZERO,
            sum: Moment::default(),
            delay: distribution(),
        }
    }
}

impl Gathered {
    fn take(&mut self, second: Second) {
        self.workers += 1;
        self.at = self.at.max(second.at);
        self.sum.bits_per_s +=
            second.bytes as f64 * 8.0 / second.length.as_secs_f64().max(LENGTH_SECONDS_MIN);
        self.sum.up += second.up;
        self.sum.playing += second.playing;
        self.sum.stalled += second.stalled;
        self.sum.failed += second.failed;
        self.sum.bad_packets += second.bad_packets;
        self.sum.stalls += second.stalls;
        self.delay
            .add(&second.delay)
            .expect("all distributions have the same bounds");
    }

    fn moment(&self, (server_cores, own_cores): (Option<f64>, f64)) -> Moment {
        let quantile =
            |q| (!self.delay.is_empty()).then(|| self.delay.value_at_quantile(q) as f64 / 1000.0);
        Moment {
            at_s: self.at.as_secs_f64(),
            delay_p50_ms: quantile(0.5),
            delay_p99_ms: quantile(0.99),
            delay_max_ms: quantile(1.0),
            server_cores,
            own_cores,
            ..self.sum
        }
    }
}

impl Found {
    fn merge(&mut self, other: Found) {
        self.tally.merge(&other.tally);
        for (text, count) in other.failures {
            *self.failures.entry(text).or_default() += count;
        }
        self.early_marks += other.early_marks;
        self.own_failures += other.own_failures;
        self.late_max = self.late_max.max(other.late_max);
        self.turn_max = self.turn_max.max(other.turn_max);
    }
}

/// File names need not be UTF-8.
fn command_line() -> String {
    let words: Vec<_> = (std::env::args_os())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

fn loops(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Between making the rings and the first arrival.
const HEAD_START: Duration = Duration::from_millis(300);
/// Between the last arrival and the steady time.
const SETTLE: Duration = Duration::from_secs(1);
const RAMP_DEFAULT: f64 = 1_000.0;
const VIEWERS_PER_SOURCE: u32 = 12_000;
const VIEWERS_PER_WORKER: u32 = 20_000;
/// The largest there are.
const DATAGRAM_BYTES_MAX: u32 = 65_535;
/// Descriptors a worker's ring needs beside its viewers'.
const FILES_SPARE: u32 = 128;
const FAILURES_TOLD: usize = 10;
const END_SAMPLE_AHEAD: Duration = Duration::from_millis(20);
const LENGTH_SECONDS_MIN: f64 = 0.1;
const SAMPLE_EVERY: Duration = Duration::from_millis(200);
/// A worker that uses more of its core than this has no time to be exact.
const BUSY: f64 = 0.95;
/// Lateness of this program that shows in the results.
const LATE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn load(options: &[&str]) -> Load {
        let words = ["funnel-load", "mms://127.0.0.1/probe"];
        Cli::parse_from(words.iter().chain(options)).run.load
    }

    #[test]
    fn not_more_than_all_can_misbehave() {
        let all = load(&["--stalled", "60%", "--vanish", "30%", "--garbage", "10%"]);
        assert_eq!(check_shares(&all), Ok(()));
        let more = load(&["--stalled", "60%", "--slow", "60%@64kb/s"]);
        let error = check_shares(&more).expect_err("120 % of them");
        assert!(error.contains("120 %"), "{error}");
    }

    #[test]
    fn cores_that_are_not_there_are_refused() {
        assert_eq!(check_cores(&load(&["--cores", "none"])), Ok(()));
        assert_eq!(check_cores(&load(&[])), Ok(()));
        let error = check_cores(&load(&["--cores", "5000"])).expect_err("none has so many");
        assert!(error.contains("no core 5000"), "{error}");
    }

    fn second(number: u64, at_ms: u64, playing: u64) -> Second {
        Second {
            number,
            at: Duration::from_millis(at_ms),
            length: Duration::from_secs(1),
            up: playing,
            playing,
            stalled: 0,
            bytes: 1_000,
            failed: 0,
            bad_packets: 0,
            stalls: 0,
            delay: distribution(),
        }
    }

    #[test]
    fn a_worker_that_tells_several_seconds_at_once_is_not_taken_for_several_workers() {
        let (tell, seconds) = unbounded();
        // The second worker looks away for two seconds.
        for second in [
            second(1, 1_000, 10),
            second(2, 2_000, 10),
            second(1, 2_900, 7),
            second(2, 2_900, 7),
        ] {
            tell.send(second).expect("somebody listens");
        }
        drop(tell);
        let began = Instant::now();
        let timing = Timing {
            began,
            steady_from: began + Duration::from_millis(500),
            end: began + Duration::from_secs(3),
            clock: Clock::start(),
        };
        let sampler = Sampler::new(None).expect("/proc");
        let watched = watch(&seconds, 2, &timing, &sampler, &mut Live::new(true));
        let playing: Vec<_> = watched
            .moments
            .iter()
            .map(|moment| moment.playing)
            .collect();
        assert_eq!(playing, [17, 17]);
        assert_eq!(watched.viewers_mean, 17.0);
    }
}
