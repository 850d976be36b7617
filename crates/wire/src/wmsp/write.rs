//! Writes heads, in the canonical capitalisation that old encoders insist on (§3).

use std::fmt::{self, Write as _};

use http::{Method, StatusCode, Version};

/// Appends a head to a lent buffer: first line at once, then field by field, then [`finish`](Self::finish).
///
/// Control characters in values become blanks, so that nothing which came from a peer can end a line.
#[derive(Debug)]
#[must_use]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// A request; `target` as it goes on the line.
    pub fn request(
        out: &'a mut Vec<u8>,
        method: &Method,
        target: impl fmt::Display,
        version: Version,
    ) -> Self {
        Self { out }.line(format_args!("{method} {target} {version:?}"))
    }

    /// A response.
    pub fn response(out: &'a mut Vec<u8>, version: Version, status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or_default();
        Self { out }.line(format_args!("{version:?} {} {reason}", status.as_u16()))
    }

    /// A field.
    pub fn field(self, name: &str, value: impl fmt::Display) -> Self {
        self.line(format_args!("{name}: {value}"))
    }

    /// The blank line.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(self, line: fmt::Arguments<'_>) -> Self {
        let _ = Clean(self.out).write_fmt(line); // memory never fails
        self.out.extend_from_slice(b"\r\n");
        self
    }
}

/// A buffer for text without control characters.
struct Clean<'a>(&'a mut Vec<u8>);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let blank = |byte: u8| if byte.is_ascii_control() { b' ' } else { byte };
        self.0.extend(text.bytes().map(blank));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_section_26() {
        let mut out = Vec::new();
        HeadWriter::response(&mut out, Version::HTTP_10, StatusCode::OK)
            .field("Content-Type", "application/vnd.ms.wms-hdr.asfv1")
            .field("Content-Length", 827)
            .finish();
        assert_eq!(
            out,
            b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.ms.wms-hdr.asfv1\r\nContent-Length: 827\r\n\r\n"
        );
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut out = Vec::new();
        HeadWriter::request(&mut out, &Method::GET, "/a\r\nb", Version::HTTP_11)
            .field("X", "1\r\nY: 2\0")
            .finish();
        assert_eq!(out, b"GET /a  b HTTP/1.1\r\nX: 1  Y: 2 \r\n\r\n");
    }
}
