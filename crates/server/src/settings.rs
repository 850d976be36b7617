//! From a configuration file to settings that can be served: everything that can be known without starting is looked at here, and all
//! faults come out together.

use std::path::Path;
use std::time::{Duration, Instant};

use funnel_asf::probe::{Probe, ProbeError};
use funnel_control::config::{self, ChannelConfig, Config, Fault, Loaded, SourceConfig};
use funnel_ingest::{InspectError, Inspection, Password, inspect, inspect_bytes};
use funnel_session::url::Url;
use funnel_wire::mms::ASF_PACKET_BYTES_MAX;
use miette::Diagnostic as _;
use nix::unistd::{AccessFlags, access};

use crate::failure::Failure;
use crate::limits::{self, Fit, TooMany};
use crate::machine;
use crate::multicast;
use crate::stand_ins;
use crate::tls::Certificate;

/// The built-in demo: `testdata/make-demo.sh` makes it.
pub const DEMO: &[u8] = include_bytes!("../assets/demo.asf");

/// Where every key of the configuration is explained.
pub const REFERENCE: &str = "config/funnel.toml";

/// A configuration that may be served.
#[derive(Debug)]
pub struct Settings {
    /// As configured.
    pub config: Config,
    /// The configuration file; `None` = the built-in demo.
    pub file: Option<String>,
    /// What each channel's source is known to hold, in the order of the channels.
    pub media: Vec<Media>,
    /// Threads that serve viewers.
    pub workers: usize,
    /// Viewers that fit.
    pub fit: Fit,
    /// What will hurt, one sentence each.
    pub warnings: Vec<String>,
}

/// What is known of a source before it starts: nothing of a command, everything of a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Media {
    /// bit/s
    pub bit_rate: Option<u32>,
    /// Bytes of a packet.
    pub packet_bytes: Option<u32>,
    /// How long it is, ms.
    pub duration_ms: Option<u64>,
    /// Its own title.
    pub title: Option<String>,
}

/// Reads and checks `file`, or the built-in demo's settings.
///
/// # Errors
/// Every fault of the configuration, of the media it names, and of what it asks of this machine.
pub fn read(file: Option<&Path>) -> Result<Settings, Failure> {
    let mut checked = match file {
        Some(path) => of_file(path)?,
        None => of_demo()?,
    };
    checked.warnings.extend(checked.fit.warning.clone());
    Ok(checked)
}

fn of_demo() -> Result<Settings, Failure> {
    let config = Config::demo();
    let workers = workers(&config);
    let mut warnings = Vec::new();
    let inspected = config
        .channels
        .iter()
        .map(|channel| look_at(channel, &mut warnings));
    let media = inspected
        .collect::<Result<_, _>>()
        .map_err(Failure::fault)?;
    let fit = limits::fit(config.limits.viewers, workers, machine::open_files_max())
        .map_err(Failure::fault)?;
    Ok(Settings {
        config,
        file: None,
        media,
        workers,
        fit,
        warnings,
    })
}

fn of_file(path: &Path) -> Result<Settings, Failure> {
    let mut loaded = config::load(path)?;
    let workers = workers(&loaded.config);
    let fit = limits::fit(
        loaded.config.limits.viewers,
        workers,
        machine::open_files_max(),
    );
    let mut faults = Vec::new();
    if let Err(error) = &fit {
        faults.push(loaded.fault_at_key("limits.viewers", error.to_string(), TooMany::HELP));
    }
    let (mut media, mut media_warnings) = (Vec::new(), Vec::new());
    for channel in &loaded.config.channels {
        match look_at(channel, &mut media_warnings) {
            Ok(known) => media.push(known),
            Err(error) => faults.push(media_fault(&loaded, channel, &error)),
        }
    }
    faults.extend(multicast_faults(&loaded));
    faults.extend(password_faults(&loaded));
    faults.extend(address_faults(&loaded));
    faults.extend(tls_fault(&loaded));
    let (stand_in_faults, stand_in_warnings) = stand_ins::check(&loaded);
    faults.extend(stand_in_faults);
    let config = loaded.check(faults)?;
    let mut warnings: Vec<String> = loaded.warnings.faults().iter().map(sentence).collect();
    warnings.append(&mut media_warnings);
    warnings.extend(stand_in_warnings);
    warnings.extend(unplayable(&config, &media));
    warnings.extend(fragments(&config, &media));
    let fit = fit.map_err(Failure::fault)?;
    Ok(Settings {
        config,
        file: Some(path.display().to_string()),
        media,
        workers,
        fit,
        warnings,
    })
}

/// Hashes that are no hashes, though they begin like one.
fn password_faults(loaded: &Loaded) -> Vec<Fault> {
    let mut faults = Vec::new();
    for channel in &loaded.config.channels {
        if let SourceConfig::Push(push) = &channel.source
            && let Some(Err(error)) = push
                .password_hash
                .as_ref()
                .map(|hash| hash.parse::<Password>())
        {
            let help = "`funnel password USER` asks for the password and prints the line to paste";
            faults.push(loaded.fault_at(
                &channel.name,
                "source.password_hash",
                error.to_string(),
                help,
            ));
        }
    }
    faults
}

/// Addresses of other servers that nothing could be asked for. The message leaves out the address, which may hold a login.
fn address_faults(loaded: &Loaded) -> Vec<Fault> {
    let fault = |channel: &ChannelConfig| {
        let (key, url) = match &channel.source {
            SourceConfig::Pull(pull) => ("source.url", &pull.url),
            SourceConfig::Elsewhere { url } => ("redirect", url),
            _ => return None,
        };
        let error = url.parse::<Url>().err()?;
        let help = "http://HOST:PORT/NAME, http://USER:PASSWORD@HOST:PORT/NAME, mms://HOST/NAME";
        Some(loaded.fault_at(&channel.name, key, error.to_string(), help))
    };
    loaded.config.channels.iter().filter_map(fault).collect()
}

/// What multicast needs of this machine and does not find.
fn multicast_faults(loaded: &Loaded) -> Vec<Fault> {
    let mut faults = Vec::new();
    for channel in &loaded.config.channels {
        let multicast = channel.multicast.as_ref();
        let interface = multicast.and_then(|multicast| multicast.interface.as_ref());
        if let Some(Err(error)) = interface.map(multicast::find) {
            let help = "`ip address` shows what there is";
            let fault = loaded.fault_at(
                &channel.name,
                "multicast.interface",
                error.to_string(),
                help,
            );
            faults.push(fault);
        }
    }
    let folder = loaded.config.multicast.nsc_directory.as_deref();
    if let Some(message) = folder.and_then(unwritable) {
        let help = "funnel's user must be allowed to create and replace files there";
        faults.push(loaded.fault_at_key("multicast.nsc_directory", message, help));
    }
    faults
}

/// What is wrong with certificate and key.
fn tls_fault(loaded: &Loaded) -> Option<Fault> {
    let files = loaded.config.tls.as_ref()?;
    let error = Certificate::load(files, Instant::now()).err()?;
    let help = "certificate: this server's first, then those between it and the authority; key: the one it was made with";
    Some(loaded.fault_at_key(error.key(), error.to_string(), help))
}

/// Why no file can be made in a folder, if so.
fn unwritable(folder: &Path) -> Option<String> {
    let errno = access(folder, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(format!(
        "{} cannot be written to: {}",
        folder.display(),
        errno.desc()
    ))
}

/// Channels of which every player is refused (`docs/protocol/mmsp.md` §2.5).
fn unplayable(config: &Config, media: &[Media]) -> Vec<String> {
    let warning = |(channel, media): (&ChannelConfig, &Media)| {
        let packet_bytes = media.packet_bytes?;
        (packet_bytes > ASF_PACKET_BYTES_MAX).then(|| {
            format!(
                "channel {}: packets of {packet_bytes} bytes are more than MMS carries ({ASF_PACKET_BYTES_MAX}), so every player is refused",
                channel.name
            )
        })
    };
    config
        .channels
        .iter()
        .zip(media)
        .filter_map(warning)
        .collect()
}

/// Groups whose datagrams the network would cut (`docs/protocol/msb-nsc.md` §12).
fn fragments(config: &Config, media: &[Media]) -> Vec<String> {
    let warning = |(channel, media): (&ChannelConfig, &Media)| {
        let packet_bytes = media.packet_bytes?;
        let group = channel.multicast.as_ref()?.address;
        // Heads of IP and UDP, and of the packet on the group.
        let heads = if group.is_ipv4() { 20 } else { 40 } + 8 + 8;
        let fitting = u32::from(config.listen.udp_mtu) - heads;
        (packet_bytes > fitting).then(|| {
            format!(
                "channel {}: packets of {packet_bytes} bytes travel to the group as IP fragments, and one lost fragment loses the packet ({fitting} bytes fit; ffmpeg: -packet_size 1400)",
                channel.name
            )
        })
    };
    config
        .channels
        .iter()
        .zip(media)
        .filter_map(warning)
        .collect()
}

fn workers(config: &Config) -> usize {
    match config.server.workers {
        0 => machine::cores().len().max(1),
        workers => workers,
    }
}

/// Why a channel's source cannot be served.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Media(#[from] Box<InspectError>),
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl From<InspectError> for Unfit {
    fn from(error: InspectError) -> Self {
        Self::Media(Box::new(error))
    }
}

/// Looks through a channel's media, if it has any yet.
fn look_at(channel: &ChannelConfig, warnings: &mut Vec<String>) -> Result<Media, Unfit> {
    let (inspection, looped) = match &channel.source {
        SourceConfig::Demo => (inspect_bytes("the built-in demo", DEMO)?, true),
        SourceConfig::File { path, looped, .. } => (inspect(path)?, *looped),
        SourceConfig::Command { .. }
        | SourceConfig::Push(_)
        | SourceConfig::Pull(_)
        | SourceConfig::Elsewhere { .. } => return Ok(Media::default()),
        SourceConfig::Probe {
            bits_per_second,
            packet_bytes,
        } => {
            return Ok(Media::of_probe(&Probe::new(
                *bits_per_second,
                *packet_bytes,
            )?));
        }
    };
    let log = Duration::from_secs(channel.log_seconds.into());
    warnings.extend(
        inspection
            .warnings(log, looped)
            .into_iter()
            .map(|warning| format!("channel {}: {warning}", channel.name)),
    );
    Ok(Media::of(&inspection))
}

fn media_fault(loaded: &Loaded, channel: &ChannelConfig, error: &Unfit) -> Fault {
    let (key, help) = match error {
        Unfit::Media(_) => (
            "source.path",
            "an ASF, WMV or WMA file is needed; `ffmpeg -i FILE -c copy -packet_size 1400 NEW.wmv` repairs many",
        ),
        Unfit::Probe(_) => (
            "source.packet_bytes",
            "smaller packets or more bits: 8 × packet_bytes may be bits_per_second at most",
        ),
    };
    loaded.fault_at(&channel.name, key, error.to_string(), help)
}

impl Media {
    fn of(inspection: &Inspection) -> Self {
        let header = &inspection.live.header;
        Self {
            bit_rate: Some(header.bit_rate()),
            packet_bytes: Some(header.packet_bytes()),
            duration_ms: Some(inspection.survey.duration_ms),
            title: Some(header.description().title.clone()).filter(|title| !title.is_empty()),
        }
    }

    fn of_probe(probe: &Probe) -> Self {
        Self {
            bit_rate: Some(probe.bits_per_second()),
            packet_bytes: Some(probe.packet_bytes()),
            ..Self::default()
        }
    }
}

/// A fault with its advice, on one line.
fn sentence(fault: &Fault) -> String {
    match fault.help() {
        Some(help) => format!("{fault} ({help})"),
        None => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(text: &str) -> (Result<Settings, Failure>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("funnel.toml");
        fs::write(&path, text).expect("written");
        (read(Some(&path)), folder)
    }

    #[test]
    fn the_demo_is_sound_and_needs_no_warning() {
        let settings = read(None).expect("the demo");
        assert_eq!(settings.warnings, Vec::<String>::new());
        assert_eq!(settings.media[0].title.as_deref(), Some("funnel demo"));
        assert!(
            settings.media[0]
                .bit_rate
                .is_some_and(|rate| (200_000..400_000).contains(&rate)),
            "{:?}",
            settings.media
        );
        assert!(
            settings.media[0]
                .packet_bytes
                .is_some_and(|bytes| bytes <= 1464)
        );
    }

    #[test]
    fn addresses_that_lead_nowhere_are_faults_that_tell_no_password() {
        let text = "[channels.a]\nsource = { kind = \"pull\", url = \"http://joe:secret@h:99999/x\" }\n[channels.b]\nsource = { kind = \"pull\", url = \"mms://joe:secret@h/x\" }\n[channels.c]\nsource = { kind = \"pull\", url = \"http://joe:secret@h:8080/x\" }\n[channels.d]\nredirect = \"mms://:1755/x\"\n";
        let (result, _folder) = read_text(text);
        let Err(Failure::Config(faults)) = result else {
            panic!("accepted");
        };
        let all: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "channels.a.source.url: the port is not a number from 1 to 65535",
                "channels.b.source.url: a user and a password can be given over HTTP only",
                "channels.d.redirect: the host is missing or damaged",
            ]
        );
    }

    #[test]
    fn faults_of_the_file_its_media_and_the_machine_come_together() {
        let text = "[limits]\nviewers = 10_000_000\nidle = 3\n[server]\nworkers = 1\n[channels.a]\nsource = { kind = \"file\", path = \"funnel.toml\" }\n";
        let (result, _folder) = read_text(text);
        let Err(Failure::Config(faults)) = result else {
            panic!("accepted");
        };
        let all: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
        assert_eq!(all.len(), 3, "{all:#?}");
        assert!(
            all[0].starts_with("limits.viewers: 10000000 viewers do not fit"),
            "{all:#?}"
        );
        assert!(all[1].contains("idle"), "{all:#?}");
        assert!(
            all[2].starts_with("channels.a.source.path: ") && all[2].contains("neither ASF"),
            "{all:#?}"
        );
        assert!(faults.faults().iter().all(|fault| fault.span().is_some()));
    }

    #[test]
    fn a_probe_is_known_before_it_starts_and_its_limits_are_ours() {
        let (result, _folder) = read_text(
            "[channels.p]\nsource = { kind = \"probe\", bits_per_second = \"2 Mb/s\" }\n",
        );
        let settings = result.expect("a sound configuration");
        let known = Media {
            bit_rate: Some(2_000_000),
            packet_bytes: Some(1444),
            ..Media::default()
        };
        assert_eq!(settings.media, [known]);
        // What the configuration lets through must be what can be made, but for the rule about both numbers together.
        for (bits_per_second, packet_bytes) in
            [(8_000, 256), (1_000_000_000, 256), (1_000_000_000, 64_000)]
        {
            assert!(Probe::new(bits_per_second, packet_bytes).is_ok());
        }
        let (result, _folder) = read_text(
            "[channels.p]\nsource = { kind = \"probe\", packet_bytes = 32768 }\n\
             [channels.q]\nsource = { kind = \"probe\", packet_bytes = 32769 }\n",
        );
        assert_eq!(
            result.expect("only a warning").warnings,
            [
                "channel q: packets of 32769 bytes are more than MMS carries (32768), so every player is refused"
            ]
        );
        let (result, _folder) = read_text(
            "[channels.p]\nsource = { kind = \"probe\", bits_per_second = 8000, packet_bytes = 1444 }\n",
        );
        let Err(Failure::Config(faults)) = result else {
            panic!("accepted");
        };
        let all: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "channels.p.source.packet_bytes: 1444 bytes at 8000 bit/s are less than one packet a second"
            ]
        );
    }

    #[test]
    fn groups_need_an_interface_and_a_folder_of_this_machine() {
        let channel = |interface: &str, last: u8| {
            format!(
                "[channels.{interface}]\nsource = {{ kind = \"demo\" }}\nmulticast = {{ address = \"239.192.1.{last}:{}\", interface = {interface} }}\n",
                2000 + u16::from(last)
            )
        };
        let text = [
            "[multicast]\nnsc_directory = \".\"\n".to_owned(),
            channel("\"lo\"", 1),
            channel("\"127.0.0.1\"", 2),
            channel("\"nosuch0\"", 4),
            channel("\"192.0.2.7\"", 5),
        ];
        let (result, _folder) = read_text(&text.concat());
        let Err(Failure::Config(faults)) = result else {
            panic!("accepted");
        };
        let all: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "channels.nosuch0.multicast.interface: this machine has no network interface \"nosuch0\"",
                "channels.\"192.0.2.7\".multicast.interface: 192.0.2.7 is no address of this machine",
            ]
        );
        // Root may write everywhere: only a folder that is gone tells the same to everybody.
        let gone = unwritable(Path::new("/gone")).expect("there is none");
        assert_eq!(
            gone,
            "/gone cannot be written to: No such file or directory"
        );
        assert_eq!(unwritable(&std::env::temp_dir()), None);
    }

    #[test]
    fn groups_are_warned_of_fragments() {
        let channel = |name: &str, bytes: u32, group: &str, port: u16| {
            format!(
                "[channels.{name}]\nsource = {{ kind = \"probe\", packet_bytes = {bytes} }}\nmulticast = {{ address = \"{group}:{port}\" }}\n"
            )
        };
        let text = [
            "[multicast]\nnsc_directory = \".\"\n".to_owned(),
            channel("a", 1464, "239.192.1.1", 2000),
            channel("b", 1465, "239.192.1.2", 2002),
            channel("c", 1444, "[ff15::1]", 2004),
            channel("d", 1445, "[ff15::2]", 2006),
        ];
        let (result, _folder) = read_text(&text.concat());
        let warnings = result.expect("only warnings").warnings;
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        assert!(warnings[0].starts_with("channel b: packets of 1465 bytes"));
        assert!(warnings[1].contains("(1444 bytes fit"), "{warnings:#?}");
    }

    #[test]
    fn warnings_do_not_forbid() {
        let text = "[channels.a]\nsource = { kind = \"demo\" }\nlog_seconds = 1\ntrain_ms = 1500\n[channels.b]\nsource = { kind = \"command\", run = [\"true\"] }\n";
        let (result, _folder) = read_text(text);
        let settings = result.expect("only warnings");
        let all = settings.warnings.join("\n");
        assert!(all.contains("channels.a.train_ms: "), "{all}");
        assert!(all.contains("channel a: key frames are up to"), "{all}");
        assert_eq!(settings.media[1], Media::default());
    }
}
