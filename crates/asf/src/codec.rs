//! Codec tags of stream headers: their names for people, and how widely players can decode them.
//!
//! Tables: `docs/protocol/asf.md` §5.1 (audio format tags) and §5.2 (video FourCCs).

use std::fmt;

/// The codec a stream header names.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Codec {
    /// A `WAVEFORMATEX` format tag.
    Audio(u16),
    /// A `BITMAPINFOHEADER` FourCC, bytes in reading order.
    Video([u8; 4]),
    /// The stream type has no codec field: commands, pictures, files.
    None,
}

/// How widely a codec is understood: what the start-up warning "older players lack it" asks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// Windows Media 7/8, MPEG-4 V3, MP3: every player from Windows Media Player 6.4 on.
    Classic,
    /// Windows Media 9 and later: Windows players, and most open ones.
    WindowsMedia9,
    /// H.264, AAC and other codecs ASF merely carries: players built on FFmpeg or VLC.
    Modern,
    /// A tag this table does not know.
    Unknown,
}

impl Codec {
    /// The tag as one number: format tag, or FourCC with its first letter in the low byte; 0 without a codec.
    pub fn tag(&self) -> u32 {
        match *self {
            Codec::Audio(tag) => u32::from(tag),
            Codec::Video(four) => u32::from_le_bytes(four),
            Codec::None => 0,
        }
    }

    /// A short lower-case name: `wmv2`, `wma 2`, `h264`, `aac`; unknown tags in hexadecimal or as their FourCC.
    pub fn name(&self) -> String {
        match *self {
            Codec::Audio(tag) => match audio(tag) {
                Some((name, _)) => name.to_owned(),
                None => format!("0x{tag:04x}"),
            },
            Codec::Video(four) => match video(four) {
                Some((name, _)) => name.to_owned(),
                None if four.iter().all(u8::is_ascii_graphic) => four
                    .map(|letter| char::from(letter.to_ascii_lowercase()))
                    .iter()
                    .collect(),
                None => format!("0x{:08x}", self.tag()),
            },
            Codec::None => "none".to_owned(),
        }
    }

    /// How widely players decode it.
    pub fn family(&self) -> Family {
        let known = match *self {
            Codec::Audio(tag) => audio(tag),
            Codec::Video(four) => video(four),
            Codec::None => Some(("", Family::Classic)),
        };
        known.map_or(Family::Unknown, |(_, family)| family)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

fn audio(tag: u16) -> Option<(&'static str, Family)> {
    use Family::{Classic, Modern, WindowsMedia9};
    Some(match tag {
        0x0160 => ("wma 1", Classic),
        0x0161 => ("wma 2", Classic),
        0x0162 => ("wma pro", WindowsMedia9),
        0x0163 => ("wma lossless", WindowsMedia9),
        0x000A => ("wma voice", WindowsMedia9),
        0x0055 => ("mp3", Classic),
        0x0050 => ("mp2", Classic),
        0x0001 => ("pcm", Classic),
        0x0006 => ("a-law", Classic),
        0x0007 => ("mu-law", Classic),
        0x0011 => ("ima adpcm", Classic),
        0x0045 => ("g726", Modern),
        0x00FF | 0x1600 | 0x1602 | 0x1610 => ("aac", Modern),
        0x2000 => ("ac3", Modern),
        0xF1AC => ("flac", Modern),
        0x566F => ("vorbis", Modern),
        _ => return None,
    })
}

fn video(four: [u8; 4]) -> Option<(&'static str, Family)> {
    use Family::{Classic, Modern, WindowsMedia9};
    Some(match &four.map(|letter| letter.to_ascii_uppercase()) {
        b"WMV1" => ("wmv1", Classic),
        b"WMV2" => ("wmv2", Classic),
        b"WMV3" => ("wmv3", WindowsMedia9),
        b"WVC1" | b"WMVA" => ("vc1", WindowsMedia9),
        b"MP43" => ("msmpeg4v3", Classic),
        b"MP42" => ("msmpeg4v2", Classic),
        b"MP4S" | b"M4S2" => ("mpeg4", WindowsMedia9),
        b"H264" | b"X264" | b"AVC1" => ("h264", Modern),
        b"MJPG" => ("mjpeg", Modern),
        b"VP80" => ("vp8", Modern),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_families() {
        assert_eq!(Codec::Audio(0x161).name(), "wma 2");
        assert_eq!(Codec::Audio(0x4242).name(), "0x4242");
        assert_eq!(Codec::Video(*b"avc1").name(), "h264");
        assert_eq!(Codec::Video(*b"hevc").name(), "hevc");
        assert_eq!(Codec::Video([0; 4]).name(), "0x00000000");
        assert_eq!(Codec::Video(*b"WMV3").family(), Family::WindowsMedia9);
        assert!(Codec::Audio(0xFF).family() > Codec::Audio(0x55).family());
    }
}
