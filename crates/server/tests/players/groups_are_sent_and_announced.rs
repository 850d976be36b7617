//! A channel with a group: its announcement is written, its datagrams come, and they refer to the header announced.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::support::server::Setup;
use funnel_uring::net::{Interface, group_receiver};
use funnel_wire::msb::{Correction, Datagram, StreamId, restore};
use funnel_wire::nsc::Announcement;

const GROUP: &str = "239.192.77.31:30878";

/// What came: beacons, and the packets of the group.
#[derive(Default)]
struct Heard {
    beacons: usize,
    packets: Vec<(u32, StreamId, Vec<u8>)>,
}

impl Heard {
    /// Listens until there are so many packets, or nothing comes for the socket's time.
    fn listen(&mut self, socket: &UdpSocket, packets: usize) {
        let mut bytes = vec![0; 65_536];
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.packets.len() < packets && Instant::now() < deadline {
            let Ok(size) = socket.recv(&mut bytes) else {
                return;
            };
            match Datagram::decode(&bytes[..size]).expect("a datagram of the group") {
                Datagram::Beacon => self.beacons += 1,
                Datagram::Packet(packet) => {
                    self.packets
                        .push((packet.id, packet.stream, packet.asf.to_vec()));
                }
            }
        }
    }
}

#[test]
fn the_datagrams_are_those_of_the_announced_header() {
    let mut setup = Setup::new();
    setup.table("[multicast]\nnsc_directory = \".\"");
    setup.table("[server]\npublic_host = \"live.example.org\"");
    setup.channel(
        "live",
        &format!(
            "source = {{ kind = \"probe\", bits_per_second = 400_000, packet_bytes = 1000 }}\n\
             multicast = {{ address = \"{GROUP}\", interface = \"127.0.0.1\", span = 5 }}"
        ),
    );
    let file = setup.folder().join("live.nsc");
    let loopback = Interface::find("127.0.0.1").expect("the loopback interface");
    let socket = group_receiver(GROUP.parse().expect("a group"), Some(loopback), None);
    let socket = UdpSocket::from(socket.expect("a group joined on loopback"));
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let mut server = setup.start();
    let mut heard = Heard::default();
    heard.listen(&socket, 121);
    assert_eq!(
        heard.packets.len(),
        121,
        "120 and perhaps one of the next cycle"
    );
    assert_eq!(heard.beacons, 1, "one at the start, none beside data");

    let announcement = Announcement::parse(&std::fs::read(&file).expect("announced"))
        .expect("a good announcement");
    let url = announcement.unicast_url.as_ref().map(|url| url.as_str());
    let expected = format!("mms://live.example.org:{}/live", server.port());
    assert_eq!(url, Some(expected.as_str()));
    let format = announcement.formats().iter().next().expect("a header");
    let (mut next, mut cycle) = (0, Vec::new());
    for (id, stream, asf) in &heard.packets {
        assert_eq!(*stream, StreamId::new(format.id()));
        match Correction::decode(asf).expect("a place") {
            Correction::Data(_) => {
                assert_eq!(*id, next);
                next += 1;
                cycle.push(asf.as_slice());
            }
            Correction::Parity(_) => {
                assert_eq!((*id, cycle.len()), (next - 1, 5));
                let mut third = Vec::new();
                let others = [cycle[0], cycle[1], cycle[3], cycle[4]];
                restore(asf, &others, 3, &mut third).expect("one is missing");
                assert_eq!(third, cycle[2]);
                cycle.clear();
            }
            Correction::None => panic!("a packet without a place"),
        }
    }

    // The end: what was sent before the signal, and the parity of the last cycle.
    server.terminate();
    server.wait(Duration::from_secs(20));
    let soon = Some(Duration::from_millis(100));
    socket.set_read_timeout(soon).expect("a timeout");
    heard.listen(&socket, usize::MAX);
    let (_, _, last) = heard.packets.last().expect("packets");
    assert!(matches!(
        Correction::decode(last),
        Ok(Correction::Parity(_))
    ));
}
