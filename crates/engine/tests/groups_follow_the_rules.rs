//! What a group hears (`docs/protocol/msb-nsc.md` §2 to §5): numbers without gaps, parity that restores, streams that can be told
//! apart, beacons in silence, and bursts that stay small.

mod group_desk;

use std::time::Duration;

use funnel_channel::{Air, Start};
use funnel_engine::GroupReport;
use funnel_wire::msb::{Correction, Place, StreamId, restore};
use funnel_wire::nsc::FormatId;
use group_desk::{
    Desk, PACKET_BYTES, Packet, announce, announce_rate, body, header, publish, publish_twin,
};
use proptest::prelude::*;

/// The numbers of the headers of the last report.
fn formats(desk: &Desk) -> Vec<FormatId> {
    let last = desk.reports.iter().rev().find_map(|report| match report {
        GroupReport::Headers { formats, .. } => Some(formats),
        _ => None,
    });
    last.expect("headers were told")
        .iter()
        .map(|format| format.id())
        .collect()
}

/// Checks one stream of packets from its first cycle on, and returns the data packets as they lay in the log.
fn data_of(packets: &[Packet], span: u8, first_id: u32, first_cycle: u8) -> Vec<Vec<u8>> {
    let (mut id, mut cycle, mut number) = (first_id, first_cycle, 0);
    let mut data = Vec::new();
    for packet in packets {
        assert_eq!(packet.stream, packets[0].stream);
        match packet.correction {
            Correction::Data(place) => {
                number += 1;
                assert_eq!(place, Place { number, cycle });
                assert_eq!(packet.id, id);
                assert!(number <= span);
                id = id.wrapping_add(1);
                data.push(packet.unmarked());
            }
            Correction::Parity(place) => {
                let number_behind = number + 1;
                assert_eq!((place.number, place.cycle), (number_behind, cycle));
                assert_eq!(
                    packet.id,
                    id.wrapping_sub(1),
                    "the id of the data packet before"
                );
                cycle = cycle.wrapping_add(1);
                number = 0;
            }
            Correction::None => panic!("a packet without a place"),
        }
    }
    data
}

#[test]
fn packets_come_in_order_with_ids_places_and_parity() {
    let mut desk = Desk::new(10);
    let mut publisher = announce(&desk.channel, &header(1));
    // More than 256 cycles, so that the cycle wraps.
    let bodies: Vec<_> = (0..2575).map(|number| body(number, 900)).collect();
    for packet in &bodies {
        publish(&mut publisher, desk.now, packet, 0);
        desk.run_ms(20);
    }
    let packets = desk.packets();
    assert_eq!(packets.len(), 2575 + 257);
    assert_eq!(data_of(&packets, 10, 0, 0), bodies);
    assert_eq!(packets[0].stream, StreamId::new(formats(&desk)[0]));
    let counters = desk.groups.counters().next().expect("one group");
    assert_eq!((counters.packets, counters.parity), (2575, 257));
    assert_eq!(
        (counters.skipped, counters.unfit, counters.unsent),
        (0, 0, 0)
    );
}

#[test]
fn groups_get_the_stripped_form() {
    let mut desk = Desk::new(2);
    let mut publisher = announce(&desk.channel, &header(1));
    let (full, stripped) = (body(1, 1000), body(2, 300));
    publish_twin(&mut publisher, desk.now, &full, Some(&stripped), 0);
    publish(&mut publisher, desk.now, &full, 0);
    desk.run_ms(10);
    let packets = desk.packets();
    assert_eq!(data_of(&packets[..2], 2, 0, 0), [stripped, full]);
    assert_eq!(packets[2].asf.len(), 1000, "as long as the longest");
}

#[test]
fn without_a_span_there_is_no_parity() {
    let mut desk = Desk::new(0);
    let mut publisher = announce(&desk.channel, &header(1));
    for number in 0..20 {
        publish(&mut publisher, desk.now, &body(number, 500), 0);
        desk.run_ms(20);
    }
    publisher.end();
    desk.channel.set_air(Air::Ended);
    desk.run_ms(20);
    let packets = desk.packets();
    assert_eq!(packets.len(), 20);
    for (packet, number) in packets.iter().zip(0..) {
        assert_eq!(packet.correction, Correction::None);
        assert_eq!((packet.id, &packet.asf), (number, &body(number, 500)));
    }
}

#[test]
fn a_change_of_header_is_another_stream_and_no_cycle_spans_both() {
    let mut desk = Desk::new(10);
    let mut first = announce(&desk.channel, &header(1));
    for number in 0..13 {
        publish(&mut first, desk.now, &body(number, 400), 0);
    }
    desk.run_ms(50);
    let mut second = announce(&desk.channel, &header(2));
    // Still on its way when the other header stands already.
    publish(&mut first, desk.now, &body(13, 700), 300);
    publish(&mut second, desk.now, &body(100, 300), 0);
    drop(first);
    desk.run_ms(1000);
    let packets = desk.packets();
    let change = packets
        .iter()
        .position(|packet| packet.stream != packets[0].stream)
        .expect("another stream");
    let (one, two) = packets.split_at(change);
    assert_eq!(data_of(one, 10, 0, 0).len(), 14);
    let last = one.last().expect("packets");
    assert!(last.is_parity(), "the open cycle was closed: {last:?}");
    assert_eq!(
        last.correction,
        Correction::Parity(Place {
            number: 5,
            cycle: 1
        })
    );
    assert_eq!(data_of(two, 10, 14, 2), [body(100, 300)]);
    let ids = formats(&desk);
    assert_eq!(ids.len(), 2);
    assert_eq!(one[0].stream, StreamId::new(ids[1]));
    assert_eq!(two[0].stream, StreamId::new(ids[1]).after_change(ids[0]));
    assert!(two[0].stream.is_toggled());
}

#[test]
fn the_same_header_again_is_another_stream_under_the_same_number() {
    let mut desk = Desk::new(10);
    let mut first = announce(&desk.channel, &header(1));
    publish(&mut first, desk.now, &body(0, 400), 0);
    desk.run_ms(20);
    drop(first);
    let mut second = announce(&desk.channel, &header(1));
    publish(&mut second, desk.now, &body(1, 400), 0);
    desk.run_ms(50);
    let packets = desk.packets();
    let streams: Vec<_> = packets.iter().map(|packet| packet.stream).collect();
    let id = formats(&desk)[0];
    let (plain, toggled) = (StreamId::new(id), StreamId::new(id).after_change(id));
    assert_eq!(streams, [plain, plain, toggled]);
    let told = |report: &&GroupReport| matches!(report, GroupReport::Headers { .. });
    assert_eq!(
        desk.reports.iter().filter(told).count(),
        1,
        "nothing new to announce"
    );
}

#[test]
fn beacons_come_in_silence_from_the_start_on() {
    let mut desk = Desk::new(10);
    let start = desk.now;
    let beacons = |desk: &mut Desk| -> Vec<u64> {
        let sent = desk.take();
        let beacons = sent.iter().filter(|sent| sent.is_beacon());
        beacons
            .map(|sent| (sent.at - start).as_millis() as u64)
            .collect()
    };
    desk.run_ms(12_000);
    assert_eq!(beacons(&mut desk), [0, 5_000, 10_000]);
    assert!(
        desk.turns < 10,
        "nothing to do but beacons: {} turns",
        desk.turns
    );

    // Data from 12 to 22 s.
    let mut publisher = announce(&desk.channel, &header(1));
    for number in 0..100 {
        publish(&mut publisher, desk.now, &body(number, 400), 0);
        desk.run_ms(100);
    }
    assert_eq!(beacons(&mut desk), [] as [u64; 0]);
    // The source is away: 1 s after the last packet, which came at 21,900 and left with the next tick.
    desk.channel.set_air(Air::Gap);
    desk.turns = 0;
    desk.run_ms(8_000);
    assert_eq!(beacons(&mut desk), [22_910, 27_910]);
    assert!(desk.turns < 10, "no ticks in a gap: {} turns", desk.turns);

    // It is back, and comes to its end for good.
    desk.channel.set_air(Air::OnAir);
    publish(&mut publisher, desk.now, &body(100, 400), 0);
    publisher.end();
    desk.channel.set_air(Air::Ended);
    desk.run_ms(100);
    assert_eq!(
        desk.packets().len(),
        2,
        "the packet and the parity of the open cycle"
    );
    desk.run_ms(20_000);
    assert_eq!(desk.take(), []);
}

#[test]
fn a_show_that_waits_for_its_viewers_is_announced_and_beaconed() {
    let mut desk = Desk::starting(10, Start::FirstViewer);
    assert_eq!(desk.channel.demand().opens, 1, "the header is asked for");
    assert_eq!(desk.channel.demand().viewers, 0, "a group starts no show");
    let mut publisher = announce(&desk.channel, &header(1));
    desk.channel.set_air(Air::Ready);
    desk.run_ms(7_000);
    assert_eq!(formats(&desk).len(), 1);
    assert_eq!(desk.take().len(), 2);
    publisher.end();
    desk.channel.set_air(Air::Ended);
    desk.run_ms(10_000);
    assert_eq!(desk.take().len(), 2, "it will begin anew");
}

#[test]
fn packets_wait_for_their_spread_time() {
    let mut desk = Desk::new(0);
    let start = desk.now;
    let mut publisher = announce(&desk.channel, &header(1));
    let spread = [0, 0, 40, 80, 120, 500];
    for (spread, number) in spread.iter().zip(0..) {
        publish(&mut publisher, desk.now, &body(number, 1000), *spread);
    }
    desk.run_ms(1000);
    let packets: Vec<_> = desk
        .take()
        .into_iter()
        .filter(|sent| !sent.is_beacon())
        .collect();
    assert_eq!(packets.len(), spread.len());
    for (sent, spread) in packets.iter().zip(spread) {
        let at = (sent.at - start).as_millis() as u64;
        assert!((spread..spread + 10).contains(&at), "{at} for {spread}");
    }
}

#[test]
fn bursts_are_bounded_by_the_tick() {
    for (bit_rate, most) in [(400_000, 8), (8_000_000, 20)] {
        let mut desk = Desk::new(0);
        let mut publisher = announce_rate(&desk.channel, &header(1), bit_rate);
        // A key frame without spread.
        for number in 0..200 {
            publish(
                &mut publisher,
                desk.now,
                &body(number, PACKET_BYTES as usize),
                0,
            );
        }
        desk.run_ms(400);
        let sent = desk.take();
        let mut ticks: Vec<_> = sent.iter().filter(|sent| !sent.is_beacon()).collect();
        assert_eq!(ticks.len(), 200);
        while let Some(first) = ticks.first().map(|sent| sent.at) {
            let tick = ticks
                .iter()
                .take_while(|sent| sent.at < first + Duration::from_millis(10));
            let count = tick.count();
            assert!(
                count <= most,
                "{count} packets in a tick at {bit_rate} bit/s"
            );
            ticks.drain(..count);
        }
    }
}

#[test]
fn what_is_long_over_is_passed_over_and_the_numbers_go_on() {
    let mut desk = Desk::new(10);
    let mut publisher = announce(&desk.channel, &header(1));
    publish(&mut publisher, desk.now, &body(0, 400), 0);
    desk.run_ms(10);
    // The thread stands still for 4 s.
    for number in 1..40 {
        publish(&mut publisher, desk.now, &body(number, 400), 0);
        desk.now += Duration::from_millis(100);
    }
    desk.run_ms(100);
    let packets = desk.packets();
    let data = data_of(&packets, 10, 0, 0);
    assert_eq!(data[0], body(0, 400));
    assert_eq!(data[1], body(30, 400), "the newest clean point");
    assert_eq!(data.len(), 11);
    let counters = desk.groups.counters().next().expect("one group");
    assert_eq!(counters.skipped, 29);
}

#[test]
fn a_drain_closes_the_cycle_and_is_the_end() {
    let mut desk = Desk::new(10);
    let mut publisher = announce(&desk.channel, &header(1));
    for number in 0..3 {
        publish(&mut publisher, desk.now, &body(number, 400), 0);
    }
    desk.run_ms(10);
    desk.groups.drain(desk.now);
    publish(&mut publisher, desk.now, &body(3, 400), 0);
    desk.run_ms(20_000);
    let packets = desk.packets();
    assert_eq!(packets.len(), 4);
    assert!(packets[3].is_parity());
    assert_eq!(desk.wake, None);
}

#[test]
fn trouble_is_told_now_and_then() {
    let mut desk = Desk::new(10);
    desk.answer = -101;
    let mut publisher = announce(&desk.channel, &header(1));
    for number in 0..300 {
        publish(&mut publisher, desk.now, &body(number, 400), 0);
        desk.run_ms(50);
    }
    let counts: Vec<u64> = desk
        .reports
        .iter()
        .filter_map(|report| match report {
            GroupReport::Unsent { count, errno, .. } => {
                assert_eq!(*errno, 101);
                Some(*count)
            }
            _ => None,
        })
        .collect();
    assert_eq!(counts.len(), 2, "at once, and 10 s later: {counts:?}");
    let counters = desk.groups.counters().next().expect("one group");
    assert_eq!(
        counters.unsent,
        counters.packets + counters.parity + counters.beacons
    );
}

#[test]
fn a_header_that_cannot_be_announced_is_told_and_the_next_one_goes_on_air() {
    let mut desk = Desk::new(10);
    let mut wrong = announce(&desk.channel, b"no header at all");
    publish(&mut wrong, desk.now, &body(0, 400), 0);
    desk.run_ms(100);
    assert_eq!(desk.packets(), []);
    let refused = |report: &&GroupReport| matches!(report, GroupReport::Refused { .. });
    assert_eq!(desk.reports.iter().filter(refused).count(), 1);
    drop(wrong);
    let mut right = announce(&desk.channel, &header(1));
    publish(&mut right, desk.now, &body(1, 400), 0);
    desk.run_ms(20);
    assert_eq!(desk.packets().len(), 1);
}

proptest! {
    /// Any one lost packet of any span comes back from the others, whatever their sizes, and through changes of stream.
    #[test]
    fn parity_restores_any_one_packet(
        span in 1..=14_usize,
        epochs in proptest::collection::vec(proptest::collection::vec(8..1000_usize, 0..40), 1..4),
    ) {
        let mut desk = Desk::new(span);
        let mut before = None;
        let mut number = 0;
        let mut published = Vec::new();
        for (sizes, inside) in epochs.iter().zip(0..) {
            let mut publisher = announce(&desk.channel, &header(inside));
            drop(before.take());
            for bytes in sizes {
                published.push(body(number, *bytes));
                publish(&mut publisher, desk.now, &body(number, *bytes), 0);
                number += 1;
                desk.run_ms(10);
            }
            desk.run_ms(10);
            before = Some(publisher);
        }
        drop(before);
        desk.channel.set_air(Air::Ended);
        desk.run_ms(2000);
        let packets = desk.packets();
        let data: Vec<_> = packets.iter().filter(|packet| !packet.is_parity()).map(Packet::unmarked).collect();
        prop_assert_eq!(data, published);
        for cycle in packets.split_inclusive(Packet::is_parity) {
            let (parity, data) = cycle.split_last().expect("not empty");
            prop_assert!(parity.is_parity(), "the last cycle is closed");
            prop_assert!(data.iter().all(|packet| packet.stream == parity.stream));
            for lost in 0..data.len() {
                let others: Vec<&[u8]> = data.iter().enumerate()
                    .filter(|(index, _)| *index != lost)
                    .map(|(_, packet)| packet.asf.as_slice())
                    .collect();
                let mut out = Vec::new();
                restore(&parity.asf, &others, lost as u8 + 1, &mut out).expect("a whole span but one");
                let (packet, zeros) = out.split_at(data[lost].asf.len());
                prop_assert_eq!(packet, &data[lost].asf);
                prop_assert!(zeros.iter().all(|byte| *byte == 0));
            }
        }
    }
}
