//! The ASF header: parsed, checked, kept together with the first 50 bytes of the Data Object, as every protocol of the
//! family sends it.
//!
//! Promises: a [`Header`] that exists obeys every limit of `docs/protocol/asf.md` §18, and nothing in the bytes made
//! the parser allocate more than a small multiple of them. Damage in objects that only inform (texts, codec names) is
//! passed over; damage in the structure refuses the header. Rewriting for the wire is [`live`]'s job.

mod error;
pub mod live;
mod sacrifice;
mod stream;
mod walk;

use crate::bytes::{Cursor, guid_at, u16_at, u32_at, u64_at, utf16};
use crate::guid;
use crate::selection::stream_bit;

pub use self::error::HeaderError;
pub use self::stream::{Extension, Stream, StreamKind};
pub(crate) use self::walk::{Child, children};

/// Bytes of the Data Object that belong to "the header" on the wire (§1).
pub const DATA_HEAD_BYTES: usize = 50;

/// A parsed and validated Header Object with the first 50 bytes of the Data Object.
#[derive(Clone, Debug)]
pub struct Header {
    bytes: Box<[u8]>,
    streams: Box<[Stream]>,
    file: FileProperties,
    description: Description,
    encrypted: bool,
}

/// Texts of the Content Description Object; empty where absent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Description {
    /// Title.
    pub title: String,
    /// Author.
    pub author: String,
    /// Copyright.
    pub copyright: String,
    /// Description.
    pub comment: String,
}

impl Header {
    /// How many bytes the header has, Data Object head included, once 24 bytes are at hand; `None` before.
    ///
    /// # Errors
    /// The bytes are no ASF header, or its size is outside [`HEADER_BYTES_MIN`]…[`HEADER_BYTES_MAX`].
    pub fn wire_size(prefix: &[u8]) -> Result<Option<usize>, HeaderError> {
        let known = prefix.len().min(16);
        if prefix[..known] != guid::HEADER.as_bytes()[..known] {
            return Err(HeaderError::NotAsf);
        }
        let Some(size) = u64_at(prefix, 16) else {
            return Ok(None);
        };
        match usize::try_from(size) {
            Ok(size) if (HEADER_BYTES_MIN..=HEADER_BYTES_MAX).contains(&size) => {
                Ok(Some(size + DATA_HEAD_BYTES))
            }
            _ => Err(HeaderError::HeaderSize { size }),
        }
    }

    /// Parses and checks a header; `bytes` may go on behind it.
    ///
    /// # Errors
    /// The first rule of §18 that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
        let size = Self::wire_size(bytes)?.ok_or(HeaderError::Truncated { have: bytes.len() })?;
        let header_size = size - DATA_HEAD_BYTES;
        let object = bytes
            .get(..header_size)
            .ok_or(HeaderError::Truncated { have: bytes.len() })?;
        if object[29] != 2 {
            return Err(HeaderError::Reserved { value: object[29] });
        }
        let mut draft = Draft::default();
        for child in children(object, HEADER_BYTES_MIN) {
            draft.child(child?, true)?;
        }
        if guid_at(bytes, header_size).is_none_or(|id| id != guid::DATA) {
            return Err(HeaderError::NoDataObject);
        }
        let whole = bytes
            .get(..size)
            .ok_or(HeaderError::Truncated { have: bytes.len() })?;
        draft.finish(whole)
    }

    /// The Header Object and the first 50 bytes of the Data Object, as parsed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Size of every data packet, 32…65,527 bytes.
    pub fn packet_bytes(&self) -> u32 {
        self.file.packet_bytes
    }

    /// What a player buffers before it plays; added to every presentation time. ms.
    pub fn preroll_ms(&self) -> u32 {
        self.file.preroll_ms
    }

    /// Sum over the streams, bit/s: the stream records where all are known, else the header's own maximum.
    pub fn bit_rate(&self) -> u32 {
        let sum = self
            .streams
            .iter()
            .fold(0u32, |sum, stream| sum.saturating_add(stream.bit_rate));
        if self.streams.iter().all(|stream| stream.bit_rate != 0) {
            sum
        } else {
            sum.max(self.file.plausible_bit_rate())
        }
    }

    /// Every stream, hidden ones included, in the order of the header.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// One stream by its number.
    pub fn stream(&self, number: u8) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.number == number)
    }

    /// Bit n is set when stream n exists.
    pub fn stream_mask(&self) -> u128 {
        self.streams
            .iter()
            .fold(0, |mask, stream| mask | stream_bit(stream.number))
    }

    /// True when the broadcast flag is set: counts and durations of the header mean nothing.
    pub fn is_broadcast(&self) -> bool {
        self.file.flags & 1 != 0
    }

    /// Data Packets Count as written; meaningless when [`is_broadcast`](Self::is_broadcast).
    pub fn packets_count(&self) -> u64 {
        self.file.packets_count
    }

    /// Length of the show in ms (play duration less the preroll); 0 for a broadcast.
    pub fn play_duration_ms(&self) -> u64 {
        if self.is_broadcast() {
            return 0;
        }
        (self.file.play_duration / 10_000).saturating_sub(u64::from(self.file.preroll_ms))
    }

    /// Size of the Data Object as written there, its 50-byte head included.
    pub fn data_object_size(&self) -> u64 {
        u64_at(&self.bytes, self.bytes.len() - DATA_HEAD_BYTES + 16).unwrap_or(0)
    }

    /// Texts for people.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// True when any part is under content protection: payloads are opaque, DRM objects must stay as they are.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// True when viewers of one header can go on with the other's packets: same streams (number, type, type-specific
    /// data), packet size and preroll. File ID, dates, texts and bit rates do not matter.
    pub fn equivalent(&self, other: &Header) -> bool {
        let same = |a: &Stream, b: &Stream| {
            a.type_id == b.type_id && a.type_data == b.type_data && a.encrypted == b.encrypted
        };
        self.packet_bytes() == other.packet_bytes()
            && self.preroll_ms() == other.preroll_ms()
            && self.streams.len() == other.streams.len()
            && self.streams.iter().all(|stream| {
                other
                    .stream(stream.number)
                    .is_some_and(|twin| same(stream, twin))
            })
    }
}

/// How many whole data packets a file of `file_bytes` can hold behind this header (§6.1).
///
/// `data_object_size` is believed unless the header is a broadcast's or the file is too short for it. Then the count
/// is what fits: the reader must stop at the first packet that [`ends_data`](crate::packet::ends_data).
pub fn data_packets(header: &Header, file_bytes: u64, data_object_size: u64) -> u64 {
    let before = header.bytes().len() as u64;
    let at_hand = file_bytes.saturating_sub(before);
    let declared = data_object_size.saturating_sub(DATA_HEAD_BYTES as u64);
    let held = if !header.is_broadcast() && (1..=at_hand).contains(&declared) {
        declared
    } else {
        at_hand
    };
    held / u64::from(header.packet_bytes())
}

/// File Properties (§3.1), the fields a server uses.
#[derive(Clone, Copy, Debug)]
struct FileProperties {
    packets_count: u64,
    play_duration: u64,
    preroll_ms: u32,
    flags: u32,
    packet_bytes: u32,
    bit_rate: u32,
}

impl FileProperties {
    fn parse(object: &[u8]) -> Result<FileProperties, HeaderError> {
        let short = || HeaderError::ObjectTooShort {
            object: "File Properties",
            size: object.len(),
        };
        let (minimum, maximum) = (
            u32_at(object, 92).ok_or_else(short)?,
            u32_at(object, 96).ok_or_else(short)?,
        );
        if minimum != maximum || !(PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&maximum) {
            return Err(HeaderError::PacketSize { minimum, maximum });
        }
        let preroll_ms = u64_at(object, 80).ok_or_else(short)?;
        if preroll_ms >= 1 << 31 {
            return Err(HeaderError::Preroll { preroll_ms });
        }
        Ok(FileProperties {
            packets_count: u64_at(object, 56).ok_or_else(short)?,
            play_duration: u64_at(object, 64).ok_or_else(short)?,
            preroll_ms: preroll_ms as u32,
            flags: u32_at(object, 88).ok_or_else(short)?,
            packet_bytes: maximum,
            bit_rate: u32_at(object, 100).ok_or_else(short)?,
        })
    }

    /// The maximum bit rate unless it is one of the muxers' "unknown" values (FFmpeg 0xFFFFFFFF, VLC 1, GStreamer 0).
    fn plausible_bit_rate(&self) -> u32 {
        if (2..=1 << 30).contains(&self.bit_rate) {
            self.bit_rate
        } else {
            0
        }
    }
}

/// What the walk over the children gathers before a [`Header`] can exist.
#[derive(Default)]
struct Draft {
    file: Option<FileProperties>,
    streams: Vec<Stream>,
    extended: Vec<(u8, u32, bool, Vec<Extension>)>,
    rates: Vec<(u8, u32)>,
    description: Description,
    encrypted: bool,
}

impl Draft {
    /// Takes one child in; `top`: it stands directly in the Header Object, where a Header Extension may follow.
    fn child(&mut self, child: Child<'_>, top: bool) -> Result<(), HeaderError> {
        match child.id {
            guid::FILE_PROPERTIES => self.file(child.object)?,
            guid::STREAM_PROPERTIES => self.stream(Stream::parse(child.object, false)?)?,
            guid::HEADER_EXTENSION if top => {
                let end = walk::extension_end(child.object)?;
                for inner in children(&child.object[..end], walk::EXTENSION_HEAD_BYTES) {
                    self.child(inner?, false)?;
                }
            }
            guid::EXTENDED_STREAM_PROPERTIES => self.extended_stream(child.object)?,
            guid::STREAM_BITRATE_PROPERTIES => self.rates = bit_rate_records(child.object),
            guid::CONTENT_DESCRIPTION => {
                self.description = description(child.object).unwrap_or_default()
            }
            guid::CONTENT_ENCRYPTION
            | guid::EXTENDED_CONTENT_ENCRYPTION
            | guid::EXTENDED_CONTENT_ENCRYPTION_2
            | guid::ADVANCED_CONTENT_ENCRYPTION => self.encrypted = true,
            _ => {}
        }
        Ok(())
    }

    fn file(&mut self, object: &[u8]) -> Result<(), HeaderError> {
        match self.file.replace(FileProperties::parse(object)?) {
            Some(_) => Err(HeaderError::FilePropertiesTwice),
            None => Ok(()),
        }
    }

    fn stream(&mut self, stream: Stream) -> Result<(), HeaderError> {
        if self
            .streams
            .iter()
            .any(|other| other.number == stream.number)
        {
            return Err(HeaderError::StreamTwice {
                stream: stream.number,
            });
        }
        self.encrypted |= stream.encrypted;
        self.streams.push(stream);
        Ok(())
    }

    fn extended_stream(&mut self, object: &[u8]) -> Result<(), HeaderError> {
        let size = object.len();
        let extended = stream::Extended::parse(object).ok_or(HeaderError::ObjectTooShort {
            object: "Extended Stream Properties",
            size,
        })?;
        if let Some((_, embedded)) = extended.embedded {
            self.stream(Stream::parse(embedded, true)?)?;
        }
        self.extended.push((
            extended.stream,
            extended.bit_rate,
            extended.no_clean_points,
            extended.extensions,
        ));
        Ok(())
    }

    fn finish(self, whole: &[u8]) -> Result<Header, HeaderError> {
        let file = self.file.ok_or(HeaderError::NoFileProperties)?;
        let mut streams = self.streams;
        if streams.is_empty() {
            return Err(HeaderError::NoStreams);
        }
        for (number, bit_rate, no_clean_points, extensions) in self.extended {
            if let Some(stream) = streams.iter_mut().find(|stream| stream.number == number) {
                stream.bit_rate = if bit_rate != 0 {
                    bit_rate
                } else {
                    stream.bit_rate
                };
                stream.no_clean_points = no_clean_points;
                stream.extensions = extensions.into();
            }
        }
        for (number, bit_rate) in self.rates {
            if let Some(stream) = streams
                .iter_mut()
                .find(|stream| stream.number == number && bit_rate != 0)
            {
                stream.bit_rate = bit_rate;
            }
        }
        Ok(Header {
            bytes: whole.into(),
            streams: streams.into(),
            file,
            description: self.description,
            encrypted: self.encrypted,
        })
    }
}

/// Records of a Stream Bitrate Properties Object (§3.10), as many as are really there.
fn bit_rate_records(object: &[u8]) -> Vec<(u8, u32)> {
    let count = usize::from(u16_at(object, 24).unwrap_or(0));
    let records = object
        .get(26..)
        .unwrap_or_default()
        .chunks_exact(6)
        .take(count);
    records
        .filter_map(|record| Some(((u16_at(record, 0)? & 0x7F) as u8, u32_at(record, 2)?)))
        .collect()
}

fn description(object: &[u8]) -> Option<Description> {
    let mut cursor = Cursor::new(object);
    cursor.take(34)?;
    let mut text = |at| Some(utf16(cursor.take(usize::from(u16_at(object, at)?))?));
    Some(Description {
        title: text(24)?,
        author: text(26)?,
        copyright: text(28)?,
        comment: text(30)?,
    })
}

/// Smallest Header Object: its own fixed fields.
pub const HEADER_BYTES_MIN: usize = 30;
/// Largest Header Object taken (§18).
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// Largest header the protocols can carry (WMSP `$H`, §10).
pub const WIRE_BYTES_MAX: usize = 65_527;
/// Smallest data packet served (§18).
pub const PACKET_BYTES_MIN: u32 = 32;
/// Largest data packet served: 16-bit frame lengths less 8 bytes of frame header (§11.1).
pub const PACKET_BYTES_MAX: u32 = 65_527;
