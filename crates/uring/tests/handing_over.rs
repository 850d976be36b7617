//! A connection that leaves its ring loses nothing on the way, and its peer notices nothing.

mod harness;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use funnel_uring::{File, Ops, RingConfig};
use harness::{SMALL, Shard, Told, pattern};

/// Token of the receive before, and of the hand-over.
const READING: u64 = 1;
const LEAVING: u64 = 2;

/// Waits for the hand-over and returns the socket, as a thread would use it.
fn handed_over(shard: &mut Shard) -> TcpStream {
    shard.until("the socket", |shard| !shard.handed_over.is_empty());
    assert_eq!(shard.told.last(), Some(&Told::HandedOver(LEAVING)), "last");
    let socket = shard.handed_over.pop().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

fn tell(from: &mut TcpStream, to: &mut TcpStream, words: &[u8]) {
    from.write_all(words).unwrap();
    let mut heard = vec![0; words.len()];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(heard, words);
}

fn converse(ours: &mut TcpStream, client: &mut TcpStream) {
    tell(ours, client, b"an answer");
    tell(client, ours, b"the body");
}

#[test]
fn the_conversation_goes_on_outside() {
    let receives: [fn(&mut Ops, File); 3] = [
        |_, _| {},
        |ops, file| ops.receive(file, READING),
        |ops, file| ops.receive_some(file, READING, 100),
    ];
    for receive in receives {
        let mut shard = Shard::new(SMALL);
        let (mut client, file) = shard.pair();
        receive(shard.ring.ops(), file);
        shard.ring.ops().poll_writable(file, 7);
        assert_eq!(shard.send_one(file, b"welcome"), 7);
        shard.ring.ops().hand_over(file, LEAVING);
        let mut ours = handed_over(&mut shard);
        assert_eq!(ours.peer_addr().unwrap(), client.local_addr().unwrap());
        assert_eq!(ours.local_addr().unwrap(), shard.address);
        let mut heard = [0; 7];
        client.read_exact(&mut heard).unwrap();
        converse(&mut ours, &mut client);
        shard.turn(Duration::ZERO);
        assert_eq!(shard.ring.ops().files_used(), 0, "its slot is free");
        drop(shard);
        converse(&mut ours, &mut client);
        drop(ours);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed by its owner");
    }
}

/// A peer that never stops talking: each byte comes once and in order, either reported or read from the socket.
#[test]
fn bytes_on_their_way_are_reported_or_stay() {
    const BYTES: usize = 4 << 20;
    let mut reported_late = 0;
    for round in 0..20 {
        // Few buffers: receives end for want of one in the middle of it, too.
        let mut shard = Shard::new(RingConfig {
            receive_buffers: if round % 2 == 0 { 16 } else { 1 },
            ..SMALL
        });
        let (mut client, file) = shard.pair();
        let talking = thread::spawn(move || {
            client.write_all(&pattern(BYTES)).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        });
        shard.ring.ops().receive(file, READING);
        shard.until("some of it", |shard| {
            shard.received(READING).len() > round * 1_000
        });
        shard.ring.ops().hand_over(file, LEAVING);
        let mut ours = handed_over(&mut shard);
        let mut heard = shard.received(READING);
        heard.extend(shard.received(LEAVING));
        reported_late += shard.received(LEAVING).len();
        ours.read_to_end(&mut heard).unwrap();
        assert!(heard == pattern(BYTES), "{} of {BYTES} bytes", heard.len());
        let mut client = talking.join().unwrap();
        tell(&mut ours, &mut client, b"204");
    }
    assert!(reported_late > 0, "the test is about that");
}

#[test]
fn the_end_of_the_peers_bytes_is_found_again() {
    for told in [false, true] {
        let mut shard = Shard::new(SMALL);
        let (mut client, file) = shard.pair();
        shard.ring.ops().receive(file, READING);
        shard.turn(Duration::ZERO);
        client.shutdown(Shutdown::Write).unwrap();
        if told {
            shard.until("EOF", |shard| shard.told == [Told::Ended(READING, 0)]);
        }
        shard.ring.ops().hand_over(file, LEAVING);
        let mut ours = handed_over(&mut shard);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        tell(&mut ours, &mut client, b"204");
    }
}

#[test]
fn a_name_is_void_as_soon_as_it_is_handed_over() {
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    shard.ring.ops().receive(file, READING);
    shard.ring.ops().hand_over(file, LEAVING);
    let ops = shard.ring.ops();
    ops.close(file);
    ops.abort(file);
    ops.poll_writable(file, 3);
    ops.receive(file, 4);
    ops.hand_over(file, 5);
    shard.send(Duration::ZERO, |batch| batch.send(file, 6, [&b"no"[..]]));
    let mut ours = handed_over(&mut shard);
    assert_eq!(shard.told, [Told::HandedOver(LEAVING)]);
    converse(&mut ours, &mut client);
}

#[test]
fn a_peer_that_resets_meanwhile_is_told_as_a_failure() {
    let mut shard = Shard::new(SMALL);
    let (client, file) = shard.pair();
    shard.ring.ops().receive(file, READING);
    shard.turn(Duration::ZERO);
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    // The kernel has said it, and nobody has heard it yet.
    let now = Instant::now();
    shard
        .ring
        .turn(Some(now + Duration::from_secs(10)), now, |_| {});
    shard.ring.ops().hand_over(file, LEAVING);
    let failed = Told::HandOverFailed(LEAVING, libc::ECONNRESET);
    shard.until("the outcome", |shard| !shard.told.is_empty());
    assert_eq!(shard.told, [failed]);
    shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
}

#[test]
fn many_leave_and_their_slots_serve_others() {
    const FILES: usize = 8;
    let mut shard = Shard::new(RingConfig {
        files: FILES as u32,
        ..SMALL
    });
    let begun = Instant::now();
    for _ in 0..10 {
        let mut pairs: Vec<_> = (0..FILES).map(|_| shard.pair()).collect();
        for &(_, file) in &pairs {
            shard.ring.ops().receive(file, READING);
            shard.ring.ops().hand_over(file, LEAVING);
        }
        shard.until("all sockets", |shard| shard.handed_over.len() == FILES);
        let mut sockets = std::mem::take(&mut shard.handed_over);
        for ours in &mut sockets {
            let peer = ours.peer_addr().unwrap();
            let is_its =
                |(client, _): &&mut (TcpStream, File)| client.local_addr().unwrap() == peer;
            let (client, _) = pairs.iter_mut().find(is_its).unwrap();
            ours.set_nonblocking(false).unwrap();
            converse(ours, client);
        }
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "no slot waits for a peer's goodbye"
    );
}
