//! HTTP as a listener of a broadcast uses it: one GET, one answer, a body without end. Icecast, nginx, SRS, VLC and Windows
//! Media servers are measured with it.
//!
//! Pure: no socket, no clock. The head is read by `httparse` and is at most [`HEAD_BYTES_MAX`]; chunked coding is taken off;
//! the first bytes of the body say whether it is ASF (plain or in `$H`/`$D` chunks, MS-WMSP 2.2.3), and only then is anything
//! kept of it. Whatever else it is, is counted and not copied. What it leaves to others: the end of the connection, TLS
//! (there is none), redirects (told as refusals, with where to).
//!
//! `http://` asks as any listener does. `mmsh://` asks as Windows Media Player does, because a Windows Media server (and VLC's
//! `access=mmsh`) answers anything else with the ASF header alone.

mod url;

use funnel_asf::{Deframer, Item, guid};
use httparse::Status;

pub use self::url::{HttpUrl, Manner};
use crate::news::{News, Over};

/// One viewer's answer, as it comes in. A few words of memory; a packet and one read's worth of bytes once it is ASF.
#[derive(Debug)]
pub struct Stream {
    phase: Phase,
}

/// ```text
/// Head ── 200 ──► Body ── last chunk, length reached, damage ──► Over
///   └──── anything else, or no HTTP ──────────────────────────────┘
/// ```
#[derive(Debug)]
enum Phase {
    /// What came of the head so far.
    Head(Vec<u8>),
    Body {
        transfer: Transfer,
        media: Media,
    },
    Over,
}

impl Stream {
    /// For a connection on which [`request`](Self::request) was sent and nothing has come.
    pub fn new() -> Stream {
        Stream {
            phase: Phase::Head(Vec::new()),
        }
    }

    /// The request for a stream, the same for all viewers.
    ///
    /// It says HTTP/1.1, as browsers, ffmpeg and curl do, so that servers are measured with what their listeners cause:
    /// Icecast 2.4 and VLC 3 answer HTTP/1.0 and an endless body to either version, nginx and SRS use chunked coding, which
    /// 1.0 does not have. No `Icy-MetaData`: titles woven into the stream are nothing to measure.
    pub fn request(url: &HttpUrl) -> Vec<u8> {
        let (path, host) = (&url.path, url.authority());
        let version = env!("CARGO_PKG_VERSION");
        let (agent, play) = match url.manner {
            Manner::Plain => (format!("funnel-load/{version}"), ""),
            // A version below 9 gets neither $M chunks nor the B bit. No stream-switch-entry: all streams.
            Manner::WindowsMedia => (
                format!("NSPlayer/7.10.0.3059 funnel-load/{version}"),
                "Pragma: no-cache,rate=1.000,stream-time=0,stream-offset=4294967295:4294967295,\
                 packet-num=4294967295,max-duration=0\r\nPragma: xPlayStrm=1\r\n",
            ),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n{play}Connection: close\r\n\r\n"
        )
        .into_bytes()
    }

    /// Takes the next bytes of the connection, cut anywhere, and tells what they mean. After [`News::Over`] it tells no more.
    pub fn received(&mut self, bytes: &[u8], tell: &mut impl FnMut(News<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match &mut self.phase {
                Phase::Head(head) => take_head(head, rest, tell).map(|(taken, body)| {
                    if let Some(transfer) = body {
                        let media = Media::Unknown(Vec::new());
                        self.phase = Phase::Body { transfer, media };
                    }
                    taken
                }),
                Phase::Body { transfer, media } => transfer.take(media, rest, tell),
                Phase::Over => return,
            };
            match taken {
                Ok(taken) => rest = &rest[taken..],
                Err(over) => {
                    self.phase = Phase::Over;
                    tell(News::Over(over));
                }
            }
        }
    }
}

/// Collects the head. Returns how many bytes it took, and with the last of them how the body comes.
fn take_head(
    head: &mut Vec<u8>,
    bytes: &[u8],
    tell: &mut impl FnMut(News<'_>),
) -> Result<(usize, Option<Transfer>), Over> {
    let had = head.len();
    let room = bytes.len().min(HEAD_BYTES_MAX - had);
    head.extend_from_slice(&bytes[..room]);
    if ![&b"HTTP/1."[..], b"ICY "].iter().any(|begin| {
        let known = begin.len().min(head.len());
        begin[..known] == head[..known]
    }) {
        let begin = head[..head.len().min(16)].escape_ascii();
        return Err(Over::Broken(format!("no HTTP: it begins with “{begin}”")));
    }
    let Some(end) = end_of_head(head, had) else {
        if head.len() == HEAD_BYTES_MAX {
            let text = format!("a response head of more than {HEAD_BYTES_MAX} bytes");
            return Err(Over::Broken(text));
        }
        return Ok((room, None));
    };
    let transfer = read_head(&head[..end], tell)?;
    head.clear();
    Ok((end - had, transfer))
}

/// The first empty line that ends behind `had`; before that there is none.
fn end_of_head(head: &[u8], had: usize) -> Option<usize> {
    let from = had.saturating_sub(3);
    (from..head.len())
        .filter(|&at| head[at] == b'\n')
        .find_map(|at| match &head[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        })
}

/// Judges a whole head: how the body comes, or `None` if another head follows (100 Continue and its like).
fn read_head(head: &[u8], tell: &mut impl FnMut(News<'_>)) -> Result<Option<Transfer>, Over> {
    // SHOUTcast's version of "HTTP/1.0".
    let patched = head
        .strip_prefix(b"ICY ")
        .map(|rest| [b"HTTP/1.0 ", rest].concat());
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    match answer.parse(patched.as_deref().unwrap_or(head)) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(Over::Broken("half a response head".into())),
        Err(error) => return Err(Over::Broken(format!("response head: {error}"))),
    }
    let field = |name: &str| {
        answer
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| short(field.value))
    };
    let status = answer.code.unwrap_or_default();
    if matches!(status, 100 | 102..=199) {
        return Ok(None);
    }
    // What a server says to viewers' programs, as in ReportConnectedEX over MMS, may hold its consent to be load tested.
    if let Some(server) = field(VERSION_INFO).or_else(|| field("server")) {
        tell(News::Server(&server));
    }
    if status != 200 {
        let reason = short(answer.reason.unwrap_or_default().as_bytes());
        let target = field("location").map_or_else(String::new, |target| format!(" → {target}"));
        let text = format!("{status} {reason}{target}");
        return Err(Over::Refused(text.trim_end().to_owned()));
    }
    let coding = field("transfer-encoding").map(|coding| coding.to_ascii_lowercase());
    let transfer = match (coding.as_deref(), field("content-length")) {
        (Some("chunked"), _) => Transfer::Chunked(Chunk::Size(Vec::new())),
        (Some("identity") | None, None) => Transfer::Endless,
        (Some("identity") | None, Some(length)) => match length.parse() {
            Ok(0) => {
                tell(News::Playing);
                return Err(Over::Ended);
            }
            Ok(length) => Transfer::Length(length),
            Err(_) => return Err(Over::Broken(format!("Content-Length: {length}"))),
        },
        (Some(other), _) => return Err(Over::Broken(format!("Transfer-Encoding: {other}"))),
    };
    tell(News::Playing);
    Ok(Some(transfer))
}

/// A stranger's text, for people: no control characters, not long.
fn short(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|letter| !letter.is_control())
        .take(TEXT_CHARS_MAX)
        .collect()
}

/// How the body comes.
#[derive(Debug)]
enum Transfer {
    /// Until the connection ends.
    Endless,
    /// This many bytes more.
    Length(u64),
    Chunked(Chunk),
}

/// Where in the chunked coding (RFC 9112, 7.1) we are.
#[derive(Debug)]
enum Chunk {
    /// The line with the size; what has come of it.
    Size(Vec<u8>),
    /// This many bytes more of a chunk.
    Data(u64),
    /// The line end behind it; whether its CR has come.
    Tail { cr: bool },
}

impl Transfer {
    /// Takes some of `bytes`, at least one; returns how many.
    fn take(
        &mut self,
        media: &mut Media,
        bytes: &[u8],
        tell: &mut impl FnMut(News<'_>),
    ) -> Result<usize, Over> {
        match self {
            Transfer::Endless => {
                media.take(bytes, tell)?;
                Ok(bytes.len())
            }
            Transfer::Length(left) => {
                let taken = take_some(left, media, bytes, tell)?;
                if *left == 0 {
                    Err(Over::Ended)
                } else {
                    Ok(taken)
                }
            }
            Transfer::Chunked(chunk) => chunk.take(media, bytes, tell),
        }
    }
}

impl Chunk {
    fn take(
        &mut self,
        media: &mut Media,
        bytes: &[u8],
        tell: &mut impl FnMut(News<'_>),
    ) -> Result<usize, Over> {
        match self {
            Chunk::Size(line) => {
                let end = bytes.iter().position(|&byte| byte == b'\n');
                let taken = end.map_or(bytes.len(), |at| at + 1);
                let room = CHUNK_LINE_BYTES_MAX - line.len();
                line.extend_from_slice(&bytes[..taken.min(room)]);
                if taken >= room {
                    return Err(broken_chunk(line));
                }
                if end.is_some() {
                    match httparse::parse_chunk_size(line) {
                        Ok(Status::Complete((_, 0))) => return Err(Over::Ended),
                        Ok(Status::Complete((_, size))) => *self = Chunk::Data(size),
                        _ => return Err(broken_chunk(line)),
                    }
                }
                Ok(taken)
            }
            Chunk::Data(left) => {
                let taken = take_some(left, media, bytes, tell)?;
                if *left == 0 {
                    *self = Chunk::Tail { cr: false };
                }
                Ok(taken)
            }
            Chunk::Tail { cr } => {
                match (*cr, bytes[0]) {
                    (false, b'\r') => *cr = true,
                    (true, b'\n') => *self = Chunk::Size(Vec::new()),
                    (_, found) => return Err(broken_chunk(&[found])),
                }
                Ok(1)
            }
        }
    }
}

fn broken_chunk(found: &[u8]) -> Over {
    let found = found[..found.len().min(16)].escape_ascii();
    Over::Broken(format!("chunked coding: “{found}”"))
}

/// Passes on what `bytes` has of the `left` bytes of a bounded piece; returns how many.
fn take_some(
    left: &mut u64,
    media: &mut Media,
    bytes: &[u8],
    tell: &mut impl FnMut(News<'_>),
) -> Result<usize, Over> {
    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    media.take(&bytes[..taken], tell)?;
    *left -= taken as u64;
    Ok(taken)
}

/// What the body is.
#[derive(Debug)]
enum Media {
    /// Its first bytes do not say yet: less than [`SNIFF_BYTES_MAX`].
    Unknown(Vec<u8>),
    Asf {
        framing: AsfFraming,
        deframer: Box<Deframer>,
    },
    Other,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AsfFraming {
    Plain,
    Chunks,
}

/// What the first bytes say.
enum Sniffed {
    Asf(AsfFraming),
    Other,
    Undecided,
}

impl Media {
    fn take(&mut self, bytes: &[u8], tell: &mut impl FnMut(News<'_>)) -> Result<(), Over> {
        match self {
            Media::Unknown(held) => {
                let (had, more) = (held.len(), bytes.len().min(SNIFF_BYTES_MAX - held.len()));
                held.extend_from_slice(&bytes[..more]);
                match sniff(held) {
                    Sniffed::Undecided => {}
                    Sniffed::Asf(framing) => {
                        let mut deframer = Box::new(Deframer::new());
                        deframer.push(held);
                        deframer.push(&bytes[more..]);
                        tell_items(framing, &mut deframer, tell)?;
                        *self = Media::Asf { framing, deframer };
                    }
                    Sniffed::Other => {
                        *self = Media::Other;
                        tell(News::Bytes(had + bytes.len()));
                    }
                }
            }
            Media::Asf { framing, deframer } => {
                deframer.push(bytes);
                tell_items(*framing, deframer, tell)?;
            }
            Media::Other if bytes.is_empty() => {}
            Media::Other => tell(News::Bytes(bytes.len())),
        }
        Ok(())
    }
}

fn sniff(begin: &[u8]) -> Sniffed {
    let header = guid::HEADER.as_bytes();
    match begin {
        // The B bit, 0x80 of the first byte, may be set (MS-WMSP 2.2.3.1).
        [first, b'H', ..] if first & 0x7F == b'$' => Sniffed::Asf(AsfFraming::Chunks),
        [first] if first & 0x7F == b'$' => Sniffed::Undecided,
        _ if begin.starts_with(header) => Sniffed::Asf(AsfFraming::Plain),
        _ if header.starts_with(begin) => Sniffed::Undecided,
        _ => Sniffed::Other,
    }
}

fn tell_items(
    framing: AsfFraming,
    deframer: &mut Deframer,
    tell: &mut impl FnMut(News<'_>),
) -> Result<(), Over> {
    loop {
        match deframer.next() {
            Ok(None) => return Ok(()),
            Ok(Some(Item::Header(header))) => tell(News::Header(header.bytes())),
            Ok(Some(Item::Packet(bytes))) => tell(News::Packet {
                number: None,
                bytes,
            }),
            // A new header may follow a $E (the next entry of a playlist); if none does, the server closes.
            Ok(Some(Item::End)) if framing == AsfFraming::Chunks => {}
            Ok(Some(Item::End)) => return Err(Over::Ended),
            Err(error) => return Err(Over::Broken(error.to_string())),
        }
    }
}

/// A field of funnel's answers, where the operator wants viewers' programs to know something.
const VERSION_INFO: &str = "x-version-info";

/// Ceiling of a response head, bytes: nginx sends at most 8 KiB of its own, Icecast's ICY fields fit many times.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Fields of a response head.
const FIELDS_MAX: usize = 100;

/// The line with a chunk's size, extensions included, is shorter than this, bytes.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// A GUID: the most that must be seen to tell ASF from other streams.
const SNIFF_BYTES_MAX: usize = 16;

/// What is kept of a server's words, characters.
const TEXT_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests;
