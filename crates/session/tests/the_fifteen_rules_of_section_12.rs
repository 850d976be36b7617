//! Section 12 of the protocol page is the short list of what real players force on a server. One test per rule, named
//! for it; what a rule asks of the engine (sockets, pacing) is tested there, its seam here.

mod common;

use std::time::Duration;

use common::*;
use funnel_session::Thinning;
use funnel_session::client::{Manner, Options};
use funnel_session::server::{Accel, Event, Input, Opened, Settings, Timer};
use funnel_wire::mms::*;

fn ping() -> Said {
    Said::Message(Ping::default().into())
}

#[test]
fn rule_01_one_reply_per_request_and_nothing_unsolicited_before_streaming() {
    let mut server = Server::new();
    let requests = [
        connect("NSPlayer/7.0.0.1956; {X}"),
        FunnelInfo {
            play_incarnation: Incarnation::FFMPEG,
        }
        .into(),
        funnel(r"\\192.168.0.129\TCP\1037"),
        open("live"),
        read_block(2),
        switch(&[(1, 0), (2, 0)]),
        start(4),
    ];
    for request in requests {
        let said = server.send(request);
        assert_eq!(messages(&said).len(), 1, "{:?}", outline(&said)); // Server checks: one message, one segment
        assert_eq!(
            server.wait(Duration::from_secs(3)),
            [],
            "silent until asked"
        );
    }
}

#[test]
fn rule_02_chunk_count_is_length_over_8_and_the_counter_is_our_own_from_0() {
    // `Server::drain` asserts both for every message of every test; here over all kinds of them, the client counting wildly.
    let mut server = Server::new();
    server.sequence = 777;
    server.send(connect("x"));
    server.send(FunnelInfo {
        play_incarnation: Incarnation::PACKET_PAIR_TCP,
    });
    server.send(funnel(r"\\x\TCP\1"));
    server.send(open("live"));
    server.send(read_block(2));
    server.send(start(4));
    server.wait(Duration::from_secs(65)); // two Pings
    server.send(stop(4));
    assert_eq!(server.packets_sent, 1 + 3 + 1 + 1 + 1 + 1 + 2 + 1);
}

#[test]
fn rule_03_open_file_id_is_1_or_0_never_verified_and_the_version_is_9() {
    let mut server = Server::new();
    let said = server.send(connect("NSPlayer/9.0; {X}"));
    let MacMessage::ReportConnected(report) = messages(&said)[0] else {
        panic!()
    };
    assert!(report.server_version.starts_with("9."));
    assert_eq!(
        (
            report.version_info.as_str(),
            report.authentication_package.as_str()
        ),
        ("", "")
    );
    server.send(funnel(r"\\x\TCP\1"));
    let said = server.send(open("live"));
    assert!(
        messages(&said)
            .iter()
            .any(|m| matches!(m, MacMessage::ReportOpenFile(report) if report.open_file_id == 1))
    );
    let wrong_id = ReadBlock {
        open_file_id: 7,
        play_incarnation: Incarnation(2),
        ..ReadBlock::default()
    };
    assert_eq!(
        messages(&server.send(wrong_id))[0].hr(),
        Some(HResult::S_OK)
    );

    let mut server = Server::at("refused");
    let MacMessage::ReportOpenFile(report) = messages(&server.send(open("x")))[0].clone() else {
        panic!()
    };
    assert_eq!(
        report,
        ReportOpenFile {
            hr: HResult::NS_E_FILE_NOT_FOUND,
            play_incarnation: Incarnation(9),
            ..ReportOpenFile::default()
        }
    );
}

#[test]
fn rule_04_live_attributes_are_exactly_broadcast() {
    let mut server = Server::at("funnel");
    let said = server.send(open("live"));
    assert_eq!(
        messages(&said)[0],
        &MacMessage::from(ReportOpenFile {
            play_incarnation: Incarnation(9),
            open_file_id: 1,
            file_attributes: 0x0200_0000,
            packet_bytes: 1444,
            bit_rate: 364_000,
            header_bytes: header().len() as u32,
            ..ReportOpenFile::default()
        })
    );
}

#[test]
fn rule_05_header_fragments_fit_players() {
    let mut server = Server::at("funnel");
    let mut bytes = vec![7; 3000];
    bytes[1998..2000].fill(1); // a cut here would stop mplayer
    bytes[2998..].fill(1);
    let content = Opened {
        header: bytes.clone().into(),
        packet_bytes: 1000,
        ..channel()
    };
    server.channel = Some(Ok(content));
    server.send(open("live"));
    let said = server.send(read_block(2));
    assert_eq!(
        outline(&said),
        [
            "REPORT_READ_BLOCK",
            "DATA 04",
            "DATA 04",
            "DATA 04",
            "DATA 0C"
        ]
    );
    let mut joined = Vec::new();
    for (location, one) in said[1..].iter().enumerate() {
        let Said::Header { head, payload } = one else {
            panic!()
        };
        assert_eq!(
            (head.location_id.get() as usize, head.play_incarnation),
            (location, 2)
        );
        assert!(payload.len() <= 1000);
        joined.extend_from_slice(payload);
        assert_eq!(
            joined.ends_with(&[1, 1]),
            location == 3,
            "01 01 only at the end"
        );
    }
    assert_eq!(joined, bytes);
    let Some(Said::Header { payload, .. }) = said.last() else {
        panic!()
    };
    assert!(payload.len() >= 40, "VLC looks at 48 bytes or none");
}

#[test]
fn rule_06_tags_follow_the_latest_request_and_old_media_is_dropped_before_the_reply() {
    let mut server = Server::at("open");
    let tag = |said: &[Said]| match said.last() {
        Some(Said::Header { head, .. }) => head.play_incarnation,
        other => panic!("{other:?}"),
    };
    assert_eq!(tag(&server.send(read_block(0x1234_5602))), 2);
    assert_eq!(tag(&server.send(read_block(3))), 3);
    let first = played(&server.send(start(4))).unwrap();
    assert_eq!(head(first.framing, 5300, 0).play_incarnation, 4);
    let said = server.send(start(5));
    assert_eq!(
        outline(&said),
        ["StopMedia", "REPORT_STARTED_PLAYING", "Play"]
    );
    assert_eq!(
        head(played(&said).unwrap().framing, 5301, 1).play_incarnation,
        5
    );
    assert_eq!(
        outline(&server.send(stop(5))),
        ["StopMedia", "REPORT_END_OF_STREAM"]
    );
}

#[test]
fn rule_07_padding_is_kept_for_who_wants_it() {
    let keeps = |name: &str| {
        let mut server = Server::new();
        server.send(connect(name));
        server.send(funnel(r"\\x\TCP\1"));
        server.send(open("live"));
        played(&server.send(start(4))).unwrap().keep_padding
    };
    assert!(keeps("Spoooon!") && keeps("Spooooon!"));
    assert!(!keeps("NSPlayer/9.0.0.2980; {X}"));
}

#[test]
fn rule_08_end_of_stream_before_every_close_and_the_close_within_2_s() {
    let ends: [(fn() -> Input<'static>, HResult); 5] = [
        (|| Input::MediaDrained, HResult::S_OK),
        (|| Input::Shutdown, HResult::S_OK),
        (
            || Input::SourceLost(HResult::NS_E_CONNECTION_FAILURE),
            HResult::NS_E_CONNECTION_FAILURE,
        ),
        (
            || Input::Kick(HResult::NS_E_SHUTDOWN),
            HResult::NS_E_SHUTDOWN,
        ),
        (|| Input::Kick(HResult::NS_E_TIMEOUT), HResult::NS_E_TIMEOUT),
    ];
    for (input, hr) in ends {
        let mut server = Server::at("streaming");
        let said = server.input(input());
        let expected = MacMessage::from(ReportEndOfStream {
            hr,
            play_incarnation: Incarnation(10),
        });
        assert_eq!(said.last(), Some(&Said::Message(expected)));
        assert_eq!(closed(&said), None, "time for Logging");
        assert_eq!(outline(&server.send(Logging::default())), ["ClientLog"]);
        let said = server.wait(Duration::from_secs(2));
        assert_eq!(said, [Said::Event(Event::Close(hr))]);
    }
    let mut server = Server::at("streaming");
    server.input(Input::MediaDrained);
    assert_eq!(
        closed(&server.send(CloseFile::default())),
        Some(HResult::S_OK),
        "sooner if the player says so"
    );
}

#[test]
fn rule_08_a_player_that_does_not_play_gets_its_end_of_stream_too() {
    for state in ["open", "ready"] {
        let mut server = Server::at(state);
        let said = server.input(Input::Kick(HResult::NS_E_SHUTDOWN));
        assert_eq!(outline(&said), ["REPORT_END_OF_STREAM"]);
        assert_eq!(
            closed(&server.wait(Duration::from_secs(2))),
            Some(HResult::NS_E_SHUTDOWN)
        );
    }
}

#[test]
fn rule_09_every_stop_and_switch_is_answered_exactly_once() {
    for state in ["open", "ready", "streaming", "ending"] {
        let mut server = Server::at(state);
        for _ in 0..2 {
            let said = server.send(stop(0x001F_FFFF)); // VLC's garbage comes back as a dword, twice around a pause
            let answers = messages(&said);
            let expected = ReportEndOfStream {
                hr: HResult::S_OK,
                play_incarnation: Incarnation(0x001F_FFFF),
            };
            assert_eq!(answers, [&MacMessage::from(expected)], "{state}");
        }
    }
    for state in ["open", "ready", "streaming"] {
        let mut server = Server::at(state);
        let said = server.send(switch(&[(1, 0), (2, 0)]));
        assert_eq!(
            messages(&said),
            [&MacMessage::from(ReportStreamSwitch::default())],
            "{state}"
        );
        let said = server.send(switch(&[(9, 0)]));
        assert_eq!(
            messages(&said)[0].hr(),
            Some(HResult::NS_E_INVALID_STREAM),
            "{state}"
        );
        assert_eq!(said.len(), 1);
    }
}

#[test]
fn rule_09_selections_mean_what_section_5_15_says() {
    let selected = |messages: &[ViewerMessage]| {
        let mut server = Server::at("ready");
        for message in messages {
            server.send(message.clone());
        }
        let selection = played(&server.send(start(4))).unwrap().selection;
        [selection.level(1), selection.level(2)]
    };
    use Thinning::{All, KeyFramesOnly, Off};
    assert_eq!(selected(&[]), [All, All], "never given: everything");
    assert_eq!(
        selected(&[switch(&[(1, 0)])]),
        [All, Off],
        "not mentioned before play: off"
    );
    assert_eq!(selected(&[switch(&[(1, 1), (2, 0)])]), [KeyFramesOnly, All]);
    assert_eq!(
        selected(&[switch(&[(1, 0), (2, 0)]), switch(&[(2, 0)])]),
        [Off, All],
        "a list is complete"
    );
    assert_eq!(
        selected(&[switch(&[(1, 0), (9, 2)])]),
        [All, Off],
        "an unknown stream may be switched off"
    );
    assert_eq!(
        selected(&[switch(&[(1, 0), (9, 0)])]),
        [All, All],
        "a refused list changes nothing"
    );
    let windows = StreamSwitch::new(vec![StreamEntry {
        source: 2,
        target: 0xFFFF,
        thinning_level: 0,
    }]);
    assert_eq!(selected(&[windows.into()]), [Off, Off]);

    let mut server = Server::at("streaming");
    let said = server.send(StreamSwitch::new(vec![StreamEntry {
        source: 2,
        target: 0xFFFF,
        thinning_level: 0,
    }]));
    let Some(Event::Select(selection)) = events(&said).first().copied() else {
        panic!("{said:?}")
    };
    assert_eq!(
        [selection.level(1), selection.level(2)],
        [All, Off],
        "while playing: changes only"
    );
    let said = server.send(StreamSwitch::new(vec![StreamEntry {
        source: 1,
        target: 2,
        thinning_level: 0,
    }]));
    let Some(Event::Select(selection)) = events(&said).first().copied() else {
        panic!("{said:?}")
    };
    assert_eq!(
        [selection.level(1), selection.level(2)],
        [Off, All],
        "one stream replaces another"
    );
}

#[test]
fn rule_09_a_switch_is_bounded_by_its_message() {
    let mut server = Server::at("ready");
    let entries = vec![StreamEntry::select(1, 0), StreamEntry::select(2, 2)];
    let said = server.send(StreamSwitch {
        announced: 0xFFFF_FFFF,
        entries,
    }); // mplayer -aid announces more
    assert_eq!(outline(&said), ["REPORT_STREAM_SWITCH"]);
    let selection = played(&server.send(start(4))).unwrap().selection;
    assert_eq!(
        [selection.level(1), selection.level(2)],
        [Thinning::All, Thinning::Off]
    );
}

#[test]
fn rule_10_start_playing_in_streaming_is_a_seek_and_frame_offset_00ffffff_is_none() {
    let mut server = Server::at("streaming");
    let seek = StartPlaying {
        position_seconds: 15.6,
        frame_offset: 0x00FF_FFFF,
        ..libmms_start(5)
    };
    let said = server.send(seek);
    assert_eq!(
        outline(&said),
        ["StopMedia", "REPORT_STARTED_PLAYING", "Play"]
    );
    // 16,777 s later it still plays; the player answers its Pings
    for _ in 0..700 {
        server.wait(Duration::from_secs(25));
        assert_eq!(server.send(Pong::default()), []);
    }
    assert_eq!(server.session.state_name(), "streaming");
}

fn libmms_start(tag: u32) -> StartPlaying {
    StartPlaying {
        open_file_id: 1,
        play_incarnation: Incarnation(tag),
        ..StartPlaying::default()
    }
}

#[test]
fn rule_10_acceleration_is_passed_on_and_zeros_are_no_wishes() {
    let accel = |acceleration| {
        let mut server = Server::at("ready");
        played(&server.send(StartPlaying {
            acceleration,
            ..libmms_start(10)
        }))
        .unwrap()
        .accel
    };
    assert_eq!(accel(Acceleration::default()), Accel::default());
    let wishes = Acceleration {
        bandwidth: Some(3_500_000),
        duration_ms: Some(5000),
        link: Some(5_000_000),
    };
    let expected = Accel {
        bandwidth: Some(3_500_000),
        duration_ms: Some(5000),
        link: Some(5_000_000),
    };
    assert_eq!(accel(wishes), expected);
    let none = Acceleration {
        bandwidth: Some(0x7FFF_FFFF),
        duration_ms: Some(0),
        link: None,
    };
    assert_eq!(
        accel(none),
        Accel {
            bandwidth: Some(0x7FFF_FFFF),
            ..Accel::default()
        }
    );
}

#[test]
fn rule_11_ping_every_30_s_while_streaming_and_stray_pongs_are_taken() {
    for state in ["new", "connected", "funnel", "open", "ready", "streaming"] {
        assert_eq!(
            Server::at(state).send(Pong {
                param1: 1,
                param2: 0x0100_FFFF
            }),
            [],
            "{state}"
        );
    }
    let mut server = Server::at("streaming");
    assert_eq!(server.wait(Duration::from_secs(29)), []);
    assert_eq!(server.wait(Duration::from_secs(2)), [ping()]);
    server.send(Pong::default());
    assert_eq!(
        server.wait(Duration::from_secs(29)),
        [],
        "30 s from the answer"
    );
    assert_eq!(server.wait(Duration::from_secs(1)), [ping()]);
    let mut server = Server::at("ready");
    server.wait(Duration::from_secs(59));
    assert_eq!(server.packets_sent, 4, "no Ping outside of STREAMING");
}

#[test]
fn rule_12_strings_end_at_the_first_nul_and_padding_may_be_long() {
    let mut server = Server::at("connected");
    let said = server.send(funnel("\\\\192.168.0.1\\TCP\\1242\u{0}0")); // VLC's stray character
    assert_eq!(outline(&said), ["REPORT_CONNECTED_FUNNEL"]);
    server.send(open("live"));
    server.send(read_block(2));
    let bytes = encode(switch(&[(1, 0), (2, 0)]), 0); // xine: 8 more zero bytes, inside and behind chunkLen
    for chunk_len in [bytes[32], bytes[32] + 1] {
        let mut longer = bytes.clone();
        longer.extend_from_slice(&[0; 8]);
        longer[8] += 8;
        longer[32] = chunk_len;
        assert_eq!(
            outline(&server.input(Input::Received(&longer))),
            ["REPORT_STREAM_SWITCH"]
        );
    }
    let mut server = Server::at("connected");
    assert_eq!(
        outline(&server.send(funnel(r"\\300.1.2.3\tcp\99999"))),
        ["REPORT_CONNECTED_FUNNEL"]
    );
}

#[test]
fn rule_13_udp_that_is_not_offered_is_refused_and_the_same_connection_may_go_on_with_tcp() {
    let mut server = Server::with(Settings {
        udp: false,
        ..Settings::default()
    });
    server.send(connect("NSPlayer/9.0.0.2980; {X}"));
    let said = server.send(funnel(r"\\::1\UDP\7000"));
    let refusal = ReportDisconnectedFunnel {
        hr: HResult::NS_E_UDP_DISABLED,
        play_incarnation: Incarnation(0),
    };
    assert_eq!(said, [Said::Message(refusal.into())]);
    assert_eq!(server.session.state_name(), "connected");
    let MacMessage::ReportFunnelInfo(report) = messages(&server.send(FunnelInfo {
        play_incarnation: Incarnation::PACKET_PAIR_UDP,
    }))[0]
        .clone()
    else {
        panic!()
    };
    assert_eq!(
        (report.client_id, report.play_incarnation),
        (0x5EED_1234, Incarnation::NO_PACKET_PAIR)
    );
    assert_eq!(
        outline(&server.send(funnel(r"\\1\TCP\1037"))),
        ["REPORT_CONNECTED_FUNNEL"]
    );
    for (name, hr) in [
        (r"\\1\SCTP\5", HResult::NS_E_BAD_REQUEST),
        ("nonsense", HResult::E_INVALIDARG),
        (r"\\1\UDP\0", HResult::E_INVALIDARG),
    ] {
        assert_eq!(
            messages(&server.send(funnel(name)))[0].hr(),
            Some(hr),
            "{name}"
        );
    }
}

#[test]
fn rule_14_http_is_answered_never_closed_mutely() {
    let mut server = Server::new();
    let request = "GET /live HTTP/1.0\r\nUser-Agent: NSPlayer/4.1.0.3856\r\n\r\n";
    let (head, tail) = request.split_at(10);
    assert_eq!(server.input(Input::Received(head.as_bytes())), []);
    assert_eq!(server.session.state_name(), "reading a request");
    server.channel = Some(Err(HResult::NS_E_FILE_NOT_FOUND));
    assert_eq!(
        outline(&server.input(Input::Received(tail.as_bytes()))),
        ["Open", "HTTP/1.0 404 Not Found", "Close"]
    );
    let mut server = Server::new();
    server.input(Input::Received(b"G"));
    let said = server.wait(Duration::from_secs(30));
    assert_eq!(
        outline(&said),
        ["HTTP/1.1 408 Request Timeout", "Close"],
        "even a request without an end"
    );
}

#[test]
fn rule_15_what_a_slow_player_loses_is_whole_packets_with_gaps() {
    let mut pair = Pair::new(Options {
        manner: Manner::FFMPEG,
        ..Options::default()
    });
    pair.drive();
    pair.media(2);
    pair.location += 100; // the engine moved the viewer on
    pair.viewer_sequence += 100;
    pair.media(2);
    assert_eq!(
        pair.packets(),
        [(5300, 0), (5301, 1), (5402, 102), (5403, 103)]
    );
    assert_eq!(pair.client.stale_packets(), 0);
}

#[test]
fn wake_up_reasons_are_named() {
    let reason = |state| Server::at(state).wake_at.map(|(_, timer)| timer);
    assert_eq!(reason("new"), Some(Timer::Handshake));
    assert_eq!(reason("opening"), None);
    assert_eq!(reason("refused"), Some(Timer::Close));
    assert_eq!(reason("open"), Some(Timer::Handshake));
    assert_eq!(reason("ready"), Some(Timer::Idle));
    assert_eq!(reason("streaming"), Some(Timer::Ping));
    assert_eq!(reason("ending"), Some(Timer::Close));
    let mut over_udp = Server::at_udp("ending");
    assert_eq!(over_udp.wake_at.map(|wake| wake.1), Some(Timer::Farewell));
    over_udp.wait(Duration::from_millis(300));
    assert_eq!(over_udp.wake_at.map(|wake| wake.1), Some(Timer::Close));
}
