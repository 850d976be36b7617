//! Connections come, speak and are answered.

mod harness;

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use funnel_uring::{
    Completion, PIECES_MAX, RingConfig,
    net::{ListenOptions, listener},
};
use harness::{LISTENER, SMALL, Shard, Told, pattern};

#[test]
fn five_hundred_players_are_echoed() {
    const PLAYERS: usize = 500;
    let mut shard = Shard::new(RingConfig {
        files: 600,
        ..SMALL
    });
    let mut clients: Vec<TcpStream> = (0..PLAYERS).map(|_| shard.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        write!(client, "player {index:04}").unwrap();
    }
    let mut files = Vec::new();
    let mut peers = Vec::new();
    while files.len() < PLAYERS {
        let file = shard.accepted();
        shard.ring.ops().receive(file, files.len() as u64);
        files.push(file);
        let news = shard
            .told
            .extract_if(.., |told| matches!(told, Told::Accepted(..)))
            .collect::<Vec<_>>();
        for told in news {
            if let Told::Accepted(file, peer) = told {
                shard.ring.ops().receive(file, files.len() as u64);
                files.push(file);
                peers.push(peer);
            }
        }
    }
    let addresses: Vec<SocketAddr> = clients
        .iter()
        .map(|client| client.local_addr().unwrap())
        .collect();
    assert!(
        peers.iter().all(|peer| addresses.contains(peer)),
        "each accept has an address of its own"
    );

    let heard =
        |shard: &mut Shard| (0..PLAYERS as u64).all(|token| shard.received(token).len() == 11);
    shard.until("every player's words", heard);
    let words: Vec<Vec<u8>> = (0..PLAYERS as u64)
        .map(|token| shard.received(token))
        .collect();
    shard.told.clear();
    shard.send(Duration::ZERO, |batch| {
        for (token, file) in files.iter().enumerate() {
            batch.send(*file, token as u64, [b"you are ".as_slice(), &words[token]]);
        }
    });
    let sent = shard
        .told
        .iter()
        .filter(|told| matches!(told, Told::Sent(_, 19)))
        .count();
    assert_eq!(
        sent, PLAYERS,
        "sends are over when the turn is, also when they exceed the submission queue of {}",
        SMALL.sends_per_turn
    );
    assert!(shard.ring.ops().stats().extra_enters >= (PLAYERS as u64 / 64) - 1);
    for (index, client) in clients.iter_mut().enumerate() {
        let mut answer = [0; 19];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, format!("you are player {index:04}").as_bytes());
    }
}

#[test]
fn ipv6_peers_have_their_address() {
    let mut shard = Shard::listening(
        SMALL,
        &ListenOptions::default(),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        2,
    );
    let client = shard.client();
    let here = client.local_addr().unwrap();
    let came = |shard: &mut Shard| {
        shard
            .told
            .iter()
            .any(|told| matches!(told, Told::Accepted(_, peer) if *peer == here))
    };
    shard.until("a connection from the client's address", came);
}

#[test]
fn a_stalled_reader_is_short_then_full_then_writable_once_it_drains() {
    let options = ListenOptions {
        send_buffer_bytes: Some(32 << 10),
        ..ListenOptions::default()
    };
    let mut shard = Shard::listening(SMALL, &options, IpAddr::V4([127, 0, 0, 1].into()), 4);
    let (mut client, file) = shard.pair();
    let media = pattern(8 << 20);
    let first = shard.send_one(file, &media);
    assert!(
        first > 0 && (first as usize) < media.len(),
        "short: {first}"
    );
    let mut taken = first as usize;
    // The peer's kernel makes room a few times more before the connection is really full.
    loop {
        match shard.send_one(file, &media[taken..]) {
            more if more > 0 => taken += more as usize,
            full => assert_eq!(full, -libc::EAGAIN),
        }
        shard.ring.ops().poll_writable(file, 5);
        shard.turn(Duration::ZERO);
        shard.turn(Duration::from_millis(300));
        if shard.told.is_empty() {
            break;
        }
        shard.told.clear();
    }

    let mut got = vec![0; taken];
    client.read_exact(&mut got).unwrap();
    shard.until("Writable", |shard| shard.told == [Told::Writable(5)]);
    assert!(got == media[..taken], "what was taken arrives in order");
    assert!(shard.send_one(file, &media[taken..]) > 0);
}

#[test]
fn pieces_arrive_in_order_up_to_the_kernels_limit() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    let media = pattern(PIECES_MAX * 4 + 40);
    shard.send(Duration::ZERO, |batch| batch.send(file, 1, media.chunks(4)));
    assert_eq!(
        shard.told,
        [Told::Sent(1, PIECES_MAX as i32 * 4)],
        "pieces beyond the limit are a short result"
    );
    let mut got = vec![0; PIECES_MAX * 4];
    client.read_exact(&mut got).unwrap();
    assert!(got == media[..PIECES_MAX * 4]);
}

#[test]
fn sends_of_one_turn_to_one_peer_keep_their_order() {
    let mut shard = Shard::new(RingConfig {
        sends_per_turn: 4,
        ..SMALL
    });
    let (mut client, file) = shard.pair();
    let media = pattern(100);
    shard.send(Duration::ZERO, |batch| {
        media
            .chunks(10)
            .enumerate()
            .for_each(|(token, chunk)| batch.send(file, token as u64, [chunk]));
    });
    assert_eq!(
        shard.told,
        (0..10)
            .map(|token| Told::Sent(token, 10))
            .collect::<Vec<_>>()
    );
    let mut got = [0; 100];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, media[..]);
}

#[test]
fn a_shard_that_sends_every_turn_still_hears_everybody() {
    const PLAYERS: u64 = 60;
    let mut shard = Shard::new(RingConfig {
        receive_buffers: 64,
        ..SMALL
    });
    let mut clients = Vec::new();
    let mut files = Vec::new();
    for token in 0..PLAYERS {
        let (client, file) = shard.pair();
        shard.ring.ops().receive(file, token);
        clients.push(client);
        files.push(file);
    }
    shard.turn(Duration::ZERO);
    for client in &mut clients {
        client.write_all(b"pong").unwrap();
    }
    let media = pattern(100);
    shard.send(Duration::ZERO, |batch| {
        batch.send(files[0], 0, [&media[..]])
    });
    let heard = (0..PLAYERS)
        .filter(|&token| shard.received(token) == b"pong")
        .count();
    assert_eq!(
        heard as u64, PLAYERS,
        "the kernel would stop at 20 an enter"
    );
}

#[test]
fn receive_buffers_run_out_and_no_byte_is_lost() {
    const PLAYERS: u64 = 20;
    let mut shard = Shard::new(RingConfig {
        receive_buffers: 2,
        receive_buffer_bytes: 512,
        ..SMALL
    });
    let said = pattern(8_000);
    let mut clients = Vec::new();
    for token in 0..PLAYERS {
        let (mut client, file) = shard.pair();
        shard.ring.ops().receive(file, token);
        client.write_all(&said).unwrap();
        clients.push(client);
    }
    shard.until("every byte", |shard| {
        (0..PLAYERS).all(|token| shard.received(token).len() == said.len())
    });
    assert!((0..PLAYERS).all(|token| shard.received(token) == said));
    assert!(
        shard.ring.ops().stats().receives_starved > 0,
        "the test is about that"
    );
}

#[test]
fn ends_are_told_apart() {
    let mut shard = Shard::new(SMALL);
    let (mut quiet, file) = shard.pair();
    shard.ring.ops().receive(file, 1);
    quiet.write_all(b"bye").unwrap();
    quiet.shutdown(Shutdown::Write).unwrap();
    let (resetting, file) = shard.pair();
    shard.ring.ops().receive(file, 2);
    shard.turn(Duration::ZERO);
    socket2::SockRef::from(&resetting)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(resetting);
    let ends = |shard: &mut Shard| {
        shard
            .told
            .iter()
            .filter(|told| matches!(told, Told::Ended(..)))
            .count()
            == 2
    };
    shard.until("both ends", ends);
    assert_eq!(shard.received(1), b"bye");
    assert!(shard.told.contains(&Told::Ended(1, 0)));
    assert!(shard.told.contains(&Told::Ended(2, -libc::ECONNRESET)));
}

#[test]
fn a_full_table_says_so_waits_quietly_and_goes_on() {
    const FILES: usize = 4;
    let mut shard = Shard::new(RingConfig {
        files: FILES as u32,
        ..SMALL
    });
    let mut clients: Vec<TcpStream> = (0..FILES + 1).map(|_| shard.client()).collect();
    let files: Vec<_> = (0..FILES).map(|_| shard.accepted()).collect();
    shard.until("the news that files are used up", |shard| {
        shard.told == [Told::AcceptFailed(libc::ENFILE)]
    });

    let before = shard.ring.ops().stats().enters;
    let wait_until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < wait_until {
        shard.turn(wait_until - Instant::now());
    }
    assert!(shard.ring.ops().stats().enters - before < 5, "no spinning");
    assert_eq!(shard.told.len(), 1, "and no repetition");

    shard.ring.ops().abort(files[0]);
    let file = shard.accepted();
    assert_eq!(shard.send_one(file, b"at last"), 7);
    let mut word = [0; 7];
    clients[FILES].read_exact(&mut word).unwrap();
    assert_eq!(&word, b"at last", "the fifth waited in the backlog");
}

#[test]
fn after_stopping_new_peers_are_refused_and_old_ones_served() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    shard.ring.ops().stop_accepting();
    let refused = |address| {
        TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    shard.until("refusal", |shard| refused(shard.address));
    assert_eq!(shard.send_one(file, b"still here"), 10);
    client.read_exact(&mut [0; 10]).unwrap();
    let again = listener(
        shard.address,
        &ListenOptions {
            reuse_port: false,
            ..ListenOptions::default()
        },
    );
    assert!(again.is_ok(), "the port is free");
}

#[test]
fn two_listeners_have_their_own_tokens() {
    let mut shard = Shard::new(SMALL);
    let second = listener("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let address = second.local_addr().unwrap().as_socket().unwrap();
    shard.ring.listen(second, LISTENER + 1, 2);
    let _client = TcpStream::connect(address).unwrap();
    let now = Instant::now();
    shard
        .ring
        .turn(Some(now + Duration::from_secs(5)), now, |_| {});
    let mut came_by = None;
    shard.ring.drain(|completion, _| {
        if let Completion::Accepted { listener, .. } = completion {
            came_by = Some(listener);
        }
    });
    assert_eq!(came_by, Some(LISTENER + 1));
}
