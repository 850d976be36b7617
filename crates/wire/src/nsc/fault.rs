//! What can be wrong in an `.nsc` file, said so that it can be found there.

use std::net::IpAddr;

use crate::nsc::block::{BlockError, Oddity};
use crate::nsc::format::FormatError;
use crate::nsc::text::TextError;
use crate::nsc::{EXTRAS_BYTES_MAX, EXTRAS_MAX, FAULTS_MAX, FILE_BYTES_MAX, NotMulticast, VERSION};

/// One fault and its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Counted from 1; `None`: the file as a whole.
    pub line: Option<usize>,
    /// The property, as written in the file and shortened; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub kind: FaultKind,
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Some property cannot be used; players may not play.
    Error,
    /// Not as specified, but read.
    Warning,
}

/// What is wrong. Texts from the file are shortened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// Longer than [`FILE_BYTES_MAX`]; nothing was read.
    #[error("the file has {0} bytes, more than the {FILE_BYTES_MAX} that are read")]
    FileLong(usize),
    /// A required property has no usable value anywhere.
    #[error("required, and there is no usable one")]
    Missing,
    /// Not 3.0.
    #[error("{0:?} is not version {VERSION}")]
    Version(String),
    /// An encoded value that cannot be decoded.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A string that cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Not `0x` and up to 8 hexadecimal digits.
    #[error("{0:?} is not an integer: 0x and 8 hexadecimal digits")]
    Integer(String),
    /// An integer beyond what the property can be.
    #[error("{value} is not from {min} to {max}")]
    Range {
        /// As in the file.
        value: u32,
        /// Lowest.
        min: u32,
        /// Highest.
        max: u32,
    },
    /// Not an IP address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// An address of one host.
    #[error("{} is not a multicast address", .0.0)]
    NotMulticast(NotMulticast),
    /// A Key of more than 11 bits.
    #[error("format ID {0} is more than 11 bits")]
    FormatId(u32),
    /// An ASF header that cannot be used.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Unknown properties beyond the ceilings; this one is not kept.
    #[error("more than {EXTRAS_MAX} unknown properties, or than {EXTRAS_BYTES_MAX} bytes of them")]
    Extras,
    /// [`FAULTS_MAX`] reached; the rest was not read.
    #[error("more than {FAULTS_MAX} faults; the rest was not read")]
    Faults,

    /// Neither a section nor `Name=Value`.
    #[error("neither a section nor name=value; passed over")]
    Line,
    /// Said before; the first one counts.
    #[error("said twice; the first one counts")]
    Twice,
    /// Belongs into the other section.
    #[error("belongs into [{0}]")]
    Section(&'static str),
    /// Bytes above 0x7F.
    #[error("not ASCII")]
    Ascii,
    /// A string that is not encoded.
    #[error("not encoded: VLC and set-top boxes read encoded strings only")]
    Plain,
    /// Checksum or length of an encoded value.
    #[error(transparent)]
    Oddity(#[from] Oddity),
    /// An integer of fewer than 8 digits.
    #[error("an integer should have 8 hexadecimal digits")]
    Digits,
    /// The header is followed by more of its file.
    #[error("{0} bytes behind the ASF header and 50 bytes of the data object; passed over")]
    FormatTail(usize),
    /// A description without its format.
    #[error("describes a format that is not there")]
    NoFormat,
    /// Not http://.
    #[error("should begin with http://")]
    LogScheme,
    /// Neither mms:// nor http://.
    #[error("should begin with mms:// or http://: not every player knows others")]
    UnicastScheme,
    /// No span is longer than 14 packets without its parity number running over.
    #[error("a span of {0}; 10 is usual, and above 14 the parity packet's number does not fit")]
    Span(u8),
    /// Routers forward none of these.
    #[error("{0} is for one link only")]
    LinkLocal(IpAddr),
}

impl Fault {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        use FaultKind::*;
        match self.kind {
            FileLong(_)
            | Missing
            | Version(_)
            | Block(_)
            | Text(_)
            | Integer(_)
            | Range { .. }
            | Address(_)
            | NotMulticast(_)
            | FormatId(_)
            | Format(_)
            | Extras
            | Faults => Severity::Error,
            Line | Twice | Section(_) | Ascii | Plain | Oddity(_) | Digits | FormatTail(_)
            | NoFormat | LogScheme | UnicastScheme | Span(_) | LinkLocal(_) => Severity::Warning,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.kind.fmt(f)
    }
}

impl std::error::Error for Fault {}

/// Text of a stranger, fit for a message.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(CHARACTERS_SHOWN)
        .map(|letter| {
            if letter.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        })
        .collect();
    if text.chars().nth(CHARACTERS_SHOWN).is_some() {
        short.push('\u{2026}');
    }
    short
}

const CHARACTERS_SHOWN: usize = 40;
