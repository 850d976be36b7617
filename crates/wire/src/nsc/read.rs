//! Reading `.nsc` files as tolerantly as the readers in the field, and telling everything that is not as specified.

use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::nsc::block::Block;
use crate::nsc::fault::shorten;
use crate::nsc::{
    Announcement, EXTRAS_BYTES_MAX, EXTRAS_MAX, Extra, FAULTS_MAX, FILE_BYTES_MAX, Fault,
    FaultKind, Format, FormatId, Formats, Key, Section, Severity, Text, TextError, VERSION,
};

/// What came of a file.
#[derive(Clone, Debug)]
pub struct Reading {
    /// `None` without usable group, port or header; then there is an error among the faults.
    pub announcement: Option<Announcement>,
    /// In the order of the lines, the file as a whole last.
    pub faults: Vec<Fault>,
    /// Line and key of each format of the announcement, in its order.
    pub format_places: Vec<(usize, String)>,
}

impl Reading {
    /// Is everything of the file usable?
    pub fn is_good(&self) -> bool {
        self.faults
            .iter()
            .all(|fault| fault.severity() == Severity::Warning)
    }
}

/// Reads a whole file. Any bytes are fine; at most [`FILE_BYTES_MAX`] of them.
pub fn read(bytes: &[u8]) -> Reading {
    let mut draft = Draft::default();
    let complete = draft.lines(bytes).is_ok();
    let announcement = draft.finish();
    let format_places = draft.format_places;
    let mut faults = draft.faults;
    faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
    Reading {
        announcement: announcement.filter(|_| complete),
        faults,
        format_places,
    }
}

/// Reading has to stop; the fault is noted.
struct Stop;

/// Where a fault is told: line, and name as in the file.
#[derive(Clone, Debug)]
struct Place {
    line: usize,
    key: String,
}

#[derive(Default)]
struct Draft {
    faults: Vec<Fault>,
    seen: Vec<Key>,
    name: Option<Text>,
    adapter: Option<IpAddr>,
    group: Option<IpAddr>,
    port: Option<NonZeroU16>,
    time_to_live: Option<u8>,
    span_max: Option<u8>,
    log_url: Option<Text>,
    unicast_url: Option<Text>,
    allow_splitting: Option<bool>,
    allow_caching: Option<bool>,
    cache_expiration_s: Option<u32>,
    network_buffer_ms: Option<u32>,
    formats: Vec<(u32, Place, Block)>,
    descriptions: Vec<(u32, Place, Option<Text>)>,
    format_places: Vec<(usize, String)>,
    extras: Vec<Extra>,
    extras_bytes: usize,
}

impl Draft {
    fn lines(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.len() > FILE_BYTES_MAX {
            self.whole("", FaultKind::FileLong(bytes.len()));
            return Err(Stop);
        }
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut section = Section::Address;
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let text = String::from_utf8_lossy(line);
            let text = text.trim_matches(BLANK);
            let place = |key: &str| Place {
                line: index + 1,
                key: shorten(key),
            };
            if text.is_empty() {
                continue;
            }
            if let Some(name) = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = Section::parse(name);
            } else if let Some((name, value)) = split(text) {
                let place = place(name);
                if !line.is_ascii() {
                    self.note(&place, FaultKind::Ascii);
                }
                self.property(&section, place, name, value);
            } else {
                self.note(&place(text), FaultKind::Line);
            }
            if self.faults.len() > FAULTS_MAX {
                return Err(Stop);
            }
        }
        Ok(())
    }

    fn property(&mut self, section: &Section, place: Place, name: &str, value: &str) {
        let numbered = |prefix: &str| numbered(name, prefix);
        if matches!(section, Section::Other(_)) {
            self.extra(section, &place, name, value);
        } else if let Some(key) = Key::parse(name) {
            self.belongs(section, Section::Address, &place);
            if self.seen.contains(&key) {
                self.note(&place, FaultKind::Twice);
                return;
            }
            self.seen.push(key);
            if let Err(kind) = self.known(key, &place, value) {
                self.note(&place, kind);
            }
        } else if let Some(number) = numbered("Format") {
            self.belongs(section, Section::Formats, &place);
            if self.formats.iter().any(|(known, ..)| *known == number) {
                self.note(&place, FaultKind::Twice);
                return;
            }
            match Block::decode(value) {
                Ok(block) => self.formats.push((number, place, block)),
                Err(error) => self.note(&place, error.into()),
            }
        } else if let Some(number) = numbered("Description") {
            self.belongs(section, Section::Formats, &place);
            if self.descriptions.iter().any(|(known, ..)| *known == number) {
                self.note(&place, FaultKind::Twice);
                return;
            }
            match self.string(&place, value) {
                Ok(text) => self.descriptions.push((number, place, text)),
                Err(kind) => self.note(&place, kind),
            }
        } else {
            self.extra(section, &place, name, value);
        }
    }

    fn known(&mut self, key: Key, place: &Place, value: &str) -> Result<(), FaultKind> {
        match key {
            Key::Name => self.name = self.string(place, value)?,
            Key::Version => {
                if let Some(version) = self.string(place, value)?
                    && version.as_str() != VERSION
                {
                    return Err(FaultKind::Version(shorten(version.as_str())));
                }
            }
            Key::Adapter => self.adapter = self.address(place, value)?,
            Key::Group => {
                let group = self.address(place, value)?;
                if let Some(group) = group.filter(|group| !group.is_multicast()) {
                    return Err(FaultKind::NotMulticast(super::NotMulticast(group)));
                }
                if let Some(group) = group.filter(is_link_local) {
                    self.note(place, FaultKind::LinkLocal(group));
                }
                self.group = group;
            }
            Key::Port => {
                let port = self.integer(place, value, 1, u16::MAX.into())?;
                self.port = u16::try_from(port).ok().and_then(NonZeroU16::new);
            }
            Key::TimeToLive => self.time_to_live = Some(self.byte(place, value)?),
            Key::SpanMax => {
                let span = self.byte(place, value)?;
                if span > 14 {
                    self.note(place, FaultKind::Span(span));
                }
                self.span_max = Some(span);
            }
            Key::LogUrl => {
                self.log_url = self.url(place, value, &["http://"], FaultKind::LogScheme)?;
            }
            Key::UnicastUrl => {
                let schemes = ["mms://", "http://"];
                self.unicast_url = self.url(place, value, &schemes, FaultKind::UnicastScheme)?;
            }
            Key::AllowSplitting => {
                self.allow_splitting = Some(self.integer(place, value, 0, 1)? != 0);
            }
            Key::AllowCaching => self.allow_caching = Some(self.integer(place, value, 0, 1)? != 0),
            Key::CacheExpiration => {
                self.cache_expiration_s = Some(self.integer(place, value, 0, u32::MAX)?);
            }
            Key::NetworkBuffer => {
                self.network_buffer_ms = Some(self.integer(place, value, 0, u32::MAX)?);
            }
        }
        Ok(())
    }

    /// An encoded or plain string; `None` when it is empty.
    fn string(&mut self, place: &Place, value: &str) -> Result<Option<Text>, FaultKind> {
        let text = if Block::is_one(value) {
            let block = Block::decode(value)?;
            if let Some(oddity) = block.oddity {
                self.note(place, oddity.into());
            }
            Text::decode(&block.data)
        } else {
            if !value.is_empty() {
                self.note(place, FaultKind::Plain);
            }
            Text::new(value)
        };
        match text {
            Ok(text) => Ok(Some(text)),
            Err(TextError::Empty) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn address(&mut self, place: &Place, value: &str) -> Result<Option<IpAddr>, FaultKind> {
        let Some(text) = self.string(place, value)? else {
            return Ok(None);
        };
        let address = text.as_str().trim().parse();
        address
            .map(Some)
            .map_err(|_| FaultKind::Address(shorten(text.as_str())))
    }

    fn url(
        &mut self,
        place: &Place,
        value: &str,
        schemes: &[&str],
        otherwise: FaultKind,
    ) -> Result<Option<Text>, FaultKind> {
        let url = self.string(place, value)?;
        if let Some(url) = &url {
            let begins = |scheme: &&str| {
                url.as_str()
                    .get(..scheme.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
            };
            if !schemes.iter().any(begins) {
                self.note(place, otherwise);
            }
        }
        Ok(url)
    }

    fn byte(&mut self, place: &Place, value: &str) -> Result<u8, FaultKind> {
        let value = self.integer(place, value, 0, u8::MAX.into())?;
        Ok(u8::try_from(value).expect("checked to be at most 255"))
    }

    fn integer(
        &mut self,
        place: &Place,
        value: &str,
        min: u32,
        max: u32,
    ) -> Result<u32, FaultKind> {
        let wrong = || FaultKind::Integer(shorten(value));
        let digits = value
            .strip_prefix("0x")
            .or_else(|| value.strip_prefix("0X"))
            .filter(|digits| (1..=8).contains(&digits.len()))
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .ok_or_else(wrong)?;
        let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        if !(min..=max).contains(&number) {
            return Err(FaultKind::Range {
                value: number,
                min,
                max,
            });
        }
        if digits.len() < 8 {
            self.note(place, FaultKind::Digits);
        }
        Ok(number)
    }

    fn extra(&mut self, section: &Section, place: &Place, name: &str, value: &str) {
        let bytes = section.name().len() + name.len() + value.len();
        if self.extras.len() == EXTRAS_MAX || self.extras_bytes + bytes > EXTRAS_BYTES_MAX {
            self.note(place, FaultKind::Extras);
            return;
        }
        self.extras_bytes += bytes;
        self.extras.push(Extra {
            section: section.clone(),
            name: name.to_owned(),
            value: value.to_owned(),
        });
    }

    fn belongs(&mut self, section: &Section, wanted: Section, place: &Place) {
        if *section != wanted {
            let name = match wanted {
                Section::Formats => "Formats",
                _ => "Address",
            };
            self.note(place, FaultKind::Section(name));
        }
    }

    fn finish(&mut self) -> Option<Announcement> {
        let formats = self.formats();
        for (missing, name) in [
            (self.group.is_none(), "IP Address"),
            (self.port.is_none(), "IP Port"),
            (formats.is_none(), "Format1"),
        ] {
            if missing {
                self.whole(name, FaultKind::Missing);
            }
        }
        let mut announcement = Announcement::new(self.group?, self.port?, formats?).ok()?;
        announcement.name = self.name.take();
        announcement.adapter = self.adapter;
        announcement.time_to_live = self.time_to_live;
        announcement.span_max = self.span_max;
        announcement.log_url = self.log_url.take();
        announcement.unicast_url = self.unicast_url.take();
        announcement.allow_splitting = self.allow_splitting;
        announcement.allow_caching = self.allow_caching;
        announcement.cache_expiration_s = self.cache_expiration_s;
        announcement.network_buffer_ms = self.network_buffer_ms;
        announcement.extras = std::mem::take(&mut self.extras);
        Some(announcement)
    }

    /// The usable headers, by their numbers in the file.
    fn formats(&mut self) -> Option<Formats> {
        let mut blocks = std::mem::take(&mut self.formats);
        blocks.sort_by_key(|(number, ..)| *number);
        let mut formats: Option<Formats> = None;
        for (number, place, block) in blocks {
            let described = self
                .descriptions
                .iter()
                .position(|(known, ..)| *known == number);
            let description = described.and_then(|index| self.descriptions.swap_remove(index).2);
            match self.format(&place, &block, description) {
                Ok(format) => {
                    let pushed = match &mut formats {
                        Some(formats) => formats.push(format),
                        None => {
                            formats = Some(Formats::of(format));
                            Ok(())
                        }
                    };
                    match pushed {
                        Ok(()) => self.format_places.push((place.line, place.key)),
                        Err(error) => self.note(&place, error.into()),
                    }
                }
                Err(kind) => self.note(&place, kind),
            }
        }
        for (_, place, _) in std::mem::take(&mut self.descriptions) {
            self.note(&place, FaultKind::NoFormat);
        }
        formats
    }

    fn format(
        &mut self,
        place: &Place,
        block: &Block,
        description: Option<Text>,
    ) -> Result<Format, FaultKind> {
        if let Some(oddity) = block.oddity {
            self.note(place, oddity.into());
        }
        let id = u16::try_from(block.key)
            .ok()
            .and_then(FormatId::new)
            .ok_or(FaultKind::FormatId(block.key))?;
        let format = Format::new(id, &block.data, description)?;
        match block.data.len() - format.header().len() {
            0 => {}
            tail => self.note(place, FaultKind::FormatTail(tail)),
        }
        Ok(format)
    }

    /// The first fault beyond the ceiling says that there are more.
    fn note(&mut self, place: &Place, kind: FaultKind) {
        match self.faults.len() {
            ..FAULTS_MAX => self.faults.push(Fault {
                line: Some(place.line),
                key: place.key.clone(),
                kind,
            }),
            FAULTS_MAX => self.whole("", FaultKind::Faults),
            _ => {}
        }
    }

    fn whole(&mut self, key: &str, kind: FaultKind) {
        self.faults.push(Fault {
            line: None,
            key: key.to_owned(),
            kind,
        });
    }
}

/// Around lines, names and values.
const BLANK: [char; 3] = [' ', '\t', '\r'];

/// `Name=Value` with a name.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end_matches(BLANK);
    (!name.is_empty()).then(|| (name, value.trim_start_matches(BLANK)))
}

/// The number behind `prefix`.
fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let (head, digits) = name.split_at_checked(prefix.len())?;
    (head.eq_ignore_ascii_case(prefix) && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// 224.0.0.0/24 and ff_2: routers keep them where they are (§12).
fn is_link_local(group: &IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        IpAddr::V6(group) => group.octets()[1] & 0xF <= 2,
    }
}
