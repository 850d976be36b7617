//! Files on air: every media object comes out once, in order, with its bytes and times; loops have no seam; shows end and begin again.

mod common;

use std::time::{Duration, Instant};

use common::*;
use funnel_channel::{Air, Start};
use funnel_ingest::{Source, spawn};

const SOUND: [&str; 13] = [
    "audio-64k.wma",
    "av-300k.wmv",
    "h264-aac.asf",
    "large-packets.wmv",
    "live-pipe.asf",
    "mbr-3rates-mutex.wmv",
    "mbr-3rates.wmv",
    "metadata-unicode.wmv",
    "slides-3min.asf",
    "tiny-audio.asf",
    "v-compressed.asf",
    "v-lengths.asf",
    "v-noec.asf",
];

#[test]
fn a_file_played_once_comes_out_whole() {
    let shows: Vec<_> = SOUND
        .iter()
        .map(|name| (*name, channel(name, Start::FirstViewer)))
        .collect();
    let specs = shows
        .iter()
        .map(|(name, channel)| spec(channel, file(name, false, 100.0)))
        .collect();
    let ingest = spawn(specs).expect("a ring");
    let mut viewers: Vec<_> = shows
        .iter()
        .map(|(name, channel)| {
            let viewer = Viewer::join(channel, 1);
            channel.ask_header();
            wait_for_air(channel, Air::Ready);
            assert_eq!(
                viewer.epoch.log.counters().tail,
                0,
                "{name}: nothing is sent before somebody plays"
            );
            channel.viewer_started();
            (*name, viewer)
        })
        .collect();
    for (name, viewer) in &mut viewers {
        viewer.read_all();
        assert!(
            viewer.first_is_clean,
            "{name}: viewers can begin with the first packet"
        );
        assert!(viewer.send_ms.is_sorted(), "{name}: send times never fall");
        let facts = |objects: Vec<_>| -> Vec<(i64, usize)> {
            objects
                .iter()
                .map(|object: &&funnel_asf::MediaObject| (object.time_ms, object.data.len()))
                .collect()
        };
        let seen: Vec<_> = viewer
            .by_stream()
            .into_iter()
            .map(|(stream, objects)| (stream, facts(objects)))
            .collect();
        assert_eq!(
            seen,
            expected(name).into_iter().collect::<Vec<_>>(),
            "{name}"
        );
        let source = objects_of(name);
        for (stream, objects) in by_stream(&source) {
            let same = objects
                .iter()
                .zip(&viewer.by_stream()[&stream])
                .all(|(one, other)| one.data == other.data);
            assert!(
                same,
                "{name}: stream {stream} carries other bytes than the file"
            );
        }
    }
    for (_, channel) in &shows {
        wait_for_air(channel, Air::Ended);
        channel.viewer_left();
    }
    ingest.stop();
}

#[test]
fn a_loop_has_no_seam() {
    let names = ["metadata-unicode.wmv", "large-packets.wmv", "v-noec.asf"];
    let shows: Vec<_> = names
        .iter()
        .map(|name| (*name, channel(name, Start::Always)))
        .collect();
    let specs = shows
        .iter()
        .map(|(name, channel)| spec(channel, file(name, true, 50.0)))
        .collect();
    let ingest = spawn(specs).expect("a ring");
    for (name, channel) in &shows {
        let mut viewer = Viewer::join(channel, 1);
        let wanted = expected(name);
        let passes = 3;
        viewer.read_until(name, |viewer| {
            wanted.iter().all(|(stream, objects)| {
                viewer
                    .by_stream()
                    .get(stream)
                    .is_some_and(|seen| seen.len() >= passes * objects.len())
            })
        });
        assert!(viewer.send_ms.is_sorted(), "{name}: send times never fall");
        let source = objects_of(name);
        for (stream, objects) in by_stream(&source) {
            let seen = &viewer.by_stream()[&stream];
            let again = objects
                .iter()
                .cycle()
                .zip(seen)
                .all(|(file, seen)| file.data == seen.data);
            assert!(again, "{name}: stream {stream} repeats the file's objects");
            assert!(
                seen.windows(2)
                    .all(|pair| pair[0].time_ms < pair[1].time_ms),
                "{name}: stream {stream} has a seam"
            );
            let gap = seen
                .windows(2)
                .map(|pair| pair[1].time_ms - pair[0].time_ms)
                .max();
            let usual = objects
                .windows(2)
                .map(|pair| pair[1].time_ms - pair[0].time_ms)
                .max();
            assert!(
                gap <= usual.map(|usual| usual + 150),
                "{name}: stream {stream} pauses {gap:?} ms at a seam"
            );
            let numbers = seen
                .windows(2)
                .all(|pair| (pair[0].number + 1) & 0xff == pair[1].number & 0xff);
            assert!(numbers, "{name}: stream {stream} numbers its objects on");
        }
        assert_eq!(channel.snapshot().air, Air::OnAir);
    }
    ingest.stop();
    assert!(
        shows[0].1.snapshot().epoch.expect("announced").log.ended(),
        "stopping ends the log"
    );
}

#[test]
fn the_clock_runs_at_the_speed_asked_for() {
    let channel = channel("tiny", Start::Always);
    let ingest = spawn(vec![spec(&channel, file("tiny-audio.asf", false, 20.0))]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    let began = Instant::now();
    viewer.read_all();
    // 30 s of media at 20 times the speed.
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1300), "{took:?}");
    assert!(took < Duration::from_millis(6000), "{took:?}");
    assert_eq!(channel.snapshot().air, Air::Ended);
    ingest.stop();
}

#[test]
fn after_the_end_a_new_viewer_begins_a_new_run() {
    let channel = channel("again", Start::FirstViewer);
    let ingest = spawn(vec![spec(
        &channel,
        file("metadata-unicode.wmv", false, 100.0),
    )])
    .expect("a ring");
    for number in 1..=3 {
        let mut viewer = Viewer::join(&channel, number);
        wait_for_air(&channel, Air::Ready);
        channel.viewer_started();
        viewer.read_all();
        assert_eq!(viewer.objects.len(), 183, "run {number} is the whole file");
        channel.viewer_left();
    }
    ingest.stop();
}

#[test]
fn damaged_packets_are_left_out() {
    for (name, objects) in [("bad-packets.asf", 20), ("truncated.wmv", 120)] {
        let channel = channel(name, Start::FirstViewer);
        let ingest = spawn(vec![spec(&channel, file(name, false, 100.0))]).expect("a ring");
        let mut viewer = Viewer::join(&channel, 1);
        channel.viewer_started();
        viewer.read_all();
        assert_eq!(viewer.objects.len(), objects, "{name}");
        ingest.stop();
    }
}

#[test]
fn a_file_that_is_no_media_keeps_only_its_own_channel_off_the_air() {
    let (bad, good) = (
        channel("bad", Start::Always),
        channel("good", Start::Always),
    );
    let specs = vec![
        spec(&bad, file("bad-no-data-object.asf", true, 1.0)),
        spec(&good, file("tiny-audio.asf", true, 50.0)),
    ];
    let ingest = spawn(specs).expect("a ring");
    let mut viewer = Viewer::join(&good, 1);
    viewer.read_until("the good channel's packets", |viewer| {
        viewer.objects.len() > 50
    });
    assert_eq!(bad.snapshot().air, Air::Waiting);
    assert!(bad.snapshot().epoch.is_none());
    ingest.stop();
}

#[test]
fn the_demo_plays_from_memory() {
    let bytes: &'static [u8] = std::fs::read(media("audio-64k.wma"))
        .expect("in the repository")
        .leak();
    let channel = channel("demo", Start::Always);
    let ingest = spawn(vec![spec(
        &channel,
        Source::Demo {
            bytes,
            looped: true,
        },
    )])
    .expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    viewer.read_until("the first second", |viewer| viewer.objects.len() >= 20);
    let source = objects_of("audio-64k.wma");
    assert!(
        viewer
            .objects
            .iter()
            .zip(&source)
            .all(|(seen, file)| seen.data == file.data)
    );
    ingest.stop();
}
