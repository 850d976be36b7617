//! Key frames told from the first bytes of an object, for streams whose key-frame bits lie.
//!
//! Tests: `docs/protocol/asf.md` §5.3. Never used on encrypted streams. WMV3 and VC-1 cannot be told this way.

use crate::codec::Codec;
use crate::header::Stream;

/// How to tell a key frame of one stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sniffer {
    /// The bitstream does not tell: trust the flag.
    Blind,
    /// WMV2: top bit of the first byte is 0.
    Wmv2,
    /// WMV1, MS-MPEG-4 v2 and v3: top two bits are 00.
    MsMpeg4,
    /// H.264 with start codes: a NAL unit of type 5.
    H264AnnexB,
    /// H.264 with four-byte lengths: a NAL unit of type 5.
    H264Avcc,
    /// MPEG-4 part 2: the two bits after `00 00 01 B6`.
    Mpeg4,
    /// VP8: lowest bit of the first byte is 0.
    Vp8,
    /// Every object stands alone.
    Always,
}

impl Sniffer {
    /// The test that fits a stream.
    pub fn of(stream: &Stream) -> Sniffer {
        let Codec::Video(four) = stream.codec else {
            return Sniffer::Blind;
        };
        if stream.encrypted {
            return Sniffer::Blind;
        }
        match &four.map(|letter| letter.to_ascii_uppercase()) {
            b"WMV2" => Sniffer::Wmv2,
            b"WMV1" | b"MP43" | b"MP42" => Sniffer::MsMpeg4,
            b"H264" | b"X264" | b"AVC1" => match stream.codec_data().first() {
                Some(1) => Sniffer::H264Avcc,
                _ => Sniffer::H264AnnexB,
            },
            b"MP4S" | b"M4S2" => Sniffer::Mpeg4,
            b"VP80" => Sniffer::Vp8,
            b"MJPG" => Sniffer::Always,
            _ => Sniffer::Blind,
        }
    }

    /// Whether the object that begins with `data` (its first fragment is enough) is a key frame; `None`: cannot tell.
    pub fn is_key(self, data: &[u8]) -> Option<bool> {
        let first = *data.first()?;
        match self {
            Sniffer::Blind => None,
            Sniffer::Wmv2 => Some(first & 0x80 == 0),
            Sniffer::MsMpeg4 => Some(first & 0xC0 == 0),
            Sniffer::H264AnnexB => slice_type(annex_b(data)),
            Sniffer::H264Avcc => slice_type(avcc(data)),
            Sniffer::Mpeg4 => {
                let at = data.windows(4).position(|code| code == [0, 0, 1, 0xB6])?;
                Some(data.get(at + 4)? & 0xC0 == 0)
            }
            Sniffer::Vp8 => Some(first & 1 == 0),
            Sniffer::Always => Some(true),
        }
    }
}

/// Key when a slice of an IDR picture comes, not when one of another picture does; undecided before either.
fn slice_type(mut headers: impl Iterator<Item = u8>) -> Option<bool> {
    headers.find_map(|header| match header & 0x1F {
        5 => Some(true),
        1..=4 => Some(false),
        _ => None,
    })
}

/// First byte of each NAL unit behind a start code.
fn annex_b(data: &[u8]) -> impl Iterator<Item = u8> {
    data.windows(4)
        .filter(|code| code[..3] == [0, 0, 1])
        .map(|code| code[3])
}

/// First byte of each NAL unit behind a length.
fn avcc(mut data: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<4>()?;
        let header = *rest.first()?;
        data = rest
            .get(u32::from_be_bytes(*length) as usize..)
            .unwrap_or_default();
        Some(header)
    })
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn each_codec_tells_its_key_frames() {
        let cases: [(Sniffer, &[u8], Option<bool>); 14] = [
            (Sniffer::Wmv2, &[0x7F], Some(true)),
            (Sniffer::Wmv2, &[0x80], Some(false)),
            (Sniffer::MsMpeg4, &[0x3F], Some(true)),
            (Sniffer::MsMpeg4, &[0x40], Some(false)),
            (
                Sniffer::H264AnnexB,
                &hex!("00000001 67 42 000001 68 00 000001 65 88"),
                Some(true),
            ),
            (
                Sniffer::H264AnnexB,
                &hex!("00000001 09 10 00000001 41 9A"),
                Some(false),
            ),
            (Sniffer::H264AnnexB, &hex!("00000001 06 05 FF"), None),
            (
                Sniffer::H264Avcc,
                &hex!("00000002 6742 00000003 658800"),
                Some(true),
            ),
            (Sniffer::H264Avcc, &hex!("FFFFFFFF 06 05"), None),
            (Sniffer::Mpeg4, &hex!("000001B0 F5 000001B6 10"), Some(true)),
            (Sniffer::Mpeg4, &hex!("000001B6 50"), Some(false)),
            (Sniffer::Vp8, &[1], Some(false)),
            (Sniffer::Always, &[0xFF], Some(true)),
            (Sniffer::Wmv2, &[], None),
        ];
        for (sniffer, data, key) in cases {
            assert_eq!(sniffer.is_key(data), key, "{sniffer:?} {data:02x?}");
        }
    }
}
