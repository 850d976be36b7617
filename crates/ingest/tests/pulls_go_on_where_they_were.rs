//! Channels fetched from other servers: packets come out with their times, and connections may break without anybody noticing.

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::*;
use funnel_asf::MediaObject;
use funnel_channel::{Air, Channel, Start};
use funnel_ingest::{Fallback, PullOptions, Source, SourceSpec, Timing, spawn, spawn_timed};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};

/// A server that answers each connection as it is told, in turn; the last answer again and again.
struct Origin {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Answer {
    /// Plain ASF, and the connection is closed behind it.
    Packets(Range<usize>),
    /// The same in pieces, and the connection stays.
    Paced(Range<usize>),
    /// The same at once.
    Held(Range<usize>),
    /// Anything else.
    Text(String),
}

/// Size of the show's packets.
const PACKET: usize = 1444;

impl Origin {
    fn new(answers: Vec<Answer>) -> Self {
        Self::over(None, answers)
    }

    fn over(tls: Option<Arc<ServerConfig>>, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let answer = answers[number.min(answers.len() - 1)].clone();
                let stream = stream.expect("a connection");
                let tls = tls.clone();
                // Whoever hangs up is not this server's business.
                thread::spawn(move || match tls {
                    None => drop(say(stream, &answer)),
                    Some(config) => {
                        let session = ServerConnection::new(config).expect("a sound configuration");
                        drop(say(StreamOwned::new(session, stream), &answer));
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn spec(&self, channel: &Arc<Channel>) -> SourceSpec {
        let url = format!("http://{}/show", self.address);
        spec(channel, Source::Pull(PullOptions { url, ca: None }))
    }
}

fn say(mut stream: impl Read + Write, answer: &Answer) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let (range, is_paced, is_held) = match answer {
        Answer::Text(text) => return stream.write_all(text.as_bytes()),
        Answer::Packets(range) => (range, false, false),
        Answer::Held(range) => (range, false, true),
        Answer::Paced(range) => (range, true, true),
    };
    let (head, packets) = show();
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: video/x-ms-asf\r\n\r\n")?;
    stream.write_all(&head)?;
    for packet in packets[range.clone()].iter() {
        stream.write_all(packet)?;
        if is_paced {
            stream.flush()?;
            thread::sleep(Duration::from_millis(40)); // 25.8 packets of this show are a second
        }
    }
    stream.flush()?;
    if is_held {
        thread::sleep(PATIENCE);
    }
    Ok(())
}

/// Header and packets of 20 s of picture and sound.
fn show() -> (Vec<u8>, Vec<Vec<u8>>) {
    let bytes = fs::read(media("av-300k.wmv")).expect("in the repository");
    let size = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    let head = usize::try_from(size).expect("a small header") + 50;
    let packets = bytes[head..].chunks_exact(PACKET).take(516);
    (
        bytes[..head].to_vec(),
        packets.map(<[u8]>::to_vec).collect(),
    )
}

/// The show's packet in which a key frame begins, and which has nothing else of a picture.
const KEY: usize = 136;

/// All objects of one stream, with their times.
fn shown(objects: &[MediaObject], stream: u8) -> Vec<(i64, bool, &[u8])> {
    let of_stream = objects.iter().filter(|it| it.stream == stream);
    of_stream
        .map(|it| (it.time_ms, it.key, &it.data[..]))
        .collect()
}

fn source() -> Vec<MediaObject> {
    // The normaliser sets what ffmpeg leaves out.
    let mut objects = objects_of("av-300k.wmv");
    objects
        .iter_mut()
        .filter(|it| it.stream == 2)
        .for_each(|it| it.key = true);
    objects
}

fn read_to_the_end(viewer: &mut Viewer) {
    let last = source().last().expect("objects").data.clone();
    viewer.read_until("the end of the show", |viewer| {
        viewer.objects.last().is_some_and(|it| it.data == last)
    });
}

#[test]
fn a_broken_connection_leaves_no_trace() {
    // The origin gives some of the past to whoever connects, as all do.
    let origin = Origin::new(vec![
        Answer::Packets(0..300),
        Answer::Packets(KEY..420),
        Answer::Held(282..516),
    ]);
    let channel = channel("relay", Start::Always);
    let history = air_history(&channel);
    let ingest = spawn(vec![origin.spec(&channel)]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    read_to_the_end(&mut viewer);
    let source = source();
    for stream in [1, 2] {
        assert!(shown(&viewer.objects, stream) == shown(&source, stream));
    }
    assert_eq!(viewer.send_ms.len(), 516);
    assert_eq!(viewer.dropped(), 0);
    assert_eq!(channel.snapshot().epoch.expect("announced").number, 1);
    let history = history.lock().expect("no panic inside").clone();
    let wanted = [Air::OnAir, Air::Gap, Air::OnAir, Air::Gap, Air::OnAir];
    assert_eq!(history[history.len() - 5..], wanted);
    ingest.stop();
}

#[test]
fn while_it_is_away_a_fallback_stands_in_and_gives_way_at_a_key_frame() {
    let origin = Origin::new(vec![Answer::Packets(0..200), Answer::Held(KEY..516)]);
    let channel = channel("relay", Start::Always);
    let guarded = SourceSpec {
        fallback: vec![Fallback::File(media("av-300k.wmv"))],
        source_grace: Duration::from_millis(200),
        ..origin.spec(&channel)
    };
    let ingest = spawn(vec![guarded]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    read_to_the_end(&mut viewer);
    let source = source();
    let data = |objects: &[(i64, bool, &[u8])]| -> Vec<Vec<u8>> {
        objects.iter().map(|(_, _, data)| data.to_vec()).collect()
    };
    let pictures = data(&shown(&source, 1));
    let seen = data(&shown(&viewer.objects, 1));
    // The first 200 packets hold 162 pictures; the next key frame is picture 200.
    let (first, rest) = (&pictures[..162], &pictures[200..]);
    assert!(seen.starts_with(first) && seen.ends_with(rest));
    let between = &seen[first.len()..seen.len() - rest.len()];
    assert!(!between.is_empty() && pictures.starts_with(between));
    assert_eq!(channel.snapshot().epoch.expect("announced").number, 1);
    assert!(viewer.send_ms.is_sorted());
    ingest.stop();
}

#[test]
fn what_was_missed_leaves_a_hole_of_its_length() {
    let origin = Origin::new(vec![Answer::Packets(0..KEY), Answer::Held(282..516)]);
    let channel = channel("relay", Start::Always);
    let ingest = spawn(vec![origin.spec(&channel)]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    read_to_the_end(&mut viewer);
    let source = source();
    let pictures = shown(&source, 1);
    let wanted = [&pictures[..100], &pictures[250..]].concat();
    assert!(shown(&viewer.objects, 1) == wanted);
    ingest.stop();
}

#[test]
fn a_show_that_begins_anew_is_shown_again() {
    // The same header and the same times, but at the pace of a live show.
    let origin = Origin::new(vec![Answer::Packets(0..KEY), Answer::Paced(0..300)]);
    let channel = channel("relay", Start::Always);
    let ingest = spawn(vec![origin.spec(&channel)]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    viewer.read_until("the second time", |viewer| {
        shown(&viewer.objects, 1).len() >= 150
    });
    assert_eq!(channel.snapshot().epoch.expect("announced").number, 1);
    assert!(viewer.send_ms.is_sorted());
    let source = source();
    let (seen, pictures) = (shown(&viewer.objects, 1), shown(&source, 1));
    for (number, (_, _, data)) in seen[100..].iter().enumerate() {
        assert!(*data == pictures[number].2, "picture {number} again");
    }
    ingest.stop();
}

#[test]
fn an_origin_that_is_away_is_asked_until_it_is_back_and_followed_where_it_moved() {
    let there = Origin::new(vec![Answer::Held(0..516)]);
    let moved = format!(
        "HTTP/1.0 302 Found\r\nLocation: http://{}/other\r\n\r\n",
        there.address
    );
    let origin = Origin::new(vec![
        Answer::Text("HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()),
        Answer::Text("nonsense\r\n\r\n".into()),
        Answer::Text(moved),
    ]);
    let channel = channel("relay", Start::Always);
    let ingest = spawn(vec![origin.spec(&channel)]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    read_to_the_end(&mut viewer);
    assert_eq!(origin.asked.load(Ordering::SeqCst), 3);
    ingest.stop();
}

#[test]
fn on_demand_it_is_asked_while_somebody_watches() {
    let origin = Origin::new(vec![Answer::Held(0..516)]);
    let channel = channel("relay", Start::FirstViewer);
    let timing = Timing {
        idle: Duration::from_millis(300),
        ..Timing::default()
    };
    let ingest = spawn_timed(vec![origin.spec(&channel)], timing).expect("a ring");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(origin.asked.load(Ordering::SeqCst), 0, "nobody watches");
    for round in 1..=2 {
        channel.ask_header();
        wait_for_air(&channel, Air::Ready);
        channel.viewer_started();
        wait_for_air(&channel, Air::OnAir);
        assert_eq!(origin.asked.load(Ordering::SeqCst), round);
        channel.viewer_left();
        wait_for_air(&channel, Air::Ready);
    }
    let epoch = channel.snapshot().epoch.expect("announced");
    assert_eq!(epoch.log.counters().tail, 0, "the next viewer begins anew");
    ingest.stop();
}

#[test]
fn over_https_only_whoever_has_the_right_certificate_is_pulled() {
    let certificate = |host: &str| {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("made");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("known")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key);
        (made.cert.pem(), Arc::new(config.expect("a pair")))
    };
    let (pem, config) = certificate("localhost");
    let (_, stranger) = certificate("localhost");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, pem).expect("written");
    let [good, bad] =
        [config, stranger].map(|tls| Origin::over(Some(tls), vec![Answer::Held(0..516)]));
    let pull = |channel: &Arc<Channel>, origin: &Origin| {
        let url = format!("https://localhost:{}/show", origin.address.port());
        let ca = Some(ca.clone());
        spec(channel, Source::Pull(PullOptions { url, ca }))
    };
    let (first, second) = (
        channel("good", Start::Always),
        channel("bad", Start::Always),
    );
    let specs = vec![pull(&first, &good), pull(&second, &bad)];
    let ingest = spawn(specs).expect("a ring");
    let mut viewer = Viewer::join(&first, 1);
    read_to_the_end(&mut viewer);
    wait_for("a second try", || {
        (bad.asked.load(Ordering::SeqCst) >= 2).then_some(())
    });
    assert_eq!(second.snapshot().air, Air::Waiting);
    ingest.stop();
}

#[test]
fn a_server_that_hangs_up_without_a_word_is_left_alone_for_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let channel = channel("mms", Start::Always);
    let url = format!("mms://{address}/show");
    let pull = Source::Pull(PullOptions { url, ca: None });
    let ingest = spawn(vec![spec(&channel, pull)]).expect("a ring");
    // The waits grow from half a second.
    let came: Vec<_> = (0..3)
        .map(|_| {
            let (mut stream, _): (TcpStream, _) = listener.accept().expect("a connection");
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).expect("a request");
            assert_eq!(begin[4..8], [0xCE, 0xFA, 0x0B, 0xB0], "it speaks MMS");
            std::time::Instant::now()
        })
        .collect();
    assert!(came[1] - came[0] >= Duration::from_millis(490));
    assert!(came[2] - came[1] >= Duration::from_millis(990));
    ingest.stop();
}
