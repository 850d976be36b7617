//! Our player over HTTP against servers as they are: Windows Media Services, encoders that are pulled, web servers, and faulty ones.
//!
//! The server's side is written down as the bytes it sends; what the player does is noted line by line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::client::http::{Input, Manner, Options, Output, Session};
use funnel_session::client::{CloseReason, Event};
use funnel_session::url::Url;
use funnel_session::{Header, Selection, Thinning};
use funnel_wire::mms::{DataHeader, HResult};
use funnel_wire::wmsp::{
    Metadata, PacketHead, PacketKind, RequestHead, encode_fragments, encode_reason,
};

/// A player, what it asked, and what it told.
struct Player {
    session: Session,
    now: Instant,
    wake_at: Option<Instant>,
    notes: Vec<String>,
    requests: Vec<RequestHead>,
    /// The newest connection.
    connection: u32,
    packets: Vec<(u32, Vec<u8>)>,
    headers: Vec<Vec<u8>>,
}

impl Player {
    fn new(url: &str, options: Options) -> Self {
        let now = Instant::now();
        let url: Url = url.parse().unwrap();
        let mut player = Self {
            session: Session::new(Arc::new(url), Arc::new(options), now),
            now,
            wake_at: None,
            notes: Vec::new(),
            requests: Vec::new(),
            connection: 0,
            packets: Vec::new(),
            headers: Vec::new(),
        };
        player.drain();
        player
    }

    fn drain(&mut self) {
        loop {
            let note = match self.session.poll_output() {
                Output::Idle { wake_at } => return self.wake_at = wake_at,
                Output::Connect { connection, url } => {
                    self.connection = connection;
                    format!("connect {connection} {}", url.authority())
                }
                Output::Send { connection, bytes } => {
                    let (head, size) = RequestHead::parse(bytes).unwrap().unwrap();
                    assert_eq!(size, bytes.len());
                    self.requests.push(head.clone());
                    let pragmas = head.fields.pragmas();
                    let what = match (head.method.as_str(), pragmas.is_set("xPlayStrm")) {
                        ("GET", true) => "play",
                        ("GET", false) if pragmas.has("no-cache") => "describe",
                        ("POST", _) if pragmas.has("stream-switch-entry") => "select",
                        (method, _) => method,
                    };
                    format!("{what} {connection} {}", head.target)
                }
                Output::Disconnect { connection } => format!("disconnect {connection}"),
                Output::Event(Event::Packet {
                    location,
                    sequence,
                    bytes,
                }) => {
                    assert_eq!(sequence as usize, self.packets.len());
                    self.packets.push((location, bytes.to_vec()));
                    continue;
                }
                Output::Event(Event::Header(bytes)) => {
                    self.headers.push(bytes.to_vec());
                    "header".to_owned()
                }
                Output::Event(Event::Opened(_)) => "opened".to_owned(),
                Output::Event(Event::StreamChange(_)) => "change".to_owned(),
                Output::Event(event) => format!("{event:?}"),
            };
            self.notes.push(note);
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        self.session.handle_input(self.now, input);
        self.drain();
    }

    /// The server sends this on the newest connection.
    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        let connection = self.connection;
        self.receive_on(connection, bytes.as_ref())
    }

    fn receive_on(&mut self, connection: u32, bytes: &[u8]) -> Vec<String> {
        self.feed(Input::Received { connection, bytes });
        self.notes.split_off(0)
    }

    /// The same, cut into pieces.
    fn receive_in_steps(&mut self, bytes: &[u8], step: usize) -> Vec<String> {
        let connection = self.connection;
        for bytes in bytes.chunks(step) {
            self.feed(Input::Received { connection, bytes });
        }
        self.notes.split_off(0)
    }

    fn lose(&mut self) -> Vec<String> {
        let connection = self.connection;
        self.feed(Input::Closed { connection });
        self.notes.split_off(0)
    }

    fn sleep(&mut self) -> Vec<String> {
        self.now = self.wake_at.expect("a deadline");
        self.feed(Input::Timeout);
        self.notes.split_off(0)
    }
}

fn closed(reason: CloseReason) -> String {
    format!("{:?}", Event::Close(reason))
}

/// Header and packets of a test file.
fn show(name: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let path = format!("{}/../../testdata/media/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let header = Header::parse(&bytes).unwrap();
    let packets = bytes[header.bytes().len()..].chunks_exact(header.packet_bytes() as usize);
    (
        header.bytes().to_vec(),
        packets.take(20).map(<[u8]>::to_vec).collect(),
    )
}

fn data(location: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    use zerocopy::IntoBytes as _;
    let header = DataHeader::new(location, 0, flags, bytes.len());
    let mut out = PacketHead::new(PacketKind::DATA, header.packet_size.get())
        .encode()
        .to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(bytes);
    out
}

fn framed_header(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_fragments(PacketKind::HEADER, 0, header, &mut out);
    out
}

fn reason(kind: PacketKind, hr: HResult) -> Vec<u8> {
    let mut out = Vec::new();
    encode_reason(kind, hr, &mut out);
    out
}

/// As in the worked exchange, section 26 of the protocol page.
fn describe_answer(header: &[u8]) -> Vec<u8> {
    let body = framed_header(header);
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: application/vnd.ms.wms-hdr.asfv1\r\nServer: Cougar/9.5.6001.18281\r\n\
         Pragma: no-cache, client-id=3077113431, features=\"broadcast\", timeout=60000\r\nCache-Control: no-cache\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

const PLAY_HEAD: &str = "HTTP/1.0 200 OK\r\nContent-Type: application/x-mms-framed\r\nServer: Cougar/9.5.6001.18281\r\n\
    Pragma: no-cache, client-id=3077113431, features=\"broadcast\", timeout=60000\r\nCache-Control: no-cache\r\n\r\n";

fn play_answer(header: &[u8], packets: &[Vec<u8>]) -> Vec<u8> {
    let mut answer = [PLAY_HEAD.as_bytes(), &framed_header(header)].concat();
    for (location, packet) in (100..).zip(packets) {
        answer.extend_from_slice(&data(location, (location - 100) as u8, packet));
    }
    answer
}

const CONNECTED: &str = "Connected { server_version: \"Cougar/9.5.6001.18281\", product: None }";

#[test]
fn a_show_of_windows_media_services_from_describe_to_its_end() {
    let (header, packets) = show("av-300k.wmv");
    let options = Options {
        manner: Manner::Relay,
        ..Options::default()
    };
    let mut player = Player::new("http://studio:8080/live", options);
    assert_eq!(
        player.notes.split_off(0),
        ["connect 1 studio:8080", "describe 1 /live"]
    );
    let answer = describe_answer(&header);
    assert_eq!(
        player.receive(&answer),
        [
            CONNECTED,
            "opened",
            "header",
            "disconnect 1",
            "connect 2 studio:8080",
            "play 2 /live"
        ]
    );
    let answer = play_answer(&header, &packets);
    assert_eq!(player.receive(&answer), ["Started"]);
    assert_eq!(player.packets.len(), packets.len());
    assert!(
        player
            .packets
            .iter()
            .zip(&packets)
            .all(|((_, came), sent)| came == sent)
    );
    assert_eq!(player.packets[3].0, 103);
    assert_eq!(
        player.receive(reason(PacketKind::END, HResult::S_OK)),
        [
            "End(0x00000000 S_OK)",
            "disconnect 2",
            &closed(CloseReason::Finished)
        ]
    );
    assert_eq!(player.headers, [header]);

    let [describe, play] = &player.requests[..] else {
        panic!()
    };
    let agent = describe.agent().unwrap();
    assert_eq!(
        (agent.product, agent.major),
        (funnel_wire::wmsp::Product::Server, 9)
    );
    assert_eq!(describe.fields.pragmas().client_id(), None);
    // The server goes on by itself after another header only if both sides say so.
    assert!(play.fields.lists("Supported", "com.microsoft.wm.predstrm"));
    let pragmas = play.fields.pragmas();
    assert_eq!(pragmas.client_id(), Some(3_077_113_431));
    assert_eq!(pragmas.number("BurstDuration"), Some(5000));
    assert_eq!(pragmas.number("stream-switch-count"), Some(2));
    assert_eq!(
        pragmas.text("stream-switch-entry"),
        Some("ffff:1:0 ffff:2:0")
    );
}

#[test]
fn where_the_stream_is_cut_does_not_matter() {
    let (header, packets) = show("tiny-audio.asf");
    let answer = play_answer(&header, &packets);
    let body = &answer[PLAY_HEAD.len()..];
    let mut chunked = PLAY_HEAD.replace("HTTP/1.0", "HTTP/1.1").into_bytes();
    chunked.truncate(chunked.len() - 2);
    chunked.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(77) {
        chunked.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    for answer in [&answer, &chunked] {
        for step in [1, 2, 3, 7, 100, 1460, answer.len()] {
            let mut player = Player::new("mmsh://h/x", Options::default());
            player.receive_in_steps(&describe_answer(&header), step);
            player.receive_in_steps(answer, step);
            let came: Vec<_> = player
                .packets
                .iter()
                .map(|(_, bytes)| bytes.clone())
                .collect();
            assert_eq!(came, packets, "steps of {step}");
        }
    }
}

#[test]
fn the_b_bit_metadata_and_unknown_packets_are_no_hindrance() {
    let (header, packets) = show("tiny-audio.asf");
    let mut player = Player::new("http://h/x", Options::default());
    player.receive(describe_answer(&header));
    let mut metadata = Vec::new();
    let content = Metadata {
        playlist_gen_id: 1,
        ..Metadata::default()
    }
    .encode();
    encode_fragments(PacketKind::METADATA, 0, &content, &mut metadata);
    let mut burst = data(7, 0, &packets[0]);
    burst[0] |= 0x80;
    let unknown = [&b"$Z\x05\x00"[..], b"hello"].concat();
    let mut pieces = Vec::new(); // as Windows Media Services 4 splits it
    for (index, (part, flags)) in [(&header[..100], 4), (&header[100..], 8)]
        .into_iter()
        .enumerate()
    {
        let mut fragment = data(index as u32, flags, part);
        fragment[1] = b'H';
        pieces.extend_from_slice(&fragment);
    }
    let answer = [PLAY_HEAD.as_bytes(), &metadata, &pieces, &unknown, &burst].concat();
    assert_eq!(player.receive(answer), ["Started"]);
    assert_eq!(player.packets, [(7, packets[0].clone())]);
}

#[test]
fn another_header_is_told_and_its_streams_are_asked_for() {
    let (header, packets) = show("tiny-audio.asf");
    let (other, other_packets) = show("h264-aac.asf");
    let mut player = Player::new("http://h/x", Options::default());
    player.receive(describe_answer(&header));
    player.receive(play_answer(&header, &packets[..2]));
    let change = [
        reason(PacketKind::END, HResult::S_FALSE),
        reason(PacketKind::CHANGE, HResult::S_OK),
        framed_header(&other),
        data(3, 0, &other_packets[0]),
    ];
    assert_eq!(
        player.receive_on(2, &change.concat()),
        ["change", "header", "connect 3 h", "select 3 /x"]
    );
    assert_eq!((player.headers.len(), player.packets.len()), (2, 3));
    assert_eq!(player.requests[2].fields.get("Content-Length"), Some("0"));
    // What is said to the selection does not matter, nor when it is over.
    assert_eq!(player.receive_on(3, b"HTTP/1.0 200 OK\r\n\r\n"), [""; 0]);
    assert_eq!(player.lose(), [""; 0]);
    assert_eq!(
        player.receive_on(2, &data(4, 1, &other_packets[1])),
        [""; 0]
    );
    assert_eq!(player.packets.len(), 4);
}

#[test]
fn a_server_that_predicts_streams_is_asked_for_none() {
    let (header, packets) = show("tiny-audio.asf");
    let (other, other_packets) = show("h264-aac.asf");
    let mut player = Player::new("http://h/x", Options::default());
    let supported = "Supported: com.microsoft.wm.sswitch, com.microsoft.wm.predstrm\r\nServer";
    player.receive(describe_answer(&header));
    player.receive(PLAY_HEAD.replace("Server", supported));
    player.receive([framed_header(&header), data(1, 0, &packets[0])].concat());
    let change = [
        reason(PacketKind::CHANGE, HResult::S_OK),
        framed_header(&other),
        data(2, 0, &other_packets[0]),
    ];
    assert_eq!(player.receive(change.concat()), ["change", "header"]);
    assert_eq!(player.packets.len(), 2);
}

#[test]
fn the_same_header_again_is_no_change() {
    let (header, packets) = show("tiny-audio.asf");
    let mut player = Player::new("http://h/x", Options::default());
    let supported = "Supported: com.microsoft.wm.sswitch, com.microsoft.wm.predstrm\r\nServer";
    let answer = String::from_utf8_lossy(PLAY_HEAD.as_bytes()).replace("Server", supported);
    player.receive(describe_answer(&header));
    let change = reason(PacketKind::CHANGE, HResult::S_OK);
    let header = framed_header(&header);
    let answer = [
        answer.as_bytes(),
        &header,
        &change,
        &header,
        &data(1, 0, &packets[0]),
    ]
    .concat();
    assert_eq!(player.receive(answer), ["Started"]);
    assert_eq!(player.packets.len(), 1);
}

#[test]
fn a_server_that_ends_an_entry_by_closing_is_asked_anew() {
    let (header, packets) = show("tiny-audio.asf");
    let (other, other_packets) = show("h264-aac.asf");
    let mut player = Player::new("http://h/x", Options::default());
    player.receive(describe_answer(&header));
    player.receive(play_answer(&header, &packets[..2]));
    player.receive(reason(PacketKind::END, HResult::S_FALSE));
    assert_eq!(
        player.lose(),
        ["disconnect 2", "connect 3 h", "describe 3 /x"]
    );
    let notes = player.receive(describe_answer(&other));
    assert_eq!(
        notes,
        [
            "change",
            "header",
            "disconnect 3",
            "connect 4 h",
            "play 4 /x"
        ]
    );
    player.receive(play_answer(&other, &other_packets[..2]));
    assert_eq!(player.packets.len(), 4);
    // Not for ever, if nothing comes of it.
    for _ in 0..6 {
        player.receive(reason(PacketKind::END, HResult::S_FALSE));
        player.lose();
        player.receive(describe_answer(&other));
        player.receive([PLAY_HEAD.as_bytes(), &framed_header(&other)].concat());
    }
    player.receive(reason(PacketKind::END, HResult::S_FALSE));
    assert!(player.wake_at.is_none(), "it gave up");
}

#[test]
fn plain_asf_plays_at_once_whatever_was_asked() {
    let (header, packets) = show("av-300k.wmv");
    let body = [header.clone(), packets.concat()].concat();
    let end = closed(CloseReason::Finished);
    for manner in [Manner::Player, Manner::Relay, Manner::Plain] {
        for (head, ends_with_close) in [
            ("HTTP/1.0 200 OK\r\n\r\n".to_owned(), true),
            (
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
                false,
            ),
        ] {
            let options = Options {
                manner,
                auto_play: false,
                ..Options::default()
            };
            let mut player = Player::new("http://h/film.wmv?raw", options);
            assert!(player.notes.split_off(0)[1].ends_with(" 1 /film.wmv?raw"));
            let mut notes = player.receive([head.as_bytes(), &body].concat());
            if ends_with_close {
                notes.extend(player.lose());
            }
            let connected = "Connected { server_version: \"\", product: None }";
            let expected = [
                connected,
                "opened",
                "header",
                "Started",
                "End(0x00000000 S_OK)",
                "disconnect 1",
                &end,
            ];
            assert_eq!(notes, expected, "{manner:?}");
            assert_eq!(
                (player.packets.len(), player.headers.len()),
                (packets.len(), 1)
            );
            assert_eq!(player.packets[19].0, 19);
        }
    }
    let agent = |manner| {
        let options = Options {
            manner,
            ..Options::default()
        };
        Player::new("http://h/x", options).requests[0].agent()
    };
    assert_eq!(agent(Manner::Plain), None);
    assert!(agent(Manner::Player).is_some_and(|agent| agent.is_viewer()));
}

#[test]
fn plain_asf_that_is_cut_off_is_a_loss() {
    let (header, packets) = show("tiny-audio.asf");
    let body = [header, packets.concat()].concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        body.len() + 1
    );
    let mut player = Player::new("http://h/x", Options::default());
    player.receive([head.as_bytes(), &body].concat());
    assert_eq!(
        player.lose(),
        ["disconnect 1", &closed(CloseReason::ConnectionLost)]
    );
}

#[test]
fn redirects_are_followed_up_to_five() {
    let answer = |location: &str| format!("HTTP/1.0 302 Found\r\nLocation: {location}\r\n\r\n");
    let mut player = Player::new("http://h/x", Options::default());
    player.notes.clear();
    for (location, authority, target) in [
        ("/y", "h", "/y"),
        ("http://other:81/a/b?c", "other:81", "/a/b?c"),
        ("d", "other:81", "/a/d"),
        ("https://safe/", "safe", "/"),
        ("//safe:444/z", "safe:444", "/z"),
    ] {
        let last = player.connection;
        assert_eq!(
            player.receive(answer(location)),
            [
                format!("disconnect {last}"),
                format!("connect {} {authority}", last + 1),
                format!("describe {} {target}", last + 1),
            ]
        );
    }
    assert_eq!(
        player.receive(answer("/sixth")),
        [
            "Redirect(\"https://safe:444/sixth\")",
            "disconnect 6",
            &closed(CloseReason::Redirected)
        ]
    );

    let mut player = Player::new("http://h/x", Options::default());
    player.notes.clear();
    assert_eq!(
        player.receive(answer("mms://h/x")),
        [
            "Redirect(\"mms://h/x\")",
            "disconnect 1",
            &closed(CloseReason::Redirected)
        ]
    );
}

/// Found by the fuzz target `wmsp_client_session`.
#[test]
fn what_a_server_says_does_not_make_a_request_too_long() {
    let long = "x".repeat(15_000);
    for location in [
        format!("/{long}"),
        format!("http://{long}/"),
        format!("/{}", "\u{e9}".repeat(4000)),
    ] {
        let mut player = Player::new("http://h/x", Options::default());
        player.receive(format!(
            "HTTP/1.0 302 Found\r\nLocation: {location}\r\n\r\n"
        ));
        assert_eq!(player.requests.len(), 1, "it was not followed");
        assert_eq!(player.wake_at, None);
    }
    let mut player = Player::new("http://ann:secret@h/x", Options::default());
    player.receive(format!("HTTP/1.0 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"{long}\", qop=\"auth\"\r\n\r\n"));
    assert_eq!(player.requests[1].fields.get("Authorization"), None);
}

#[test]
fn a_login_is_given_when_it_is_asked_for() {
    let (header, _) = show("tiny-audio.asf");
    let basic = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"funnel\"\r\nContent-Length: 0\r\n\r\n";
    let digest = |stale| {
        format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"funnel\"\r\n\
             WWW-Authenticate: Digest realm=\"funnel\", nonce=\"abc\", qop=\"auth\"{stale}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let authorization = |player: &Player| {
        let head = player.requests.last().unwrap();
        head.fields
            .get("Authorization")
            .unwrap_or("none")
            .to_owned()
    };
    let refused = closed(CloseReason::Answered(
        funnel_wire::wmsp::StatusCode::UNAUTHORIZED,
    ));

    let mut player = Player::new("http://ann:secret@h/x", Options::default());
    assert_eq!(authorization(&player), "none", "nobody has asked");
    player.receive(basic);
    assert_eq!(authorization(&player), "Basic YW5uOnNlY3JldA==");
    assert!(
        player.receive(basic).contains(&refused),
        "the password is wrong"
    );

    let mut player = Player::new("http://ann:secret@h/x", Options::default());
    player.receive(digest(""));
    let first = authorization(&player);
    assert!(
        first.starts_with("Digest ") && first.contains("username=\"ann\""),
        "{first}"
    );
    assert!(
        first.contains("uri=\"/x\"") && !first.contains("secret"),
        "{first}"
    );
    player.receive(digest(", stale=true"));
    assert_ne!(authorization(&player), first);
    player.receive(describe_answer(&header));
    assert!(
        authorization(&player).starts_with("Digest "),
        "Play says it, too"
    );
    player.receive("HTTP/1.0 302 Found\r\nLocation: http://other/x\r\n\r\n");
    assert_eq!(authorization(&player), "none", "another server is not told");

    let mut player = Player::new("http://h/x", Options::default());
    assert!(
        player.receive(basic).contains(&refused),
        "there is no login"
    );
}

#[test]
fn streams_that_are_not_wanted_are_switched_off() {
    let (header, _) = show("mbr-3rates-mutex.wmv");
    let mut streams = Selection::NONE;
    streams.set(1, Thinning::All);
    streams.set(2, Thinning::KeyFramesOnly);
    let options = Options {
        streams,
        wants_chunks: true,
        ..Options::default()
    };
    let mut player = Player::new("http://h/x", options);
    player.receive(describe_answer(&header));
    let pragmas = player.requests[1].fields.pragmas();
    let entries = pragmas.text("stream-switch-entry").unwrap();
    assert!(
        entries.contains("ffff:1:0") && entries.contains("ffff:2:1"),
        "{entries}"
    );
    assert_eq!(
        entries.matches(":2 ").count() + usize::from(entries.ends_with(":2")),
        2,
        "{entries}"
    );
    assert_eq!(
        player.requests[1].version,
        funnel_wire::wmsp::Version::HTTP_11
    );
    assert!(pragmas.is_set("version11-enabled"));
}

#[test]
fn faults_are_told_apart() {
    let (header, packets) = show("tiny-audio.asf");
    let end_of = |answer: &[u8]| {
        let mut player = Player::new("http://h/x", Options::default());
        player.receive(answer);
        player.lose().pop().or(player.notes.pop())
    };
    let last_of = |answer: &[u8]| {
        let mut player = Player::new("http://h/x", Options::default());
        player.receive(answer).pop().unwrap()
    };
    use funnel_wire::wmsp::{Fault, StatusCode};
    let ok = b"HTTP/1.0 200 OK\r\n\r\n";
    for (answer, reason) in [
        (
            &b"HTTP/1.0 404 Not Found\r\n\r\n"[..],
            CloseReason::Answered(StatusCode::NOT_FOUND),
        ),
        (
            b"HTTP/1.0 302 Found\r\n\r\n",
            CloseReason::Answered(StatusCode::FOUND),
        ),
        (
            b"\x01\x00\x00\x00\xCE\xFA\x0B\xB0",
            CloseReason::Http(Fault::Version),
        ),
        (&[&ok[..], b"<html>"].concat(), CloseReason::NoStream),
        (
            &[&ok[..], b"$D\x02\x00ab"].concat(),
            CloseReason::Damaged("$D"),
        ),
        (
            &[&ok[..], b"$T\x00\x00HTTP"].concat(),
            CloseReason::Damaged("packet of HTTP streaming"),
        ),
        (
            &[&ok[..], &framed_header(&header[..200])].concat(),
            CloseReason::Damaged("ASF header"),
        ),
        (
            &[
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                &b"zz\r\n"[..],
            ]
            .concat(),
            CloseReason::Http(Fault::Chunk),
        ),
    ] {
        assert_eq!(last_of(answer), closed(reason), "{}", answer.escape_ascii());
    }
    let lost = Some(closed(CloseReason::ConnectionLost));
    assert_eq!(end_of(b""), lost);
    assert_eq!(end_of(b"HTTP/1.0 200"), lost);
    assert_eq!(end_of(ok), lost);

    let mut player = Player::new("http://h/x", Options::default());
    player.receive(describe_answer(&header));
    player.receive(play_answer(&header, &packets[..2]));
    assert_eq!(
        player.lose(),
        [
            "disconnect 2".to_owned(),
            closed(CloseReason::ConnectionLost)
        ]
    );
}

#[test]
fn silence_ends_it_at_every_stage() {
    let (header, packets) = show("tiny-audio.asf");
    let timed_out = closed(CloseReason::TimedOut);
    let answers: [&[u8]; 3] = [
        b"",
        &describe_answer(&header),
        &play_answer(&header, &packets[..1]),
    ];
    let mut player = Player::new("http://h/x", Options::default());
    for (index, answer) in answers.into_iter().enumerate() {
        player.receive(answer);
        let mut patient = Player::new("http://h/x", Options::default());
        for answer in &answers[..=index] {
            patient.receive(answer);
        }
        let waited = patient.wake_at.unwrap() - patient.now;
        let expected = if index == 2 { 90 } else { 20 };
        assert_eq!(waited, Duration::from_secs(expected), "{index}");
        assert_eq!(patient.sleep().last(), Some(&timed_out));
        assert_eq!(patient.wake_at, None);
    }
}

#[test]
fn a_probe_looks_and_leaves() {
    let (header, _) = show("tiny-audio.asf");
    let options = Options {
        auto_play: false,
        ..Options::default()
    };
    let mut player = Player::new("http://h/x", options);
    let notes = player.receive(describe_answer(&header));
    assert_eq!(notes.last().map(String::as_str), Some("disconnect 1"));
    assert_eq!(player.wake_at, None, "nothing is due");
    player.feed(Input::Close);
    assert_eq!(player.notes.split_off(0), [closed(CloseReason::Finished)]);
    player.feed(Input::Play);
    assert_eq!(player.notes, [""; 0], "it is over");
}
