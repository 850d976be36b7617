//! Every way to push, against the side that takes it: the media arrives whole, whatever the login and however short the bodies.

use std::time::{Duration, Instant};

use funnel_asf::{Deframer, Header, Item};
use funnel_session::push::sender::{self, Event, Protocol, Sender};
use funnel_session::push::{
    self, Access, ConnectionId, End, Input, Output, REALM, Receiver, Secret, StatusCode, Way, ha1,
};

const PROTOCOLS: [Protocol; 5] = [
    Protocol::WindowsMedia,
    Protocol::Post,
    Protocol::Chunks,
    Protocol::Put,
    Protocol::Raw,
];

/// A show, its encoder and the server's side of the channel, on one clock.
struct Push {
    sender: Sender,
    receiver: Receiver,
    now: Instant,
    way: Way,
    connection: Option<ConnectionId>,
    connections: u64,
    media: Vec<u8>,
    events: Vec<Event>,
    runs: usize,
    ended: Vec<End>,
}

fn show() -> (Header, Vec<Vec<u8>>) {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/media/av-300k.wmv"
    );
    let bytes = std::fs::read(file).expect("test media");
    let header = Header::parse(&bytes).expect("a sound header");
    let media = &bytes[header.bytes().len()..];
    let packets = media.chunks_exact(header.packet_bytes() as usize);
    let packets = packets.take(40).map(<[u8]>::to_vec).collect();
    (header, packets)
}

fn access(user: &str, password: &str) -> Access {
    Access {
        user: user.to_owned(),
        secret: Secret::Digest(ha1(user, REALM, password)),
    }
}

impl Push {
    fn new(
        protocol: Protocol,
        url: &str,
        access: Option<Access>,
        body_bytes: u32,
        header: &Header,
    ) -> Self {
        let now = Instant::now();
        let options = sender::Options {
            url: url.parse().expect("a URL"),
            protocol,
            agent: "funnel/0".to_owned(),
            answer_within: Duration::from_secs(20),
            body_bytes,
        };
        let receiver = push::Options {
            access,
            takeover: false,
            product: "funnel/0".to_owned(),
            secret: [7; 16],
        };
        let mut push = Self {
            sender: Sender::new(options, header, now),
            receiver: Receiver::new(receiver, now),
            now,
            way: match protocol {
                Protocol::Raw => Way::Raw,
                _ => Way::Http,
            },
            connection: None,
            connections: 0,
            media: Vec::new(),
            events: Vec::new(),
            runs: 0,
            ended: Vec::new(),
        };
        push.settle();
        push
    }

    fn say(&mut self, input: sender::Input<'_>) {
        self.now += Duration::from_millis(20);
        self.sender.handle_input(self.now, input);
        self.settle();
    }

    /// Lets both talk until neither has anything to say.
    fn settle(&mut self) {
        while self.hear_sender() | self.hear_receiver() {}
    }

    fn hear_sender(&mut self) -> bool {
        let mut said = false;
        loop {
            match self.sender.poll_output() {
                sender::Output::Idle { .. } => return said,
                sender::Output::Connect => {
                    self.connections += 1;
                    let connection = ConnectionId(self.connections);
                    self.connection = Some(connection);
                    let input = Input::Connected {
                        connection,
                        peer: [192, 0, 2, 7].into(),
                        way: self.way,
                        push_id: 4711,
                    };
                    self.receiver.handle_input(self.now, input);
                    self.hear_receiver();
                    self.sender.handle_input(self.now, sender::Input::Connected);
                }
                sender::Output::Send(bytes) => {
                    if let Some(connection) = self.connection {
                        let input = Input::Bytes(connection, &bytes);
                        self.receiver.handle_input(self.now, input);
                        self.hear_receiver();
                    }
                }
                sender::Output::Disconnect => {
                    if let Some(connection) = self.connection.take() {
                        self.receiver
                            .handle_input(self.now, Input::Closed(connection));
                    }
                }
                sender::Output::Event(event) => self.events.push(event),
            }
            said = true;
        }
    }

    fn hear_receiver(&mut self) -> bool {
        let mut said = false;
        loop {
            match self.receiver.poll_output() {
                Output::Idle { .. } => return said,
                Output::Send(to, bytes) if self.connection == Some(to) => {
                    let input = sender::Input::Received(&bytes);
                    self.sender.handle_input(self.now, input);
                    self.hear_sender(); // it may close before the receiver does
                }
                Output::Close(which) if self.connection == Some(which) => {
                    self.connection = None;
                    self.sender.handle_input(self.now, sender::Input::Closed);
                }
                Output::Began { .. } => self.runs += 1,
                Output::Media(bytes) => self.media.extend(bytes),
                Output::Ended(end) => self.ended.push(end),
                Output::Check { .. } => panic!("the hash is for Digest"),
                _ => {}
            }
            said = true;
        }
    }

    fn push_all(&mut self, packets: &[Vec<u8>]) {
        for packet in packets {
            self.say(sender::Input::Packet(packet));
        }
        self.say(sender::Input::End);
    }
}

fn assert_whole(media: &[u8], header: &Header, packets: &[Vec<u8>], what: &str) {
    let mut deframer = Deframer::new();
    deframer.push(media);
    let (mut headers, mut seen) = (0, Vec::new());
    while let Some(item) = deframer.next().expect("sound media") {
        match item {
            Item::Header(found) => {
                headers += 1;
                assert_eq!(found.bytes(), header.bytes(), "{what}");
            }
            Item::Packet(packet) => seen.push(packet.to_vec()),
            Item::End => {}
        }
    }
    assert_eq!((headers, seen.len()), (1, packets.len()), "{what}");
    assert!(seen == packets, "{what}: other packets");
}

#[test]
fn the_media_arrives_whole_with_and_without_a_login() {
    let (header, packets) = show();
    for protocol in PROTOCOLS {
        for (url, access) in [
            ("http://h/live", None),
            ("http://me:it%27s@h/live", None),
            ("http://me:it%27s@h/live", Some(access("me", "it's"))),
        ] {
            if protocol == Protocol::Raw && access.is_some() {
                continue; // nobody asks there
            }
            let what = format!("{protocol:?} to {url}, asked: {}", access.is_some());
            let bytes = sender::Options::BODY_BYTES;
            let mut push = Push::new(protocol, url, access, bytes, &header);
            push.push_all(&packets);
            assert_eq!(push.events, [Event::Ready, Event::Done], "{what}");
            assert_eq!(push.runs, 1, "{what}");
            assert_whole(&push.media, &header, &packets, &what);
        }
    }
}

#[test]
fn bodies_of_any_length_make_one_show() {
    let (header, packets) = show();
    for body_bytes in (1..40_000).step_by(1733) {
        let mut push = Push::new(
            Protocol::WindowsMedia,
            "http://h/live",
            None,
            body_bytes,
            &header,
        );
        push.push_all(&packets);
        let what = format!("bodies of {body_bytes}");
        assert_eq!(push.events, [Event::Ready, Event::Done], "{what}");
        assert_eq!(push.runs, 1, "{what}");
        assert_whole(&push.media, &header, &packets, &what);
    }
}

#[test]
fn a_wrong_password_is_refused_by_every_protocol() {
    let (header, packets) = show();
    for protocol in PROTOCOLS {
        if protocol == Protocol::Raw {
            continue;
        }
        for url in ["http://me:wrong@h/live", "http://h/live"] {
            let bytes = sender::Options::BODY_BYTES;
            let mut push = Push::new(protocol, url, Some(access("me", "right")), bytes, &header);
            push.push_all(&packets);
            assert_eq!(push.media, b"", "{protocol:?} {url}");
            let last = push.events.last();
            assert!(
                matches!(last, Some(Event::Refused { status, .. }) if *status == StatusCode::UNAUTHORIZED),
                "{protocol:?} {url}: {last:?}"
            );
        }
    }
}

#[test]
fn a_second_encoder_is_refused_while_the_first_sends() {
    let (header, packets) = show();
    let bytes = sender::Options::BODY_BYTES;
    let mut first = Push::new(Protocol::Post, "http://h/live", None, bytes, &header);
    first.say(sender::Input::Packet(&packets[0]));
    for protocol in PROTOCOLS {
        if protocol == Protocol::Raw {
            continue;
        }
        let mut second = Push::new(protocol, "http://h/live", None, bytes, &header);
        // The same channel, another connection.
        std::mem::swap(&mut first.receiver, &mut second.receiver);
        second.connections = 100;
        let options = sender::Options {
            url: "http://h/live".parse().expect("a URL"),
            protocol,
            agent: "other/0".to_owned(),
            answer_within: Duration::from_secs(20),
            body_bytes: bytes,
        };
        second.now = first.now;
        second.connection = None;
        second.events.clear();
        second.sender = Sender::new(options, &header, second.now);
        second.settle();
        second.say(sender::Input::Packet(&packets[0]));
        let refused = second.events.iter().any(
            |event| matches!(event, Event::Refused { status, .. } if *status == StatusCode::CONFLICT),
        );
        assert!(refused, "{protocol:?}: {:?}", second.events);
        std::mem::swap(&mut first.receiver, &mut second.receiver);
    }
    first.push_all(&packets[1..]);
    assert_eq!(first.events, [Event::Ready, Event::Done]);
    assert_whole(&first.media, &header, &packets, "the first goes on");
}
