//! Strings of `.nsc` files: never empty (an empty one means "absent", §7), no U+0000, of bounded length.

use crate::codec::utf16_to_nul;
use crate::nsc::STRING_UNITS_MAX;
use crate::nsc::block::Block;

/// One string value. 1 to [`STRING_UNITS_MAX`] UTF-16 units, none of them 0.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text(String);

/// Why text cannot stand in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// The file would say that there is none.
    #[error("the text is empty")]
    Empty,
    /// Holds U+0000, where readers stop.
    #[error("the text holds U+0000")]
    Nul,
    /// Longer than readers bear.
    #[error("the text is longer than {STRING_UNITS_MAX} UTF-16 units")]
    Long,
}

impl Text {
    /// Checks the text.
    ///
    /// # Errors
    /// It is empty, too long, or holds U+0000.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.contains('\0') {
            return Err(TextError::Nul);
        }
        if text.encode_utf16().nth(STRING_UNITS_MAX).is_some() {
            return Err(TextError::Long);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text in UTF-16LE, up to the first NUL.
    pub(crate) fn decode(data: &[u8]) -> Result<Self, TextError> {
        Self::new(utf16_to_nul(data))
    }

    /// Appends the encoded block, in UTF-16LE with the terminating NUL; `None` is the empty string (§7).
    pub(crate) fn encode(text: Option<&str>, out: &mut String) {
        let units = text.unwrap_or_default().encode_utf16().chain([0]);
        let data: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
        Block::encode(0, &data, out);
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for Text {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_limits() {
        assert_eq!(Text::new(""), Err(TextError::Empty));
        assert_eq!(Text::new("a\0b"), Err(TextError::Nul));
        assert!(Text::new("x".repeat(STRING_UNITS_MAX)).is_ok());
        assert_eq!(
            Text::new("\u{1F3B5}".repeat(STRING_UNITS_MAX / 2 + 1)),
            Err(TextError::Long),
            "surrogates count as two"
        );
    }

    #[test]
    fn absent_is_the_empty_block_of_section_8() {
        let mut out = String::new();
        Text::encode(None, &mut out);
        assert_eq!(out, "020W0000000002000");
        assert_eq!(Text::decode(&[0, 0]), Err(TextError::Empty));
        assert_eq!(Text::decode(&[]), Err(TextError::Empty));
        assert_eq!(Text::decode(b"A\0").unwrap().as_str(), "A", "without NUL");
    }
}
