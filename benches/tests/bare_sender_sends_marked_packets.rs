//! The floor must be real: whoever asks the bare sender gets a probe channel, every packet whole, in order and in time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use funnel_asf::probe::is_probe;
use funnel_asf::{Deframer, Item, Mark};

const PACKETS: u64 = 120;
const BITS_PER_SECOND: u32 = 1_000_000;

#[test]
fn by_sendmsg() {
    check("sendmsg");
}

#[test]
fn by_ring() {
    check("ring");
}

#[test]
fn by_sendmsg_in_one_piece() {
    check_with("sendmsg", &["--flat"]);
}

#[test]
fn by_trains() {
    check_datagrams("trains");
}

#[test]
fn by_datagrams() {
    check_datagrams("datagrams");
}

/// Three receivers at neighbouring addresses get every packet as a datagram of its own.
fn check_datagrams(by: &str) {
    let receivers = neighbours();
    let to = receivers[0].local_addr().expect("bound").to_string();
    let more = ["--to", &to, "--receivers", "3", "--senders", "2"];
    let mut sender = BareSender::start(by, &more);
    assert_eq!(sender.address, format!("udp://{to}"));
    let mut datagram = [0; 2_048];
    for seq in 0..PACKETS {
        for receiver in &receivers {
            let patience = Some(Duration::from_secs(10));
            receiver.set_read_timeout(patience).expect("a socket");
            let bytes = receiver.recv(&mut datagram).expect("it keeps sending");
            assert_eq!(bytes, 1_008, "head and body");
            let mark = Mark::verify(&datagram[..bytes]).expect("every packet is whole");
            assert_eq!(mark.seq, seq, "in order, none missing");
        }
    }
    let told = sender.stop();
    assert!(told.starts_with("3 connections; "), "{told}");
    assert!(told.contains("0 sends cut short, 0 packets lost"), "{told}");
    let number = |unit: &str| -> u64 {
        let words = told.split(unit).next().expect("it counts");
        let last = words.split_whitespace().last().expect("a number");
        last.parse().expect("a number")
    };
    let (sends, packets) = (number(" sends, "), number(" packets, "));
    // 20 ms at 1 Mb/s are two and a half packets.
    if by == "trains" {
        assert!(sends < packets, "{told}");
    } else {
        assert_eq!(sends, packets);
    }
}

/// Sockets at 127.0.0.1 to 127.0.0.3 with the same port.
fn neighbours() -> [UdpSocket; 3] {
    let bind = |last, port| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), port));
    loop {
        let first = bind(1, 0).expect("there are ports");
        let port = first.local_addr().expect("bound").port();
        // Somebody else may have the port at another address.
        if let (Ok(second), Ok(third)) = (bind(2, port), bind(3, port)) {
            return [first, second, third];
        }
    }
}

fn check(by: &str) {
    check_with(by, &[]);
}

fn check_with(by: &str, more: &[&str]) {
    let mut sender = BareSender::start(by, more);
    let mut viewers = [sender.connect(), sender.connect(), sender.connect()];
    for viewer in &mut viewers {
        watch(viewer);
    }
    drop(viewers);
    let told = sender.stop();
    assert!(told.starts_with("3 connections; "), "{told}");
    assert!(told.contains("0 sends cut short, 0 packets lost"), "{told}");
}

/// Reads the response, the header and `PACKETS` packets.
fn watch(connection: &mut TcpStream) {
    let mut deframer = Deframer::new();
    let mut begun = false;
    let mut next = None;
    let mut count = 0;
    let mut part = [0; 4_096];
    let mut head = Vec::new();
    while count < PACKETS {
        let taken = connection.read(&mut part).expect("it keeps sending");
        assert!(taken > 0, "it does not close");
        if begun {
            deframer.push(&part[..taken]);
        } else {
            head.extend_from_slice(&part[..taken]);
            let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            assert!(head.starts_with(b"HTTP/1.0 200 OK\r\nServer: bare-sender\r\n"));
            deframer.push(&head[end + 4..]);
            begun = true;
        }
        while let Some(item) = deframer.next().expect("it is ASF") {
            match item {
                Item::Header(header) => {
                    let probe = is_probe(&header).expect("a probe channel");
                    assert_eq!(probe.packet_bytes(), 1_008, "head and body");
                    assert_eq!(
                        probe.bits_per_second(),
                        1_008_000,
                        "as many packets as of 1,000 bytes"
                    );
                }
                Item::Packet(packet) => {
                    let mark = Mark::verify(packet).expect("every packet is whole");
                    assert_eq!(
                        mark.seq,
                        *next.get_or_insert(mark.seq),
                        "in order, none missing"
                    );
                    next = Some(mark.seq + 1);
                    count += 1;
                    let age = unix_now().checked_sub(Duration::from_nanos(mark.due_unix_ns));
                    assert!(age.expect("none before it is due") < Duration::from_secs(5));
                }
                Item::End => panic!("it has no end"),
            }
        }
    }
}

fn unix_now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970")
}

struct BareSender {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl BareSender {
    fn start(by: &str, more: &[&str]) -> BareSender {
        let rate = BITS_PER_SECOND.to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_bare-sender"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--by",
                by,
                "--packet-bytes",
                "1000",
            ])
            .args([
                "--bits-per-second",
                &rate,
                "--train-ms",
                "20",
                "--connections",
                "64",
            ])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says where it is");
        let address = line
            .trim()
            .trim_start_matches("http://")
            .trim_end_matches('/');
        BareSender {
            child,
            address: address.to_owned(),
            output,
        }
    }

    fn connect(&self) -> TcpStream {
        let mut connection = TcpStream::connect(&self.address).expect("it listens");
        let patience = Some(Duration::from_secs(10));
        connection.set_read_timeout(patience).expect("a socket");
        // In two parts, as a slow client sends it.
        for part in ["GET / HTTP/1.0\r\n", "\r\n"] {
            connection.write_all(part.as_bytes()).expect("it reads");
        }
        connection
    }

    /// Ends it; what it says then.
    fn stop(&mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let mut told = String::new();
        self.output.read_to_string(&mut told).expect("text");
        assert!(self.child.wait().expect("our child").success());
        told
    }
}

impl Drop for BareSender {
    fn drop(&mut self) {
        // Ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
