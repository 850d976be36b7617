//! What stands in front of a media packet. The owner of the media never matches on the protocol.

use funnel_wire::mms::DataHeader;
use zerocopy::IntoBytes;

/// The framing of one run of media, from StartPlaying to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Framing(Kind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// 8 bytes with the player's incarnation (§3).
    Mms { tag: u8 },
}

impl Default for Framing {
    /// Stands where no media has been asked for yet.
    fn default() -> Self {
        Self::mms(0)
    }
}

impl Framing {
    /// No head is longer.
    pub const HEAD_BYTES_MAX: usize = 16;

    /// MMS with the tag of the StartPlaying that is answered.
    pub(crate) fn mms(tag: u8) -> Self {
        Self(Kind::Mms { tag })
    }

    /// Writes the head of one packet and returns its size.
    ///
    /// `location` is the packet's number in the channel, the same for every viewer; `sequence` the viewer's own count of
    /// packets, `body_bytes` what follows the head.
    #[inline]
    pub fn head(
        &self,
        location: u32,
        sequence: u32,
        body_bytes: usize,
        out: &mut [u8; Self::HEAD_BYTES_MAX],
    ) -> usize {
        let Kind::Mms { tag } = self.0;
        let header = DataHeader::new(location, tag, sequence.to_le_bytes()[0], body_bytes);
        let bytes = header.as_bytes();
        out[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    /// The sequence number for the first packet of this run, when `next` would be the viewer's next one.
    ///
    /// A player that last saw AFFlags 0xFE expects 0x00 after StartPlaying, not 0xFF (§3.2). A session starts at 0.
    pub fn first_sequence(&self, next: u32) -> u32 {
        let Kind::Mms { .. } = self.0;
        if next & 0xFF == 0xFF {
            next.wrapping_add(1)
        } else {
            next
        }
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn head_of_section_14() {
        let mut out = [0; Framing::HEAD_BYTES_MAX];
        let size = Framing::mms(10).head(5300, 0x100, 1444, &mut out);
        assert_eq!(out[..size], hex!("B4 14 00 00 0A 00 AC 05"));
    }

    #[test]
    fn the_sequence_after_0xfe_is_0x00_at_start_playing() {
        let framing = Framing::mms(4);
        assert_eq!(framing.first_sequence(0), 0);
        assert_eq!(framing.first_sequence(0xFF), 0x100);
        assert_eq!(framing.first_sequence(0x1FF), 0x200);
        assert_eq!(framing.first_sequence(0x1FE), 0x1FE);
    }
}
