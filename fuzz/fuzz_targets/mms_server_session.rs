//! A server session under any conversation, with the owner's inputs mixed in. Input: steps of one byte that says
//! what happens, a length (u16), and that many bytes.
//!
//! Laws: outputs come to an end, each send is exactly one message or one Data packet, each datagram one Data packet
//! for a port that was named, media is only asked for after an opening succeeded and over UDP after a whole header went
//! out, an address that has shown nothing gets a packet pair and nine headers, and nothing follows a close.
#![no_main]

use funnel_session::HResult;
use funnel_session::server::{Event, Input, Opened, Output, Session, Settings, Transport};
use funnel_wire::mms::{DataHeader, Frame, Framer, Mid, Traffic};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| Arc::new(Settings::default()));
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static HEADERS: LazyLock<[Opened; 2]> = LazyLock::new(|| {
    let files: [&[u8]; 2] = [
        include_bytes!("../../testdata/media/tiny-audio.asf"),
        include_bytes!("../../testdata/media/metadata-unicode.wmv"),
    ];
    files.map(|bytes| {
        let header = funnel_asf::Header::parse(bytes).expect("a good header");
        Opened {
            header: header.bytes().into(),
            packet_bytes: header.packet_bytes(),
            bit_rate: header.bit_rate(),
            streams: header.stream_mask(),
        }
    })
});

/// A packet pair, and nine times the larger of [`HEADERS`] in one part (the other takes four).
const MUTE_BYTES_MAX: usize = 2 * 1472 + 9 * (1397 + 8);

/// What the owner of the session knows.
struct Owner {
    session: Session,
    now: Instant,
    wake_at: Option<Instant>,
    opening: bool,
    opened: bool,
    playing: bool,
    closed: bool,
    udp: Option<Udp>,
    /// Bytes of datagrams since the player has last shown that it receives.
    mute_bytes: usize,
}

/// What was seen on the way to a port.
#[derive(Default)]
struct Udp {
    header_out: bool,
    proven: bool,
}

impl Owner {
    /// A request was answered that a player sends when it has a header.
    fn note_answer(&mut self, packet: &[u8]) {
        let mid = packet.get(36..40).and_then(|mid| mid.try_into().ok());
        let answers = [Mid::REPORT_STREAM_SWITCH, Mid::REPORT_STARTED_PLAYING];
        let tells = mid.is_some_and(|mid| answers.contains(&Mid(u32::from_le_bytes(mid))));
        if let Some(udp) = self.udp.as_mut().filter(|udp| tells && udp.header_out) {
            udp.proven = true;
            self.mute_bytes = 0;
        }
    }

    fn note_datagram(udp: Option<&mut Udp>, mute_bytes: &mut usize, bytes: &[u8]) {
        let udp = udp.expect("a datagram to a player that named a port");
        let mut rest = bytes;
        let mut framer = Framer::new(Traffic::MessagesAndData);
        let Ok(Some(Frame::Data { header, .. })) = framer.next(&mut rest) else {
            panic!("a datagram is a Data packet");
        };
        assert!(rest.is_empty() && bytes.len() <= 1472, "one that fits");
        udp.header_out |= header.af_flags == DataHeader::HEADER_LAST;
        if !udp.proven {
            *mute_bytes += bytes.len();
            assert!(
                *mute_bytes <= MUTE_BYTES_MAX,
                "{mute_bytes} bytes to a mute address"
            );
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        if self.session.handle_input(self.now, input).is_err() {
            self.closed = true;
            return;
        }
        for _ in 0..20_000 {
            match self.session.poll_output() {
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at.map(|(at, _)| at);
                    return;
                }
                _ if self.closed => panic!("an output after the close"),
                Output::Send(bytes) => {
                    let mut framer = Framer::new(Traffic::MessagesAndData);
                    let mut rest = bytes;
                    assert!(
                        matches!(framer.next(&mut rest), Ok(Some(_))),
                        "a send is a whole unit"
                    );
                    assert!(rest.is_empty(), "a send is one unit");
                    let packet = bytes.to_vec();
                    self.note_answer(&packet);
                }
                Output::Event(Event::Open(request)) => {
                    assert!(!request.names.is_empty(), "a request names something");
                    self.opening = true;
                }
                Output::Event(Event::Play(_)) => {
                    assert!(self.opened, "media before a channel was opened");
                    assert!(self.udp.as_ref().is_none_or(|udp| udp.header_out));
                    self.playing = true;
                }
                Output::Event(Event::StopMedia) => self.playing = false,
                Output::Event(Event::Select(_)) => {
                    assert!(self.playing, "a selection without media")
                }
                Output::Datagram(bytes) => {
                    Self::note_datagram(self.udp.as_mut(), &mut self.mute_bytes, bytes);
                }
                Output::Event(Event::Transport(Transport::Tcp)) => self.udp = None,
                Output::Event(Event::Transport(Transport::Udp { port })) => {
                    assert_ne!(port, 0, "a port that exists");
                    self.udp = Some(Udp::default());
                }
                Output::Event(Event::ClientLog(_)) => {}
                Output::Event(Event::HandOver(_) | Event::Order { .. }) => {
                    panic!("over MMS a player says everything itself")
                }
                Output::Event(Event::Close(_)) => self.closed = true,
            }
        }
        panic!("outputs without end");
    }

    fn answer_open(&mut self, found: bool) {
        if std::mem::take(&mut self.opening) && !self.closed {
            self.opened = found;
            self.feed(Input::Opened(if found {
                Ok(HEADERS[0].clone())
            } else {
                Err(HResult(0xc00d_001a))
            }));
        }
    }

    fn step(&mut self, op: u8, data: &[u8]) {
        self.now += Duration::from_millis(u64::from(op >> 4) * 40);
        match op & 7 {
            5 => {
                if let Some(at) = self.wake_at {
                    self.now = self.now.max(at);
                    self.feed(Input::Timeout);
                }
            }
            6 if self.playing => match data.first().map_or(0, |kind| kind % 4) {
                0 => self.feed(Input::MediaDrained),
                1 => self.feed(Input::SourceLost(HResult(0xc00d_0029))),
                2 => self.feed(Input::HeaderChanged(HEADERS[1].clone())),
                _ => self.session.note_progress(self.now),
            },
            6 | 7 => match data.first().map_or(0, |kind| kind % 8) {
                0 => self.feed(Input::Shutdown),
                1 => self.feed(Input::Kick(HResult(0xc00d_002a))),
                _ => self.now += Duration::from_secs(u64::from(op)),
            },
            // HTTP has a target of its own.
            _ if data.first().is_some_and(u8::is_ascii_alphabetic)
                && self.session.state_name() == "new" => {}
            _ => self.feed(Input::Received(data)),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let now = *START;
    let session = Session::new(Arc::clone(&SETTINGS), 7, now);
    let mut owner = Owner {
        session,
        now,
        wake_at: None,
        opening: false,
        opened: false,
        playing: false,
        closed: false,
        udp: None,
        mute_bytes: 0,
    };
    let mut rest = bytes;
    while let Some(([op, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (data, behind) = behind.split_at(length.min(behind.len()));
        owner.step(*op, data);
        owner.answer_open(op & 8 == 0);
        if owner.closed {
            return;
        }
        let _ = (owner.session.agent().len(), owner.session.state_name());
        rest = behind;
    }
});
