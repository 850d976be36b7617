//! Cursors over little-endian bytes.
//!
//! [`Reader`] never indexes: running off the end is one error that carries the field's name and its offset.
//! [`Writer`] appends to a buffer the caller lends and can patch what it wrote before.

/// A field did not fit into the bytes that were there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} at offset {offset}: {wanted} bytes wanted, {left} left")]
pub struct Truncated {
    /// Name of the field as in the specification.
    pub field: &'static str,
    /// Offset of the field from the start of what the reader was made for.
    pub offset: usize,
    /// Bytes the field needs.
    pub wanted: usize,
    /// Bytes that were left.
    pub left: usize,
}

/// A cursor over received bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte; offsets in errors count from `base`.
    pub fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, at: 0, base }
    }

    /// Takes `size` bytes.
    pub fn take(&mut self, field: &'static str, size: usize) -> Result<&'a [u8], Truncated> {
        let left = self.left();
        let taken = self.rest().get(..size).ok_or(Truncated {
            field,
            offset: self.offset(),
            wanted: size,
            left,
        })?;
        self.at += size;
        Ok(taken)
    }

    /// Takes `size` bytes as a region with its own end.
    pub fn sub(&mut self, field: &'static str, size: usize) -> Result<Reader<'a>, Truncated> {
        let base = self.offset();
        self.take(field, size).map(|bytes| Reader::new(bytes, base))
    }

    /// Takes `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Truncated> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    /// Takes one field of a known type.
    pub fn field<T: Field>(&mut self, field: &'static str) -> Result<T, Truncated> {
        T::read(self, field)
    }

    /// Everything from the cursor to the end, without moving.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Bytes between the cursor and the end.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Where the cursor is, counted from the base.
    pub fn offset(&self) -> usize {
        self.base + self.at
    }
}

/// A cursor that appends to a lent buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    /// Appends behind what `out` holds already.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// Appends raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends `count` zero bytes.
    pub fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }

    /// Appends one field.
    pub fn field(&mut self, value: impl Field) {
        value.write(self);
    }

    /// Appends text as UTF-16LE without a terminator.
    pub fn utf16(&mut self, text: &str) {
        for unit in text.encode_utf16() {
            self.bytes(&unit.to_le_bytes());
        }
    }

    /// Overwrites what was written at `offset`, counted from where this writer began. Nothing happens beyond the end.
    pub fn patch(&mut self, offset: usize, bytes: &[u8]) {
        let at = self.start + offset;
        if let Some(target) = self.out.get_mut(at..at + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }

    /// Bytes appended by this writer.
    pub fn written(&self) -> usize {
        self.out.len() - self.start
    }
}

/// A type with one fixed layout.
pub trait Field: Sized {
    /// Takes the value off the cursor.
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Truncated>;
    /// Appends the value.
    fn write(&self, out: &mut Writer<'_>);
}

macro_rules! number_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Truncated> {
                reader.array(field).map(Self::from_le_bytes)
            }

            fn write(&self, out: &mut Writer<'_>) {
                out.bytes(&self.to_le_bytes());
            }
        }
    )*};
}
number_fields!(u8, u16, i16, u32, u64, f64);

impl<const N: usize> Field for [u8; N] {
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Truncated> {
        reader.array(field)
    }

    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(self);
    }
}

/// UTF-16LE up to the first U+0000 or the end; damaged surrogates become U+FFFD, an odd last byte is ignored.
pub fn utf16_to_nul(bytes: &[u8]) -> String {
    decode_utf16(
        bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|unit| *unit != 0),
    )
}

/// UTF-16LE with inner U+0000 kept and trailing ones removed.
pub fn utf16_with_nuls(bytes: &[u8]) -> String {
    let mut text = decode_utf16(
        bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]])),
    );
    text.truncate(text.trim_end_matches('\0').len());
    text
}

fn decode_utf16(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// 8-bit text up to the first NUL, each byte one character (Latin-1), controls removed.
pub fn latin1_to_nul(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| char::from(*byte))
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_off_the_end_names_the_field_and_the_offset() {
        let mut reader = Reader::new(&[1, 0, 0, 0, 9, 9], 8);
        assert_eq!(reader.field::<u32>("hr"), Ok(1));
        let error = reader.field::<u32>("playIncarnation").unwrap_err();
        assert_eq!(
            error.to_string(),
            "playIncarnation at offset 12: 4 bytes wanted, 2 left"
        );
    }

    #[test]
    fn a_region_ends_where_it_was_told() {
        let mut reader = Reader::new(&[1, 2, 3, 4], 0);
        let mut region = reader.sub("region", 2).unwrap();
        assert_eq!(region.field::<u16>("a"), Ok(0x0201));
        assert_eq!(region.field::<u8>("b").unwrap_err().offset, 2);
        assert_eq!(reader.left(), 2);
    }

    #[test]
    fn text_ends_at_the_first_nul_or_at_the_end() {
        assert_eq!(utf16_to_nul(&[0x41, 0, 0, 0, 0x30, 0]), "A");
        assert_eq!(utf16_to_nul(&[0x41, 0, 0x42, 0, 0x43]), "AB");
        assert_eq!(
            utf16_with_nuls(&[0x41, 0, 0, 0, 0x42, 0, 0, 0, 0, 0]),
            "A\0B"
        );
        assert_eq!(utf16_to_nul(&[0x00, 0xD8, 0x41, 0]), "\u{FFFD}A");
        assert_eq!(latin1_to_nul(b"a\x07b\xE9\0junk"), "ab\u{E9}");
    }
}
