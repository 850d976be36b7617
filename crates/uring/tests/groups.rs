//! Multicast, in a network of its own with two wires: who hears a group, over which interface, from whom.

mod harness;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use funnel_uring::net::{GroupOptions, Interface, group_receiver, group_sender};
use harness::{
    SMALL, Shard, Told,
    network::{in_own_network, ip, wait_for_route},
};

const GROUPS: [&str; 2] = ["239.192.1.2:1755", "[ff15::1755]:1755"];

/// Two wires, `first` and `second`, that this machine holds both ends of.
fn two_wires() {
    for (wire, end, number) in [("first", "end1", 1), ("second", "end2", 2)] {
        ip(&format!("link add {wire} type veth peer name {end}"));
        ip(&format!("addr add 192.0.2.{number}/32 dev {wire}"));
        ip(&format!("addr add 2001:db8::{number}/128 dev {wire} nodad"));
        ip(&format!("link set {end} up"));
        ip(&format!("link set {wire} up"));
        wait_for_route(&format!("2001:db8::{number}"));
    }
}

fn interface(name: &str) -> Interface {
    Interface::find(name).unwrap()
}

fn source(group: SocketAddr, number: u8) -> IpAddr {
    let address = match group {
        SocketAddr::V4(_) => format!("192.0.2.{number}"),
        SocketAddr::V6(_) => format!("2001:db8::{number}"),
    };
    address.parse().unwrap()
}

/// Receivers in one ring, their tokens being their numbers.
struct Audience(Shard);

impl Audience {
    fn new(receivers: &[(SocketAddr, Option<Interface>, Option<IpAddr>)]) -> Audience {
        let mut shard = Shard::without_listener(SMALL);
        for (token, &(group, interface, source)) in (0..).zip(receivers) {
            let socket = group_receiver(group, interface, source).unwrap();
            let file = shard.ring.open_datagrams(socket).unwrap();
            shard.ring.ops().receive_datagrams(file, token);
        }
        shard.turn(Duration::ZERO);
        Audience(shard)
    }

    /// Sends one datagram to the group and says who of the audience heard it, and from which address.
    fn hear(&mut self, group: SocketAddr, options: &GroupOptions) -> (Vec<u64>, Option<IpAddr>) {
        let socket = group_sender(group, options).unwrap();
        let file = self.0.ring.open_datagrams(socket).unwrap();
        self.0.send(Duration::ZERO, |batch| {
            batch.send_to(file, 99, group.into(), [&b"to all"[..]]);
        });
        // What is looped back is there before the send returns; two turns hand it out.
        self.0.turn(Duration::from_millis(5));
        self.0.turn(Duration::from_millis(5));
        self.0.ring.ops().close(file);
        let (mut who, mut sender) = (Vec::new(), None);
        for told in self.0.told.drain(..) {
            match told {
                Told::Sent(99, 6) => {}
                Told::Datagram(token, from, bytes) if bytes == b"to all" => {
                    who.push(token);
                    sender = Some(from.ip());
                }
                other => panic!("{other:?}"),
            }
        }
        who.sort_unstable();
        (who, sender)
    }
}

fn options(interface: Option<Interface>) -> GroupOptions {
    GroupOptions {
        interface,
        ttl: 1,
        loopback: true,
        source: None,
    }
}

#[test]
fn a_group_is_heard_on_its_interface_by_all_who_joined() {
    in_own_network(|| {
        two_wires();
        let (first, second) = (interface("first"), interface("second"));
        for group in GROUPS.map(|group| group.parse::<SocketAddr>().unwrap()) {
            let other = SocketAddr::new(group.ip(), 1_756);
            let mut audience = Audience::new(&[
                (group, Some(first), None),
                (group, Some(first), None),
                (group, Some(second), None),
                (other, Some(first), None),
            ]);
            let by_first = (vec![0, 1], Some(source(group, 1)));
            let by_second = (vec![2], Some(source(group, 2)));
            assert_eq!(audience.hear(group, &options(Some(first))), by_first);
            assert_eq!(audience.hear(group, &options(Some(second))), by_second);
            let silent = GroupOptions {
                loopback: false,
                ..options(Some(first))
            };
            assert_eq!(audience.hear(group, &silent), (vec![], None));
        }
    });
}

#[test]
fn a_source_specific_receiver_hears_its_source_only() {
    in_own_network(|| {
        two_wires();
        ip("addr add 192.0.2.3/32 dev first");
        ip("addr add 2001:db8::3/128 dev first nodad");
        wait_for_route("2001:db8::3");
        let first = interface("first");
        for group in ["232.1.2.3:1755", "[ff35::1755]:1755"] {
            let group: SocketAddr = group.parse().unwrap();
            let mut audience = Audience::new(&[
                (group, Some(first), Some(source(group, 1))),
                (group, Some(first), Some(source(group, 3))),
            ]);
            for (token, number) in [(0, 1), (1, 3)] {
                let from = source(group, number);
                let options = GroupOptions {
                    source: Some(from),
                    ..options(Some(first))
                };
                assert_eq!(audience.hear(group, &options), (vec![token], Some(from)));
            }
        }
    });
}

#[test]
fn a_link_local_group_needs_no_scope_beside_the_interface() {
    in_own_network(|| {
        two_wires();
        let first = interface("first");
        let group: SocketAddr = "[ff12::1755]:1755".parse().unwrap();
        let mut audience = Audience::new(&[(group, Some(first), None)]);
        assert_eq!(audience.hear(group, &options(Some(first))).0, [0]);
    });
}

#[test]
fn without_an_interface_the_route_decides() {
    in_own_network(|| {
        two_wires();
        let group: SocketAddr = GROUPS[0].parse().unwrap();
        let error = group_receiver(group, None, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "no route yet");
        ip("route add 239.0.0.0/8 dev second");
        let (first, second) = (interface("first"), interface("second"));
        let mut audience = Audience::new(&[
            (group, Some(first), None),
            (group, Some(second), None),
            (group, None, None),
        ]);
        assert_eq!(audience.hear(group, &options(None)).0, [1, 2]);
    });
}

#[test]
fn hops_are_as_asked_for() {
    in_own_network(|| {
        two_wires();
        let options = GroupOptions {
            ttl: 8,
            ..options(Some(interface("first")))
        };
        let [four, six] = GROUPS.map(|group| group_sender(group.parse().unwrap(), &options));
        assert_eq!(four.unwrap().multicast_ttl_v4().unwrap(), 8);
        assert_eq!(six.unwrap().multicast_hops_v6().unwrap(), 8);
    });
}

#[test]
fn interfaces_are_found_by_name_and_address() {
    in_own_network(|| {
        two_wires();
        for (text, name) in [
            ("second", "second"),
            ("192.0.2.2", "second"),
            ("2001:db8::2", "second"),
            ("127.0.0.1", "lo"),
        ] {
            assert_eq!(interface(text), interface(name), "{text}");
        }
        assert_eq!(interface("lo").index(), 1);
        for text in ["third", "192.0.2.9", ""] {
            let error = Interface::find(text).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{text:?}");
        }
    });
}

#[test]
fn what_is_no_group_is_refused() {
    let group = "192.0.2.1:1755".parse().unwrap();
    for error in [
        group_sender(group, &options(None)).unwrap_err(),
        group_receiver(group, None, None).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "192.0.2.1 is no multicast address");
    }
}
