//! One payload: what it says, where its bytes lie, and its edits in place (`docs/protocol/asf.md` §6.2, §6.3).

use std::ops::Range;

use crate::bytes::Width;

/// One payload of a packet.
#[derive(Clone, Debug)]
pub struct Payload {
    pub(super) head: u32,
    pub(super) number_at: u32,
    pub(super) offset_at: u32,
    pub(super) replicated_at: u32,
    pub(super) replicated_end: u32,
    pub(super) data_at: u32,
    pub(super) end: u32,
    pub(super) number_width: Width,
    pub(super) offset_width: Width,
    pub(super) stream: u8,
    pub(super) key: bool,
    pub(super) number: u32,
    pub(super) offset: u32,
    pub(super) replicated: Replicated,
}

/// What the replicated data of a payload says (§6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replicated {
    /// Nothing (length 0): no size, no time.
    Nothing,
    /// The usual form (length ≥ 8).
    Object {
        /// Size of the whole media object, bytes.
        size: u32,
        /// Presentation time, preroll included, low 32 bits of ms.
        time_ms: u32,
    },
    /// Length 1: a row of whole small objects; their first time stands in the place of the offset.
    Compressed {
        /// From one object to the next, ms.
        delta_ms: u8,
    },
}

impl Payload {
    /// Stream number, 0…127.
    pub fn stream(&self) -> u8 {
        self.stream
    }

    /// The key-frame bit as it stands in the packet.
    pub fn is_key(&self) -> bool {
        self.key
    }

    /// Media object number, modulo 2^8, 2^16 or 2^32 as the packet codes it; of the first one when compressed.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The modulus of object numbers, less one.
    pub fn number_mask(&self) -> u32 {
        self.number_width.mask()
    }

    /// Offset into the media object; 0 for compressed payloads, which hold whole objects.
    pub fn offset(&self) -> u32 {
        match self.replicated {
            Replicated::Compressed { .. } => 0,
            _ => self.offset,
        }
    }

    /// True when a media object begins here.
    pub fn starts_object(&self) -> bool {
        self.offset() == 0
    }

    /// What the replicated data says.
    pub fn replicated(&self) -> Replicated {
        self.replicated
    }

    /// Presentation time (preroll included, low 32 bits of ms) of the object, the first one when compressed.
    pub fn time_ms(&self) -> Option<u32> {
        match self.replicated {
            Replicated::Nothing => None,
            Replicated::Object { time_ms, .. } => Some(time_ms),
            Replicated::Compressed { .. } => Some(self.offset),
        }
    }

    /// Where the media bytes lie in the packet.
    pub fn data(&self) -> Range<usize> {
        self.data_at as usize..self.end as usize
    }

    /// The whole payload, from the stream number to the end of its data.
    pub fn span(&self) -> Range<usize> {
        self.head as usize..self.end as usize
    }

    /// The replicated data behind the standard eight bytes: what payload extension systems add.
    pub fn extension_data<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet
            .get(self.replicated_at as usize + 8..self.replicated_end as usize)
            .unwrap_or_default()
    }

    /// The objects of a compressed payload: ranges of the packet, in order. Empty for other payloads.
    pub fn parts<'a>(&self, packet: &'a [u8]) -> Parts<'a> {
        let data = match self.replicated {
            Replicated::Compressed { .. } => packet.get(self.data()).unwrap_or_default(),
            _ => &[],
        };
        Parts { data }
    }

    /// Objects that begin in this payload.
    pub fn objects_begun(&self, packet: &[u8]) -> u32 {
        match self.replicated {
            Replicated::Compressed { .. } => self.parts(packet).count() as u32,
            _ => u32::from(self.offset == 0),
        }
    }

    /// Sets or clears the key-frame bit in the packet.
    pub fn set_key(&mut self, packet: &mut [u8], key: bool) {
        if let Some(byte) = packet.get_mut(self.head as usize) {
            *byte = self.stream | if key { 0x80 } else { 0 };
            self.key = key;
        }
    }

    /// Writes the object number, cut to the field's width.
    pub fn set_number(&mut self, packet: &mut [u8], number: u32) {
        self.number = number & self.number_width.mask();
        self.number_width
            .put(packet, self.number_at as usize, number);
    }

    /// Writes the presentation time. False when the packet has no 32-bit field for it.
    pub fn set_time_ms(&mut self, packet: &mut [u8], time_ms: u32) -> bool {
        match &mut self.replicated {
            Replicated::Nothing => return false,
            Replicated::Object { time_ms: time, .. } => {
                *time = time_ms;
                Width::Dword.put(packet, self.replicated_at as usize + 4, time_ms);
            }
            Replicated::Compressed { .. } if self.offset_width != Width::Dword => return false,
            Replicated::Compressed { .. } => {
                self.offset = time_ms;
                Width::Dword.put(packet, self.offset_at as usize, time_ms);
            }
        }
        true
    }
}

/// Iterator over the objects of a compressed payload.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    data: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&count, rest) = self.data.split_first()?;
        let part = rest.get(..usize::from(count))?;
        self.data = &rest[part.len()..];
        Some(part)
    }
}
