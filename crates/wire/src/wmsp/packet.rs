//! Framed packets: `$` and a letter, a length, and what the letter means (§6).

use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::mms::{DATA_HEADER_BYTES, DataHeader, HResult};

/// The letter of a packet. Those that are not named here are to be skipped.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PacketKind(pub u8);

impl PacketKind {
    /// `$H`: an ASF header, or a part of it.
    pub const HEADER: Self = Self(b'H');
    /// `$D`: one ASF packet.
    pub const DATA: Self = Self(b'D');
    /// `$M`: metadata of a playlist entry (§7).
    pub const METADATA: Self = Self(b'M');
    /// `$C`: another header follows; in a push it is inside.
    pub const CHANGE: Self = Self(b'C');
    /// `$E`: the end, of an entry or of everything.
    pub const END: Self = Self(b'E');
    /// `$P`: a packet of a packet pair. Comes only if it was asked for; its length is not what [`Packet::split`] takes it for.
    pub const PAIR: Self = Self(b'P');
    /// `$T`: the test of pipelining (§5.3).
    pub const PIPELINE_TEST: Self = Self(b'T');
    /// `$F`: filler at the end of a pushed body (§20.3).
    pub const FILLER: Self = Self(b'F');
}

/// The 4 bytes in front of every packet (§6.1).
///
/// ```text
/// | 0x24, or 0xA4 with the B bit | letter | length 2, of what follows |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PacketHead {
    /// What it is.
    pub kind: PacketKind,
    /// Bytes that follow.
    pub length: u16,
    /// The B bit: the next packet follows without delay. Fatal to most players.
    pub is_burst: bool,
}

impl PacketHead {
    /// Size on the wire.
    pub const BYTES: usize = 4;

    /// A head without the B bit.
    pub fn new(kind: PacketKind, length: u16) -> Self {
        Self {
            kind,
            length,
            is_burst: false,
        }
    }

    /// Reads a head; `None`: it does not begin with `$`, so packets and reader are out of step.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [mark, letter, low, high] = bytes;
        (mark & !BURST == MARK).then_some(Self {
            kind: PacketKind(letter),
            length: u16::from_le_bytes([low, high]),
            is_burst: mark & BURST != 0,
        })
    }

    /// The bytes.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let [low, high] = self.length.to_le_bytes();
        let mark = if self.is_burst { MARK | BURST } else { MARK };
        [mark, self.kind.0, low, high]
    }
}

const MARK: u8 = b'$';
const BURST: u8 = 0x80;

/// A whole packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: PacketKind,
    /// What its length counts.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a packet off the start of `bytes`, and says how many it has with its head. `None`: it is not complete.
    ///
    /// # Errors
    /// When there is no packet: nothing behind this place can be understood.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, OutOfStep> {
        let Some((head, rest)) = bytes.split_first_chunk() else {
            let is_begun = bytes.first().is_none_or(|first| first & !BURST == MARK);
            return is_begun.then_some(None).ok_or(OutOfStep);
        };
        let head = PacketHead::decode(*head).ok_or(OutOfStep)?;
        let body = rest.get(..head.length.into());
        Ok(body.map(|body| {
            let kind = head.kind;
            (Self { kind, body }, PacketHead::BYTES + body.len())
        }))
    }

    /// The part of a stream that a `$H`, `$M` or `$D` carries behind the 8 bytes of MMS (§6.2); not so in a push. `None`: it
    /// is too short.
    pub fn fragment(&self) -> Option<Fragment<'a>> {
        let (header, payload) = DataHeader::read_from_prefix(self.body).ok()?;
        Some(Fragment {
            location: header.location_id.get(),
            incarnation: header.play_incarnation,
            flags: header.af_flags,
            payload,
        })
    }

    /// The first 4 bytes, which `$E` and `$C` begin with; 0 if there are fewer.
    pub fn reason(&self) -> HResult {
        let reason = self.body.first_chunk().copied().unwrap_or_default();
        HResult(u32::from_le_bytes(reason))
    }
}

/// Packets and reader are out of step.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no packet begins here")]
pub struct OutOfStep;

/// What a `$H`, `$M` or `$D` carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fragment<'a> {
    /// `$D`: number of the ASF packet; else of the fragment, from 0.
    pub location: u32,
    /// Ignorable.
    pub incarnation: u8,
    /// `$D`: the server's count, modulo 256; else [`Self::FIRST`] and [`Self::LAST`].
    pub flags: u8,
    /// ASF packet, or part of the header or of the metadata.
    pub payload: &'a [u8],
}

impl Fragment<'_> {
    /// In the flags of the first fragment of several, or the only one.
    pub const FIRST: u8 = 0x04;
    /// In the flags of the last fragment, or the only one.
    pub const LAST: u8 = 0x08;

    /// Whether nothing of the header or of the metadata follows.
    pub fn is_last(&self) -> bool {
        self.flags & Self::LAST != 0
    }
}

/// Most bytes that one `$H`, `$M` or `$D` carries: the length has 16 bits.
pub const FRAGMENT_BYTES_MAX: usize = DataHeader::PAYLOAD_BYTES_MAX;

/// Appends a header (`$H`) or metadata (`$M`), in as few packets as it takes.
pub fn encode_fragments(kind: PacketKind, incarnation: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let last = bytes.len().div_ceil(FRAGMENT_BYTES_MAX).saturating_sub(1);
    for (index, payload) in bytes.chunks(FRAGMENT_BYTES_MAX).enumerate() {
        let first = if index == 0 { Fragment::FIRST } else { 0 };
        let flags = first | if index == last { Fragment::LAST } else { 0 };
        let location = u32::try_from(index).unwrap_or(u32::MAX);
        let header = DataHeader::new(location, incarnation, flags, payload.len());
        out.extend_from_slice(&PacketHead::new(kind, header.packet_size.get()).encode());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(payload);
    }
}

/// Appends a `$E` or `$C` with its reason.
pub fn encode_reason(kind: PacketKind, reason: HResult, out: &mut Vec<u8>) {
    out.extend_from_slice(&PacketHead::new(kind, 4).encode());
    out.extend_from_slice(&reason.0.to_le_bytes());
}

const _: () = assert!(DATA_HEADER_BYTES + FRAGMENT_BYTES_MAX == u16::MAX as usize);

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn packets_of_section_26() {
        let mut out = Vec::new();
        encode_fragments(PacketKind::HEADER, 0, &[0x30; 815], &mut out);
        assert_eq!(out[..12], hex!("24 48 37 03 00 00 00 00 00 0C 37 03"));
        let (packet, size) = Packet::split(&out).unwrap().unwrap();
        let fragment = packet.fragment().unwrap();
        assert_eq!((packet.kind, size), (PacketKind::HEADER, 827));
        assert_eq!(
            (fragment.payload, fragment.is_last()),
            (&[0x30; 815][..], true)
        );
        out.clear();
        encode_reason(PacketKind::END, HResult::S_OK, &mut out);
        assert_eq!(out, hex!("24 45 04 00 00 00 00 00"));
    }

    #[test]
    fn a_large_header_comes_in_fragments() {
        let header: Vec<u8> = (0..140_000u32).map(|n| n as u8).collect();
        let (mut out, mut read, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        encode_fragments(PacketKind::HEADER, 3, &header, &mut out);
        let mut rest = &out[..];
        while let Some((packet, size)) = Packet::split(rest).unwrap() {
            let fragment = packet.fragment().unwrap();
            assert_eq!(fragment.location as usize, flags.len());
            flags.push(fragment.flags);
            read.extend_from_slice(fragment.payload);
            rest = &rest[size..];
        }
        assert_eq!((flags, read == header), (vec![0x04, 0x00, 0x08], true));
    }

    #[test]
    fn the_b_bit_is_masked_and_all_else_is_out_of_step() {
        let burst = hex!("A4 44 0A 00 01 00 00 00 00 05 0A 00 AA BB 24");
        let (packet, size) = Packet::split(&burst).unwrap().unwrap();
        let fragment = packet.fragment().unwrap();
        assert_eq!((size, fragment.location, fragment.flags), (14, 1, 5));
        assert_eq!(fragment.payload, [0xAA, 0xBB]);
        assert_eq!(Packet::split(&burst[..13]), Ok(None));
        assert_eq!(Packet::split(&[]), Ok(None));
        assert_eq!(Packet::split(b"HTTP"), Err(OutOfStep));
        assert_eq!(Packet::split(b"\x25"), Err(OutOfStep));
    }

    #[test]
    fn the_end_of_ffmpeg_is_as_long_as_it_says() {
        let end = hex!("24 45 08 00 07 00 00 00 00 00 08 00");
        let (packet, size) = Packet::split(&end).unwrap().unwrap();
        assert_eq!((size, packet.reason()), (12, HResult(7))); // §22.3
        let short = hex!("24 45 00 00");
        assert_eq!(
            Packet::split(&short).unwrap().unwrap().0.reason(),
            HResult::S_OK
        );
    }
}
