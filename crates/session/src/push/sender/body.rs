//! What goes into a body: packets of a push, `$` packets as ffmpeg frames them, HTTP chunks, and the room that is left.

use funnel_wire::wmsp::{PacketHead, PacketKind};

/// A packet of a push: 4 bytes, then the payload (§20.2). A payload too long for its length field is cut; there is none such, since
/// headers and packets end below it.
pub(super) fn pushed(kind: PacketKind, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut out = PacketHead::new(kind, length).encode().to_vec();
    out.extend(payload.iter().take(length.into()));
    out
}

/// `$` packets with the 8 bytes of MMS inside, as ffmpeg's `asf_stream` writes them (§22.3).
pub(super) mod framed {
    use funnel_wire::mms::DataHeader;
    use funnel_wire::wmsp::{PacketHead, PacketKind, encode_fragments};
    use zerocopy::IntoBytes as _;

    /// `$H`
    pub(in super::super) fn header(header: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_fragments(PacketKind::HEADER, 0, header, &mut out);
        out
    }

    /// `$D`
    pub(in super::super) fn packet(location: u32, packet: &[u8]) -> Vec<u8> {
        with_head(PacketKind::DATA, location, packet)
    }

    /// `$E`: the running number stands where others have a reason.
    pub(in super::super) fn end(location: u32) -> Vec<u8> {
        with_head(PacketKind::END, location, &[])
    }

    fn with_head(kind: PacketKind, location: u32, payload: &[u8]) -> Vec<u8> {
        let header = DataHeader::new(location, 0, 0, payload.len());
        let mut out = PacketHead::new(kind, header.packet_size.get())
            .encode()
            .to_vec();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(payload);
        out
    }
}

/// A chunk of HTTP.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

/// The one that ends a body.
pub(super) fn last_chunk() -> Vec<u8> {
    b"0\r\n\r\n".to_vec()
}

/// Room in a body of fixed length. What is left is nothing, or enough for a filler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    length: u32,
    left: u32,
}

impl Budget {
    /// For bodies of `length`, or as long as a packet with this payload needs.
    pub(super) fn new(length: u32, payload_max: usize) -> Self {
        let packet_max = u32::try_from(payload_max).unwrap_or(u32::MAX);
        let least = packet_max.saturating_add(2 * HEAD_BYTES);
        Self {
            length: length.max(least),
            left: 0,
        }
    }

    /// A body begins; its length.
    pub(super) fn begin(&mut self) -> u32 {
        self.left = self.length;
        self.length
    }

    /// Whether so many bytes fit, and then they are in.
    pub(super) fn take(&mut self, size: usize) -> bool {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let left = self.left.checked_sub(size);
        let left = left.filter(|left| *left == 0 || *left >= HEAD_BYTES);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// As much filler as one packet holds, towards the end of the body.
    pub(super) fn fill(&mut self) -> Vec<u8> {
        let size = match self.left.min(FILLER_BYTES_MAX + HEAD_BYTES) {
            // The rest must hold a filler, too.
            size if (1..HEAD_BYTES).contains(&(self.left - size)) => size - HEAD_BYTES,
            size => size,
        };
        self.left -= size;
        let payload = size.saturating_sub(HEAD_BYTES);
        pushed(PacketKind::FILLER, &vec![0; payload as usize])
    }

    /// Whether the body is complete.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }
}

const HEAD_BYTES: u32 = PacketHead::BYTES as u32;
/// Payload of a `$F` (§20.2).
const FILLER_BYTES_MAX: u32 = 65_531;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_filled_to_its_last_byte() {
        for length in 108..400_u32 {
            let mut budget = Budget::new(length, 100);
            let (mut left, mut packets) = (budget.begin(), 0);
            while budget.take(104) {
                left -= 104;
                packets += 1;
            }
            while !budget.is_full() {
                let filler = budget.fill();
                assert_eq!(filler[..2], *b"$F");
                left -= filler.len() as u32;
            }
            assert_eq!((left, packets > 0), (0, true), "of {length}");
        }
    }

    #[test]
    fn a_large_rest_takes_several_fillers() {
        for rest in [65_535, 65_536, 65_538, 65_539, 131_074] {
            let mut budget = Budget::new(rest, 100);
            budget.begin();
            let mut filled = 0;
            while !budget.is_full() {
                filled += budget.fill().len();
            }
            assert_eq!(filled, rest as usize);
        }
    }

    #[test]
    fn a_body_that_is_too_short_is_made_longer() {
        let mut budget = Budget::new(1, 100);
        assert_eq!(budget.begin(), 108);
        assert!(budget.take(104));
    }
}
