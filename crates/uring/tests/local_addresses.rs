//! Which of this machine's addresses a peer called: asked of connections to a listener at all of them.

mod harness;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use funnel_uring::{
    Ops, RingConfig,
    net::{DatagramOptions, ListenOptions, datagram_socket},
};
use harness::{
    SMALL, Shard, Told,
    network::{in_own_network, ip, wait_for_route},
};

/// A shard that listens everywhere.
fn everywhere(all: IpAddr, config: RingConfig) -> Shard {
    Shard::listening(config, &ListenOptions::default(), all, 16)
}

#[test]
fn each_connection_has_the_address_its_peer_called() {
    in_own_network(|| {
        ip("address add fd77::2/128 dev lo nodad");
        wait_for_route("fd77::2");
        let families: [(IpAddr, [&str; 2]); 2] = [
            (Ipv4Addr::UNSPECIFIED.into(), ["127.0.0.1", "127.0.0.9"]),
            (Ipv6Addr::UNSPECIFIED.into(), ["::1", "fd77::2"]),
        ];
        for (all, called) in families {
            let mut shard = everywhere(all, SMALL);
            let called = called.map(|text| {
                let ip = text.parse().unwrap();
                SocketAddr::new(ip, shard.address.port())
            });
            let mut clients = Vec::new();
            for (token, address) in (0..).zip(called) {
                clients.push(TcpStream::connect(address).unwrap());
                let file = shard.accepted();
                shard.ring.ops().receive(file, 99);
                shard.ring.ops().ask_local_address(file, token);
            }
            shard.turn(Duration::ZERO);
            let told = [0, 1].map(|token| Told::LocalAddress(token, Some(called[token as usize])));
            assert_eq!(shard.told, told);
        }
    });
}

#[test]
fn a_socket_for_datagrams_knows_its_own() {
    let mut shard = Shard::without_listener(SMALL);
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = datagram_socket(any_port, &DatagramOptions::default()).unwrap();
    let address = socket.local_addr().unwrap().as_socket();
    let file = shard.ring.open_datagrams(socket).unwrap();
    shard.ring.ops().ask_local_address(file, 5);
    shard.turn(Duration::ZERO);
    assert_eq!(shard.told, [Told::LocalAddress(5, address)]);
}

#[test]
fn of_a_closed_file_nothing_is_told() {
    let all = Ipv4Addr::UNSPECIFIED.into();
    let addresses_told = |shard: &Shard| {
        let is_it = |told: &&Told| matches!(told, Told::LocalAddress(..));
        shard.told.iter().filter(is_it).count()
    };
    for how in [Ops::close, Ops::abort] {
        // One file: the next connection has the last one's slot.
        let mut shard = everywhere(all, RingConfig { files: 1, ..SMALL });
        let (first, file) = shard.pair();
        shard.ring.ops().ask_local_address(file, 1);
        how(shard.ring.ops(), file);
        shard.ring.ops().ask_local_address(file, 2);
        drop(first);
        let (second, file) = shard.pair();
        assert_eq!(addresses_told(&shard), 0, "asked, then closed");
        shard.ring.ops().ask_local_address(file, 3);
        let now = Instant::now();
        shard.ring.turn(Some(now), now, |_| {});
        how(shard.ring.ops(), file);
        shard.turn(Duration::ZERO);
        drop(second);
        shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
        assert_eq!(addresses_told(&shard), 0, "closed before the drain");
        let (_third, file) = shard.pair();
        shard.ring.ops().ask_local_address(file, 4);
        shard.turn(Duration::ZERO);
        assert_eq!(addresses_told(&shard), 1, "the slot's next owner");
    }
}
