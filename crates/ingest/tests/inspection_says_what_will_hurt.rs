//! `inspect`: the facts of good files, a sentence for what will hurt, an error with file and place for what cannot be served.

mod common;

use std::time::Duration;

use common::media;
use funnel_ingest::{InspectError, inspect, inspect_bytes};

#[test]
fn good_files_are_measured() {
    let facts = |name: &str| {
        let inspection = inspect(media(name)).expect(name);
        (
            inspection.survey.packets,
            inspection.survey.packet_bytes,
            inspection.header.streams().len(),
        )
    };
    assert_eq!(facts("av-300k.wmv"), (516, 1444, 2));
    assert_eq!(facts("truncated.wmv"), (100, 1444, 2));
    assert_eq!(facts("mbr-3rates.wmv"), (436, 1444, 4));
    assert_eq!(facts("live-pipe.asf"), (338, 576, 2));
    assert_eq!(facts("live-capture.asfh"), (236, 1444, 2));
    assert_eq!(
        facts("v-noec.asf").1,
        131,
        "the missing prefix is added to every packet"
    );
    assert_eq!(facts("bad-count-wrong.asf").2, 1);
}

fn warnings(name: &str, log_seconds: u64) -> String {
    inspect(media(name))
        .expect(name)
        .warnings(Duration::from_secs(log_seconds), true)
        .join("\n")
}

#[test]
fn what_will_hurt_is_said() {
    assert_eq!(warnings("av-300k.wmv", 30), "");
    assert!(warnings("large-packets.wmv", 30).contains("packets of 8000 bytes do not fit"));
    assert!(warnings("slides-3min.asf", 10).contains("key frames are up to 30.0 s apart"));
    assert!(!warnings("slides-3min.asf", 60).contains("key frames"));
    assert!(warnings("h264-aac.asf", 30).contains("h264, aac"));
    assert!(warnings("bad-packets.asf", 30).contains("packets are damaged"));
}

#[test]
fn what_cannot_be_served_is_refused_with_file_and_reason() {
    let refused = |name: &str, reason: &str| {
        let error = inspect(media(name)).expect_err(name).to_string();
        assert!(
            error.contains(name) && error.contains(reason),
            "{name}: {error}"
        );
    };
    refused(
        "bad-header-size-huge.asf",
        "Header Object of 18446744073709551360 bytes",
    );
    refused("bad-object-size-zero.asf", "offset");
    refused("bad-object-past-header.asf", "offset");
    refused("bad-packet-size-zero.asf", "packet size");
    refused("bad-packet-size-huge.asf", "packet size");
    refused("bad-no-file-properties.asf", "File Properties");
    refused("bad-stream-data-overrun.asf", "Stream Properties");
    refused("bad-stream-number-zero.asf", "stream");
    refused("bad-stream-number-twice.asf", "twice");
    refused("bad-no-data-object.asf", "");
    refused("no-such-file.asf", "cannot read it");
}

#[test]
fn files_cut_anywhere_are_refused_or_shorter_but_never_worse() {
    let whole = std::fs::read(media("bad-count-wrong.asf")).expect("in the repository");
    let mut packets = 0;
    for size in 0..=whole.len() {
        match inspect_bytes("cut", &whole[..size]) {
            Ok(inspection) => {
                assert!(
                    inspection.survey.packets >= packets,
                    "a longer file has no fewer packets"
                );
                packets = inspection.survey.packets;
            }
            Err(
                InspectError::NoHeader { .. }
                | InspectError::Format { .. }
                | InspectError::NoPackets { .. },
            ) => {
                assert_eq!(packets, 0, "{size} bytes");
            }
            Err(other) => panic!("{size} bytes: {other}"),
        }
    }
    assert!(packets > 0);
}
