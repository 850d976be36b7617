//! funnel-load: thousands of simulated players against a streaming server, with honest percentiles.
//!
//! ```text
//! cli ─► run ─► scout, then worker ×N (viewer = talk + meter) ─► seconds ─► live view
//!                                                             └► tally   ─► outcome ─► report, requirements
//! ```
#![forbid(unsafe_code)]

mod arrival;
mod cli;
mod http;
mod meter;
mod mms;
mod news;
mod order;
mod outcome;
mod playback;
mod run;
mod scout;
mod search;
mod tally;
mod target;
mod units;
mod viewer;
mod worker;

// Stand-ins until report, require, usage and live arrive; whoever brings them deletes these.
mod live {
    use crate::outcome::Moment;
    pub struct Live;
    impl Live {
        pub fn moment(&mut self, m: &Moment) {
            eprintln!("{m:?}");
        }
        pub fn finish(self) {}
    }
}
mod report {
    use std::path::PathBuf;
    pub struct Files {
        pub json: Option<PathBuf>,
        pub hgrm: Option<PathBuf>,
        pub html: Option<PathBuf>,
    }
}
mod require {
    use crate::outcome::Outcome;
    #[derive(Clone, Debug)]
    pub struct Requirements;
    impl std::str::FromStr for Requirements {
        type Err = String;
        fn from_str(_: &str) -> Result<Self, String> {
            Ok(Requirements)
        }
    }
    pub struct Verdict {
        pub text: String,
        pub measured: String,
        pub met: bool,
    }
    impl Requirements {
        pub fn check(&self, _: &Outcome) -> Vec<Verdict> {
            vec![]
        }
    }
}
mod usage {
    use crate::outcome::Usage;
    pub struct Sampler;
    #[derive(Default)]
    pub struct Now {
        pub server_cores: Option<f64>,
        pub own_cores: f64,
    }
    impl Sampler {
        pub fn new(_: Option<i32>) -> Result<Sampler, String> {
            Ok(Sampler)
        }
        pub fn begin_steady(&mut self) {}
        pub fn end_steady(&mut self) {}
        pub fn second(&mut self) -> Now {
            Now::default()
        }
        pub fn usage(&mut self, _: f64) -> Usage {
            Usage::default()
        }
    }
}

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser as _;

use crate::cli::{Cli, Command, Load, RunArgs, SearchArgs};
use crate::live::Live;
use crate::require::Verdict;
use crate::run::Course;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Search(args)) => search(&args),
        None => run(&cli.run),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("funnel-load: {error}");
            ExitCode::from(CANNOT)
        }
    }
}
fn run(args: &RunArgs) -> Result<u8, String> {
    let stop = stop_at_signals()?;
    let course = Course::survey(&args.load, Arc::clone(&stop))?;
    let mut live = Live;
    let outcome = course.run(args.viewers, args.duration, &mut live)?;
    live.finish();
    let t = &outcome.tally;
    for (name, h) in [
        ("connect", &t.connect),
        ("first", &t.first_packet),
        ("delay", &t.delay),
        ("delay_ramp", &t.delay_ramp),
        ("gap", &t.gap),
        ("start", &t.start),
        ("stall", &t.stall),
        ("permille", &t.rate_permille),
    ] {
        println!(
            "{name:10} n {} min {} p50 {} p90 {} p99 {} p999 {} max {}",
            h.len(),
            h.min(),
            h.value_at_quantile(0.5),
            h.value_at_quantile(0.9),
            h.value_at_quantile(0.99),
            h.value_at_quantile(0.999),
            h.max()
        );
    }
    println!(
        "{:?} {:?} {:?}",
        t.counts, outcome.failures, outcome.warnings
    );
    Ok(0)
}
fn search(_: &SearchArgs) -> Result<u8, String> {
    Err("x".into())
}

/// A first signal ends the run early, with a report; a second one ends the program.
fn stop_at_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            INTERRUPTED.into(),
            Arc::clone(&stop),
        )
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    }
    Ok(stop)
}

const CANNOT: u8 = 2;
const INTERRUPTED: u8 = 130;
