//! A scripted viewer: speaks MMS over TCP byte by byte, from `docs/protocol/mmsp.md` and not from the
//! crates under test, and sees what real players hide: numbers, tags, codes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The 32-bit mark that tells messages from Data packets (§2.3).
const SESSION: [u8; 4] = [0xce, 0xfa, 0x0b, 0xb0];

/// Commands by their number (§5): what a viewer sends …
pub mod ask {
    pub const CONNECT: u16 = 0x01;
    pub const CONNECT_FUNNEL: u16 = 0x02;
    pub const OPEN_FILE: u16 = 0x05;
    pub const START_PLAYING: u16 = 0x07;
    pub const STOP_PLAYING: u16 = 0x09;
    pub const CLOSE_FILE: u16 = 0x0d;
    pub const READ_BLOCK: u16 = 0x15;
    pub const PONG: u16 = 0x1b;
    pub const STREAM_SWITCH: u16 = 0x33;
}

/// … and what the server sends.
pub mod answer {
    pub const CONNECTED: u16 = 0x01;
    pub const CONNECTED_FUNNEL: u16 = 0x02;
    pub const STARTED_PLAYING: u16 = 0x05;
    pub const OPEN_FILE: u16 = 0x06;
    pub const READ_BLOCK: u16 = 0x11;
    pub const PING: u16 = 0x1b;
    pub const END_OF_STREAM: u16 = 0x1e;
    pub const STREAM_CHANGE: u16 = 0x20;
    pub const STREAM_SWITCH: u16 = 0x21;
    pub const REDIRECT: u16 = 0x22;
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Message {
        command: u16,
        body: Vec<u8>,
    },
    Data {
        location: u32,
        tag: u8,
        flags: u8,
        bytes: Vec<u8>,
    },
    Closed,
}

impl Event {
    /// The result code of a message: the first field of nearly all (§5).
    pub fn result(&self) -> u32 {
        match self {
            Event::Message { body, .. } => {
                u32::from_le_bytes(body[..4].try_into().expect("a result code"))
            }
            other => panic!("not a message: {other:?}"),
        }
    }
}

/// One connection.
pub struct Viewer {
    stream: TcpStream,
    sequence: u16,
    /// The ASF header, once read.
    pub header: Vec<u8>,
    /// LocationId of the last media packet.
    pub last_location: Option<u32>,
    /// How often packets were missing between two that came.
    pub gaps: u32,
}

impl Viewer {
    /// Connects; every read waits at most 20 s.
    pub fn connect(port: u16) -> Viewer {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
        Viewer::on(stream)
    }

    /// Speaks over a connection made elsewhere.
    pub fn on(stream: TcpStream) -> Viewer {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Viewer {
            stream,
            sequence: 0,
            header: Vec::new(),
            last_location: None,
            gaps: 0,
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The whole of a message as it goes on the wire.
    pub fn message(sequence: u16, command: u16, body: &[u8]) -> Vec<u8> {
        let padded = (8 + body.len()).div_ceil(8) * 8;
        let length = u32::try_from(padded + 16).expect("a small message");
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend(SESSION);
        bytes.extend(length.to_le_bytes());
        bytes.extend(*b"MMS ");
        bytes.extend((length / 8).to_le_bytes());
        bytes.extend(sequence.to_le_bytes());
        bytes.extend([0; 10]);
        bytes.extend((u32::try_from(padded / 8).expect("a small message")).to_le_bytes());
        bytes.extend(command.to_le_bytes());
        bytes.extend([3, 0]);
        bytes.extend(body);
        bytes.resize(32 + padded, 0);
        bytes
    }

    pub fn send(&mut self, command: u16, body: &[u8]) {
        let bytes = Viewer::message(self.sequence, command, body);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream
            .write_all(&bytes)
            .expect("the server takes a message");
    }

    /// Next thing from the server. A reset counts as closed; waiting too long is a failure.
    pub fn next(&mut self) -> Event {
        let mut head = [0; 8];
        if !self.fill(&mut head) {
            return Event::Closed;
        }
        if head[4..8] == SESSION {
            let mut rest = [0; 24];
            assert!(self.fill(&mut rest), "cut in a message head");
            let length = u32::from_le_bytes(rest[..4].try_into().expect("4 bytes")) as usize;
            let mut message = vec![0; length - 16];
            assert!(self.fill(&mut message), "cut in a message");
            let command = u16::from_le_bytes([message[4], message[5]]);
            return Event::Message {
                command,
                body: message.split_off(8),
            };
        }
        let mut bytes = vec![0; usize::from(u16::from_le_bytes([head[6], head[7]])) - 8];
        assert!(self.fill(&mut bytes), "cut in a Data packet");
        Event::Data {
            location: u32::from_le_bytes(head[..4].try_into().expect("4 bytes")),
            tag: head[4],
            flags: head[5],
            bytes,
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read_exact(buffer) {
            Ok(()) => true,
            Err(error) => {
                use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
                assert!(
                    matches!(error.kind(), UnexpectedEof | ConnectionReset),
                    "waiting for the server: {error}"
                );
                false
            }
        }
    }

    /// The answer `command`, with pings answered and Data packets dropped on the way.
    pub fn answer(&mut self, command: u16) -> Event {
        loop {
            match self.next() {
                event @ Event::Message { .. } if matches!(&event, Event::Message { command: c, .. } if *c == command) =>
                {
                    return event;
                }
                Event::Message {
                    command: answer::PING,
                    ..
                } => self.send(ask::PONG, &[0; 8]),
                Event::Data { .. } => {}
                other => panic!("waiting for message {command:#04x}, got {other:?}"),
            }
        }
    }

    /// Connect, ConnectFunnel and OpenFile as libmms sends them; the answer to OpenFile.
    pub fn open(&mut self, channel: &str) -> Event {
        self.introduce();
        self.send(ask::OPEN_FILE, &open_file(channel));
        self.answer(answer::OPEN_FILE)
    }

    /// Connect and ConnectFunnel, and their answers.
    pub fn introduce(&mut self) {
        self.send(
            ask::CONNECT,
            &connect(
                "NSPlayer/7.0.0.1956; {5E1A7D02-93C4-4B6F-8D21-6A0B9C3F4E77}; Host: 127.0.0.1",
            ),
        );
        assert_eq!(self.answer(answer::CONNECTED).result(), 0);
        self.send(ask::CONNECT_FUNNEL, &connect_funnel());
        assert_eq!(self.answer(answer::CONNECTED_FUNNEL).result(), 0);
    }

    /// ReadBlock and the header fragments that answer it.
    pub fn read_header(&mut self) {
        self.send(ask::READ_BLOCK, &read_block(2));
        assert_eq!(self.answer(answer::READ_BLOCK).result(), 0);
        self.collect_header(2);
    }

    /// Header fragments with this tag, up to the last.
    pub fn collect_header(&mut self, wanted: u8) {
        self.header.clear();
        loop {
            match self.next() {
                Event::Data {
                    tag, flags, bytes, ..
                } if tag == wanted => {
                    self.header.extend(bytes);
                    match flags {
                        0x04 => {}
                        0x0c => return,
                        other => panic!("AFFlags {other:#04x} on a header fragment"),
                    }
                }
                other => panic!("waiting for the header, got {other:?}"),
            }
        }
    }

    /// Everything up to ReportStartedPlaying, all streams selected, media tagged 4.
    pub fn play(port: u16, channel: &str) -> Viewer {
        let mut viewer = Viewer::connect(port);
        assert_eq!(viewer.open(channel).result(), 0, "OpenFile of {channel}");
        viewer.read_header();
        let (streams, _) = super::asf::streams(&viewer.header);
        viewer.select(
            &streams
                .iter()
                .map(|stream| (*stream, 0))
                .collect::<Vec<_>>(),
        );
        viewer.start();
        viewer
    }

    /// StreamSwitch with (stream, level) pairs and its answer.
    pub fn select(&mut self, streams: &[(u8, u16)]) {
        self.send(ask::STREAM_SWITCH, &stream_switch(streams));
        assert_eq!(self.answer(answer::STREAM_SWITCH).result(), 0);
    }

    /// StartPlaying and its answer.
    pub fn start(&mut self) {
        self.send(ask::START_PLAYING, &start_playing(4));
        assert_eq!(self.answer(answer::STARTED_PLAYING).result(), 0);
    }

    /// The next media packet, its number checked against the one before; `None` at the end of the stream.
    pub fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.next() {
                Event::Data {
                    location,
                    tag: 4,
                    bytes,
                    ..
                } => {
                    if self
                        .last_location
                        .is_some_and(|last| location != last.wrapping_add(1))
                    {
                        self.gaps += 1;
                    }
                    self.last_location = Some(location);
                    return Some(bytes);
                }
                Event::Message {
                    command: answer::PING,
                    ..
                } => self.send(ask::PONG, &[0; 8]),
                Event::Message {
                    command: answer::END_OF_STREAM,
                    ..
                }
                | Event::Closed => return None,
                other => panic!("in the middle of the media: {other:?}"),
            }
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn dwords(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Body of Connect (§5.1).
pub fn connect(subscriber: &str) -> Vec<u8> {
    [dwords(&[0, 0x0004_000b, 0x0003_001c]), utf16(subscriber)].concat()
}

/// Body of ConnectFunnel for TCP (§5.5).
pub fn connect_funnel() -> Vec<u8> {
    [
        dwords(&[0, 0xffff_ffff, 0, 0x0098_9680, 2]),
        utf16(r"\\192.168.0.129\TCP\1037"),
    ]
    .concat()
}

/// Body of OpenFile (§5.8).
pub fn open_file(name: &str) -> Vec<u8> {
    [dwords(&[1, 0xffff_ffff, 0, 0]), utf16(name)].concat()
}

/// Body of ReadBlock (§5.12).
pub fn read_block(tag: u32) -> Vec<u8> {
    [dwords(&[
        1,
        0,
        0,
        0x8000,
        0xffff_ffff,
        0,
        0,
        0,
        0,
        0x40ac_2000,
        tag,
        0,
    ])]
    .concat()
}

/// Body of StreamSwitch (§5.15).
pub fn stream_switch(streams: &[(u8, u16)]) -> Vec<u8> {
    let mut body = dwords(&[u32::try_from(streams.len()).expect("few streams")]);
    for (stream, level) in streams {
        body.extend([0xff, 0xff, *stream, 0]);
        body.extend(level.to_le_bytes());
    }
    body
}

/// Body of StartPlaying without acceleration fields (§5.17).
pub fn start_playing(tag: u32) -> Vec<u8> {
    dwords(&[
        1,
        0x0001_ffff,
        0,
        0,
        0xffff_ffff,
        0xffff_ffff,
        0x00ff_ffff,
        tag,
    ])
}
