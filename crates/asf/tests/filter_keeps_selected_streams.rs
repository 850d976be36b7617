//! A selection's log holds exactly the objects of its streams.

mod media;

use funnel_asf::{Filter, Layout, Selection, Thinning};
use media::{Packet, Shaped, assert_same, expected, file, lines, objects, of_stream, own, shape};

#[test]
fn selected_streams_come_through_whole() {
    for name in [
        "mbr-3rates.wmv",
        "mbr-3rates-mutex.wmv",
        "av-300k.wmv",
        "large-packets.wmv",
        "h264-aac.asf",
    ] {
        let shaped = shape(&file(name));
        let truth = expected(name, &shaped.header);
        for stream in shaped.header.streams() {
            let packets = filter(&shaped, &[(stream.number, Thinning::All)]);
            assert!(
                packets
                    .iter()
                    .all(|packet| packet.full.len() == shaped.packets[0].full.len()),
                "{name}"
            );
            for stripped in [false, true] {
                let seen = packets.iter().map(|packet| packet.form(stripped, false));
                let found = lines(&shaped.header, &objects(&shaped.header, seen));
                assert_same(name, &found, &of_stream(&truth, stream.number));
            }
        }
    }
}

#[test]
fn one_of_three_rates_saves_its_share_of_bytes() {
    let shaped = shape(&file("mbr-3rates.wmv"));
    let packets = filter(&shaped, &[(1, Thinning::All), (2, Thinning::All)]);
    let sent: usize = packets
        .iter()
        .map(|packet| packet.form(true, false).len())
        .sum();
    let all: usize = shaped.packets.iter().map(|packet| packet.full.len()).sum();
    assert!(sent * 3 < all, "{sent} of {all} bytes");
    assert!(
        packets
            .iter()
            .all(|packet| packet.meta.streams & !0b110 == 0)
    );
}

#[test]
fn thinning_leaves_the_key_frames() {
    let shaped = shape(&file("av-300k.wmv"));
    let packets = filter(&shaped, &[(1, Thinning::KeyFramesOnly), (2, Thinning::All)]);
    let found = lines(
        &shaped.header,
        &objects(
            &shaped.header,
            packets.iter().map(|packet| &packet.full[..]),
        ),
    );
    let truth = expected("av-300k.wmv", &shaped.header);
    let keys: Vec<_> = truth
        .iter()
        .filter(|line| line.stream == 1 && line.video_key)
        .cloned()
        .collect();
    assert_eq!(keys.len(), 10);
    assert_same("video", &of_stream(&found, 1), &keys);
    assert_same("audio", &of_stream(&found, 2), &of_stream(&truth, 2));
}

#[test]
fn a_stream_enabled_in_the_middle_begins_with_a_key_frame() {
    let shaped = shape(&file("av-300k.wmv"));
    let mut selection = Selection::NONE;
    selection.set(1, Thinning::All);
    let mut filter = Filter::new(&shaped.header, selection);
    let middle = 100;
    assert!(!shaped.packets[middle].meta.clean_point);
    filter.set_clock(5 << 32);
    let packets: Vec<Packet> = shaped.packets[middle..]
        .iter()
        .filter_map(|packet| own(filter.packet(&packet.full)))
        .collect();
    assert!(packets[0].meta.clean_point);
    assert!(packets[0].meta.send_ms >= 5 << 32, "the clock was told");
    let found = objects(
        &shaped.header,
        packets.iter().map(|packet| &packet.full[..]),
    );
    assert!(found[0].key && found.iter().all(|object| object.stream == 1));
    let first = Layout::parse(&packets[0].full).unwrap();
    assert_eq!(first.payloads()[0].offset(), 0);
}

#[test]
fn everything_selected_changes_nothing() {
    let shaped = shape(&file("av-300k.wmv"));
    let mut filter = Filter::new(&shaped.header, Selection::ALL);
    for packet in &shaped.packets {
        let ready = filter.packet(&packet.full).unwrap().unwrap();
        assert_eq!(ready.full, packet.full);
        assert_eq!(ready.meta, packet.meta);
    }
    let mut nothing = Filter::new(&shaped.header, Selection::NONE);
    assert!(
        shaped
            .packets
            .iter()
            .all(|packet| nothing.packet(&packet.full).unwrap().is_none())
    );
}

fn filter(shaped: &Shaped, levels: &[(u8, Thinning)]) -> Vec<Packet> {
    let mut selection = Selection::NONE;
    levels
        .iter()
        .for_each(|&(stream, level)| selection.set(stream, level));
    let mut filter = Filter::new(&shaped.header, selection);
    shaped
        .packets
        .iter()
        .filter_map(|packet| own(filter.packet(&packet.full)))
        .collect()
}
