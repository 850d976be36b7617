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
    /// `$D` of HTTP streaming: 4 bytes and the 8 of MMS (`wmsp.md` §6.1, §6.2).
    Wmsp { incarnation: u8 },
    /// The same as a chunk of HTTP/1.1. The chunk before is open: its end stands in front of the head.
    Chunked { incarnation: u8 },
    /// Nothing: plain ASF.
    Asf,
}

impl Default for Framing {
    /// Stands where no media has been asked for yet.
    fn default() -> Self {
        Self::mms(0)
    }
}

impl Framing {
    /// No head is longer: the end of a chunk, the size of the next one, `$D`.
    pub const HEAD_BYTES_MAX: usize = 24;

    /// Plain ASF: no heads.
    pub const ASF: Self = Self(Kind::Asf);

    /// MMS with the tag of the StartPlaying that is answered.
    pub(crate) fn mms(tag: u8) -> Self {
        Self(Kind::Mms { tag })
    }

    /// HTTP streaming; `incarnation` as in the `$H` before.
    pub fn wmsp(incarnation: u8) -> Self {
        Self(Kind::Wmsp { incarnation })
    }

    /// HTTP streaming in chunks (`wmsp.md` §5.3). The session begins the first chunk and ends the last.
    pub fn chunked(incarnation: u8) -> Self {
        Self(Kind::Chunked { incarnation })
    }

    /// Whether the media is the body of an HTTP answer.
    pub fn is_http(&self) -> bool {
        !matches!(self.0, Kind::Mms { .. })
    }

    /// Whether the heads are the same for every viewer with this framing, whose count of packets may begin anywhere (`wmsp.md` §25.5).
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Kind::Wmsp { .. })
    }

    /// Whether packets go out as they are, without heads.
    pub fn is_bare(&self) -> bool {
        self.0 == Kind::Asf
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
        let (tag, chunked) = match self.0 {
            Kind::Asf => return 0,
            Kind::Mms { tag } => {
                let header = DataHeader::new(location, tag, sequence.to_le_bytes()[0], body_bytes);
                out[..8].copy_from_slice(header.as_bytes());
                return 8;
            }
            Kind::Wmsp { incarnation } => (incarnation, false),
            Kind::Chunked { incarnation } => (incarnation, true),
        };
        let begin = if chunked {
            chunk_line(body_bytes + DATA_HEAD_BYTES, out)
        } else {
            0
        };
        let header = DataHeader::new(location, tag, sequence.to_le_bytes()[0], body_bytes);
        let [low, high] = header.packet_size.get().to_le_bytes();
        out[begin..begin + 4].copy_from_slice(&[b'$', b'D', low, high]);
        out[begin + 4..begin + DATA_HEAD_BYTES].copy_from_slice(header.as_bytes());
        begin + DATA_HEAD_BYTES
    }

    /// The sequence number for the first packet of this run, when `next` would be the viewer's next one.
    ///
    /// A player over MMS that last saw AFFlags 0xFE expects 0x00 after StartPlaying, not 0xFF (§3.2). A session starts at 0,
    /// over HTTP each Play does (`wmsp.md` §6.2).
    pub fn first_sequence(&self, next: u32) -> u32 {
        match self.0 {
            Kind::Mms { .. } if next & 0xFF == 0xFF => next.wrapping_add(1),
            Kind::Mms { .. } => next,
            Kind::Wmsp { .. } | Kind::Chunked { .. } | Kind::Asf => 0,
        }
    }
}

/// Ends the chunk before and begins one of `bytes`: `CR LF size CR LF`, the size in four digits. Returns how long that is.
fn chunk_line(bytes: usize, out: &mut [u8; Framing::HEAD_BYTES_MAX]) -> usize {
    out[..2].copy_from_slice(b"\r\n");
    for (digit, place) in out[2..6].iter_mut().zip([12, 8, 4, 0]) {
        *digit = b"0123456789ABCDEF"[bytes >> place & 0xF];
    }
    out[6..8].copy_from_slice(b"\r\n");
    8
}

/// The framing header and the one of MMS.
const DATA_HEAD_BYTES: usize = 4 + 8;

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
    fn heads_over_http() {
        let mut out = [0; Framing::HEAD_BYTES_MAX];
        let size = Framing::wmsp(0).head(5300, 0x1FF, 3200, &mut out);
        assert_eq!(out[..size], hex!("24 44 88 0C B4 14 00 00 00 FF 88 0C")); // wmsp.md §26
        let size = Framing::chunked(2).head(1, 0, 3200, &mut out);
        assert_eq!(out[..8], *b"\r\n0C8C\r\n");
        assert_eq!(out[8..size], hex!("24 44 88 0C 01 00 00 00 02 00 88 0C"));
        assert_eq!(Framing::ASF.head(1, 2, 3200, &mut out), 0);
    }

    #[test]
    fn every_play_over_http_counts_from_0() {
        assert_eq!(Framing::wmsp(0).first_sequence(77), 0);
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
