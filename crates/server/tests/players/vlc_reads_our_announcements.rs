//! VLC's own reader of `.nsc` files (`docs/protocol/msb-nsc.md` §14–§16) finds in a golden file, and in the same written by
//! us, what our reader found.

use std::path::Path;

use funnel_wire::nsc::{Announcement, Text};

use crate::support::player::Vlc;
use crate::support::{media, read};

/// What VLC says of each property, in the order of the file.
fn said_by_vlc(folder: &Path, name: &str, file: &str) -> Vec<String> {
    let vlc = Vlc::new(folder, name);
    let path = vlc.home.join("announcement.nsc");
    std::fs::write(&path, file).expect("written");
    let url = format!("file://{}", path.display());
    let ran = vlc.run(60, &["-vvv", "-I", "dummy", &url, "vlc://quit"]);
    let lines: Vec<String> = [ran.stdout.as_str(), ran.stderr.as_str()]
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.split_once(" nsc demux ").map(|(_, said)| said))
        .map(|said| said.strip_prefix("debug: ").unwrap_or(said).to_owned())
        // Empty strings are properties that are absent (§7).
        .filter(|said| !said.ends_with("= "))
        .collect();
    assert!(!lines.is_empty(), "{}", ran.report());
    lines
}

/// The same of an announcement.
fn said_of(announcement: &Announcement) -> Vec<String> {
    let text = |text: &Option<Text>| text.as_ref().map(ToString::to_string);
    let flag = |flag: Option<bool>| flag.map(|flag| u8::from(flag).to_string());
    let mut lines = Vec::new();
    for (name, value) in [
        ("Name", text(&announcement.name)),
        ("NSC Format Version", Some("3.0".to_owned())),
        (
            "Multicast Adapter",
            announcement.adapter.map(|ip| ip.to_string()),
        ),
        ("IP Address", Some(announcement.group().to_string())),
        ("IP Port", Some(announcement.port().to_string())),
        (
            "Time To Live",
            announcement.time_to_live.map(|ttl| ttl.to_string()),
        ),
        (
            "Default Ecc",
            announcement.span_max.map(|span| span.to_string()),
        ),
        ("Log URL", text(&announcement.log_url)),
        ("Unicast URL", text(&announcement.unicast_url)),
        ("Allow Splitting", flag(announcement.allow_splitting)),
        ("Allow Caching", flag(announcement.allow_caching)),
        (
            "Cache Expiration Time",
            announcement.cache_expiration_s.map(|s| s.to_string()),
        ),
        (
            "Network Buffer Time",
            announcement.network_buffer_ms.map(|ms| ms.to_string()),
        ),
    ] {
        lines.extend(value.map(|value| format!("{name} = {value}")));
    }
    for (number, format) in (1..).zip(announcement.formats()) {
        lines.push(format!("Format{number} = asf header"));
        let description = format.description();
        lines.extend(description.map(|text| format!("Description{number} = {text}")));
    }
    lines
}

#[test]
fn vlc_reads_in_a_file_what_we_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["station", "two-headers-ipv6"] {
        let golden = read(&media::testdata().join(format!("nsc/{name}.nsc")));
        let announcement = Announcement::parse(&golden).expect("a good file");
        let mut ours = String::new();
        announcement.encode(&mut ours);
        let golden = String::from_utf8(golden).expect("ASCII");
        for (who, file) in [("golden", &golden), ("ours", &ours)] {
            let vlc = said_by_vlc(folder.path(), &format!("{name}-{who}"), file);
            assert_eq!(vlc, said_of(&announcement), "{name}, {who}");
        }
    }
}
