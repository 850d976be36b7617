//! Whoever joins at a clean point, in any form of the packets, gets whole objects from a key frame on, and all of them.

mod media;
mod synthetic;

use std::collections::BTreeMap;

use funnel_asf::{Filter, Header, Selection, Thinning};
use media::{
    GOOD, Line, Packet, Shaped, Source, assert_same, file, lines, live, objects, of_stream, shape,
};
use synthetic::{Declared, Frame, header, packets};

#[test]
fn every_clean_point_of_every_file_starts_with_a_key_frame_and_misses_nothing() {
    for name in GOOD {
        join_everywhere(name, &shape(&file(name)));
    }
}

#[test]
fn live_captures_too() {
    join_everywhere(
        "live-capture.asfh",
        &shape(&live("live-capture.asfh", &[5000])),
    );
    join_everywhere("live-pipe.asf", &shape(&live("live-pipe.asf", &[5000])));
}

#[test]
fn filtered_logs_too() {
    for selected in [&[1, 2][..], &[1, 3], &[1, 4], &[3], &[1], &[2, 4]] {
        let shaped = filtered("mbr-3rates.wmv", selected);
        join_everywhere(&format!("mbr-3rates.wmv {selected:?}"), &shaped);
    }
}

#[test]
fn two_videos_whose_keys_drift_and_two_sounds_in_pieces() {
    let streams = [
        Declared::Video(1, *b"WMV2"),
        Declared::Audio(2),
        Declared::Video(3, *b"WMV2"),
        Declared::Audio(4),
    ];
    let mut frames = Vec::new();
    for index in 0..500u32 {
        let mut frame = |stream, period: u32, size| {
            let key = period > 0 && index % period == period / 2;
            let data = vec![if key || period == 0 { 0x10 } else { 0x90 }; size];
            frames.push(Frame {
                stream,
                key,
                time_ms: index * 40,
                data,
            });
        };
        frame(1, 25, 300);
        frame(2, 0, 450);
        frame(3, 60, 200);
        frame(4, 0, 700);
    }
    let source = Source {
        header: header(500, &streams),
        packets: packets(500, &frames),
    };
    let shaped = shape(&source);
    assert!(
        shaped
            .packets
            .iter()
            .filter(|packet| packet.meta.clean_point)
            .count()
            >= 5
    );
    join_everywhere("two videos", &shaped);

    let sounds: Vec<Frame> = frames
        .into_iter()
        .filter(|frame| frame.stream % 2 == 0)
        .collect();
    let source = Source {
        header: header(500, &[Declared::Audio(2), Declared::Audio(4)]),
        packets: packets(500, &sounds),
    };
    join_everywhere("two sounds", &shape(&source));
}

#[test]
fn the_rest_of_a_sound_begun_before_the_key_frame_is_kept_back() {
    let sound = |time_ms| {
        packets(
            500,
            &[Frame {
                stream: 2,
                key: true,
                time_ms,
                data: vec![7; 700],
            }],
        )
    };
    let picture = packets(
        500,
        &[Frame {
            stream: 1,
            key: true,
            time_ms: 10,
            data: vec![0x10; 100],
        }],
    );
    let (cut, next) = (sound(0), sound(50));
    let packets = vec![
        cut[0].clone(),
        picture[0].clone(),
        cut[1].clone(),
        next[0].clone(),
        next[1].clone(),
    ];
    let header = header(500, &[Declared::Video(1, *b"WMV2"), Declared::Audio(2)]);
    let shaped = shape(&Source { header, packets });
    let marks: Vec<_> = shaped
        .packets
        .iter()
        .map(|packet| (packet.meta.clean_point, packet.meta.join_done))
        .collect();
    assert_eq!(
        marks,
        [
            (false, false),
            (true, false),
            (false, true),
            (false, true),
            (false, true)
        ]
    );
    assert_eq!(
        shaped.packets[2].join.as_deref(),
        Some(&[][..]),
        "nothing of it is for a joiner"
    );
    join_everywhere("key in the middle of a sound", &shaped);
}

#[test]
fn the_first_packet_of_a_file_is_a_clean_point() {
    for name in GOOD {
        assert!(shape(&file(name)).packets[0].meta.clean_point, "{name}");
    }
}

#[test]
fn clean_points_are_where_the_key_frames_are() {
    let count = |name| {
        shape(&file(name))
            .packets
            .iter()
            .filter(|packet| packet.meta.clean_point)
            .count()
    };
    assert_eq!(count("av-300k.wmv"), 10);
    assert_eq!(count("h264-aac.asf"), 6);
    assert_eq!(count("slides-3min.asf"), 6);
    assert_eq!(count("metadata-unicode.wmv"), 5);
    assert_eq!(count("audio-64k.wma"), 323);
}

#[test]
fn a_join_ends_soon() {
    for name in GOOD {
        let shaped = shape(&file(name));
        let mut since = None;
        for packet in &shaped.packets {
            if packet.meta.clean_point {
                since = Some(packet.meta.send_ms);
            }
            if packet.meta.join_done {
                since = None;
                assert!(packet.meta.clean_point || packet.join.is_none() || packet.meta.join_done);
            }
            let waited = since.map_or(0, |since| packet.meta.send_ms - since);
            assert!(waited <= 4_000, "{name}: still joining after {waited} ms");
        }
    }
}

/// Joins at each clean point, full and stripped, until the join is done and on to the end.
fn join_everywhere(name: &str, shaped: &Shaped) {
    let truth = lines(
        &shaped.header,
        &objects(
            &shaped.header,
            shaped.packets.iter().map(|packet| &packet.full[..]),
        ),
    );
    let points: Vec<usize> = (0..shaped.packets.len())
        .filter(|&number| shaped.packets[number].meta.clean_point)
        .collect();
    assert!(!points.is_empty(), "{name}: no clean point");
    // Radio has one per packet: every seventh is enough, the first and last included.
    let step = if points.len() > 50 { 7 } else { 1 };
    for &point in points.iter().step_by(step).chain(points.last()) {
        for stripped in [false, true] {
            let seen = watch(&shaped.packets[point..], stripped);
            join(
                &format!("{name} from packet {point}, stripped: {stripped}"),
                &shaped.header,
                &seen,
                &truth,
            );
        }
    }
}

/// What a viewer who begins with the first of `packets` is sent.
fn watch(packets: &[Packet], stripped: bool) -> Vec<&[u8]> {
    let mut joining = true;
    let mut seen = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        joining &= number == 0 || !packet.meta.clean_point;
        let bytes = packet.form(stripped, joining);
        if !bytes.is_empty() {
            seen.push(bytes);
        }
        joining &= !packet.meta.join_done;
    }
    seen
}

fn join(what: &str, header: &Header, seen: &[&[u8]], truth: &[Line]) {
    let mut assembler = funnel_asf::Assembler::new(header);
    let mut found = Vec::new();
    seen.iter()
        .for_each(|packet| assembler.packet(packet, &mut found).unwrap());
    assert_eq!(assembler.dropped(), 0, "{what}: a cut object was delivered");
    let found = lines(header, &found);
    let mut kept: BTreeMap<u8, usize> = BTreeMap::new();
    for stream in header.streams() {
        let (found, truth) = (
            of_stream(&found, stream.number),
            of_stream(truth, stream.number),
        );
        assert!(
            found.len() <= truth.len(),
            "{what}: stream {} has too much",
            stream.number
        );
        assert_same(what, &found, &truth[truth.len() - found.len()..]);
        assert!(
            !stream.is_video() || found.first().is_none_or(|line| line.video_key),
            "{what}: begins with a key"
        );
        kept.insert(stream.number, found.len());
    }
    assert!(
        kept.values().any(|&count| count > 0),
        "{what}: nothing came"
    );
}

fn filtered(name: &str, selected: &[u8]) -> Shaped {
    let shaped = shape(&file(name));
    let mut selection = Selection::NONE;
    selected
        .iter()
        .for_each(|&stream| selection.set(stream, Thinning::All));
    let mut filter = Filter::new(&shaped.header, selection);
    let packets = shaped
        .packets
        .iter()
        .filter_map(|packet| media::own(filter.packet(&packet.full)))
        .collect();
    Shaped {
        header: shaped.header,
        packets,
    }
}
