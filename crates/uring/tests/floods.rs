//! What strangers send costs no more than was set aside for it: buffers that come back slowly, a filter in the kernel.

mod harness;

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use funnel_uring::{
    File, RingConfig,
    net::{DatagramOptions, Filter, datagram_socket, datagrams_dropped},
};
use harness::{SMALL, Shard, Told};
use socket2::Socket;

const REST: Duration = Duration::from_millis(20);
const SLOW: RingConfig = RingConfig {
    datagram_buffers: 16,
    datagram_rest: REST,
    ..SMALL
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A receiving file of the shard's, its socket as it was, and a stranger connected to it.
fn victim(shard: &mut Shard, options: &DatagramOptions) -> (File, Socket, UdpSocket) {
    let socket = datagram_socket(ANY_PORT, options).unwrap();
    let kept = socket.try_clone().unwrap();
    let file = shard.ring.open_datagrams(socket).unwrap();
    shard.ring.ops().receive_datagrams(file, 1);
    shard.turn(Duration::ZERO);
    let stranger = UdpSocket::bind(ANY_PORT).unwrap();
    let address = kept.local_addr().unwrap().as_socket().unwrap();
    stranger.connect(address).unwrap();
    (file, kept, stranger)
}

fn datagrams(told: &[Told]) -> usize {
    let is_it = |told: &&Told| matches!(told, Told::Datagram(..));
    told.iter().filter(is_it).count()
}

#[test]
fn a_flood_is_heard_by_the_pool_and_nobody_else_waits() {
    let mut shard = Shard::new(SLOW);
    let (mut player, player_file) = shard.pair();
    shard.ring.ops().receive(player_file, 9);
    let (_, kept, stranger) = victim(&mut shard, &DatagramOptions::default());
    let begun = Instant::now();
    let (mut sent, mut words) = (0, 0);
    while begun.elapsed() < 10 * REST || words < 20 {
        for _ in 0..100 {
            sent += stranger.send(b"and again, and again").map_or(0, |_| 1);
        }
        player.write_all(b"!").unwrap();
        words += 1;
        shard.turn(Duration::ZERO);
        shard.until("the player's word", |shard| {
            shard.received(9).len() == words
        });
    }
    let rests = begun.elapsed().as_millis() / REST.as_millis();
    let heard = datagrams(&shard.told);
    let most = 16 * (rests as usize + 2);
    assert!(heard <= most, "{heard} heard, at most {most} paid for");
    assert!(heard >= 16 * 5, "{heard} heard: one pool a rest");

    // When the flood is over, what the socket's buffer held comes too, and all the rest was counted.
    let everything = |shard: &mut Shard| {
        let dropped = datagrams_dropped(&kept).unwrap();
        datagrams(&shard.told) as u64 + dropped == sent
    };
    shard.until("everything", everything);
    assert!(datagrams_dropped(&kept).unwrap() > 0);
}

#[test]
fn what_trickles_is_counted_too() {
    let mut shard = Shard::without_listener(RingConfig {
        datagram_rest: Duration::from_secs(60),
        ..SLOW
    });
    let (_, _kept, stranger) = victim(&mut shard, &DatagramOptions::default());
    for _ in 0..100 {
        stranger.send(b"drop by drop").unwrap();
        shard.turn(Duration::from_millis(1));
    }
    // The first went back at once, as the pool had rested before.
    let heard = shard.told.len();
    assert!((17..=20).contains(&heard), "{heard}");
}

#[test]
fn a_rest_is_slept_through() {
    let mut shard = Shard::without_listener(SLOW);
    let (file, _kept, stranger) = victim(&mut shard, &DatagramOptions::default());
    for _ in 0..160 {
        stranger.send(b"here").unwrap();
    }
    shard.until("the first pool", |shard| shard.told.len() >= 16);
    // The receive rests now; asked again it has another token.
    shard.until("the end of it", |shard| {
        shard.ring.stats().datagrams_starved > 0
    });
    let before = shard.told.len();
    shard.ring.ops().receive_datagrams(file, 2);
    let begun = Instant::now();
    let enters = shard.ring.stats().enters;
    while shard.told.len() < 160 {
        // Nothing else ends the wait.
        shard.turn(Duration::from_secs(10));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(begun.elapsed() >= 5 * REST, "{:?}", begun.elapsed());
    let enters = shard.ring.stats().enters - enters;
    assert!(enters <= 160 + 4 * 10, "{enters} enters");
    let tokens = shard.told.iter().map(|told| match told {
        Told::Datagram(token, ..) => *token,
        other => panic!("{other:?}"),
    });
    let tokens: Vec<u64> = tokens.collect();
    assert!(tokens[..before].iter().all(|&token| token == 1));
    assert!(tokens[before..].iter().all(|&token| token == 2));
}

#[test]
fn without_a_rest_everything_is_heard() {
    let mut shard = Shard::without_listener(RingConfig {
        datagram_rest: Duration::ZERO,
        ..SLOW
    });
    let options = DatagramOptions {
        receive_buffer_bytes: Some(200_000),
        ..DatagramOptions::default()
    };
    let (_, kept, stranger) = victim(&mut shard, &options);
    for _ in 0..200 {
        stranger.send(b"here").unwrap();
    }
    shard.until("everything", |shard| shard.told.len() == 200);
    assert_eq!(datagrams_dropped(&kept).unwrap(), 0);
}

#[test]
fn the_filter_lets_resend_requests_in_and_nothing_else() {
    let mut shard = Shard::without_listener(SMALL);
    let options = DatagramOptions {
        filter: Some(Filter::resend_requests()),
        ..DatagramOptions::default()
    };
    let (_, kept, stranger) = victim(&mut shard, &options);
    let datagram = |signature: [u8; 4], bytes: usize| {
        let mut datagram = vec![0xFF; bytes];
        datagram[..4].copy_from_slice(&signature);
        datagram
    };
    const SIGNATURE: [u8; 4] = [0x0D, 0xF0, 0xEF, 0xBE];
    let garbage = [
        vec![],
        SIGNATURE.to_vec(),
        datagram(SIGNATURE, 15),
        datagram(SIGNATURE, 141),
        datagram(SIGNATURE, 60_000),
        datagram([0xBE, 0xEF, 0xF0, 0x0D], 16),
        datagram([0x0D, 0xF0, 0xEF, 0xBF], 140),
    ];
    let good = [16, 20, 140].map(|bytes| datagram(SIGNATURE, bytes));
    garbage.iter().chain(&good).for_each(|datagram| {
        stranger.send(datagram).unwrap();
    });
    shard.until("the good", |shard| shard.told.len() >= good.len());
    let from = stranger.local_addr().unwrap();
    let wanted = good.map(|datagram| Told::Datagram(1, from, datagram));
    assert_eq!(shard.told, wanted);
    assert_eq!(datagrams_dropped(&kept).unwrap(), garbage.len() as u64);
}

#[test]
fn what_is_too_large_is_counted_and_not_told() {
    let mut shard = Shard::without_listener(SMALL);
    let (_, _kept, stranger) = victim(&mut shard, &DatagramOptions::default());
    for bytes in [257, 256, 60_000, 1] {
        stranger.send(&vec![0; bytes]).unwrap();
    }
    shard.until("two", |shard| shard.told.len() == 2);
    let from = stranger.local_addr().unwrap();
    let wanted = [256, 1].map(|bytes| Told::Datagram(1, from, vec![0; bytes]));
    assert_eq!(shard.told, wanted);
    assert_eq!(shard.ring.stats().datagrams_truncated, 2);
}

#[test]
fn a_refusal_of_what_was_sent_does_not_deafen() {
    for rest in [Duration::ZERO, REST] {
        let mut shard = Shard::without_listener(RingConfig {
            datagram_rest: rest,
            ..SMALL
        });
        let closed = UdpSocket::bind(ANY_PORT).unwrap().local_addr().unwrap();
        let socket = datagram_socket(ANY_PORT, &DatagramOptions::default()).unwrap();
        // Only a connected socket is told.
        socket.connect(&closed.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let file = shard.ring.open_datagrams(socket).unwrap();
        shard.ring.ops().receive_datagrams(file, 1);
        shard.turn(Duration::ZERO);
        for _ in 0..3 {
            shard.send_one(file, b"anybody there?");
            shard.turn(Duration::from_millis(1));
        }
        let opened = UdpSocket::bind(closed).unwrap();
        opened.send_to(b"now I am", address).unwrap();
        let word = Told::Datagram(1, closed, b"now I am".to_vec());
        shard.until("the answer", |shard| shard.told == [word.clone()]);
    }
}
