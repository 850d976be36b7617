//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use funnel_session::client::{Manner, Transport};
use funnel_session::{Selection, Thinning};

use crate::report::Files;
use crate::require::Requirements;
use crate::target::DEAF_PORT;
use crate::units;

/// Thousands of simulated players against a streaming server, with honest percentiles
#[derive(Debug, Parser)]
#[command(name = "funnel-load", version, about, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// Another thing to do than one run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// One run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What else this program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find the largest number of viewers that still meets the requirements
    Search(SearchArgs),
}

/// One run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What to measure
    #[command(flatten)]
    pub load: Load,
    /// Viewers
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=VIEWERS_MAX))]
    pub viewers: u32,
    /// Steady time, which begins when all have arrived
    #[arg(long, short = 'd', default_value = "30s", value_parser = units::steady_time)]
    pub duration: Duration,
    /// What must hold, such as 'delay_p99<500ms,missing=0,failed=0'; decides the exit code
    #[arg(long, value_name = "CONDITIONS")]
    pub require: Option<Requirements>,
    /// Where results go
    #[command(flatten)]
    pub files: FileArgs,
}

/// A search for the largest number of viewers.
#[derive(Args, Clone, Debug)]
pub struct SearchArgs {
    /// What to measure
    #[command(flatten)]
    pub load: Load,
    /// What must hold, such as 'delay_p99<150ms,missing=0,failed=0'
    #[arg(long, value_name = "CONDITIONS", required = true)]
    pub require: Option<Requirements>,
    /// Never more viewers than this
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=VIEWERS_MAX))]
    pub max: u32,
    /// Begin with this many viewers
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=VIEWERS_MAX))]
    pub min: u32,
    /// How near the answer must be, as a share of it
    #[arg(long, default_value = "5%", value_parser = units::share)]
    pub within: f64,
    /// Steady time of each step
    #[arg(long, short = 'd', default_value = "10s", value_parser = units::steady_time)]
    pub duration: Duration,
    /// Rest between steps, so that the server can forget the last one
    #[arg(long, default_value = "2s", value_parser = units::duration)]
    pub rest: Duration,
    /// Where results go
    #[command(flatten)]
    pub files: FileArgs,
}

/// What runs and steps of a search have in common.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// `mms://HOST:PORT/CHANNEL`, `mmsu://` for media over UDP, `http://HOST:PORT/PATH` of any endless stream, or a file
    /// `NAME.nsc` that announces a multicast
    #[arg(required = true)]
    url: Option<String>,
    /// Arrivals at a steady pace [default: 1000/s]
    #[arg(long, value_name = "RATE", value_parser = units::per_second, conflicts_with_all = ["at_once", "poisson"])]
    pub ramp: Option<f64>,
    /// All arrive in the same moment
    #[arg(long, conflicts_with = "poisson")]
    pub at_once: bool,
    /// Arrivals at random with this mean pace
    #[arg(long, value_name = "RATE", value_parser = units::per_second)]
    pub poisson: Option<f64>,
    /// Churn: viewers stay this long on average (exponential), and whoever leaves is replaced by a new one
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub stay: Option<Duration>,
    /// Threads with a ring of their own [default: as many as the viewers need]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Cores for the workers, such as 1 or 2,3, or none to leave it to the system [default: the last ones]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<Cores>,
    /// Source addresses; on loopback 127.0.0.1 and up [default: as many as the viewers need]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=250))]
    pub sources: Option<u16>,
    /// Share of viewers who stop reading once media comes
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share, hide_default_value = true)]
    pub stalled: f64,
    /// Share of viewers who read too slowly, and how: 5%@64kb/s
    #[arg(long, value_name = "SHARE@RATE")]
    pub slow: Option<Slow>,
    /// Share of viewers who connect and vanish
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share, hide_default_value = true)]
    pub vanish: f64,
    /// Share of viewers who send garbage
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share, hide_default_value = true)]
    pub garbage: f64,
    /// Streams to ask for, such as 1,2 [default: all]
    #[arg(long, value_name = "LIST", value_parser = streams)]
    pub streams: Option<Selection>,
    /// Whose habits the viewers have (MMS)
    #[arg(long, value_enum, default_value_t = Player::Wmp9)]
    pub manner: Player,
    /// How media is asked for (MMS)
    #[arg(long, value_enum, default_value_t = Carrier::Tcp)]
    pub transport: Carrier,
    /// Share of datagrams that are lost before they reach their viewer, as on a bad line
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share, hide_default_value = true)]
    pub drop: f64,
    /// Talk only: media goes as datagrams to port 5004 of the viewers' addresses, where nobody listens
    #[arg(long)]
    pub deaf: bool,
    /// The interface, by name or address, on which multicast is received [default: where the route to the group leads]
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Option<String>,
    /// The same seed gives the same arrivals, stays and misbehaviour
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Buffer of the playback model: how much a viewer collects before it plays
    #[arg(long, default_value = "3s", value_parser = units::duration)]
    pub buffer: Duration,
    /// Share of viewers whose every packet's checksum is computed
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = units::share)]
    pub verify: f64,
    /// The stream's bit rate, where it does not say
    #[arg(long, value_name = "RATE", value_parser = units::bits_per_second)]
    pub rate: Option<u64>,
    /// Process id of the server, if it runs here: adds its CPU, memory and context switches
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<i32>,
    /// Plain lines instead of a live view
    #[arg(long)]
    pub plain: bool,
}

impl Load {
    /// What to measure.
    pub fn url(&self) -> &str {
        // An Option only because a subcommand makes it needless, and then nobody asks.
        self.url.as_deref().expect("clap requires it")
    }
}

/// Files to write.
#[derive(Args, Clone, Debug, Default)]
pub struct FileArgs {
    /// Write all results as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the delay's percentiles as HdrHistogram text
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write one page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl From<&FileArgs> for Files {
    fn from(args: &FileArgs) -> Files {
        Files {
            json: args.json.clone(),
            hgrm: args.hgrm.clone(),
            html: args.html.clone(),
        }
    }
}

/// Where workers are pinned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cores {
    /// Nowhere.
    None,
    /// One after the other.
    These(Vec<usize>),
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Cores, String> {
        if text == "none" {
            return Ok(Cores::None);
        }
        let cores: Result<Vec<usize>, _> =
            text.split(',').map(|core| core.trim().parse()).collect();
        cores.map(Cores::These).map_err(|_| {
            format!("'{text}' is neither 'none' nor a list of core numbers such as 0,1")
        })
    }
}

/// Viewers who read too slowly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slow {
    /// How many, 0–1.
    pub share: f64,
    /// How slowly.
    pub bits_per_second: u64,
}

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Slow, String> {
        let (share, rate) = text
            .split_once('@')
            .ok_or("a share and a rate are needed, such as 5%@64kb/s")?;
        Ok(Slow {
            share: units::share(share)?,
            bits_per_second: units::bits_per_second(rate)?,
        })
    }
}

/// How media is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Carrier {
    /// Over the connection
    Tcp,
    /// As datagrams
    Udp,
}

impl From<Carrier> for Transport {
    fn from(carrier: Carrier) -> Transport {
        match carrier {
            Carrier::Tcp => Transport::Tcp,
            Carrier::Udp => Transport::Udp { port: DEAF_PORT },
        }
    }
}

/// Players whose habits are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Player {
    /// Windows Media Player 9
    Wmp9,
    /// Windows Media Player 6.4
    Wmp6,
    /// ffmpeg
    Ffmpeg,
    /// libmms (GStreamer, mpd)
    Libmms,
    /// xine
    Xine,
    /// mplayer
    Mplayer,
    /// VLC
    Vlc,
}

impl From<Player> for Manner {
    fn from(player: Player) -> Manner {
        match player {
            Player::Wmp9 => Manner::WINDOWS_MEDIA_9,
            Player::Wmp6 => Manner::WINDOWS_MEDIA_6,
            Player::Ffmpeg => Manner::FFMPEG,
            Player::Libmms => Manner::LIBMMS,
            Player::Xine => Manner::XINE,
            Player::Mplayer => Manner::MPLAYER,
            Player::Vlc => Manner::VLC,
        }
    }
}

fn streams(text: &str) -> Result<Selection, String> {
    let mut selection = Selection::NONE;
    for number in text.split(',') {
        match number.trim().parse() {
            Ok(stream @ 1..=127) => selection.set(stream, Thinning::All),
            _ => {
                return Err(format!(
                    "'{}' is not a stream number from 1 to 127",
                    number.trim()
                ));
            }
        }
    }
    Ok(selection)
}

/// More than any single machine will do; bounds the plan's memory.
const VIEWERS_MAX: i64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  funnel-load mms://127.0.0.1/probe --viewers 10000 --ramp 1000/s --duration 30s
  funnel-load mms://127.0.0.1/probe -n 5000 --server-pid $(pidof funnel) --html result.html
  funnel-load mms://127.0.0.1/probe -n 500 --require 'delay_p99<500ms,missing=0,failed=0'
  funnel-load mmsu://127.0.0.1/probe -n 500 --drop 1% --require 'udp_recovered_share>99%'
  funnel-load search mms://127.0.0.1/probe --max 20000 --require 'delay_p99<500ms,missing=0,failed=0'

Delay is measured where packets carry marks: give the server a channel with
  source = { kind = \"probe\", bits_per_second = 300_000, packet_bytes = 1444 }
Exit code: 0 all well, 1 a requirement is not met, 2 nothing could be measured, 130 interrupted.";
