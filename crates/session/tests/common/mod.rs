//! A server session with a hand on its clock, and a pair of server and client that talk in virtual time.
#![allow(dead_code)] // each test file uses its part

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::client;
use funnel_session::server::{
    Event, Framing, Input, Opened, Output, Play, Session, SessionError, Settings, Timer,
};
use funnel_wire::codec::Writer;
use funnel_wire::mms::*;
use zerocopy::FromBytes;

/// A real header: streams 1 (video) and 2 (audio).
pub fn header() -> Arc<[u8]> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/media/av-300k.wmv"
    );
    let file = std::fs::read(path).unwrap();
    funnel_asf::Header::parse(&file).unwrap().bytes().into()
}

pub fn channel() -> Opened {
    Opened {
        header: header(),
        packet_bytes: 1444,
        bit_rate: 364_000,
        streams: 0b110,
    }
}

/// The same streams, another header.
pub fn other_channel() -> Opened {
    let mut bytes = header().to_vec();
    let file_id = bytes.len() - 20;
    bytes[file_id] ^= 0xFF;
    Opened {
        header: bytes.into(),
        bit_rate: 500_000,
        ..channel()
    }
}

/// One output of a server session.
#[derive(Debug, PartialEq)]
pub enum Said {
    Message(MacMessage),
    Header { head: DataHeader, payload: Vec<u8> },
    Datagram { head: DataHeader, payload: Vec<u8> },
    Text(String),
    Event(Event),
}

/// A server session and its surroundings.
pub struct Server {
    pub session: Session,
    pub now: Instant,
    /// The answer to the next OpenFile; `None`: the test answers itself.
    pub channel: Option<Result<Opened, HResult>>,
    pub wake_at: Option<(Instant, Timer)>,
    pub sequence: u16,
    pub packets_sent: u16,
}

impl Server {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), 0xA5A5_0000_5EED_1234, now);
        let channel = Some(Ok(channel()));
        let mut server = Self {
            session,
            now,
            channel,
            wake_at: None,
            sequence: 0,
            packets_sent: 0,
        };
        assert_eq!(server.drain(), []);
        server
    }

    /// Everything the session has to say; checks that each send is one unit, and the packet counter.
    pub fn drain(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        loop {
            let one = match self.session.poll_output() {
                Output::Send(bytes) => read_one(bytes, &mut self.packets_sent),
                Output::Datagram(bytes) => read_datagram(bytes),
                Output::Event(event) => Said::Event(event),
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return said;
                }
            };
            said.push(one);
            assert!(said.len() < 10_000, "endless output");
        }
    }

    pub fn try_input(&mut self, input: Input<'_>) -> Result<Vec<Said>, SessionError> {
        let result = self.session.handle_input(self.now, input);
        let mut said = self.drain();
        result?;
        let opens = |one: &Said| matches!(one, Said::Event(Event::Open(_)));
        let mut seen = 0;
        while said[seen..].iter().any(opens)
            && let Some(answer) = self.channel.clone()
        {
            seen = said.len();
            self.session.handle_input(self.now, Input::Opened(answer))?;
            said.extend(self.drain());
        }
        Ok(said)
    }

    pub fn input(&mut self, input: Input<'_>) -> Vec<Said> {
        self.try_input(input).unwrap()
    }

    pub fn send(&mut self, message: impl Into<ViewerMessage>) -> Vec<Said> {
        let bytes = encode(message, self.sequence);
        self.sequence += 1;
        self.input(Input::Received(&bytes))
    }

    /// Lets time pass, waking the session when it asked to be.
    pub fn wait(&mut self, time: Duration) -> Vec<Said> {
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

    /// Brings a new session to a state, by name.
    pub fn at(state: &str) -> Self {
        Self::at_over(state, r"\\10.0.0.1\TCP\1037")
    }

    /// The same with UDP.
    pub fn at_udp(state: &str) -> Self {
        Self::at_over(state, UDP)
    }

    fn at_over(state: &str, funnel_name: &str) -> Self {
        let mut server = Self::new();
        let path: &[ViewerMessage] = &[
            connect("NSPlayer/9.0.0.2980; {X}"),
            funnel(funnel_name),
            open("live"),
            read_block(1),
            start(10),
        ];
        let steps = match state {
            "new" => 0,
            "connected" => 1,
            "funnel" => 2,
            "opening" | "open" | "refused" => 3,
            "ready" => 4,
            "streaming" | "ending" => 5,
            other => panic!("no state {other}"),
        };
        match state {
            "opening" => server.channel = None,
            "refused" => server.channel = Some(Err(HResult::NS_E_FILE_NOT_FOUND)),
            _ => {}
        }
        for message in &path[..steps] {
            server.send(message.clone());
        }
        if state == "ending" {
            server.input(Input::MediaDrained);
        }
        assert_eq!(server.session.state_name(), state);
        server
    }
}

pub fn ask_pair(play_incarnation: Incarnation) -> ViewerMessage {
    FunnelInfo { play_incarnation }.into()
}

pub fn cancel() -> ViewerMessage {
    CancelReadBlock::default().into()
}

/// What a player sends that wants datagrams.
pub const UDP: &str = r"\\10.0.0.1\UDP\7000";

fn read_datagram(bytes: &[u8]) -> Said {
    let (head, payload) = DataHeader::read_from_prefix(bytes).unwrap();
    assert_eq!(usize::from(head.packet_size.get()), bytes.len());
    Said::Datagram {
        head,
        payload: payload.to_vec(),
    }
}

fn read_one(bytes: &[u8], packets_sent: &mut u16) -> Said {
    if bytes.starts_with(b"HTTP/") {
        return Said::Text(String::from_utf8(bytes.to_vec()).unwrap());
    }
    let (frame, size) = split(bytes, Traffic::MessagesAndData, 0)
        .unwrap()
        .expect("a whole unit");
    assert_eq!(size, bytes.len(), "one unit per send");
    match frame {
        Frame::Message(frame) => {
            assert_eq!(
                frame.header.chunk_count.get(),
                frame.header.message_length.get() / 8
            );
            assert_eq!(
                frame.header.sequence.get(),
                *packets_sent,
                "own counter from 0"
            );
            *packets_sent += 1;
            let messages: Vec<_> = frame.messages().collect();
            assert_eq!(messages.len(), 1, "one message per packet");
            assert!(bytes.len() <= 1460, "one segment");
            Said::Message(MacMessage::decode(messages[0].0, messages[0].1.clone()).unwrap())
        }
        Frame::Data { header, payload } => Said::Header {
            head: header,
            payload: payload.to_vec(),
        },
    }
}

pub fn encode(message: impl Into<ViewerMessage>, sequence: u16) -> Vec<u8> {
    let mut out = Vec::new();
    message.into().encode(sequence, &mut Writer::new(&mut out));
    out
}

pub fn messages(said: &[Said]) -> Vec<&MacMessage> {
    said.iter()
        .filter_map(|one| {
            if let Said::Message(message) = one {
                Some(message)
            } else {
                None
            }
        })
        .collect()
}

pub fn events(said: &[Said]) -> Vec<&Event> {
    said.iter()
        .filter_map(|one| {
            if let Said::Event(event) = one {
                Some(event)
            } else {
                None
            }
        })
        .collect()
}

/// Ids of the messages, `DATA` for header fragments, `DATAGRAM` for those over UDP, names of the events.
pub fn outline(said: &[Said]) -> Vec<String> {
    said.iter()
        .map(|one| match one {
            Said::Message(message) => message.mid().name().unwrap().to_owned(),
            Said::Header { head, .. } => format!("DATA {:02X}", head.af_flags),
            Said::Datagram { head, .. } => format!("DATAGRAM {:02X}", head.af_flags),
            Said::Text(text) => text.lines().next().unwrap_or_default().to_owned(),
            Said::Event(event) => {
                let text = format!("{event:?}");
                text.split(['(', ' ']).next().unwrap_or_default().to_owned()
            }
        })
        .collect()
}

pub fn played(said: &[Said]) -> Option<Play> {
    events(said).into_iter().find_map(|event| {
        if let Event::Play(play) = event {
            Some(*play)
        } else {
            None
        }
    })
}

pub fn closed(said: &[Said]) -> Option<HResult> {
    events(said).into_iter().find_map(|event| {
        if let Event::Close(hr) = event {
            Some(*hr)
        } else {
            None
        }
    })
}

pub fn connect(subscriber: &str) -> ViewerMessage {
    Connect {
        play_incarnation: Incarnation(0),
        mac_to_viewer_revision: MAC_TO_VIEWER_REVISION,
        viewer_to_mac_revision: VIEWER_TO_MAC_REVISION,
        subscriber_name: subscriber.into(),
    }
    .into()
}

pub fn funnel(name: &str) -> ViewerMessage {
    ConnectFunnel {
        max_block_bytes: u32::MAX,
        funnel_mode: 2,
        funnel_name: name.into(),
        ..ConnectFunnel::default()
    }
    .into()
}

pub fn open(path: &str) -> ViewerMessage {
    OpenFile {
        play_incarnation: Incarnation(9),
        file_name: path.into(),
        ..OpenFile::default()
    }
    .into()
}

pub fn read_block(tag: u32) -> ViewerMessage {
    ReadBlock {
        open_file_id: 1,
        play_incarnation: Incarnation(tag),
        ..ReadBlock::default()
    }
    .into()
}

pub fn switch(levels: &[(u16, u16)]) -> ViewerMessage {
    StreamSwitch::new(
        levels
            .iter()
            .map(|(stream, level)| StreamEntry::select(*stream, *level))
            .collect(),
    )
    .into()
}

pub fn start(tag: u32) -> ViewerMessage {
    StartPlaying {
        open_file_id: 1,
        asf_offset: u32::MAX,
        location_id: u32::MAX,
        play_incarnation: Incarnation(tag),
        ..StartPlaying::default()
    }
    .into()
}

pub fn stop(tag: u32) -> ViewerMessage {
    StopPlaying {
        open_file_id: 1,
        play_incarnation: Incarnation(tag),
    }
    .into()
}

/// One output of the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Connected(String),
    Opened(client::FileInfo),
    Header(Vec<u8>),
    Started,
    Packet {
        location: u32,
        sequence: u32,
        bytes: Vec<u8>,
    },
    StreamChange(client::FileInfo),
    Stopped,
    End(HResult),
    Refused(client::Stage, HResult),
    Redirect(String),
    Close(client::CloseReason),
}

/// Server and client, a clock, and a channel that sends on demand.
pub struct Pair {
    pub server: Server,
    pub client: client::Session,
    pub heard: Vec<Heard>,
    pub said: Vec<Said>,
    pub framing: Option<Framing>,
    pub transport: Transport,
    pub location: u32,
    pub viewer_sequence: u32,
    /// Bytes travel in pieces of at most this size.
    pub piece_bytes: usize,
    /// Client → server bytes, for replays.
    pub upstream: Vec<Vec<u8>>,
}

impl Pair {
    pub fn new(options: client::Options) -> Self {
        let server = Server::new();
        let url: funnel_session::url::Url = "mms://radio.example/live".parse().unwrap();
        let client = client::Session::new(Arc::new(url), Arc::new(options), server.now);
        Self {
            server,
            client,
            heard: Vec::new(),
            said: Vec::new(),
            framing: None,
            transport: Transport::Tcp,
            location: 5300,
            viewer_sequence: 0,
            piece_bytes: usize::MAX,
            upstream: Vec::new(),
        }
    }

    /// Moves what the client has to say. Returns false when it has nothing.
    pub fn step(&mut self) -> bool {
        let mut sends = Vec::new();
        loop {
            match self.client.poll_output() {
                client::Output::Send(bytes) => sends.push(bytes.to_vec()),
                client::Output::Datagram(_) => panic!("nothing is lost here"),
                client::Output::Event(event) => self.heard.push(hear(event)),
                client::Output::Idle { .. } => break,
            }
        }
        for bytes in &sends {
            for piece in bytes.chunks(self.piece_bytes.min(bytes.len())) {
                let said = self.server.input(Input::Received(piece));
                self.deliver(said);
            }
        }
        let went = !sends.is_empty();
        self.upstream.extend(sends);
        went
    }

    /// Steps until both are silent.
    pub fn drive(&mut self) {
        for _ in 0..100 {
            if !self.step() {
                return;
            }
        }
        panic!("no end of talking");
    }

    /// Gives the server's outputs to the client.
    pub fn deliver(&mut self, said: Vec<Said>) {
        let mut bytes = Vec::new();
        for (one, sequence) in said.iter().zip(0u16..) {
            match one {
                Said::Message(message) => message.encode(sequence, &mut Writer::new(&mut bytes)),
                Said::Header { head, payload } => {
                    bytes.extend_from_slice(zerocopy::IntoBytes::as_bytes(head));
                    bytes.extend_from_slice(payload);
                }
                Said::Datagram { head, payload } => {
                    let datagram = [zerocopy::IntoBytes::as_bytes(head), payload].concat();
                    self.client
                        .handle_input(self.server.now, client::Input::Datagram(&datagram));
                }
                Said::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Said::Event(Event::Play(play)) => {
                    self.framing = Some(play.framing);
                    self.viewer_sequence = play.framing.first_sequence(self.viewer_sequence);
                }
                Said::Event(Event::StopMedia | Event::Close(_)) => self.framing = None,
                Said::Event(Event::Transport(transport)) => self.transport = *transport,
                Said::Event(_) => {}
            }
        }
        self.receive(&bytes);
        self.said.extend(said);
    }

    /// Sends `count` media packets, if the viewer plays.
    pub fn media(&mut self, count: usize) {
        for _ in 0..count {
            let Some(framing) = self.framing else { return };
            let body = vec![self.location as u8; 1444];
            let mut head = [0; Framing::HEAD_BYTES_MAX];
            let size = framing.head(self.location, self.viewer_sequence, body.len(), &mut head);
            let packet = [&head[..size], &body].concat();
            self.location += 1;
            self.viewer_sequence += 1;
            self.server.session.note_progress(self.server.now);
            match self.transport {
                Transport::Tcp => self.receive(&packet),
                Transport::Udp { .. } => self
                    .client
                    .handle_input(self.server.now, client::Input::Datagram(&packet)),
            }
        }
        self.drive();
    }

    pub fn input(&mut self, input: Input<'_>) {
        let said = self.server.input(input);
        self.deliver(said);
        self.drive();
    }

    pub fn ask(&mut self, input: client::Input<'_>) {
        self.client.handle_input(self.server.now, input);
        self.drive();
    }

    pub fn wait(&mut self, time: Duration) {
        let said = self.server.wait(time);
        self.deliver(said);
        self.client
            .handle_input(self.server.now, client::Input::Timeout);
        self.drive();
    }

    fn receive(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece_bytes.min(bytes.len()).max(1)) {
            self.client
                .handle_input(self.server.now, client::Input::Received(piece));
        }
    }

    pub fn packets(&self) -> Vec<(u32, u32)> {
        let packet = |heard: &Heard| match heard {
            Heard::Packet {
                location, sequence, ..
            } => Some((*location, *sequence)),
            _ => None,
        };
        self.heard.iter().filter_map(packet).collect()
    }

    pub fn has_heard(&self, expected: &Heard) -> bool {
        self.heard.contains(expected)
    }
}

fn hear(event: client::Event<'_>) -> Heard {
    match event {
        client::Event::Connected { server_version, .. } => Heard::Connected(server_version),
        client::Event::Opened(info) => Heard::Opened(info),
        client::Event::Header(bytes) => Heard::Header(bytes.to_vec()),
        client::Event::Started => Heard::Started,
        client::Event::Packet {
            location,
            sequence,
            bytes,
        } => Heard::Packet {
            location,
            sequence,
            bytes: bytes.to_vec(),
        },
        client::Event::Lost { .. } => panic!("nothing is lost on TCP"),
        client::Event::StreamChange(info) => Heard::StreamChange(info),
        client::Event::Stopped => Heard::Stopped,
        client::Event::End(hr) => Heard::End(hr),
        client::Event::Refused { stage, hr } => Heard::Refused(stage, hr),
        client::Event::Redirect(location) => Heard::Redirect(location),
        client::Event::Close(reason) => Heard::Close(reason),
    }
}

/// The head of one media packet.
pub fn head(framing: Framing, location: u32, sequence: u32) -> DataHeader {
    let mut out = [0; Framing::HEAD_BYTES_MAX];
    let size = framing.head(location, sequence, 1444, &mut out);
    DataHeader::read_from_bytes(&out[..size]).unwrap()
}

/// One seed is one run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}
