//! What is the engine's own about viewers over HTTP: logs they share, orders from other connections, connections that are
//! handed over.

mod common;

use std::time::Duration;

use common::{Desk, sum};
use funnel_channel::{Air, Start};
use funnel_engine::{Action, Key, Reason, Report, Tuning};
use funnel_session::client::Manner;
use funnel_session::server::{Desk as Whom, Order};
use funnel_session::{Selection, Thinning};
use funnel_sim::{Cue, Plan, Reel, Schedule, Speech, World, WorldConfig, verdict};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn viewers_with_equal_heads_share_one_log_and_a_train_is_one_piece() {
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    for speech in [Speech::Wmsp, Speech::Wmsp9, Speech::Wmsp, Speech::Plain] {
        desk.join_over_http(speech);
    }
    desk.join(Manner::FFMPEG);
    desk.run(SECOND * 10);
    assert_eq!(
        desk.engine.feeds_count(),
        2,
        "the channel's, and one with heads"
    );
    let mut pieces_max = [0; 5];
    desk.run_with(SECOND * 2, |id, pieces| {
        pieces_max[id] = pieces.len().max(pieces_max[id]);
        sum(pieces)
    });
    let [framed @ .., plain, mms] = pieces_max;
    // Two where a segment ends, and one more where a clean point has a form for joiners.
    assert!(framed.iter().all(|most| *most <= 3), "{framed:?}");
    // Between some of this file's full packets lie forms without padding.
    assert!(plain < 10, "{plain}");
    assert!(mms > 40, "a head and a body each: {mms}");
    desk.assert_no_faults();
    for id in 0..3 {
        desk.engine
            .hung_up(desk.players[id].key.expect("connected"), 0);
    }
    desk.run(SECOND);
    assert_eq!(desk.engine.feeds_count(), 1);
}

/// A request on a connection of its own, and what is answered.
fn ask(desk: &mut Desk, request: &str) -> (Key, String) {
    let peer = "192.0.2.9:999".parse().expect("an address");
    let key = desk.engine.accept(desk.now, peer, 11).expect("room");
    desk.engine.received(desk.now, key, request.as_bytes());
    (key, answer(desk, key))
}

/// What the engine sends to a connection that is no player of the desk's.
fn answer(desk: &mut Desk, key: Key) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut sent = Vec::new();
        let (guards, sends, _) = desk.engine.begin(desk.now);
        sends.fill(&guards, &mut desk.arena, |send| {
            if send.key == key {
                bytes.extend(send.pieces.concat());
            }
            sent.push((send.key, sum(send.pieces) as i32));
        });
        let spare = guards.release();
        desk.engine.end(spare);
        if sent.is_empty() {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        for (key, result) in sent {
            desk.engine.sent(desk.now, key, result);
        }
    }
}

fn client_id(answer: &str) -> u32 {
    let (_, rest) = answer.split_once("client-id=").expect("an id");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

const PLAY: &str =
    "GET /live HTTP/1.0\r\nUser-Agent: NSPlayer/9.0.0.2980\r\nPragma: xPlayStrm=1\r\n\r\n";

#[test]
fn streams_are_chosen_on_another_connection() {
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    desk.run(SECOND * 2);
    let (viewer, answered) = ask(&mut desk, PLAY);
    assert!(answered.starts_with("HTTP/1.0 200"), "{answered}");
    let id = client_id(&answered);
    let select = format!(
        "POST /live HTTP/1.0\r\nUser-Agent: NSPlayer/9.0.0.2980\r\nPragma: client-id={id}\r\n\
         Pragma: stream-switch-count=1\r\nPragma: stream-switch-entry=ffff:1:2\r\nContent-Length: 0\r\n\r\n"
    );
    let (_, answered) = ask(&mut desk, &select);
    assert!(answered.starts_with("HTTP/1.0 200"), "{answered}");
    // The channel's log, that of the selection, and of both the ones with heads: until the old ones are left.
    assert_eq!(desk.engine.feeds_count(), 4);
    for _ in 0..60 {
        desk.now += Duration::from_millis(100);
        desk.source.step(desk.now);
        answer(&mut desk, viewer);
        desk.engine.actions();
    }
    assert_eq!(desk.engine.feeds_count(), 3);
    assert_eq!(desk.engine.counters().playing, 1);
}

#[test]
fn orders_for_another_shard_are_forwarded_and_those_for_nobody_passed_over() {
    let mut desk = Desk::of_shard("live-pipe.asf", (1, 4));
    desk.run(SECOND);
    let (viewer, _) = ask(&mut desk, PLAY);
    let connection = 11 & !3 | 1;
    let order = Order::Select(only_stream_2());
    desk.engine.order(desk.now, connection, order);
    assert_eq!(desk.engine.feeds_count(), 4);
    desk.engine.order(desk.now, connection + 4, order);
    desk.engine.hung_up(viewer, 0);
    desk.engine.order(desk.now, connection, order);
    answer(&mut desk, viewer);
    assert_eq!(desk.engine.feeds_count(), 0);
}

fn only_stream_2() -> Selection {
    let mut selection = Selection::ALL;
    selection.set(1, Thinning::Off);
    selection
}

#[test]
fn a_connection_is_handed_over_behind_its_answers_with_all_that_was_heard() {
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    desk.run(SECOND);
    let peer = "192.0.2.9:999".parse().expect("an address");
    let key = desk.engine.accept(desk.now, peer, 11).expect("room");
    let (first, second) = (
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /live HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    let both = [first, second].concat();
    desk.engine.received(desk.now, key, both.as_bytes());
    desk.engine.received(desk.now, key, b"media");
    let answered = answer(&mut desk, key);
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    let actions: Vec<Action> = desk.engine.actions().collect();
    let [Action::HandOver(whose, hand_over)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!((*whose, hand_over.to), (key, Whom::Ingest));
    assert_eq!(hand_over.received, [second.as_bytes(), b"media"].concat());
    assert!(desk.engine.is_empty());
    let handed_over =
        |report| matches!(report, Report::Left { reason, .. } if reason == Reason::HandedOver);
    assert_eq!(
        desk.engine
            .reports()
            .filter_map(|report| handed_over(report).then_some(()))
            .count(),
        1
    );
}

#[test]
fn a_different_header_is_followed_or_ends_the_answer() {
    let (first, second) = (
        Reel::load("live-pipe.asf", "first", 1),
        Reel::load("metadata-unicode.wmv", "second", 1),
    );
    let speeches = [Speech::Wmsp, Speech::Wmsp9, Speech::Chunked, Speech::Plain];
    let plans = speeches.into_iter().enumerate();
    let plans = plans.map(|(id, speech)| Plan::over_http(id, "live", speech));
    let cues = vec![
        (Duration::ZERO, Cue::Begin(first)),
        (SECOND * 12, Cue::Begin(second)),
        (SECOND * 30, Cue::Away(Air::Lost, SECOND * 60)),
    ];
    let schedule = Schedule::plain("live", Start::Always, cues);
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, Tuning::default())],
        plans.collect(),
        SECOND * 40,
    ));
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
    let book = world.book("live").expect("a channel");
    for player in &world.players {
        let speech = player.plan.speech;
        let runs = &player.tap.runs;
        // All of the old stretch came, to its last packet.
        assert_eq!(
            runs[0].packets.len(),
            book.stretches[0].packets.len(),
            "{speech:?}"
        );
        let goes_on = matches!(speech, Speech::Wmsp9 | Speech::Chunked);
        assert_eq!(runs.len(), if goes_on { 2 } else { 1 }, "{speech:?}");
        if goes_on {
            assert!(runs[1].packets.len() > 100, "{speech:?}");
        }
        assert!(player.server_closed_at.is_some(), "{speech:?}");
    }
}
