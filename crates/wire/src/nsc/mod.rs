//! `.nsc` files: what a multicast is, where it is, and the ASF headers its packets need (`docs/protocol/msb-nsc.md` §7, §8).
//!
//! [`read`] is as tolerant as the readers in the field: any order, plain and encoded strings, wrong checksums, unknown
//! keys, which are kept. Whatever it meets is told as a [`Fault`] with line and key; an [`Announcement`] comes out
//! whenever group, port and a header could be found. [`Announcement::encode`] writes the one canonical form: the order of
//! the grammar, every string encoded, CR LF.
//!
//! What goes into memory is bounded by the ceilings below. The ASF headers are checked for their envelope only.

mod block;
mod fault;
mod format;
mod read;
mod text;
mod write;

use std::net::IpAddr;
use std::num::NonZeroU16;

pub use block::{Block, BlockError, Oddity};
pub use fault::{Fault, FaultKind, Severity};
pub use format::{Format, FormatError, FormatId, Formats};
pub use read::{Reading, read};
pub use text::{Text, TextError};

/// Longest file that is read. Everything [`Announcement::encode`] writes stays below.
pub const FILE_BYTES_MAX: usize = 2 << 20;
/// Longest string, in UTF-16 units without the NUL.
pub const STRING_UNITS_MAX: usize = 2048;
/// Longest ASF header with the first 50 bytes of its Data Object; players take 8 to 64 KiB.
pub const FORMAT_BYTES_MAX: usize = 256 << 10;
/// All ASF headers of a file together.
pub const FORMATS_BYTES_MAX: usize = 1 << 20;
/// ASF headers in a file.
pub const FORMATS_MAX: usize = 64;
/// Unknown properties kept.
pub const EXTRAS_MAX: usize = 64;
/// Names, values and sections of all unknown properties together.
pub const EXTRAS_BYTES_MAX: usize = 64 << 10;
/// Faults told; a file with more is not read to its end.
pub const FAULTS_MAX: usize = 100;

/// Six bits a character, and 32 for prefix, head, name and line end.
const fn encoded_max(bytes: usize) -> usize {
    bytes * 4 / 3 + 64
}
// Headers, a description each, five strings and the rest of [Address], extras with their punctuation.
const _: () = assert!(
    FORMATS_MAX * 64
        + encoded_max(FORMATS_BYTES_MAX)
        + (FORMATS_MAX + 5) * encoded_max(2 * (STRING_UNITS_MAX + 1))
        + 1024
        + EXTRAS_BYTES_MAX
        + EXTRAS_MAX * 8
        < FILE_BYTES_MAX
);

/// What an `.nsc` file says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announcement {
    group: IpAddr,
    port: NonZeroU16,
    formats: Formats,
    /// `MACHINE, PublishingPoint`.
    pub name: Option<Text>,
    /// `Multicast Adapter`: the source address of the packets; clients may filter on it.
    pub adapter: Option<IpAddr>,
    /// `Time To Live`, or hop limit, of the packets.
    pub time_to_live: Option<u8>,
    /// `Default Ecc`: most data packets in a span of error correction.
    pub span_max: Option<u8>,
    /// Where clients post what they saw (§11), http://.
    pub log_url: Option<Text>,
    /// Where clients go when nothing arrives (§10), mms:// or http://.
    pub unicast_url: Option<Text>,
    /// May a server split the stream?
    pub allow_splitting: Option<bool>,
    /// May a cache keep the content?
    pub allow_caching: Option<bool>,
    /// How long a cache may keep it, s.
    pub cache_expiration_s: Option<u32>,
    /// Replaces the network part of the client's buffering, ms.
    pub network_buffer_ms: Option<u32>,
    extras: Vec<Extra>,
}

/// The address is no multicast group.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} is not a multicast address")]
pub struct NotMulticast(pub IpAddr);

impl Announcement {
    /// Announces these headers at this group, and nothing optional.
    ///
    /// # Errors
    /// `group` is no multicast address.
    pub fn new(group: IpAddr, port: NonZeroU16, formats: Formats) -> Result<Self, NotMulticast> {
        if !group.is_multicast() {
            return Err(NotMulticast(group));
        }
        Ok(Self {
            group,
            port,
            formats,
            name: None,
            adapter: None,
            time_to_live: None,
            span_max: None,
            log_url: None,
            unicast_url: None,
            allow_splitting: None,
            allow_caching: None,
            cache_expiration_s: None,
            network_buffer_ms: None,
            extras: Vec::new(),
        })
    }

    /// Reads a file; what [`read`] would merely tell is passed over.
    ///
    /// # Errors
    /// The first fault of a file without usable group, port or header.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let Reading {
            announcement,
            faults,
            ..
        } = read(bytes);
        announcement.ok_or_else(|| {
            faults
                .into_iter()
                .find(|fault| fault.severity() == Severity::Error)
                .expect("no announcement without an error")
        })
    }

    /// The group the packets go to; always a multicast address.
    pub fn group(&self) -> IpAddr {
        self.group
    }

    /// The UDP port they go to.
    pub fn port(&self) -> NonZeroU16 {
        self.port
    }

    /// The ASF headers.
    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    /// Properties no one here knows (Windows 2000 wrote several), as they stood in the file.
    pub fn extras(&self) -> &[Extra] {
        &self.extras
    }
}

/// A section of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Section {
    /// `[Address]`, also what stands before any section.
    Address,
    /// `[Formats]`.
    Formats,
    /// Not in the grammar.
    Other(String),
}

impl Section {
    fn parse(name: &str) -> Self {
        let name = name.trim();
        [Self::Address, Self::Formats]
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
            .unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    /// Without the brackets.
    pub fn name(&self) -> &str {
        match self {
            Self::Address => "Address",
            Self::Formats => "Formats",
            Self::Other(name) => name,
        }
    }
}

/// A property that is not in the grammar. Its value is as in the file, encoded or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extra {
    section: Section,
    name: String,
    value: String,
}

impl Extra {
    /// Where it stood.
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// What stood before `=`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stood behind `=`, without blanks around.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The value as text, when it is an encoded string or plain.
    pub fn text(&self) -> Option<Text> {
        if Block::is_one(&self.value) {
            Block::decode(&self.value)
                .ok()
                .filter(|block| block.key == 0)
                .and_then(|block| Text::decode(&block.data).ok())
        } else {
            Text::new(&*self.value).ok()
        }
    }
}

/// Every property of the grammar but the numbered ones, in its order (§7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Key {
    Name,
    Version,
    Adapter,
    Group,
    Port,
    TimeToLive,
    SpanMax,
    LogUrl,
    UnicastUrl,
    AllowSplitting,
    AllowCaching,
    CacheExpiration,
    NetworkBuffer,
}

impl Key {
    const ALL: [(Self, &'static str); 13] = [
        (Self::Name, "Name"),
        (Self::Version, "NSC Format Version"),
        (Self::Adapter, "Multicast Adapter"),
        (Self::Group, "IP Address"),
        (Self::Port, "IP Port"),
        (Self::TimeToLive, "Time To Live"),
        (Self::SpanMax, "Default Ecc"),
        (Self::LogUrl, "Log URL"),
        (Self::UnicastUrl, "Unicast URL"),
        (Self::AllowSplitting, "Allow Splitting"),
        (Self::AllowCaching, "Allow Caching"),
        (Self::CacheExpiration, "Cache Expiration Time"),
        (Self::NetworkBuffer, "Network Buffer Time"),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(key, _)| *key)
    }
}

/// `NSC Format Version` (§7).
const VERSION: &str = "3.0";
