//! A ring that is dropped leaves nothing behind: no descriptor, no connection, no listener.

mod harness;

use std::{fs, io::Read, time::Duration};

use funnel_uring::net::ensure_free;
use harness::{SMALL, Shard};

#[test]
fn a_dropped_ring_closes_everything_it_held() {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut clients = Vec::new();
    let mut address = None;
    for round in 0..3 {
        let mut shard = Shard::new(SMALL);
        for token in 0..20 {
            let (client, file) = shard.pair();
            shard.ring.ops().receive(file, token);
            shard.ring.ops().poll_writable(file, token);
            assert_eq!(shard.send_one(file, b"last words"), 10);
            clients.push(client);
        }
        assert!(
            descriptors() <= before + clients.len() + 4,
            "round {round}: connections are direct descriptors"
        );
        shard.turn(Duration::ZERO);
        address = Some(shard.address);
    }
    for client in &mut clients {
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("EOF, no reset");
        assert_eq!(got, b"last words");
    }
    drop(clients);
    assert_eq!(descriptors(), before);
    ensure_free(address.unwrap()).expect("the listener is gone with its ring");
}
