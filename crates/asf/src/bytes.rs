//! Bounded little-endian reads: every length of a packet or header is hostile until it went through here.
//!
//! Free functions answer `None` past the end; [`Cursor`] walks forward and does the same. Nothing here allocates or
//! panics. Layouts: `docs/protocol/asf.md` §1.

use crate::guid::Guid;

/// `count` bytes at `at`, or `None` where the slice ends before.
pub(crate) fn slice_at(bytes: &[u8], at: usize, count: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(count)?)
}

/// The array of `N` bytes at `at`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    slice_at(bytes, at, N)?.try_into().ok()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

pub(crate) fn guid_at(bytes: &[u8], at: usize) -> Option<Guid> {
    array_at(bytes, at).map(Guid::from_bytes)
}

/// Text of a UTF-16LE field: ends at the first NUL, broken surrogates become U+FFFD.
pub(crate) fn utf16(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units.take_while(|&unit| unit != 0))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// A forward reader over one slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = slice_at(self.bytes, self.at, count)?;
        self.at += count;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let value = u16_at(self.bytes, self.at)?;
        self.at += 2;
        Some(value)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let value = u32_at(self.bytes, self.at)?;
        self.at += 4;
        Some(value)
    }

    /// A field of the width a two-bit length type names: 0, 1, 2 or 4 bytes; an absent field reads as 0.
    pub(crate) fn coded(&mut self, width: Width) -> Option<u32> {
        match width {
            Width::Absent => Some(0),
            Width::Byte => self.u8().map(u32::from),
            Width::Word => self.u16().map(u32::from),
            Width::Dword => self.u32(),
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// Size of an optional field, coded in two bits of a flags byte (`docs/protocol/asf.md` §6.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Width {
    #[default]
    Absent,
    Byte,
    Word,
    Dword,
}

impl Width {
    /// The coding in bits `shift` and `shift + 1` of `flags`.
    pub(crate) fn from_bits(flags: u8, shift: u32) -> Self {
        match (flags >> shift) & 3 {
            0 => Width::Absent,
            1 => Width::Byte,
            2 => Width::Word,
            _ => Width::Dword,
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Width::Absent => 0,
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
        }
    }

    /// All ones in this width: the modulus of a counter held in it, minus one.
    pub(crate) fn mask(self) -> u32 {
        match self {
            Width::Absent => 0,
            Width::Byte => 0xFF,
            Width::Word => 0xFFFF,
            Width::Dword => 0xFFFF_FFFF,
        }
    }

    /// Writes `value` cut to this width at `at`. The caller has parsed the field there.
    pub(crate) fn put(self, bytes: &mut [u8], at: usize, value: u32) {
        let count = self.bytes();
        if let Some(field) = bytes.get_mut(at..at + count) {
            field.copy_from_slice(&value.to_le_bytes()[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.u16(), Some(0x0201));
        assert_eq!(cursor.u16(), None);
        assert_eq!(cursor.u8(), Some(3));
        assert_eq!(cursor.coded(Width::Absent), Some(0));
        assert_eq!(slice_at(&[0; 4], usize::MAX, 2), None);
    }

    #[test]
    fn text_ends_at_nul_and_survives_broken_surrogates() {
        assert_eq!(utf16(b"a\0b\0\0\0c\0"), "ab");
        assert_eq!(utf16(&[0x00, 0xD8, 0x41, 0x00, 0x42]), "\u{FFFD}A");
        assert_eq!(utf16(&[0x3D, 0xD8, 0x00, 0xDE]), "\u{1F600}");
    }
}
