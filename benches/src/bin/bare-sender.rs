//! The kernel's floor as a program: see `funnel_benches::bare`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Parser;
use funnel_benches::bare::{Counts, Options, Senders};
use funnel_benches::clock;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Sends marked ASF packets to everybody who asks, or as datagrams to everybody it is told, and does nothing else: the floor
/// under every streaming server.
#[derive(Parser)]
#[command(name = "bare-sender", version, max_term_width = 110, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let began = Instant::now();
    match run(Cli::parse().options) {
        Ok(counts) => {
            tell(&counts, began.elapsed());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bare-sender: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<Counts, Box<dyn std::error::Error>> {
    // Every connection by sendmsg is a descriptor; where the limit cannot be raised, fewer come in.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let senders = Senders::new(options)?;
    println!("{}", senders.url);
    Ok(senders.run(&stop)?)
}

fn tell(counts: &Counts, took: Duration) {
    let Counts {
        connections,
        sends,
        packets,
        bytes,
        short,
        lost,
        late_max,
    } = counts;
    let cpu = clock::process_cpu().as_secs_f64();
    let each = |count: f64| cpu * 1e6 / count.max(1.0);
    println!(
        "{connections} connections; {sends} sends, {packets} packets, {bytes} bytes; {short} sends cut short, {lost} packets \
         lost; latest visit {:.1} ms late; CPU {cpu:.2} s, {:.2} µs a send, {:.3} µs a packet, {:.2} µs/s a connection",
        late_max.as_secs_f64() * 1e3,
        each(*sends as f64),
        each(*packets as f64),
        each(*connections as f64 * took.as_secs_f64()),
    );
}

const EXAMPLE: &str = "\
Prints its address, and at SIGINT or SIGTERM what it has sent. Examples:
  taskset -c 0 bare-sender --listen 127.0.0.1:8000 &
  funnel-load http://127.0.0.1:8000/ --viewers 10000 --server-pid $!
  taskset -c 0 bare-sender --by trains --to 10.0.0.1:5000 --receivers 10000";
