use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use funnel_channel::{ChannelOptions, EpochSpec, LogConfig};
use funnel_control::config::Config;
use funnel_ingest::inspect_bytes;

use super::*;
use crate::settings::DEMO;

fn site() -> Site {
    Site {
        product: "funnel/0".to_owned(),
        host: "studio".to_owned(),
        host_is_configured: true,
        mms: 1755,
        http: Some(8080),
        https: None,
    }
}

/// A desk that shows the demo, on air.
fn desk() -> (Sender<Visitor>, Arc<Channel>) {
    let options = ChannelOptions {
        start: Start::Always,
        readers_max: 1,
    };
    let channel = Channel::new("demo", options);
    let exhibit = Exhibit {
        channel: Arc::clone(&channel),
        is_load_test: false,
        is_multicast: false,
        elsewhere: None,
    };
    let channels = Directory::new([("demo".to_owned(), exhibit)]).expect("one name");
    let desk = start(site(), channels, Board::default()).expect("a thread");
    (desk, channel)
}

fn put_on_air(channel: &Channel) {
    let demo = inspect_bytes("the built-in demo", DEMO).expect("the demo");
    let header = demo.live.header.bytes();
    let spec = EpochSpec {
        header: header.into(),
        packet_bytes: 1400,
        bit_rate: 299_200,
        streams: 0b110,
        log: LogConfig {
            packet_bytes: 0,
            retain: Duration::from_secs(1),
            bytes_max: 1 << 20,
            readers_max: 0,
            first_seq: 0,
        },
    };
    channel.announce(spec).expect("a workable log");
    channel.set_air(Air::OnAir);
}

/// A connection whose head a shard has read, and the visitor's end of it.
fn visit(desk: &Sender<Visitor>, received: &str) -> TcpStream {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let local: SocketAddr = listener.local_addr().expect("an address");
    let client = TcpStream::connect(local).expect("it listens");
    let (socket, peer) = listener.accept().expect("a connection");
    socket.set_nonblocking(true).expect("a socket");
    let visitor = Visitor {
        socket,
        tls: None,
        received: received.as_bytes().to_vec(),
        peer,
        local,
    };
    desk.blocking_send(visitor).expect("the desk is open");
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    client
}

fn answer(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("a whole answer");
    answer
}

#[test]
fn a_channel_is_shown_as_it_is_at_that_moment() {
    let (desk, channel) = desk();
    let mut client = visit(&desk, "GET /demo HTTP/1.1\r\nHost: h\r\n\r\n");
    client.shutdown(Shutdown::Write).expect("still open");
    let waiting = answer(&mut client);
    assert!(waiting.starts_with("HTTP/1.1 200 OK\r\n"), "{waiting}");
    assert!(waiting.contains("waiting for its source"), "{waiting}");
    put_on_air(&channel);
    channel.viewer_started();
    let title = Config::demo().channels.remove(0).title;
    let mut client = visit(&desk, "GET /demo HTTP/1.0\r\n\r\n");
    client.shutdown(Shutdown::Write).expect("still open");
    let on_air = answer(&mut client);
    for expected in [
        "HTTP/1.0 200 OK\r\n",
        "server: funnel/0\r\n",
        "on air, 300 kb/s, 1 viewer\n",
        "video ",
        "audio ",
        "mms://studio/demo\n",
        "http://studio:8080/demo\n",
        title.as_deref().unwrap_or("demo: "),
    ] {
        assert!(on_air.contains(expected), "{expected:?} in {on_air}");
    }
}

#[test]
fn a_request_in_pieces_and_one_with_more_behind_it_get_one_answer_each() {
    let (desk, _channel) = desk();
    let mut pieces = visit(&desk, "HEAD /demo.m3u HTTP/1.1\r\nHo");
    pieces.write_all(b"st: h\r\n\r\n").expect("taken");
    let mut more = visit(
        &desk,
        "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    for client in [&pieces, &more] {
        client.shutdown(Shutdown::Write).expect("still open");
    }
    let head = answer(&mut pieces);
    assert!(head.contains("content-length: 48\r\n"), "{head}");
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let one = answer(&mut more);
    assert!(one.starts_with("HTTP/1.1 404 Not Found\r\n"), "{one}");
    assert_eq!(one.matches("HTTP/1.1").count(), 1, "{one}");
}

#[test]
fn who_stays_is_let_go_and_nobody_waits_for_it() {
    let (desk, _channel) = desk();
    let began = Instant::now();
    let mut mute = visit(&desk, "GET /");
    let mut other = visit(&desk, "GET / HTTP/1.0\r\n\r\n");
    other.shutdown(Shutdown::Write).expect("still open");
    assert!(answer(&mut other).contains("200 OK"));
    assert!(began.elapsed() < VISIT_MAX / 2, "it waited for the mute");
    assert_eq!(answer(&mut mute), "");
    assert!(began.elapsed() < VISIT_MAX + Duration::from_secs(5));
}

#[test]
fn what_is_no_request_is_refused() {
    let (desk, _channel) = desk();
    for bad in [
        "GET / HTTP/9.9\r\n\r\n",
        "\u{1}\u{2}\r\n\r\n",
        "GET  /\r\n\r\n",
    ] {
        let mut client = visit(&desk, bad);
        client.shutdown(Shutdown::Write).expect("still open");
        let refusal = answer(&mut client);
        assert!(refusal.starts_with("HTTP/1.1 400 "), "{bad:?}: {refusal}");
    }
}
