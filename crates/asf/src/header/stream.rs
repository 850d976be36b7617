//! One stream of a header: Stream Properties, and what its Extended Stream Properties add.
//!
//! Layouts: `docs/protocol/asf.md` §3.2, §4.1, §5.

use crate::bytes::{Cursor, guid_at, slice_at, u16_at, u32_at, u64_at};
use crate::codec::Codec;
use crate::guid::{self, Guid};
use crate::header::HeaderError;

/// A stream as its header objects describe it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stream {
    /// 1…127.
    pub number: u8,
    /// What it carries.
    pub kind: StreamKind,
    /// Its codec tag.
    pub codec: Codec,
    /// bit/s, 0 when no header object says (video of FFmpeg's muxer).
    pub bit_rate: u32,
    /// Bit 15 of the stream flags: payloads are encrypted.
    pub encrypted: bool,
    /// Declared only inside an Extended Stream Properties Object.
    pub hidden: bool,
    /// Flag 4 of the Extended Stream Properties: its key-frame bits mean nothing.
    pub no_clean_points: bool,
    /// Added to every time of the stream, ms; normally 0.
    pub time_offset_ms: u32,
    /// Stream type GUID.
    pub type_id: Guid,
    /// Type-specific data, as received.
    pub type_data: Box<[u8]>,
    /// Payload extension systems, in the order of their data in each payload.
    pub extensions: Box<[Extension]>,
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamKind {
    /// Pictures with key frames.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Sound.
    Audio {
        /// 1 = mono.
        channels: u16,
        /// Hz.
        sample_rate: u32,
    },
    /// Script commands.
    Command,
    /// Still pictures, files, web pages, unknown types.
    Other,
}

/// A payload extension system (§4.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extension {
    /// Which system.
    pub id: Guid,
    /// Bytes per payload; 0xFFFF: a `u16` length precedes the data.
    pub size: u16,
}

impl Stream {
    /// True for video, whose objects may depend on earlier ones.
    pub fn is_video(&self) -> bool {
        matches!(self.kind, StreamKind::Video { .. })
    }

    /// True for audio.
    pub fn is_audio(&self) -> bool {
        matches!(self.kind, StreamKind::Audio { .. })
    }

    /// Codec-private bytes behind WAVEFORMATEX or BITMAPINFOHEADER; empty when there are none.
    pub fn codec_data(&self) -> &[u8] {
        match self.kind {
            StreamKind::Video { .. } => self.type_data.get(51..).unwrap_or_default(),
            StreamKind::Audio { .. } => self.type_data.get(18..).unwrap_or_default(),
            _ => &[],
        }
    }

    /// From a whole Stream Properties Object, GUID included.
    pub(super) fn parse(object: &[u8], hidden: bool) -> Result<Stream, HeaderError> {
        let short = HeaderError::ObjectTooShort {
            object: "Stream Properties",
            size: object.len(),
        };
        if object.len() < 78 {
            return Err(short);
        }
        let type_id = guid_at(object, 24).ok_or(short.clone())?;
        let time_offset = u64_at(object, 56).ok_or(short.clone())?;
        let type_bytes = u32_at(object, 64).ok_or(short.clone())?;
        let correction_bytes = u32_at(object, 68).ok_or(short.clone())?;
        let flags = u16_at(object, 72).ok_or(short)?;
        let number = (flags & 0x7F) as u8;
        if number == 0 {
            return Err(HeaderError::StreamNumberZero);
        }
        if 78 + u64::from(type_bytes) + u64::from(correction_bytes) > object.len() as u64 {
            return Err(HeaderError::StreamDataOverrun { stream: number });
        }
        let type_data = slice_at(object, 78, type_bytes as usize)
            .ok_or(HeaderError::StreamDataOverrun { stream: number })?;
        let (kind, codec, bit_rate) = describe(type_id, type_data)
            .ok_or(HeaderError::StreamDataTooShort { stream: number })?;
        Ok(Stream {
            number,
            kind,
            codec,
            bit_rate,
            encrypted: flags & 0x8000 != 0,
            hidden,
            no_clean_points: false,
            time_offset_ms: u32::try_from(time_offset / 10_000).unwrap_or(0),
            type_id,
            type_data: type_data.into(),
            extensions: Box::default(),
        })
    }
}

/// Kind, codec and the bit rate the type-specific data itself states; `None` when it is shorter than its type asks.
fn describe(type_id: Guid, data: &[u8]) -> Option<(StreamKind, Codec, u32)> {
    match type_id {
        guid::AUDIO_MEDIA => {
            slice_at(data, 0, 16)?;
            let kind = StreamKind::Audio {
                channels: u16_at(data, 2)?,
                sample_rate: u32_at(data, 4)?,
            };
            Some((
                kind,
                Codec::Audio(u16_at(data, 0)?),
                u32_at(data, 8)?.saturating_mul(8),
            ))
        }
        guid::VIDEO_MEDIA => {
            slice_at(data, 0, 51)?;
            let format_bytes = usize::from(u16_at(data, 9)?);
            if format_bytes < 40 || 11 + format_bytes > data.len() {
                return None;
            }
            let kind = StreamKind::Video {
                width: u32_at(data, 0)?,
                height: u32_at(data, 4)?,
            };
            Some((kind, Codec::Video(u32_at(data, 27)?.to_le_bytes()), 0))
        }
        guid::COMMAND_MEDIA => Some((StreamKind::Command, Codec::None, 0)),
        _ => Some((StreamKind::Other, Codec::None, 0)),
    }
}

/// What an Extended Stream Properties Object says about a stream.
#[derive(Debug)]
pub(super) struct Extended<'a> {
    pub(super) stream: u8,
    pub(super) bit_rate: u32,
    pub(super) no_clean_points: bool,
    pub(super) extensions: Vec<Extension>,
    /// The embedded Stream Properties Object, whole, and where it begins in this object.
    pub(super) embedded: Option<(usize, &'a [u8])>,
}

impl<'a> Extended<'a> {
    /// From a whole Extended Stream Properties Object; `None` when its lengths contradict each other.
    pub(super) fn parse(object: &'a [u8]) -> Option<Extended<'a>> {
        let mut cursor = Cursor::new(object);
        cursor.take(88)?;
        for _ in 0..u16_at(object, 84)? {
            cursor.u16()?;
            let bytes = cursor.u16()?;
            cursor.take(usize::from(bytes))?;
        }
        let mut extensions = Vec::new();
        for _ in 0..u16_at(object, 86)? {
            let id = guid_at(cursor.take(16)?, 0)?;
            let size = cursor.u16()?;
            let info_bytes = cursor.u32()?;
            cursor.take(usize::try_from(info_bytes).ok()?)?;
            extensions.push(Extension { id, size });
        }
        let at = cursor.at();
        let embedded = (cursor.rest() >= 78
            && guid_at(object, at) == Some(guid::STREAM_PROPERTIES))
        .then(|| usize::try_from(u64_at(object, at + 16)?).ok())
        .flatten()
        .and_then(|size| slice_at(object, at, size))
        .map(|embedded| (at, embedded));
        Some(Extended {
            stream: (u16_at(object, 72)? & 0x7F) as u8,
            bit_rate: u32_at(object, 40)?,
            no_clean_points: u32_at(object, 68)? & 4 != 0,
            extensions,
            embedded,
        })
    }
}
