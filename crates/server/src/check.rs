//! `funnel check`: is this configuration good? Starts nothing, binds nothing.

use std::fmt::Write as _;
use std::path::Path;

use funnel_control::config::Start;

use crate::announce;
use crate::console::say;
use crate::failure::Failure;
use crate::settings::{self, Media, Settings};

/// Prints what would be served, and the warnings.
///
/// # Errors
/// Every fault in one go.
pub fn run(config: Option<&Path>) -> Result<(), Failure> {
    let settings = settings::read(config)?;
    say(&report(&settings));
    Ok(())
}

fn report(settings: &Settings) -> String {
    let file = settings.file.as_deref().unwrap_or("the built-in demo");
    let count = settings.config.channels.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut text = format!("configuration is good: {file}, {count} channel{plural}\n");
    let rows: Vec<[String; 6]> = std::iter::once(HEADINGS.map(str::to_owned))
        .chain(
            settings
                .config
                .channels
                .iter()
                .zip(&settings.media)
                .map(|(channel, media)| {
                    let start = match channel.start {
                        Start::Always => "always",
                        Start::FirstViewer => "first-viewer",
                    };
                    let [rate, packet, length] = facts(media);
                    [
                        visible(&channel.name),
                        channel.source.kind().to_owned(),
                        start.to_owned(),
                        rate,
                        packet,
                        length,
                    ]
                }),
        )
        .collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    for channel in &settings.config.channels {
        if let Some(multicast) = &channel.multicast {
            let (name, group) = (visible(&channel.name), multicast.address);
            let reach = reach(multicast.ttl);
            let _ = writeln!(text, "  multicast: {name} to {group}, {reach}");
            if let Some(folder) = &settings.config.multicast.nsc_directory {
                let file = announce::file(folder, &channel.name);
                let _ = writeln!(
                    text,
                    "    announced in {}",
                    visible(&file.to_string_lossy())
                );
            }
        }
    }
    for warning in &settings.warnings {
        let _ = writeln!(text, "warning: {}", visible(warning));
    }
    text
}

const HEADINGS: [&str; 6] = ["channel", "source", "start", "bit rate", "packet", "length"];

/// How far a group's datagrams go.
fn reach(ttl: u8) -> String {
    match ttl {
        0 => "on this machine (ttl 0)".to_owned(),
        1 => "in its subnet (ttl 1)".to_owned(),
        2 => "past 1 router at most (ttl 2)".to_owned(),
        ttl => format!("past {} routers at most (ttl {ttl})", ttl - 1),
    }
}

/// Bit rate, packet size, length; a dash for what only the running source can tell.
fn facts(media: &Media) -> [String; 3] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        or_dash(
            media
                .bit_rate
                .map(|rate| format!("{} kb/s", rate.div_ceil(1000))),
        ),
        or_dash(media.packet_bytes.map(|bytes| format!("{bytes} B"))),
        or_dash(
            media
                .duration_ms
                .map(|ms| format!("{}:{:02}", ms / 60_000, ms / 1000 % 60)),
        ),
    ]
}

/// Control characters (a title or a path may have any) replaced.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use funnel_control::config::ChannelMulticast;

    use super::*;

    #[test]
    fn the_report_of_the_demo_is_a_small_table() {
        let mut settings = settings::read(None).expect("the demo");
        settings.warnings.push("one thing".to_owned());
        let report = report(&settings);
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines.len(), 4, "{report}");
        assert_eq!(
            lines[0],
            "configuration is good: the built-in demo, 1 channel"
        );
        assert_eq!(
            lines[1],
            "  channel  source  start   bit rate  packet  length"
        );
        assert!(
            lines[2].starts_with("  demo     demo    always  ") && lines[2].contains("kb/s"),
            "{report}"
        );
        assert_eq!(lines[3], "warning: one thing");
    }

    #[test]
    fn groups_are_told_with_their_reach() {
        let mut settings = settings::read(None).expect("the demo");
        settings.config.channels[0].multicast = Some(ChannelMulticast {
            address: "239.192.48.179:30864".parse().expect("a group"),
            ttl: 1,
            interface: None,
            source_specific: false,
            span: 10,
            log_url: None,
        });
        settings.config.multicast.nsc_directory = Some("/srv/www".into());
        let report = report(&settings);
        let lines: Vec<&str> = report.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "  multicast: demo to 239.192.48.179:30864, in its subnet (ttl 1)",
                "    announced in /srv/www/demo.nsc"
            ]
        );
    }
}
