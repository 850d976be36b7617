//! The fields of a head, in their order, and what all heads say in the same way.

use http::Version;

use super::{BodyLength, Fault, Pragmas};

/// Longest head taken, with its first line and the blank one.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most fields taken.
pub const FIELDS_MAX: usize = 64;

/// The fields of a head. Names are found in any capitalisation; bytes that are not UTF-8 have become U+FFFD.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The parts of all fields of this name that are separated by commas, without blanks around them.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|part| !part.is_empty())
    }

    /// Whether a list has this word in it, in any capitalisation.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.list(name).any(|part| part.eq_ignore_ascii_case(word))
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `Content-Type` without its parameters; compare it in any capitalisation.
    pub fn content_type(&self) -> Option<&str> {
        let value = self.get("Content-Type")?;
        Some(value.split(';').next().unwrap_or_default().trim())
    }

    /// The tokens of all `Pragma` fields (§4).
    pub fn pragmas(&self) -> Pragmas {
        Pragmas::parse(self.all("Pragma"))
    }

    /// Whether the connection is to stay after this message (§2.1): by default in HTTP/1.1, on demand in HTTP/1.0.
    pub fn keeps_connection(&self, version: Version) -> bool {
        let says = |word| self.lists("Connection", word);
        !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
    }

    pub(super) fn new(parsed: &[httparse::Header<'_>]) -> Self {
        let text = |field: &httparse::Header<'_>| {
            let value = String::from_utf8_lossy(field.value).trim().to_owned();
            (field.name.to_owned(), value)
        };
        Self(parsed.iter().map(text).collect())
    }

    /// How long the body is. Whatever could be read in two ways is a fault.
    pub(super) fn body_length(&self) -> Result<BodyLength, Fault> {
        let mut codings = self.all("Transfer-Encoding");
        let mut sizes = self.all("Content-Length");
        match (codings.next(), sizes.next()) {
            (None, None) => Ok(BodyLength::Unstated),
            (Some(_), Some(_)) => Err(Fault::TwoLengths),
            (Some(coding), None) => {
                let is_chunked = coding.eq_ignore_ascii_case("chunked") && codings.next().is_none();
                is_chunked
                    .then_some(BodyLength::Chunked)
                    .ok_or(Fault::TransferEncoding)
            }
            (None, Some(size)) => {
                let is_number = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
                let size = size.parse().ok().filter(|_| is_number);
                size.filter(|_| sizes.next().is_none())
                    .map(BodyLength::Sized)
                    .ok_or(Fault::ContentLength)
            }
        }
    }
}

/// The version behind the `1.` that the parser found.
pub(super) fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// Whether so many bytes without an end are more than a head may have.
pub(super) fn is_too_large(bytes: usize) -> bool {
    bytes > HEAD_BYTES_MAX
}
