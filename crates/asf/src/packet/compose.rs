//! New packets out of the payloads of one: padding removed, streams filtered, sizes restored.
//!
//! Two forms come out (`docs/protocol/asf.md` §11.2, §14.1): the shortest, with an explicit 16-bit packet length and
//! no padding field, which every tested player takes whether or not it fills it up with zeros; and one padded to a
//! fixed size by an ordinary padding field, as encoders write it. Both begin with [`PREFIX`], keep property flags,
//! sequence field, send time and duration, and copy payloads byte for byte.

use crate::bytes::Width;
use crate::packet::{Layout, PREFIX, PacketError};

/// Size of a composed packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// As short as it can be, with an explicit packet length.
    Shortest,
    /// Exactly this many bytes, padded.
    Padded(usize),
}

/// Lays the payloads of `packet` whose bit is set in `keep` (bit i = payload i) into `out`, replacing its content.
///
/// `layout` must come from `packet`. Allocates only when `out` must grow.
///
/// # Errors
/// [`PacketError::Size`]: the payloads do not fit the size asked for, or 16 bits.
pub fn compose(
    packet: &[u8],
    layout: &Layout,
    keep: u64,
    fit: Fit,
    out: &mut Vec<u8>,
) -> Result<(), PacketError> {
    out.clear();
    let kept = || {
        layout
            .payloads()
            .iter()
            .enumerate()
            .filter(move |(index, _)| keep >> index & 1 != 0)
    };
    let fixed = layout.fixed();
    let media: usize = kept().map(|(_, payload)| payload.span().len()).sum();
    let bare = PREFIX.len() + 2 + layout.sequence.len() + fixed.len() + media;
    let (size, frame) = Frame::choose(bare, fit)?;
    let flags = packet[layout.flags_at];
    out.extend_from_slice(&PREFIX);
    out.push((flags & !0x78) | frame.flags());
    out.push(packet[layout.flags_at + 1]);
    if let Frame::Length(length) = frame {
        out.extend_from_slice(&length.to_le_bytes());
    }
    out.extend_from_slice(&packet[layout.sequence.clone()]);
    frame.put_padding(out);
    out.extend_from_slice(&packet[fixed]);
    if let (Some(_), Some(payload_flags)) = (layout.payload_flags_at, out.last_mut()) {
        *payload_flags = (*payload_flags & 0xC0) | kept().count() as u8;
    }
    kept().for_each(|(_, payload)| out.extend_from_slice(&packet[payload.span()]));
    out.resize(size, 0);
    Ok(())
}

/// The full-size form of a packet that reached us with its padding cut off (§11.2, client side).
///
/// A single payload without a length of its own would swallow the zeros, so such a packet gets an explicit length.
/// Packets that are full already, or too damaged to walk, are copied as they are.
///
/// # Errors
/// [`PacketError::Size`] when `short` is longer than `packet_bytes` or leaves no room for the length.
pub fn restore_padding(
    short: &[u8],
    packet_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), PacketError> {
    out.clear();
    if short.len() > packet_bytes {
        return Err(PacketError::Size {
            have: short.len(),
            packet_bytes,
        });
    }
    out.extend_from_slice(short);
    if short.len() == packet_bytes {
        return Ok(());
    }
    let implied = |layout: &Layout| {
        let zero = |(at, width): (usize, Width)| {
            short
                .get(at..at + width.bytes())
                .is_some_and(|field| field.iter().all(|&byte| byte == 0))
        };
        layout.payload_flags_at.is_none()
            && layout.length_field.1.bytes() == 0
            && zero(layout.padding_field)
    };
    match Layout::parse(short) {
        Ok(layout) if !layout.is_parity() && implied(&layout) && !layout.payloads().is_empty() => {
            compose(short, &layout, u64::MAX, Fit::Padded(packet_bytes), out)
        }
        _ => {
            out.resize(packet_bytes, 0);
            Ok(())
        }
    }
}

/// What tells a reader where the payloads end.
#[derive(Clone, Copy)]
pub(super) enum Frame {
    Length(u16),
    Full,
    PaddingByte(u8),
    PaddingWord(u16),
}

impl Frame {
    /// The frame for `bare` bytes without any length field, and the size with it.
    pub(super) fn choose(bare: usize, fit: Fit) -> Result<(usize, Frame), PacketError> {
        match fit {
            Fit::Shortest => {
                let size = bare + 2;
                let too_long = PacketError::Size {
                    have: size,
                    packet_bytes: usize::from(u16::MAX),
                };
                Ok((
                    size,
                    Frame::Length(u16::try_from(size).map_err(|_| too_long)?),
                ))
            }
            Fit::Padded(size) => {
                let too_long = PacketError::Size {
                    have: bare,
                    packet_bytes: size,
                };
                let free = size.checked_sub(bare).ok_or(too_long)?;
                let frame = match free {
                    0 => Frame::Full,
                    1..=BYTE_PADDING_MAX => Frame::PaddingByte((free - 1) as u8),
                    _ => Frame::PaddingWord(u16::try_from(free - 2).map_err(|_| too_long)?),
                };
                Ok((size, frame))
            }
        }
    }

    /// Writes the padding field, where the frame has one.
    pub(super) fn put_padding(self, out: &mut Vec<u8>) {
        match self {
            Frame::PaddingByte(padding) => out.push(padding),
            Frame::PaddingWord(padding) => out.extend_from_slice(&padding.to_le_bytes()),
            Frame::Length(_) | Frame::Full => {}
        }
    }

    pub(super) fn flags(self) -> u8 {
        match self {
            Frame::Length(_) => 0x40,
            Frame::Full => 0,
            Frame::PaddingByte(_) => 0x08,
            Frame::PaddingWord(_) => 0x10,
        }
    }
}

/// Free bytes a one-byte padding field can describe, itself included.
const BYTE_PADDING_MAX: usize = 256;

/// Every payload of a packet, as a mask for [`compose`].
pub(crate) fn all_payloads(layout: &Layout) -> u64 {
    (1u64 << layout.payloads().len()) - 1
}
