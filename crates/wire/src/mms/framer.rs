//! Splits a TCP byte stream into messages and Data packets.
//!
//! What is complete in the caller's bytes is lent from there; only an incomplete unit is copied and kept, so an idle
//! connection holds no buffer. Limits (section 7.1): `sessionId` and `seal` must match, `messageLength` is at least 24,
//! a multiple of 8 and at most [`MESSAGE_LENGTH_MAX`]. Leaves meaning to the messages and order to the session.

use zerocopy::FromBytes;

use crate::codec::Reader;
use crate::mms::header::{
    DATA_HEADER_BYTES, DataHeader, MESSAGE_HEADER_BYTES, MESSAGE_LENGTH_MAX, MESSAGE_LENGTH_MIN,
    SEAL, SESSION_ID, TcpMessageHeader,
};
use crate::mms::mid::Mid;

/// What may come over the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Traffic {
    /// Client → server.
    Messages,
    /// Server → client.
    MessagesAndData,
}

/// One unit of the stream.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// A `TcpMessageHeader` and its messages.
    Message(MessageFrame<'a>),
    /// A Data packet.
    Data {
        /// Its 8 bytes.
        header: DataHeader,
        /// What follows them.
        payload: &'a [u8],
    },
}

/// A packet of messages; [`MessageFrame::messages`] walks them.
#[derive(Clone, Copy, Debug)]
pub struct MessageFrame<'a> {
    /// The 32 bytes.
    pub header: TcpMessageHeader,
    /// The messages with their `chunkLen` and `MID`.
    pub body: &'a [u8],
}

/// The stream is not MMS, or no longer in step.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A message was expected and bytes 4–7 are not [`SESSION_ID`].
    #[error("stream byte {position}: session id 0x{value:08X} instead of 0xB00BFACE")]
    SessionId {
        /// Offset of the unit in the stream.
        position: u64,
        /// What was there.
        value: u32,
    },
    /// The seal is not "MMS ".
    #[error("stream byte {position}: seal 0x{value:08X} instead of \"MMS \"")]
    Seal {
        /// Offset of the unit in the stream.
        position: u64,
        /// What was there.
        value: u32,
    },
    /// `messageLength` below 24, above 64 KiB, or not a multiple of 8.
    #[error("stream byte {position}: message length {value}")]
    MessageLength {
        /// Offset of the unit in the stream.
        position: u64,
        /// What was there.
        value: u32,
    },
    /// `PacketSize` smaller than its own header.
    #[error("stream byte {position}: data packet size {value}")]
    PacketSize {
        /// Offset of the unit in the stream.
        position: u64,
        /// What was there.
        value: u16,
    },
}

/// Incremental splitter of one direction of one connection.
#[derive(Debug)]
pub struct Framer {
    /// The incomplete unit, or the complete one that was lent last.
    buffer: Vec<u8>,
    /// Stream bytes before the current unit.
    position: u64,
    traffic: Traffic,
    lent: bool,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(traffic: Traffic) -> Self {
        Self {
            buffer: Vec::new(),
            position: 0,
            traffic,
            lent: false,
        }
    }

    /// Takes the next unit off `input`. `None`: all of `input` was taken and more is needed.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        if self.lent {
            self.buffer.clear();
            self.lent = false;
        }
        if self.buffer.is_empty()
            && let Extent::Whole(size) = self.extent(input)?
        {
            let (unit, rest) = input.split_at(size);
            *input = rest;
            self.position += size as u64;
            return Ok(Some(Frame::new(unit)));
        }
        loop {
            match self.extent(&self.buffer)? {
                Extent::Whole(size) => {
                    self.lent = true;
                    self.position += size as u64;
                    return Ok(Some(Frame::new(&self.buffer)));
                }
                Extent::Unknown { known_at } => {
                    let taken = (known_at - self.buffer.len()).min(input.len());
                    if taken == 0 {
                        return Ok(None);
                    }
                    let (head, rest) = input.split_at(taken);
                    self.buffer.extend_from_slice(head);
                    *input = rest;
                }
            }
        }
    }

    /// Gives the buffer's memory back unless it holds an incomplete unit.
    pub fn release(&mut self) {
        if self.lent || self.buffer.is_empty() {
            self.lent = false;
            self.buffer = Vec::new();
        }
    }

    /// Is a unit incomplete?
    pub fn is_mid_unit(&self) -> bool {
        !self.lent && !self.buffer.is_empty()
    }

    fn extent(&self, bytes: &[u8]) -> Result<Extent, FrameError> {
        extent(bytes, self.traffic, self.position)
    }
}

/// The first unit of `bytes` and its size, for owners of a buffer of their own. `None`: more bytes are needed.
/// `position` is where `bytes` begins in the stream, for the error.
pub fn split(
    bytes: &[u8],
    traffic: Traffic,
    position: u64,
) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    match extent(bytes, traffic, position)? {
        Extent::Whole(size) => Ok(Some((Frame::new(&bytes[..size]), size))),
        Extent::Unknown { .. } => Ok(None),
    }
}

enum Extent {
    /// This many bytes are the whole unit, and they are there.
    Whole(usize),
    /// More can be said once this many bytes are there.
    Unknown { known_at: usize },
}

fn extent(bytes: &[u8], traffic: Traffic, position: u64) -> Result<Extent, FrameError> {
    let Some(session_id) = dword(bytes, 4) else {
        return Ok(Extent::Unknown {
            known_at: DATA_HEADER_BYTES,
        });
    };
    let size = if session_id == SESSION_ID {
        let Some(length) = dword(bytes, 8) else {
            return Ok(Extent::Unknown { known_at: 12 });
        };
        if !(MESSAGE_LENGTH_MIN..=MESSAGE_LENGTH_MAX).contains(&length) || !length.is_multiple_of(8)
        {
            return Err(FrameError::MessageLength {
                position,
                value: length,
            });
        }
        match dword(bytes, 12) {
            None => return Ok(Extent::Unknown { known_at: 16 }),
            Some(SEAL) => length as usize + 16,
            Some(value) => return Err(FrameError::Seal { position, value }),
        }
    } else if traffic == Traffic::Messages {
        return Err(FrameError::SessionId {
            position,
            value: session_id,
        });
    } else {
        let value = (session_id >> 16) as u16; // bytes 6 and 7 of a Data header
        if usize::from(value) < DATA_HEADER_BYTES {
            return Err(FrameError::PacketSize { position, value });
        }
        usize::from(value)
    };
    Ok(if bytes.len() < size {
        Extent::Unknown { known_at: size }
    } else {
        Extent::Whole(size)
    })
}

fn dword(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map(u32::from_le_bytes)
}

impl<'a> Frame<'a> {
    /// `unit` is whole: its size was checked by `extent`.
    fn new(unit: &'a [u8]) -> Self {
        if dword(unit, 4) == Some(SESSION_ID) {
            let (header, body) =
                TcpMessageHeader::read_from_prefix(unit).expect("extent asked for 40 bytes");
            debug_assert!(unit.len() >= MESSAGE_HEADER_BYTES);
            Frame::Message(MessageFrame { header, body })
        } else {
            let (header, payload) =
                DataHeader::read_from_prefix(unit).expect("extent asked for 8 bytes");
            Frame::Data { header, payload }
        }
    }
}

impl<'a> MessageFrame<'a> {
    /// The messages of the packet: id and a reader over the body, whose offsets count from `chunkLen` as in section 5.
    ///
    /// `messageLength` is authoritative (section 2.3): a `chunkLen` beyond it is cut, what is left over is padding.
    pub fn messages(&self) -> impl Iterator<Item = (Mid, Reader<'a>)> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            let chunks = dword(rest, 0)?;
            let mid = Mid(dword(rest, 4)?);
            let size = usize::try_from(chunks)
                .unwrap_or(usize::MAX)
                .saturating_mul(8)
                .min(rest.len());
            if size < 8 {
                return None;
            }
            let (message, behind) = rest.split_at(size);
            rest = behind;
            Some((mid, Reader::new(message.get(8..).unwrap_or_default(), 8)))
        })
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    const STOP: [u8; 48] = hex!(
        "01 00 00 00 CE FA 0B B0 20 00 00 00 4D 4D 53 20 04 00 00 00 07 00 00 00 00 00 00 00 00 00 00 00"
        "02 00 00 00 09 00 03 00 01 00 00 00 0A 00 00 00"
    );
    const DATA: [u8; 12] = hex!("B4 14 00 00 0A 00 0C 00 82 00 00 5D");

    fn describe(frame: Frame<'_>) -> String {
        match frame {
            Frame::Message(message) => message
                .messages()
                .map(|(mid, body)| format!("{mid}+{} ", body.left()))
                .collect(),
            Frame::Data { header, payload } => {
                format!("data {} {}", header.location_id, payload.len())
            }
        }
    }

    fn frames(pieces: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new(Traffic::MessagesAndData);
        let mut seen = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(frame) = framer.next(&mut input).unwrap() {
                seen.push(describe(frame));
            }
            assert!(input.is_empty());
        }
        assert!(!framer.is_mid_unit());
        seen
    }

    #[test]
    fn every_split_point_gives_the_same_units() {
        let stream = [&STOP[..], &DATA, &STOP, &DATA].concat();
        let whole = frames(&[&stream]);
        assert_eq!(
            whole,
            [
                "0x00030009 STOP_PLAYING+8 ",
                "data 5300 4",
                "0x00030009 STOP_PLAYING+8 ",
                "data 5300 4"
            ]
        );
        for first in 0..=stream.len() {
            let (head, tail) = stream.split_at(first);
            assert_eq!(frames(&[head, tail]), whole, "cut at {first}");
            for second in 0..=tail.len().min(20) {
                let (middle, end) = tail.split_at(second);
                assert_eq!(
                    frames(&[head, middle, end]),
                    whole,
                    "cut at {first} and {second} later"
                );
            }
        }
        let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytewise), whole);
    }

    fn first_error(mutate: impl FnOnce(&mut [u8; 48])) -> Option<FrameError> {
        let mut bytes = STOP;
        mutate(&mut bytes);
        Framer::new(Traffic::Messages).next(&mut &bytes[..]).err()
    }

    #[test]
    fn limits_of_section_7_1() {
        let length =
            |value: u32| first_error(|bytes| bytes[8..12].copy_from_slice(&value.to_le_bytes()));
        for value in [
            0,
            8,
            16,
            23,
            33,
            36,
            MESSAGE_LENGTH_MAX + 8,
            0xFFFF_FFF8,
            u32::MAX,
        ] {
            assert_eq!(
                length(value),
                Some(FrameError::MessageLength { position: 0, value })
            );
        }
        assert_eq!(length(24), None);
        assert_eq!(length(MESSAGE_LENGTH_MAX), None);
        assert_eq!(
            first_error(|bytes| bytes[12] = 0),
            Some(FrameError::Seal {
                position: 0,
                value: 0x2053_4D00
            })
        );
        assert_eq!(
            first_error(|bytes| bytes[4] = 0),
            Some(FrameError::SessionId {
                position: 0,
                value: 0xB00B_FA00
            })
        );
        assert_eq!(
            first_error(|bytes| bytes[0] = 9),
            None,
            "rep is not checked"
        );
    }

    #[test]
    fn an_error_says_where_in_the_stream() {
        let stream = [&STOP[..], &DATA].concat();
        let mut framer = Framer::new(Traffic::Messages);
        let mut input = &stream[..];
        assert!(framer.next(&mut input).unwrap().is_some());
        assert_eq!(
            framer.next(&mut input).unwrap_err(),
            FrameError::SessionId {
                position: 48,
                value: 0x000C_000A
            }
        );
    }

    #[test]
    fn a_data_packet_shorter_than_its_header_is_refused() {
        let mut framer = Framer::new(Traffic::MessagesAndData);
        let error = framer
            .next(&mut &hex!("00 00 00 00 02 04 07 00")[..])
            .unwrap_err();
        assert_eq!(
            error,
            FrameError::PacketSize {
                position: 0,
                value: 7
            }
        );
    }

    #[test]
    fn complete_input_is_never_copied() {
        let mut framer = Framer::new(Traffic::Messages);
        assert!(framer.next(&mut &STOP[..]).unwrap().is_some());
        assert_eq!(framer.buffer.capacity(), 0);
        assert!(framer.next(&mut &STOP[..20]).unwrap().is_none());
        assert!(framer.is_mid_unit());
        framer.release();
        assert!(framer.is_mid_unit(), "release keeps what is incomplete");
        assert!(framer.next(&mut &STOP[20..]).unwrap().is_some());
        framer.release();
        assert_eq!(framer.buffer.capacity(), 0);
    }

    fn walk(body: &[u8]) -> Vec<(u32, usize)> {
        let frame = MessageFrame {
            header: TcpMessageHeader::new(body.len() as u32, 0),
            body,
        };
        frame
            .messages()
            .map(|(mid, reader)| (mid.0, reader.left()))
            .collect()
    }

    #[test]
    fn several_messages_padding_and_wrong_chunk_lengths() {
        let two = hex!("02 00 00 00 1B 00 03 00 00 00 00 00 00 00 00 00 01 00 00 00 09 00 03 00");
        assert_eq!(walk(&two), [(0x3001B, 8), (0x30009, 0)]);
        let padded = hex!("01 00 00 00 09 00 03 00 00 00 00 00 00 00 00 00");
        assert_eq!(
            walk(&padded),
            [(0x30009, 0)],
            "zeros behind the message are padding"
        );
        let long = hex!("FF FF FF FF 09 00 03 00 01 00 00 00 0A 00 00 00");
        assert_eq!(
            walk(&long),
            [(0x30009, 8)],
            "chunkLen is cut at messageLength"
        );
    }
}
