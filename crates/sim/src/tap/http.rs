//! The same over HTTP: the answer's head, then `$H`, `$D` and their like (`wmsp.md` §6), or plain ASF, whose packets have no
//! numbers: each is looked up in the book.

use std::time::Instant;

use funnel_wire::mms::{DataHeader, HResult};

use super::Tap;
use crate::book::{Book, Stretch};

/// What comes next on the wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Expected {
    #[default]
    Head,
    Framed,
    /// The ASF header.
    AsfHeader,
    /// Packets of this size.
    Asf(usize),
    /// Nothing that is to be understood: what a refusal has to say.
    Rest,
}

/// Where in the chunks of an answer the wire is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chunk {
    /// The line with its size comes next.
    Size,
    /// So many bytes of it, then the end of the line.
    Data(usize),
}

impl Tap {
    /// Bytes of an answer arrived at a player over HTTP.
    pub fn http_bytes(&mut self, now: Instant, bytes: &[u8], book: &Book) {
        self.coded.extend_from_slice(bytes);
        let coded = std::mem::take(&mut self.coded);
        let mut rest = &coded[..];
        while self.faults.is_empty() && !rest.is_empty() {
            let size = match (self.expected, self.chunk) {
                (Expected::Head, _) => self.http_head(now, rest),
                (_, Some(chunk)) => self.http_chunk(now, chunk, rest),
                (_, None) => {
                    self.unread.extend_from_slice(rest);
                    rest.len()
                }
            };
            if size == 0 {
                break;
            }
            self.position += size as u64;
            rest = &rest[size..];
            self.http_units(now, book);
        }
        let left = rest.len();
        self.coded = coded;
        self.coded.drain(..self.coded.len() - left);
    }

    /// Takes the chunks' lines off what came; how much it has taken.
    fn http_chunk(&mut self, now: Instant, chunk: Chunk, coded: &[u8]) -> usize {
        match chunk {
            Chunk::Size => {
                let Some(end) = coded.windows(2).position(|bytes| bytes == b"\r\n") else {
                    return 0;
                };
                let digits = std::str::from_utf8(&coded[..end]).unwrap_or_default();
                match usize::from_str_radix(digits, 16) {
                    Ok(0) if coded.len() < end + 4 => return 0,
                    Ok(0) if &coded[end + 2..end + 4] == b"\r\n" && self.unread.is_empty() => {
                        (self.expected, self.chunk) = (Expected::Head, None);
                        return end + 4;
                    }
                    Ok(size) if size > 0 => self.chunk = Some(Chunk::Data(size)),
                    _ => self.fault(now, format!("not a chunk: {digits:?}")),
                }
                end + 2
            }
            Chunk::Data(0) => {
                if coded.len() < 2 {
                    return 0;
                }
                if &coded[..2] != b"\r\n" {
                    self.fault(now, "a chunk of another size".into());
                }
                self.chunk = Some(Chunk::Size);
                2
            }
            Chunk::Data(left) => {
                let taken = left.min(coded.len());
                self.unread.extend_from_slice(&coded[..taken]);
                self.chunk = Some(Chunk::Data(left - taken));
                taken
            }
        }
    }

    fn http_units(&mut self, now: Instant, book: &Book) {
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while self.faults.is_empty() && !rest.is_empty() {
            let size = self.http_unit(now, rest, book);
            if size == 0 {
                break;
            }
            rest = &rest[size..];
        }
        let left = rest.len();
        self.unread = unread;
        self.unread.drain(..self.unread.len() - left);
    }

    /// One unit at the front of what came; its size, or 0 if it is not whole.
    fn http_unit(&mut self, now: Instant, rest: &[u8], book: &Book) -> usize {
        match self.expected {
            Expected::Framed => {
                let Some((head, behind)) = rest.split_first_chunk::<4>() else {
                    return 0;
                };
                let payload_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
                let Some(payload) = behind.get(..payload_bytes) else {
                    return 0;
                };
                self.framed(now, [head[0], head[1]], payload, book);
                4 + payload_bytes
            }
            Expected::AsfHeader => {
                let stretches = book.stretches.iter();
                let found = stretches.map(|stretch| &stretch.header);
                let mut found = found.filter(|header| {
                    let size = header.bytes().len().min(rest.len());
                    header.bytes()[..size] == rest[..size]
                });
                let Some(header) = found.next() else {
                    self.fault(now, "a header nobody announced".into());
                    return 0;
                };
                let size = header.bytes().len();
                if rest.len() < size {
                    return 0;
                }
                self.expected = Expected::Asf(header.packet_bytes() as usize);
                self.header_bytes = header.bytes().to_vec();
                self.begin(now, 0);
                size
            }
            Expected::Asf(size) => {
                let Some(body) = rest.get(..size) else {
                    return 0;
                };
                self.bare(now, body, book);
                size
            }
            Expected::Rest | Expected::Head => rest.len(),
        }
    }

    /// Reads an answer's head; its size, or 0 if it is not whole.
    fn http_head(&mut self, now: Instant, coded: &[u8]) -> usize {
        let end = coded.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(size) = end.map(|at| at + 4) else {
            return 0;
        };
        let head = String::from_utf8_lossy(&coded[..size]);
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines
                .find(|(is, _)| is.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        self.chunk = field("Transfer-Encoding").map(|_| Chunk::Size);
        let status = head.split(' ').nth(1).unwrap_or_default();
        self.status = status.parse().ok();
        self.expected = match (status, field("Content-Type")) {
            ("200", Some("application/x-mms-framed")) => Expected::Framed,
            ("200", Some("video/x-ms-asf")) => Expected::AsfHeader,
            ("200", Some(DESCRIPTION)) => Expected::Rest, // to what a troublemaker made of its request
            ("200", _) => {
                self.fault(now, format!("an answer of another kind: {head}"));
                Expected::Rest
            }
            _ => Expected::Rest,
        };
        size
    }

    fn framed(&mut self, now: Instant, head: [u8; 2], payload: &[u8], book: &Book) {
        if self.ended.is_some() {
            return self.fault(now, format!("${} after the end", head[1].escape_ascii()));
        }
        match head {
            [b'$', b'H' | b'D'] => {
                let Some((data, body)) = payload.split_first_chunk::<8>() else {
                    return self.fault(now, "a packet without its head".into());
                };
                let location = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
                if usize::from(u16::from_le_bytes([data[6], data[7]])) != payload.len() {
                    return self.fault(now, format!("packet {location} has another size"));
                }
                let (tag, flags) = (data[4], data[5]);
                if head[1] == b'H' {
                    self.framed_header(now, (tag, flags), body, book);
                } else {
                    // After a change of headers the player has its time to choose streams before media comes.
                    let run = self.runs.last_mut().filter(|run| run.packets.is_empty());
                    if let Some(run) = run {
                        run.started_at = now;
                    }
                    // Outside of chunks everybody's count is the packet's number (§25.5).
                    if self.chunk.is_none() {
                        self.sequence = location;
                    }
                    let head = DataHeader::new(location, tag, flags, body.len());
                    self.media(now, head, body, book);
                }
            }
            [b'$', b'C'] => self.is_running = false,
            [b'$', b'E'] => {
                let reason = payload
                    .first_chunk()
                    .map(|bytes| u32::from_le_bytes(*bytes));
                self.is_running = false;
                match reason.map(HResult) {
                    Some(HResult::S_FALSE) => {} // another header follows, or the close
                    Some(hr) => self.ended = Some((hr, now)),
                    None => self.fault(now, "an end without a reason".into()),
                }
            }
            _ => self.fault(now, format!("not a packet: {head:02x?}")),
        }
    }

    fn framed_header(&mut self, now: Instant, (tag, flags): (u8, u8), body: &[u8], book: &Book) {
        if flags & FIRST != 0 {
            self.header_bytes.clear();
        }
        self.header_bytes.extend_from_slice(body);
        if flags & LAST != 0 {
            let mut known = book.stretches.iter();
            if known.any(|stretch| stretch.header.bytes() == &self.header_bytes[..]) {
                self.begin(now, tag);
                self.sequence = 0; // each Play counts from 0 (§6.2)
            } else {
                self.fault(now, "a header nobody announced".into());
            }
        }
    }

    /// A packet without a number: the first from here on that is this one, and may stand here.
    fn bare(&mut self, now: Instant, body: &[u8], book: &Book) {
        let last = self.runs.last().and_then(|run| run.packets.last());
        let from = last.map_or(0, |last| last.location + 1);
        let is_it = |stretch: &Stretch, location| {
            let packet = stretch.packet(location);
            packet.is_some_and(|packet| *packet.full == *body || *packet.join == *body)
        };
        let stretches = book.stretches.iter();
        let location = stretches
            .filter(|stretch| stretch.header.bytes() == &self.header_bytes[..])
            .filter_map(|stretch| {
                (from..stretch.packets.len() as u64).find(|location| is_it(stretch, *location))
            })
            .min();
        let Some(location) = location.and_then(|location| u32::try_from(location).ok()) else {
            let text = format!("a packet behind number {from} that was not published");
            return self.fault(now, text);
        };
        self.sequence = location;
        let head = DataHeader::new(location, 0, location.to_le_bytes()[0], body.len());
        self.media(now, head, body, book);
    }
}

/// What answers a Describe (`wmsp.md` §3).
const DESCRIPTION: &str = "application/vnd.ms.wms-hdr.asfv1";
/// AFFlags of `$H` (`wmsp.md` §6.2).
const FIRST: u8 = 0x04;
const LAST: u8 = 0x08;
