//! Each damaged file of the media set is refused or borne as its README says.

mod media;

use funnel_asf::{Header, HeaderError, Normaliser, PacketError, Survey, packet};
use media::{assert_same, bytes, expected, file, lines, objects};

#[test]
fn broken_headers_are_refused_by_name() {
    let refused = |name: &str| Header::parse(&bytes(name)).expect_err(name);
    assert_eq!(
        refused("bad-header-size-huge.asf"),
        HeaderError::HeaderSize {
            size: 0xFFFF_FFFF_FFFF_FF00
        }
    );
    assert!(matches!(
        refused("bad-object-size-zero.asf"),
        HeaderError::ObjectSize { size: 0, .. }
    ));
    assert!(matches!(
        refused("bad-object-past-header.asf"),
        HeaderError::ObjectSize {
            size: 0x7FFF_FFFF,
            ..
        }
    ));
    assert_eq!(
        refused("bad-packet-size-zero.asf"),
        HeaderError::PacketSize {
            minimum: 0,
            maximum: 0
        }
    );
    assert_eq!(
        refused("bad-packet-size-huge.asf"),
        HeaderError::PacketSize {
            minimum: u32::MAX,
            maximum: u32::MAX
        }
    );
    assert_eq!(
        refused("bad-no-file-properties.asf"),
        HeaderError::NoFileProperties
    );
    assert_eq!(
        refused("bad-stream-data-overrun.asf"),
        HeaderError::StreamDataOverrun { stream: 1 }
    );
    assert_eq!(
        refused("bad-stream-number-zero.asf"),
        HeaderError::StreamNumberZero
    );
    assert_eq!(
        refused("bad-stream-number-twice.asf"),
        HeaderError::StreamTwice { stream: 1 }
    );
    assert_eq!(refused("bad-no-data-object.asf"), HeaderError::NoDataObject);
}

#[test]
fn a_wrong_child_count_proves_nothing() {
    let source = file("bad-count-wrong.asf");
    assert_eq!(
        objects(&source.header, source.packets.iter().map(Vec::as_slice)).len(),
        8
    );
}

#[test]
fn a_truncated_file_has_its_whole_packets() {
    let source = file("truncated.wmv");
    assert_eq!(source.packets.len(), 100);
    let found = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    let count = |stream| {
        found
            .iter()
            .filter(|object| object.stream == stream)
            .count()
    };
    assert_eq!((count(1), count(2)), (64, 56));
    let mut survey = Survey::new(&source.header);
    source
        .packets
        .iter()
        .for_each(|packet| survey.packet(packet));
    let survey = survey.finish();
    assert_eq!((survey.packets, survey.damaged), (100, 0));
    assert!(
        (2500..2700).contains(&survey.duration_ms),
        "{} ms of the 2.6 s that are there",
        survey.duration_ms
    );
}

#[test]
fn damaged_packets_are_dropped_one_by_one() {
    let source = file("bad-packets.asf");
    assert_eq!(source.packets.len(), 40);
    let mut normaliser = Normaliser::new(&source.header);
    let (mut kept, mut failed, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for (number, raw) in source.packets.iter().enumerate() {
        match normaliser.packet(raw) {
            Ok(Some(ready)) => kept.push(ready.full.to_vec()),
            Ok(None) => dropped.push(number),
            Err(error) => failed.push((number, error)),
        }
    }
    assert_eq!(failed.len(), 14, "{failed:?}");
    assert!(
        failed
            .iter()
            .all(|(number, _)| matches!((number / 2) % 8, 0..=3 | 5)),
        "{failed:?}"
    );
    assert!(matches!(
        failed[0].1,
        PacketError::Padding { padding: 255, .. }
    ));
    assert!(matches!(
        failed[1].1,
        PacketError::ErrorCorrection { flags: 0xE2 }
    ));
    assert!(matches!(
        failed[2].1,
        PacketError::NotAPacket { property: 0x1D, .. }
    ));
    assert!(matches!(
        failed[3].1,
        PacketError::Replicated { bytes: 3, .. }
    ));
    assert!(matches!(
        failed[4].1,
        PacketError::Truncated {
            field: "payload data",
            ..
        }
    ));
    assert!(
        dropped
            .iter()
            .all(|number| matches!((number / 2) % 8, 6 | 7)),
        "{dropped:?}"
    );
    assert_eq!(dropped.len(), 4);
    assert_eq!(normaliser.repairs().unknown_payloads, 2);

    let truth = expected("tiny-audio.asf", &source.header);
    let undamaged: Vec<_> = truth.into_iter().take(40).step_by(2).collect();
    let found = objects(&source.header, kept.iter().map(Vec::as_slice));
    assert_same("normalised", &lines(&source.header, &found), &undamaged);
    let found = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    assert_same("raw", &lines(&source.header, &found), &undamaged);
}

#[test]
fn what_follows_the_packets_is_no_packet() {
    let whole = bytes("av-300k.wmv");
    let source = file("av-300k.wmv");
    let index =
        source.header.bytes().len() + source.packets.len() * source.header.packet_bytes() as usize;
    assert!(packet::ends_data(&whole[index..]));
    assert!(packet::ends_data(&[0x24, 0x45, 0x08, 0x00]));
    assert!(!source.packets.iter().any(|raw| packet::ends_data(raw)));
    assert!(
        packet::Layout::parse(&whole[index..]).is_err(),
        "the index does not parse as a packet either"
    );
}
