//! Encoders that push, real ones and scripted ones, over real sockets: what they send goes on air, and their coming and going is what
//! viewers are told to expect.

mod common;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use common::{
    gate::{Encoder, Program},
    *,
};
use funnel_asf::{Deframer, Item};
use funnel_channel::{Air, Channel, Start};
use funnel_ingest::{
    Ingest, IngestError, Login, Password, PushOptions, Source, Timing, spawn, spawn_timed,
};

fn push(options: PushOptions) -> (Arc<Channel>, Ingest) {
    let channel = channel("live", Start::Always);
    let ingest = spawn(vec![spec(&channel, Source::Push(options))]).expect("a ring");
    (channel, ingest)
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// Header and packets of a file.
fn parts(name: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut deframer = Deframer::new();
    deframer.push(&fs::read(media(name)).expect("in the repository"));
    let (mut header, mut packets) = (Vec::new(), Vec::new());
    while let Ok(Some(item)) = deframer.next() {
        match item {
            Item::Header(found) => header = found.bytes().to_vec(),
            Item::Packet(packet) => packets.push(packet.to_vec()),
            Item::End => break,
        }
    }
    (header, packets)
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("small").to_le_bytes();
    [&[b'$', kind], &length[..], body].concat()
}

fn request(content: &str, cookie: &str, body_bytes: usize) -> String {
    format!(
        "POST /live HTTP/1.1\r\nContent-Type: application/x-wms-{content}\r\nUser-Agent: WMEncoder/9.0\r\nHost: h\r\n{cookie}\
         Content-Length: {body_bytes}\r\n\r\n"
    )
}

/// The test picture and tone of ffmpeg for three seconds, in real time, to `target`.
fn ffmpeg(format: &str, target: &str) -> String {
    format!(
        "ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=s=160x120:r=25 -f lavfi -i sine=r=22050 -t 3 -c:v wmv2 -g 25 -b:v 100k \
         -c:a wmav2 -b:a 32k -packet_size 1400 -f {format} {target}"
    )
}

/// Waits for what [`ffmpeg`] sends.
fn watch_ffmpeg(channel: &Channel) {
    let mut viewer = Viewer::join(channel, 1);
    viewer.read_until("75 pictures and their sound", |viewer| {
        let streams = viewer.by_stream();
        streams.get(&1).is_some_and(|video| video.len() >= 75)
            && streams.get(&2).is_some_and(|audio| audio.len() >= 60)
    });
    assert!(viewer.first_is_clean && viewer.send_ms.is_sorted());
}

fn same_objects(viewer: &Viewer, name: &str, passes: usize) {
    for (stream, objects) in by_stream(&objects_of(name)) {
        let seen = &viewer.by_stream()[&stream];
        assert_eq!(seen.len(), passes * objects.len(), "stream {stream}");
        let same = objects
            .iter()
            .cycle()
            .zip(seen)
            .all(|(file, seen)| file.data == seen.data);
        assert!(same, "stream {stream} carries the file's bytes");
    }
}

#[test]
fn both_muxers_of_ffmpeg_push_over_http() {
    for format in ["asf", "asf_stream"] {
        let (channel, ingest) = push(PushOptions::default());
        let gate = gate::open(&ingest);
        let program = Program::run(&ffmpeg(format, &format!("http://{gate}/live")));
        watch_ffmpeg(&channel);
        assert!(
            program.finish().success(),
            "{format}: it was told that all is well"
        );
        wait_for_air(&channel, Air::Gap);
        ingest.stop();
    }
}

#[test]
fn ffmpeg_pushes_raw_asf_over_tcp() {
    let address = free_address();
    let options = || PushOptions {
        tcp: Some(address),
        ..PushOptions::default()
    };
    let (channel, ingest) = push(options());
    let other = spawn(vec![spec(
        &common::channel("other", Start::Always),
        Source::Push(options()),
    )]);
    let refused = other.expect_err("the port is taken");
    assert!(matches!(refused, IngestError::Listen { .. }));
    assert!(
        refused
            .to_string()
            .contains(&format!("`other` cannot listen for encoders on {address}"))
    );
    let program = Program::run(&ffmpeg("asf", &format!("tcp://{address}")));
    watch_ffmpeg(&channel);
    assert!(program.finish().success());
    wait_for_air(&channel, Air::Gap);
    ingest.stop();
}

#[test]
fn ffmpeg_logs_in_with_digest_and_with_basic() {
    let digest = Password::digest("alice", "open sesame");
    let argon2 = Password::argon2("open sesame").expect("random numbers");
    for password in [digest, argon2] {
        let (channel, ingest) = push(PushOptions {
            login: Some(Login {
                user: "alice".into(),
                password: password.clone(),
            }),
            ..PushOptions::default()
        });
        let gate = gate::open(&ingest);
        for wrong in ["", "alice:wrong@", "bob:open%20sesame@"] {
            let line = ffmpeg("asf", &format!("http://{wrong}{gate}/live"));
            // Without a login it does not listen, and is told by the end of the connection, two seconds later.
            let quiet = line.replace("-v error", "-v quiet");
            assert!(
                !Program::run(&quiet).finish().success(),
                "{password:?} {wrong}"
            );
            assert_eq!(channel.snapshot().air, Air::Waiting);
        }
        let right = format!("http://alice:open%20sesame@{gate}/live");
        let program = Program::run(&ffmpeg("asf", &right));
        watch_ffmpeg(&channel);
        assert!(program.finish().success());
        ingest.stop();
    }
}

#[test]
fn an_encoder_does_not_wait_behind_strangers_who_have_gone() {
    const STRANGERS: u32 = 60; // at five guesses a second, more than an encoder may take to log in
    let (_, ingest) = push(PushOptions {
        login: Some(Login {
            user: "alice".into(),
            password: Password::argon2("open sesame").expect("random numbers"),
        }),
        ..PushOptions::default()
    });
    let gate = gate::open(&ingest);
    let login = |words| {
        let mut encoder = Encoder::connect(gate);
        encoder.say(format!(
            "PUT /live HTTP/1.1\r\nAuthorization: Basic {words}\r\nContent-Length: 0\r\n\r\n"
        ));
        encoder
    };
    for _ in 0..STRANGERS {
        let stranger = login("YWxpY2U6d3Jvbmc="); // alice:wrong
        thread::sleep(Duration::from_millis(10));
        drop(stranger);
    }
    let answer = login("YWxpY2U6b3BlbiBzZXNhbWU=").answer(); // alice:open sesame
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    ingest.stop();
}

#[test]
fn gstreamer_pushes_over_tcp_and_request_by_request() {
    let address = free_address();
    for sink in ["tcp", "soup"] {
        let (channel, ingest) = push(PushOptions {
            tcp: (sink == "tcp").then_some(address),
            ..PushOptions::default()
        });
        let gate = gate::open(&ingest);
        let target = match sink {
            "tcp" => format!("tcpclientsink host=127.0.0.1 port={}", address.port()),
            _ => format!("souphttpclientsink sync=false location=http://{gate}/live"),
        };
        let program = Program::run(&format!(
            "gst-launch-1.0 -q audiotestsrc is-live=true num-buffers=150 ! audioconvert ! avenc_wmav2 ! asfmux streamable=true ! {target}"
        ));
        let mut viewer = Viewer::join(&channel, 1);
        viewer.read_until(&format!("{sink}: two seconds of sound"), |viewer| {
            viewer.objects.len() >= 50
        });
        assert!(viewer.send_ms.is_sorted());
        assert_eq!(channel.snapshot().epoch.map(|epoch| epoch.number), Some(1));
        assert!(program.finish().success(), "{sink}");
        ingest.stop();
    }
}

#[test]
fn an_encoder_that_returns_with_the_same_header_goes_on_in_the_same_epoch() {
    let name = "metadata-unicode.wmv";
    let file = fs::read(media(name)).expect("in the repository");
    let (channel, ingest) = push(PushOptions::default());
    let gate = gate::open(&ingest);
    let history = air_history(&channel);
    for _ in 0..2 {
        let mut encoder = Encoder::connect(gate);
        encoder
            .say("POST /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        for piece in file.chunks(1000) {
            encoder.say(format!("{:x}\r\n", piece.len()));
            encoder.say(piece);
            encoder.say("\r\n");
        }
        encoder.say("0\r\n\r\n");
        assert!(encoder.rest().starts_with("HTTP/1.1 200 OK\r\n"));
        thread::sleep(Duration::from_millis(400));
    }
    let mut viewer = Viewer::join(&channel, 1);
    let all = 2 * objects_of(name).len();
    viewer.read_until("both runs", |viewer| viewer.objects.len() >= all);
    same_objects(&viewer, name, 2);
    assert!(viewer.send_ms.is_sorted());
    assert_eq!(
        channel.snapshot().epoch.map(|epoch| epoch.number),
        Some(1),
        "nobody was disturbed"
    );
    let history = history.lock().expect("no panic inside");
    assert_eq!(
        history[..],
        [Air::Waiting, Air::OnAir, Air::Gap, Air::OnAir, Air::Gap][5 - history.len()..]
    );
    ingest.stop();
}

#[test]
fn windows_media_push_rolls_over_breaks_off_and_goes_on() {
    let (header, packets) = parts("metadata-unicode.wmv");
    let (channel, ingest) = push(PushOptions::default());
    let gate = gate::open(&ingest);
    let (first, rest) = packets.split_at(packets.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let data = |packets: &[Vec<u8>]| -> Vec<u8> {
        packets.iter().flat_map(|body| packet(b'D', body)).collect()
    };
    let mut encoder = Encoder::connect(gate);
    encoder.say(request("pushsetup", "Cookie: push-id=0\r\n", 16) + "AutoDestroy: 1\r\n");
    let answer = encoder.answer();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    let cookie = answer
        .split("Set-Cookie: ")
        .nth(1)
        .expect("a cookie")
        .lines()
        .next()
        .expect("a line");
    let cookie = format!("Cookie: {cookie}\r\n");
    let body = [packet(b'H', &header), data(first), packet(b'F', &[0; 20])].concat();
    encoder.say(request("pushstart", &cookie, body.len()));
    encoder.say(body);
    assert!(
        encoder.answer().starts_with("HTTP/1.1 204 "),
        "the first body is full"
    );
    encoder.say(request("pushstart", &cookie, 2_147_483_647));
    encoder.say([data(second), packet(b'D', &third[0])[..40].to_vec()].concat());
    let mut viewer = Viewer::join(&channel, 1);
    wait_for_air(&channel, Air::OnAir);
    drop(encoder);
    wait_for_air(&channel, Air::Gap);
    let mut encoder = Encoder::connect(gate);
    encoder.say(request("pushstart", &cookie, 2_147_483_647));
    encoder.say(data(third));
    wait_for_air(&channel, Air::OnAir);
    encoder.say(packet(b'E', &[0; 4]));
    assert!(encoder.answer().starts_with("HTTP/1.1 204 "));
    wait_for_air(&channel, Air::Ended);
    viewer.read_all();
    same_objects(&viewer, "metadata-unicode.wmv", 1);
    // After that it is another show.
    encoder.say(request("pushsetup", "Cookie: push-id=0\r\n", 0));
    assert!(encoder.answer().starts_with("HTTP/1.1 204 "));
    encoder.say(request("pushstart", "", 2_147_483_647));
    encoder.say([packet(b'H', &header), data(&packets)].concat());
    wait_for_air(&channel, Air::OnAir);
    let mut viewer = Viewer::join(&channel, 2);
    let all = objects_of("metadata-unicode.wmv").len();
    viewer.read_until("the second show", |viewer| viewer.objects.len() >= all);
    ingest.stop();
    assert!(
        encoder.rest().starts_with("HTTP/1.1 503 "),
        "at the end of the server it is told"
    );
}

#[test]
fn a_second_encoder_is_refused_or_takes_over() {
    let (header, packets) = parts("av-300k.wmv");
    let begin = [&b"POST /live HTTP/1.0\r\n\r\n"[..], &header, &packets[0]].concat();
    for takeover in [false, true] {
        let (channel, ingest) = push(PushOptions {
            takeover,
            ..PushOptions::default()
        });
        let gate = gate::open(&ingest);
        let mut first = Encoder::connect(gate);
        first.say(&begin);
        wait_for_air(&channel, Air::OnAir);
        let mut second = Encoder::connect(gate);
        second.say(&begin);
        if takeover {
            assert!(first.rest().starts_with("HTTP/1.0 409 Conflict\r\n"));
            second.say(&packets[1]);
        } else {
            let answer = second.rest();
            assert!(answer.starts_with("HTTP/1.0 409 Conflict\r\n"), "{answer}");
            assert!(answer.ends_with("Another encoder is sending to this channel.\n"));
            first.say(&packets[1]);
        }
        assert_eq!(channel.snapshot().air, Air::OnAir);
        assert_eq!(channel.snapshot().epoch.map(|epoch| epoch.number), Some(1));
        ingest.stop();
    }
}

#[test]
fn an_encoder_that_falls_silent_is_away_though_it_is_connected() {
    let (header, packets) = parts("av-300k.wmv");
    let channel = channel("live", Start::Always);
    let timing = Timing {
        silence: Duration::from_millis(200),
        ..Timing::default()
    };
    let push = spec(&channel, Source::Push(PushOptions::default()));
    let ingest = spawn_timed(vec![push], timing).expect("a ring");
    let mut encoder = Encoder::connect(gate::open(&ingest));
    encoder.say([&b"PUT /live HTTP/1.0\r\n\r\n"[..], &header, &packets[0]].concat());
    wait_for_air(&channel, Air::OnAir);
    wait_for_air(&channel, Air::Gap);
    encoder.say(&packets[1]);
    wait_for_air(&channel, Air::OnAir);
    assert_eq!(channel.snapshot().epoch.map(|epoch| epoch.number), Some(1));
    ingest.stop();
}

#[test]
fn what_cannot_be_broadcast_and_whoever_has_the_wrong_address_is_told() {
    let live = channel("live", Start::Always);
    let other = channel("file", Start::Always);
    let ingest = spawn(vec![
        spec(&live, Source::Push(PushOptions::default())),
        spec(&other, file("av-300k.wmv", true, 1.0)),
    ])
    .expect("a ring");
    let gate = gate::open(&ingest);
    let bad = fs::read(media("bad-packet-size-zero.asf")).expect("in the repository");
    for (target, body, status) in [
        ("/live", &b"hello, this is no ASF at all"[..], "415"),
        ("/live", &bad, "415"),
        ("/file", b"", "403"),
        ("/none", b"", "404"),
        ("/", b"", "404"),
    ] {
        let mut encoder = Encoder::connect(gate);
        encoder.say(format!("POST {target} HTTP/1.0\r\n\r\n"));
        encoder.say(body);
        let answer = encoder.rest();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{target}: {answer}");
    }
    assert_eq!(live.snapshot().air, Air::Waiting);
    ingest.stop();
}
