//! Cuts an ASF header into Data packets (§3.3).
//!
//! Rules: a fragment is at most one ASF packet; AFFlags 0x04 … 0x0C; never a cut right after the bytes `01 01` (mplayer
//! takes them for the end); the last fragment has at least 40 bytes, because VLC does not look at fewer than 48. Parts
//! are about equal, which keeps the last one long.

use std::sync::Arc;

use funnel_wire::mms::{DATA_HEADER_BYTES, DataHeader};
use zerocopy::IntoBytes;

/// Shortest last fragment.
const LAST_BYTES_MIN: usize = 40;

/// A header on its way out.
#[derive(Debug)]
pub(in crate::server) struct Fragments {
    header: Arc<[u8]>,
    packet_bytes: usize,
    tag: u8,
    at: usize,
    location: u32,
}

impl Fragments {
    /// Starts with fragment 0. `packet_bytes` is at least 1.
    pub(in crate::server) fn new(header: Arc<[u8]>, packet_bytes: u32, tag: u8) -> Self {
        let packet_bytes = usize::try_from(packet_bytes).unwrap_or(usize::MAX);
        let packet_bytes = packet_bytes.clamp(1, DataHeader::PAYLOAD_BYTES_MAX);
        Self {
            header,
            packet_bytes,
            tag,
            at: 0,
            location: 0,
        }
    }

    /// Writes the next Data packet into `out`. Returns false when that was the last.
    pub(in crate::server) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let size = fragment_bytes(&self.header, self.at, self.packet_bytes);
        let payload = self.header.get(self.at..self.at + size).unwrap_or_default();
        self.at += size;
        let more = self.at < self.header.len();
        let flags = if more {
            DataHeader::HEADER_MORE
        } else {
            DataHeader::HEADER_LAST
        };
        out.clear();
        out.reserve_exact(DATA_HEADER_BYTES + payload.len());
        out.extend_from_slice(
            DataHeader::new(self.location, self.tag, flags, payload.len()).as_bytes(),
        );
        out.extend_from_slice(payload);
        self.location += 1;
        more
    }
}

/// Size of the fragment that begins at `at`.
fn fragment_bytes(header: &[u8], at: usize, packet_bytes: usize) -> usize {
    let left = header.len().saturating_sub(at);
    if left <= packet_bytes {
        return left;
    }
    let equal = left.div_ceil(left.div_ceil(packet_bytes));
    let largest = equal.min(left.saturating_sub(LAST_BYTES_MIN)).max(1);
    let is_safe = |size: &usize| !header[..at + size].ends_with(&[1, 1]);
    (1..=largest)
        .rev()
        .find(is_safe)
        .or_else(|| (largest..=packet_bytes).find(is_safe))
        .unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(header: &[u8], packet_bytes: u32) -> Vec<(DataHeader, Vec<u8>)> {
        use zerocopy::FromBytes;
        let mut fragments = Fragments::new(header.into(), packet_bytes, 2);
        let mut packets = Vec::new();
        loop {
            let mut out = Vec::new();
            let more = fragments.next(&mut out);
            let (head, payload) = DataHeader::read_from_prefix(&out).unwrap();
            assert_eq!(usize::from(head.packet_size.get()), out.len());
            packets.push((head, payload.to_vec()));
            if !more {
                return packets;
            }
        }
    }

    #[test]
    fn a_header_of_one_packet_is_one_fragment() {
        let packets = cut(&[7; 815], 1444);
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].0, DataHeader::new(0, 2, 0x0C, 815));
    }

    #[test]
    fn one_byte_too_much_makes_two_halves() {
        let packets = cut(&[7; 1445], 1444);
        let sizes: Vec<_> = packets.iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(sizes, [723, 722]);
        assert_eq!([packets[0].0.af_flags, packets[1].0.af_flags], [0x04, 0x0C]);
        assert_eq!(
            [
                packets[0].0.location_id.get(),
                packets[1].0.location_id.get()
            ],
            [0, 1]
        );
    }

    #[test]
    fn a_cut_after_01_01_moves() {
        let mut header = [7; 1200];
        header[598..600].fill(1); // seen at offset 600 of a real header (§3.3)
        let sizes: Vec<_> = cut(&header, 1000)
            .iter()
            .map(|(_, payload)| payload.len())
            .collect();
        assert_eq!(sizes, [599, 601]);
    }

    #[test]
    fn the_last_fragment_is_long_enough_for_vlc_even_with_tiny_packets() {
        let sizes: Vec<_> = cut(&[7; 51], 50)
            .iter()
            .map(|(_, payload)| payload.len())
            .collect();
        assert_eq!(sizes, [11, 40]);
    }

    proptest! {
        #[test]
        fn rules_hold_for_any_header(
            mut header in prop::collection::vec(prop_oneof![3 => Just(1u8), 2 => any::<u8>()], 60..3000),
            packet_bytes in 90u32..1500,
        ) {
            // No run of 01 longer than a packet, as in every real header.
            for byte in header.iter_mut().step_by(30) { *byte = 9; }
            let packets = cut(&header, packet_bytes);
            let joined: Vec<u8> = packets.iter().flat_map(|(_, payload)| payload.clone()).collect();
            prop_assert_eq!(&joined, &header);
            let mut sent = 0;
            for (index, (head, payload)) in packets.iter().enumerate() {
                let last = index + 1 == packets.len();
                sent += payload.len();
                prop_assert!(payload.len() <= packet_bytes as usize);
                prop_assert_eq!(head.af_flags, if last { 0x0C } else { 0x04 });
                prop_assert_eq!(head.location_id.get() as usize, index);
                prop_assert!(last || !header[..sent].ends_with(&[1, 1]));
                prop_assert!(!last || payload.len() >= 40);
            }
        }
    }
}
