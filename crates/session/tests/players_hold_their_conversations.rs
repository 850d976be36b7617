//! Dialogues as the players of section 11 hold them, constructed from the specification and the notes of section 11
//! (they are not captures). The client session supplies each player's habits; what it cannot do is scripted by hand.

mod common;

use std::time::Duration;

use common::*;
use funnel_session::client::{
    self, CloseReason, FileInfo, Input as Ask, Manner, Options, Stage, UdpOptions,
};
use funnel_session::server::{Input, Player};
use funnel_session::{Selection, Thinning};
use funnel_wire::mms::*;

fn pair(manner: Manner) -> Pair {
    Pair::new(Options {
        manner,
        ..Options::default()
    })
}

fn playing(manner: Manner) -> Pair {
    let mut pair = pair(manner);
    pair.drive();
    assert!(pair.has_heard(&Heard::Started), "{:?}", pair.heard);
    pair
}

#[test]
fn every_player_gets_from_connect_to_media_and_to_the_end() {
    for manner in Manner::ALL {
        let name = manner.name;
        let mut pair = playing(manner);
        let info = FileInfo {
            packet_bytes: 1444,
            header_bytes: header().len() as u32,
            bit_rate: 364_000,
            attributes: attributes::BROADCAST,
        };
        let opening = [
            Heard::Connected("9.1.1.3841".into()),
            Heard::Opened(info),
            Heard::Header(header().to_vec()),
            Heard::Started,
        ];
        assert_eq!(pair.heard, opening, "{name}");
        pair.media(300);
        let numbers: Vec<_> = pair.packets();
        assert_eq!(
            numbers,
            (0..300).map(|n| (5300 + n, n)).collect::<Vec<_>>(),
            "{name}"
        );
        pair.input(Input::MediaDrained);
        assert!(pair.has_heard(&Heard::End(HResult::S_OK)), "{name}");
        assert_eq!(
            pair.heard.last(),
            Some(&Heard::Close(CloseReason::Finished)),
            "{name}"
        );
        pair.wait(Duration::from_secs(2));
        assert_eq!(pair.server.session.state_name(), "closed", "{name}");
    }
}

#[test]
fn every_player_gets_from_connect_to_the_end_over_udp() {
    for manner in Manner::ALL {
        let name = manner.name;
        let mut pair = Pair::new(Options {
            manner,
            transport: Transport::Udp { port: 7000 },
            packet_pair: true,
            udp: UdpOptions {
                resend: false, // nor on suspicion at the end
                ..UdpOptions::default()
            },
            ..Options::default()
        });
        pair.drive();
        assert_eq!(pair.transport, Transport::Udp { port: 7000 }, "{name}");
        assert!(pair.has_heard(&Heard::Header(header().to_vec())), "{name}");
        pair.media(300);
        let numbers: Vec<_> = (0..300).map(|n| (5300 + n, n)).collect();
        assert_eq!(pair.packets(), numbers, "{name}");
        pair.input(Input::MediaDrained);
        assert!(!pair.has_heard(&Heard::End(HResult::S_OK)), "{name}");
        pair.wait(Duration::from_millis(300));
        assert!(pair.has_heard(&Heard::End(HResult::S_OK)), "{name}");
        pair.wait(Duration::from_secs(2));
        assert_eq!(pair.server.session.state_name(), "closed", "{name}");
    }
}

#[test]
fn vlc_over_udp_as_section_11_notes_it() {
    // mmsu://: no FunnelInfo, port 7000 and a stray character, incarnations 1, 2, 4, stop and start for a pause
    let mut server = Server::new();
    let subscriber = "NSPlayer/7.0.0.1956; {0xbabac001-0xd402-0xa15d-0xdecb782e070a5d1a}; Host: h";
    server.send(connect(subscriber));
    server.send(funnel("\\\\127.0.0.1\\UDP\\7000\u{0}0"));
    assert_eq!(server.session.player(), Player::Vlc);
    server.send(open("live"));
    assert_eq!(
        outline(&server.send(read_block(2))),
        ["REPORT_READ_BLOCK", "DATAGRAM 0C"]
    );
    server.send(switch(&[(1, 0), (2, 0)]));
    assert!(played(&server.send(start(4))).is_some());
    for _ in 0..2 {
        server.send(stop(0x001F_FFFF));
        server.wait(Duration::from_secs(10));
        server.send(Pong::default());
    }
    assert!(played(&server.send(start(4))).is_some());
    assert_eq!(server.input(Input::MediaDrained), []);
    let said = server.wait(Duration::from_secs(3));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM", "Close"]);
}

#[test]
fn players_are_recognised_for_the_log() {
    let expected = [
        (Player::WindowsMedia { major: 9 }, "NSPlayer/9.0.0.2980"),
        (Player::WindowsMedia { major: 4 }, "NSPlayer/4.1.0.3856"),
        (Player::DistributionServer, "Spoooon!"),
        (Player::Ffmpeg, "NSPlayer/7.0.0.1956 (ffmpeg)"),
        (Player::Libmms, "NSPlayer/7.0.0.1956 (libmms)"),
        (Player::Xine, "NSPlayer/7.0.0.1956 (xine)"),
        (Player::Mplayer, "NSPlayer/7.0.0.1956 (mplayer)"),
        (Player::Vlc, "NSPlayer/7.0.0.1956 (VLC)"),
    ];
    for (manner, (player, agent)) in Manner::ALL.into_iter().zip(expected) {
        let pair = playing(manner);
        assert_eq!(
            (pair.server.session.player(), pair.server.session.agent()),
            (player, agent)
        );
    }
}

#[test]
fn ffmpeg_sends_funnel_info_and_gets_one_answer() {
    let pair = playing(Manner::FFMPEG);
    let reports = pair
        .said
        .iter()
        .filter(|said| matches!(said, Said::Message(MacMessage::ReportFunnelInfo(_))));
    assert_eq!(reports.count(), 1, "three would make it abort");
    let order: Vec<_> = outline(&pair.said);
    let expected = [
        "REPORT_CONNECTED",
        "REPORT_FUNNEL_INFO",
        "REPORT_CONNECTED_FUNNEL",
        "Open",
        "REPORT_OPEN_FILE",
        "REPORT_READ_BLOCK",
        "DATA 0C",
        "REPORT_STREAM_SWITCH",
        "REPORT_STARTED_PLAYING",
        "Play",
    ];
    assert_eq!(order, expected); // section 8.1
}

#[test]
fn xine_makes_a_whole_handshake_drops_it_and_comes_again() {
    let mut first = pair(Manner {
        waits_for_switch: true,
        ..Manner::XINE
    });
    while !outline(&first.said).contains(&"REPORT_STREAM_SWITCH".to_owned()) {
        assert!(first.step());
    }
    assert!(
        !outline(&first.said).contains(&"Play".to_owned()),
        "nothing was started"
    );
    let mut second = playing(Manner::XINE);
    second.media(3);
    assert_eq!(second.packets().len(), 3);
}

#[test]
fn mplayer_opens_with_incarnation_0_and_announces_more_streams_than_it_sends() {
    let mut server = Server::new();
    server.send(connect(
        "NSPlayer/7.0.0.1956; {33715801-BAB3-9D85-24E9-03B90328270A}; Host: h",
    ));
    server.send(funnel(r"\\192.168.0.1\TCP\1037"));
    let said = server.send(OpenFile {
        file_name: "live".into(),
        ..OpenFile::default()
    });
    assert_eq!(outline(&said), ["Open", "REPORT_OPEN_FILE"]);
    assert_eq!(
        outline(&server.send(read_block(2))),
        ["REPORT_READ_BLOCK", "DATA 0C"]
    );
    let entries = vec![StreamEntry::select(1, 0), StreamEntry::select(2, 2)];
    let said = server.send(StreamSwitch {
        announced: 3,
        entries,
    });
    assert_eq!(
        outline(&said),
        ["REPORT_STREAM_SWITCH"],
        "a surplus report ends its playback"
    );
    assert!(played(&server.send(start(4))).is_some());
}

#[test]
fn libmms_seeks_with_start_playing_alone() {
    let mut pair = playing(Manner::LIBMMS);
    pair.media(5);
    pair.ask(Ask::Play);
    assert_eq!(
        outline(&pair.said)
            .iter()
            .filter(|said| *said == "StopMedia")
            .count(),
        1
    );
    pair.media(5);
    let numbers = pair.packets();
    assert_eq!(numbers.len(), 10);
    assert_eq!(numbers[9], (5309, 9), "the sequence runs on over a seek");
    assert_eq!(
        pair.framing
            .map(|framing| head(framing, 0, 0).play_incarnation),
        Some(5)
    );
}

#[test]
fn vlc_pauses_with_two_stops_and_pongs_and_resumes_with_the_same_tag() {
    let mut pair = playing(Manner::VLC);
    pair.media(5);
    pair.ask(Ask::Stop);
    assert!(pair.has_heard(&Heard::Stopped));
    pair.media(5);
    assert_eq!(
        pair.packets().len(),
        5,
        "nothing may follow the EndOfStream: VLC could not tell"
    );
    for _ in 0..12 {
        pair.server.wait(Duration::from_secs(10));
        assert_eq!(pair.server.send(Pong::default()), []);
    }
    let said = pair.server.send(stop(0x001F_FFFF));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM"]);
    pair.ask(Ask::Play);
    pair.media(3);
    assert_eq!(pair.packets().len(), 8);
    assert_eq!(
        pair.framing
            .map(|framing| head(framing, 0, 0).play_incarnation),
        Some(4)
    );
}

#[test]
fn windows_media_player_9_switches_and_starts_back_to_back_logs_and_starts_again() {
    let mut pair = playing(Manner::WINDOWS_MEDIA_9);
    let switch_at = pair
        .upstream
        .iter()
        .position(|sent| sent[36] == 0x33)
        .unwrap();
    assert_eq!(pair.upstream[switch_at + 1][36], 0x07);
    pair.media(2);
    pair.ask(Ask::Stop);
    let log = ClientLog {
        url: "mms://radio.example/live".into(),
        ..ClientLog::default()
    };
    assert_eq!(
        outline(&pair.server.send(Logging { log: Box::new(log) })),
        ["ClientLog"]
    );
    pair.ask(Ask::Play);
    pair.media(2);
    assert_eq!(pair.packets().len(), 4);
    assert_eq!(
        pair.framing
            .map(|framing| head(framing, 0, 0).play_incarnation),
        Some(11)
    );
}

#[test]
fn windows_media_player_6_measures_with_three_packets() {
    let options = Options {
        manner: Manner::WINDOWS_MEDIA_6,
        packet_pair: true,
        ..Options::default()
    };
    let mut pair = Pair::new(options);
    pair.drive();
    let mut tails = Vec::new();
    for said in &pair.said {
        if let Said::Message(MacMessage::ReportFunnelInfo(report)) = said {
            assert_eq!(report.play_incarnation, Incarnation::PACKET_PAIR_TCP);
            tails.push(report.pair_bytes.clone());
        }
        if let Said::Message(MacMessage::ReportConnected(report)) = said {
            assert_eq!(report.play_incarnation, Incarnation::PACKET_PAIR);
        }
    }
    assert_eq!(
        tails.iter().map(Vec::len).collect::<Vec<_>>(),
        [432, 432, 976]
    );
    assert_ne!(tails[0], tails[1]);
    assert!(pair.has_heard(&Heard::Started));
}

#[test]
fn a_distribution_server_selects_nothing_and_gets_everything() {
    let mut server = Server::new();
    let mut hello = connect("Spoooon!");
    if let ViewerMessage::Connect(hello) = &mut hello {
        hello.play_incarnation = Incarnation(0x0012_F5A0); // garbage
    }
    let said = server.send(hello);
    let MacMessage::ReportConnected(report) = messages(&said)[0] else {
        panic!()
    };
    assert_eq!(report.play_incarnation, Incarnation::NO_PACKET_PAIR);
    server.send(funnel(r"\\10.0.0.9\TCP\2000"));
    server.send(open("live"));
    server.send(read_block(2));
    let play = played(&server.send(start(3))).unwrap();
    assert_eq!((play.selection, play.keep_padding), (Selection::ALL, true));
}

#[test]
fn a_client_takes_only_the_streams_it_was_told() {
    let mut streams = Selection::NONE;
    streams.set(2, Thinning::All);
    let mut pair = Pair::new(Options {
        streams,
        ..Options::default()
    });
    pair.drive();
    let play = played(&pair.said).unwrap();
    assert_eq!(
        [play.selection.level(1), play.selection.level(2)],
        [Thinning::Off, Thinning::All]
    );
    streams.set(1, Thinning::KeyFramesOnly);
    pair.ask(Ask::Select(streams));
    assert_eq!(
        outline(&pair.said).last().map(String::as_str),
        Some("REPORT_STREAM_SWITCH")
    );
}

#[test]
fn an_unknown_channel_is_refused_at_open_file() {
    for manner in Manner::ALL {
        let mut pair = pair(manner);
        pair.server.channel = Some(Err(HResult::NS_E_FILE_NOT_FOUND));
        pair.drive();
        assert!(pair.has_heard(&Heard::Refused(
            Stage::OpenFile,
            HResult::NS_E_FILE_NOT_FOUND
        )));
        pair.wait(Duration::from_secs(1));
        assert_eq!(pair.server.session.state_name(), "closed");
    }
}

#[test]
fn players_that_can_follow_a_new_header_do_and_the_others_end_properly() {
    for manner in Manner::ALL {
        let (name, tags) = (manner.name, manner.tags);
        let follows = !["ffmpeg", "mplayer", "VLC", "Windows Media Player 6.4"].contains(&name);
        let mut pair = playing(manner);
        pair.media(10);
        pair.input(Input::HeaderChanged(other_channel()));
        if !follows {
            assert_eq!(
                pair.heard[pair.heard.len() - 2..],
                [
                    Heard::End(HResult::S_OK),
                    Heard::Close(CloseReason::Finished)
                ],
                "{name}"
            );
            continue;
        }
        assert!(
            pair.has_heard(&Heard::Header(other_channel().header.to_vec())),
            "{name}"
        );
        assert_eq!(pair.heard.last(), Some(&Heard::Started), "{name}");
        let outline = outline(&pair.said);
        let change = outline
            .iter()
            .position(|said| said == "REPORT_STREAM_CHANGE")
            .unwrap();
        assert_eq!(
            outline[change - 2..change],
            ["StopMedia", "REPORT_END_OF_STREAM"],
            "{name}"
        );
        assert!(outline[change + 1].starts_with("DATA"), "{name}");
        assert!(
            !outline[change..outline.len() - 1].contains(&"Play".to_owned()),
            "{name}: media is held"
        );
        pair.media(10);
        assert_eq!(pair.packets().len(), 20, "{name}");
        assert_ne!(
            pair.framing
                .map(|framing| head(framing, 0, 0).play_incarnation),
            Some(tags[2]),
            "{name}: a new tag"
        );
    }
}

#[test]
fn media_is_held_after_a_stream_change_for_5_s_then_sent_with_tag_ff() {
    let mut pair = playing(Manner::LIBMMS);
    let said = pair.server.input(Input::HeaderChanged(other_channel()));
    let expected = [
        "StopMedia",
        "REPORT_END_OF_STREAM",
        "REPORT_STREAM_CHANGE",
        "DATA 0C",
    ];
    assert_eq!(outline(&said), expected);
    let MacMessage::ReportStreamChange(change) = messages(&said)[1] else {
        panic!()
    };
    assert_eq!(
        (change.header_incarnation, change.bit_rate),
        (Incarnation(0xFF), 500_000)
    );
    assert_eq!(messages(&said)[0].hr(), Some(HResult::S_FALSE));
    assert_eq!(pair.server.wait(Duration::from_millis(4900)), []);
    let said = pair.server.wait(Duration::from_millis(200));
    let play = played(&said).unwrap();
    assert_eq!(head(play.framing, 0, 0).play_incarnation, 0xFF);
    assert_eq!((said.len(), play.selection), (1, Selection::ALL));
    let said = pair.server.send(start(5));
    assert_eq!(
        outline(&said),
        ["StopMedia", "REPORT_STARTED_PLAYING", "Play"],
        "a late answer still counts"
    );
}

#[test]
fn a_client_takes_the_media_of_a_server_that_does_not_wait() {
    let mut pair = Pair::new(Options {
        auto_play: false,
        ..Options::default()
    });
    pair.drive();
    pair.ask(Ask::Play);
    let said = pair.server.input(Input::HeaderChanged(other_channel()));
    pair.deliver(said);
    let said = pair.server.wait(Duration::from_secs(6));
    pair.deliver(said);
    pair.media(4);
    assert_eq!(pair.packets().len(), 4);
}

#[test]
fn media_with_tag_ff_counts_only_after_a_stream_change() {
    let mut pair = Pair::new(Options {
        auto_play: false,
        ..Options::default()
    });
    pair.drive();
    let media = || Said::Header {
        head: DataHeader::new(5300, DataHeader::INCARNATION_STREAM_CHANGE, 0, 4),
        payload: vec![0; 4],
    };
    pair.deliver(vec![media()]);
    pair.drive();
    assert_eq!((pair.packets(), pair.client.stale_packets()), (vec![], 1));

    pair.ask(Ask::Play);
    let said = pair.server.input(Input::HeaderChanged(other_channel()));
    pair.deliver(said);
    pair.deliver(vec![media()]);
    pair.drive();
    assert_eq!(pair.packets().len(), 1);
    pair.ask(Ask::Stop);
    pair.deliver(vec![media()]);
    pair.drive();
    assert_eq!(
        (pair.packets().len(), pair.client.stale_packets()),
        (1, 2),
        "what was under way does not undo the stop"
    );
}

#[test]
fn a_header_that_changed_before_play_is_announced_at_start_playing() {
    for (manner, expected) in [
        (
            Manner::LIBMMS,
            vec![
                "REPORT_STARTED_PLAYING",
                "REPORT_END_OF_STREAM",
                "REPORT_STREAM_CHANGE",
                "DATA 0C",
            ],
        ),
        (
            Manner::VLC,
            vec!["REPORT_STARTED_PLAYING", "REPORT_END_OF_STREAM"],
        ),
    ] {
        let mut pair = Pair::new(Options {
            manner,
            auto_play: false,
            ..Options::default()
        });
        pair.drive();
        assert_eq!(pair.server.input(Input::HeaderChanged(other_channel())), []);
        let Said::Header { payload, .. } = pair.server.send(read_block(2)).pop().unwrap() else {
            panic!()
        };
        assert_eq!(
            payload,
            channel().header.to_vec(),
            "the header that ReportOpenFile announced"
        );
        let said = pair.server.send(start(4));
        let outline: Vec<_> = outline(&said)
            .into_iter()
            .filter(|said| said != "StopMedia")
            .collect();
        assert_eq!(outline, expected);
        assert!(played(&said).is_none());
    }
}

#[test]
fn the_sequence_skips_0xff_at_a_restart() {
    let mut pair = playing(Manner::WINDOWS_MEDIA_9);
    pair.media(255); // the last has AFFlags 0xFE
    pair.ask(Ask::Stop);
    pair.ask(Ask::Play);
    pair.media(1);
    assert_eq!(pair.packets().last(), Some(&(5300 + 255, 256)));
}

#[test]
fn pings_are_answered_in_the_players_manner() {
    for manner in Manner::ALL {
        let (name, pong) = (manner.name, manner.pong);
        let mut pair = playing(manner);
        for _ in 0..10 {
            pair.wait(Duration::from_secs(31));
        }
        assert_eq!(pair.server.session.state_name(), "streaming", "{name}");
        let sent = pair.upstream.last().unwrap();
        assert_eq!((sent[36], sent[40]), (0x1B, pong.0 as u8), "{name}");
    }
}

#[test]
fn a_client_gives_up_on_silence_and_says_why() {
    let mut client = pair(Manner::FFMPEG).client;
    let now = std::time::Instant::now();
    let mut reasons = Vec::new();
    client.handle_input(now + Duration::from_secs(100), Ask::Timeout);
    loop {
        match client.poll_output() {
            client::Output::Event(client::Event::Close(reason)) => reasons.push(reason),
            client::Output::Idle { wake_at } => {
                assert_eq!(wake_at, None);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(reasons, [CloseReason::TimedOut]);
}

#[test]
fn a_client_tells_a_lost_connection_and_a_redirect_and_a_challenge_apart() {
    let mut lost = playing(Manner::WINDOWS_MEDIA_9);
    lost.ask(Ask::Closed);
    assert_eq!(
        lost.heard.last(),
        Some(&Heard::Close(CloseReason::ConnectionLost))
    );

    let answers: [(MacMessage, Heard); 2] = [
        (
            ReportRedirect {
                redirect_type: 1,
                location: "mms://other/live".into(),
                ..ReportRedirect::default()
            }
            .into(),
            Heard::Redirect("mms://other/live".into()),
        ),
        (
            SecurityChallenge::default().into(),
            Heard::Refused(Stage::Authentication, HResult::E_ACCESSDENIED),
        ),
    ];
    for (answer, expected) in answers {
        let mut pair = pair(Manner::WINDOWS_MEDIA_9);
        pair.server.channel = None;
        pair.drive();
        pair.deliver(vec![Said::Message(answer)]);
        pair.drive();
        assert!(pair.has_heard(&expected), "{:?}", pair.heard);
    }
}
