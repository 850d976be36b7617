//! What the kernel says to trains that do not fit, on loopback with the MTU of Ethernet, in a network of its own.

mod harness;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use funnel_uring::{
    File, Target,
    net::{DatagramOptions, datagram_socket},
};
use harness::{
    SMALL, Shard, Told,
    network::{in_own_network, ip},
    pattern,
};

/// An address, and what IPv4 or IPv6 and UDP leave of 1,500 bytes.
const LOOPBACKS: [(IpAddr, u16); 2] = [
    (IpAddr::V4(Ipv4Addr::LOCALHOST), 1_472),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 1_452),
];

struct Sender {
    shard: Shard,
    file: File,
}

impl Sender {
    fn new(ip: IpAddr) -> Sender {
        let options = DatagramOptions {
            send_buffer_bytes: Some(1 << 20),
            ..DatagramOptions::default()
        };
        Sender::with(SocketAddr::new(ip, 0), &options)
    }

    fn with(address: SocketAddr, options: &DatagramOptions) -> Sender {
        let socket = datagram_socket(address, options).unwrap();
        let mut shard = Shard::without_listener(SMALL);
        let file = shard.ring.open_datagrams(socket).unwrap();
        Sender { shard, file }
    }

    fn send(&mut self, to: SocketAddr, segment_bytes: Option<u16>, bytes: &[u8]) -> i32 {
        let file = self.file;
        self.shard.send(Duration::ZERO, |batch| {
            let target = Target {
                segment_bytes,
                ..to.into()
            };
            batch.send_to(file, 0, target, [bytes]);
        });
        let Some(Told::Sent(0, result)) = self.shard.told.pop() else {
            panic!("sends end in their turn")
        };
        result
    }
}

/// A peer, its address, and a way to ask it for its next datagrams.
fn peer(ip: IpAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    let patience = Some(Duration::from_secs(10));
    socket.set_read_timeout(patience).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn assert_receives(peer: &UdpSocket, wanted: &[u8]) {
    let mut buffer = vec![0; 65_536];
    let bytes = peer.recv(&mut buffer).expect("a datagram");
    assert!(buffer[..bytes] == *wanted, "{bytes} bytes");
}

#[test]
fn a_segment_above_the_mtu_is_refused_and_the_same_bytes_go_plain() {
    in_own_network(|| {
        for (ip, most) in LOOPBACKS {
            let mut sender = Sender::new(ip);
            let (peer, to) = peer(ip);
            let bytes = pattern(3 * usize::from(most));
            let total = bytes.len() as i32;
            assert_eq!(sender.send(to, Some(most), &bytes), total);
            for segment in bytes.chunks(most.into()) {
                assert_receives(&peer, segment);
            }
            assert_eq!(sender.send(to, Some(most + 1), &bytes), -libc::EMSGSIZE);
            assert_eq!(sender.send(to, None, &bytes), total, "in fragments");
            assert_receives(&peer, &bytes);
        }
    });
}

#[test]
fn the_kernels_ceilings_are_as_documented() {
    in_own_network(|| {
        for (ip, _) in LOOPBACKS {
            let mut sender = Sender::new(ip);
            let (peer, to) = peer(ip);
            let bytes = pattern(65_536);
            assert_eq!(sender.send(to, Some(1_000), &bytes[..64_000]), 64_000);
            for segment in bytes[..64_000].chunks(1_000) {
                assert_receives(&peer, segment);
            }
            let largest = if ip.is_ipv4() { 65_507 } else { 65_527 };
            assert_eq!(sender.send(to, None, &bytes[..largest]), largest as i32);
            assert_receives(&peer, &bytes[..largest]);
            let above = &bytes[..largest + 1];
            assert_eq!(sender.send(to, None, above), -libc::EMSGSIZE);
            assert_eq!(sender.send(to, Some(1_400), above), -libc::EMSGSIZE);
            let crowd = &bytes[..4 * 1_024];
            assert_eq!(sender.send(to, Some(4), crowd), -libc::EINVAL);
        }
    });
}

#[test]
fn a_full_send_buffer_takes_all_or_nothing() {
    in_own_network(|| {
        // Nobody answers for this address, and until somebody does what is sent there waits on the socket's account.
        ip("link add wire type veth peer name end");
        ip("addr add 192.0.2.1/24 dev wire");
        ip("link set end up");
        ip("link set wire up");
        let to = SocketAddr::from(([192, 0, 2, 2], 9));
        let options = DatagramOptions {
            send_buffer_bytes: Some(8_000),
            ..DatagramOptions::default()
        };
        let mut sender = Sender::with(SocketAddr::from(([192, 0, 2, 1], 0)), &options);
        let train = pattern(10_000);
        let results: Vec<i32> = (0..5)
            .map(|_| sender.send(to, Some(1_000), &train))
            .collect();
        assert_eq!(results[0], 10_000);
        assert_eq!(results[4], -libc::EAGAIN, "{results:?}");
        assert_eq!(sender.send(to, None, &train[..1_000]), -libc::EAGAIN);
        sender.shard.ring.ops().poll_writable(sender.file, 1);
        sender.shard.turn(Duration::from_millis(20));
        assert_eq!(sender.shard.told, []);
        ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev wire");
        (sender.shard).until("room", |shard| shard.told == [Told::Writable(1)]);
        assert_eq!(sender.send(to, Some(1_000), &train), 10_000);
    });
}
