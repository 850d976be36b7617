//! A reader that asks for each piece gets no more than it asked for, and may stop asking.

mod harness;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use funnel_uring::{File, RingConfig, net::ListenOptions};
use harness::{SMALL, Shard, Told, pattern};

/// Writes until the kernel takes nothing any more, and returns how much it took.
fn stuff(client: &mut TcpStream, media: &[u8]) -> usize {
    client.set_nonblocking(true).unwrap();
    let mut taken = 0;
    let full = loop {
        match client.write(&media[taken..]) {
            Ok(more) => taken += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(20)); // what is on its way may still make room
                match client.write(&media[taken..]) {
                    Ok(more) => taken += more,
                    Err(error) => break error.kind(),
                }
            }
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    taken
}

/// A file whose reader took 100 bytes and stalls, with the kernel full up to the peer.
fn stalled(shard: &mut Shard) -> (TcpStream, File) {
    let (mut client, file) = shard.pair();
    shard.ring.ops().receive_some(file, 1, 100);
    stuff(&mut client, &pattern(64 << 20));
    shard.until("a piece", |shard| !shard.told.is_empty());
    for _ in 0..5 {
        shard.turn(Duration::from_millis(2));
    }
    assert_eq!(shard.told, [Told::Received(1, pattern(100))], "no more");
    shard.told.clear();
    (client, file)
}

#[test]
fn the_rest_stays_in_the_kernel_until_it_is_asked_for() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    let media = pattern(64 << 20);
    let taken = stuff(&mut client, &media);
    for _ in 0..3 {
        shard.turn(Duration::from_millis(2));
    }
    assert_eq!(shard.told, [], "not asked");
    let mut got = Vec::new();
    for (token, bytes_max) in [1, 100, 4_096, 1 << 20].into_iter().cycle().enumerate() {
        shard.ring.ops().receive_some(file, token as u64, bytes_max);
        shard.until("a piece", |shard| !shard.told.is_empty());
        for _ in 0..2 * usize::from(token < 8) {
            shard.turn(Duration::from_millis(2));
        }
        let [Told::Received(told, bytes)] = &shard.told[..] else {
            panic!("one answer a question: {:?}", shard.told)
        };
        assert_eq!(*told, token as u64);
        assert!(bytes.len() <= (bytes_max as usize).min(4_096));
        got.extend_from_slice(bytes);
        shard.told.clear();
        if got.len() == taken {
            break;
        }
    }
    assert!(got == media[..taken], "in order and complete");
}

#[test]
fn the_end_is_told_to_who_asks() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    shard.ring.ops().receive_some(file, 1, 1_000);
    shard.until("the word", |shard| !shard.told.is_empty());
    shard.turn(Duration::from_millis(5));
    assert_eq!(shard.told, [Told::Received(1, b"last".to_vec())]);
    shard.ring.ops().receive_some(file, 2, 1_000);
    shard.until("the end", |shard| shard.told.contains(&Told::Ended(2, 0)));
    shard.ring.ops().close(file);
    shard.turn(Duration::ZERO);
    assert_eq!(shard.ring.ops().files_used(), 0, "needs no patience");
}

#[test]
fn a_single_receive_can_become_the_first_of_many() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    shard.ring.ops().receive_some(file, 1, 2);
    shard.turn(Duration::ZERO);
    shard.ring.ops().receive(file, 2);
    client.write_all(b"one").unwrap();
    shard.until("the first", |shard| shard.received(2) == b"one");
    client.write_all(b", two").unwrap();
    shard.until("the second", |shard| shard.received(2) == b"one, two");
    assert_eq!(shard.received(1), b"");
}

#[test]
fn a_stalled_file_can_be_closed() {
    for armed in [false, true] {
        let mut shard = Shard::new(SMALL);
        let (mut client, file) = stalled(&mut shard);
        if armed {
            shard.ring.ops().receive_some(file, 1, 100);
        }
        shard.ring.ops().close(file);
        shard.turn(Duration::ZERO);
        assert_eq!(client.read(&mut [0]).expect("no reset"), 0, "EOF");
        drop(client);
        let asked = Instant::now();
        shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
        assert!(
            asked.elapsed() < Duration::from_millis(900),
            "what was stuck is read into nothing, the end with it: {:?}",
            asked.elapsed()
        );
        assert_eq!(shard.told, [], "nothing is told of a closed file");
    }
}

#[test]
fn a_stalled_file_can_be_aborted() {
    for armed in [false, true] {
        let mut shard = Shard::new(SMALL);
        let (mut client, file) = stalled(&mut shard);
        if armed {
            shard.ring.ops().receive_some(file, 1, 100);
        }
        shard.ring.ops().abort(file);
        shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(shard.told, [], "nothing is told of a closed file");
    }
}

#[test]
fn who_found_no_buffer_is_served_later() {
    const PLAYERS: u64 = 20;
    let config = RingConfig {
        receive_buffers: 1,
        ..SMALL
    };
    let mut shard = Shard::new(config);
    let mut pairs: Vec<_> = (0..PLAYERS).map(|_| shard.pair()).collect();
    for (token, (client, file)) in (0..).zip(&mut pairs) {
        client.write_all(b"hello").unwrap();
        shard.ring.ops().receive_some(*file, token, 3);
    }
    shard.until("everybody's word", |shard| {
        shard.told.len() == PLAYERS as usize
    });
    for token in 0..PLAYERS {
        assert_eq!(shard.received(token), b"hel");
    }
    assert!(
        shard.ring.stats().receives_starved > 0,
        "the test is about that"
    );
}

#[test]
fn large_buffers_take_much_at_once() {
    const BUFFER_BYTES: u32 = 32 << 10;
    let config = RingConfig {
        receive_buffers: 4_096,
        receive_buffer_bytes: BUFFER_BYTES,
        ..SMALL
    };
    let ip = [127, 0, 0, 1].into();
    let mut shard = Shard::listening(config, &ListenOptions::default(), ip, 4);
    let (mut client, file) = shard.pair();
    stuff(&mut client, &pattern(64 << 20));
    shard.ring.ops().receive_some(file, 1, u32::MAX);
    shard.until("a piece", |shard| !shard.told.is_empty());
    assert!(
        shard.received(1) == pattern(BUFFER_BYTES as usize),
        "{} bytes",
        shard.received(1).len()
    );
}
