//! The table of section 7.1, cell by cell: every message a client may send, in every state.

mod common;

use common::*;
use funnel_session::server::{Event, Input, Opened};
use funnel_wire::mms::*;

const STATES: [&str; 8] = [
    "new",
    "connected",
    "funnel",
    "refused",
    "open",
    "ready",
    "streaming",
    "ending",
];

/// Per message: the outline of the answer and the state after it, in the order of `STATES`. `E`: refused and counted.
/// `G`: refused with the reason of the end.
const TABLE: &[(&str, [(&str, &str); 8])] = &[
    (
        "Connect",
        [
            ("REPORT_CONNECTED", "connected"),
            ("REPORT_CONNECTED", "connected"),
            ("REPORT_CONNECTED", "connected"),
            ("REPORT_CONNECTED", "connected"),
            ("REPORT_CONNECTED", "connected"),
            ("REPORT_CONNECTED", "connected"),
            ("StopMedia REPORT_CONNECTED", "connected"),
            ("G REPORT_CONNECTED", "ending"),
        ],
    ),
    (
        "FunnelInfo",
        [
            ("E REPORT_FUNNEL_INFO", "new"),
            ("REPORT_FUNNEL_INFO", "connected"),
            ("REPORT_FUNNEL_INFO", "funnel"),
            ("REPORT_FUNNEL_INFO", "refused"),
            ("REPORT_FUNNEL_INFO", "open"),
            ("REPORT_FUNNEL_INFO", "ready"),
            ("REPORT_FUNNEL_INFO", "streaming"),
            ("REPORT_FUNNEL_INFO", "ending"),
        ],
    ),
    (
        "ConnectFunnel",
        [
            ("E REPORT_DISCONNECTED_FUNNEL", "new"),
            ("REPORT_CONNECTED_FUNNEL", "funnel"),
            ("REPORT_CONNECTED_FUNNEL", "funnel"),
            ("G REPORT_DISCONNECTED_FUNNEL", "refused"),
            ("REPORT_CONNECTED_FUNNEL", "open"),
            ("REPORT_CONNECTED_FUNNEL", "ready"),
            ("E REPORT_DISCONNECTED_FUNNEL", "streaming"),
            ("G REPORT_DISCONNECTED_FUNNEL", "ending"),
        ],
    ),
    (
        "ConnectFunnel UDP",
        [
            ("E REPORT_DISCONNECTED_FUNNEL", "new"),
            ("Transport REPORT_CONNECTED_FUNNEL", "funnel"),
            ("Transport REPORT_CONNECTED_FUNNEL", "funnel"),
            ("G REPORT_DISCONNECTED_FUNNEL", "refused"),
            ("Transport REPORT_CONNECTED_FUNNEL", "open"),
            ("Transport REPORT_CONNECTED_FUNNEL", "ready"),
            ("E REPORT_DISCONNECTED_FUNNEL", "streaming"),
            ("G REPORT_DISCONNECTED_FUNNEL", "ending"),
        ],
    ),
    (
        "OpenFile",
        [
            ("E REPORT_OPEN_FILE", "new"),
            ("E REPORT_OPEN_FILE", "connected"),
            ("Open REPORT_OPEN_FILE", "open"),
            ("G REPORT_OPEN_FILE", "refused"),
            ("Open REPORT_OPEN_FILE", "open"),
            ("Open REPORT_OPEN_FILE", "open"),
            ("E REPORT_OPEN_FILE", "streaming"),
            ("G REPORT_OPEN_FILE", "ending"),
        ],
    ),
    (
        "SecurityResponse",
        [
            ("E REPORT_OPEN_FILE", "new"),
            ("E REPORT_OPEN_FILE", "connected"),
            ("E REPORT_OPEN_FILE", "funnel"),
            ("G REPORT_OPEN_FILE", "refused"),
            ("E REPORT_OPEN_FILE", "open"),
            ("E REPORT_OPEN_FILE", "ready"),
            ("E REPORT_OPEN_FILE", "streaming"),
            ("G REPORT_OPEN_FILE", "ending"),
        ],
    ),
    (
        "ReadBlock",
        [
            ("E REPORT_READ_BLOCK", "new"),
            ("E REPORT_READ_BLOCK", "connected"),
            ("G REPORT_READ_BLOCK", "refused"),
            ("G REPORT_READ_BLOCK", "refused"),
            ("REPORT_READ_BLOCK DATA 0C", "ready"),
            ("REPORT_READ_BLOCK DATA 0C", "ready"),
            ("REPORT_READ_BLOCK DATA 0C", "streaming"),
            ("G REPORT_READ_BLOCK", "ending"),
        ],
    ),
    (
        "CancelReadBlock",
        [
            ("", "new"),
            ("", "connected"),
            ("", "funnel"),
            ("", "refused"),
            ("", "open"),
            ("", "ready"),
            ("", "streaming"),
            ("", "ending"),
        ],
    ),
    (
        "StreamSwitch",
        [
            ("E REPORT_STREAM_SWITCH", "new"),
            ("E REPORT_STREAM_SWITCH", "connected"),
            ("E REPORT_STREAM_SWITCH", "funnel"),
            ("G REPORT_STREAM_SWITCH", "refused"),
            ("REPORT_STREAM_SWITCH", "open"),
            ("REPORT_STREAM_SWITCH", "ready"),
            ("Select REPORT_STREAM_SWITCH", "streaming"),
            ("G REPORT_STREAM_SWITCH", "ending"),
        ],
    ),
    (
        "StartPlaying",
        [
            ("E REPORT_STARTED_PLAYING", "new"),
            ("E REPORT_STARTED_PLAYING", "connected"),
            ("E REPORT_STARTED_PLAYING", "funnel"),
            ("G REPORT_STARTED_PLAYING", "refused"),
            ("REPORT_STARTED_PLAYING Play", "streaming"),
            ("REPORT_STARTED_PLAYING Play", "streaming"),
            ("StopMedia REPORT_STARTED_PLAYING Play", "streaming"),
            ("G REPORT_STARTED_PLAYING", "ending"),
        ],
    ),
    (
        "StartStriding",
        [
            ("E REPORT_START_STRIDING", "new"),
            ("E REPORT_START_STRIDING", "connected"),
            ("E REPORT_START_STRIDING", "funnel"),
            ("G REPORT_START_STRIDING", "refused"),
            ("REPORT_START_STRIDING", "open"),
            ("REPORT_START_STRIDING", "ready"),
            ("REPORT_START_STRIDING", "streaming"),
            ("G REPORT_START_STRIDING", "ending"),
        ],
    ),
    (
        "StopPlaying",
        [
            ("E REPORT_END_OF_STREAM", "new"),
            ("E REPORT_END_OF_STREAM", "connected"),
            ("E REPORT_END_OF_STREAM", "funnel"),
            ("G REPORT_END_OF_STREAM", "refused"),
            ("REPORT_END_OF_STREAM", "open"),
            ("REPORT_END_OF_STREAM", "ready"),
            ("StopMedia REPORT_END_OF_STREAM", "ready"),
            ("REPORT_END_OF_STREAM", "ending"),
        ],
    ),
    (
        "Pong",
        [
            ("", "new"),
            ("", "connected"),
            ("", "funnel"),
            ("", "refused"),
            ("", "open"),
            ("", "ready"),
            ("", "streaming"),
            ("", "ending"),
        ],
    ),
    (
        "Logging",
        [
            ("ClientLog", "new"),
            ("ClientLog", "connected"),
            ("ClientLog", "funnel"),
            ("ClientLog", "refused"),
            ("ClientLog", "open"),
            ("ClientLog", "ready"),
            ("ClientLog", "streaming"),
            ("ClientLog", "ending"),
        ],
    ),
    (
        "CloseFile",
        [
            ("Close", "closed"),
            ("Close", "closed"),
            ("Close", "closed"),
            ("Close", "closed"),
            ("Close", "closed"),
            ("Close", "closed"),
            ("Close", "closed"),
            ("Close", "closed"),
        ],
    ),
    (
        "Unknown",
        [
            ("", "new"),
            ("", "connected"),
            ("", "funnel"),
            ("", "refused"),
            ("", "open"),
            ("", "ready"),
            ("", "streaming"),
            ("", "ending"),
        ],
    ),
];

fn message(name: &str) -> ViewerMessage {
    match name {
        "Connect" => connect("NSPlayer/9.0.0.2980; {X}"),
        "FunnelInfo" => FunnelInfo {
            play_incarnation: Incarnation::NO_PACKET_PAIR,
        }
        .into(),
        "ConnectFunnel" => funnel(r"\\10.0.0.1\TCP\1037"),
        "ConnectFunnel UDP" => funnel(UDP),
        "OpenFile" => open("other"),
        "SecurityResponse" => SecurityResponse {
            token: b"x\0".to_vec(),
            ..SecurityResponse::default()
        }
        .into(),
        "ReadBlock" => read_block(2),
        "CancelReadBlock" => CancelReadBlock {
            play_incarnation: Incarnation(2),
        }
        .into(),
        "StreamSwitch" => switch(&[(1, 0), (2, 2)]),
        "StartPlaying" => start(11),
        "StartStriding" => StartStriding {
            rate: 5.0,
            ..StartStriding::default()
        }
        .into(),
        "StopPlaying" => stop(10),
        "Pong" => Pong::default().into(),
        "Logging" => Logging::default().into(),
        "CloseFile" => CloseFile::default().into(),
        "Unknown" => ViewerMessage::Unknown(Mid(0x0003_0030)),
        other => panic!("no message {other}"),
    }
}

/// The cells that differ for a player that gets its data over UDP.
const OVER_UDP: &[(&str, &str, &str, &str)] = &[
    (
        "Connect",
        "funnel",
        "Transport REPORT_CONNECTED",
        "connected",
    ),
    (
        "Connect",
        "refused",
        "Transport REPORT_CONNECTED",
        "connected",
    ),
    ("Connect", "open", "Transport REPORT_CONNECTED", "connected"),
    (
        "Connect",
        "ready",
        "Transport REPORT_CONNECTED",
        "connected",
    ),
    (
        "Connect",
        "streaming",
        "StopMedia Transport REPORT_CONNECTED",
        "connected",
    ),
    (
        "ConnectFunnel",
        "funnel",
        "Transport REPORT_CONNECTED_FUNNEL",
        "funnel",
    ),
    (
        "ConnectFunnel",
        "open",
        "Transport REPORT_CONNECTED_FUNNEL",
        "open",
    ),
    (
        "ConnectFunnel",
        "ready",
        "Transport REPORT_CONNECTED_FUNNEL",
        "ready",
    ),
    // the port it has already
    (
        "ConnectFunnel UDP",
        "funnel",
        "REPORT_CONNECTED_FUNNEL",
        "funnel",
    ),
    (
        "ConnectFunnel UDP",
        "open",
        "REPORT_CONNECTED_FUNNEL",
        "open",
    ),
    (
        "ConnectFunnel UDP",
        "ready",
        "REPORT_CONNECTED_FUNNEL",
        "ready",
    ),
    (
        "ReadBlock",
        "open",
        "REPORT_READ_BLOCK DATAGRAM 0C",
        "ready",
    ),
    // the header before it was sent just now: the next one keeps the pace
    ("ReadBlock", "ready", "REPORT_READ_BLOCK", "ready"),
    ("ReadBlock", "streaming", "REPORT_READ_BLOCK", "streaming"),
    ("StartPlaying", "open", "E REPORT_STARTED_PLAYING", "open"),
];

#[test]
fn every_message_in_every_state() {
    for (name, cells) in TABLE {
        for (state, (expected, after)) in STATES.iter().zip(cells) {
            check(name, state, Server::at(state), expected, after);
        }
    }
}

#[test]
fn every_message_in_every_state_over_udp() {
    let mut differ = 0;
    for (name, cells) in TABLE {
        for (state, (expected, after)) in STATES.iter().zip(cells).skip(2) {
            let other = OVER_UDP
                .iter()
                .find(|cell| (cell.0, cell.1) == (*name, *state));
            differ += usize::from(other.is_some());
            let (expected, after) = other.map_or((*expected, *after), |cell| (cell.2, cell.3));
            check(name, state, Server::at_udp(state), expected, after);
        }
    }
    assert_eq!(differ, OVER_UDP.len());
}

fn check(name: &str, state: &str, mut server: Server, expected: &str, after: &str) {
    let said = server.send(message(name));
    let cell = format!("{name} in {state}");
    let outline = outline(&said).join(" ");
    assert_eq!(
        outline,
        expected.trim_start_matches(['E', 'G']).trim_start(),
        "{cell}"
    );
    assert_eq!(server.session.state_name(), after, "{cell}");
    let hr = messages(&said).first().and_then(|message| message.hr());
    let wanted = match (&expected.get(..2), state, name) {
        (Some("E "), ..) => Some(HResult::NS_E_INVALID_REQUEST),
        (Some("G "), "funnel", _) => Some(HResult::NS_E_INVALID_REQUEST),
        (Some("G "), "refused", _) => Some(HResult::NS_E_FILE_NOT_FOUND),
        (Some("G "), ..) => Some(HResult::NS_E_STREAM_END),
        (_, _, "StartStriding") => Some(HResult::NS_E_STRIDE_REFUSED),
        _ => hr.map(|_| HResult::S_OK),
    };
    assert_eq!(hr, wanted, "{cell}");
}

#[test]
fn while_a_channel_is_looked_up_requests_wait() {
    for (name, _) in TABLE {
        let mut server = Server::at("opening");
        let said = server.send(message(name));
        let expected: &[&str] = match *name {
            "CloseFile" => &["Close"],
            "Logging" => &["ClientLog"],
            _ => &[],
        };
        assert_eq!(outline(&said), expected, "{name}");
    }
    let mut server = Server::at("opening");
    server.send(read_block(2));
    server.send(start(4));
    let said = server.input(Input::Opened(Ok(channel())));
    let expected = [
        "REPORT_OPEN_FILE",
        "REPORT_READ_BLOCK",
        "DATA 0C",
        "REPORT_STARTED_PLAYING",
        "Play",
    ];
    assert_eq!(
        outline(&said),
        expected,
        "answered in order once the channel is there"
    );
}

#[test]
fn three_requests_out_of_order_are_too_many() {
    for (state, ends) in [
        ("connected", "closed"),
        ("open", "ending"),
        ("streaming", "ending"),
    ] {
        let mut server = Server::at(state);
        for _ in 0..2 {
            server.send(SecurityResponse::default());
            assert_eq!(server.session.state_name(), state);
        }
        let said = server.send(SecurityResponse::default());
        assert_eq!(server.session.state_name(), ends, "{:?}", outline(&said));
        match ends {
            "closed" => assert_eq!(closed(&said), Some(HResult::NS_E_INVALID_REQUEST)),
            _ => assert_eq!(
                outline(&said).last().map(String::as_str),
                Some("REPORT_END_OF_STREAM")
            ),
        }
    }
}

#[test]
fn mistakes_are_counted_over_the_whole_session() {
    let mut server = Server::at("connected");
    server.send(open("too early"));
    server.send(funnel(r"\\1\TCP\1"));
    server.send(open("live"));
    server.send(SecurityResponse::default());
    let said = server.send(SecurityResponse::default());
    assert!(outline(&said).contains(&"REPORT_END_OF_STREAM".to_owned()));
}

#[test]
fn a_damaged_request_is_answered_as_such() {
    let mut server = Server::at("open");
    // StartPlaying with 8 bytes of body instead of 32
    let mut bytes = encode(stop(10), 0);
    bytes[36..40].copy_from_slice(&Mid::START_PLAYING.0.to_le_bytes());
    let said = server.input(Input::Received(&bytes));
    assert_eq!(
        messages(&said)[0].hr(),
        Some(HResult::NS_E_BAD_CONTROL_DATA)
    );
    assert_eq!(outline(&said), ["REPORT_STARTED_PLAYING"]);
    assert_eq!(server.session.state_name(), "open");
}

#[test]
fn after_the_close_nothing_is_said() {
    let mut server = Server::at("streaming");
    assert_eq!(
        closed(&server.send(CloseFile::default())),
        Some(HResult::S_OK)
    );
    for (name, _) in TABLE {
        assert_eq!(server.send(message(name)), [], "{name}");
    }
    for input in [
        Input::Shutdown,
        Input::MediaDrained,
        Input::Timeout,
        Input::Kick(HResult::NS_E_SHUTDOWN),
    ] {
        assert_eq!(server.input(input), []);
    }
    assert_eq!(
        server.input(Input::Received(b"garbage that is not MMS")),
        []
    );
    assert_eq!(server.wake_at, None);
}

#[test]
fn cancel_read_block_drops_the_header_that_was_not_sent() {
    let mut server = Server::at("open");
    let requests = [
        encode(read_block(2), 0),
        encode(CancelReadBlock::default(), 1),
        encode(start(4), 2),
    ];
    for request in requests {
        server
            .session
            .handle_input(server.now, Input::Received(&request))
            .unwrap();
    }
    assert_eq!(
        outline(&server.drain()),
        ["REPORT_READ_BLOCK", "REPORT_STARTED_PLAYING", "Play"]
    );
}

#[test]
fn a_path_is_bounded_and_a_token_is_ignored() {
    let mut server = Server::at("funnel");
    let said = server.send(open(&"x".repeat(2049)));
    assert_eq!(messages(&said)[0].hr(), Some(HResult::E_INVALIDARG));
    assert_eq!(
        (outline(&said).len(), server.session.state_name()),
        (1, "funnel")
    );
    let said = server.send(open(&"x".repeat(2048)));
    assert_eq!(outline(&said), ["Open", "REPORT_OPEN_FILE"]);
    let mut server = Server::at("funnel");
    let token = b"dXNlcjpwYXNz\0".to_vec();
    let said = server.send(OpenFile {
        file_name: "live".into(),
        token,
        ..OpenFile::default()
    });
    let Some(Event::Open(request)) = events(&said).first().copied() else {
        panic!("{said:?}")
    };
    assert_eq!(request.names, ["live"]);
}

#[test]
fn content_that_mms_cannot_carry_is_refused() {
    let contents = [
        Opened {
            header: [].into(),
            ..channel()
        },
        Opened {
            header: vec![1; 65_537].into(),
            ..channel()
        },
        Opened {
            packet_bytes: 0,
            ..channel()
        },
        Opened {
            packet_bytes: 32_769,
            ..channel()
        }, // could imitate a message (section 2.5)
    ];
    for content in contents {
        let mut server = Server::at("funnel");
        server.channel = Some(Ok(content));
        let said = server.send(open("live"));
        assert_eq!(messages(&said)[0].hr(), Some(HResult::E_UNEXPECTED));
        assert_eq!(server.session.state_name(), "refused");
    }
}

#[test]
fn a_new_connect_starts_anew_with_a_new_handshake() {
    let mut server = Server::at("streaming");
    server.wait(std::time::Duration::from_secs(25));
    let said = server.send(connect("NSPlayer/9.0.0.2980; {X}"));
    assert_eq!(outline(&said), ["StopMedia", "REPORT_CONNECTED"]);
    server.wait(std::time::Duration::from_secs(25));
    for message in [funnel(r"\\1\TCP\1"), open("live"), read_block(2), start(4)] {
        server.send(message);
    }
    assert_eq!(server.session.state_name(), "streaming");
}

#[test]
fn the_open_request_carries_names_query_and_host() {
    let mut server = Server::new();
    server.send(connect("NSPlayer/9.0.0.2980; {X}; Host: radio.example"));
    server.send(funnel(r"\\1\TCP\1"));
    let said = server.send(open("/a%20b?WMBitrate=5"));
    let Some(Event::Open(request)) = events(&said).first().copied() else {
        panic!("{said:?}")
    };
    assert_eq!(request.names, ["a%20b?WMBitrate=5", "a%20b", "a b"]);
    assert_eq!(
        (request.query.as_deref(), request.host.as_deref()),
        (Some("WMBitrate=5"), Some("radio.example"))
    );
    assert_eq!(request.raw, "/a%20b?WMBitrate=5");
}
