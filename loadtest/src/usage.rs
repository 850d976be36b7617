//! Processors and memory, from `/proc`: of the server (`--server-pid`), of this program, and of each core.
//!
//! A `Sample` is what the kernel has counted since it began; two of them make shares over the time between. The kernel counts
//! a process' time in ticks of 10 ms, so a second is told to one in a hundred and a steady time of 30 s to one in three
//! thousand. The server is one process with all its threads; children of it are not counted.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use procfs::process::{Process, Stat, Task};
use procfs::{CpuTime, CurrentSI, KernelStats, ProcError, ProcResult};

use crate::outcome::{CoreUsage, ServerUsage, Usage};

/// Threads whose names begin so carry viewers.
pub const WORKER_PREFIX: &str = "load-";

/// Reads `/proc`.
pub struct Sampler {
    own: Process,
    server: Option<Server>,
    ticks_per_s: f64,
}

struct Server {
    process: Process,
    resident_before: u64,
}

impl Sampler {
    /// Begins to watch, before the first viewer comes: the server's memory now is what viewers' memory is counted from.
    pub fn new(server: Option<i32>) -> Result<Self, UsageError> {
        Ok(Self {
            own: Process::myself().map_err(UsageError::Own)?,
            server: server.map(Server::watch).transpose()?,
            ticks_per_s: procfs::ticks_per_second() as f64,
        })
    }

    /// What is counted by now. What cannot be read (the server has ended) is left out.
    pub fn sample(&self) -> Sample {
        Sample {
            at: Instant::now(),
            server: self.server.as_ref().and_then(|s| s.sample().ok()),
            own_ticks: self.own.stat().map(|stat| ticks(&stat)).unwrap_or(0),
            own_resident: resident(&self.own).unwrap_or(0),
            workers: self.workers().unwrap_or_default(),
            cores: KernelStats::current()
                .map(|stats| stats.cpu_time.iter().map(CoreTicks::of).collect())
                .unwrap_or_default(),
        }
    }

    /// Use between the latter two of three samples: the run's first, those of the steady time's begin and end. `viewers_mean`: playing viewers, mean over that time; `viewers_end`: those there at its end,
    /// for the memory of each.
    pub fn usage(
        &self,
        [first, from, to]: [&Sample; 3],
        viewers_mean: f64,
        viewers_end: u64,
    ) -> Usage {
        let took_s = to.at.duration_since(from.at).as_secs_f64();
        let busiest = to
            .workers
            .iter()
            .map(|(thread, ticks)| ticks.saturating_sub(*from.workers.get(thread).unwrap_or(&0)))
            .max();
        Usage {
            server: self.server_usage([first, from, to], viewers_mean, viewers_end),
            own_cores: self.share(from.own_ticks, to.own_ticks, took_s),
            own_busiest_worker: self.share(0, busiest.unwrap_or(0), took_s),
            own_resident_bytes: to.own_resident,
            cores: (from.cores.iter().zip(&to.cores).enumerate())
                .map(|(core, (from, to))| to.since(from, core))
                .collect(),
        }
    }

    /// CPU between two samples, shares of one core: the server's (`None` without one, or when it has ended) and this program's.
    pub fn cores(&self, from: &Sample, to: &Sample) -> (Option<f64>, f64) {
        let took_s = to.at.duration_since(from.at).as_secs_f64();
        let server = from.server.as_ref().zip(to.server.as_ref());
        (
            server.map(|(from, to)| self.share(from.ticks(), to.ticks(), took_s)),
            self.share(from.own_ticks, to.own_ticks, took_s),
        )
    }

    fn server_usage(
        &self,
        [first, from, to]: [&Sample; 3],
        viewers_mean: f64,
        viewers_end: u64,
    ) -> Option<ServerUsage> {
        let server = self.server.as_ref()?;
        let took_s = to.at.duration_since(from.at).as_secs_f64();
        if took_s < TICKS_S {
            return None;
        }
        let first = first.server.as_ref()?;
        let (from, to) = from.server.as_ref().zip(to.server.as_ref())?;
        let cores = self.share(from.ticks(), to.ticks(), took_s);
        let per_s = |from: u64, to: u64| to.saturating_sub(from) as f64 / took_s.max(TINY);
        let grown = to.resident as f64 - server.resident_before as f64;
        Some(ServerUsage {
            pid: server.process.pid(),
            cores,
            user_cores: self.share(from.user_ticks, to.user_ticks, took_s),
            cpu_us_per_viewer_s: (viewers_mean > 0.0).then(|| cores * 1e6 / viewers_mean),
            resident_before_bytes: server.resident_before,
            resident_bytes: to.resident,
            resident_bytes_per_viewer: grown / viewers_end.max(1) as f64,
            voluntary_switches_per_s: per_s(from.voluntary, to.voluntary),
            involuntary_switches_per_s: per_s(from.involuntary, to.involuntary),
            listen_overflows: to.overflows.saturating_sub(first.overflows),
        })
    }

    /// Ticks of this program's threads that carry viewers, by thread.
    fn workers(&self) -> ProcResult<HashMap<i32, u64>> {
        let stats = self.own.tasks()?.filter_map(|task| task.ok()?.stat().ok());
        Ok(stats
            .filter(|stat| stat.comm.starts_with(WORKER_PREFIX))
            .map(|stat| (stat.pid, ticks(&stat)))
            .collect())
    }

    fn share(&self, from: u64, to: u64, took_s: f64) -> f64 {
        to.saturating_sub(from) as f64 / self.ticks_per_s / took_s.max(TINY)
    }
}

/// What is shorter than a few ticks would be told as nothing or as very much.
const TICKS_S: f64 = 0.05;
/// Two samples at the same time make shares of nothing, not of infinity.
const TINY: f64 = 1e-6;

impl Server {
    fn watch(pid: i32) -> Result<Self, UsageError> {
        let read = |source| UsageError::of(pid, source);
        let process = Process::new(pid).map_err(read)?;
        if !process.is_alive() {
            return Err(UsageError::Gone { pid });
        }
        let resident_before = resident(&process).map_err(read)?;
        // What may not be read is better said now than missed later.
        listen_overflows(&process).map_err(read)?;
        Ok(Self {
            process,
            resident_before,
        })
    }

    fn sample(&self) -> ProcResult<ServerSample> {
        let stat = self.process.stat()?;
        let switches = |task: Task| {
            let status = task.status().ok()?;
            let given_up = status.voluntary_ctxt_switches.unwrap_or(0);
            Some((given_up, status.nonvoluntary_ctxt_switches.unwrap_or(0)))
        };
        let (mut voluntary, mut involuntary) = (0, 0);
        for (given_up, taken_away) in self.process.tasks()?.filter_map(|t| switches(t.ok()?)) {
            voluntary += given_up;
            involuntary += taken_away;
        }
        Ok(ServerSample {
            user_ticks: stat.utime,
            system_ticks: stat.stime,
            resident: resident(&self.process)?,
            voluntary,
            involuntary,
            overflows: listen_overflows(&self.process)?,
        })
    }
}

/// What the kernel has counted by a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Instant,
    server: Option<ServerSample>,
    own_ticks: u64,
    own_resident: u64,
    workers: HashMap<i32, u64>,
    cores: Vec<CoreTicks>,
}

#[derive(Clone, Debug)]
struct ServerSample {
    user_ticks: u64,
    system_ticks: u64,
    resident: u64,
    voluntary: u64,
    involuntary: u64,
    overflows: u64,
}

impl ServerSample {
    fn ticks(&self) -> u64 {
        self.user_ticks + self.system_ticks
    }
}

#[derive(Clone, Copy, Debug)]
struct CoreTicks {
    busy: u64,
    steal: u64,
    all: u64,
}

impl CoreTicks {
    fn of(time: &CpuTime) -> Self {
        // Guests' time is part of user and nice already.
        let interrupts = time.irq.unwrap_or(0) + time.softirq.unwrap_or(0);
        let busy = time.user + time.nice + time.system + interrupts;
        let steal = time.steal.unwrap_or(0);
        Self {
            busy,
            steal,
            all: busy + steal + time.idle + time.iowait.unwrap_or(0),
        }
    }

    fn since(&self, earlier: &Self, core: usize) -> CoreUsage {
        let all = self.all.saturating_sub(earlier.all).max(1) as f64;
        CoreUsage {
            core,
            busy: self.busy.saturating_sub(earlier.busy) as f64 / all,
            steal: self.steal.saturating_sub(earlier.steal) as f64 / all,
        }
    }
}

/// Why a process cannot be watched.
#[derive(Debug, miette::Diagnostic, thiserror::Error)]
pub enum UsageError {
    /// There is none, or only what its parent has not yet collected.
    #[error("--server-pid {pid}: no such process")]
    #[diagnostic(help("`pgrep -x funnel` tells the number of a running funnel"))]
    Gone {
        /// As given.
        pid: i32,
    },
    /// It is there, but its numbers are not for us.
    #[error("--server-pid {pid}: cannot read /proc/{pid}")]
    #[diagnostic(help("run funnel-load as the server's user or as root"))]
    Unreadable {
        /// As given.
        pid: i32,
        /// Why.
        source: ProcError,
    },
    /// There is no `/proc`.
    #[error("cannot read /proc/self")]
    Own(#[source] ProcError),
}

impl UsageError {
    fn of(pid: i32, source: ProcError) -> Self {
        match source {
            ProcError::NotFound(_) => Self::Gone { pid },
            source => Self::Unreadable { pid, source },
        }
    }
}

fn ticks(stat: &Stat) -> u64 {
    stat.utime + stat.stime
}

/// Resident memory, bytes; nothing for a process that is ending.
fn resident(process: &Process) -> ProcResult<u64> {
    Ok(process.status()?.vmrss.unwrap_or(0) * 1024)
}

/// Datagrams this machine threw away because the socket that was to receive them was full, since it began.
pub fn datagrams_dropped() -> u64 {
    let v4 = std::fs::read_to_string("/proc/self/net/snmp").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    let v6 = v6.lines().find_map(|line| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        (name == "Udp6RcvbufErrors").then(|| value.trim().parse::<u64>().ok())?
    });
    netstat(&v4, "Udp:", "RcvbufErrors").unwrap_or(0) + v6.unwrap_or(0)
}

/// Connections this process' network namespace dropped because a listener's queue was full, since it began.
fn listen_overflows(process: &Process) -> ProcResult<u64> {
    let mut text = String::new();
    let mut file = process.open_relative("net/netstat")?;
    io::Read::read_to_string(&mut file, &mut text)?;
    Ok(netstat(&text, "TcpExt:", "ListenOverflows").unwrap_or(0))
}

/// A value of `/proc/net/netstat` or `snmp`: a line of names, then a line of values, both beginning with the group.
fn netstat(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::thread;

    /// Computes until the kernel has charged this thread with `ticks` more than it had.
    fn burn(sampler: &Sampler, ticks: u64) {
        let before = sampler.sample().own_ticks;
        while sampler.sample().own_ticks < before + ticks {
            std::hint::black_box((0..100_000_u64).fold(0, |sum, n| sum ^ n));
        }
    }

    #[test]
    fn a_process_that_does_not_exist_is_named() {
        // No process has a number beyond pid_max, which is at most 2^22.
        let error = Sampler::new(Some(1 << 23)).err().expect("nobody is there");
        assert_eq!(error.to_string(), "--server-pid 8388608: no such process");
    }

    #[test]
    fn a_thread_that_computes_is_the_busiest_worker_and_part_of_all() {
        let own = i32::try_from(std::process::id()).expect("pids fit");
        let sampler = Sampler::new(Some(own)).expect("this process is there");
        thread::scope(|scope| {
            let name = format!("{WORKER_PREFIX}7");
            let worker = || {
                let before = sampler.sample();
                burn(&sampler, 10);
                (before, sampler.sample())
            };
            let started = thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, worker);
            let (before, after) = started.expect("a thread").join().expect("no panic");
            let usage = sampler.usage([&before, &before, &after], 1_000.0, 1_000);
            assert!(usage.own_busiest_worker > 0.0);
            // Other tests may run in this process meanwhile: never less than the worker.
            assert!(usage.own_cores >= usage.own_busiest_worker);
            assert!(usage.own_resident_bytes > 100_000);
            let server = usage.server.expect("watched");
            assert!(server.cores > 0.0 && server.cores >= server.user_cores);
            let per_viewer = server.cores * 1e6 / 1_000.0;
            assert!(
                server
                    .cpu_us_per_viewer_s
                    .is_some_and(|cpu| (cpu - per_viewer).abs() < 1e-6)
            );
            let (of_server, of_own) = sampler.cores(&before, &after);
            assert!(of_server.expect("watched") > 0.0 && of_own > 0.0);
            assert_eq!(
                usage.cores.len(),
                KernelStats::current().expect("/proc/stat").cpu_time.len()
            );
            assert!(usage.cores.iter().any(|core| core.busy > 0.0));
            assert!(usage.cores.iter().all(|c| c.busy + c.steal <= 1.0));
        });
    }

    #[test]
    fn no_time_is_not_no_use() {
        let own = i32::try_from(std::process::id()).expect("pids fit");
        let sampler = Sampler::new(Some(own)).expect("this process is there");
        let sample = sampler.sample();
        let usage = sampler.usage([&sample; 3], 1.0, 1);
        assert!(usage.server.is_none(), "0 µs a viewer would be a merit");
    }

    #[test]
    fn a_server_that_ends_is_missed_not_counted_as_idle() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep is everywhere");
        let pid = i32::try_from(child.id()).expect("pids fit");
        let sampler = Sampler::new(Some(pid)).expect("it sleeps");
        let before = sampler.sample();
        assert!(before.server.is_some());
        child.kill().expect("ours");
        child.wait().expect("ours");
        let after = sampler.sample();
        assert!(after.server.is_none());
        assert!(
            sampler
                .usage([&before, &before, &after], 1.0, 1)
                .server
                .is_none()
        );
        assert_eq!(sampler.cores(&before, &after).0, None);
        assert!(Sampler::new(Some(pid)).is_err());
    }

    #[test]
    fn listen_overflows_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 23 24\n\
                    IpExt: InNoRoutes\nIpExt: 5\n";
        assert_eq!(netstat(text, "TcpExt:", "ListenOverflows"), Some(23));
        assert_eq!(netstat(text, "TcpExt:", "Nothing"), None);
        let own = Process::myself().expect("/proc/self");
        listen_overflows(&own).expect("this kernel has it");
    }

    #[test]
    fn a_datagram_for_a_full_socket_is_counted() {
        let before = datagrams_dropped();
        let full = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket2::SockRef::from(&full)
            .set_recv_buffer_size(1)
            .expect("the least there is");
        let to = full.local_addr().expect("bound");
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for _ in 0..100 {
            sender.send_to(&[0; 1_000], to).expect("sent");
        }
        assert!(datagrams_dropped() > before + 50);
    }
}
