//! The command line: what can be asked of the binary, and how times are written there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use funnel_uring::net::Interface;

use crate::locator::{Locator, Place};
use crate::push::Target;

/// Live broadcasting over MMS for Windows Media Player, VLC, ffmpeg, mplayer and their kin.
#[derive(Debug, Parser)]
#[command(name = "funnel", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do; without a command: serve the built-in demo channel.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Broadcast until a signal ends it (the default).
    Serve {
        /// The configuration (TOML); without it the built-in demo channel is on air.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check a configuration and its media files without starting anything.
    Check {
        /// The configuration (TOML); without it the built-in demo is checked.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say what a channel carries. Starts no show: only the header is read.
    Probe(Probe),
    /// Say what an .nsc file announces, and what is wrong with it.
    Nsc(Nsc),
    /// Record a channel into an ASF file.
    Record(Record),
    /// Make the lines of a configuration that let an encoder push.
    Password(Password),
    /// Send a file in real time to a server that takes encoders.
    Push(Push),
}

impl Default for Command {
    fn default() -> Self {
        Self::Serve { config: None }
    }
}

/// Arguments of `funnel probe`.
#[derive(Args, Debug)]
pub struct Probe {
    /// The channel: mms://HOST/NAME, mms://HOST:PORT/NAME, or the same with mmst://, mmsu:// (UDP), http://, https:// or mmsh://; a multicast: FILE.nsc, or http://HOST/FILE.nsc
    #[arg(value_name = "URL|FILE.nsc")]
    pub url: Locator,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// How long the server may take for the connection and for each answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub timeout: Duration,
    /// Over https://: believe certificates of the authorities in this PEM file, and no others.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Of a multicast; last, since what follows would stand under its heading.
    #[command(flatten)]
    pub multicast: Multicast,
}

/// Arguments of `funnel nsc`.
#[derive(Args, Debug)]
pub struct Nsc {
    /// The announcement of a multicast: FILE, or http://HOST/FILE.nsc
    #[arg(value_name = "URL|FILE")]
    pub place: Place,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `funnel record`.
#[derive(Args, Debug)]
pub struct Record {
    /// The channel: mms://HOST/NAME, mms://HOST:PORT/NAME, or the same with mmst://, http://, https:// or mmsh://; mmsu:// takes the media over UDP and asks for what is lost; a multicast: FILE.nsc, or http://HOST/FILE.nsc
    #[arg(value_name = "URL|FILE.nsc")]
    pub url: Locator,
    /// Where to write; while recording the file is called FILE.part.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// How much to record, in time of the show (a server sends the latest seconds at once); without it until the end, or Ctrl-C.
    #[arg(long, short, value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,
    /// Replace FILE if it exists.
    #[arg(long)]
    pub overwrite: bool,
    /// Over https://: believe certificates of the authorities in this PEM file, and no others.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Of a multicast; last, since what follows would stand under its heading.
    #[command(flatten)]
    pub multicast: Multicast,
}

/// Arguments of `funnel password`.
#[derive(Args, Debug)]
pub struct Password {
    /// The name the encoder gives. The password is asked for, or is the first line of standard input.
    #[arg(value_name = "USER")]
    pub user: String,
    /// For encoders that answer to Digest, such as Windows Media Encoder; without it an Argon2 hash, which serves Basic alone.
    #[arg(long)]
    pub digest: bool,
}

/// Arguments of `funnel push`.
#[derive(Args, Debug)]
pub struct Push {
    /// An ASF, WMV or WMA file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to: http://HOST:PORT/NAME or https://…, with USER:PASSWORD@ before the host if the server asks for a login; tcp://HOST:PORT
    #[arg(value_name = "URL")]
    pub url: Target,
    /// Begin again at the end, without a seam, and try again when the server is away, until a signal comes.
    #[arg(long = "loop")]
    pub looped: bool,
    /// The encoder to be; without it wmhttp, or tcp for a tcp:// URL.
    #[arg(long, value_enum, value_name = "NAME")]
    pub protocol: Option<PushProtocol>,
    /// Certificates to trust for https:// instead of the system's (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Take any certificate for https://, whoever it is from.
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
}

/// Whose manner `funnel push` has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum PushProtocol {
    /// Windows Media Encoder's protocol
    Wmhttp,
    /// One POST of plain ASF, like ffmpeg's asf
    Post,
    /// One PUT for each packet, like GStreamer's souphttpclientsink
    Put,
    /// One POST of $H and $D packets, like ffmpeg's asf_stream
    Chunks,
    /// Plain ASF without HTTP
    Tcp,
}

/// How a multicast is received; of no meaning for other channels.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Multicast")]
pub struct Multicast {
    /// The network interface to join on, by name or address; without it where the route to the group leads.
    #[arg(long, value_name = "NAME|ADDRESS", value_parser = interface)]
    pub interface: Option<Interface>,
    /// Join only the source that the announcement names (Multicast Adapter), as groups in 232.0.0.0/8 and ff3x: need.
    #[arg(long)]
    pub source_specific: bool,
    /// Silence after which the announcement's unicast URL is played instead.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    pub open_time: Duration,
}

fn interface(text: &str) -> Result<Interface, String> {
    Interface::find(text).map_err(|error| error.to_string())
}

impl Default for Multicast {
    fn default() -> Self {
        Self {
            interface: None,
            source_specific: false,
            open_time: Duration::from_secs(20),
        }
    }
}

/// Reads `10s`, `500ms`, `1.5h`, `2m 30s`, `90` (seconds).
fn time(text: &str) -> Result<Duration, String> {
    const HOW: &str = "a time is written 10s, 500ms, 2m or 1h30m";
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let after = after.trim_start();
        let unit_end = after
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let number: f64 = number.parse().map_err(|_| HOW)?;
        seconds += number
            * match unit {
                "ms" => 0.001,
                "" | "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ => return Err(HOW.to_owned()),
            };
        rest = after.trim_start();
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time >= Duration::from_millis(1) => Ok(time),
        Ok(_) => Err("a time must be longer than nothing".to_owned()),
        Err(_) => Err("this time is too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("90", 90_000),
            ("1h30m", 5_400_000),
            ("2m 30 s", 150_000),
            ("0.5s", 500),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "s",
            "ten",
            "-5s",
            "1.2.3s",
            "5 weeks",
            "1e9h",
            "99999999999999999999h",
        ] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// The words of a line of a manual, without its comment; `None`: it does not call funnel.
    fn words(line: &str) -> Option<Vec<String>> {
        let line = line.split('#').next()?.trim().strip_prefix("funnel ")?;
        let words = line.split_whitespace().map(|word| word.trim_matches('\''));
        Some(words.map(str::to_owned).collect())
    }

    #[test]
    fn every_line_of_the_manuals_is_understood() {
        const MANUALS: [&str; 4] = [
            include_str!("../../../README.md"),
            include_str!("../../../docs/http.md"),
            include_str!("../../../docs/udp.md"),
            include_str!("../../../docs/multicast.md"),
        ];
        // Every second part stands between fences.
        let fenced = |manual: &'static str| manual.split("```").skip(1).step_by(2);
        let fenced = MANUALS.into_iter().flat_map(fenced).flat_map(str::lines);
        let indented = MANUALS.into_iter().flat_map(str::lines);
        let indented = indented.filter(|line| line.starts_with("    "));
        let calls: Vec<_> = fenced.chain(indented).filter_map(words).collect();
        assert!(calls.len() > 8, "{calls:?}");
        for call in calls {
            let words = std::iter::once("funnel".to_owned()).chain(call.iter().cloned());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{call:?}: {error}");
            }
        }
    }

    #[test]
    fn only_what_is_of_multicasts_stands_under_their_heading() {
        for name in ["probe", "record"] {
            let mut cli = Cli::command();
            let command = cli.find_subcommand_mut(name).expect("a subcommand");
            let help = command.render_help().to_string();
            let (general, multicast) = help.split_once("Multicast:").expect("a heading");
            assert_eq!(multicast.matches("--").count(), 3, "{help}");
            assert!(general.contains("--help"), "{help}");
        }
    }

    #[test]
    fn nothing_means_serve_without_a_file() {
        let cli = Cli::try_parse_from(["funnel"]).expect("no command is fine");
        assert!(matches!(
            cli.command.unwrap_or_default(),
            Command::Serve { config: None }
        ));
    }
}
