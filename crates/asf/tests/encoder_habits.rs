//! What encoders do wrong (`docs/protocol/asf.md` §15) is repaired once, and counted.

mod media;
mod synthetic;

use funnel_asf::packet::{Fit, Layout, compose};
use funnel_asf::{Assembler, Normaliser, PacketError, live_header};
use media::{Source, objects, own, shape};
use synthetic::{Declared, Frame, header, packets, show};

fn source(streams: &[Declared], frames: &[Frame]) -> Source {
    Source {
        header: header(500, streams),
        packets: packets(500, frames),
    }
}

fn video_and_audio() -> [Declared; 2] {
    [Declared::Video(1, *b"WMV2"), Declared::Audio(2)]
}

fn clean_points(source: &Source) -> Vec<u64> {
    let points = shape(source)
        .packets
        .into_iter()
        .filter(|packet| packet.meta.clean_point);
    points.map(|packet| packet.meta.send_ms).collect()
}

#[test]
fn a_video_that_marks_every_frame_gets_its_true_keys() {
    let source = source(&video_and_audio(), &show(10, |_| true));
    let mut normaliser = Normaliser::new(&source.header);
    let found: Vec<_> = source
        .packets
        .iter()
        .filter_map(|raw| own(normaliser.packet(raw)))
        .collect();
    let found = objects(&source.header, found.iter().map(|packet| &packet.full[..]));
    let keys: Vec<i64> = found
        .iter()
        .filter(|object| object.stream == 1 && object.key)
        .map(|o| o.time_ms)
        .collect();
    assert_eq!(
        keys,
        (0..10).map(|second| second * 1000).collect::<Vec<_>>()
    );
    assert!(normaliser.repairs().video_keys_changed >= 240);
    assert!(
        normaliser
            .repairs()
            .to_string()
            .contains("video key bits changed")
    );
}

#[test]
fn a_video_that_marks_none_gets_them_too() {
    let points = clean_points(&source(&video_and_audio(), &show(10, |_| false)));
    assert_eq!(points.len(), 10);
}

#[test]
fn an_honest_video_is_left_alone() {
    let source = source(&video_and_audio(), &show(10, |index| index % 25 == 0));
    let mut normaliser = Normaliser::new(&source.header);
    source
        .packets
        .iter()
        .for_each(|raw| assert!(normaliser.packet(raw).unwrap().is_some()));
    let repairs = *normaliser.repairs();
    assert_eq!(repairs.video_keys_changed, 0);
    assert!(repairs.audio_keys_set >= 250 && repairs.send_times_moved == 0);
}

#[test]
fn without_marks_in_a_codec_that_does_not_tell_any_object_will_do_in_the_end() {
    let streams = [Declared::Video(1, *b"WMV3"), Declared::Audio(2)];
    let points = clean_points(&source(&streams, &show(70, |_| false)));
    assert!((60_000..60_100).contains(&points[0]), "{}", points[0]);
    assert!(points.len() > 100, "{}", points.len());
}

#[test]
fn a_silent_video_does_not_keep_listeners_out() {
    let sound: Vec<Frame> = show(70, |_| true)
        .into_iter()
        .filter(|frame| frame.stream == 2)
        .collect();
    let points = clean_points(&source(&video_and_audio(), &sound));
    assert!((60_000..61_500).contains(&points[0]), "{}", points[0]);
}

#[test]
fn the_output_clean_point_extension_marks_keys_of_hidden_streams() {
    let header = header(
        500,
        &[Declared::Audio(2), Declared::HiddenVideo(5, *b"WMV3")],
    );
    let stream = header.stream(5).unwrap();
    assert!(stream.hidden && stream.extensions.len() == 2);
    let raw = packets(
        500,
        &[Frame {
            stream: 5,
            key: false,
            time_ms: 0,
            data: vec![1; 60],
        }],
    )
    .remove(0);
    // Grow the replicated data from 8 to 20 bytes: eleven undeclared ones, then the mark. Padding gives the room.
    let layout = Layout::parse(&raw).unwrap();
    let at = layout.payloads()[0].span().start + 7 + 8;
    for mark in [1u8, 0] {
        let mut marked = raw.clone();
        marked[at - 9] = 20;
        marked.splice(at..at, [0; 11].into_iter().chain([mark]));
        let padding = u16::from_le_bytes([marked[5], marked[6]]) - 12;
        marked[5..7].copy_from_slice(&padding.to_le_bytes());
        marked.truncate(500);
        let mut normaliser = Normaliser::new(&header);
        let ready = normaliser.packet(&marked).unwrap().unwrap();
        assert_eq!(ready.meta.clean_point, mark == 1);
        assert_eq!(
            Layout::parse(ready.full).unwrap().payloads()[0].is_key(),
            mark == 1
        );
    }
}

#[test]
fn late_send_times_like_vlcs_are_derived_from_presentation_times() {
    let mut source = source(&video_and_audio(), &show(4, |index| index % 25 == 0));
    for raw in &mut source.packets {
        let layout = Layout::parse(raw).unwrap();
        layout.set_send_ms(raw, layout.send_ms() + synthetic::PREROLL_MS);
    }
    let shaped = shape(&source);
    for packet in &shaped.packets {
        let layout = Layout::parse(&packet.full).unwrap();
        let started = layout
            .payloads()
            .iter()
            .filter(|payload| payload.starts_object());
        let lead = started
            .filter_map(|payload| payload.time_ms())
            .min()
            .map(|time| time - layout.send_ms());
        assert!(
            lead.is_none_or(|lead| lead >= synthetic::PREROLL_MS),
            "{lead:?}"
        );
    }
    assert_eq!(shaped.packets[0].meta.send_ms, 0);
}

#[test]
fn a_jump_in_the_sources_clock_leaves_no_hole() {
    let mut frames = show(4, |index| index % 25 == 0);
    frames
        .iter_mut()
        .filter(|frame| frame.time_ms >= 2000)
        .for_each(|frame| frame.time_ms += 5_000_000);
    let source = source(&video_and_audio(), &frames);
    let shaped = shape(&source);
    assert!(
        shaped
            .packets
            .windows(2)
            .all(|pair| pair[1].meta.send_ms - pair[0].meta.send_ms < 200)
    );
    let found = objects(
        &source.header,
        shaped.packets.iter().map(|packet| &packet.full[..]),
    );
    let times: Vec<i64> = found
        .iter()
        .filter(|object| object.stream == 1)
        .map(|object| object.time_ms)
        .collect();
    assert!(
        times
            .windows(2)
            .all(|pair| pair[0] < pair[1] && pair[1] - pair[0] < 200)
    );
}

#[test]
fn time_offsets_of_streams_are_folded_in() {
    let streams = [Declared::Audio(2), Declared::LateAudio(3, 700)];
    let frames = [2, 3].map(|stream| Frame {
        stream,
        key: true,
        time_ms: 0,
        data: vec![0; 30],
    });
    let source = source(&streams, &frames);
    let found = objects(
        &source.header,
        shape(&source).packets.iter().map(|packet| &packet.full[..]),
    );
    assert_eq!(
        found
            .iter()
            .map(|object| object.time_ms)
            .collect::<Vec<_>>(),
        [0, 700]
    );
    let live = live_header(&source.header, &funnel_asf::LiveOptions::default()).unwrap();
    assert!(
        live.header
            .streams()
            .iter()
            .all(|stream| stream.time_offset_ms == 0)
    );
}

#[test]
fn lengths_that_cut_into_payloads_are_mended() {
    // GStreamer writes the packet length without the padding, and the padding length besides.
    let mut source = source(&video_and_audio(), &[]);
    source.packets = show(1, |index| index % 25 == 0)
        .chunks(2)
        .flat_map(|frames| packets(500, frames))
        .collect();
    let truth = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    assert_eq!(truth.len(), 50);
    for raw in &mut source.packets {
        let layout = Layout::parse(raw).unwrap();
        if layout.payloads().len() < 2 || layout.padding_bytes() < 20 {
            continue;
        }
        let mut quirk = Vec::new();
        compose(raw, &layout, u64::MAX, Fit::Shortest, &mut quirk).unwrap();
        let length = quirk.len() as u16 + 2;
        quirk[3] |= 0x10;
        quirk.splice(
            5..7,
            length
                .to_le_bytes()
                .into_iter()
                .chain((500 - length).to_le_bytes()),
        );
        quirk.resize(500, 0);
        *raw = quirk;
    }
    let mut normaliser = Normaliser::new(&source.header);
    let mended: Vec<_> = source
        .packets
        .iter()
        .filter_map(|raw| own(normaliser.packet(raw)))
        .collect();
    assert!(
        normaliser.repairs().lengths_mended >= 24,
        "{}",
        normaliser.repairs()
    );
    assert!(
        mended
            .iter()
            .all(|packet| Layout::parse(&packet.full).unwrap().is_consistent())
    );
    let found = objects(&source.header, mended.iter().map(|packet| &packet.full[..]));
    assert_eq!(found.len(), truth.len());
    assert!(found.iter().zip(&truth).all(|(a, b)| a.data == b.data));
}

#[test]
fn parity_packets_are_dropped_and_error_correction_data_is_cleared() {
    let source = source(&video_and_audio(), &show(1, |_| true));
    let mut normaliser = Normaliser::new(&source.header);
    let mut parity = source.packets[0].clone();
    parity[0] = 0x92;
    assert!(normaliser.packet(&parity).unwrap().is_none());
    let mut span = source.packets[0].clone();
    span[1..3].copy_from_slice(&[0x11, 7]);
    assert_eq!(
        &normaliser.packet(&span).unwrap().unwrap().full[..3],
        [0x82, 0, 0]
    );
    assert_eq!(
        (
            normaliser.repairs().prefixes_cleared,
            normaliser.repairs().packets_dropped
        ),
        (1, 1)
    );
}

#[test]
fn a_packet_without_prefix_among_others_with_one_keeps_the_size() {
    let source = source(&video_and_audio(), &show(2, |index| index % 25 == 0));
    let mut normaliser = Normaliser::new(&source.header);
    assert_eq!(
        normaliser
            .packet(&source.packets[0])
            .unwrap()
            .unwrap()
            .full
            .len(),
        500
    );
    let (mut kept, mut refused) = (0, 0);
    for raw in &source.packets[1..] {
        let mut bare = raw[3..].to_vec();
        bare.extend_from_slice(&[0; 3]);
        match normaliser.packet(&bare) {
            Ok(Some(ready)) => {
                assert_eq!(
                    (ready.full.len(), &ready.full[..3]),
                    (500, &[0x82, 0, 0][..])
                );
                kept += 1;
            }
            Err(PacketError::Size { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        kept > 5 && refused > 0,
        "{kept} had room, {refused} had none"
    );
}

#[test]
fn a_packet_longer_than_the_header_says_is_damaged() {
    let source = source(&video_and_audio(), &show(1, |_| true));
    let mut long = source.packets[0].clone();
    long.push(0);
    let mut normaliser = Normaliser::new(&source.header);
    assert!(matches!(
        normaliser.packet(&long),
        Err(PacketError::Size {
            have: 501,
            packet_bytes: 500
        })
    ));
}

#[test]
fn lost_packets_lose_their_objects_and_no_others() {
    let source = source(&video_and_audio(), &show(2, |index| index % 25 == 0));
    let mut assembler = Assembler::new(&source.header);
    let mut found = Vec::new();
    for (_, raw) in source
        .packets
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != 1)
    {
        assembler.packet(raw, &mut found).unwrap();
    }
    assert!(assembler.dropped() > 0);
    let truth = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    assert!(found.len() + 5 > truth.len() && found.iter().all(|object| truth.contains(object)));
}
