//! Connections over HTTP to one server, with a hand on their clock; what they say comes out as lines to be read.
#![allow(dead_code)] // each test file uses its part

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::server::{
    Event, Framing, Input, Opened, Order, Output, Play, Session, SessionError, Settings, Timer,
};
use funnel_session::{HResult, Selection, Thinning};
use funnel_wire::wmsp::{Body, BodyLength, Packet, PacketKind, ResponseHead};

use crate::common;

/// One connection.
pub struct Web {
    pub session: Session,
    pub now: Instant,
    /// The answer to the next `Event::Open`; `None`: the test answers itself.
    pub channel: Option<Result<Opened, HResult>>,
    pub wake_at: Option<(Instant, Timer)>,
    pub events: Vec<Event>,
    pub play: Option<Play>,
    pub sequence: u32,
    reader: Reader,
}

impl Web {
    /// A connection to a server of its own.
    pub fn new() -> Self {
        Self::to(&Arc::new(Settings::default()), 1)
    }

    /// Another connection to the same server.
    pub fn to(settings: &Arc<Settings>, number: u64) -> Self {
        Self::at(settings, number, Instant::now())
    }

    /// The same at a given time.
    pub fn at(settings: &Arc<Settings>, number: u64, now: Instant) -> Self {
        let nonce = 0xA5A5_0000_5EED_0000 | number;
        let mut web = Self {
            session: Session::new(Arc::clone(settings), nonce, now),
            now,
            channel: Some(Ok(common::channel())),
            wake_at: None,
            events: Vec::new(),
            play: None,
            sequence: 0,
            reader: Reader::default(),
        };
        assert_eq!(web.drain(), [""; 0]);
        web
    }

    /// Says `lines`, each with CR LF, and what follows a head: a blank line.
    pub fn ask(&mut self, lines: &[&str]) -> Vec<String> {
        self.send(&[&lines.join("\r\n"), "\r\n\r\n"].concat())
    }

    pub fn send(&mut self, text: &str) -> Vec<String> {
        self.input(Input::Received(text.as_bytes()))
    }

    pub fn input(&mut self, input: Input<'_>) -> Vec<String> {
        self.try_input(input).unwrap()
    }

    pub fn try_input(&mut self, input: Input<'_>) -> Result<Vec<String>, SessionError> {
        let before = self.events.len();
        let result = self.session.handle_input(self.now, input);
        let mut said = self.drain();
        result?;
        let mut seen = before;
        while let Some(answer) = self.channel.clone()
            && let Some(at) = self.events[seen..]
                .iter()
                .position(|event| matches!(event, Event::Open(_)))
        {
            seen += at + 1;
            self.session.handle_input(self.now, Input::Opened(answer))?;
            said.extend(self.drain());
        }
        Ok(said)
    }

    /// Lets time pass, waking the session when it asked to be.
    pub fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut said = Vec::new();
        while let Some((at, _)) = self.wake_at.filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            said.extend(self.input(Input::Timeout));
            assert!(
                self.wake_at.is_none_or(|(next, _)| next > self.now),
                "woken for nothing"
            );
        }
        self.now = end;
        said
    }

    /// Sends so many packets of media, as the owner would.
    pub fn media(&mut self, count: u32) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..count {
            let framing = self.play.expect("media is asked for").framing;
            let body = [0x82; 1444];
            let mut head = [0; Framing::HEAD_BYTES_MAX];
            let size = framing.head(5300 + self.sequence, self.sequence, body.len(), &mut head);
            self.sequence += 1;
            self.reader
                .take(&[&head[..size], &body].concat(), &mut said);
        }
        said
    }

    fn drain(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.session.poll_output() {
                Output::Send(bytes) => self.reader.take(bytes, &mut said),
                Output::Datagram(_) => panic!("no datagrams over HTTP"),
                Output::Event(event) => {
                    match &event {
                        Event::Play(play) => {
                            self.play = Some(*play);
                            self.sequence = play.framing.first_sequence(self.sequence);
                        }
                        Event::StopMedia => self.play = None,
                        Event::Close(_) => {
                            self.play = None;
                            self.reader.end(&mut said);
                        }
                        _ => {}
                    }
                    said.push(show(&event));
                    self.events.push(event);
                }
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return said;
                }
            }
            assert!(said.len() < 10_000, "endless output");
        }
    }
}

/// Reads what a server says.
#[derive(Default)]
struct Reader {
    unread: Vec<u8>,
    /// The body that is being read, and what it is made of.
    body: Option<(Body, Content)>,
    content: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Content {
    Packets,
    Asf,
    Text,
}

impl Reader {
    fn take(&mut self, bytes: &[u8], said: &mut Vec<String>) {
        self.unread.extend_from_slice(bytes);
        while self.step(said) {}
    }

    /// The connection ends: nothing may be left over.
    fn end(&mut self, said: &mut Vec<String>) {
        assert_eq!(self.unread.escape_ascii().to_string(), "");
        if let Some((body, content)) = self.body.take()
            && !body.is_over()
        {
            self.tell(content, said);
        }
        assert_eq!(self.content.escape_ascii().to_string(), "");
    }

    fn step(&mut self, said: &mut Vec<String>) -> bool {
        if let Some((mut body, content)) = self.body.take() {
            let (taken, part) = body.take(&self.unread).unwrap();
            self.content.extend_from_slice(part);
            self.unread.drain(..taken);
            self.tell(content, said);
            if body.is_over() {
                assert_eq!(self.content, b"", "whole packets");
                said.push("<.".into());
                return true;
            }
            self.body = Some((body, content));
            return taken > 0;
        }
        let Some((head, size)) = ResponseHead::parse(&self.unread).unwrap() else {
            return false;
        };
        let text = String::from_utf8(self.unread.drain(..size).collect()).unwrap();
        assert!(text.ends_with("\r\n\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']));
        said.extend(text.trim_end().lines().map(|line| format!("< {line}")));
        let content = match head.fields.content_type() {
            Some("video/x-ms-asf") => Content::Asf,
            Some("text/plain") => Content::Text,
            _ => Content::Packets,
        };
        if head.status != 100 && head.length != BodyLength::Sized(0) {
            self.body = Some((Body::new(head.length), content));
        }
        true
    }

    fn tell(&mut self, content: Content, said: &mut Vec<String>) {
        match content {
            Content::Text => {
                if let Some(line) = self.content.strip_suffix(b"\n") {
                    said.push(format!("<| {}", line.escape_ascii()));
                    self.content.clear();
                }
            }
            Content::Asf => {
                let header = common::header();
                if self.content.starts_with(&header) {
                    said.push("<| header".into());
                    self.content.drain(..header.len());
                }
                while self.content.len() >= 1444 && self.content[0] == 0x82 {
                    said.push("<| packet".into());
                    self.content.drain(..1444);
                }
            }
            Content::Packets => {
                while let Some((packet, size)) = Packet::split(&self.content).unwrap() {
                    said.push(show_packet(&packet));
                    self.content.drain(..size);
                }
            }
        }
    }
}

fn show_packet(packet: &Packet<'_>) -> String {
    let letter = char::from(packet.kind.0);
    match packet.kind {
        PacketKind::HEADER | PacketKind::METADATA | PacketKind::DATA => {
            let fragment = packet.fragment().unwrap();
            let known = [common::header(), common::other_channel().header];
            let what = match packet.kind {
                PacketKind::HEADER if *fragment.payload == *known[0] => " header",
                PacketKind::HEADER if *fragment.payload == *known[1] => " other header",
                PacketKind::METADATA => {
                    let text = String::from_utf8_lossy(fragment.payload);
                    let (first, _) = text.split_once('\0').unwrap();
                    return format!("<| $M {first}");
                }
                _ => "",
            };
            format!(
                "<| ${letter} {} {:02X}{what}",
                fragment.location, fragment.flags
            )
        }
        PacketKind::END | PacketKind::CHANGE => format!("<| ${letter} {:X}", packet.reason().0),
        _ => format!("<| ${letter}"),
    }
}

fn show(event: &Event) -> String {
    match event {
        Event::Open(request) => {
            let host = request.host.as_deref().unwrap_or("-");
            format!("! open {} at {host}", request.names.join(" or "))
        }
        Event::Play(play) => {
            let framings = [
                (Framing::ASF, "plain"),
                (Framing::wmsp(0), "framed"),
                (Framing::chunked(0), "chunked"),
            ];
            let framing = framings
                .iter()
                .find(|(framing, _)| *framing == play.framing);
            let mut text = format!("! play {} {}", framing.unwrap().1, streams(play.selection));
            if play.accel != Default::default() {
                text += &format!(" {:?}", play.accel);
            }
            if play.keep_padding {
                text += " padded";
            }
            text
        }
        Event::Select(selection) => format!("! select {}", streams(*selection)),
        Event::StopMedia => "! stop".into(),
        Event::HandOver(hand_over) => {
            format!(
                "! hand over to {:?}, {} bytes",
                hand_over.to,
                hand_over.received.len()
            )
        }
        Event::Order { connection, order } => match order {
            Order::Select(selection) => {
                format!("! order {connection:X} select {}", streams(*selection))
            }
            Order::Stop => format!("! order {connection:X} stop"),
        },
        Event::ClientLog(log) => format!("! log {} {}", log.url, log.played_ms),
        Event::Close(hr) => format!("! close {hr}"),
        Event::Transport(_) => "! transport".into(),
    }
}

/// Of the first two streams, as players number them.
fn streams(selection: Selection) -> String {
    let level = |stream| match selection.level(stream) {
        Thinning::All => format!("{stream}"),
        Thinning::KeyFramesOnly => format!("{stream}:keys"),
        Thinning::Off => String::new(),
    };
    format!("[{}]", [level(1), level(2)].join(" ").trim())
}
