//! The header a live or looped show sends: the source's, rewritten so that every tested player takes it.
//!
//! Values and order of sacrifice: `docs/protocol/asf.md` §10, §14.4, §14.5; `docs/protocol/mmsp.md` §3.3. Objects that
//! describe streams or content protection stay byte for byte where they stand; texts and conveniences go when the
//! header would be too long for a player's buffer.

use std::fmt;

use crate::guid::{self, Guid};
use crate::header::sacrifice::{ALWAYS_LEFT_OUT, SACRIFICES, Sacrifice, without_pictures};
use crate::header::stream::Extended;
use crate::header::walk::{self, EXTENSION_HEAD_BYTES};
use crate::header::{
    Child, DATA_HEAD_BYTES, HEADER_BYTES_MIN, Header, HeaderError, StreamKind, WIRE_BYTES_MAX,
    children,
};

/// What the rewritten header should say beyond the source's.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveOptions<'a> {
    /// Replaces the source's title.
    pub title: Option<&'a str>,
    /// Replaces the source's author.
    pub author: Option<&'a str>,
    /// Fresh and random: identifies this header.
    pub file_id: [u8; 16],
    /// Size of the packets that will follow; 0: the source's.
    pub packet_bytes: u32,
    /// Measured bit/s of streams, used where the source's header says nothing.
    pub bit_rates: &'a [(u8, u32)],
}

/// A header ready for the wire.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveHeader {
    /// The header; [`Header::bytes`] go out.
    pub header: Header,
    /// Names of the objects left out.
    pub dropped: Vec<&'static str>,
    /// Players that will not take it.
    pub warnings: Vec<HeaderWarning>,
}

/// A header too long for some players. Sizes in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderWarning {
    /// Over [`SMALL_PLAYERS_BYTES_MAX`].
    TooLongForMplayerAndXine {
        /// Size.
        size: usize,
    },
    /// Over [`LIBMMS_BYTES_MAX`]: libmms and what uses it (mpd, GStreamer) is lost too.
    TooLongForLibmms {
        /// Size.
        size: usize,
    },
}

impl fmt::Display for HeaderWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderWarning::TooLongForMplayerAndXine { size } => write!(
                f,
                "the ASF header has {size} bytes: mplayer and xine refuse more than {SMALL_PLAYERS_BYTES_MAX} and will not play"
            ),
            HeaderWarning::TooLongForLibmms { size } => write!(
                f,
                "the ASF header has {size} bytes: mpd, GStreamer and others on libmms refuse more than {LIBMMS_BYTES_MAX} and will not play"
            ),
        }
    }
}

/// mplayer's and xine's header buffer (`mmsp.md` §3.3).
pub const SMALL_PLAYERS_BYTES_MAX: usize = 8_192;
/// libmms' header buffer.
pub const LIBMMS_BYTES_MAX: usize = 16_384;

/// Rewrites a source's header for a live show.
///
/// # Errors
/// The packet size is outside the limits, or what must stay does not fit [`WIRE_BYTES_MAX`].
pub fn live_header(source: &Header, options: &LiveOptions<'_>) -> Result<LiveHeader, HeaderError> {
    let rates = rates(source, options.bit_rates);
    let mut dropped = Vec::new();
    let mut bytes = Vec::new();
    for sacrifice in 0..=SACRIFICES.len() {
        (bytes, dropped) = Rewrite {
            source,
            options,
            rates: &rates,
            given_up: &SACRIFICES[..sacrifice],
        }
        .run()?;
        if bytes.len() <= SMALL_PLAYERS_BYTES_MAX {
            break;
        }
    }
    let size = bytes.len();
    if size > WIRE_BYTES_MAX {
        return Err(HeaderError::WireSize { size });
    }
    let mut warnings = Vec::new();
    if size > SMALL_PLAYERS_BYTES_MAX {
        warnings.push(HeaderWarning::TooLongForMplayerAndXine { size });
    }
    if size > LIBMMS_BYTES_MAX {
        warnings.push(HeaderWarning::TooLongForLibmms { size });
    }
    Ok(LiveHeader {
        header: Header::parse(&bytes)?,
        dropped,
        warnings,
    })
}

/// One rewriting, with the first few sacrifices made.
struct Rewrite<'a> {
    source: &'a Header,
    options: &'a LiveOptions<'a>,
    rates: &'a [(u8, u32)],
    given_up: &'a [Sacrifice],
}

impl Rewrite<'_> {
    fn run(&self) -> Result<(Vec<u8>, Vec<&'static str>), HeaderError> {
        let source = self.source.bytes();
        let object = &source[..source.len() - DATA_HEAD_BYTES];
        let mut out = object[..HEADER_BYTES_MIN].to_vec();
        let (mut dropped, mut count, mut exclusive) = (Vec::new(), 0u32, false);
        for child in children(object, HEADER_BYTES_MIN) {
            let child = child?;
            exclusive |= matches!(child.id, guid::BITRATE_MUTUAL_EXCLUSION);
            match child.id {
                guid::STREAM_BITRATE_PROPERTIES => continue,
                guid::CONTENT_DESCRIPTION if self.edits_texts() => continue,
                guid::HEADER_EXTENSION => {
                    exclusive |= self.extension(child.object, &mut out, &mut dropped)?
                }
                _ => match self.sacrificed(child.id) {
                    Some(name) => {
                        dropped.push(name);
                        continue;
                    }
                    None => self.copy(child, &mut out, &mut dropped),
                },
            }
            count += 1;
        }
        let additions = [
            self.texts(),
            self.mutual_exclusion(exclusive),
            Some(self.bit_rate_records()),
        ];
        for addition in additions.into_iter().flatten() {
            out.extend_from_slice(&addition);
            count += 1;
        }
        let size = out.len() as u64;
        out[16..24].copy_from_slice(&size.to_le_bytes());
        out[24..28].copy_from_slice(&count.to_le_bytes());
        self.data_head(&mut out);
        Ok((out, dropped))
    }

    fn sacrificed(&self, id: Guid) -> Option<&'static str> {
        let objects = ALWAYS_LEFT_OUT
            .iter()
            .chain(self.given_up.iter().filter_map(Sacrifice::object));
        objects
            .filter(|(left_out, _)| *left_out == id)
            .map(|(_, name)| *name)
            .next()
    }

    /// Copies a child, patching the few fields that must change.
    fn copy(&self, child: Child<'_>, out: &mut Vec<u8>, dropped: &mut Vec<&'static str>) {
        let at = out.len();
        match child.id {
            guid::EXTENDED_CONTENT_DESCRIPTION if self.given_up.contains(&Sacrifice::Picture) => {
                let (object, had_picture) = without_pictures(child.object);
                out.extend_from_slice(&object);
                dropped.extend(had_picture.then_some("WM/Picture"));
            }
            _ => out.extend_from_slice(child.object),
        }
        let copy = &mut out[at..];
        match child.id {
            guid::FILE_PROPERTIES => self.file_properties(copy),
            guid::STREAM_PROPERTIES => copy[56..64].fill(0),
            guid::EXTENDED_STREAM_PROPERTIES => {
                let embedded = Extended::parse(child.object).and_then(|extended| extended.embedded);
                if let Some((embedded_at, _)) = embedded {
                    copy[embedded_at + 56..embedded_at + 64].fill(0);
                }
            }
            _ => {}
        }
    }

    fn file_properties(&self, object: &mut [u8]) {
        let mut put = |at: usize, bytes: &[u8]| object[at..at + bytes.len()].copy_from_slice(bytes);
        let sum = self
            .rates
            .iter()
            .fold(0u32, |sum, (_, rate)| sum.saturating_add(*rate));
        let packet_bytes = self.packet_bytes().to_le_bytes();
        put(24, &self.options.file_id);
        put(40, &0u64.to_le_bytes());
        put(56, &PACKETS_COUNT.to_le_bytes());
        put(64, &[0; 16]);
        put(88, &BROADCAST.to_le_bytes());
        put(92, &packet_bytes);
        put(96, &packet_bytes);
        put(100, &sum.max(1).to_le_bytes());
    }

    /// A Header Extension without what is left out; true when streams exclude each other by bit rate in it.
    fn extension(
        &self,
        object: &[u8],
        out: &mut Vec<u8>,
        dropped: &mut Vec<&'static str>,
    ) -> Result<bool, HeaderError> {
        let at = out.len();
        let mut exclusive = false;
        out.extend_from_slice(&object[..EXTENSION_HEAD_BYTES]);
        for child in children(
            &object[..walk::extension_end(object)?],
            EXTENSION_HEAD_BYTES,
        ) {
            let child = child?;
            exclusive |= matches!(
                child.id,
                guid::BITRATE_MUTUAL_EXCLUSION | guid::ADVANCED_MUTUAL_EXCLUSION
            );
            match self.sacrificed(child.id) {
                _ if child.id == guid::STREAM_BITRATE_PROPERTIES => {}
                _ if child.id == guid::CONTENT_DESCRIPTION && self.edits_texts() => {}
                Some(name) => dropped.push(name),
                None => self.copy(child, out, dropped),
            }
        }
        let size = out.len() - at;
        out[at + 16..at + 24].copy_from_slice(&(size as u64).to_le_bytes());
        out[at + 42..at + 46]
            .copy_from_slice(&((size - EXTENSION_HEAD_BYTES) as u32).to_le_bytes());
        Ok(exclusive)
    }

    fn edits_texts(&self) -> bool {
        self.options.title.is_some()
            || self.options.author.is_some()
            || self.given_up.contains(&Sacrifice::LongTexts)
    }

    /// A Content Description with the wished texts; `None` when the source's stays.
    fn texts(&self) -> Option<Vec<u8>> {
        if !self.edits_texts() {
            return None;
        }
        let own = self.source.description();
        let units_max = if self.given_up.contains(&Sacrifice::LongTexts) {
            SHORT_TEXT_UNITS
        } else {
            TEXT_UNITS_MAX
        };
        let texts = [
            self.options.title.unwrap_or(&own.title),
            self.options.author.unwrap_or(&own.author),
            &own.copyright,
            &own.comment,
            "",
        ]
        .map(|text| encode_text(text, units_max));
        let mut object = object_head(
            guid::CONTENT_DESCRIPTION,
            34 + texts.iter().map(Vec::len).sum::<usize>(),
        );
        texts
            .iter()
            .for_each(|text| object.extend_from_slice(&(text.len() as u16).to_le_bytes()));
        texts.iter().for_each(|text| object.extend_from_slice(text));
        Some(object)
    }

    /// Several videos of one frame size and nothing that says so: they exclude each other (§12.1).
    fn mutual_exclusion(&self, already: bool) -> Option<Vec<u8>> {
        let videos = || {
            self.source
                .streams()
                .iter()
                .filter(|stream| stream.is_video())
        };
        let same_size = videos().all(|stream| {
            videos()
                .next()
                .is_some_and(|first| first.kind == stream.kind)
        });
        if already || videos().count() < 2 || !same_size {
            return None;
        }
        let mut object = object_head(guid::BITRATE_MUTUAL_EXCLUSION, 42 + 2 * videos().count());
        object.extend_from_slice(guid::MUTEX_BITRATE.as_bytes());
        object.extend_from_slice(&(videos().count() as u16).to_le_bytes());
        videos()
            .for_each(|stream| object.extend_from_slice(&u16::from(stream.number).to_le_bytes()));
        Some(object)
    }

    fn bit_rate_records(&self) -> Vec<u8> {
        let mut object = object_head(guid::STREAM_BITRATE_PROPERTIES, 26 + 6 * self.rates.len());
        object.extend_from_slice(&(self.rates.len() as u16).to_le_bytes());
        for (stream, rate) in self.rates {
            object.extend_from_slice(&u16::from(*stream).to_le_bytes());
            object.extend_from_slice(&rate.to_le_bytes());
        }
        object
    }

    /// The first 50 bytes of a Data Object that promises nothing; they end in `01 01`.
    fn data_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&object_head(guid::DATA, DATA_HEAD_BYTES));
        out.extend_from_slice(&self.options.file_id);
        out.extend_from_slice(&0u64.to_le_bytes());
        out.extend_from_slice(&[1, 1]);
    }

    fn packet_bytes(&self) -> u32 {
        match self.options.packet_bytes {
            0 => self.source.packet_bytes(),
            bytes => bytes,
        }
    }
}

/// A rate for every stream, never 0: the header's, else measured, else an equal part of what the header's maximum
/// leaves, else a guess by kind. bit/s.
fn rates(source: &Header, measured: &[(u8, u32)]) -> Vec<(u8, u32)> {
    let measured = |number| {
        measured
            .iter()
            .find(|(stream, _)| *stream == number)
            .map_or(0, |(_, rate)| *rate)
    };
    let known = |number, own| if own != 0 { own } else { measured(number) };
    let mut rates: Vec<(u8, u32)> = source
        .streams()
        .iter()
        .map(|stream| (stream.number, known(stream.number, stream.bit_rate)))
        .collect();
    let sum = rates
        .iter()
        .fold(0u32, |sum, (_, rate)| sum.saturating_add(*rate));
    let unknown = rates.iter().filter(|(_, rate)| *rate == 0).count() as u32;
    let share = source
        .bit_rate()
        .saturating_sub(sum)
        .checked_div(unknown)
        .unwrap_or(0);
    for ((_, rate), stream) in rates
        .iter_mut()
        .zip(source.streams())
        .filter(|((_, rate), _)| *rate == 0)
    {
        *rate = match stream.kind {
            StreamKind::Command | StreamKind::Other => COMMAND_RATE_GUESS,
            _ if share > 0 => share,
            StreamKind::Video { .. } => VIDEO_RATE_GUESS,
            StreamKind::Audio { .. } => AUDIO_RATE_GUESS,
        };
    }
    rates
}

/// GUID and size.
fn object_head(id: Guid, size: usize) -> Vec<u8> {
    let mut object = Vec::with_capacity(size);
    object.extend_from_slice(id.as_bytes());
    object.extend_from_slice(&(size as u64).to_le_bytes());
    object
}

/// UTF-16LE with its terminating NUL, cut at `units_max` without splitting a character; nothing for an empty text.
fn encode_text(text: &str, units_max: usize) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut units: Vec<u16> = Vec::new();
    for letter in text.chars() {
        if units.len() + letter.len_utf16() > units_max {
            break;
        }
        units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
    }
    units.push(0);
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// xine stops after this many packets, so: never (`mmsp.md` §3.3).
const PACKETS_COUNT: u64 = 0xFFFF_FFFF;
/// File Properties flags: broadcast, not seekable.
const BROADCAST: u32 = 1;
const SHORT_TEXT_UNITS: usize = 128;
/// A length of 16 bits in bytes, NUL included.
const TEXT_UNITS_MAX: usize = 32_766;
const VIDEO_RATE_GUESS: u32 = 256_000;
const AUDIO_RATE_GUESS: u32 = 64_000;
const COMMAND_RATE_GUESS: u32 = 1_000;
