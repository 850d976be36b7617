//! Over TLS everything is as without: bytes, ends, stalls, lag, pages. What TLS brings itself: versions, tickets, new certificates, and
//! strangers who do not speak it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_asf::probe::Mark;
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use socket2::{Domain, Socket, Type};

use crate::support::server::{Server, Setup};
use crate::support::{asf, media, wait_until};

/// Certificate and key in a folder of the test.
struct Issued {
    certificate: PathBuf,
    key: PathBuf,
}

impl Issued {
    fn new(folder: &Path) -> Issued {
        Issued {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        }
    }

    /// Writes a new pair and returns the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(&self.certificate, cert.pem()).expect("written");
        fs::write(&self.key, signing_key.serialize_pem()).expect("written");
        cert.der().clone()
    }
}

/// A server that listens for HTTPS, too, and what trusts it.
fn serve(setup: impl FnOnce(&mut Setup)) -> (Server, Issued, Arc<ClientConfig>) {
    let mut config = Setup::new();
    let issued = Issued::new(config.folder());
    let certificate = issued.renew();
    config.https(&issued.certificate, &issued.key);
    setup(&mut config);
    (
        config.start(),
        issued,
        trusting(&certificate, rustls::ALL_VERSIONS),
    )
}

fn trusting(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions of TLS");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn https_address(server: &Server) -> SocketAddr {
    let url = server.https_url("");
    let address = url
        .strip_prefix("https://")
        .and_then(|url| url.split('/').next());
    address
        .and_then(|address| address.parse().ok())
        .expect("an address")
}

/// A connection whose kernel buffers little, so that a stall is soon felt.
fn connect(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .set_recv_buffer_size(64 << 10)
        .expect("a small buffer");
    socket.connect(&address.into()).expect("connected");
    let socket = TcpStream::from(socket);
    let patience = Some(Duration::from_secs(20));
    socket.set_read_timeout(patience).expect("a time-out");
    socket
}

/// A plain GET of a channel, over whatever there is.
struct Guest<S> {
    stream: S,
    head: String,
    header: Vec<u8>,
    packet_bytes: usize,
}

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

fn ask<S: Read + Write>(mut stream: S, path: &str) -> (S, String) {
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asked");
    stream.flush().expect("asked");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    (stream, String::from_utf8(head).expect("text"))
}

impl<S: Read + Write> Guest<S> {
    fn watch(stream: S, path: &str) -> Guest<S> {
        let (mut stream, head) = ask(stream, path);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut header = vec![0; 24];
        stream.read_exact(&mut header).expect("a header");
        let size = u64::from_le_bytes(header[16..24].try_into().expect("8 bytes")) + 50;
        header.resize(size as usize, 0);
        stream.read_exact(&mut header[24..]).expect("a header");
        let packet_bytes = asf::packet_bytes(&header);
        Guest {
            stream,
            head,
            header,
            packet_bytes,
        }
    }

    fn packet(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; self.packet_bytes];
        self.stream.read_exact(&mut packet)?;
        Ok(packet)
    }

    /// The number a probe's packet has, which must be sound.
    fn seq(&mut self) -> u64 {
        let packet = self.packet().expect("a packet");
        Mark::verify(&packet).expect("a sound mark").seq
    }

    /// All packets to a proper end: over TLS, with its goodbye.
    fn rest(mut self) -> Vec<u8> {
        let mut media = Vec::new();
        self.stream.read_to_end(&mut media).expect("a proper end");
        assert_eq!(media.len() % self.packet_bytes, 0);
        media
    }
}

fn encrypted(server: &Server, config: &Arc<ClientConfig>) -> Encrypted {
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    StreamOwned::new(session, connect(https_address(server)))
}

const PROBE: &str = "source = { kind = \"probe\", bits_per_second = \"4 Mb/s\" }\ntrain_ms = 50";

#[test]
fn the_bytes_and_the_end_are_those_of_http() {
    let clip = media::file("av-300k.wmv");
    let (server, _, config) = serve(|setup| {
        setup.file_once("plain", &clip, 8.0);
        setup.file_once("secret", &clip, 8.0);
    });
    let plain = connect(server.http_address());
    let plain = std::thread::spawn(move || {
        let guest = Guest::watch(plain, "plain");
        (asf::without_file_id(&guest.header), guest.rest())
    });
    let guest = Guest::watch(encrypted(&server, &config), "secret");
    assert!(guest.head.contains("video/x-ms-asf"), "{}", guest.head);
    let header = asf::without_file_id(&guest.header);
    let media = guest.rest();
    let (plain_header, plain_media) = plain.join().expect("the other viewer");
    assert!(header == plain_header);
    assert!(!media.is_empty() && media == plain_media);
    server.stop();
}

#[test]
fn who_stalls_goes_on_without_a_gap_and_who_stalls_for_long_is_cut() {
    let (server, _, config) = serve(|setup| {
        setup.channel(
            "patient",
            &format!("{PROBE}\nlag_disconnect_seconds = 30\nlog_seconds = 30"),
        );
        setup.channel(
            "strict",
            &format!("{PROBE}\nlag_disconnect_seconds = 2\nlog_seconds = 30"),
        );
    });
    let mut strict = Guest::watch(encrypted(&server, &config), "strict");
    let mut patient = Guest::watch(encrypted(&server, &config), "patient");
    let mut next = patient.seq();
    for _ in 0..4 {
        // Longer than all buffers on the way: a send is taken in parts, in the middle of a record.
        std::thread::sleep(Duration::from_millis(1_500));
        for _ in 0..400 {
            next += 1;
            assert_eq!(patient.seq(), next);
        }
    }
    wait_until("the strict one is cut", Duration::from_secs(20), || {
        server.log().contains("lag: it took nothing")
    });
    // What is on its way is sound to the last record, and then it is over.
    while strict.packet().is_ok() {}
    let error = strict.packet().expect_err("it was cut");
    assert_ne!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(patient.seq() > next);
    server.stop();
}

#[test]
fn both_versions_of_tls_are_spoken_and_sessions_resumed() {
    let (server, issued, _) = serve(|setup| {
        setup.channel("probe", PROBE);
    });
    let pem = fs::read(&issued.certificate).expect("a certificate");
    let certificate = <CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem);
    let certificate = certificate.expect("a certificate");
    let versions: [(&'static SupportedProtocolVersion, ProtocolVersion); 2] = [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ];
    for (version, named) in versions {
        let config = trusting(&certificate, &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut guest = Guest::watch(encrypted(&server, &config), "probe");
            let next = guest.seq() + 1;
            assert_eq!(guest.seq(), next);
            let session = &guest.stream.conn;
            assert_eq!(session.protocol_version(), Some(named));
            assert_eq!(session.handshake_kind(), Some(expected), "{named:?}");
        }
    }
    server.stop();
}

#[test]
fn a_new_certificate_is_shown_to_newcomers_and_a_broken_one_to_nobody() {
    let (server, issued, config) = serve(|setup| {
        setup.channel("probe", PROBE);
    });
    let mut before = Guest::watch(encrypted(&server, &config), "probe");
    let mut next = before.seq();
    fs::write(&issued.key, "no key").expect("written");
    wait_until("the broken key is told", Duration::from_secs(20), || {
        server.log().contains("the new certificate cannot be used")
    });
    Guest::watch(encrypted(&server, &config), "probe").seq();
    let renewed = trusting(&issued.renew(), rustls::ALL_VERSIONS);
    wait_until("the new one is told", Duration::from_secs(20), || {
        server
            .log()
            .contains("a new certificate is shown from now on")
    });
    wait_until("the new one is shown", Duration::from_secs(2), || {
        let mut stream = encrypted(&server, &renewed);
        stream.conn.complete_io(&mut stream.sock).is_ok()
    });
    Guest::watch(encrypted(&server, &renewed), "probe").seq();
    for _ in 0..100 {
        next += 1;
        assert_eq!(before.seq(), next, "its viewers notice nothing");
    }
    server.stop();
}

#[test]
fn strangers_are_sent_away_and_disturb_nobody() {
    let (server, _, config) = serve(|setup| {
        setup.table("[limits]\nhandshake_seconds = 2");
        setup.channel("probe", PROBE);
    });
    let mut guest = Guest::watch(encrypted(&server, &config), "probe");
    let mut next = guest.seq();
    let hello = client_hello(&config);
    let begun = Instant::now();
    let words: [&[u8]; 6] = [
        b"GET /probe HTTP/1.1\r\n\r\n",
        b"\x01\0\0\0\xce\xfa\x0b\xb0 MMS, but not in the open",
        b"\x16\x03\x01\xff\xff far too long a record",
        &hello[..hello.len() / 2], // and then silence
        b"",
        &[0x15, 3, 3, 0, 2, 2, 40], // an alert: it does not like our certificate
    ];
    let strangers: Vec<TcpStream> = words
        .iter()
        .map(|words| {
            let mut stranger = connect(https_address(&server));
            stranger.write_all(words).expect("said");
            stranger
        })
        .collect();
    for (mut stranger, words) in strangers.into_iter().zip(words) {
        let mut answer = Vec::new();
        // However it ends, nothing of the channel is in it, and it ends.
        let _ = stranger.read_to_end(&mut answer);
        assert!(answer.len() < 100, "{words:?} got {} bytes", answer.len());
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "nobody may stay");
    for _ in 0..100 {
        next += 1;
        assert_eq!(guest.seq(), next);
    }
    server.stop();
}

/// The first words of a client.
fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("written");
    hello
}

#[test]
fn pages_come_over_tls_however_the_request_is_cut() {
    let (server, _, config) = serve(|setup| {
        setup.channel("probe", PROBE);
    });
    let plain = {
        let (mut stream, head) = ask(connect(server.http_address()), "probe.asx");
        let mut body = String::new();
        stream.read_to_string(&mut body).expect("a playlist");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body
    };
    assert!(plain.contains("http://localhost"), "{plain}");
    let request = b"GET /probe.asx HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test/1.0\r\n\r\n";
    // Who says that this is all it will ever say still wants to hear.
    let mut last_words = connect(server.http_address());
    last_words.write_all(request).expect("said");
    last_words.shutdown(Shutdown::Write).expect("said");
    let mut answer = String::new();
    last_words.read_to_string(&mut answer).expect("a playlist");
    assert!(answer.ends_with(&plain), "{answer}");
    let mut last_words = encrypted(&server, &config);
    last_words.write_all(request).expect("said");
    last_words.conn.send_close_notify();
    last_words.flush().expect("said");
    last_words.sock.shutdown(Shutdown::Write).expect("said");
    let mut answer = String::new();
    last_words.read_to_string(&mut answer).expect("a playlist");
    assert!(answer.contains("https://localhost"), "{answer}");
    for cut in [1, 5, request.len() - 1, request.len()] {
        let mut stream = encrypted(&server, &config);
        let (first, second) = request.split_at(cut);
        for part in [first, second] {
            stream.write_all(part).expect("said");
            stream.flush().expect("said");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a proper end");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("https://localhost"), "{answer}");
    }
    server.stop();
}

#[test]
fn at_the_end_of_the_server_everybody_hears_goodbye() {
    let (mut server, _, config) = serve(|setup| {
        setup.channel("probe", PROBE);
    });
    let mut guests: Vec<_> = (0..8)
        .map(|_| Guest::watch(encrypted(&server, &config), "probe"))
        .collect();
    for guest in &mut guests {
        guest.seq();
    }
    server.terminate();
    for guest in guests {
        guest.rest();
    }
    assert!(server.wait(Duration::from_secs(10)).success());
}
