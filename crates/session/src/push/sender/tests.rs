use funnel_asf::{Deframer, Item};
use funnel_wire::wmsp::{Body, BodyLength, Packet, RequestHead};

use proptest::prelude::*;

use super::*;

/// A small show.
struct Show {
    header: Header,
    packets: Vec<Vec<u8>>,
}

impl Show {
    fn load() -> Self {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/media/tiny-audio.asf"
        );
        let bytes = std::fs::read(file).expect("test media");
        let header = Header::parse(&bytes).expect("a sound header");
        let size = header.packet_bytes() as usize;
        let media = &bytes[header.bytes().len()..];
        let packets = media.chunks_exact(size).take(8).map(<[u8]>::to_vec);
        Self {
            packets: packets.collect(),
            header,
        }
    }

    fn sender(&self, protocol: Protocol, url: &str) -> Dialogue {
        self.sender_with(protocol, url, Options::BODY_BYTES)
    }

    fn sender_with(&self, protocol: Protocol, url: &str, body_bytes: u32) -> Dialogue {
        let options = Options {
            url: url.parse().expect("a URL"),
            protocol,
            agent: "funnel/0".to_owned(),
            answer_within: Duration::from_secs(20),
            body_bytes,
        };
        let now = Instant::now();
        let mut dialogue = Dialogue {
            sender: Sender::new(options, &self.header, now),
            now,
            said: Vec::new(),
            events: Vec::new(),
            connections: 0,
            is_connected: false,
        };
        dialogue.poll();
        dialogue
    }

    /// Header and packets as one who reads the pushed media gets them.
    fn assert_is(&self, media: &[u8]) {
        let mut deframer = Deframer::new();
        deframer.push(media);
        deframer.finish();
        let mut packets = self.packets.iter();
        while let Some(item) = deframer.next().expect("sound media") {
            match item {
                Item::Header(header) => assert_eq!(header.bytes(), self.header.bytes()),
                Item::Packet(packet) => assert_eq!(Some(packet), packets.next().map(Vec::as_slice)),
                Item::End => {}
            }
        }
        assert_eq!(packets.next(), None, "packets are missing");
    }
}

/// A sender and what it did.
struct Dialogue {
    sender: Sender,
    now: Instant,
    /// Sent and not yet looked at.
    said: Vec<u8>,
    events: Vec<Event>,
    connections: usize,
    is_connected: bool,
}

impl Dialogue {
    fn input(&mut self, input: Input<'_>) {
        self.sender.handle_input(self.now, input);
        self.poll();
    }

    /// Every connection is made at once.
    fn poll(&mut self) -> Option<Instant> {
        loop {
            match self.sender.poll_output() {
                Output::Connect => {
                    self.connections += 1;
                    self.is_connected = true;
                    self.said.clear();
                    self.sender.handle_input(self.now, Input::Connected);
                }
                Output::Send(bytes) => {
                    assert!(self.is_connected, "nothing is sent to nobody");
                    self.said.extend(bytes);
                }
                Output::Disconnect => self.is_connected = false,
                Output::Event(event) => self.events.push(event),
                Output::Idle { wake_at } => return wake_at,
            }
        }
    }

    fn hear(&mut self, text: &str) {
        self.input(Input::Received(text.as_bytes()));
    }

    /// The request that was made; what follows it stays.
    fn request(&mut self) -> RequestHead {
        let parsed = RequestHead::parse(&self.said).expect("a sound head");
        let (head, size) = parsed.expect("a whole head");
        self.said.drain(..size);
        head
    }

    fn push_all(&mut self, show: &Show) {
        for packet in &show.packets {
            self.input(Input::Packet(packet));
        }
        self.input(Input::End);
    }

    /// The content of a chunked body.
    fn content(&mut self) -> Vec<u8> {
        let mut body = Body::new(BodyLength::Chunked);
        let mut content = Vec::new();
        while !body.is_over() {
            let (taken, part) = body.take(&self.said).expect("sound chunks");
            assert!(taken > 0, "the body is not over");
            content.extend_from_slice(part);
            self.said.drain(..taken);
        }
        content
    }
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\nServer: Cougar/9.01\r\n\r\n";

#[test]
fn windows_media_sets_up_starts_and_rolls_over() {
    let show = Show::load();
    let size = show.packets[0].len() + 4;
    // Room for the header and a little, then for three packets and a little.
    let mut encoder = show.sender_with(
        Protocol::WindowsMedia,
        "http://h:8080/live?x",
        (size * 3 + 40) as u32,
    );
    let setup = encoder.request();
    assert_eq!(
        (setup.method.as_str(), setup.target.as_str()),
        ("POST", "/live?x")
    );
    let field = |head: &RequestHead, name| head.fields.get(name).map(str::to_owned);
    assert_eq!(
        field(&setup, "Content-Type").unwrap(),
        "application/x-wms-pushsetup"
    );
    assert_eq!(field(&setup, "Cookie").unwrap(), "push-id=0");
    assert!(
        field(&setup, "User-Agent")
            .unwrap()
            .starts_with("WMEncoder/")
    );
    assert_eq!(encoder.events, []);
    encoder.hear(
        "HTTP/1.1 204 No Content\r\nServer: Cougar/9.01\r\nSet-Cookie: push-id=4711; path=/\r\n\r\n",
    );
    let (mut media, mut bodies, mut headers) = (Vec::new(), 0, 0);
    let mut feed = show.packets.iter();
    loop {
        let start = encoder.request();
        assert_eq!(
            field(&start, "Content-Type").unwrap(),
            "application/x-wms-pushstart"
        );
        assert_eq!(field(&start, "Cookie").unwrap(), "push-id=4711");
        let BodyLength::Sized(length) = start.length else {
            panic!("{:?}", start.length)
        };
        bodies += 1;
        let is_over = loop {
            if encoder.said.len() as u64 == length {
                break false;
            }
            match feed.next() {
                Some(packet) => encoder.input(Input::Packet(packet)),
                None => {
                    encoder.input(Input::End);
                    break !encoder.events.contains(&Event::Done)
                        || (encoder.said.len() as u64) < length;
                }
            }
        };
        let said = mem::take(&mut encoder.said);
        let mut rest = &said[..];
        while let Some((packet, size)) = Packet::split(rest).expect("in step") {
            match packet.kind {
                PacketKind::HEADER => headers += 1,
                PacketKind::DATA => media.extend_from_slice(packet.body),
                PacketKind::END => assert_eq!(packet.reason().0, 0),
                kind => assert_eq!(kind, PacketKind::FILLER),
            }
            rest = &rest[size..];
        }
        assert_eq!(rest, []);
        if is_over {
            break;
        }
        // While the server has the word, packets wait.
        if let Some(packet) = feed.next() {
            encoder.input(Input::Packet(packet));
            assert_eq!(encoder.said, []);
        }
        encoder.hear(NO_CONTENT);
    }
    assert_eq!(media, show.packets.concat());
    assert_eq!((headers, encoder.connections), (1, 1));
    assert!(bodies > 2, "{bodies}");
    assert_eq!(encoder.events, [Event::Ready, Event::Done]);
}

#[test]
fn a_post_without_a_login_begins_at_once() {
    let show = Show::load();
    for protocol in [Protocol::Post, Protocol::Chunks] {
        let mut encoder = show.sender(protocol, "http://h:8080/live");
        assert_eq!(encoder.events, [Event::Ready]);
        encoder.push_all(&show);
        let head = encoder.request();
        assert_eq!(head.length, BodyLength::Chunked);
        assert_eq!(head.fields.get("Host"), Some("h:8080"));
        assert_eq!(head.fields.get("Expect"), None);
        let media = encoder.content();
        show.assert_is(&media);
        assert_eq!(media.starts_with(b"$H"), protocol == Protocol::Chunks);
        assert_eq!(encoder.events, [Event::Ready], "not before the answer");
        encoder.hear("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(encoder.events, [Event::Ready, Event::Done]);
        assert!(!encoder.is_connected);
    }
}

#[test]
fn who_has_a_login_asks_first_and_answers_the_challenge_on_another_connection() {
    let show = Show::load();
    let mut encoder = show.sender(Protocol::Post, "http://me:it%27s@h/live");
    let first = encoder.request();
    assert_eq!(first.fields.get("Expect"), Some("100-continue"));
    assert_eq!(first.fields.get("Authorization"), None);
    assert_eq!(encoder.said, [], "nothing is sent before the server agrees");
    encoder.hear(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"funnel\"\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno",
    );
    assert_eq!(encoder.connections, 1, "the answer is not whole yet");
    encoder.hear("!\n");
    assert_eq!(encoder.connections, 2);
    let second = encoder.request();
    assert_eq!(
        second.fields.get("Authorization"),
        Some("Basic bWU6aXQncw==")
    );
    assert_eq!(encoder.events, [Event::Ready]);
    encoder.push_all(&show);
    show.assert_is(&encoder.content());
    encoder.hear("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(encoder.events, [Event::Ready, Event::Done]);
}

#[test]
fn a_server_that_asks_nobody_says_continue() {
    let show = Show::load();
    let mut encoder = show.sender(Protocol::Chunks, "http://me:pw@h/live");
    encoder.request();
    encoder.hear("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(encoder.events, [Event::Ready]);
    encoder.push_all(&show);
    show.assert_is(&encoder.content());
}

#[test]
fn a_wrong_password_is_refused_and_not_tried_again() {
    let show = Show::load();
    let mut encoder = show.sender(Protocol::WindowsMedia, "http://me:pw@h/live");
    let challenge = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"funnel\", nonce=\"n\", qop=\"auth\"\r\n\
                     WWW-Authenticate: NTLM\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nNo way\n";
    encoder.request();
    encoder.hear(challenge);
    let answer = encoder.request();
    assert!(
        answer
            .fields
            .get("Authorization")
            .is_some_and(|value| value.starts_with("Digest ")),
        "{answer:?}"
    );
    assert_eq!(encoder.connections, 1, "the server kept the connection");
    encoder.hear(challenge);
    let refused = Event::Refused {
        status: StatusCode::UNAUTHORIZED,
        reason: "No way".to_owned(),
    };
    assert_eq!(encoder.events, [refused]);
}

#[test]
fn each_put_is_one_packet_on_whatever_connection_there_is() {
    let show = Show::load();
    let mut encoder = show.sender(Protocol::Put, "http://h/live");
    let (mut media, mut requests) = (Vec::new(), 0);
    let mut packets = show.packets.iter();
    while !encoder.events.contains(&Event::Done) {
        let head = encoder.request();
        assert_eq!(head.method.as_str(), "PUT");
        assert_eq!(head.length, BodyLength::Sized(encoder.said.len() as u64));
        media.append(&mut encoder.said);
        requests += 1;
        if let Some(packet) = packets.next() {
            encoder.input(Input::Packet(packet)); // before the answer, and so it waits
        } else {
            encoder.input(Input::End);
        }
        let fate = ["keep-alive", "close"][requests % 2];
        encoder.hear(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: {fate}\r\n\r\nok"
        ));
    }
    show.assert_is(&media);
    assert_eq!(requests, 1 + show.packets.len());
    assert!(encoder.connections > 3, "{}", encoder.connections);
    assert_eq!(encoder.events, [Event::Ready, Event::Done]);
}

#[test]
fn bare_tcp_is_the_file() {
    let show = Show::load();
    let mut encoder = show.sender(Protocol::Raw, "http://h:9000/");
    encoder.push_all(&show);
    show.assert_is(&encoder.said);
    assert_eq!(encoder.events, [Event::Ready, Event::Done]);
}

#[test]
fn an_error_ends_it_whenever_it_comes() {
    let show = Show::load();
    let refusal = "HTTP/1.1 409 Conflict\r\nContent-Type: text/html\r\nContent-Length: 3\r\nConnection: close\r\n\r\n<p>";
    for protocol in [
        Protocol::WindowsMedia,
        Protocol::Post,
        Protocol::Chunks,
        Protocol::Put,
    ] {
        for packets in [0, 2] {
            let mut encoder = show.sender(protocol, "http://h/live");
            for packet in show.packets.iter().take(packets) {
                encoder.input(Input::Packet(packet));
            }
            encoder.hear(refusal);
            let expected = Event::Refused {
                status: StatusCode::CONFLICT,
                reason: "Conflict".to_owned(),
            };
            assert_eq!(encoder.events.last(), Some(&expected), "{protocol:?}");
            assert!(!encoder.is_connected);
            encoder.push_all(&show);
            assert_eq!(encoder.events.last(), Some(&expected), "nothing follows");
        }
    }
}

#[test]
fn silence_nonsense_and_a_lost_connection_are_told() {
    let show = Show::load();
    let mut encoder = show.sender(Protocol::WindowsMedia, "http://h/live");
    let wake_at = encoder.poll().expect("an answer is due");
    assert_eq!(wake_at - encoder.now, Duration::from_secs(20));
    encoder.now = wake_at;
    encoder.input(Input::Timeout);
    assert_eq!(encoder.events, [Event::Lost("no answer in time")]);

    let mut encoder = show.sender(Protocol::Post, "http://h/live");
    encoder.hear("SSH-2.0-OpenSSH\r\n\r\n");
    let expected = Event::Lost("the server's answer is no HTTP");
    assert_eq!(encoder.events, [Event::Ready, expected]);

    let mut encoder = show.sender(Protocol::Raw, "http://h/live");
    encoder.input(Input::Closed);
    let expected = Event::Lost("the server closed the connection");
    assert_eq!(encoder.events, [Event::Ready, expected]);

    let mut encoder = show.sender(Protocol::Post, "http://h/live");
    encoder.hear("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let expected = Event::Lost("the server says that it has everything already");
    assert_eq!(encoder.events, [Event::Ready, expected]);
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol::WindowsMedia,
    Protocol::Post,
    Protocol::Chunks,
    Protocol::Put,
    Protocol::Raw,
];

proptest! {
    /// Pieces of answers in any order, and bytes that are none.
    #[test]
    fn no_server_is_too_odd(
        protocol in proptest::sample::select(&PROTOCOLS),
        words in proptest::collection::vec(prop_oneof![
            Just(b"HTTP/1.1 ".to_vec()),
            proptest::sample::select(vec!["100", "200", "204", "302", "401", "409", "999"]).prop_map(|code| code.as_bytes().to_vec()),
            Just(b" Word\r\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"WWW-Authenticate: Digest realm=\"a\", nonce=\"b\", stale=true\r\n".to_vec()),
            Just(b"Set-Cookie: push-id=7\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"3\r\nabc\r\n0\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..40),
    ) {
        let show = Show::load();
        let mut encoder = show.sender_with(protocol, "http://me:pw@h/live", 5000);
        for (index, word) in words.iter().enumerate() {
            encoder.input(Input::Received(word));
            encoder.input(Input::Packet(&show.packets[index % show.packets.len()]));
        }
        encoder.input(Input::Closed);
        encoder.input(Input::End);
        let ends = encoder.events.iter().filter(|event| **event != Event::Ready).count();
        prop_assert!(ends <= 1, "{:?}", encoder.events);
    }
}
