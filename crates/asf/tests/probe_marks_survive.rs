//! Probe channels: exact times, packets a server may rewrite, marks that notice every changed byte.

use std::time::Duration;

use funnel_asf::packet::{Fit, compose, restore_padding};
use funnel_asf::probe::{
    BITS_PER_SECOND_MAX, BITS_PER_SECOND_MIN, Corrupt, PACKET_BYTES_MAX, PACKET_BYTES_MIN,
    ProbeError, is_probe,
};
use funnel_asf::{
    Deframer, Header, Item, Layout, LiveOptions, Mark, Normaliser, Probe, StreamKind, live_header,
};
use hex_literal::hex;
use proptest::prelude::*;

const START_UNIX_NS: u64 = 1_700_000_000_000_000_000;
/// Where the payload begins in a packet as written.
const PAYLOAD_AT: usize = 26;

fn probe(bits_per_second: u32, packet_bytes: u32) -> Probe {
    Probe::new(bits_per_second, packet_bytes).expect("in range")
}

fn packet(probe: &Probe, seq: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let due_unix_ns = START_UNIX_NS + probe.due(seq).as_nanos() as u64;
    probe.packet(seq, due_unix_ns, &mut out);
    out
}

#[test]
fn the_packet_is_laid_out_as_documented() {
    let packet = packet(&probe(300_000, 1444), 1000);
    assert_eq!(packet.len(), 1444);
    assert_eq!(
        packet[..PAYLOAD_AT + 44],
        hex!(
            "820000 00 5D"             // error correction, flags: no length, no padding, one payload
            "6A960000 0000"            // sent at 38,506 ms
            "81 E8 00000000"           // key, stream 1; object 1000 mod 256 from its beginning
            "08 8A050000 529A0000"     // object of 1418 bytes, shown 1000 ms later
            "460055004E004E0045004C00 0000 0000"
            "E803000000000000 AA1A572D079D9717" // 1000; due at its time
            "9FEE9A5D"                 // checksum
            "E1295342232FFA2C"         // filler
        )
    );
}

#[test]
fn the_header_reads_as_a_broadcast_of_one_command_stream() {
    let probe = probe(300_000, 1444);
    let header = Header::parse(&probe.header([7; 16])).unwrap();
    assert!(header.is_broadcast());
    assert_eq!((header.packet_bytes(), header.bit_rate()), (1444, 300_000));
    assert_eq!(header.streams().len(), 1);
    assert_eq!(header.streams()[0].kind, StreamKind::Command);
    assert_eq!(header.description().title, "Load test");
    assert_eq!(is_probe(&header), Some(probe));
}

#[test]
fn the_way_through_a_server_keeps_header_and_marks() {
    let probe = probe(1_000_000, 1444);
    let mut stream = probe.header([7; 16]);
    (0..1000).for_each(|seq| stream.extend(packet(&probe, seq)));
    let (mut deframer, mut normaliser) = (Deframer::new(), None);
    deframer.push(&stream);
    deframer.finish();
    let mut seq = 0;
    while let Some(item) = deframer.next().unwrap() {
        match item {
            Item::Header(header) => {
                let options = LiveOptions {
                    title: Some("Another title"),
                    author: Some("Somebody"),
                    file_id: [9; 16],
                    packet_bytes: header.packet_bytes(),
                    bit_rates: &[],
                };
                let live = live_header(&header, &options).unwrap();
                assert_eq!(is_probe(&live.header), Some(probe));
                assert!(live.dropped.is_empty() && live.warnings.is_empty());
                assert_eq!(live.header.bit_rate(), 1_000_000);
                normaliser = Some(Normaliser::new(&header));
            }
            Item::Packet(raw) => {
                let normaliser = normaliser.as_mut().expect("the header came first");
                let ready = normaliser.packet(raw).unwrap().expect("carries media");
                let mark = Mark {
                    seq,
                    due_unix_ns: START_UNIX_NS + probe.due(seq).as_nanos() as u64,
                };
                assert_eq!(Mark::read(ready.full), Some(mark));
                assert_eq!(Mark::verify(ready.full), Ok(mark));
                assert!(ready.meta.clean_point && ready.meta.join_done);
                assert!(ready.join.is_none() && ready.stripped.is_none());
                assert_eq!(u128::from(ready.meta.send_ms), probe.due(seq).as_millis());
                assert_eq!(ready.meta.padding_bytes, 0);
                seq += 1;
            }
            _ => break,
        }
    }
    assert_eq!(seq, 1000);
    assert!(normaliser.unwrap().repairs().is_empty());
}

#[test]
fn times_and_numbers_may_change_and_payloads_may_not() {
    let probe = probe(300_000, 700);
    let header = Header::parse(&probe.header([7; 16])).unwrap();
    let mut normaliser = Normaliser::new(&header);
    for seq in [500, 501] {
        normaliser.packet(&packet(&probe, seq)).unwrap();
    }
    // The source begins again: the server moves its times and numbers on.
    normaliser.resume(2_000);
    let raw = packet(&probe, 0);
    let moved = normaliser.packet(&raw).unwrap().unwrap().full.to_vec();
    assert_ne!(moved[..PAYLOAD_AT], raw[..PAYLOAD_AT]);
    assert_eq!(moved[PAYLOAD_AT..], raw[PAYLOAD_AT..]);
    assert_eq!(Mark::verify(&moved).unwrap().seq, 0);
}

#[test]
fn other_layouts_of_the_same_payload_verify() {
    let raw = packet(&probe(300_000, 700), 3);
    let layout = Layout::parse(&raw).unwrap();
    let bare = raw[3..].to_vec();
    let (mut stripped, mut padded, mut restored) = (Vec::new(), Vec::new(), Vec::new());
    compose(&raw, &layout, 1, Fit::Shortest, &mut stripped).unwrap();
    compose(&raw, &layout, 1, Fit::Padded(1444), &mut padded).unwrap();
    restore_padding(&raw, 900, &mut restored).unwrap();
    // A payload without a length of its own, zeros behind it.
    let mut filled = raw.clone();
    filled.resize(900, 0);
    filled[0..3].copy_from_slice(&[0x82, 0, 1]);
    for packet in [bare, stripped, padded, restored, filled] {
        assert_eq!(Mark::read(&packet), Mark::read(&raw));
        assert_eq!(Mark::verify(&packet), Mark::verify(&raw));
    }
}

#[test]
fn what_is_no_probe_is_not_taken_for_one() {
    assert_eq!(Mark::read(&[]), None);
    assert_eq!(Mark::verify(&[0x82; 700]), Err(Corrupt::NoMark));
    let mut other = packet(&probe(300_000, 700), 3);
    other[PAYLOAD_AT] ^= 1;
    assert_eq!(Mark::read(&other), None);
    // Without the attribute, or with another kind of stream, the header is anybody's.
    let bytes = probe(300_000, 700).header([7; 16]);
    let without = replaced(
        &bytes,
        b"L\0o\0a\0d\0T\0e\0s\0t\0B",
        b"L\0o\0a\0d\0T\0e\0s\0t\0C",
    );
    assert_eq!(is_probe(&Header::parse(&without).unwrap()), None);
    let command = funnel_asf::guid::COMMAND_MEDIA;
    let other = replaced(&bytes, command.as_bytes(), &[0xAB; 16]);
    assert_eq!(is_probe(&Header::parse(&other).unwrap()), None);
    // A rate that no probe channel has.
    let slow = replaced(&bytes, &300_000u32.to_le_bytes(), &7u32.to_le_bytes());
    assert_eq!(is_probe(&Header::parse(&slow).unwrap()), None);
}

#[test]
fn limits_are_kept() {
    assert!(Probe::new(BITS_PER_SECOND_MAX, PACKET_BYTES_MIN).is_ok());
    assert!(Probe::new(BITS_PER_SECOND_MAX, PACKET_BYTES_MAX).is_ok());
    assert!(Probe::new(BITS_PER_SECOND_MIN, 1000).is_ok());
    let cases = [
        (
            BITS_PER_SECOND_MIN - 1,
            1444,
            "7999 bit/s is not between 8000 and 1000000000",
        ),
        (
            BITS_PER_SECOND_MAX + 1,
            1444,
            "1000000001 bit/s is not between 8000 and 1000000000",
        ),
        (
            300_000,
            255,
            "a packet of 255 bytes is not between 256 and 64000",
        ),
        (
            300_000,
            64_001,
            "a packet of 64001 bytes is not between 256 and 64000",
        ),
        (
            8_000,
            1001,
            "1001 bytes at 8000 bit/s are less than one packet a second",
        ),
    ];
    for (bits_per_second, packet_bytes, message) in cases {
        let error: ProbeError = Probe::new(bits_per_second, packet_bytes).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn an_hour_has_no_drift() {
    // 300 kb/s in 1444 bytes: 0.0385066… s a packet, no whole number of anything.
    let probe = probe(300_000, 1444);
    let hour = Duration::from_secs(3600);
    let count = probe.packets_until(hour);
    assert_eq!(count, 300_000 * 3600 / (1444 * 8) + 1);
    assert!(probe.due(count - 1) <= hour && probe.due(count) > hour);
    assert_eq!(probe.packets_until(Duration::ZERO), 1);
    assert_eq!(probe.due(0), Duration::ZERO);
    assert_eq!(probe.due(1), Duration::from_nanos(38_506_666));
    assert_eq!(probe.due(3_000_000), Duration::from_secs(115_520));
    assert_eq!(probe.packets_until(Duration::MAX), u64::MAX);
}

/// The bytes with the one place where `from` stands, or all of them, replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut found) = (bytes.to_vec(), 0);
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            out[at..at + to.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert!(found > 0, "what is replaced was there");
    out
}

proptest! {
    #[test]
    fn every_header_is_known_again(
        bits_per_second in 600_000u32..=BITS_PER_SECOND_MAX,
        packet_bytes in PACKET_BYTES_MIN..=PACKET_BYTES_MAX,
    ) {
        let probe = probe(bits_per_second, packet_bytes);
        let header = Header::parse(&probe.header([1; 16])).unwrap();
        let live = live_header(&header, &LiveOptions::default()).unwrap().header;
        prop_assert_eq!(is_probe(&live), Some(probe));
    }

    #[test]
    fn any_changed_byte_of_the_payload_is_noticed(
        seq: u64,
        due_unix_ns: u64,
        packet_bytes in 256u32..3000,
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut packet = Vec::new();
        probe(300_000, packet_bytes).packet(seq, due_unix_ns, &mut packet);
        prop_assert_eq!(packet.len(), packet_bytes as usize);
        prop_assert_eq!(Mark::verify(&packet), Ok(Mark { seq, due_unix_ns }));
        let at = PAYLOAD_AT + at.index(packet.len() - PAYLOAD_AT);
        packet[at] ^= flip;
        prop_assert!(Mark::verify(&packet).is_err());
    }

    #[test]
    fn a_cut_packet_is_noticed(packet_bytes in 256u32..3000, keep: prop::sample::Index) {
        let mut packet = Vec::new();
        probe(300_000, packet_bytes).packet(1, 2, &mut packet);
        packet.truncate(keep.index(packet.len()));
        prop_assert!(Mark::verify(&packet).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        prop_assert_eq!(Mark::read(&bytes), None);
        prop_assert!(Mark::verify(&bytes).is_err());
    }

    #[test]
    fn due_and_packets_until_agree(
        bits_per_second in 600_000u32..=BITS_PER_SECOND_MAX,
        packet_bytes in PACKET_BYTES_MIN..=PACKET_BYTES_MAX,
        seq in 0u64..1 << 50,
    ) {
        let probe = probe(bits_per_second, packet_bytes);
        let due = probe.due(seq);
        prop_assert_eq!(probe.packets_until(due), seq + 1);
        if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
            prop_assert_eq!(probe.packets_until(before), seq);
        }
    }
}
