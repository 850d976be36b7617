//! VLC's dump and libmms deliver, byte for byte, the stream as it was normalised at ingest.
//!
//! What was normalised is computed here by `funnel-asf` from the file; a player fills packets that came
//! without their padding up with zeros, so each packet may have the full or the filled-up stripped form.

use crate::support::media::{self, GOOD, Good};
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use crate::support::viewer::Viewer;
use crate::support::{all_at_once, asf, tools};
use funnel_asf::{Deframer, Filter, Item, Normaliser, Ready, Selection, Thinning};
use std::collections::BTreeSet;
use std::path::Path;

/// The forms in which one packet may arrive, all of them as long as a packet of the channel.
type Forms = Vec<Vec<u8>>;

/// Every packet a viewer must get who starts with the file and selects these streams.
fn expected(good: &Good, selection: Selection) -> Vec<Forms> {
    let bytes = crate::support::read(&good.path());
    let mut deframer = Deframer::new();
    deframer.push(&bytes);
    deframer.finish();
    let mut stages: Option<(Normaliser, Filter)> = None;
    let mut packets = Vec::new();
    while let Some(item) = deframer
        .next()
        .unwrap_or_else(|error| panic!("{}: {error}", good.name))
    {
        match item {
            Item::Header(header) => {
                stages = Some((Normaliser::new(&header), Filter::new(&header, selection)));
            }
            Item::Packet(raw) => {
                let (normaliser, filter) = stages.as_mut().expect("a header first");
                let ready = normaliser
                    .packet(raw)
                    .unwrap_or_else(|error| panic!("{}: {error}", good.name));
                let Some(whole) = ready else { continue };
                if selection == Selection::ALL {
                    packets.push(forms(&whole));
                } else if let Some(left) = filter.packet(whole.full).expect("a sound packet") {
                    packets.push(forms(&left));
                }
            }
            Item::End => {}
        }
    }
    packets
}

fn forms(ready: &Ready<'_>) -> Forms {
    let size = ready.full.len();
    let filled = |form: &[u8]| {
        let mut filled = form.to_vec();
        filled.resize(size, 0);
        filled
    };
    [Some(ready.full), ready.stripped]
        .into_iter()
        .flatten()
        .map(filled)
        .collect()
}

/// What a player chose where it had a choice: the streams that came.
fn selection_of(good: &Good, packets: &[u8], size: usize) -> Selection {
    if !good.name.starts_with("mbr-") {
        return Selection::ALL;
    }
    let came: BTreeSet<u8> = packets
        .chunks_exact(size)
        .flat_map(|packet| asf::packet(packet).expect("a sound packet").payloads)
        .map(|payload| payload.stream)
        .collect();
    assert_eq!(came.len(), 2, "one sound and one video of three: {came:?}");
    assert!(came.contains(&1), "the sound: {came:?}");
    let mut selection = Selection::NONE;
    for stream in came {
        selection.set(stream, Thinning::All);
    }
    selection
}

/// Compares a player's file with the header a scripted viewer saw and the packets expected.
fn check(player: &str, good: &Good, received: &[u8], header: &[u8]) {
    let who = format!("{player} on {}", good.name);
    assert!(
        received.len() >= header.len(),
        "{who}: {} bytes, not even the header",
        received.len()
    );
    let (got_header, mut rest) = received.split_at(header.len());
    let size = expected(good, Selection::ALL)[0][0].len();
    let selection = selection_of(good, rest, size);
    // libmms blanks the streams it did not select out of the header it hands on.
    let blanked = player == "libmms" && selection != Selection::ALL;
    assert!(
        blanked || asf::without_file_id(got_header) == asf::without_file_id(header),
        "{who}: another header"
    );
    let packets = expected(good, selection);
    for (number, forms) in packets.iter().enumerate() {
        let size = forms[0].len();
        assert!(
            rest.len() >= size,
            "{who}: ends after {number} of {} packets",
            packets.len()
        );
        let (packet, after) = rest.split_at(size);
        if !forms.iter().any(|form| form == packet) {
            let wrong = packet
                .iter()
                .zip(&forms[0])
                .position(|(got, want)| got != want);
            panic!(
                "{who}: packet {number} differs, first at byte {wrong:?}\ngot  {:02x?}\nwant {:02x?}",
                &packet[..48.min(size)],
                &forms[0][..48.min(size)]
            );
        }
        rest = after;
    }
    assert_eq!(rest.len(), 0, "{who}: bytes after the last packet");
}

fn header_of(port: u16, channel: &str) -> Vec<u8> {
    let mut viewer = Viewer::connect(port);
    assert_eq!(viewer.open(channel).result(), 0, "OpenFile of {channel}");
    viewer.read_header();
    viewer.header
}

fn libmms(program: &Path, url: &str, out: &Path) -> Vec<u8> {
    player::run(
        60,
        &[&program.to_string_lossy(), url, &out.to_string_lossy()],
    )
    .expect_success(&format!("libmms on {url}"));
    crate::support::read(out)
}

#[test]
fn byte_for_byte_in_both() {
    let mut setup = Setup::new();
    for good in GOOD {
        setup.file_once(&format!("{}-lm", good.channel()), &good.path(), good.speed);
        setup.file_once(&format!("{}-vlc", good.channel()), &good.path(), good.speed);
    }
    let lm = tools::build_player(setup.folder(), "lm", "mms", "libmms-dev");
    let server = setup.start();
    let port = server.port();
    let mut jobs: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
    for good in GOOD {
        let url = server.mmst(&format!("{}-lm", good.channel()));
        let (lm, out) = (
            lm.clone(),
            server.folder().join(format!("{}.lm", good.name)),
        );
        let job = move || {
            let header = header_of(port, &format!("{}-lm", good.channel()));
            assert!(
                header.len() <= 8_192,
                "{}: a header of {} bytes",
                good.name,
                header.len()
            );
            check("libmms", good, &libmms(&lm, &url, &out), &header);
        };
        jobs.push((format!("libmms {}", good.name), Box::new(job)));

        let url = server.mmst(&format!("{}-vlc", good.channel()));
        let folder = server.folder().to_owned();
        let job = move || {
            let header = header_of(port, &format!("{}-vlc", good.channel()));
            let vlc = Vlc::new(&folder, good.name);
            let out = vlc.home.join("dump.asf");
            let dump = format!("--demuxdump-file={}", out.display());
            let ran = vlc.run(60, &["-vv", "--demux=dump", &dump, &url]);
            assert!(out.exists(), "VLC wrote nothing: {}", ran.report());
            check("VLC", good, &crate::support::read(&out), &header);
        };
        jobs.push((format!("VLC {}", good.name), Box::new(job)));
    }
    all_at_once(jobs);
    server.stop();
}

/// VLC's own demuxer and decoders at the speed of the show: no error in its log, and the end is an end.
#[test]
fn vlc_plays_to_the_end() {
    let mut setup = Setup::new();
    setup.file_once("show", &media::file("metadata-unicode.wmv"), 1.0);
    let server = setup.start();
    let vlc = Vlc::new(server.folder(), "play");
    let ran = vlc.run(40, &["-vv", &server.mmst("show")]);
    assert!(!ran.timed_out(), "VLC does not end: {}", ran.report());
    let log = ran.stderr;
    for sign in [
        "media file name/path accepted",
        "streaming started",
        "EOF reached",
    ] {
        assert!(log.contains(sign), "no '{sign}' in VLC's log:\n{log}");
    }
    let complaint = log
        .lines()
        .find(|line| line.contains("access_mms") && line.contains(" error"));
    assert_eq!(complaint, None);
    server.stop();
}
