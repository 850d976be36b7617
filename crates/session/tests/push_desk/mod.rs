//! Set-up for tests of pushes: a receiver in virtual time, and what encoders say to it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use funnel_asf::{Deframer, Item};
use funnel_session::push::{Access, ConnectionId, End, Input, Options, Output, Receiver, Way};

pub const SETUP: &str = "application/x-wms-pushsetup";
pub const START: &str = "application/x-wms-pushstart";
/// The push-id of connection n is this plus n.
pub const PUSH_ID: u32 = 4_000_000_000;

pub fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A receiver, its clock, and what it said.
pub struct Desk {
    pub receiver: Receiver,
    pub now: Instant,
    pub wake_at: Option<Instant>,
    /// All answers, whole, with who got them.
    pub answers: Vec<(u64, String)>,
    /// Why encoders were turned away.
    pub refusals: Vec<&'static str>,
    /// All media of the current run.
    pub media: Vec<u8>,
    next: u64,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(None, false)
    }

    pub fn with(access: Option<Access>, takeover: bool) -> Self {
        let now = Instant::now();
        let options = Options {
            access,
            takeover,
            product: "funnel/test".into(),
            secret: [9; 16],
        };
        Self {
            receiver: Receiver::new(options, now),
            now,
            wake_at: None,
            answers: Vec::new(),
            refusals: Vec::new(),
            media: Vec::new(),
            next: 0,
        }
    }

    /// A connection from the last part of 10.0.0.x.
    pub fn connect(&mut self, host: u8) -> u64 {
        self.connect_way(host, Way::Http)
    }

    pub fn connect_way(&mut self, host: u8, way: Way) -> u64 {
        let id = self.next;
        self.next += 1;
        self.feed(Input::Connected {
            connection: ConnectionId(id),
            peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)),
            way,
            push_id: PUSH_ID + u32::try_from(id).unwrap(),
        });
        id
    }

    /// Says something on a connection; what happens, a word each.
    pub fn say(&mut self, id: u64, bytes: impl AsRef<[u8]>) -> String {
        self.feed(Input::Bytes(ConnectionId(id), bytes.as_ref()))
    }

    pub fn close(&mut self, id: u64) -> String {
        self.feed(Input::Closed(ConnectionId(id)))
    }

    /// Lets time pass, waking the receiver whenever it asks.
    pub fn wait(&mut self, time: Duration) -> String {
        let until = self.now + time;
        let mut all = Vec::new();
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.now = at.max(self.now);
            all.push(self.feed(Input::Timeout));
        }
        self.now = until;
        all.push(self.feed(Input::Timeout));
        all.retain(|words| !words.is_empty());
        all.join(" ")
    }

    pub fn feed(&mut self, input: Input<'_>) -> String {
        self.receiver.handle_input(self.now, input);
        let mut words: Vec<String> = Vec::new();
        loop {
            words.push(match self.receiver.poll_output() {
                Output::Send(ConnectionId(id), bytes) => {
                    let text = String::from_utf8(bytes).expect("answers are text");
                    let status = text.split(' ').nth(1).expect("a status line").to_owned();
                    assert!(text.contains("\r\n\r\n"), "{text}");
                    self.answers.push((id, text));
                    format!("{id}:{status}")
                }
                Output::Close(ConnectionId(id)) => format!("{id}:close"),
                Output::Check {
                    connection: ConnectionId(id),
                    user,
                    password,
                } => format!("{id}:check:{user}:{password}"),
                Output::Began { .. } => {
                    self.media.clear();
                    "began".into()
                }
                Output::Media(bytes) => {
                    self.media.extend(bytes);
                    if words.last().is_some_and(|word| word == "media") {
                        continue;
                    }
                    "media".into()
                }
                Output::Paused => "paused".into(),
                Output::Ended(End::Away) => "away".into(),
                Output::Ended(End::Over) => "over".into(),
                Output::Refused { reason, .. } => {
                    self.refusals.push(reason);
                    continue;
                }
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    assert!(
                        wake_at.is_none_or(|at| at > self.now),
                        "a deadline that stays"
                    );
                    return words.join(" ");
                }
            });
        }
    }

    /// A field of the last answer; panics if there is none.
    pub fn field(&self, name: &str) -> &str {
        let (_, answer) = self.answers.last().expect("an answer");
        let line = answer
            .lines()
            .find(|line| line.starts_with(&format!("{name}: ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {answer}"));
        &line[name.len() + 2..]
    }

    /// What the deframer makes of the run: `h` and `d` for headers and packets.
    pub fn items(&self) -> String {
        let mut deframer = Deframer::new();
        deframer.push(&self.media);
        let mut items = String::new();
        while let Some(item) = deframer.next().expect("whole packets") {
            items.push(match item {
                Item::Header(_) => 'h',
                Item::Packet(_) => 'd',
                Item::End => 'e',
            });
        }
        items
    }

    /// Sets up on a connection from `host`, and starts on it with a body of this length and a `$H`.
    pub fn encoder(&mut self, host: u8, setup: &str, length: u64) -> u64 {
        let id = self.connect(host);
        assert_eq!(
            self.say(id, post(SETUP, Some(0), setup)),
            format!("{id}:204")
        );
        let begin = head(
            START,
            Some(PUSH_ID.into()),
            &format!("Content-Length: {length}\r\n"),
        );
        self.say(id, begin);
        self.say(id, packet(b'H', &asf().0));
        id
    }
}

/// A head of a request by Windows Media Encoder.
pub fn head(content: &str, push_id: Option<u64>, fields: &str) -> String {
    let cookie = push_id.map(|id| format!("Cookie: push-id={id}\r\n"));
    format!(
        "POST /live HTTP/1.1\r\nContent-Type: {content}\r\nHost: origin:8080\r\nUser-Agent: WMEncoder/12.0.7601.17514\r\n\
         X-Accept-Authentication: Negotiate, NTLM, Digest\r\nCache-Control: no-cache\r\nConnection: Keep-Alive\r\n{}{fields}\r\n",
        cookie.unwrap_or_default()
    )
}

/// A whole request of the same.
pub fn post(content: &str, push_id: Option<u64>, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n", body.len());
    head(content, push_id, &length) + body
}

/// A packet of a push.
pub fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_le_bytes();
    [&[b'$', kind], &length[..], body].concat()
}

/// `$E` with its reason.
pub fn end(reason: u32) -> Vec<u8> {
    packet(b'E', &reason.to_le_bytes())
}

/// Header and packets of a small file.
pub fn asf() -> (Vec<u8>, Vec<Vec<u8>>) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/media/tiny-audio.asf"
    );
    let mut deframer = Deframer::new();
    deframer.push(&fs::read(path).expect("the file is in the repository"));
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
