//! `funnel record` and `funnel probe` take an `.nsc` file or its address, join the group, repair what is lost, and play the
//! unicast URL when nothing arrives. The sender is written from `docs/protocol/msb-nsc.md` §2–§3; groups are on the loopback
//! interface.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use funnel_wire::nsc::{Announcement, Formats, Text};
use socket2::{Domain, Socket, Type};

use crate::support::server::{FUNNEL, Setup, free_port, funnel};
use crate::support::{asf, media, player, read, tools, wait_until};

const SPAN: usize = 10;

/// A file's header and packets.
fn show(path: &Path) -> (Vec<u8>, Vec<Vec<u8>>) {
    let bytes = read(path);
    let header_bytes = u64::from_le_bytes(bytes[16..24].try_into().expect("eight")) as usize + 50;
    let (header, packets) = bytes.split_at(header_bytes);
    let packets = packets.chunks_exact(asf::packet_bytes(header));
    (header.to_vec(), packets.map(<[u8]>::to_vec).collect())
}

/// The datagrams of §2 and §3, with a full last span or its parity packet all the same.
fn datagrams(format: u16, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    let mut id = 0u32;
    let mut send = |id: u32, head: [u8; 3], body: &[u8]| {
        let size = u16::try_from(8 + 3 + body.len()).expect("a datagram");
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.extend(format.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(head);
        bytes.extend(body);
        sent.push(bytes);
    };
    for (cycle, span) in packets.chunks(SPAN).enumerate() {
        let cycle = cycle as u8;
        let mut parity = vec![0; span[0].len() - 3];
        for (number, packet) in (1..).zip(span) {
            assert_eq!(packet[0], 0x82, "error correction data of two bytes");
            send(id, [0x82, number << 4 | 1, cycle], &packet[3..]);
            id += 1;
            for (sum, byte) in parity.iter_mut().zip(&packet[3..]) {
                *sum ^= byte;
            }
        }
        let number = span.len() as u8 + 1;
        send(id - 1, [0x92, number << 4 | 2, cycle], &parity);
    }
    sent
}

/// A group on the loopback interface that nobody else has.
fn group(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), free_port())
}

/// Sends to the group from the loopback interface (which has no route to IPv6 groups).
fn sender(group: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    let loopback = Ipv4Addr::LOCALHOST;
    socket.set_multicast_if_v4(&loopback).expect("loopback");
    socket.set_multicast_ttl_v4(0).expect("this machine only");
    let from = SocketAddr::from((loopback, 0));
    socket.bind(&from.into()).expect("bound");
    let socket = UdpSocket::from(socket);
    socket.connect(group).expect("a group");
    socket
}

/// Writes the announcement of a channel with this header.
fn announce(group: SocketAddr, header: &[u8], unicast: Option<&str>, path: &Path) -> u16 {
    let formats = Formats::new(header, None).expect("a header");
    let format = formats.iter().next().expect("one").id().get();
    let port = NonZeroU16::new(group.port()).expect("a port");
    let mut announcement = Announcement::new(group.ip(), port, formats).expect("a group");
    announcement.span_max = Some(SPAN as u8);
    announcement.adapter = Some(Ipv4Addr::LOCALHOST.into());
    announcement.unicast_url = unicast.map(|url| Text::new(url).expect("text"));
    let mut text = String::new();
    announcement.encode(&mut text);
    std::fs::write(path, text).expect("written");
    format
}

/// `funnel` beside the test, until a signal or its own end.
struct Recorder {
    child: Child,
}

impl Recorder {
    fn start(arguments: &[&str], group: SocketAddr) -> Self {
        let child = Command::new(FUNNEL)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the recorder starts");
        let SocketAddr::V4(address) = group else {
            panic!("{group} is not of IPv4");
        };
        let ip = u32::from_ne_bytes(address.ip().octets());
        let local = format!(" {ip:08X}:{:04X} ", address.port());
        wait_until("the group is joined", Duration::from_secs(20), || {
            let sockets = std::fs::read_to_string("/proc/net/udp");
            sockets.expect("/proc/net").contains(&local)
        });
        Self { child }
    }

    /// Ctrl-C, and what it said.
    fn interrupt(mut self) -> String {
        tools::signal(self.child.id() as i32, libc::SIGINT);
        self.end()
    }

    fn end(&mut self) -> String {
        let status = self.child.wait().expect("its end");
        let mut said = String::new();
        for output in [
            &mut self.child.stdout.take().expect("piped") as &mut dyn std::io::Read,
            &mut self.child.stderr.take().expect("piped"),
        ] {
            output.read_to_string(&mut said).expect("text");
        }
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frames(input: &Path, folder: &Path) -> Vec<player::Frames> {
    let md5: PathBuf = folder.join("frames.md5");
    let (input, md5_text) = (input.to_string_lossy(), md5.to_string_lossy());
    let arguments = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "warning",
        "-i",
        &input,
        "-map",
        "0",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-y",
        &md5_text,
    ];
    player::run(60, &arguments).expect_success("ffmpeg");
    player::frames(&md5)
}

/// One datagram of every span is lost, a packet or the parity packet; some arrive twice, and neighbours change places.
#[test]
fn one_loss_of_each_span_is_repaired_and_every_frame_is_there() {
    let file = media::file("av-300k.wmv");
    let (header, packets) = show(&file);
    for flags in [&[][..], &["--source-specific"]] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (nsc, out) = (
            folder.path().join("show.nsc"),
            folder.path().join("show.asf"),
        );
        let group = group("239.255.48.179");
        let format = announce(group, &header, None, &nsc);
        let mut arguments = vec!["record", nsc.to_str().expect("text"), "--interface", "lo"];
        arguments.extend(["--output", out.to_str().expect("text")]);
        arguments.extend(flags);
        let recorder = Recorder::start(&arguments, group);
        let socket = sender(group);
        let mut lost = 0;
        for (cycle, span) in datagrams(format, &packets).chunks(SPAN + 1).enumerate() {
            // Not the very first packet: who was there before it came?
            let gone = (cycle * 7 + 3) % (SPAN + 1);
            let mut order: Vec<usize> = (0..span.len()).filter(|at| *at != gone).collect();
            lost += usize::from(gone + 1 < span.len());
            let middle = order.len() / 2;
            order.swap(middle, middle - 1);
            order.push(order[0]);
            for at in order {
                socket.send(&span[at]).expect("sent");
                thread::sleep(Duration::from_micros(500));
            }
        }
        thread::sleep(Duration::from_millis(300));
        let said = recorder.interrupt();
        let summary = format!(
            "{group}: {} packets, {lost} of them restored, 0 lost",
            packets.len()
        );
        assert!(said.contains(&summary), "no {summary:?} in {said}");
        assert!(said.contains("no gaps"), "{said}");
        assert!(
            frames(&out, folder.path()) == frames(&file, folder.path()),
            "{flags:?}: frames differ: {said}"
        );
    }
}

/// The announcement is read again when packets come whose header it did not have; they go into a file of their own.
#[test]
fn another_header_is_followed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let (nsc, out) = (path("show.nsc"), path("show.asf"));
    let group = group("239.255.48.182");
    let (first, pictures) = show(&media::file("av-300k.wmv"));
    let (second, sound) = show(&media::file("audio-64k.wma"));
    let format = announce(group, &first, None, &nsc);
    let mut arguments = vec!["record", nsc.to_str().expect("text"), "--interface", "lo"];
    arguments.extend(["--output", out.to_str().expect("text")]);
    let recorder = Recorder::start(&arguments, group);
    let socket = sender(group);
    for datagram in datagrams(format, &pictures[..200]) {
        socket.send(&datagram).expect("sent");
        thread::sleep(Duration::from_micros(500));
    }
    let format = announce(group, &second, None, &nsc);
    let part = path("show-2.asf.part");
    let mut later = datagrams(format, &sound).into_iter().cycle();
    wait_until("the second file has begun", Duration::from_secs(15), || {
        let datagram = later.next().expect("endless");
        socket.send(&datagram).expect("sent");
        part.exists()
    });
    thread::sleep(Duration::from_millis(300));
    let said = recorder.interrupt();
    assert!(said.contains("the channel changes its header"), "{said}");
    assert_eq!(frames(&out, folder.path()).len(), 2, "{said}");
    assert_eq!(
        frames(&path("show-2.asf"), folder.path()).len(),
        1,
        "{said}"
    );
}

/// Answers each request with the file, at this address.
fn serve(path: &Path) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let url = format!(
        "http://{}/show.nsc#54",
        listener.local_addr().expect("bound")
    );
    let path = path.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut request = [0; 4096];
            let bytes = stream.read(&mut request).expect("a request");
            assert!(request[..bytes].starts_with(b"GET /show.nsc HTTP/1.1\r\n"));
            let body = read(&path);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(&body).expect("sent");
        }
    });
    url
}

/// Goes on until it is dropped.
struct Repeating<'a>(&'a AtomicBool);

impl Drop for Repeating<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_probe_by_http_says_what_the_group_brings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (header, packets) = show(&media::file("av-300k.wmv"));
    let nsc = folder.path().join("show.nsc");
    let group = group("239.255.48.180");
    let format = announce(group, &header, Some("mms://studio.example/show"), &nsc);
    let url = serve(&nsc);
    let sent = datagrams(format, &packets);
    for (hears, datagram) in [("beacons", &b"MSB "[..]), ("packets", &sent[0][..])] {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let repeating = Repeating(&is_over);
            scope.spawn(|| {
                let socket = sender(group);
                while !is_over.load(Ordering::Relaxed) {
                    socket.send(datagram).expect("sent");
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let ran = funnel(&["probe", &url, "--json", "--interface", "127.0.0.1"]);
            drop(repeating);
            ran.expect_success("funnel probe --json");
            let found: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
            assert_eq!(found["multicast"]["hears"], hears, "{found:#}");
            assert_eq!(found["multicast"]["group"], group.to_string());
            assert_eq!(
                found["multicast"]["unicast_url"],
                "mms://studio.example/show"
            );
            assert_eq!(found["title"], "av-300k");
        });
    }
}

#[test]
fn the_unicast_url_is_played_when_nothing_arrives() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let (header, _) = show(&media::file("av-300k.wmv"));
    let (nsc, out) = (
        server.folder().join("show.nsc"),
        server.folder().join("show.asf"),
    );
    let group = group("239.255.48.181");
    announce(group, &header, Some(&server.mmst("show")), &nsc);
    let path = nsc.to_str().expect("text");
    let mut arguments = vec!["record", path, "--interface", "lo", "--open-time", "300ms"];
    arguments.extend(["--duration", "2s", "--output", out.to_str().expect("text")]);
    let ran = funnel(&arguments);
    ran.expect_success("funnel record");
    assert!(
        ran.stderr
            .contains(&format!("nothing arrives from the group {group}")),
        "{}",
        ran.report()
    );
    assert!(!frames(&out, server.folder())[0].is_empty());
    let probed = funnel(&["probe", path, "--interface", "lo", "--open-time", "300ms"]);
    probed.expect_success("funnel probe");
    assert!(
        probed.stdout.contains("server    9."),
        "{}",
        probed.report()
    );
    server.stop();

    // And when there is none, it says so.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nsc = folder.path().join("show.nsc");
    let path = nsc.to_str().expect("text");
    announce(group, &header, None, &nsc);
    let ran = funnel(&["probe", path, "--interface", "lo", "--open-time", "300ms"]);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.report());
    assert!(ran.stderr.contains("no unicast URL"), "{}", ran.report());
    for (arguments, words) in [
        (
            ["probe", "/nowhere/show.nsc"],
            "/nowhere/show.nsc: No such file",
        ),
        (["probe", "https://studio/show.nsc"], "not https://"),
    ] {
        let ran = funnel(&arguments);
        assert!(
            !ran.status.success() && ran.stderr.contains(words),
            "{}",
            ran.report()
        );
    }
}
