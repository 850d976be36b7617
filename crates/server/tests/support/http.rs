//! A scripted HTTP peer: requests and answers byte by byte, from `docs/protocol/wmsp.md` and not from the
//! crates under test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Peer(BufReader<TcpStream>);

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    fields: Vec<(String, String)>,
}

impl Peer {
    /// Connects; every read waits at most 20 s.
    pub fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).expect("the server accepts");
        let timeout = Some(Duration::from_secs(20));
        stream.set_read_timeout(timeout).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Peer(BufReader::new(stream))
    }

    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends what the server may no longer want: an error is its answer, to be read.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes a request");
    }

    /// The head of the next answer.
    pub fn head(&mut self) -> Head {
        self.try_head()
            .unwrap_or_else(|error| panic!("waiting for an answer: {error}"))
            .expect("an answer, not just the end")
    }

    /// As [`Peer::head`]; `None` when the server closed without another word.
    pub fn try_head(&mut self) -> std::io::Result<Option<Head>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                assert!(lines.is_empty(), "cut in a head: {lines:?}");
                return Ok(None);
            }
            match line.strip_suffix("\r\n") {
                Some("") => break,
                Some(line) => lines.push(line.to_owned()),
                None => panic!("a line of a head without CR LF: {line:?}"),
            }
        }
        let status = lines[0]
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {:?}", lines[0]));
        let fields = lines[1..].iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.to_owned())
        });
        Ok(Some(Head {
            status,
            fields: fields.collect(),
        }))
    }

    /// The whole answer to what was sent, its body by Content-Length or up to the end of the connection.
    pub fn answer(&mut self) -> (Head, Vec<u8>) {
        let head = self.head();
        let mut body = Vec::new();
        match head.field("Content-Length") {
            Some(length) => {
                body.resize(length.parse().expect("a length"), 0);
                self.0.read_exact(&mut body).expect("the whole body");
            }
            None => {
                self.0.read_to_end(&mut body).expect("the body's end");
            }
        }
        (head, body)
    }

    /// Everything up to the end of the connection, which may be a reset.
    pub fn rest(&mut self, into: &mut Vec<u8>) -> std::io::Result<usize> {
        self.0.read_to_end(into)
    }

    /// Fills the buffer, or `false` when the connection ended before its first byte.
    pub fn fill(&mut self, buffer: &mut [u8]) -> bool {
        match self.0.read(buffer).expect("the server goes on") {
            0 => false,
            some => {
                self.0.read_exact(&mut buffer[some..]).expect("not cut");
                true
            }
        }
    }
}

impl Head {
    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter();
        all.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value.as_str()))
    }

    /// The value of a Pragma token, `client-id` for one.
    pub fn pragma(&self, token: &str) -> Option<&str> {
        let pragmas = self
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("Pragma"));
        let mut tokens = pragmas.flat_map(|(_, value)| value.split(','));
        tokens.find_map(|each| each.trim().strip_prefix(token)?.strip_prefix('='))
    }
}

/// Sends one request on a connection of its own; the whole answer.
pub fn ask(address: SocketAddr, request: &str) -> (Head, Vec<u8>) {
    let mut peer = Peer::connect(address);
    peer.send(request.as_bytes());
    peer.answer()
}

/// A plain GET of a path with this user agent.
pub fn get(path: &str, agent: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\r\n")
}

/// Size of an ASF header with the Data Object's first 50 bytes, from its first 24 bytes.
fn header_bytes(start: &[u8]) -> usize {
    let size = u64::from_le_bytes(start[16..24].try_into().expect("8 bytes"));
    usize::try_from(size).expect("a size in memory") + 50
}

/// A viewer of the plain output: an ASF header, then packets of one size.
pub struct Plain {
    peer: Peer,
    pub header: Vec<u8>,
    packet_bytes: usize,
}

impl Plain {
    pub fn play(address: SocketAddr, channel: &str) -> Plain {
        let mut peer = Peer::connect(address);
        peer.send(get(&format!("/{channel}"), "curl/7.88.1").as_bytes());
        let head = peer.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.field("Content-Type"), Some("video/x-ms-asf"));
        let mut header = vec![0; 24];
        assert!(peer.fill(&mut header), "no header");
        header.resize(header_bytes(&header), 0);
        assert!(peer.fill(&mut header[24..]), "no whole header");
        Plain {
            packet_bytes: super::asf::packet_bytes(&header),
            peer,
            header,
        }
    }

    /// The next packet; `None` at the end.
    pub fn packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![0; self.packet_bytes];
        self.peer.fill(&mut packet).then_some(packet)
    }
}

/// What a WMSP answer's body consists of (§6).
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// `$H`: a fragment of the header.
    Header { af_flags: u8, bytes: Vec<u8> },
    /// `$M`.
    Metadata(Vec<u8>),
    /// `$D`.
    Data { location: u32, bytes: Vec<u8> },
    /// `$C` with its reason.
    Change(u32),
    /// `$E` with its reason.
    End(u32),
}

/// A viewer of the WMSP output.
pub struct Wmsp {
    peer: Peer,
    pub client_id: String,
    pub header: Vec<u8>,
    /// LocationId of the last media packet.
    pub last_location: Option<u32>,
    /// How often packets were missing between two that came.
    pub gaps: u32,
    /// Reason of the `$E` that came.
    pub end: Option<u32>,
}

/// How ffmpeg, libmms and mplayer introduce themselves.
pub const OLD_PLAYER: &str = "NSPlayer/4.1.0.3856";
/// Windows Media Player 12.
pub const NEW_PLAYER: &str = "NSPlayer/12.0.7601.17514";

/// A Play request of all streams up to number 4; `more` are lines of further fields.
pub fn play_request(channel: &str, agent: &str, more: &str) -> String {
    let all = "stream-switch-entry=ffff:1:0 ffff:2:0 ffff:3:0 ffff:4:0";
    play_request_of(channel, agent, all, more)
}

/// As [`play_request`], with a selection of its own.
pub fn play_request_of(channel: &str, agent: &str, selection: &str, more: &str) -> String {
    format!(
        "GET /{channel} HTTP/1.0\r\nAccept: */*\r\nUser-Agent: {agent}\r\nHost: localhost\r\n\
         Pragma: no-cache,rate=1.000000,request-context=2\r\nPragma: xPlayStrm=1\r\n\
         Pragma: stream-switch-count=4\r\nPragma: {selection}\r\n{more}\r\n"
    )
}

impl Wmsp {
    /// Plays with a Play request alone, as a viewer that knows the channel.
    pub fn play(address: SocketAddr, channel: &str) -> Wmsp {
        Wmsp::play_with(address, &play_request(channel, OLD_PLAYER, ""))
    }

    pub fn play_with(address: SocketAddr, request: &str) -> Wmsp {
        let mut peer = Peer::connect(address);
        peer.send(request.as_bytes());
        let head = peer.head();
        assert_eq!(head.status, 200, "{head:?}");
        let mut viewer = Wmsp {
            peer,
            client_id: head.pragma("client-id").expect("a client-id").to_owned(),
            header: Vec::new(),
            last_location: None,
            gaps: 0,
            end: None,
        };
        viewer.read_header();
        viewer
    }

    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// Reads `$H` packets up to the last, behind `$M` packets if there are any.
    pub fn read_header(&mut self) {
        self.header.clear();
        loop {
            match self.piece().expect("a header") {
                Piece::Metadata(_) => {}
                Piece::Header { af_flags, bytes } => {
                    self.header.extend(bytes);
                    if af_flags & 0x08 != 0 {
                        return;
                    }
                }
                other => panic!("waiting for the header, got {other:?}"),
            }
        }
    }

    /// The next packet of the framing; `None` at the end of the connection.
    pub fn piece(&mut self) -> Option<Piece> {
        let mut head = [0; 4];
        if !self.peer.fill(&mut head) {
            return None;
        }
        assert_eq!(head[0], b'$', "out of step, or the B bit: {head:02x?}");
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let mut bytes = vec![0; length];
        assert!(self.peer.fill(&mut bytes), "cut in a packet");
        let first = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
        if matches!(head[1], b'H' | b'M' | b'D') {
            assert_eq!(bytes[6..8], head[2..4], "PacketSize is PacketLength");
        }
        Some(match head[1] {
            b'C' => Piece::Change(first),
            b'E' => Piece::End(first),
            b'H' => Piece::Header {
                af_flags: bytes[5],
                bytes: bytes.split_off(8),
            },
            b'M' => Piece::Metadata(bytes.split_off(8)),
            b'D' => Piece::Data {
                location: first,
                bytes: bytes.split_off(8),
            },
            other => panic!("a packet of kind {:?}", char::from(other)),
        })
    }

    /// The next media packet, its number checked against the one before; `None` at the end of the stream.
    pub fn packet(&mut self) -> Option<Vec<u8>> {
        match self.piece()? {
            Piece::Data { location, bytes } => {
                let skipped = |last: u32| location != last.wrapping_add(1);
                self.gaps += u32::from(self.last_location.is_some_and(skipped));
                self.last_location = Some(location);
                Some(bytes)
            }
            Piece::End(reason) => {
                self.end = Some(reason);
                None
            }
            other => panic!("in the middle of the media: {other:?}"),
        }
    }
}
