//! A close delivers what was sent, says goodbye, and gives the slot back.

mod harness;

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{IpAddr, Shutdown},
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant},
};

use funnel_uring::{Completion, RingConfig, net::ListenOptions};
use harness::{SMALL, Shard, Told, own, pattern};

/// Sends as much as the socket takes and returns how much that was.
fn stuff(shard: &mut Shard, file: funnel_uring::File, media: &[u8]) -> usize {
    let mut taken = 0;
    while let Ok(more) = u32::try_from(shard.send_one(file, &media[taken..]))
        && more > 0
    {
        taken += more as usize;
    }
    assert!(
        taken > 100_000,
        "enough to be queued in the kernel: {taken}"
    );
    taken
}

#[test]
fn a_player_in_the_middle_of_a_word_still_gets_everything_then_eof() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    let media = pattern(16 << 20);
    shard.ring.ops().receive(file, 1);
    let taken = stuff(&mut shard, file, &media);
    client
        .write_all(b"unread when the close is asked for")
        .unwrap();
    shard.ring.ops().close(file);
    for _ in 0..5 {
        client.write_all(b"my log message, and more").unwrap();
        shard.turn(Duration::from_millis(5));
    }
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("EOF, no reset");
    assert!(got == media[..taken], "{} of {taken} bytes", got.len());
    drop(client);
    shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
    assert_eq!(shard.told, [], "nothing is told of a closed file");
}

#[test]
fn a_player_that_never_closes_holds_its_slot_for_a_second_and_still_gets_everything() {
    let options = ListenOptions {
        send_buffer_bytes: Some(128 << 10),
        ..ListenOptions::default()
    };
    let mut shard = Shard::listening(SMALL, &options, IpAddr::V4([127, 0, 0, 1].into()), 4);
    let (mut client, file) = shard.pair();
    shard.ring.ops().receive(file, 1);
    let media = pattern(16 << 20);
    let taken = stuff(&mut shard, file, &media);
    shard.ring.ops().close(file);
    let closed = Instant::now();
    shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
    assert!(
        closed.elapsed() >= Duration::from_secs(1),
        "patience: {:?}",
        closed.elapsed()
    );
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("EOF, no reset");
    assert!(got == media[..taken], "{} of {taken} bytes", got.len());
}

#[test]
fn a_refusal_right_after_the_accept_reaches_the_player() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    client.write_all(b"a request nobody will read").unwrap();
    assert_eq!(shard.send_one(file, b"server full"), 11);
    shard.ring.ops().close(file);
    for _ in 0..3 {
        shard.turn(Duration::from_millis(5));
    }
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("EOF, no reset");
    assert_eq!(got, b"server full");
}

#[test]
fn after_the_peers_eof_a_close_needs_no_patience() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    shard.ring.ops().receive(file, 1);
    client.shutdown(Shutdown::Write).unwrap();
    shard.until("EOF", |shard| shard.told.contains(&Told::Ended(1, 0)));
    assert_eq!(shard.send_one(file, b"bye"), 3);
    shard.ring.ops().close(file);
    shard.turn(Duration::ZERO);
    assert_eq!(shard.ring.ops().files_used(), 0);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"bye");
}

#[test]
fn closing_with_receive_and_poll_armed_frees_the_slot_again_and_again() {
    const FILES: usize = 4;
    for abort in [false, true] {
        let mut shard = Shard::new(RingConfig {
            files: FILES as u32,
            ..SMALL
        });
        let mut names = HashSet::new();
        for round in 0..3 * FILES as u64 {
            let (mut client, file) = shard.pair();
            assert!(names.insert(file), "a name is never used twice");
            shard.ring.ops().receive(file, round);
            stuff(&mut shard, file, &[0; 16 << 20]);
            shard.ring.ops().poll_writable(file, round);
            shard.turn(Duration::ZERO);
            if abort {
                shard.ring.ops().abort(file)
            } else {
                shard.ring.ops().close(file)
            }
            shard.turn(Duration::ZERO);
            std::io::copy(&mut client, &mut std::io::sink()).expect("EOF, no reset");
            drop(client);
            shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
        }
        assert!(
            !shard
                .told
                .iter()
                .any(|told| matches!(told, Told::Writable(_) | Told::Ended(..))),
            "nothing is told of a closed file"
        );
    }
}

#[test]
fn many_closed_at_once_do_not_hold_the_table() {
    const FILES: usize = 16;
    let mut shard = Shard::new(RingConfig {
        files: FILES as u32,
        ..SMALL
    });
    let pairs: Vec<_> = (0..FILES).map(|_| shard.pair()).collect();
    for (_, file) in &pairs {
        shard.ring.ops().close(*file);
    }
    let asked = Instant::now();
    shard.until("most slots", |shard| {
        shard.ring.ops().files_used() as usize <= FILES / 4
    });
    assert!(
        asked.elapsed() < Duration::from_millis(900),
        "only a quarter may linger, none of the clients closed"
    );
    for (mut client, _) in pairs {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "EOF all the same");
    }
}

#[test]
fn nothing_is_told_after_a_close_in_the_same_drain() {
    let mut shard = Shard::new(RingConfig {
        receive_buffer_bytes: 64,
        ..SMALL
    });
    let (mut client, file) = shard.pair();
    client.write_all(&[7; 640]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    shard.ring.ops().receive(file, 1);
    let now = Instant::now();
    let word = *b"word";
    shard
        .ring
        .turn(Some(now), now, |batch| batch.send(file, 2, [&word[..]]));
    let mut told = Vec::new();
    shard.ring.drain(|completion, ops| {
        told.push(own(completion));
        ops.close(file);
    });
    shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(shard.told, []);
}

#[test]
fn a_void_file_is_not_sent_to_even_if_its_slot_has_a_new_owner() {
    let mut shard = Shard::new(RingConfig { files: 1, ..SMALL });
    let (client, old) = shard.pair();
    shard.ring.ops().abort(old);
    drop(client);
    let (mut client, new) = shard.pair();
    assert_eq!(old.index(), new.index());
    shard.told.clear();
    let word = *b"for the old one";
    shard.send(Duration::ZERO, |batch| batch.send(old, 1, [&word[..]]));
    shard.ring.ops().receive(old, 1);
    shard.ring.ops().poll_writable(old, 1);
    shard.ring.ops().close(old);
    shard.turn(Duration::ZERO);
    assert!(
        !shard
            .told
            .iter()
            .any(|told| matches!(told, Told::Sent(..) | Told::Writable(_)))
    );
    assert_eq!(shard.send_one(new, b"new"), 3);
    let mut got = [0; 3];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"new");
}

#[test]
fn a_goodbye_never_reaches_the_next_connection_in_the_slot() {
    let mut shard = Shard::new(RingConfig { files: 1, ..SMALL });
    let (mut client, mut file) = shard.pair();
    for round in 0..300 {
        let next = shard.client();
        shard.ring.ops().receive(file, round);
        client.shutdown(Shutdown::Write).unwrap();
        shard.ring.ops().close(file);
        file = shard.accepted();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        client = next;
        assert_eq!(shard.send_one(file, b"welcome"), 7, "round {round}");
        client.read_exact(&mut [0; 7]).unwrap();
        assert_eq!(shard.send_one(file, b"still"), 5, "round {round}");
        client.read_exact(&mut [0; 5]).unwrap();
        shard.told.clear();
    }
}

#[test]
fn a_panic_in_fill_sends_nothing_and_leaves_the_ring_usable() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let lent = vec![b'x'; 100_000];
        shard.send(Duration::ZERO, |batch| {
            batch.send(file, 1, [&lent[..]]);
            batch.send(
                file,
                2,
                lent.chunks(10).inspect(|_| panic!("while filling")),
            );
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(shard.ring.ops().stats().sends, 0);
    assert_eq!(shard.send_one(file, b"clean"), 5);
    assert_eq!(shard.ring.ops().stats().sends, 1);
    shard.ring.ops().close(file);
    shard.turn(Duration::ZERO);
    shard.turn(Duration::from_millis(5));
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(
        got, b"clean",
        "nothing of what was lent to the turn that failed"
    );
}

#[test]
fn a_panic_while_draining_keeps_the_rest_and_the_buffer() {
    let mut shard = Shard::new(RingConfig {
        receive_buffers: 1,
        receive_buffer_bytes: 64,
        ..SMALL
    });
    let (mut client, file) = shard.pair();
    shard.ring.ops().receive(file, 1);
    client.write_all(b"one").unwrap();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..100 {
            let now = Instant::now();
            shard
                .ring
                .turn(Some(now + Duration::from_millis(50)), now, |_| {});
            shard.ring.drain(|completion, _| {
                assert!(
                    !matches!(completion, Completion::Received { .. }),
                    "while draining"
                )
            });
        }
    }));
    assert!(panicked.is_err());
    client.write_all(b"two").unwrap();
    shard.until("the next word, in the pool's only buffer", |shard| {
        shard.received(1) == b"two"
    });
}
