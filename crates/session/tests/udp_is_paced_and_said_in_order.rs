//! MMS over UDP, section 4 of the protocol page: where datagrams go, how large and how fast they are, what comes before
//! and after them on the control connection, and the way back to TCP.

mod common;

use std::time::Duration;

use common::*;
use funnel_session::server::{Event, Input, Opened, Settings, Timer};
use funnel_wire::mms::*;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A channel with a header of `header_bytes` that ends as headers do.
fn large(header_bytes: usize) -> Opened {
    let mut header: Vec<u8> = (0..header_bytes).map(|at| (at % 251) as u8 | 2).collect();
    header[header_bytes - 2..].fill(1);
    Opened {
        header: header.into(),
        ..channel()
    }
}

/// A player over UDP that has opened `content`.
fn open_udp(settings: Settings, content: Opened) -> Server {
    let mut server = Server::with(settings);
    server.channel = Some(Ok(content));
    server.send(connect("NSPlayer/9.0.0.2980; {X}"));
    server.send(funnel(UDP));
    server.send(open("live"));
    server
}

/// Sends a message, then lets `time` pass; every output with its time since then, to the millisecond.
fn timeline(
    server: &mut Server,
    message: impl Into<ViewerMessage>,
    time: Duration,
) -> Vec<(Duration, Said)> {
    let at_once = server.send(message);
    let mut said: Vec<_> = at_once
        .into_iter()
        .map(|one| (Duration::ZERO, one))
        .collect();
    for passed in 1..=time.as_millis() as u64 {
        let later = server.wait(millis(1));
        said.extend(later.into_iter().map(|one| (millis(passed), one)));
    }
    said
}

fn datagrams(said: &[(Duration, Said)]) -> Vec<(Duration, DataHeader, Vec<u8>)> {
    said.iter()
        .filter_map(|(at, one)| match one {
            Said::Datagram { head, payload } => Some((*at, *head, payload.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn the_player_names_a_port_and_its_address_is_not_looked_at() {
    for (name, port) in [
        (r"\\192.168.0.129\UDP\7000", 7000),
        (r"\\::1\UDP\7000", 7000),
        ("\\\\127.0.0.1\\udp\\1042\u{0}0", 1042), // VLC's stray character
        (r"\\300.0.0.999\UDP\65535", 65535),
    ] {
        let mut server = Server::at("connected");
        let expected = [
            Said::Event(Event::Transport(Transport::Udp { port })),
            Said::Message(ReportConnectedFunnel::default().into()),
        ];
        assert_eq!(server.send(funnel(name)), expected, "{name}");
    }
}

#[test]
fn header_datagrams_fit_the_packet_and_the_way_and_keep_the_rules_of_section_3_3() {
    for (packet_bytes, udp_payload_max, largest) in [
        (1444, 1444, 1444),
        (8192, 1444, 1444),
        (8192, 536, 536),
        (700, 1444, 700),
    ] {
        let content = Opened {
            packet_bytes,
            ..large(6000)
        };
        let settings = Settings {
            udp_payload_max,
            ..Settings::default()
        };
        let mut server = open_udp(settings, content.clone());
        let said = timeline(&mut server, read_block(5), Duration::from_secs(1));
        assert!(matches!(said[0].1, Said::Message(_)), "the report first");
        let sent = datagrams(&said);
        assert_eq!(sent.len(), 6000usize.div_ceil(largest));
        for (location, (_, head, payload)) in sent.iter().enumerate() {
            assert!((40..=largest).contains(&payload.len()));
            assert_eq!(
                (head.location_id.get() as usize, head.play_incarnation),
                (location, 5)
            );
            let last = location + 1 == sent.len();
            assert_eq!(head.af_flags, if last { 0x0C } else { 0x04 });
        }
        let joined: Vec<u8> = sent
            .into_iter()
            .flat_map(|(_, _, payload)| payload)
            .collect();
        assert_eq!(joined[..], content.header[..]);
    }
}

#[test]
fn the_header_goes_no_faster_than_the_content_and_arrives_before_players_give_up() {
    for (bit_rate, most) in [
        (64_000, millis(760)),
        (364_000, millis(140)),
        (10_000_000, millis(10)),
        (1_000, Duration::from_secs(26)),
        (0, Duration::from_secs(26)),
    ] {
        let content = Opened {
            bit_rate,
            ..large(6000)
        };
        let mut server = open_udp(Settings::default(), content);
        let sent = datagrams(&timeline(
            &mut server,
            read_block(1),
            Duration::from_secs(30),
        ));
        assert_eq!(sent.len(), 5);
        assert_eq!(sent[0].0, Duration::ZERO);
        assert!(sent[4].0 <= most, "{bit_rate}: {:?}", sent[4].0);
        for two in sent.windows(2) {
            let bits = 8.0 * (two[0].2.len() + 8) as f64;
            let own_pace = Duration::from_secs_f64(bits / f64::from(bit_rate).max(1.0));
            let passed = two[1].0 - two[0].0 + millis(1); // times are rounded up
            assert!(passed >= own_pace.min(Duration::from_secs(4)));
        }
    }
}

#[test]
fn cancel_read_block_stops_the_header_and_read_block_sends_it_again_from_the_start() {
    let mut server = open_udp(Settings::default(), large(6000));
    let sent = datagrams(&timeline(&mut server, read_block(1), millis(50)));
    assert_eq!(sent.len(), 2);
    assert_eq!(server.wake_at.map(|(_, timer)| timer), Some(Timer::Header));
    assert_eq!(timeline(&mut server, cancel(), Duration::from_secs(9)), []);
    let again = datagrams(&timeline(
        &mut server,
        read_block(2),
        Duration::from_secs(1),
    ));
    let heads: Vec<_> = again
        .iter()
        .map(|(_, head, _)| (head.location_id.get(), head.play_incarnation))
        .collect();
    assert_eq!(heads, [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2)]);
}

#[test]
fn asking_again_at_once_does_not_quicken_the_header() {
    let mut server = open_udp(Settings::default(), large(6000));
    server.send(read_block(1));
    for tag in 2..9 {
        assert_eq!(
            outline(&server.send(read_block(tag))),
            ["REPORT_READ_BLOCK"]
        );
    }
    let said = server.wait(millis(40));
    let Some(Said::Datagram { head, .. }) = said.first() else {
        panic!("{said:?}")
    };
    assert_eq!((said.len(), head.play_incarnation), (1, 8));
}

#[test]
fn a_packet_pair_goes_once_before_report_read_block() {
    let mut server = Server::at("connected");
    let said = server.send(ask_pair(Incarnation::PACKET_PAIR_UDP));
    let report = ReportFunnelInfo {
        client_id: 0x5EED_1234,
        play_incarnation: Incarnation::PACKET_PAIR_UDP,
        ..ReportFunnelInfo::default()
    };
    assert_eq!(said, [Said::Message(report.into())], "one, without a tail");
    server.send(funnel(UDP));
    server.send(open("live"));
    let said = server.send(read_block(1));
    assert_eq!(
        outline(&said),
        [
            "DATAGRAM 10",
            "DATAGRAM 10",
            "REPORT_READ_BLOCK",
            "DATAGRAM 0C"
        ]
    );
    let pair: Vec<_> = said[..2]
        .iter()
        .map(|one| match one {
            Said::Datagram { head, payload } => (*head, payload.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!([pair[0].0, pair[1].0], [pair_header(0), pair_header(1)]);
    assert_eq!([pair[0].1.len(), pair[1].1.len()], [1464, 1464]);
    assert_ne!(pair[0].1, pair[1].1);
    let same = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == bytes[0]).count();
    assert!(same(&pair[0].1) < 40, "it must not compress");

    server.wait(Duration::from_secs(1));
    assert_eq!(
        outline(&server.send(read_block(2))),
        ["REPORT_READ_BLOCK", "DATAGRAM 0C"]
    );
    let granted = |said: &[Said]| match messages(said)[0] {
        MacMessage::ReportFunnelInfo(report) => report.play_incarnation,
        other => panic!("{other:?}"),
    };
    let ask = ask_pair(Incarnation::PACKET_PAIR_UDP);
    let refused = granted(&server.send(ask.clone()));
    assert_eq!(refused, Incarnation::NO_PACKET_PAIR, "it had its one");
    server.send(switch(&[(1, 0)]));
    let granted = granted(&server.send(ask));
    assert_eq!(granted, Incarnation::PACKET_PAIR_UDP, "it does receive");
}

#[test]
fn no_packet_pair_for_who_asked_otherwise_or_not_at_all() {
    for (asked, name) in [
        (Some(Incarnation::PACKET_PAIR_TCP), UDP),
        (Some(Incarnation::FFMPEG), UDP),
        (Some(Incarnation::PACKET_PAIR_UDP), r"\\1\TCP\1"),
        (None, UDP),
    ] {
        let mut server = Server::at("connected");
        asked.map(|asked| server.send(ask_pair(asked)));
        server.send(funnel(name));
        server.send(open("live"));
        let said = outline(&server.send(read_block(1)));
        assert_eq!((said.len(), said[0].as_str()), (2, "REPORT_READ_BLOCK"));
    }
    let mut server = Server::at("connected");
    server.send(ask_pair(Incarnation::PACKET_PAIR_UDP));
    server.send(connect("NSPlayer/9.0.0.2980; {X}")); // all anew
    server.send(funnel(UDP));
    server.send(open("live"));
    assert_eq!(
        outline(&server.send(read_block(1))),
        ["REPORT_READ_BLOCK", "DATAGRAM 0C"]
    );
}

#[test]
fn end_of_stream_comes_300_ms_after_the_last_datagram_and_the_close_after_it() {
    type Cause = fn() -> Input<'static>;
    let ends: [(Cause, HResult, &[&str]); 4] = [
        (|| Input::MediaDrained, HResult::S_OK, &[]),
        (|| Input::Shutdown, HResult::S_OK, &["StopMedia"]),
        (
            || Input::SourceLost(HResult::NS_E_CONNECTION_FAILURE),
            HResult::NS_E_CONNECTION_FAILURE,
            &["StopMedia"],
        ),
        (
            || Input::Kick(HResult::NS_E_SHUTDOWN),
            HResult::NS_E_SHUTDOWN,
            &["StopMedia"],
        ),
    ];
    for (input, hr, at_once) in ends {
        let mut server = Server::at_udp("streaming");
        assert_eq!(outline(&server.input(input())), at_once);
        assert_eq!(
            server.wake_at,
            Some((server.now + millis(300), Timer::Farewell))
        );
        assert_eq!(server.wait(millis(299)), []);
        let end = ReportEndOfStream {
            hr,
            play_incarnation: Incarnation(10),
        };
        assert_eq!(server.wait(millis(1)), [Said::Message(end.into())]);
        assert_eq!(outline(&server.send(Logging::default())), ["ClientLog"]);
        assert_eq!(
            server.wait(Duration::from_secs(2)),
            [Said::Event(Event::Close(hr))]
        );
    }
    for state in ["open", "ready"] {
        let mut server = Server::at_udp(state);
        assert_eq!(server.input(Input::Kick(HResult::NS_E_SHUTDOWN)), []);
        assert_eq!(outline(&server.wait(millis(300))), ["REPORT_END_OF_STREAM"]);
    }
}

#[test]
fn a_stop_is_answered_at_once_even_in_the_pause_before_end_of_stream() {
    let mut server = Server::at_udp("streaming");
    assert_eq!(
        outline(&server.send(stop(10))),
        ["StopMedia", "REPORT_END_OF_STREAM"]
    );
    let mut server = Server::at_udp("streaming");
    server.input(Input::MediaDrained);
    assert_eq!(outline(&server.send(stop(10))), ["REPORT_END_OF_STREAM"]);
    assert_eq!(outline(&server.wait(millis(300))), ["REPORT_END_OF_STREAM"]);
    let mut server = Server::at_udp("streaming");
    server.input(Input::MediaDrained);
    assert_eq!(outline(&server.send(CloseFile::default())), ["Close"]);
    assert_eq!(server.wake_at, None);
}

#[test]
fn a_stream_change_waits_as_well_and_the_player_asks_for_the_header() {
    let mut server = Server::at_udp("streaming");
    let said = server.input(Input::HeaderChanged(other_channel()));
    assert_eq!(outline(&said), ["StopMedia"]);
    assert_eq!(server.wait(millis(299)), []);
    let said = server.wait(millis(1));
    let end = ReportEndOfStream {
        hr: HResult::S_FALSE,
        play_incarnation: Incarnation(10),
    };
    let change = ReportStreamChange {
        header_incarnation: Incarnation(0xFF),
        packet_bytes: 1444,
        header_bytes: header().len() as u32,
        bit_rate: 500_000,
        ..ReportStreamChange::default()
    };
    assert_eq!(
        said,
        [Said::Message(end.into()), Said::Message(change.into())]
    );
    assert_eq!(server.wait(Duration::from_secs(50)), [], "nothing unasked");
    let said = server.send(read_block(3));
    let Some(Said::Datagram { head, payload }) = said.last() else {
        panic!("{said:?}")
    };
    assert_eq!(head.play_incarnation, 3);
    assert_eq!(payload[..], other_channel().header[..]);
    server.send(switch(&[(1, 0), (2, 0)]));
    let play = played(&server.send(start(12))).unwrap();
    assert_eq!(head_tag(play.framing), 12);
}

fn head_tag(framing: funnel_session::server::Framing) -> u8 {
    let mut out = [0; funnel_session::server::Framing::HEAD_BYTES_MAX];
    framing.head(1, 0, 1444, &mut out);
    out[4]
}

#[test]
fn a_player_that_does_not_answer_a_stream_change_is_let_go() {
    let mut server = Server::at_udp("streaming");
    server.input(Input::HeaderChanged(other_channel()));
    server.wait(millis(300));
    let said = server.wait(Duration::from_secs(63));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM", "Close"]);
}

#[test]
fn what_players_do_in_the_pause_before_a_stream_change() {
    let changing = || {
        let mut server = Server::at_udp("streaming");
        server.input(Input::HeaderChanged(other_channel()));
        server.wait(millis(100));
        server
    };
    let change = ["REPORT_END_OF_STREAM", "REPORT_STREAM_CHANGE"];

    let mut server = changing();
    assert_eq!(outline(&server.send(start(11))), ["REPORT_STARTED_PLAYING"]);
    let said = server.wait(millis(300));
    assert_eq!(outline(&said), change);
    let MacMessage::ReportEndOfStream(end) = messages(&said)[0] else {
        panic!("{said:?}")
    };
    assert_eq!(end.play_incarnation, Incarnation(11), "the end of that run");

    let mut server = changing();
    assert_eq!(outline(&server.send(stop(10))), ["REPORT_END_OF_STREAM"]);
    assert_eq!(server.wait(Duration::from_secs(1)), []);
    server.send(start(11));
    assert_eq!(outline(&server.wait(millis(300))), change);

    let mut server = changing();
    let third = Opened {
        bit_rate: 700_000,
        ..other_channel()
    };
    assert_eq!(server.input(Input::HeaderChanged(third)), []);
    let said = server.wait(millis(300));
    assert_eq!(outline(&said), change);
    let MacMessage::ReportStreamChange(report) = messages(&said)[1] else {
        panic!("{said:?}")
    };
    assert_eq!(report.bit_rate, 700_000, "the newest, once");

    let mut server = changing();
    assert_eq!(server.input(Input::MediaDrained), []);
    let said = server.wait(millis(300));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM"]);
    assert_eq!(messages(&said)[0].hr(), Some(HResult::S_OK));
}

#[test]
fn a_player_falls_back_to_tcp_on_the_same_connection() {
    for state in ["funnel", "open", "ready"] {
        let mut server = Server::at_udp(state);
        let said = server.send(funnel(r"\\10.0.0.1\TCP\1037"));
        assert_eq!(said[0], Said::Event(Event::Transport(Transport::Tcp)));
        if state == "funnel" {
            server.send(open("live"));
        }
        assert_eq!(
            outline(&server.send(read_block(2))),
            ["REPORT_READ_BLOCK", "DATA 0C"],
            "{state}"
        );
        assert!(played(&server.send(start(4))).is_some(), "no proof needed");
        assert_eq!(
            outline(&server.input(Input::MediaDrained)),
            ["REPORT_END_OF_STREAM"],
            "and no pause"
        );
    }
}

#[test]
fn a_change_of_transport_drops_the_header_that_was_on_its_way() {
    let mut server = open_udp(Settings::default(), large(6000));
    server.send(read_block(1));
    let said = server.send(funnel(r"\\1\UDP\7001"));
    assert_eq!(
        said[0],
        Said::Event(Event::Transport(Transport::Udp { port: 7001 }))
    );
    assert_eq!(server.wait(Duration::from_secs(9)), []);
    // asked for and changed at once: nothing for the old port is left
    let requests = [
        encode(read_block(2), 0),
        encode(funnel(r"\\1\UDP\7002"), 1),
        encode(read_block(3), 2),
    ];
    let said = server.input(Input::Received(&requests.concat()));
    assert_eq!(
        outline(&said),
        [
            "REPORT_READ_BLOCK",
            "Transport",
            "REPORT_CONNECTED_FUNNEL",
            "REPORT_READ_BLOCK",
            "DATAGRAM 04"
        ]
    );
}

#[test]
fn datagrams_that_leave_are_no_sign_of_life() {
    let mut server = Server::at_udp("streaming");
    let mut said = Vec::new();
    for _ in 0..130 {
        let now = server.now;
        server.session.note_progress(now);
        said.extend(server.wait(Duration::from_secs(1)));
    }
    assert_eq!(
        outline(&said),
        [
            "PING",
            "PING",
            "PING",
            "StopMedia",
            "REPORT_END_OF_STREAM",
            "Close"
        ]
    );
    let mut server = Server::at_udp("streaming");
    for _ in 0..130 {
        server.wait(Duration::from_secs(29));
        server.send(Pong::default());
    }
    assert_eq!(server.session.state_name(), "streaming");
}
