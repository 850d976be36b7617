//! Bytes of one live source, cut into header, packets and end, whatever way they were framed.
//!
//! Two framings are told apart by the first bytes (`docs/protocol/wmsp.md` §22.3): plain ASF (`0x30 0x26 …`: header,
//! then packets back to back) and `$H`/`$D`/`$E` chunks. Input may be cut anywhere. What it promises: at most one
//! header plus one read's worth of bytes is held, and packets come out full size. Damaged packets are passed on:
//! judging them is the normaliser's work.

use std::ops::Range;

use thiserror::Error;

use crate::bytes::slice_at;
use crate::guid;
use crate::header::{Header, HeaderError};
use crate::packet;

/// What comes out of a source.
#[derive(Debug)]
pub enum Item<'a> {
    /// A header: the first item, and again whenever the source sends one.
    Header(Header),
    /// One data packet, `packet_bytes` long; cut-off padding was put back.
    Packet(&'a [u8]),
    /// The source said that its packets are over. In plain ASF nothing follows; behind a `$E` a new header may.
    End,
}

/// Cuts the bytes of one source.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already handed out.
    taken: usize,
    restored: Vec<u8>,
    partial_header: Vec<u8>,
    state: State,
    finished: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Start,
    /// Plain ASF, before its header.
    PlainHeader,
    Plain {
        packet_bytes: usize,
    },
    /// Chunks; packet size 0 before the first `$H`.
    Chunks {
        packet_bytes: usize,
    },
    Ended,
}

/// What one step found, as positions: turned into an [`Item`] at the very end.
enum Step {
    Need,
    Again,
    Header(Header),
    Packet(Range<usize>),
    Restored,
    End,
}

impl Deframer {
    /// For a source of which nothing has come.
    pub fn new() -> Deframer {
        Deframer::default()
    }

    /// Takes the next bytes of the source. Call [`next`](Self::next) until it returns `None` before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state == State::Ended {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The source has ended: what is left is judged as it is.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next item, or `None` when more bytes are needed (after [`finish`](Self::finish): when nothing is left).
    ///
    /// # Errors
    /// The source cannot be understood any further; close it.
    #[allow(
        clippy::should_implement_trait,
        reason = "lends from the buffer, which Iterator cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, DeframeError> {
        let step = loop {
            match self.step()? {
                Step::Again => {}
                step => break step,
            }
        };
        Ok(match step {
            Step::Need | Step::Again => None,
            Step::Header(header) => Some(Item::Header(header)),
            Step::Packet(range) => Some(Item::Packet(&self.buffer[range])),
            Step::Restored => Some(Item::Packet(&self.restored)),
            Step::End => Some(Item::End),
        })
    }

    fn step(&mut self) -> Result<Step, DeframeError> {
        match self.state {
            State::Start => self.detect(),
            State::PlainHeader => self.plain_header(),
            State::Plain { packet_bytes } => self.plain_packet(packet_bytes),
            State::Chunks { packet_bytes } => self.chunk(packet_bytes),
            State::Ended => Ok(Step::Need),
        }
    }

    fn detect(&mut self) -> Result<Step, DeframeError> {
        let Some(&[first, second]) = self.left().first_chunk::<2>() else {
            return Ok(Step::Need);
        };
        self.state = match [first & 0x7F, second] {
            [b'$', b'H'] => State::Chunks { packet_bytes: 0 },
            _ if [first, second] == guid::HEADER.as_bytes()[..2] => State::PlainHeader,
            _ => {
                return Err(DeframeError::Unknown {
                    first: [first, second],
                });
            }
        };
        Ok(Step::Again)
    }

    fn plain_header(&mut self) -> Result<Step, DeframeError> {
        let size = Header::wire_size(self.left())?.unwrap_or(usize::MAX);
        if self.left().len() < size && !self.finished {
            return Ok(Step::Need);
        }
        let header = Header::parse(self.left())?;
        self.taken += size;
        self.state = State::Plain {
            packet_bytes: header.packet_bytes() as usize,
        };
        Ok(Step::Header(header))
    }

    fn plain_packet(&mut self, packet_bytes: usize) -> Result<Step, DeframeError> {
        let left = self.left();
        if left.starts_with(guid::HEADER.as_bytes()) {
            self.state = State::PlainHeader;
            return Ok(Step::Again);
        }
        if packet::ends_data(left) || (self.finished && left.len() < packet_bytes) {
            self.state = State::Ended;
            self.buffer = Vec::new();
            self.taken = 0;
            return Ok(Step::End);
        }
        if left.len() < packet_bytes {
            return Ok(Step::Need);
        }
        let at = self.taken;
        self.taken += packet_bytes;
        Ok(Step::Packet(at..at + packet_bytes))
    }

    /// One `$` chunk: `24 type, length u16`, for H and D an 8-byte head before the payload.
    fn chunk(&mut self, packet_bytes: usize) -> Result<Step, DeframeError> {
        let left = self.left();
        let Some(&[mark, kind, low, high]) = left.first_chunk::<4>() else {
            return Ok(Step::Need);
        };
        if mark & 0x7F != b'$' || !kind.is_ascii_uppercase() {
            return Err(DeframeError::Lost {
                found: [mark, kind],
            });
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        if slice_at(left, 4, length).is_none() {
            return Ok(Step::Need);
        }
        let mut framed = 0..0;
        if matches!(kind, b'H' | b'D') {
            let head_end = self.taken + 4 + CHUNK_HEAD_BYTES;
            framed = head_end..self.taken + 4 + length;
            if length < CHUNK_HEAD_BYTES {
                return Err(DeframeError::Chunk { kind, length });
            }
        }
        self.taken += 4 + length;
        match kind {
            b'H' => {
                let piece = &self.buffer[framed];
                if piece.starts_with(guid::HEADER.as_bytes()) {
                    self.partial_header.clear();
                }
                self.partial_header.extend_from_slice(piece);
                self.chunk_header()
            }
            b'D' => self.chunk_packet(framed, packet_bytes),
            b'E' => Ok(Step::End),
            // $C, $M, $P, $T: nothing in them that a packet stream needs.
            _ => Ok(Step::Again),
        }
    }

    /// Looks whether the `$H` chunks so far make a whole header.
    fn chunk_header(&mut self) -> Result<Step, DeframeError> {
        match Header::wire_size(&self.partial_header)? {
            Some(size) if self.partial_header.len() >= size => {
                let header = Header::parse(&self.partial_header)?;
                self.partial_header = Vec::new();
                self.state = State::Chunks {
                    packet_bytes: header.packet_bytes() as usize,
                };
                Ok(Step::Header(header))
            }
            _ => Ok(Step::Again),
        }
    }

    fn chunk_packet(
        &mut self,
        framed: Range<usize>,
        packet_bytes: usize,
    ) -> Result<Step, DeframeError> {
        if packet_bytes == 0 {
            return Err(DeframeError::PacketBeforeHeader);
        }
        let short = framed.len() < packet_bytes
            && packet::restore_padding(
                &self.buffer[framed.clone()],
                packet_bytes,
                &mut self.restored,
            )
            .is_ok();
        Ok(if short {
            Step::Restored
        } else {
            Step::Packet(framed)
        })
    }

    fn left(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }
}

/// Why a source cannot be read on.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeframeError {
    /// Neither an ASF header nor a `$H` chunk.
    #[error("neither ASF nor $H chunks: the source begins with {:02x} {:02x}", first[0], first[1])]
    Unknown {
        /// First two bytes.
        first: [u8; 2],
    },
    /// The header is refused.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No chunk where one must begin.
    #[error("no $ chunk where one must begin, but {:02x} {:02x}", found[0], found[1])]
    Lost {
        /// What stands there.
        found: [u8; 2],
    },
    /// A `$H` or `$D` chunk shorter than its own head.
    #[error("chunk ${} of {length} bytes", char::from(*kind))]
    Chunk {
        /// Second byte.
        kind: u8,
        /// Its length field.
        length: usize,
    },
    /// `$D` before any `$H`.
    #[error("a $D chunk before any $H")]
    PacketBeforeHeader,
}

/// LocationId, incarnation, AFFlags and length in front of a `$H` or `$D` payload.
const CHUNK_HEAD_BYTES: usize = 8;
