//! `funnel nsc`: what an `.nsc` file announces, and whether players can be expected to understand it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use funnel_asf::Header;
use funnel_wire::nsc::{Announcement, Reading, Severity, read};
use serde::Serialize;

use crate::check::visible;
use crate::cli;
use crate::console::say;
use crate::failure::Failure;
use crate::probe::StreamReport;

/// Prints what the file says, what is odd about it, and what is wrong.
///
/// # Errors
/// The file cannot be read, or something in it cannot be used.
pub fn run(arguments: &cli::Nsc) -> Result<(), Failure> {
    let bytes = arguments
        .place
        .read(WITHIN)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let report = Report::new(arguments.place.to_string(), &bytes);
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(Failure::fault)?;
        say(&format!("{json}\n"));
    } else {
        say(&report.text());
    }
    match report.complaint() {
        Some(complaint) => Err(Failure::Fault(complaint)),
        None => Ok(()),
    }
}

/// A web server may take so long.
const WITHIN: Duration = Duration::from_secs(10);

/// What is printed; the keys of `--json` are these names and stay.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    /// No errors; there may be warnings.
    good: bool,
    /// Null without usable group, port or header.
    announcement: Option<AnnouncementReport>,
    errors: Vec<Told>,
    warnings: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct AnnouncementReport {
    group: IpAddr,
    port: u16,
    name: Option<String>,
    multicast_adapter: Option<IpAddr>,
    time_to_live: Option<u8>,
    default_ecc: Option<u8>,
    log_url: Option<String>,
    unicast_url: Option<String>,
    allow_splitting: Option<bool>,
    allow_caching: Option<bool>,
    cache_expiration_s: Option<u32>,
    network_buffer_ms: Option<u32>,
    formats: Vec<FormatReport>,
    unknown: Vec<Unknown>,
}

#[derive(Debug, Serialize)]
struct FormatReport {
    id: u16,
    description: Option<String>,
    header_bytes: usize,
    /// Null when the header is damaged.
    packet_bytes: Option<u32>,
    streams: Vec<StreamReport>,
}

#[derive(Debug, Serialize)]
struct Unknown {
    section: String,
    name: String,
    value: String,
}

/// A fault and its place.
#[derive(Debug, Serialize)]
struct Told {
    line: Option<usize>,
    key: String,
    message: String,
}

impl Told {
    /// As a line for people.
    fn sentence(&self) -> String {
        let mut text = String::new();
        if let Some(line) = self.line {
            let _ = write!(text, "line {line}: ");
        }
        if !self.key.is_empty() {
            let _ = write!(text, "{}: ", self.key);
        }
        text.push_str(&self.message);
        visible(&text)
    }
}

impl Report {
    fn new(file: String, bytes: &[u8]) -> Self {
        let Reading {
            announcement,
            faults,
            format_places,
        } = read(bytes);
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for fault in faults {
            let list = match fault.severity() {
                Severity::Error => &mut errors,
                Severity::Warning => &mut warnings,
            };
            list.push(Told {
                line: fault.line,
                key: fault.key,
                message: fault.kind.to_string(),
            });
        }
        let announcement = announcement.map(|announcement| {
            let mut formats = Vec::new();
            for (format, (line, key)) in announcement.formats().iter().zip(format_places) {
                let header = Header::parse(format.header());
                let told = |message| Told {
                    line: Some(line),
                    key,
                    message,
                };
                match &header {
                    Err(error) => errors.push(told(format!("its ASF header is damaged: {error}"))),
                    Ok(header) => {
                        let most = packet_bytes_unfragmented(announcement.group());
                        if header.packet_bytes() > most {
                            warnings.push(told(format!(
                                "packets of {} bytes: above {most} each is sent in fragments, and lost with any of them",
                                header.packet_bytes()
                            )));
                        }
                    }
                }
                formats.push(FormatReport {
                    id: format.id().get(),
                    description: format.description().map(ToString::to_string),
                    header_bytes: format.header().len(),
                    packet_bytes: header.as_ref().ok().map(Header::packet_bytes),
                    streams: header
                        .iter()
                        .flat_map(|header| header.streams().iter().map(StreamReport::new))
                        .collect(),
                });
            }
            AnnouncementReport::new(&announcement, formats)
        });
        Self {
            file,
            good: errors.is_empty(),
            announcement,
            errors,
            warnings,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:12}  {}", visible(value));
        };
        field("file", &self.file);
        if let Some(announcement) = &self.announcement {
            announcement.fields(&mut field);
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {}", warning.sentence());
        }
        text
    }

    /// All errors, if any.
    fn complaint(&self) -> Option<String> {
        let count = self.errors.len();
        let plural = if count == 1 { "" } else { "s" };
        let lines: Vec<String> = self.errors.iter().map(Told::sentence).collect();
        (count > 0).then(|| {
            format!(
                "{}: {count} fault{plural}\n  {}",
                visible(&self.file),
                lines.join("\n  ")
            )
        })
    }
}

impl AnnouncementReport {
    fn new(announcement: &Announcement, formats: Vec<FormatReport>) -> Self {
        let text = |text: &Option<funnel_wire::nsc::Text>| text.as_ref().map(ToString::to_string);
        Self {
            group: announcement.group(),
            port: announcement.port().get(),
            name: text(&announcement.name),
            multicast_adapter: announcement.adapter,
            time_to_live: announcement.time_to_live,
            default_ecc: announcement.span_max,
            log_url: text(&announcement.log_url),
            unicast_url: text(&announcement.unicast_url),
            allow_splitting: announcement.allow_splitting,
            allow_caching: announcement.allow_caching,
            cache_expiration_s: announcement.cache_expiration_s,
            network_buffer_ms: announcement.network_buffer_ms,
            formats,
            unknown: announcement
                .extras()
                .iter()
                .map(|extra| Unknown {
                    section: extra.section().name().to_owned(),
                    name: extra.name().to_owned(),
                    value: extra
                        .text()
                        .map_or_else(|| extra.value().to_owned(), |text| text.to_string()),
                })
                .collect(),
        }
    }

    fn fields(&self, field: &mut impl FnMut(&str, &str)) {
        field("group", &format!("{} port {}", self.group, self.port));
        let yes_or_no = |flag| if flag { "yes" } else { "no" }.to_owned();
        for (name, value) in [
            ("name", self.name.clone()),
            (
                "sent from",
                self.multicast_adapter.map(|address| address.to_string()),
            ),
            (
                "time to live",
                self.time_to_live.map(|hops| hops.to_string()),
            ),
            (
                "correction",
                self.default_ecc
                    .map(|span| format!("spans of up to {span} packets")),
            ),
            ("unicast URL", self.unicast_url.clone()),
            ("log URL", self.log_url.clone()),
            ("splitting", self.allow_splitting.map(yes_or_no)),
            ("caching", self.allow_caching.map(yes_or_no)),
            (
                "cache time",
                self.cache_expiration_s.map(|time| format!("{time} s")),
            ),
            (
                "buffer time",
                self.network_buffer_ms.map(|time| format!("{time} ms")),
            ),
        ] {
            if let Some(value) = value {
                field(name, &value);
            }
        }
        for format in &self.formats {
            let mut text = format!("header of {} bytes", format.header_bytes);
            if let Some(bytes) = format.packet_bytes {
                let _ = write!(text, ", packets of {bytes} bytes");
            }
            if let Some(description) = &format.description {
                let _ = write!(text, ", {description}");
            }
            field(&format!("format {}", format.id), &text);
            for stream in &format.streams {
                field(&format!("  stream {}", stream.number), &stream.text());
            }
        }
        for unknown in &self.unknown {
            let Unknown {
                section,
                name,
                value,
            } = unknown;
            field("unknown", &format!("[{section}] {name} = {value}"));
        }
    }
}

/// Largest ASF packet that fits into an Ethernet frame with the heads of MSB, UDP and IP (`msb-nsc.md` §12).
fn packet_bytes_unfragmented(group: IpAddr) -> u32 {
    match group {
        IpAddr::V4(_) => 1464,
        IpAddr::V6(_) => 1444,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str) -> Report {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/nsc/");
        let bytes = std::fs::read(format!("{folder}{name}")).expect("test data");
        Report::new(name.to_owned(), &bytes)
    }

    #[test]
    fn people_get_lines() {
        let report = report("station.nsc");
        assert!(report.good && report.complaint().is_none());
        let text = report.text();
        for line in [
            "group         239.192.48.179 port 19009\n",
            "name          MY_COMPUTER, bpp\n",
            "time to live  32\n",
            "correction    spans of up to 10 packets\n",
            "unicast URL   mms://studio.example/bpp\n",
            "header of 408 bytes, packets of ",
            "  stream 1    audio mp3, ",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn a_damaged_header_is_told_with_its_line() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/");
        let read = |name: &str| std::fs::read(format!("{folder}{name}")).expect("test data");
        let damaged = read("media/bad-no-file-properties.asf");
        let mut list = funnel_wire::nsc::Formats::new(&damaged, None).expect("an envelope");
        list.add(&read("media/large-packets.wmv"), None)
            .expect("an envelope");
        let port = std::num::NonZeroU16::MAX;
        let announcement = Announcement::new([239, 0, 0, 1].into(), port, list).expect("a group");
        let mut file = String::new();
        announcement.encode(&mut file);
        let report = Report::new("x.nsc".to_owned(), file.as_bytes());
        let errors: Vec<String> = report.errors.iter().map(Told::sentence).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains(": Format1: its ASF header is damaged: "),
            "{errors:?}"
        );
        let line = 1 + file
            .lines()
            .position(|line| line.starts_with("Format2"))
            .expect("there");
        assert_eq!(report.warnings.len(), 1);
        let warning = report.warnings[0].sentence();
        assert!(
            warning.starts_with(&format!("line {line}: Format2: packets of ")),
            "{warning}"
        );
    }
}
