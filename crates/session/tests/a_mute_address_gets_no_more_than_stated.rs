//! Anybody can name a UDP port that nobody listens to. What goes there before the player has shown, on the control
//! connection, that it receives: one packet pair and nine headers, then refusals (sections 4.1, 4.5, 7.3).

mod common;

use std::time::Duration;

use common::*;
use funnel_session::server::{Event, Input, Opened, Session};
use funnel_wire::mms::*;
use proptest::prelude::*;

const HEADERS_MAX: usize = 9;
const HEADER_BYTES: usize = 4000;

/// Bytes on the way to an address that shows nothing: nine headers in fragments, two datagrams of a pair.
fn mute_bytes_max(header_bytes: usize) -> usize {
    let fragments = header_bytes.div_ceil(1444);
    HEADERS_MAX * (header_bytes + fragments * 8) + 2 * (1464 + 8)
}

fn content(header_bytes: usize) -> Opened {
    let mut header = vec![7; header_bytes];
    header[header_bytes - 2..].fill(1);
    Opened {
        header: header.into(),
        ..channel()
    }
}

/// A player over UDP with its channel open.
fn opened() -> Server {
    opened_with(HEADER_BYTES)
}

fn opened_with(header_bytes: usize) -> Server {
    let mut server = Server::at_udp("funnel");
    server.channel = Some(Ok(content(header_bytes)));
    server.send(open("live"));
    server
}

fn datagram_bytes(said: &[Said]) -> usize {
    said.iter()
        .map(|one| match one {
            Said::Datagram { payload, .. } => payload.len() + 8,
            _ => 0,
        })
        .sum()
}

#[test]
fn start_playing_before_the_last_fragment_went_out_is_out_of_order() {
    let mut server = opened();
    let said = server.send(start(10));
    assert_eq!(messages(&said)[0].hr(), Some(HResult::NS_E_INVALID_REQUEST));
    server.send(read_block(1));
    let said = server.send(start(10));
    assert_eq!(
        (outline(&said).len(), messages(&said)[0].hr()),
        (1, Some(HResult::NS_E_INVALID_REQUEST)),
        "one of three is out"
    );
    server.wait(Duration::from_secs(1));
    assert!(played(&server.send(start(10))).is_some());
}

#[test]
fn requests_sent_all_at_once_prove_nothing() {
    let mut server = opened();
    server.channel = Some(Ok(channel())); // its header is a single datagram
    let requests = [open("live"), read_block(1), switch(&[(1, 0)]), start(10)];
    let bytes: Vec<u8> = requests.map(|request| encode(request, 0)).concat();
    let said = server.input(Input::Received(&bytes));
    assert_eq!(played(&said), None);
    assert_eq!(server.session.state_name(), "ready");
    assert!(outline(&said).contains(&"DATAGRAM 0C".to_owned()));
    assert!(played(&server.send(start(10))).is_some(), "now it can know");
}

#[test]
fn a_stream_switch_is_proof_enough_to_ask_for_as_many_headers_as_it_likes() {
    let mut server = opened();
    server.send(read_block(1));
    server.wait(Duration::from_secs(1));
    server.send(switch(&[(1, 0)]));
    for _ in 0..30 {
        let mut said = server.send(read_block(1));
        said.extend(server.wait(Duration::from_secs(1)));
        assert_eq!(datagram_bytes(&said), HEADER_BYTES + 3 * 8);
    }
    assert!(played(&server.send(start(10))).is_some());
}

#[test]
fn a_fragment_lost_and_sent_again_does_not_lock_the_player_out() {
    let mut server = opened();
    server.send(read_block(1));
    server.wait(Duration::from_secs(1));
    server.send(cancel()); // its header timer
    server.send(read_block(2));
    let said = server.send(start(10)); // the first fragment was what it lacked
    assert!(played(&said).is_some());
    assert_eq!(
        server.wait(Duration::from_secs(9)),
        [],
        "the rest is not wanted"
    );
}

#[test]
fn after_nine_headers_a_mute_player_is_refused_and_let_go() {
    let mut server = opened();
    server.send(ask_pair(Incarnation::PACKET_PAIR_UDP));
    let mut bytes = 0;
    for _ in 0..HEADERS_MAX {
        let mut said = server.send(read_block(1));
        said.extend(server.wait(Duration::from_secs(1)));
        assert_eq!(messages(&said)[0].hr(), Some(HResult::S_OK));
        bytes += datagram_bytes(&said);
    }
    assert_eq!(bytes, mute_bytes_max(HEADER_BYTES), "so much and no more");
    for _ in 0..2 {
        let said = server.send(read_block(1));
        assert_eq!(outline(&said), ["REPORT_READ_BLOCK"]);
        assert_eq!(messages(&said)[0].hr(), Some(HResult::NS_E_UDP_DISABLED));
    }
    server.send(read_block(1));
    assert_eq!(server.session.state_name(), "ending");
    let said = server.wait(Duration::from_secs(3));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM", "Close"]);
}

#[test]
fn nine_headers_are_for_all_ports_together_and_tcp_is_still_there() {
    let mut server = opened();
    for turn in 0..HEADERS_MAX {
        server.send(funnel(&format!(r"\\1\UDP\{}", 7000 + turn)));
        assert_eq!(
            messages(&server.send(read_block(1)))[0].hr(),
            Some(HResult::S_OK)
        );
        if turn == 4 {
            server.send(connect("NSPlayer/9.0.0.2980; {X}"));
            server.send(funnel(UDP));
            server.send(open("live"));
        }
    }
    server.send(funnel(r"\\1\UDP\9000"));
    assert_eq!(
        messages(&server.send(read_block(1)))[0].hr(),
        Some(HResult::NS_E_UDP_DISABLED)
    );
    server.send(funnel(r"\\1\TCP\9000"));
    assert_eq!(
        outline(&server.send(read_block(1)))[..2],
        ["REPORT_READ_BLOCK", "DATA 04"]
    );
    assert!(played(&server.send(start(4))).is_some());
}

#[test]
fn another_port_has_shown_nothing() {
    let mut server = Server::at_udp("streaming");
    server.send(stop(10));
    server.send(funnel(r"\\1\UDP\7001"));
    let said = server.send(start(11));
    assert_eq!(messages(&said)[0].hr(), Some(HResult::NS_E_INVALID_REQUEST));
    server.send(read_block(2));
    assert!(played(&server.send(start(11))).is_some());
}

#[test]
fn a_player_whose_datagrams_are_blocked_is_gone_in_a_minute() {
    // as Windows Media Player: the header timer, four retries, then silence; its roll-over opens another connection
    let mut server = opened();
    for tag in 1..=5 {
        assert_eq!(
            messages(&server.send(read_block(tag)))[0].hr(),
            Some(HResult::S_OK)
        );
        server.wait(Duration::from_secs(2));
        server.send(cancel());
    }
    let said = server.wait(Duration::from_secs(62));
    assert_eq!(outline(&said), ["REPORT_END_OF_STREAM", "Close"]);
}

#[test]
fn over_udp_a_session_is_no_larger() {
    assert!(size_of::<Session>() <= 700);
}

/// What somebody may do to make a server send.
#[derive(Clone, Debug)]
enum Move {
    Connect,
    AskPair,
    Funnel(u16),
    Tcp,
    Open,
    Read(u32),
    Cancel,
    Switch,
    Start,
    Stop,
    Wait(u64),
    Changed,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => Just(Move::Connect),
        2 => Just(Move::AskPair),
        2 => (7000u16..7003).prop_map(Move::Funnel),
        1 => Just(Move::Tcp),
        2 => Just(Move::Open),
        12 => (1u32..9).prop_map(Move::Read),
        1 => Just(Move::Cancel),
        1 => Just(Move::Switch),
        1 => Just(Move::Start),
        1 => Just(Move::Stop),
        6 => (1u64..400).prop_map(Move::Wait),
        1 => Just(Move::Changed),
    ]
}

/// Knows only what went over the wire.
#[derive(Default)]
struct Witness {
    over_udp: bool,
    header_out: bool,
    proven: bool,
    mute_bytes: usize,
    mute_bytes_max: usize,
}

impl Witness {
    fn request(&mut self, request: &ViewerMessage) {
        let tells = matches!(
            request,
            ViewerMessage::StreamSwitch(_) | ViewerMessage::StartPlaying(_)
        );
        if tells && self.over_udp && self.header_out {
            self.proven = true;
            self.mute_bytes = 0;
        }
    }

    fn answers(&mut self, said: &[Said]) {
        for one in said {
            match one {
                Said::Event(Event::Transport(transport)) => {
                    self.over_udp = *transport != Transport::Tcp;
                    (self.header_out, self.proven) = (false, false);
                }
                Said::Datagram { head, payload } => {
                    assert!(self.over_udp);
                    assert!(payload.len() <= 1464);
                    self.header_out |= head.af_flags == 0x0C;
                    if !self.proven {
                        self.mute_bytes += payload.len() + 8;
                    }
                }
                Said::Event(Event::Play(_)) => {
                    assert!(self.proven || !self.over_udp, "media without proof");
                }
                _ => {}
            }
        }
        assert!(
            self.mute_bytes <= self.mute_bytes_max,
            "{}",
            self.mute_bytes
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn whatever_a_player_does(
        moves in prop::collection::vec((a_move(), any::<bool>()), 1..90),
        shows_itself in any::<bool>(),
        header_bytes in prop_oneof![Just(1000usize), Just(4000)],
    ) {
        let mut server = opened_with(header_bytes);
        let mut witness = Witness {
            over_udp: true,
            mute_bytes_max: mute_bytes_max(header_bytes),
            ..Witness::default()
        };
        let mut together = Vec::new();
        for (step, goes_on) in moves {
            let request: ViewerMessage = match step {
                Move::Connect => connect("NSPlayer/9.0.0.2980; {X}"),
                Move::AskPair => ask_pair(Incarnation::PACKET_PAIR_UDP),
                Move::Funnel(port) => funnel(&format!(r"\\1\UDP\{port}")),
                Move::Tcp => funnel(r"\\1\TCP\1"),
                Move::Open => open("live"),
                Move::Read(tag) => read_block(tag),
                Move::Cancel => cancel(),
                Move::Switch | Move::Start if !shows_itself => continue,
                Move::Switch => switch(&[(1, 0)]),
                Move::Start => start(10),
                Move::Stop => stop(10),
                Move::Wait(time) => {
                    witness.answers(&server.wait(Duration::from_millis(time)));
                    continue;
                }
                Move::Changed => {
                    witness.answers(&server.input(Input::HeaderChanged(content(header_bytes))));
                    continue;
                }
            };
            let elsewhere =
                matches!(request, ViewerMessage::Connect(_) | ViewerMessage::ConnectFunnel(_));
            together.push(request);
            if goes_on && !elsewhere && together.len() < 8 {
                continue; // the next request comes in the same segment
            }
            let mut bytes = Vec::new();
            for request in together.drain(..) {
                witness.request(&request);
                bytes.extend(encode(request, 0));
            }
            let said = server.input(Input::Received(&bytes));
            witness.answers(&said);
            if closed(&said).is_some() {
                break;
            }
        }
    }
}
