//! What a resend request brings: the very bytes that were sent, to whom they were sent, within a budget; anything else
//! brings nothing but a count.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::rig::{
    Rig, af_flags, funnel_to, read_block, request, start_playing, stop_playing, whole,
};
use funnel_engine::{Key, Report, UdpLimits};
use funnel_session::server::Session;
use funnel_sim::{Cue, Reel};

const SECOND: Duration = Duration::from_secs(1);
const PEER: &str = "192.0.2.1:50000";
const RANDOM: u64 = 0xABCD_EF01_5EED_1234;
/// What the engine makes of it, where it is alone.
const CLIENT: u32 = 0x5EED_1234;

fn peer() -> SocketAddr {
    PEER.parse().expect("an address")
}

/// A viewer over UDP that has played for ten seconds, and the media it got, by sequence number.
fn played(file: &'static str) -> (Rig, Key, Vec<Vec<u8>>) {
    let mut rig = Rig::new(file, UdpLimits::default(), (0, 1));
    let key = rig.play_over_udp(peer(), RANDOM);
    let media = media(&mut rig, 10 * SECOND);
    assert!(media.len() > 100, "{} packets", media.len());
    (rig, key, media)
}

/// The datagrams of some time; each goes where it must.
fn media(rig: &mut Rig, time: Duration) -> Vec<Vec<u8>> {
    let sent = rig.record(time);
    let to = |how: funnel_engine::Datagrams| how.to == SocketAddr::new(peer().ip(), 7000);
    assert!(sent.iter().filter_map(|sent| sent.how).all(to));
    sent.iter().flat_map(|sent| sent.datagrams()).collect()
}

/// What comes at once, besides media that is due: sends of the moment.
fn answers(rig: &mut Rig) -> Vec<Vec<u8>> {
    media(rig, Duration::ZERO)
}

#[test]
fn the_very_bytes_come_again_and_only_once() {
    let (mut rig, _, media) = played("av-300k.wmv");
    answers(&mut rig);
    let newest = media.len() as u32 - 1;
    let wanted = [0, 1, 5, 77, newest - 1, newest];
    assert_eq!(rig.ask(peer().ip(), CLIENT, &wanted), None);
    assert_eq!(rig.ask(peer().ip(), CLIENT, &wanted), None); // again, before the first was answered
    let expected: Vec<_> = wanted.iter().map(|n| media[*n as usize].clone()).collect();
    assert_eq!(answers(&mut rig), expected);
    let counters = rig.engine.counters();
    assert_eq!((counters.resend_requests, counters.resent), (2, 6));
    assert_eq!(
        counters.datagrams as usize,
        media.len(),
        "these are not among them"
    );
    // What has not been sent is a guess, what is no longer there is gone.
    assert_eq!(
        rig.ask(peer().ip(), CLIENT, &[newest + 9, newest + 1]),
        None
    );
    assert_eq!(rig.engine.counters().resends_gone, 0);
    rig.record(60 * SECOND);
    rig.ask(peer().ip(), CLIENT, &[3]);
    assert_eq!(answers(&mut rig), Vec::<Vec<u8>>::new());
    assert_eq!(rig.engine.counters().resends_gone, 1);
}

#[test]
fn who_is_not_the_viewer_gets_and_gives_nothing() {
    let (mut rig, _, _) = played("live-pipe.asf");
    let tcp = rig.connect(
        "192.0.2.1:50001".parse().expect("an address"),
        77,
        r"\\1.1.1.1\TCP\1",
    );
    rig.record(SECOND);
    let elsewhere: IpAddr = "192.0.2.2".parse().expect("an address");
    let v6: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
    let from = SocketAddr::new(peer().ip(), 9);
    let good = request(CLIENT, Session::SOURCE_ID, &[1, 2, 3]);
    let mut invalid = 0;
    for bytes in [
        b"".to_vec(),
        vec![0; 1000],
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0; 4]].concat(),
        request(CLIENT, 2, &[1]),
        request(CLIENT + 1, Session::SOURCE_ID, &[1]),
        request(77, Session::SOURCE_ID, &[1]), // who is served over TCP has no such id
        request(CLIENT, Session::SOURCE_ID, &[]),
    ] {
        assert_eq!(rig.engine.datagram(rig.now, from, &bytes), None);
        invalid += 1;
        assert_eq!(
            rig.engine.counters().datagrams_invalid,
            invalid,
            "{bytes:?}"
        );
    }
    rig.ask(elsewhere, CLIENT, &[1, 2, 3]);
    assert_eq!(rig.engine.counters().datagrams_invalid, invalid + 1);
    assert_eq!(rig.engine.counters().resend_requests, 0);
    assert_eq!(answers(&mut rig), Vec::<Vec<u8>>::new());
    rig.ask(v6, CLIENT, &[1, 2, 3]); // the same address
    assert_eq!(answers(&mut rig).len(), 3);
    rig.engine.hung_up(tcp, 0);
}

#[test]
fn a_viewer_and_an_engine_send_so_much_again_and_no_more() {
    let (mut rig, _, media) = played("av-300k.wmv");
    let from = peer().ip();
    let mut again = 0;
    let mut asked = 0u64;
    let began = rig.now;
    for round in 0..40u32 {
        for part in 0..8 {
            let first = (round * 7 + part * 32) % (media.len() as u32 - 40);
            let numbers: Vec<u32> = (first..first + 32).collect();
            rig.ask(from, CLIENT, &numbers);
            asked += 32;
        }
        let before = rig.engine.counters().resent;
        rig.record(Duration::from_millis(50));
        again += rig.engine.counters().resent - before;
    }
    // 300 kb/s in packets of 1,452 bytes or more are below 64 a second: the viewer's rate is the least, 32.
    let seconds = rig.now.duration_since(began).as_secs_f64();
    let allowed = 64.0 + 32.0 * seconds + 1.0;
    assert!(
        again as f64 <= allowed && again as f64 > allowed * 0.8,
        "{again} of {allowed}"
    );
    let refused = rig.engine.counters().resends_refused;
    assert!(refused > asked / 4, "{refused} of {asked}");

    let limits = UdpLimits {
        resends_per_second: 100,
        ..UdpLimits::default()
    };
    let mut rig = Rig::new("av-300k.wmv", limits, (0, 1));
    for id in 0..8u64 {
        let address = SocketAddr::new(from, 50_000 + id as u16);
        rig.connect(address, id, r"\\10.9.8.7\UDP\7000");
    }
    rig.record(3 * SECOND);
    for index in 0..8 {
        let key = Key {
            index,
            generation: index,
        };
        rig.say(key, &start_playing());
    }
    rig.record(10 * SECOND);
    for id in 0..8 {
        rig.ask(from, id, &(0..32).collect::<Vec<_>>());
    }
    rig.record(Duration::from_millis(1));
    assert_eq!(rig.engine.counters().resent, 64, "all viewers together");
}

#[test]
fn requests_find_their_shard() {
    let mut rig = Rig::new("live-pipe.asf", UdpLimits::default(), (2, 3));
    rig.play_over_udp(peer(), RANDOM);
    rig.record(5 * SECOND);
    let own = CLIENT & !3 | 2;
    assert_eq!(rig.ask(peer().ip(), CLIENT & !3, &[1]), Some(0));
    assert_eq!(rig.ask(peer().ip(), CLIENT & !3 | 1, &[1]), Some(1));
    assert_eq!(
        rig.ask(peer().ip(), CLIENT & !3 | 3, &[1]),
        None,
        "there is no such shard"
    );
    assert_eq!(rig.engine.counters().datagrams_invalid, 1);
    assert_eq!(rig.ask(peer().ip(), own, &[1]), None);
    assert_eq!(answers(&mut rig).len(), 1);
}

#[test]
fn nothing_of_a_stopped_run_comes_again_and_the_next_goes_on_counting() {
    let (mut rig, key, media_before) = played("live-pipe.asf");
    let count = media_before.len() as u32;
    rig.ask(peer().ip(), CLIENT, &[count - 3, count - 2]);
    rig.say(key, &stop_playing());
    assert_eq!(media(&mut rig, SECOND), Vec::<Vec<u8>>::new());
    rig.ask(peer().ip(), CLIENT, &[count - 3]);
    assert_eq!(answers(&mut rig), Vec::<Vec<u8>>::new());
    assert_eq!(rig.engine.counters().resends_gone, 1);
    rig.say(key, &start_playing());
    let after = media(&mut rig, 5 * SECOND);
    let first = if count & 0xFF == 0xFF {
        count + 1
    } else {
        count
    };
    assert_eq!(af_flags(&after[0]), first.to_le_bytes()[0]);
    rig.ask(peer().ip(), CLIENT, &[first, first + 20, count - 1]);
    assert_eq!(answers(&mut rig), [after[0].clone(), after[20].clone()]);
}

#[test]
fn the_last_packets_before_a_shutdown_come_again() {
    let (mut rig, key, media_before) = played("live-pipe.asf");
    let count = media_before.len() as u32;
    rig.engine.drain(rig.now);
    rig.ask(peer().ip(), CLIENT, &[count - 1, count]); // and a guess whether that was all
    assert_eq!(
        answers(&mut rig),
        [media_before[count as usize - 1].clone()]
    );
    let counters = rig.engine.counters();
    assert_eq!((counters.resent, counters.resends_gone), (1, 0));
    rig.engine.hung_up(key, 0);
    assert_eq!(rig.engine.actions().count(), 1);
    answers(&mut rig);
    assert_eq!(rig.engine.feeds_count(), 0, "the log goes with the session");
}

#[test]
fn the_last_packets_of_a_run_come_again_until_the_end_is_said() {
    let begin = |title| Cue::Begin(Reel::load("av-300k.wmv", title, 1));
    let end = Duration::from_secs(12);
    for next in [Cue::End, begin("another header")] {
        let cues = vec![(Duration::ZERO, begin("live")), (end, next.clone())];
        let mut rig = Rig::of(cues, UdpLimits::default(), (0, 1));
        rig.play_over_udp(peer(), RANDOM);
        let mut all = media(&mut rig, end - 3 * SECOND);
        // The end was seen, and is not said yet: that waits for 300 ms.
        let mut said = false;
        let mut last_at = rig.now;
        while rig.now < last_at + Duration::from_millis(250) {
            let sent = rig.record(Duration::from_millis(10));
            said |= sent.iter().any(|sent| sent.how.is_none());
            let datagrams: Vec<_> = sent.iter().flat_map(|sent| sent.datagrams()).collect();
            if !datagrams.is_empty() {
                last_at = rig.now;
            }
            all.extend(datagrams);
        }
        assert!(!said, "{next:?}");
        let newest = all.len() as u32 - 1;
        rig.ask(peer().ip(), CLIENT, &[newest - 1, newest]);
        assert_eq!(answers(&mut rig), all[all.len() - 2..], "{next:?}");
        let after = rig.record(SECOND);
        assert!(
            after.iter().any(|sent| sent.how.is_none()),
            "the end is said"
        );
    }
}

#[test]
fn a_player_that_falls_back_to_tcp_leaves_nothing_of_udp() {
    let mut rig = Rig::new("live-pipe.asf", UdpLimits::default(), (0, 1));
    let key = rig.connect(peer(), RANDOM, r"\\10.9.8.7\UDP\7000");
    let header = rig.record(2 * SECOND);
    assert!(
        header.iter().any(|sent| sent.how.is_some()),
        "the header goes over UDP"
    );
    rig.say(key, &funnel_to(r"\\10.9.8.7\TCP\7000"));
    rig.say(key, &read_block());
    rig.say(key, &start_playing());
    let sent = rig.record(5 * SECOND);
    assert!(
        sent.iter().all(|sent| sent.how.is_none()),
        "everything goes over TCP"
    );
    assert!(rig.engine.counters().packets > 50);
    rig.ask(peer().ip(), CLIENT, &[1]);
    assert_eq!(
        rig.engine.counters().datagrams_invalid,
        1,
        "its id is forgotten"
    );
}

#[test]
fn whatever_the_kernel_says_the_session_goes_on() {
    let errors = [
        (1, 0),   // EPERM: a firewall; lost
        (101, 0), // ENETUNREACH
        (111, 0), // ECONNREFUSED
        (105, 1), // ENOBUFS: again
        (11, 1),  // EAGAIN
        (90, 1),  // EMSGSIZE: again, packet by packet
        (22, 1),  // EINVAL: what older kernels say instead
        (5, 1),   // EIO: the same for everybody
    ];
    for (errno, again) in errors {
        let (mut rig, _, before) = played("av-300k.wmv");
        let mut refused = None;
        let mut after = Vec::new();
        rig.run(5 * SECOND, &mut |send| {
            let sent = common::rig::Sent::of(send);
            let is_train = sent.how.is_some_and(|how| how.segment_bytes.is_some());
            if is_train && refused.is_none() {
                refused = Some(sent.datagrams());
                return -errno;
            }
            after.extend(sent.datagrams());
            whole(send)
        });
        let refused = refused.expect("a train");
        let counters = rig.engine.counters();
        assert_eq!(counters.datagram_retries, again, "errno {errno}");
        let lost = if again == 0 { refused.len() } else { 0 };
        assert_eq!(counters.datagrams_lost, lost as u64, "errno {errno}");
        let numbers: Vec<u8> = after.iter().map(|datagram| af_flags(datagram)).collect();
        let first = (before.len() + lost).to_le_bytes()[0];
        let expected: Vec<u8> = (0..after.len())
            .map(|n| first.wrapping_add(n as u8))
            .collect();
        assert_eq!(numbers, expected, "errno {errno}: in order, none twice");
        if again == 1 {
            assert_eq!(after[..refused.len()], refused, "errno {errno}");
        }
        assert_eq!(counters.plain_viewers, u64::from([90, 22].contains(&errno)));
        let off = |report: &Report| matches!(report, Report::SegmentationOff { errno: 5 });
        assert_eq!(
            rig.reports.iter().filter(|report| off(report)).count(),
            usize::from(errno == 5)
        );
    }
}

#[test]
fn packets_too_large_for_a_datagram_go_alone_and_are_reported_once() {
    let limits = UdpLimits {
        payload_max_v4: 576 - 28,
        payload_max_v6: 576 - 48,
        ..UdpLimits::default()
    };
    let mut rig = Rig::new("av-300k.wmv", limits, (0, 1));
    let key = rig.play_over_udp(peer(), RANDOM);
    let sent = rig.record(5 * SECOND);
    rig.say(key, &stop_playing());
    rig.say(key, &start_playing());
    rig.record(SECOND);
    assert!(
        sent.len() > 50
            && sent
                .iter()
                .filter_map(|sent| sent.how)
                .all(|how| how.segment_bytes.is_none())
    );
    let told = |report: &&Report| {
        matches!(
            report,
            Report::Fragments {
                fitting_bytes: 520,
                ..
            }
        )
    };
    assert_eq!(
        rig.reports.iter().filter(told).count(),
        1,
        "{:?}",
        rig.reports
    );
}
