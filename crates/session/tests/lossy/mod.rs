//! A client session over UDP, a scripted server, and a network between them that loses, doubles and delays datagrams
//! as a seed says. Time is virtual.
#![allow(dead_code)] // each test file uses its part

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::client::{Event, Input, Options, Output, Session, Transport, UdpStats};
use funnel_wire::codec::Writer;
use funnel_wire::mms::*;
use zerocopy::{FromBytes as _, IntoBytes as _};

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What goes wrong, in datagrams of a thousand, and how long they take.
#[derive(Clone, Debug)]
pub struct Weather {
    pub seed: u64,
    pub lost: u64,
    pub doubled: u64,
    /// Every datagram takes 10 ms and up to this much more.
    pub jitter: Duration,
    /// Media packets lost the first time, whatever the dice say.
    pub outage: std::ops::Range<u32>,
}

impl Weather {
    pub const FINE: Self = Self {
        seed: 1,
        lost: 0,
        doubled: 0,
        jitter: Duration::ZERO,
        outage: 0..0,
    };
}

/// What the server has and does.
#[derive(Clone, Debug)]
pub struct Show {
    pub header: Vec<u8>,
    /// In fragments of this size.
    pub fragment_bytes: usize,
    pub packets: u32,
    pub interval: Duration,
    /// LocationId of the packet with this number.
    pub location: fn(u32) -> u32,
    pub answers_resends: bool,
    /// Header fragments are lost in these tries (from 0).
    pub headers_lost: std::ops::Range<u32>,
}

impl Show {
    pub fn new(packets: u32) -> Self {
        Self {
            header: (0..3000u32).map(|number| number as u8).collect(),
            fragment_bytes: 700,
            packets,
            interval: ms(10),
            location: |sequence| 5300 + sequence,
            answers_resends: true,
            headers_lost: 0..0,
        }
    }

    pub fn packet(&self, sequence: u32, tag: u8) -> Vec<u8> {
        let body = body(sequence);
        let [low, ..] = sequence.to_le_bytes();
        let head = DataHeader::new((self.location)(sequence), tag, low, body.len());
        [head.as_bytes(), &body].concat()
    }
}

/// Another content and another length for each packet.
pub fn body(sequence: u32) -> Vec<u8> {
    sequence.to_le_bytes().repeat(3 + (sequence % 7) as usize)
}

#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Header(Vec<u8>),
    Started,
    Packet { sequence: u32, location: u32 },
    Lost { sequence: u32, count: u32 },
    End,
    Other(String),
}

/// A resend request as it left the client.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub sequences: Vec<u32>,
}

enum Parcel {
    ToClient(Vec<u8>),
    DatagramToClient(Vec<u8>),
    ToServer(Vec<u8>),
    DatagramToServer(Vec<u8>),
    /// The server sends its next packet, or ends.
    Media,
}

pub struct World {
    pub now: Instant,
    pub began: Instant,
    pub client: Session,
    pub show: Show,
    pub weather: Weather,
    pub heard: Vec<Heard>,
    pub asked: Vec<Asked>,
    pub client_said: Vec<Mid>,
    pub funnel_name: String,
    pub is_open: bool,
    parcels: BTreeMap<(Instant, u64), Parcel>,
    count: u64,
    wake_at: Option<Instant>,
    header_tries: u32,
    tag: u8,
    next: u32,
}

pub const CLIENT_ID: u32 = 0x5EED_1234;

impl World {
    pub fn new(show: Show, weather: Weather, options: Options) -> Self {
        let options = Options {
            transport: Transport::Udp { port: 7000 },
            ..options
        };
        let url: funnel_session::url::Url = "mmsu://radio.example/live".parse().unwrap();
        let now = Instant::now();
        let mut world = Self {
            now,
            began: now,
            client: Session::new(Arc::new(url), Arc::new(options), now),
            show,
            weather,
            heard: Vec::new(),
            asked: Vec::new(),
            client_said: Vec::new(),
            funnel_name: String::new(),
            is_open: true,
            parcels: BTreeMap::new(),
            count: 0,
            wake_at: None,
            header_tries: 0,
            tag: 0,
            next: 0,
        };
        world.drain();
        world
    }

    /// Until the client closes.
    pub fn run(&mut self) {
        while self.is_open {
            assert!(
                self.step(),
                "client waits for ever: {:?}",
                self.heard.last()
            );
        }
    }

    /// Until `done`, or until nothing happens any more.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while self.is_open && !done(self) && self.step() {}
    }

    /// One parcel or one deadline. False: there is neither.
    pub fn step(&mut self) -> bool {
        let parcel_at = self.parcels.first_key_value().map(|((at, _), _)| *at);
        let Some(at) = [parcel_at, self.wake_at].into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(at);
        assert!(
            self.now - self.began < Duration::from_secs(600),
            "no end in sight"
        );
        if parcel_at != Some(at) {
            self.feed(Input::Timeout);
            assert!(
                self.wake_at.is_none_or(|next| next > self.now),
                "woken for nothing"
            );
            return true;
        }
        match self.parcels.pop_first().unwrap().1 {
            Parcel::ToClient(bytes) => self.feed(Input::Received(&bytes)),
            Parcel::DatagramToClient(bytes) => self.feed(Input::Datagram(&bytes)),
            Parcel::ToServer(bytes) => self.serve(&bytes),
            Parcel::DatagramToServer(bytes) => self.resend(&bytes),
            Parcel::Media => self.media(),
        }
        true
    }

    pub fn feed(&mut self, input: Input<'_>) {
        self.client.handle_input(self.now, input);
        self.drain();
    }

    pub fn stats(&self) -> UdpStats {
        self.client.udp_stats()
    }

    /// Numbers told, and numbers lost, in the order told.
    pub fn told(&self) -> Vec<(u32, bool)> {
        let mut told = Vec::new();
        for heard in &self.heard {
            match heard {
                Heard::Packet { sequence, .. } => told.push((*sequence, true)),
                Heard::Lost { sequence, count } => {
                    told.extend((*sequence..sequence + count).map(|number| (number, false)));
                }
                _ => {}
            }
        }
        told
    }

    /// Media packets that the server sent.
    pub fn sent(&self) -> u32 {
        self.next
    }

    /// The server sends no media until the next StartPlaying.
    pub fn hold_media(&mut self) {
        self.parcels
            .retain(|_, parcel| !matches!(parcel, Parcel::Media));
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output() {
                Output::Send(bytes) => {
                    let bytes = bytes.to_vec();
                    self.post(ms(10), Parcel::ToServer(bytes));
                }
                Output::Datagram(bytes) => {
                    let bytes = bytes.to_vec();
                    self.note_request(&bytes);
                    self.post_datagram(bytes, Parcel::DatagramToServer);
                }
                Output::Event(event) => {
                    if let Event::Packet {
                        sequence, bytes, ..
                    } = &event
                    {
                        assert!(*bytes == body(*sequence), "the bytes of packet {sequence}");
                    }
                    self.is_open = !matches!(event, Event::Close(_));
                    self.heard.push(hear(event));
                }
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
            }
        }
    }

    fn note_request(&mut self, bytes: &[u8]) {
        let request = ResendRequest::decode(bytes).expect("a resend request");
        assert_eq!((request.client_id, request.source_id), (CLIENT_ID, 1));
        self.asked.push(Asked {
            at: self.now,
            sequences: request
                .sequences
                .iter()
                .map(|number| number.get())
                .collect(),
        });
    }

    fn post(&mut self, delay: Duration, parcel: Parcel) {
        self.count += 1;
        self.parcels.insert((self.now + delay, self.count), parcel);
    }

    fn post_datagram(&mut self, bytes: Vec<u8>, parcel: fn(Vec<u8>) -> Parcel) {
        let copies = if self.roll(1000) < self.weather.lost {
            0
        } else {
            1 + u32::from(self.roll(1000) < self.weather.doubled)
        };
        for _ in 0..copies {
            let jitter = self.weather.jitter.as_micros() as u64;
            let delay = ms(10) + Duration::from_micros(self.roll(jitter + 1));
            self.post(delay, parcel(bytes.clone()));
        }
    }

    /// splitmix64
    fn roll(&mut self, below: u64) -> u64 {
        self.weather.seed = self.weather.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.weather.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn serve(&mut self, bytes: &[u8]) {
        let (frame, _) = split(bytes, Traffic::Messages, 0).unwrap().unwrap();
        let Frame::Message(frame) = frame else {
            panic!("a client sends messages")
        };
        let said: Vec<_> = frame
            .messages()
            .map(|(mid, body)| (mid, ViewerMessage::decode(mid, body).unwrap()))
            .collect();
        for (mid, message) in said {
            self.client_said.push(mid);
            self.answer(message);
        }
    }

    fn answer(&mut self, message: ViewerMessage) {
        match message {
            ViewerMessage::Connect(_) => self.say(ReportConnected::default()),
            ViewerMessage::FunnelInfo(_) => self.say(ReportFunnelInfo {
                client_id: CLIENT_ID,
                ..ReportFunnelInfo::default()
            }),
            ViewerMessage::ConnectFunnel(funnel) => {
                self.funnel_name = funnel.funnel_name;
                self.say(ReportConnectedFunnel::default());
            }
            ViewerMessage::OpenFile(_) => self.say(ReportOpenFile {
                open_file_id: 1,
                header_bytes: self.show.header.len() as u32,
                packet_bytes: 1444,
                bit_rate: 300_000,
                ..ReportOpenFile::default()
            }),
            ViewerMessage::ReadBlock(block) => {
                self.say(ReportReadBlock::default());
                self.send_header(block.play_incarnation.tag());
            }
            ViewerMessage::StartPlaying(start) => {
                self.tag = start.play_incarnation.tag();
                self.say(ReportStartedPlaying {
                    play_incarnation: start.play_incarnation,
                    ..ReportStartedPlaying::default()
                });
                self.post(ms(20), Parcel::Media);
            }
            _ => {}
        }
    }

    pub fn say(&mut self, message: impl Into<MacMessage>) {
        let mut bytes = Vec::new();
        message.into().encode(0, &mut Writer::new(&mut bytes));
        self.post(ms(10), Parcel::ToClient(bytes));
    }

    fn send_header(&mut self, tag: u8) {
        let is_lost = self.show.headers_lost.contains(&self.header_tries);
        self.header_tries += 1;
        let header = self.show.header.clone();
        let mut pieces: VecDeque<_> = header.chunks(self.show.fragment_bytes).zip(0..).collect();
        while let Some((piece, number)) = pieces.pop_front() {
            let flags = if pieces.is_empty() {
                DataHeader::HEADER_LAST
            } else {
                DataHeader::HEADER_MORE
            };
            let head = DataHeader::new(number, tag, flags, piece.len());
            if !is_lost {
                let datagram = [head.as_bytes(), piece].concat();
                self.post_datagram(datagram, Parcel::DatagramToClient);
            }
        }
    }

    fn media(&mut self) {
        let sequence = self.next;
        if sequence == self.show.packets {
            self.post(ms(300), Parcel::ToClient(end_of_stream()));
            return;
        }
        self.next += 1;
        if !self.weather.outage.contains(&sequence) {
            let packet = self.show.packet(sequence, self.tag);
            self.post_datagram(packet, Parcel::DatagramToClient);
        }
        self.post(self.show.interval, Parcel::Media);
    }

    fn resend(&mut self, bytes: &[u8]) {
        let request = ResendRequest::decode(bytes).unwrap();
        for sequence in request.sequences {
            if self.show.answers_resends && sequence.get() < self.next {
                let packet = self.show.packet(sequence.get(), self.tag);
                self.post_datagram(packet, Parcel::DatagramToClient);
            }
        }
    }
}

fn end_of_stream() -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = MacMessage::from(ReportEndOfStream::default());
    end.encode(9, &mut Writer::new(&mut bytes));
    bytes
}

fn hear(event: Event<'_>) -> Heard {
    match event {
        Event::Header(bytes) => Heard::Header(bytes.to_vec()),
        Event::Started => Heard::Started,
        Event::Packet {
            location, sequence, ..
        } => Heard::Packet { sequence, location },
        Event::Lost { sequence, count } => Heard::Lost { sequence, count },
        Event::End(HResult::S_OK) => Heard::End,
        other => Heard::Other(format!("{other:?}")),
    }
}

/// A datagram's head, for tests that make their own.
pub fn head_of(datagram: &[u8]) -> DataHeader {
    DataHeader::read_from_prefix(datagram).unwrap().0
}
