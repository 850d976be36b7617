//! A player over HTTP chooses streams on connections of their own, which reach any worker: the one that serves it hears of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::server::Setup;
use crate::support::{asf, media};

/// More than any run of packets without video in the file.
const PACKETS_WITHOUT: usize = 60;
/// Far more packets than between two key frames.
const PACKETS_MAX: usize = 4_000;

/// An answer's head, and what follows it.
struct Answer {
    head: String,
    rest: BufReader<TcpStream>,
}

fn ask(address: SocketAddr, method: &str, pragmas: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("connected");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a time-out");
    let pragmas: String = pragmas
        .iter()
        .map(|pragma| format!("Pragma: {pragma}\r\n"))
        .collect();
    let request = format!(
        "{method} /show HTTP/1.0\r\nHost: localhost\r\nUser-Agent: NSPlayer/9.0.0.2980\r\n{pragmas}Content-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("asked");
    let mut rest = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(rest.read_line(&mut head).expect("an answer"), 0, "{head}");
    }
    Answer { head, rest }
}

impl Answer {
    /// The next `$H` or `$D`, its content.
    fn content(&mut self, letter: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 4];
            self.rest.read_exact(&mut head).expect("a packet's head");
            assert_eq!(head[0], b'$');
            let size = u16::from_le_bytes([head[2], head[3]]);
            let mut packet = vec![0; usize::from(size)];
            self.rest.read_exact(&mut packet).expect("a packet");
            if head[1] == letter {
                return packet.split_off(8);
            }
        }
    }
}

#[test]
fn whichever_worker_hears_them() {
    let mut setup = Setup::new();
    let path = media::file("av-300k.wmv");
    setup.table("[server]\nworkers = 2");
    setup.channel(
        "show",
        &format!("source = {{ kind = \"file\", path = {path:?}, speed = 4.0 }}\ntrain_ms = 50\nfast_start_seconds = 0"),
    );
    let server = setup.start();
    let address = server.http_address();
    let play = ["xPlayStrm=1", "no-cache,rate=1.000000"];
    let mut viewer = ask(address, "GET", &play);
    assert!(viewer.head.contains(" 200 "), "{}", viewer.head);
    let id = viewer.head.split("client-id=").nth(1).expect("an id");
    let id = id.split(|end: char| !end.is_ascii_digit()).next();
    let id = format!("client-id={}", id.expect("a number"));
    let (_, video) = asf::streams(&viewer.content(b'H'));
    let mut has_video = || {
        let packet = asf::packet(&viewer.content(b'D')).expect("a sound packet");
        let mut streams = packet.payloads.iter().map(|payload| payload.stream);
        streams.any(|stream| video.contains(&stream))
    };
    // Twelve connections: all on one worker once in 2,048 runs at most, and half of those on the viewer's.
    for turn in 0..12 {
        let off = turn % 2 == 0;
        let level = if off { 2 } else { 0 };
        let entry = format!("stream-switch-entry={0}:{0}:{level}", video[0]);
        let order = ask(address, "POST", &[&id, "stream-switch-count=1", &entry]);
        assert!(order.head.contains(" 200 "), "{}", order.head);
        let mut without = 0;
        let heard = (0..PACKETS_MAX).any(|_| {
            without = if has_video() { 0 } else { without + 1 };
            if off {
                without > PACKETS_WITHOUT
            } else {
                without == 0
            }
        });
        assert!(heard, "order {turn} was not heard");
    }
    server.stop();
}
