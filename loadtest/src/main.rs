//! funnel-load: thousands of simulated players against a streaming server, with honest percentiles.
//!
//! ```text
//! cli ─► run ─► scout, then worker ×N (viewer = talk + meter) ─► seconds ─► live view
//!                                                             └► tally   ─► outcome ─► report, requirements
//! ```
#![forbid(unsafe_code)]

mod arrival;
mod cli;
mod group;
mod http;
mod live;
mod meter;
mod mms;
mod news;
mod order;
mod outcome;
mod playback;
mod report;
mod require;
mod run;
mod scout;
mod search;
mod tally;
mod target;
mod units;
mod usage;
mod viewer;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;

use crate::cli::{Cli, Command, RunArgs, SearchArgs};
use crate::live::Live;
use crate::report::Files;
use crate::run::Course;
use crate::search::{Step, Steps};

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
    let files = Files::from(&args.files);
    report::check(&files).map_err(|error| format!("{error:#}"))?;
    let course = Course::survey(&args.load, Arc::clone(&stop))?;
    let mut live = Live::new(args.load.plain);
    let outcome = course.run(args.viewers, args.duration, &mut live)?;
    live.finish();
    let verdicts = args
        .require
        .as_ref()
        .map(|require| require.check(&outcome))
        .unwrap_or_default();
    let summary = report::summary(&outcome, &verdicts, console::colors_enabled());
    // Nobody may read it any more, but the files are still to be written.
    drop(std::io::stdout().write_all(summary.as_bytes()));
    report::write_all(&outcome, &verdicts, &files).map_err(|error| format!("{error:#}"))?;
    Ok(match report::passed(&verdicts) {
        _ if stop.load(Ordering::Relaxed) => INTERRUPTED,
        Some(false) => NOT_MET,
        _ => 0,
    })
}

fn search(args: &SearchArgs) -> Result<u8, String> {
    let stop = stop_at_signals()?;
    let files = Files::from(&args.files);
    report::check(&files).map_err(|error| format!("{error:#}"))?;
    let course = Course::survey(&args.load, Arc::clone(&stop))?;
    let requirements = args.require.clone().expect("clap requires it");
    let Steps { all, cut_short } = search::search(&course, args, &requirements, |step| {
        println!("{}", step_line(step))
    })?;
    report::write_search(&all, &requirements.to_string(), &files)
        .map_err(|error| format!("{error:#}"))?;
    if let Some(why) = cut_short {
        return Err(why);
    }
    match search::best(&all) {
        _ if stop.load(Ordering::Relaxed) => Ok(INTERRUPTED),
        Some(best) => {
            println!("\n{} viewers met {requirements}", best.viewers);
            Ok(0)
        }
        None => {
            println!("\nno number of viewers met {requirements}");
            Ok(NOT_MET)
        }
    }
}

/// One step of a search, in a line.
fn step_line(step: &Step) -> String {
    let measured: Vec<String> = step
        .verdicts
        .iter()
        .map(|verdict| format!("{} ({})", verdict.text, verdict.measured))
        .collect();
    let mark = if step.passed { "met    " } else { "NOT met" };
    format!(
        "{:>7} viewers  {mark}  {}",
        step.viewers,
        measured.join(", ")
    )
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

const NOT_MET: u8 = 1;
const CANNOT: u8 = 2;
const INTERRUPTED: u8 = 130;
