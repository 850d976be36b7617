//! From the content of bodies to bytes that `funnel_asf::Deframer` takes.
//!
//! Plain ASF, and chunks as ffmpeg writes them, pass as they are. The packets of a push have no 8-byte heads (§20.2): they get them, once
//! whole, so that a run survives a connection that broke inside of one.

use funnel_asf::guid;
use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{FRAGMENT_BYTES_MAX, Packet, PacketKind, encode_fragments};

/// One run's content.
#[derive(Debug)]
pub(super) struct Media {
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// Passes.
    Whole,
    /// Packets of a push: what has come of one that is not complete, and whether there was a header.
    Push { partial: Vec<u8>, has_header: bool },
}

/// What the first bytes of a body are (§22.3, §25.8).
#[derive(Debug)]
pub(super) enum Beginning {
    /// Too few to say.
    Undecided,
    /// The beginning of a run.
    Header(Media),
    /// Something else: perhaps the next packets of a run.
    Middle,
}

/// What a piece of content brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Taken {
    /// Bytes taken: all, but for those behind an end.
    pub(super) bytes: usize,
    /// Something that restarts the idle timer (§20.4): not filler alone.
    pub(super) is_media: bool,
    /// `$E(1)` came last: a `$C` follows.
    pub(super) changes: bool,
    /// The run is over.
    pub(super) is_over: bool,
}

/// The content is not what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unusable;

impl Media {
    /// The body of a push, known by its content type.
    pub(super) fn of_push() -> Self {
        let framing = Framing::Push {
            partial: Vec::new(),
            has_header: false,
        };
        Self { framing }
    }

    /// Judges the first bytes of a body.
    pub(super) fn begin(bytes: &[u8]) -> Beginning {
        let whole = Self {
            framing: Framing::Whole,
        };
        let header = guid::HEADER.as_bytes();
        if bytes.starts_with(header) {
            return Beginning::Header(whole);
        }
        if bytes.len() < header.len() && header.starts_with(bytes) {
            return Beginning::Undecided;
        }
        match bytes {
            [b'$' | 0xA4] => Beginning::Undecided,
            [b'$' | 0xA4, b'H', ..] if bytes.len() < CHUNK_HEAD_BYTES + 4 => Beginning::Undecided,
            [b'$' | 0xA4, b'H', _, _, payload @ ..] if payload.starts_with(&header[..4]) => {
                Beginning::Header(Self::of_push())
            }
            [b'$' | 0xA4, b'H', ..] => Beginning::Header(whole),
            _ => Beginning::Middle,
        }
    }

    /// Takes content and appends what the deframer gets.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Taken, Unusable> {
        let Framing::Push {
            partial,
            has_header,
        } = &mut self.framing
        else {
            out.extend_from_slice(bytes);
            return Ok(Taken {
                bytes: bytes.len(),
                is_media: !bytes.is_empty(),
                ..Taken::default()
            });
        };
        let before = partial.len();
        partial.extend_from_slice(bytes);
        let mut taken = Taken {
            bytes: bytes.len(),
            ..Taken::default()
        };
        let mut at = 0;
        while let Some((packet, size)) = Packet::split(&partial[at..]).map_err(|_| Unusable)? {
            at += size;
            convert(packet, has_header, out, &mut taken)?;
            if taken.is_over {
                taken.bytes = at - before;
                partial.clear();
                return Ok(taken);
            }
        }
        partial.drain(..at);
        Ok(taken)
    }

    /// The body broke off, or ended, perhaps inside of a packet; another goes on with the next one.
    pub(super) fn cut(&mut self) {
        if let Framing::Push { partial, .. } = &mut self.framing {
            partial.clear();
        }
    }
}

/// One packet of a push (§20.2).
fn convert(
    packet: Packet<'_>,
    has_header: &mut bool,
    out: &mut Vec<u8>,
    taken: &mut Taken,
) -> Result<(), Unusable> {
    taken.changes = false;
    let header = match packet.kind {
        PacketKind::HEADER => packet.body,
        PacketKind::CHANGE => packet.body.get(4..).ok_or(Unusable)?,
        PacketKind::DATA if *has_header && packet.body.len() <= FRAGMENT_BYTES_MAX => {
            taken.is_media = true;
            encode_fragments(PacketKind::DATA, 0, packet.body, out);
            return Ok(());
        }
        PacketKind::DATA => return Err(Unusable),
        PacketKind::END => {
            taken.changes = packet.reason() == ENTRY_OVER;
            taken.is_over = !taken.changes;
            return Ok(());
        }
        // $F, and what is not known.
        _ => return Ok(()),
    };
    (*has_header, taken.is_media) = (true, true);
    encode_fragments(PacketKind::HEADER, 0, header, out);
    Ok(())
}

/// Reason in `$E`: only the entry is over, a `$C` follows.
const ENTRY_OVER: HResult = HResult(1);
/// Packet head and the 8 bytes of MMS.
const CHUNK_HEAD_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use funnel_asf::{Deframer, Item};

    use super::*;

    const FILE: &[u8] = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/media/tiny-audio.asf"
    ));

    /// Header and packets of a file.
    fn parts() -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut deframer = Deframer::new();
        deframer.push(FILE);
        let mut packets = Vec::new();
        let mut header = Vec::new();
        while let Ok(Some(item)) = deframer.next() {
            match item {
                Item::Header(found) => header = found.bytes().to_vec(),
                Item::Packet(packet) => packets.push(packet.to_vec()),
                Item::End => break,
            }
        }
        (header, packets)
    }

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_le_bytes();
        [&[b'$', kind], &length[..], body].concat()
    }

    #[test]
    fn packets_of_a_push_reach_the_deframer_whole_at_any_split() {
        let (header, packets) = parts();
        let trimmed = &packets[1];
        let body = [
            packet(b'H', &header),
            packet(b'D', &packets[0]),
            packet(b'F', &[0; 7]),
            packet(b'E', &1u32.to_le_bytes()),
            packet(b'C', &[&[0; 4][..], &header].concat()),
            packet(b'D', trimmed),
            packet(b'E', &[0; 4]),
            b"POST".to_vec(),
        ]
        .concat();
        for step in [1, 2, 3, 5, 100, 4096, body.len()] {
            let mut media = Media::of_push();
            let (mut out, mut over, mut taken_bytes) = (Vec::new(), false, 0);
            for piece in body.chunks(step) {
                let taken = media.take(piece, &mut out).unwrap();
                taken_bytes += taken.bytes;
                if taken.is_over {
                    over = true;
                    break;
                }
            }
            assert!(over && taken_bytes == body.len() - 4, "step {step}");
            let mut deframer = Deframer::new();
            deframer.push(&out);
            let mut seen = Vec::new();
            while let Some(item) = deframer.next().unwrap() {
                seen.push(match item {
                    Item::Header(header) => header.bytes().to_vec(),
                    Item::Packet(packet) => packet.to_vec(),
                    Item::End => panic!("the end is not media"),
                });
            }
            let sent = [&header, &packets[0], &header, &packets[1]];
            assert!(seen.iter().eq(sent), "step {step}");
        }
    }

    #[test]
    fn only_filler_is_no_media_and_an_entry_that_is_over_is_told() {
        let (header, packets) = parts();
        let (mut media, mut out) = (Media::of_push(), Vec::new());
        let mut take = |bytes: &[u8]| media.take(bytes, &mut out).unwrap();
        assert!(take(&packet(b'H', &header)).is_media);
        assert!(!take(&packet(b'F', &[0; 100])).is_media);
        let taken = take(&packet(b'E', &1u32.to_le_bytes()));
        assert!(taken.changes && !taken.is_over && !taken.is_media);
        assert!(!take(&packet(b'F', &[])).changes);
        assert!(take(&packet(b'D', &packets[0])).is_media);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (mut media, mut out) = (Media::of_push(), Vec::new());
        assert_eq!(media.take(&packet(b'D', &[0; 9]), &mut out), Err(Unusable));
        for bytes in [&b"%"[..], b"POST", &packet(b'C', &[0; 3])] {
            assert_eq!(Media::of_push().take(bytes, &mut out), Err(Unusable));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_beginning_is_told_by_its_first_bytes() {
        let (header, _) = parts();
        let chunk = |head: &[u8]| [b"$H\x28\x01", head, &header].concat();
        for (bytes, enough) in [(header.clone(), 16), (chunk(&[]), 16), (chunk(&[0; 8]), 16)] {
            for length in 0..enough {
                let begun = Media::begin(&bytes[..length]);
                assert!(matches!(begun, Beginning::Undecided), "{length}: {begun:?}");
            }
            assert!(matches!(Media::begin(&bytes), Beginning::Header(_)));
        }
        let is_push = |bytes: &[u8]| match Media::begin(bytes) {
            Beginning::Header(media) => matches!(media.framing, Framing::Push { .. }),
            _ => false,
        };
        assert!(is_push(&chunk(&[])) && !is_push(&chunk(&[0; 8])) && !is_push(&header));
        for bytes in [&b"\x82\x00\x00"[..], b"0&\xB3", b"$D", b"POST", b"\x00"] {
            assert!(
                matches!(Media::begin(bytes), Beginning::Middle),
                "{bytes:?}"
            );
        }
    }
}
