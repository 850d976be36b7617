//! Every good file gives the objects ffprobe gives: as it is, normalised, without padding, filled up again.

mod media;

use funnel_asf::{StreamKind, packet};
use media::{GOOD, assert_same, expected, file, lines, live, objects, shape};

#[test]
fn raw_packets_give_the_objects_of_ffprobe() {
    for name in GOOD {
        let source = file(name);
        let found = objects(&source.header, source.packets.iter().map(Vec::as_slice));
        assert_same(
            name,
            &lines(&source.header, &found),
            &expected(name, &source.header),
        );
    }
}

#[test]
fn the_live_pipe_gives_the_objects_of_ffprobe() {
    let source = live("live-pipe.asf", &[4096]);
    assert_eq!(source.packets.len(), 338);
    let found = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    assert_same(
        "live-pipe.asf",
        &lines(&source.header, &found),
        &expected("live-pipe.asf", &source.header),
    );
}

#[test]
fn normalised_packets_give_the_same_objects_and_keep_their_size() {
    for name in GOOD {
        let shaped = shape(&file(name));
        let size = shaped.packets[0].full.len();
        assert_eq!(
            size,
            usize::try_from(shaped.header.packet_bytes()).unwrap()
                + 3 * usize::from(name == "v-noec.asf")
        );
        for packet in &shaped.packets {
            assert_eq!(
                (packet.full.len(), &packet.full[..3]),
                (size, &[0x82, 0, 0][..]),
                "{name}"
            );
        }
        let found = objects(
            &shaped.header,
            shaped.packets.iter().map(|packet| &packet.full[..]),
        );
        assert_same(
            name,
            &lines(&shaped.header, &found),
            &expected(name, &shaped.header),
        );
        let audio = |stream| {
            matches!(
                shaped.header.stream(stream).unwrap().kind,
                StreamKind::Audio { .. }
            )
        };
        assert!(
            found
                .iter()
                .all(|object| object.key || !audio(object.stream)),
            "{name}: audio objects are keys"
        );
    }
}

#[test]
fn ordinary_packets_change_in_nothing_but_audio_key_bits() {
    for name in [
        "av-300k.wmv",
        "audio-64k.wma",
        "h264-aac.asf",
        "mbr-3rates.wmv",
        "slides-3min.asf",
    ] {
        let source = file(name);
        let shaped = shape(&source);
        for (raw, packet) in source.packets.iter().zip(&shaped.packets) {
            let changed = raw.iter().zip(&packet.full).filter(|(a, b)| a != b);
            assert!(changed.clone().all(|(a, b)| *a | 0x80 == *b), "{name}");
            assert!(changed.count() <= 63, "{name}");
        }
    }
}

#[test]
fn removing_padding_keeps_the_objects_whatever_a_client_does() {
    for name in GOOD {
        let shaped = shape(&file(name));
        let truth = expected(name, &shaped.header);
        let size = shaped.packets[0].full.len();
        let stripped = || shaped.packets.iter().map(|packet| packet.form(true, false));
        assert_same(
            name,
            &lines(&shaped.header, &objects(&shaped.header, stripped())),
            &truth,
        );
        let zero_filled: Vec<Vec<u8>> = stripped()
            .map(|packet| {
                let mut filled = packet.to_vec();
                filled.resize(size, 0);
                filled
            })
            .collect();
        let found = objects(&shaped.header, zero_filled.iter().map(Vec::as_slice));
        assert_same(name, &lines(&shaped.header, &found), &truth);
    }
}

#[test]
fn a_stripped_twin_exists_where_it_saves_three_bytes() {
    for name in GOOD {
        for packet in shape(&file(name)).packets {
            let layout = packet::Layout::parse(&packet.full).unwrap();
            match &packet.stripped {
                Some(stripped) => assert!(stripped.len() + 3 <= packet.full.len()),
                None => assert!(
                    layout.padding_bytes() < 5,
                    "{name}: {} bytes of padding stay",
                    layout.padding_bytes()
                ),
            }
        }
    }
    let tiny = shape(&file("tiny-audio.asf"));
    assert!(tiny.packets.iter().all(|packet| {
        packet
            .stripped
            .as_ref()
            .is_some_and(|stripped| stripped.len() <= 105)
    }));
}

#[test]
fn padding_cut_off_by_a_sender_is_put_back_without_harm() {
    for name in GOOD {
        let source = file(name);
        let mut restored = Vec::new();
        let mut filled: Vec<Vec<u8>> = Vec::new();
        for raw in &source.packets {
            let layout = packet::Layout::parse(raw).unwrap();
            let cut = &raw[..raw.len() - layout.padding_bytes() as usize];
            packet::restore_padding(cut, raw.len(), &mut restored).unwrap();
            assert_eq!(restored.len(), raw.len());
            filled.push(restored.clone());
        }
        let found = objects(&source.header, filled.iter().map(Vec::as_slice));
        assert_same(
            name,
            &lines(&source.header, &found),
            &expected(name, &source.header),
        );
    }
}
