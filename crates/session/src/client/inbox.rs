//! Received bytes until they are understood, and the counters that turn tags back into numbers.

use std::ops::Range;

/// A buffer that is read from the front.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    read: usize,
    /// Stream bytes before `bytes[read]`.
    pub(super) position: u64,
}

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        } else if self.read > self.bytes.len() / 2 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What is not yet read.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// Marks `size` bytes as read; they stay until the next `push`.
    pub(super) fn advance(&mut self, size: usize) -> Range<usize> {
        let start = self.read;
        self.read = (start + size).min(self.bytes.len());
        self.position += (self.read - start) as u64;
        start..self.read
    }

    /// Bytes of a range that `advance` gave.
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

/// The 32-bit number nearest to `expected` whose low byte is `low` (§13).
pub(super) fn expand_sequence(low: u8, expected: u32) -> u32 {
    let ahead = low.wrapping_sub(expected.to_le_bytes()[0]) as i8;
    expected
        .checked_add_signed(ahead.into())
        .unwrap_or(u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_goes_away_and_the_rest_stays() {
        let mut inbox = Inbox::default();
        inbox.push(b"abcdef");
        let range = inbox.advance(4);
        assert_eq!(inbox.slice(range), b"abcd");
        inbox.push(b"gh");
        assert_eq!(
            (inbox.unread(), inbox.bytes.len(), inbox.position),
            (&b"efgh"[..], 4, 4)
        );
    }

    #[test]
    fn a_low_byte_names_the_nearest_number() {
        assert_eq!(expand_sequence(0x00, 0x1FF), 0x200);
        assert_eq!(expand_sequence(0xFE, 0x200), 0x1FE);
        assert_eq!(expand_sequence(0x05, 0x05), 0x05);
        assert_eq!(
            expand_sequence(0xFA, 0x02),
            0xFA,
            "before the start there is nothing"
        );
    }
}
