//! What comes together in one turn of the ring: places given again at once, requests without end, the end of the media
//! with a message in the queue.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use funnel_channel::{Air, Channel, ChannelOptions, EpochSpec, LogConfig, Start};
use funnel_engine::{
    Admission, AdmissionLimits, Engine, EngineConfig, Found, Served, Tuning, UdpLimits,
};
use funnel_session::server::Settings;

use common::{Desk, sum};
use funnel_engine::Report;
use funnel_session::client::Manner;
use funnel_sim::{Plan, Player, Step};

const TRAIN: Duration = Duration::from_millis(200);

#[test]
fn a_place_given_again_at_once_is_visited_once() {
    let mut desk = Desk::new("tiny-audio.asf", 1, TRAIN);
    desk.join(Manner::FFMPEG);
    desk.run(Duration::from_secs(1));
    // Between two turns: the viewer says something and leaves, another comes to its place and speaks.
    let stop = desk.players[0].step(desk.now, &Step::Stop);
    desk.say(0, stop.sends);
    let old = desk.players[0].key.expect("connected");
    desk.engine.hung_up(old, 0);
    let peer = SocketAddr::from(([192, 0, 2, 2], 9));
    let key = desk.engine.accept(desk.now, peer, 7).expect("room");
    assert_eq!((key.index, key.generation), (old.index, old.generation + 1));
    let mut player = Player::new(Plan::plain(0, "live", Manner::VLC), 2, desk.now);
    player.key = Some(key);
    let connect = player.connect(desk.now);
    desk.players[0] = player;
    desk.engine.actions();
    desk.say(0, connect.sends);
    let mut sends = 0;
    desk.turn(|_, pieces| {
        sends += 1;
        sum(pieces)
    });
    assert_eq!(sends, 1, "one send in flight per socket");
    desk.engine.sent(desk.now, old, 5); // an answer that was late: nobody's
    desk.run(Duration::from_secs(2));
    desk.assert_no_faults();
    assert!(desk.players[0].tap.packets() > 20);
}

/// Counted as far as the engine lets it come.
#[test]
fn who_asks_without_end_and_takes_nothing_is_closed() {
    let mut desk = Desk::new("tiny-audio.asf", 1, TRAIN);
    desk.join(Manner::FFMPEG);
    desk.run(Duration::from_secs(1));
    let key = desk.players[0].key.expect("connected");
    let mut most = 0;
    let mut left = false;
    for _ in 0..20_000 {
        let stop = desk.players[0].step(desk.now, &Step::Stop);
        let play = desk.players[0].step(desk.now, &Step::Play);
        for message in stop.sends.iter().chain(&play.sends) {
            desk.engine.received(desk.now, key, message);
        }
        most = most.max(desk.engine.queued_bytes());
        desk.engine.actions();
        left |= desk
            .engine
            .reports()
            .any(|report| matches!(report, Report::Left { .. }));
        if left {
            break;
        }
    }
    assert!(left, "{most} bytes wait");
    assert!(most < 300 << 10, "{most} bytes");
    assert_eq!(desk.engine.counters().faults, 1);
}

/// The end of the media must not wait for the next timer when a message stood in the queue as it came.
#[test]
fn the_end_comes_at_once_behind_a_message() {
    let mut desk = Desk::new("tiny-audio.asf", 1, Duration::from_secs(2));
    desk.join(Manner::WINDOWS_MEDIA_9);
    desk.run(Duration::from_secs(5));
    desk.source.finish();
    // Visited with the log at its end, and a request in the same turn.
    let mut sends = 0;
    while sends == 0 {
        desk.now += Duration::from_millis(5);
        sends = desk.turn(|_, pieces| sum(pieces));
    }
    let select = desk.players[0].step(desk.now, &Step::Select(funnel_session::Selection::ALL));
    desk.say(0, select.sends);
    desk.run(Duration::from_millis(100));
    assert!(desk.players[0].tap.ended.is_some());
}

#[test]
fn a_play_lost_on_a_show_that_was_just_ending_is_made_again() {
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    desk.run(Duration::from_secs(1));
    let aired = desk.source.channel.snapshot().epoch.expect("on air");
    let options = ChannelOptions {
        start: Start::FirstViewer,
        readers_max: 4,
    };
    let channel = Channel::new("show", options);
    let spec = EpochSpec {
        header: Arc::clone(&aired.header),
        packet_bytes: aired.packet_bytes,
        bit_rate: aired.bit_rate,
        streams: aired.streams,
        log: LogConfig {
            packet_bytes: 0,
            retain: Duration::from_secs(30),
            bytes_max: 1 << 20,
            readers_max: 0,
            first_seq: 0,
        },
    };
    drop(channel.announce(spec).expect("a log"));
    channel.set_air(Air::OnAir);
    let served = Served {
        channel: Arc::clone(&channel),
        tuning: Tuning::default(),
    };
    let config = EngineConfig {
        settings: Arc::new(Settings::default()),
        admission: Arc::new(Admission::new(AdmissionLimits::default())),
        lookup: Box::new(move |_| Some(Found::Channel(served.clone()))),
        viewers_max: 16,
        selections_max: 16,
        sends_max: 16,
        visit_bytes_max: 256 << 10,
        shard: 0,
        shards: 1,
        udp: UdpLimits::default(),
    };
    desk.engine = Engine::new(config, desk.now);
    desk.join(Manner::LIBMMS);
    desk.run(Duration::from_millis(500));
    assert_eq!(channel.demand().plays, 1, "it plays a log that has ended");
    desk.run(Duration::from_secs(1));
    assert_eq!(channel.demand().plays, 2, "and asks for the show once more");
    assert_eq!(channel.demand().viewers, 1);
}
