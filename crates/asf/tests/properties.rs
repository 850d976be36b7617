//! Properties over generated shows and damaged bytes: round trips, and no panic whatever comes.

mod media;
mod synthetic;

use funnel_asf::packet::{Fit, Layout, compose, restore_padding};
use funnel_asf::{
    Assembler, Deframer, Filter, Header, LiveOptions, Normaliser, Selection, Survey, Thinning,
    live_header,
};
use media::{bytes, file, live, objects};
use proptest::collection::vec;
use proptest::prelude::*;
use synthetic::{Declared, Frame, header, packets};

/// Objects of two streams at ascending times, of any size from empty to several packets.
fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (1u8..=2, any::<bool>(), 1u32..90, 1usize..1500, any::<u8>());
    vec(frame, 1..60).prop_map(|drafts| {
        let mut time_ms = 0;
        let make = |(stream, key, step_ms, size, fill)| {
            time_ms += step_ms;
            let mut data = vec![fill; size];
            data[0] = if key { 0x10 } else { 0x90 };
            Frame {
                stream,
                key,
                time_ms,
                data,
            }
        };
        drafts.into_iter().map(make).collect()
    })
}

fn streams() -> [Declared; 2] {
    [Declared::Video(1, *b"WMV2"), Declared::Audio(2)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_the_writer_packs_the_assembler_finds(frames in frames(), size in 64u32..3000) {
        let header = header(size, &streams());
        let packets = packets(size, &frames);
        prop_assert!(packets.iter().all(|packet| packet.len() == size as usize));
        let found = objects(&header, packets.iter().map(Vec::as_slice));
        prop_assert_eq!(found.len(), frames.len());
        for stream in [1, 2] {
            let found = found.iter().filter(|object| object.stream == stream);
            let sent = frames.iter().filter(|frame| frame.stream == stream);
            for (object, frame) in found.zip(sent) {
                prop_assert!(object.data == frame.data && object.key == frame.key);
                prop_assert_eq!(object.time_ms, i64::from(frame.time_ms));
            }
        }
    }

    #[test]
    fn composing_keeps_the_chosen_payloads(frames in frames(), size in 64u32..3000, choice: u64) {
        for raw in packets(size, &frames) {
            let layout = Layout::parse(&raw).unwrap();
            let all = (1u64 << layout.payloads().len()) - 1;
            let keep = if layout.payloads().len() == 1 { 1 } else { choice & all };
            prop_assume!(keep != 0);
            for fit in [Fit::Shortest, Fit::Padded(size as usize)] {
                let mut out = Vec::new();
                if compose(&raw, &layout, keep, fit, &mut out).is_err() {
                    prop_assert!(false, "payloads that were there must fit");
                }
                prop_assert!(out.len() <= size as usize + 2);
                let again = Layout::parse(&out).unwrap();
                prop_assert!(again.is_consistent());
                let kept = layout.payloads().iter().enumerate().filter(|(i, _)| keep >> i & 1 == 1);
                let kept: Vec<&[u8]> = kept.map(|(_, payload)| &raw[payload.span()]).collect();
                let found: Vec<&[u8]> = again.payloads().iter().map(|payload| &out[payload.span()]).collect();
                prop_assert_eq!(found, kept);
                prop_assert_eq!(again.send_ms(), layout.send_ms());
            }
        }
    }

    #[test]
    fn two_passes_hold_the_data_twice_in_ascending_time(frames in frames(), size in 64u32..3000) {
        let header = header(size, &streams());
        let packets = packets(size, &frames);
        let mut normaliser = Normaliser::new(&header);
        let mut out = Vec::new();
        let mut latest = 0;
        for _ in 0..2 {
            for raw in &packets {
                let ready = normaliser.packet(raw).unwrap().unwrap();
                prop_assert!(ready.meta.send_ms >= latest);
                latest = ready.meta.send_ms;
                out.push(ready.full.to_vec());
            }
            normaliser.next_pass();
        }
        let found = objects(&header, out.iter().map(Vec::as_slice));
        prop_assert_eq!(found.len(), 2 * frames.len());
        for stream in [1, 2] {
            let times: Vec<i64> = found.iter().filter(|o| o.stream == stream).map(|o| o.time_ms).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "stream {}: {:?}", stream, times);
        }
    }

    #[test]
    fn damaged_packets_never_panic(
        name in prop::sample::select(vec!["av-300k.wmv", "v-lengths.asf", "v-compressed.asf", "v-noec.asf", "bad-packets.asf"]),
        first: prop::sample::Index,
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..40), 1..12),
        cut: prop::sample::Index,
    ) {
        let source = file(name);
        let mut normaliser = Normaliser::new(&source.header);
        let mut selection = Selection::NONE;
        selection.set(1, Thinning::KeyFramesOnly);
        let mut survey = Survey::new(&source.header);
        let mut assembler = Assembler::new(&source.header);
        let mut found = Vec::new();
        let start = first.index(source.packets.len());
        let mut filter = Filter::new(&source.header, selection);
        for (raw, step) in source.packets[start..].iter().zip(0..8) {
            let mut raw = raw.clone();
            for (at, byte, near) in &damage {
                // Half of the damage near the front, where the structure is.
                let at = if step % 2 == 0 { *near } else { at.index(raw.len()) };
                raw[at] = *byte;
            }
            if step == 3 {
                raw.truncate(cut.index(raw.len()));
            }
            if step == 5 {
                normaliser.resume(7);
            }
            let _ = assembler.packet(&raw, &mut found);
            survey.packet(&raw);
            let _ = restore_padding(&raw, source.header.packet_bytes() as usize, &mut Vec::new());
            if let Ok(Some(ready)) = normaliser.packet(&raw) {
                prop_assert!(Layout::parse(ready.full).is_ok());
                let _ = filter.packet(ready.full);
            }
            if step == 6 {
                normaliser.next_pass();
            }
        }
        survey.finish();
    }

    #[test]
    fn damaged_headers_never_panic(
        name in prop::sample::select(vec!["av-300k.wmv", "metadata-unicode.wmv", "mbr-3rates-mutex.wmv", "tiny-audio.asf"]),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep: prop::sample::Index,
        truncate: bool,
    ) {
        let mut header = file(name).header.bytes().to_vec();
        for (at, byte) in &damage {
            let at = at.index(header.len());
            header[at] = *byte;
        }
        if truncate {
            header.truncate(keep.index(header.len()));
        }
        let _ = Header::wire_size(&header);
        if let Ok(parsed) = Header::parse(&header) {
            prop_assert!(parsed.bytes().len() <= header.len());
            let options = LiveOptions { title: Some("t"), ..LiveOptions::default() };
            if let Ok(live) = live_header(&parsed, &options) {
                prop_assert!(live.header.is_broadcast() && live.header.bytes().ends_with(&[1, 1]));
            }
        }
    }

    #[test]
    fn damaged_captures_never_panic(
        name in prop::sample::select(vec!["live-capture.asfh", "live-pipe.asf"]),
        damage in vec((0usize..12_000, any::<u8>()), 1..20),
        cut in 1usize..3000,
    ) {
        let mut bytes = bytes(name);
        bytes.truncate(12_000);
        damage.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        let mut deframer = Deframer::new();
        'source: for piece in bytes.chunks(cut) {
            deframer.push(piece);
            loop {
                match deframer.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'source,
                }
            }
        }
    }

    #[test]
    fn any_bytes_at_all(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Layout::parse(&bytes);
        let _ = Header::parse(&bytes);
        let _ = restore_padding(&bytes, 200, &mut Vec::new());
    }
}

#[test]
fn any_cut_of_a_capture_is_the_same_capture() {
    let whole = live("live-capture.asfh", &[usize::MAX]).packets;
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) }, |(cuts in vec(1usize..5000, 1..8))| {
        prop_assert!(live("live-capture.asfh", &cuts).packets == whole);
    });
}
