//! Timers of section 7.3 in virtual time: slow handshakes, idle players, dead ones, and those that only look dead.

mod common;

use std::time::Duration;

use common::*;
use funnel_session::server::Input;
use funnel_wire::mms::*;

const HOUR: Duration = Duration::from_secs(3600);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_the_handshake_time() {
    for state in ["new", "connected", "funnel"] {
        let mut server = Server::at(state);
        assert_eq!(server.wait(secs(29)), []);
        assert_eq!(
            closed(&server.wait(secs(1))),
            Some(HResult::NS_E_TIMEOUT),
            "{state}"
        );
    }
}

#[test]
fn a_byte_a_second_does_not_hold_a_connection() {
    let bytes = encode(
        connect("NSPlayer/9.0.0.2980; {3300AD50-2C39-46C0-AE0A-0123456789AB}; Host: h"),
        0,
    );
    let mut server = Server::new();
    for byte in &bytes[..30] {
        assert_eq!(server.input(Input::Received(&[*byte])), []);
        let said = server.wait(secs(1));
        if closed(&said).is_some() {
            return;
        }
    }
    assert_eq!(server.session.state_name(), "closed");
}

#[test]
fn a_player_that_never_asks_for_the_header_gets_end_of_stream_and_a_close() {
    let mut server = Server::at("open");
    let said = server.wait(secs(60));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM", "Close"]);
    assert_eq!(closed(&said), Some(HResult::NS_E_TIMEOUT));
}

#[test]
fn a_ready_player_may_idle_for_a_minute() {
    let mut server = Server::at("ready");
    assert_eq!(server.wait(secs(59)), []);
    assert_eq!(
        outline(&server.wait(secs(3))),
        ["REPORT_END_OF_STREAM", "Close"]
    );
}

#[test]
fn vlc_may_pause_for_hours_because_its_pongs_are_signs_of_life() {
    let mut server = Server::at("streaming");
    server.send(stop(0x001F_FFFF));
    for _ in 0..360 * 3 {
        assert_eq!(server.wait(secs(10)), []);
        assert_eq!(server.send(Pong::default()), []);
    }
    server.send(stop(0x001F_FFFF));
    assert!(played(&server.send(start(4))).is_some());
}

#[test]
fn bytes_without_a_whole_message_do_not_keep_a_ready_player() {
    let mut server = Server::at("ready");
    let bytes = encode(open("x"), 0);
    for byte in bytes.iter().take(61) {
        server.input(Input::Received(&[*byte]));
        server.wait(secs(1));
    }
    assert_ne!(server.session.state_name(), "ready");
}

#[test]
fn three_unanswered_pings_without_progress_are_death() {
    let mut server = Server::at("streaming");
    let said = server.wait(secs(119));
    assert_eq!(outline(&said), ["PING", "PING", "PING"]);
    let said = server.wait(secs(3));
    assert_eq!(
        outline(&said),
        ["StopMedia", "REPORT_END_OF_STREAM", "Close"]
    );
    assert_eq!(closed(&said), Some(HResult::NS_E_TIMEOUT));
}

#[test]
fn a_player_that_takes_media_lives_without_pongs() {
    let mut server = Server::at("streaming");
    for _ in 0..120 {
        let now = server.now;
        server.session.note_progress(now);
        assert!(
            outline(&server.wait(secs(30)))
                .iter()
                .all(|said| said == "PING")
        );
    }
    assert_eq!(server.session.state_name(), "streaming");
    let said = server.wait(secs(130));
    assert!(
        closed(&said).is_some(),
        "once it takes none: {:?}",
        outline(&said)
    );
}

#[test]
fn any_byte_counts_as_an_answer() {
    let mut server = Server::at("streaming");
    let pong = encode(Pong::default(), 0);
    for byte in pong.iter().cycle().take(480) {
        server.wait(secs(20));
        server.input(Input::Received(&[*byte]));
    }
    assert_eq!(server.session.state_name(), "streaming");
    assert_eq!(server.packets_sent, 5, "nothing to ping for");
}

#[test]
fn an_open_that_takes_long_is_the_owners_business() {
    let mut server = Server::at("opening");
    assert_eq!(server.wait(HOUR), []);
    assert_eq!(
        outline(&server.input(Input::Opened(Ok(channel())))),
        ["REPORT_OPEN_FILE"]
    );
    assert_eq!(
        server.wait(secs(29)),
        [],
        "and the handshake goes on from there"
    );
}

#[test]
fn opening_again_and_again_does_not_hold_a_connection() {
    let mut server = Server::at("open");
    for _ in 0..60 {
        let said = server.wait(secs(5));
        if closed(&said).is_some() {
            return;
        }
        server.send(open("live"));
        server.input(Input::Opened(Ok(channel())));
    }
    panic!("still {} after five minutes", server.session.state_name());
}

#[test]
fn a_refused_player_has_a_second_to_hear_the_refusal_again() {
    let mut server = Server::at("refused");
    let said = server.send(read_block(2));
    assert_eq!(messages(&said)[0].hr(), Some(HResult::NS_E_FILE_NOT_FOUND));
    assert_eq!(outline(&said), ["REPORT_READ_BLOCK"]);
    assert_eq!(server.wait(Duration::from_millis(900)), []);
    assert_eq!(
        closed(&server.wait(Duration::from_millis(200))),
        Some(HResult::NS_E_FILE_NOT_FOUND)
    );
}

#[test]
fn a_shutdown_is_told_in_every_state() {
    for state in ["connected", "funnel"] {
        let mut server = Server::at(state);
        assert_eq!(
            server.input(Input::Shutdown),
            [],
            "nothing unsolicited in the handshake"
        );
        let said = server.send(if state == "funnel" {
            open("x")
        } else {
            funnel(r"\\1\TCP\1")
        });
        assert_eq!(
            messages(&said)[0].hr(),
            Some(HResult::NS_E_NO_NEW_CONNECTIONS),
            "{state}"
        );
        assert!(closed(&server.wait(secs(1))).is_some());
    }
    for state in ["open", "ready"] {
        let mut server = Server::at(state);
        let said = server.input(Input::Shutdown);
        let end = ReportEndOfStream {
            hr: HResult::NS_E_SHUTDOWN,
            play_incarnation: Incarnation(0),
        };
        assert_eq!(said, [Said::Message(end.into())], "{state}");
    }
    let mut server = Server::at("opening");
    let said = server.input(Input::Shutdown);
    assert_eq!(
        messages(&said)[0].hr(),
        Some(HResult::NS_E_NO_NEW_CONNECTIONS)
    );
    assert_eq!(outline(&said), ["REPORT_OPEN_FILE"]);
    assert_eq!(
        server.input(Input::Opened(Ok(channel()))),
        [],
        "the late answer changes nothing"
    );
    let mut server = Server::at("new");
    assert_eq!(outline(&server.input(Input::Shutdown)), ["Close"]);
}
