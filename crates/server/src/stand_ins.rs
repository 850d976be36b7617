//! Whether what stands in for a source looks like it. Of files everything is known before they run; what live sources send is compared
//! when a fallback begins, and said in the log.

use std::path::Path;

use funnel_asf::{Header, Probe};
use funnel_control::config::{ChannelConfig, Fallback, Fault, Loaded, SourceConfig};
use funnel_ingest::{InspectError, Inspection, inspect, inspect_bytes};

use crate::settings::DEMO;

/// Faults of the files that stand in, and a warning for each fallback of another format than the source.
pub fn check(loaded: &Loaded) -> (Vec<Fault>, Vec<String>) {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for channel in &loaded.config.channels {
        let source = match channel.fallback.is_empty() {
            true => None,
            false => Format::of_channel(channel),
        };
        for fallback in &channel.fallback {
            let (name, format) = match fallback {
                Fallback::Channel(name) => {
                    let channels = &loaded.config.channels;
                    let other = channels.iter().find(|channel| channel.name == *name);
                    (name.clone(), other.and_then(Format::of_channel))
                }
                Fallback::File(path) => match Format::of_file(path) {
                    Ok(format) => (path.display().to_string(), Some(format)),
                    Err(error) => {
                        let help = "an ASF, WMV or WMA file is needed, or the name of a channel";
                        let message = error.to_string();
                        faults.push(loaded.fault_at(&channel.name, "fallback", message, help));
                        continue;
                    }
                },
            };
            let (Some(source), Some(format)) = (&source, &format) else {
                continue;
            };
            if let Some(difference) = source.difference(format) {
                warnings.push(format!(
                    "channel {}: the fallback {name} has another format ({difference}): when it comes and goes, players that cannot take another header are disconnected",
                    channel.name
                ));
            }
        }
    }
    (faults, warnings)
}

/// What must agree so that viewers notice nothing.
struct Format {
    header: Header,
    /// After repairs.
    packet_bytes: u32,
}

impl Format {
    /// `None` for a live source, and for one that cannot be served, which is told elsewhere.
    fn of_channel(channel: &ChannelConfig) -> Option<Self> {
        match &channel.source {
            SourceConfig::Demo => Some(inspect_bytes("the built-in demo", DEMO).ok()?.into()),
            SourceConfig::File { path, .. } => Self::of_file(path).ok(),
            SourceConfig::Probe {
                bits_per_second,
                packet_bytes,
            } => {
                let probe = Probe::new(*bits_per_second, *packet_bytes).ok()?;
                Some(Self {
                    header: Header::parse(&probe.header([0; 16])).ok()?,
                    packet_bytes: *packet_bytes,
                })
            }
            SourceConfig::Command { .. }
            | SourceConfig::Push(_)
            | SourceConfig::Pull(_)
            | SourceConfig::Elsewhere { .. } => None,
        }
    }

    fn of_file(path: &Path) -> Result<Self, InspectError> {
        inspect(path).map(Self::from)
    }

    /// What is different in `other`, in words.
    fn difference(&self, other: &Self) -> Option<String> {
        if self.packet_bytes != other.packet_bytes {
            let (other, own) = (other.packet_bytes, self.packet_bytes);
            return Some(format!("packets of {other} bytes instead of {own}"));
        }
        if self.header.equivalent(&other.header) {
            return None;
        }
        let (own, other) = (&self.header, &other.header);
        Some(if own.streams().len() != other.streams().len() {
            let (other, own) = (other.streams().len(), own.streams().len());
            format!("{other} streams instead of {own}")
        } else if own.preroll_ms() != other.preroll_ms() {
            let (other, own) = (other.preroll_ms(), own.preroll_ms());
            format!("{other} ms preroll instead of {own}")
        } else {
            "other codecs, or other settings of theirs".to_owned()
        })
    }
}

impl From<Inspection> for Format {
    fn from(inspection: Inspection) -> Self {
        Self {
            packet_bytes: inspection.survey.packet_bytes,
            header: inspection.header,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use funnel_control::config;

    use super::*;

    fn checked(text: &str) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("funnel.toml");
        fs::write(&path, text).expect("written");
        fs::write(folder.path().join("bad.wmv"), "no media").expect("written");
        let (faults, warnings) = check(&config::load(&path).expect("readable"));
        (faults.iter().map(ToString::to_string).collect(), warnings)
    }

    fn media(name: &str) -> String {
        format!("{}/../../testdata/media/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn channel(name: &str, source: &str, fallback: &[&str]) -> String {
        format!("[channels.{name}]\nsource = {{ {source} }}\nfallback = {fallback:?}\n")
    }

    #[test]
    fn a_fallback_of_another_format_is_warned_of_where_both_are_known() {
        let file = |name: &str| format!("kind = \"file\", path = \"{}\"", media(name));
        let [same, small, rates, picture] = [
            "av-300k.wmv",
            "live-pipe.asf",
            "mbr-3rates.wmv",
            "h264-aac.asf",
        ]
        .map(media);
        let text = [
            channel(
                "a",
                &file("av-300k.wmv"),
                &[&same, &small, "b", "live", &rates, &picture],
            ),
            channel("b", &file("audio-64k.wma"), &[]),
            channel("live", "kind = \"push\"", &[&small]),
        ];
        let (faults, warnings) = checked(&text.concat());
        assert!(faults.is_empty(), "{faults:#?}");
        let beginnings = [
            format!(
                "channel a: the fallback {small} has another format (packets of 576 bytes instead of 1444): "
            ),
            "channel a: the fallback b has another format (packets of 800 bytes instead of 1444): "
                .to_owned(),
            format!(
                "channel a: the fallback {rates} has another format (4 streams instead of 2): "
            ),
            format!("channel a: the fallback {picture} has another format (other codecs"),
        ];
        assert_eq!(warnings.len(), beginnings.len(), "{warnings:#?}");
        for (warning, beginning) in warnings.iter().zip(&beginnings) {
            assert!(warning.starts_with(beginning), "{warning}");
        }
    }

    #[test]
    fn a_file_that_is_no_media_is_a_fault() {
        let (faults, warnings) = checked(&channel("a", "kind = \"demo\"", &["bad.wmv"]));
        assert_eq!((faults.len(), warnings.len()), (1, 0));
        assert!(
            faults[0].starts_with("channels.a.fallback: ") && faults[0].contains("neither ASF"),
            "{faults:?}"
        );
    }
}
