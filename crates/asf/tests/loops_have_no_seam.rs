//! A looped file and a restarted source go on in time and numbers as if nothing had happened.

mod media;

use std::collections::BTreeMap;

use funnel_asf::{Layout, MediaObject, Normaliser};
use media::{GOOD, Packet, Source, file, live, objects, own};

#[test]
fn three_passes_ascend_and_repeat_the_data() {
    for name in GOOD {
        let source = file(name);
        let mut normaliser = Normaliser::new(&source.header);
        let mut packets = pass(&mut normaliser, &source);
        let once = packets.len();
        for _ in 1..3 {
            normaliser.next_pass();
            packets.extend(pass(&mut normaliser, &source));
        }
        assert_eq!(packets.len(), 3 * once, "{name}");
        check(name, &source, &packets, 3, 200);
        let seam = packets[once].meta.send_ms - packets[once - 1].meta.send_ms;
        assert!(seam < 4_000, "{name}: {seam} ms between the passes");
        assert!(
            normaliser.repairs().timeline_jumps == 0 && normaliser.repairs().send_times_moved < 10,
            "{name}"
        );
    }
}

#[test]
fn a_restarted_source_goes_on_after_its_gap() {
    for gap_ms in [0, 700, 30_000] {
        let source = live("live-capture.asfh", &[9000]);
        let mut normaliser = Normaliser::new(&source.header);
        let mut packets = pass(&mut normaliser, &source);
        let before = packets.last().unwrap().meta.send_ms;
        normaliser.resume(gap_ms);
        let second = pass(&mut normaliser, &source);
        let gap = second[0].meta.send_ms - before;
        assert!(
            (gap_ms..gap_ms + 200).contains(&gap),
            "{gap} ms for {gap_ms}"
        );
        packets.extend(second);
        check(
            "live-capture.asfh",
            &source,
            &packets,
            2,
            gap_ms as i64 + 300,
        );
    }
}

#[test]
fn one_damaged_presentation_time_makes_no_pause_between_passes() {
    for wild_ms in [
        200_000,
        i32::MAX.cast_unsigned(),
        1 << 31,
        u32::MAX - 5_000_000,
    ] {
        let mut source = file("av-300k.wmv");
        let (raw, mut payload) = source
            .packets
            .iter_mut()
            .rev()
            .find_map(|raw| {
                let layout = Layout::parse(raw).unwrap();
                let begun = layout
                    .payloads()
                    .iter()
                    .rfind(|payload| payload.starts_object());
                Some((raw, begun?.clone()))
            })
            .unwrap();
        let time_ms = payload.time_ms().unwrap();
        assert!(payload.set_time_ms(raw, time_ms.wrapping_add(wild_ms)));
        let mut normaliser = Normaliser::new(&source.header);
        let mut packets = pass(&mut normaliser, &source);
        let once = packets.len();
        for _ in 0..3 {
            normaliser.next_pass();
            packets.extend(pass(&mut normaliser, &source));
        }
        for seam in packets
            .windows(2)
            .map(|pair| (pair[0].meta.send_ms, pair[1].meta.send_ms))
        {
            assert!(
                seam.0 <= seam.1 && seam.1 - seam.0 < 4_000,
                "{wild_ms}: {seam:?}"
            );
        }
        assert!(
            packets[once].meta.send_ms > 15_000,
            "the pass has its length"
        );
    }
}

#[test]
fn resuming_a_source_in_its_middle_keeps_ascending() {
    let source = file("av-300k.wmv");
    let mut normaliser = Normaliser::new(&source.header);
    let mut packets = pass(&mut normaliser, &source);
    normaliser.resume(1_000);
    packets.extend(
        source.packets[77..]
            .iter()
            .filter_map(|raw| own(normaliser.packet(raw))),
    );
    let found = objects(
        &source.header,
        packets.iter().map(|packet| &packet.full[..]),
    );
    // The object cut by the new beginning keeps its number: one is missing there, none comes twice.
    ascend("resumed at packet 77", &found, 2_000, 2);
}

#[test]
fn the_32_bits_of_the_packets_wrap_and_the_clock_goes_on() {
    let source = file("tiny-audio.asf");
    let mut normaliser = Normaliser::new(&source.header);
    pass(&mut normaliser, &source);
    let day = 24 * 3_600_000;
    for _ in 0..50 {
        normaliser.resume(day);
        normaliser.packet(&source.packets[0]).unwrap();
    }
    let packets = pass(&mut normaliser, &source);
    let last = packets.last().unwrap();
    assert!(last.meta.send_ms > 50 * day && last.meta.send_ms > 1 << 32);
    let layout = funnel_asf::Layout::parse(&last.full).unwrap();
    assert_eq!(layout.send_ms(), last.meta.send_ms as u32);
    let time_ms = layout.payloads()[0].time_ms().unwrap();
    assert_eq!(
        time_ms.wrapping_sub(layout.send_ms()),
        source.header.preroll_ms()
    );
}

fn pass(normaliser: &mut Normaliser, source: &Source) -> Vec<Packet> {
    source
        .packets
        .iter()
        .filter_map(|raw| own(normaliser.packet(raw)))
        .collect()
}

/// `passes` equal copies of the source's objects; times ascend, object numbers count on, send times never go back.
fn check(name: &str, source: &Source, packets: &[Packet], passes: usize, gap_ms_max: i64) {
    assert!(
        packets
            .windows(2)
            .all(|pair| pair[0].meta.send_ms <= pair[1].meta.send_ms),
        "{name}: send times"
    );
    let found = objects(
        &source.header,
        packets.iter().map(|packet| &packet.full[..]),
    );
    ascend(name, &found, gap_ms_max, 1);
    let once = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    assert_eq!(found.len(), passes * once.len(), "{name}");
    for (object, original) in found.iter().zip(once.iter().cycle()) {
        assert!(
            object.data == original.data && object.stream == original.stream,
            "{name}: equal data"
        );
    }
}

/// Times of each stream strictly ascend without a larger gap than the content has; numbers count on.
fn ascend(name: &str, found: &[MediaObject], gap_ms_max: i64, step_max: u32) {
    let mut latest: BTreeMap<u8, &MediaObject> = BTreeMap::new();
    for object in found {
        if let Some(before) = latest.insert(object.stream, object) {
            let gap = object.time_ms - before.time_ms;
            let slides = name.starts_with("slides");
            assert!(
                gap > 0 && gap <= gap_ms_max.max(if slides { 1_200 } else { 0 }),
                "{name}: {gap} ms"
            );
            let step = object.number.wrapping_sub(before.number) & 0xFF;
            assert!(
                (1..=step_max).contains(&step),
                "{name}: object {} after {}",
                object.number,
                before.number
            );
        }
    }
}
