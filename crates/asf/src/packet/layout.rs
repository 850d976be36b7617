//! The walk over one packet (`docs/protocol/asf.md` §6.2, §6.3).
//!
//! Invariants of a [`Layout`] that parsed: every range lies inside the packet, payloads ascend and do not overlap,
//! and there are at most [`PAYLOADS_MAX`] of them.

use std::ops::Range;

use arrayvec::ArrayVec;

use crate::bytes::{Cursor, Width, u32_at};
use crate::packet::payload::{Payload, Replicated};
use crate::packet::{PREFIX, PacketError};

/// Most payloads in one packet: the count has six bits.
pub const PAYLOADS_MAX: usize = 63;

/// Where the fields of one packet lie.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) flags_at: usize,
    pub(super) sequence: Range<usize>,
    /// Position and width of the explicit packet length.
    pub(super) length_field: (usize, Width),
    pub(super) padding_field: (usize, Width),
    send_at: usize,
    pub(super) payload_flags_at: Option<usize>,
    parity: bool,
    size: usize,
    end: usize,
    declared: Option<u32>,
    padding: u32,
    send_ms: u32,
    duration_ms: u16,
    payloads: ArrayVec<Payload, PAYLOADS_MAX>,
}

impl Layout {
    /// Walks one packet. `bytes` is the packet as it stands on disk, its padding included.
    ///
    /// # Errors
    /// The first rule of §6.5 that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Layout, PacketError> {
        let mut walk = Walk {
            bytes,
            cursor: Cursor::new(bytes),
        };
        let mut layout = walk.head()?;
        if layout.parity {
            return Ok(layout);
        }
        let property = bytes[layout.flags_at + 1];
        match layout.payload_flags_at {
            None => {
                let limit = walk.limit(&layout)?;
                let payload = walk.payload(
                    property,
                    |walk, _| Ok(limit.saturating_sub(walk.cursor.at())),
                    limit,
                )?;
                layout.payloads.push(payload);
            }
            Some(at) => {
                let width = Width::from_bits(bytes[at], 6);
                for _ in 0..bytes[at] & 0x3F {
                    let payload = walk.payload(
                        property,
                        |walk, at| walk.payload_length(width, at),
                        bytes.len(),
                    )?;
                    layout.payloads.push(payload);
                }
            }
        }
        layout.end = layout
            .payloads
            .last()
            .map_or(walk.cursor.at(), |payload| payload.end as usize);
        Ok(layout)
    }

    /// Send time: low 32 bits of ms.
    pub fn send_ms(&self) -> u32 {
        self.send_ms
    }

    /// Time span of the payloads, ms; 0 = unknown.
    pub fn duration_ms(&self) -> u16 {
        self.duration_ms
    }

    /// The payloads in order; none in an empty or a parity packet.
    pub fn payloads(&self) -> &[Payload] {
        &self.payloads
    }

    /// True for a packet of opaque error correction data (MS-MSB parity): it carries no media.
    pub fn is_parity(&self) -> bool {
        self.parity
    }

    /// Bytes of the packet that say nothing: padding and slack behind the last payload.
    pub fn padding_bytes(&self) -> u32 {
        (self.size - self.end) as u32
    }

    /// Bytes of error correction in front, flags byte included: 3 normally, 0 without.
    pub fn prefix_bytes(&self) -> usize {
        self.flags_at
    }

    /// False when an explicit length or padding cuts into the payloads, as GStreamer's muxer writes it (§6.2).
    pub fn is_consistent(&self) -> bool {
        let length = self.declared.map_or(self.size as u64, u64::from);
        length.saturating_sub(u64::from(self.padding)) >= self.end as u64
    }

    /// Bit n is set when a payload of stream n is here.
    pub fn streams(&self) -> u128 {
        self.payloads
            .iter()
            .fold(0, |mask, payload| mask | (1u128 << payload.stream))
    }

    /// Writes the send time into the packet this layout was parsed from.
    pub fn set_send_ms(&self, packet: &mut [u8], send_ms: u32) {
        Width::Dword.put(packet, self.send_at, send_ms);
    }

    /// Bytes of the shortest form of the whole packet: see [`Fit::Shortest`](crate::packet::Fit::Shortest).
    pub(crate) fn shortest_bytes(&self) -> usize {
        let media: usize = self
            .payloads
            .iter()
            .map(|payload| payload.span().len())
            .sum();
        PREFIX.len() + 2 + 2 + self.sequence.len() + self.fixed().len() + media
    }

    /// The payloads, for edits in place.
    pub(crate) fn payloads_mut(&mut self) -> &mut [Payload] {
        &mut self.payloads
    }

    /// Bytes from the send time to the payload flags inclusive.
    pub(super) fn fixed(&self) -> Range<usize> {
        self.send_at..self.send_at + 6 + usize::from(self.payload_flags_at.is_some())
    }
}

/// The reading head.
struct Walk<'a> {
    bytes: &'a [u8],
    cursor: Cursor<'a>,
}

impl<'a> Walk<'a> {
    /// Error correction, flags, optional fields, times, payload flags.
    fn head(&mut self) -> Result<Layout, PacketError> {
        let first = *self.bytes.first().ok_or(PacketError::Truncated {
            field: "first byte",
            at: 0,
        })?;
        let mut parity = false;
        if first & 0x80 != 0 {
            if first & 0x60 != 0 {
                return Err(PacketError::ErrorCorrection { flags: first });
            }
            parity = first & 0x10 != 0 && first & 0x0F != 0;
            self.take("error correction", |cursor| {
                cursor.take(1 + usize::from(first & 0x0F)).map(|_| ())
            })?;
        }
        let flags_at = self.cursor.at();
        if parity {
            return Ok(Layout::parity(flags_at, self.bytes.len()));
        }
        let flags = self.take("length type flags", Cursor::u8)?;
        let property = self.take("property flags", Cursor::u8)?;
        if flags & 0x80 != 0 || property & 0xC0 != 0x40 {
            return Err(PacketError::NotAPacket { flags, property });
        }
        let length_field = (self.cursor.at(), Width::from_bits(flags, 5));
        let length = self.take("packet length", |cursor| cursor.coded(length_field.1))?;
        let sequence_at = self.cursor.at();
        self.take("sequence", |cursor| {
            cursor.coded(Width::from_bits(flags, 1))
        })?;
        let padding_field = (self.cursor.at(), Width::from_bits(flags, 3));
        let padding = self.take("padding length", |cursor| cursor.coded(padding_field.1))?;
        let send_at = self.cursor.at();
        let send_ms = self.take("send time", Cursor::u32)?;
        let duration_ms = self.take("duration", Cursor::u16)?;
        let mut payload_flags_at = None;
        if flags & 1 != 0 {
            payload_flags_at = Some(self.cursor.at());
            let payload_flags = self.take("payload flags", Cursor::u8)?;
            if payload_flags & 0xC0 == 0 && payload_flags & 0x3F != 0 {
                return Err(PacketError::PayloadFlags {
                    flags: payload_flags,
                });
            }
        }
        let have = self.bytes.len();
        let declared = (length_field.1 != Width::Absent).then_some(length);
        if let Some(declared) = declared.filter(|&declared| declared as usize > have) {
            return Err(PacketError::Length { declared, have });
        }
        if padding as usize > self.cursor.rest() {
            return Err(PacketError::Padding { padding, have });
        }
        Ok(Layout {
            flags_at,
            sequence: sequence_at..padding_field.0,
            length_field,
            padding_field,
            send_at,
            payload_flags_at,
            parity: false,
            size: have,
            end: self.cursor.at(),
            declared,
            padding,
            send_ms,
            duration_ms,
            payloads: ArrayVec::new(),
        })
    }

    /// End of a single payload: the packet's length less its padding.
    fn limit(&self, layout: &Layout) -> Result<usize, PacketError> {
        let length = layout
            .declared
            .map_or(self.bytes.len(), |declared| declared as usize);
        let padding = PacketError::Padding {
            padding: layout.padding,
            have: length,
        };
        length
            .checked_sub(layout.padding as usize)
            .filter(|&limit| limit >= self.cursor.at())
            .ok_or(padding)
    }

    fn payload_length(&mut self, width: Width, at: usize) -> Result<usize, PacketError> {
        let length = self.cursor.coded(width).ok_or(PacketError::Truncated {
            field: "payload length",
            at,
        })?;
        Ok(length as usize)
    }

    /// One payload that must end at or before `limit`; `length` reads or computes the size of its data.
    fn payload(
        &mut self,
        property: u8,
        length: impl FnOnce(&mut Self, usize) -> Result<usize, PacketError>,
        limit: usize,
    ) -> Result<Payload, PacketError> {
        let head = self.cursor.at();
        let (number_width, offset_width) =
            (Width::from_bits(property, 4), Width::from_bits(property, 2));
        let stream = self.take("stream number", Cursor::u8)?;
        let number_at = self.cursor.at();
        let number = self.take("object number", |cursor| cursor.coded(number_width))?;
        let offset_at = self.cursor.at();
        let offset = self.take("object offset", |cursor| cursor.coded(offset_width))?;
        let replicated_bytes = self.take("replicated length", |cursor| {
            cursor.coded(Width::from_bits(property, 0))
        })?;
        let replicated_at = self.cursor.at();
        if (2..8).contains(&replicated_bytes) {
            return Err(PacketError::Replicated {
                bytes: replicated_bytes,
                at: head,
            });
        }
        self.take("replicated data", |cursor| {
            cursor.take(replicated_bytes as usize).map(|_| ())
        })?;
        let replicated_end = self.cursor.at();
        let data_bytes = length(self, head)?;
        let data_at = self.cursor.at();
        let truncated = PacketError::Truncated {
            field: "payload data",
            at: data_at,
        };
        let end = data_at
            .checked_add(data_bytes)
            .filter(|&end| end <= limit)
            .ok_or(truncated)?;
        self.take("payload data", |cursor| cursor.take(data_bytes).map(|_| ()))?;
        let replicated = match replicated_bytes {
            0 => Replicated::Nothing,
            1 => Replicated::Compressed {
                delta_ms: self.bytes[replicated_at],
            },
            _ => Replicated::Object {
                size: u32_at(self.bytes, replicated_at).unwrap_or(0),
                time_ms: u32_at(self.bytes, replicated_at + 4).unwrap_or(0),
            },
        };
        let payload = Payload {
            head: head as u32,
            number_at: number_at as u32,
            offset_at: offset_at as u32,
            replicated_at: replicated_at as u32,
            replicated_end: replicated_end as u32,
            data_at: data_at as u32,
            end: end as u32,
            number_width,
            offset_width,
            stream: stream & 0x7F,
            key: stream & 0x80 != 0,
            number,
            offset,
            replicated,
        };
        let whole = payload
            .parts(self.bytes)
            .fold(0, |sum, part| sum + 1 + part.len());
        if matches!(replicated, Replicated::Compressed { .. }) && whole != data_bytes {
            return Err(PacketError::Compressed { at: head });
        }
        Ok(payload)
    }

    fn take<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Cursor<'a>) -> Option<T>,
    ) -> Result<T, PacketError> {
        let at = self.cursor.at();
        read(&mut self.cursor).ok_or(PacketError::Truncated { field, at })
    }
}

impl Layout {
    fn parity(flags_at: usize, size: usize) -> Layout {
        let absent = (flags_at, Width::Absent);
        Layout {
            flags_at,
            sequence: flags_at..flags_at,
            length_field: absent,
            padding_field: absent,
            send_at: flags_at,
            payload_flags_at: None,
            parity: true,
            size,
            end: size,
            declared: None,
            padding: 0,
            send_ms: 0,
            duration_ms: 0,
            payloads: ArrayVec::new(),
        }
    }
}
