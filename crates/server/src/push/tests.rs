use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream as Connection};
use std::path::Path;
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};

use clap::Parser as _;
use funnel_asf::{Deframer, Header, Item};

use super::*;

/// A show of two seconds: the beginning of a longer one.
fn media() -> &'static str {
    static SHORT: LazyLock<(tempfile::TempDir, String)> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/media");
        let long = std::fs::read(folder.join("av-300k.wmv")).expect("test media");
        let header = Header::parse(&long).expect("a sound header");
        let size = header.bytes().len() + 60 * header.packet_bytes() as usize;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("short.wmv");
        std::fs::write(&path, &long[..size]).expect("written");
        let path = path.display().to_string();
        (folder, path)
    });
    &SHORT.1
}

/// `funnel push` with these arguments behind the file.
fn push(url: &str, more: &[&str]) -> Result<(), Failure> {
    let media = media();
    let words = ["funnel", "push", media, url].into_iter();
    let cli = cli::Cli::try_parse_from(words.chain(more.iter().copied())).expect("arguments");
    match cli.command {
        Some(cli::Command::Push(arguments)) => run(&arguments),
        other => panic!("{other:?}"),
    }
}

/// A server that takes one connection after the other, and its port.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (port, thread::spawn(move || serve(listener)))
}

fn accept(listener: &TcpListener) -> BufReader<Connection> {
    BufReader::new(listener.accept().expect("a connection").0)
}

/// The head of a request, as lines.
fn head(peer: &mut BufReader<Connection>) -> Vec<String> {
    let lines = peer.by_ref().lines().map(|line| line.expect("text"));
    lines.take_while(|line| !line.is_empty()).collect()
}

fn say(peer: &mut BufReader<Connection>, text: &str) {
    peer.get_mut().write_all(text.as_bytes()).expect("taken");
}

/// That media has the file's packets, all of them.
fn assert_whole(bytes: &[u8]) {
    let mut reel = Reel::open(media(), false).expect("test media");
    let mut deframer = Deframer::new();
    deframer.push(bytes);
    deframer.finish();
    let mut headers = 0;
    while let Some(item) = deframer.next().expect("sound media") {
        match item {
            Item::Header(header) => {
                headers += 1;
                assert_eq!(header.bytes(), reel.header().bytes());
            }
            Item::Packet(packet) => {
                let expected = reel.next_packet().expect("readable").expect("one more");
                assert_eq!(packet, expected.bytes);
            }
            Item::End => {}
        }
    }
    assert_eq!(headers, 1);
    assert_eq!(reel.next_packet().expect("readable"), None);
}

#[test]
fn targets_are_what_encoders_push_to() {
    let target = |text: &str| text.parse::<Target>();
    assert!(target("http://me:pw@h:8080/live").is_ok_and(|target| !target.is_raw));
    assert!(target("https://[::1]/live").is_ok());
    assert!(target("TCP://[::1]:9000").is_ok_and(|target| target.is_raw));
    for wrong in [
        "h:8080/live",
        "mms://h/live",
        "tcp://h",
        "tcp://[::1]",
        "http://",
        "ftp://h/x",
    ] {
        assert!(target(wrong).is_err(), "{wrong}");
    }
    let wrong = push("http://127.0.0.1:1/x", &["--protocol", "tcp"]);
    assert!(matches!(wrong, Err(Failure::Usage(_))), "{wrong:?}");
}

#[test]
fn a_file_goes_out_over_bare_tcp_in_real_time() {
    let (port, server) = server(|listener| {
        let mut bytes = Vec::new();
        accept(&listener).read_to_end(&mut bytes).expect("all");
        bytes
    });
    let began = Instant::now();
    push(&format!("tcp://127.0.0.1:{port}"), &[]).expect("pushed");
    let length = funnel_ingest::inspect(media()).expect("test media").survey;
    let length = Duration::from_millis(length.duration_ms);
    assert!(
        began.elapsed() > length / 2,
        "{:?} of {length:?}",
        began.elapsed()
    );
    assert_whole(&server.join().expect("it ends"));
}

#[test]
fn windows_media_is_the_protocol_of_http() {
    let (port, server) = server(|listener| {
        let mut peer = accept(&listener);
        let setup = head(&mut peer);
        say(
            &mut peer,
            "HTTP/1.1 204 No Content\r\nSet-Cookie: push-id=7\r\nContent-Length: 0\r\n\r\n",
        );
        let start = head(&mut peer);
        let mut media = Vec::new();
        let mut packet = [0; 4];
        while peer.read_exact(&mut packet).is_ok() {
            let mut body = vec![0; u16::from_le_bytes([packet[2], packet[3]]).into()];
            peer.read_exact(&mut body).expect("a whole packet");
            if matches!(packet[1], b'H' | b'D') {
                media.extend(body);
            }
        }
        (setup, start, media)
    });
    push(&format!("http://127.0.0.1:{port}/live"), &[]).expect("pushed");
    let (setup, start, media) = server.join().expect("it ends");
    assert_eq!(setup[0], "POST /live HTTP/1.1");
    assert!(
        start.contains(&"Cookie: push-id=7".to_owned()),
        "{start:#?}"
    );
    assert_whole(&media);
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let (port, server) = server(|listener| {
        let mut peer = accept(&listener);
        head(&mut peer);
        say(
            &mut peer,
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nNot for you\n",
        );
    });
    let url = format!("http://me:secret@127.0.0.1:{port}/live");
    let failure = push(&url, &["--loop", "--protocol", "post"]).expect_err("refused");
    server.join().expect("it ends");
    let Failure::Fault(why) = failure else {
        panic!("{failure:?}")
    };
    let expected = format!("http://127.0.0.1:{port}/live refuses: 403 Not for you");
    assert_eq!(why, expected, "and no password");
}

#[test]
fn a_server_that_goes_away_is_a_fault_without_loop() {
    let (port, server) = server(|listener| drop(accept(&listener)));
    let failure = push(&format!("tcp://127.0.0.1:{port}"), &[]).expect_err("lost");
    server.join().expect("it ends");
    assert!(matches!(failure, Failure::Fault(_)), "{failure:?}");
    let nobody = push(&format!("http://127.0.0.1:{port}/x"), &[]).expect_err("nobody");
    assert!(
        matches!(&nobody, Failure::Fault(why) if why.contains("refused")),
        "{nobody:?}"
    );
}
