//! Strangers send datagrams to the server's port: players lose nothing by it, strangers get nothing, and it costs little.

use crate::lab::frame::{Fate, Frame, Toward};
use crate::lab::lan::{Host, Lan};
use crate::recorder::record;
use crate::support::media::{self, GOOD};
use crate::support::normalised;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SHOW: &str = "av-300k.wmv";
const PACKETS: u64 = 516;

/// The mark of a request for packets as it is on the wire (`docs/protocol/mmsp.md` §4.4).
const REQUEST: [u8; 4] = [0x0d, 0xf0, 0xef, 0xbe];

fn setup(names: &[&str], speed: f32) -> Setup {
    let mut setup = Setup::new();
    for name in names {
        setup.file_once(name, &media::file(SHOW), speed);
    }
    setup
}

/// A line on which media packets 25, 75, 125 … are lost once each, and a copy of every request for packets that passes it.
fn tapped() -> (impl FnMut(&Frame<'_>) -> Fate + Send, Receiver<Vec<u8>>) {
    let (tell, requests) = channel();
    let mut next = 25;
    let rule = move |frame: &Frame<'_>| {
        if frame.toward == Toward::Host {
            if frame.location() == Some(next) {
                next += 50;
                return Fate::Lose;
            }
        } else if let Some(datagram) = frame.datagram()
            && datagram.starts_with(&REQUEST)
        {
            // Nobody listens once the attack is over.
            let _ = tell.send(datagram.to_vec());
        }
        Fate::Pass
    };
    (rule, requests)
}

/// Makes `attacker` send from the address of `victim` as well, without getting what is meant for the victim.
fn forge(attacker: &Host, victim: &Host) {
    for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
        attacker.sysctl(&format!("net/ipv4/conf/all/{key}"), value);
    }
    attacker.ip(&format!("address add {}/32 dev lo", victim.ipv4()));
}

fn socket(host: &Host, from: IpAddr) -> UdpSocket {
    host.within(|| UdpSocket::bind((from, 0)).expect("a socket"))
}

/// Requests of somebody else than the player: with its true number from another address, with guessed numbers from its
/// address. Both thousands of times, while it plays through a line on which it has to ask for packets itself.
#[test]
fn strangers_requests_do_nothing() {
    let mut lan = Lan::new();
    let (machine, attacker) = (lan.host(), lan.host());
    let (rule, requests) = tapped();
    let (far, line) = lan.host_behind(rule);
    forge(&attacker, &far);
    let server = machine.serve(setup(&["show"], 2.0));
    let target = SocketAddr::new(machine.ipv4(), server.port());
    let (own, forged) = (
        socket(&attacker, attacker.ipv4()),
        socket(&attacker, far.ipv4()),
    );
    let mut random = fastrand::Rng::with_seed(1);
    let recorded = std::thread::scope(|scope| {
        let recorder = scope.spawn(|| {
            record(
                &far,
                &server,
                "show",
                &server.url("mmsu", machine.ipv4(), "show"),
            )
        });
        let true_request = requests
            .recv_timeout(Duration::from_secs(20))
            .expect("the player asks");
        for _ in 0..2_000 {
            own.send_to(&true_request, target).expect("sent");
            let mut guess = true_request.clone();
            random.fill(&mut guess[4..8]);
            forged.send_to(&guess, target).expect("sent");
            sleep(Duration::from_micros(500));
        }
        recorder.join().expect("a recording")
    });
    let counts = line.counts().to_host;
    let report = format!("{counts:?}\n{}", recorded.ran.report());
    assert_eq!(
        (recorded.packets, recorded.missing),
        (PACKETS, 0),
        "{report}"
    );
    assert_eq!(counts.lost, 10, "{report}");
    // The packets, those lost twice, and the header: nothing because of the strangers.
    assert!(counts.came <= PACKETS + counts.lost + 5, "{report}");
    own.set_nonblocking(true)
        .expect("a socket that does not wait");
    assert!(
        own.recv(&mut [0; 2_048]).is_err(),
        "the stranger got a datagram"
    );
    server.stop_then(|server| {
        let invalid = server.total("datagrams_invalid");
        assert!(invalid >= 3_000, "{invalid} counted:\n{}", server.log());
    });
}

/// Somebody who can read the player's requests and forge its address: the server sends the player what a player may
/// ask for, and no more.
#[test]
fn a_true_request_repeated_is_answered_within_the_budget() {
    let mut lan = Lan::new();
    let (machine, attacker) = (lan.host(), lan.host());
    let (rule, requests) = tapped();
    let (far, line) = lan.host_behind(rule);
    forge(&attacker, &far);
    let server = machine.serve(setup(&["show"], 2.0));
    let target = SocketAddr::new(machine.ipv4(), server.port());
    let forged = socket(&attacker, far.ipv4());
    let began = Instant::now();
    let (sent, recorded) = std::thread::scope(|scope| {
        let recorder = scope.spawn(|| {
            record(
                &far,
                &server,
                "show",
                &server.url("mmsu", machine.ipv4(), "show"),
            )
        });
        let request = requests
            .recv_timeout(Duration::from_secs(20))
            .expect("the player asks");
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(4) {
            forged.send_to(&request, target).expect("sent");
            sent += 1;
            sleep(Duration::from_micros(200));
        }
        (sent, recorder.join().expect("a recording"))
    });
    let counts = line.counts().to_host;
    let report = format!("{sent} forged, {counts:?}\n{}", recorded.ran.report());
    assert!(sent >= 5_000, "{report}");
    assert_eq!(recorded.packets + recorded.missing, PACKETS, "{report}");
    // 64 at once, then 32 a second or half of what the show itself sends.
    let budget = 64 + 32 * (began.elapsed().as_secs() + 1) + PACKETS / 2;
    assert!(counts.came <= PACKETS + budget, "{report}");
    server.stop_then(|server| {
        let refused = server.total("resends_refused");
        assert!(refused >= 2_000, "{refused} counted:\n{}", server.log());
    });
}

/// Garbage in trains, every second train with the mark of a request; how much was sent.
fn flood(host: &Host, target: SocketAddr, per_second: u32, time: Duration) -> u32 {
    const TRAIN: u32 = 64;
    const BYTES: usize = 100;
    host.within(|| {
        let own = match target {
            SocketAddr::V4(_) => host.ipv4(),
            SocketAddr::V6(_) => host.ipv6(),
        };
        let socket = UdpSocket::bind((own, 0)).expect("a socket");
        setsockopt(&socket, UdpGsoSegment, &(BYTES as i32)).expect("a kernel with UDP GSO");
        let mut random = fastrand::Rng::with_seed(2);
        let mut trains = [[0; TRAIN as usize * BYTES]; 2];
        for train in &mut trains {
            random.fill(train);
        }
        for datagram in trains[1].chunks_mut(BYTES) {
            datagram[..4].copy_from_slice(&REQUEST);
        }
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < time {
            let due = began.elapsed().as_secs_f64() * f64::from(per_second);
            if f64::from(sent) > due {
                sleep(Duration::from_micros(500));
            } else {
                let train = &trains[(sent / TRAIN % 2) as usize];
                socket.send_to(train, target).expect("a train of garbage");
                sent += TRAIN;
            }
        }
        sent
    })
}

#[test]
fn a_flood_of_garbage_over_ipv4_disturbs_nobody() {
    flooded(Host::ipv4);
}

#[test]
fn a_flood_of_garbage_over_ipv6_disturbs_nobody() {
    flooded(Host::ipv6);
}

/// A recorder and VLC play at this address of the server while it is flooded.
fn flooded(address: impl Fn(&Host) -> IpAddr) {
    const FLOOD: Duration = Duration::from_secs(5);
    let good = GOOD
        .iter()
        .find(|good| good.name == SHOW)
        .expect("in the list");
    let mut lan = Lan::new();
    let (machine, attacker) = (lan.host(), lan.host());
    let (first, second) = (lan.host(), lan.host());
    let server = machine.serve(setup(&["one", "two"], 2.0));
    let called = address(&machine);
    let target = SocketAddr::new(called, server.port());
    let (recorded, dump, header, sent, used) = std::thread::scope(|scope| {
        let recorder =
            scope.spawn(|| record(&first, &server, "one", &server.url("mmsu", called, "one")));
        let header = second.within(|| normalised::header_of(server.address(), "two"));
        let vlc = scope.spawn(|| {
            let vlc = Vlc::new(server.folder(), "flood");
            second.within(|| vlc.dump(30, &server.url("mmsu", called, "two")))
        });
        sleep(Duration::from_secs(2));
        let before = server.cpu_time();
        let sent = flood(&attacker, target, 200_000, FLOOD);
        let used = server.cpu_time() - before;
        (
            recorder.join().expect("a recording"),
            vlc.join().expect("VLC's dump"),
            header,
            sent,
            used,
        )
    });
    let report = format!("{sent} sent, {used:?} of CPU\n{}", recorded.ran.report());
    assert!(
        f64::from(sent) / FLOOD.as_secs_f64() > 100_000.0,
        "no flood: {report}"
    );
    assert_eq!(
        (recorded.packets, recorded.missing),
        (PACKETS, 0),
        "{report}"
    );
    assert_eq!(
        player::decode(&recorded.file, server.folder()),
        player::decode(&media::file(SHOW), server.folder())
    );
    normalised::check("VLC", good, &dump, &header);
    assert!(used < FLOOD / 5, "more than a fifth of a core: {report}");
    server.stop_then(|server| {
        let invalid = server.total("datagrams_invalid");
        assert!(invalid > 1_000, "{invalid} counted:\n{}", server.log());
        // At most 256 every 5 ms come as far as that, in each of two shards.
        let most = 2 * 256 * (FLOOD.as_millis() as u64 / 5 + 2);
        assert!(invalid <= most, "{invalid} counted:\n{}", server.log());
    });
}
