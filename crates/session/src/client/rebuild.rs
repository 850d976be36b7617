//! Gives a shortened ASF packet its full size back (§3.5).
//!
//! A server may cut the padding. Filling up with zeros is right only if the packet says itself where its payloads end:
//! with an explicit Packet Length, or a Padding Length that counts the zeros. Where it does not, the Padding Length is
//! corrected, or put in. Layout: `docs/protocol/asf.md` §6.

/// Writes the packet with `packet_bytes` bytes into `out`. Returns false, with the zeros at the end all the same, if the
/// packet cannot be understood or has no room for the missing field.
pub fn full_size_packet(received: &[u8], packet_bytes: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    out.extend_from_slice(received);
    let missing = packet_bytes.saturating_sub(received.len());
    let is_right = missing == 0 || count_padding(out, missing).is_some();
    out.resize(packet_bytes.max(received.len()), 0);
    is_right
}

/// Makes the Padding Length of a packet without explicit Packet Length count `missing` bytes more than are there.
fn count_padding(packet: &mut Vec<u8>, missing: usize) -> Option<()> {
    let fields = Fields::read(packet)?;
    if fields.has_packet_length {
        return Some(());
    }
    let known = fields
        .padding
        .and_then(|width| read(packet, fields.padding_at, width));
    match (fields.padding, known) {
        (Some(_), Some(known)) if known == missing => Some(()), // cut, length left as it was
        (Some(width), Some(known)) if known == 0 && (width > 1 || missing <= 0xFF) => {
            write(packet, fields.padding_at, width, missing)
        }
        (Some(1), Some(0)) => {
            // One byte more for the field, one less of padding.
            packet.insert(fields.padding_at + 1, 0);
            set_padding_width(packet, fields.flags_at, 2)?;
            write(packet, fields.padding_at, 2, missing - 1)
        }
        (None, _) => {
            let width: u8 = if missing <= 0x100 { 1 } else { 2 };
            for _ in 0..width {
                packet.insert(fields.padding_at, 0);
            }
            set_padding_width(packet, fields.flags_at, width)?;
            write(
                packet,
                fields.padding_at,
                width.into(),
                missing - usize::from(width),
            )
        }
        _ => None,
    }
}

/// Where the length fields of a packet are.
struct Fields {
    flags_at: usize,
    has_packet_length: bool,
    /// Width of the Padding Length in bytes.
    padding: Option<usize>,
    padding_at: usize,
}

impl Fields {
    fn read(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        // Error-correction data: bit 7, its size in the low nibble.
        let flags_at = if first & 0x80 != 0 {
            1 + usize::from(first & 0x0F)
        } else {
            0
        };
        let flags = *packet.get(flags_at)?;
        let packet_length = width(flags >> 5);
        let padding_at = flags_at + 2 + packet_length.unwrap_or(0) + width(flags >> 1).unwrap_or(0);
        let padding = width(flags >> 3);
        (packet.len() >= padding_at + padding.unwrap_or(0)).then_some(Self {
            flags_at,
            has_packet_length: packet_length.is_some(),
            padding,
            padding_at,
        })
    }
}

/// A length type: 0 absent, 1 byte, 2 word, 3 dword.
fn width(length_type: u8) -> Option<usize> {
    match length_type & 3 {
        0 => None,
        3 => Some(4),
        bytes => Some(bytes.into()),
    }
}

fn set_padding_width(packet: &mut [u8], flags_at: usize, width: u8) -> Option<()> {
    let flags = packet.get_mut(flags_at)?;
    *flags = *flags & !0x18 | width << 3;
    Some(())
}

fn read(packet: &[u8], at: usize, width: usize) -> Option<usize> {
    let bytes = packet.get(at..at + width)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | usize::from(*byte)),
    )
}

fn write(packet: &mut [u8], at: usize, width: usize, value: usize) -> Option<()> {
    let bytes = packet.get_mut(at..at + width)?;
    let value = u32::try_from(value).ok()?.to_le_bytes();
    bytes.copy_from_slice(value.get(..width)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    fn rebuilt(received: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let is_right = full_size_packet(received, size, &mut out);
        assert_eq!(out.len(), size.max(received.len()));
        (out, is_right)
    }

    #[test]
    fn a_full_packet_is_left_alone() {
        let packet = hex!("82 00 00 09 5D 00 01 02 03 04 05 06 AA BB");
        assert_eq!(rebuilt(&packet, packet.len()), (packet.to_vec(), true));
    }

    #[test]
    fn explicit_packet_length_and_true_padding_only_need_zeros() {
        let explicit = hex!("82 00 00 48 5D 0E 00 00 01 02 03 04 05 06 AA");
        let (out, is_right) = rebuilt(&explicit, 20);
        assert_eq!(
            (&out[..15], &out[15..], is_right),
            (&explicit[..], &[0; 5][..], true)
        );
        let honest = hex!("82 00 00 08 5D 05 01 02 03 04 05 06 AA");
        let (out, is_right) = rebuilt(&honest, 18);
        assert_eq!((&out[..13], is_right), (&honest[..], true));
    }

    #[test]
    fn a_zeroed_padding_length_is_set_right() {
        let byte = hex!("82 00 00 08 5D 00 01 02 03 04 05 06 AA");
        assert_eq!(rebuilt(&byte, 20).0[5], 7);
        let word = hex!("82 00 00 10 5D 00 00 01 02 03 04 05 06 AA");
        assert_eq!(rebuilt(&word, 14 + 0x123).0[5..7], [0x23, 0x01]);
    }

    #[test]
    fn a_byte_too_small_becomes_a_word() {
        let byte = hex!("82 00 00 08 5D 00 01 02 03 04 05 06 AA");
        let (out, is_right) = rebuilt(&byte, 13 + 300);
        assert_eq!(
            (out[3], &out[5..7], &out[7..14], is_right),
            (0x10, &299u16.to_le_bytes()[..], &byte[6..], true)
        );
    }

    #[test]
    fn a_missing_padding_length_is_put_in() {
        let none = hex!("82 00 00 00 5D 01 02 03 04 05 06 AA");
        for (missing, width, flags) in [
            (1usize, 1usize, 0x08u8),
            (256, 1, 0x08),
            (257, 2, 0x10),
            (900, 2, 0x10),
        ] {
            let (out, is_right) = rebuilt(&none, none.len() + missing);
            assert!(is_right);
            assert_eq!(out[3], flags, "{missing}");
            assert_eq!(read(&out, 5, width), Some(missing - width), "{missing}");
            assert_eq!(out[5 + width..5 + width + 7], none[5..], "{missing}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        assert_eq!(rebuilt(&[], 5), (vec![0; 5], false));
        assert!(!rebuilt(&[0x8F], 5).1);
        assert!(
            !rebuilt(&hex!("82 00 00 08 5D 63 01 02"), 20).1,
            "padding that is neither 0 nor what is missing"
        );
    }
}
