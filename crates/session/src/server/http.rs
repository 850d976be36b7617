//! HTTP on the MMS port: libmms and mplayer try it, and a mute close kills mplayer (§12 rule 14).
//!
//! Waits for the end of the request's head, so that the answer is not lost to a reset, then says where to go.

/// How much of the request was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct RequestHead {
    /// Bytes of the blank line matched so far; CR is optional.
    newlines: u8,
    bytes: u32,
}

impl RequestHead {
    /// Does a connection that begins like this speak HTTP? (`GET`, `POST`, `PUT`.)
    pub(super) fn begins(first: u8) -> bool {
        matches!(first, b'G' | b'P')
    }

    /// Takes bytes; true once the head is complete, or longer than anybody needs.
    pub(super) fn is_complete_with(&mut self, bytes: &[u8]) -> bool {
        self.bytes = self
            .bytes
            .saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        for byte in bytes {
            match byte {
                b'\n' => self.newlines += 1,
                b'\r' => {}
                _ => self.newlines = 0,
            }
            if self.newlines == 2 {
                return true;
            }
        }
        self.bytes >= HEAD_BYTES_MAX
    }
}

/// The answer; `product` goes into `Server:`.
pub(super) fn unavailable(product: &str) -> String {
    const TEXT: &str = "This port speaks MMS: use mms:// over TCP port 1755.\n";
    format!(
        "HTTP/1.0 503 Service Unavailable\r\nServer: {product}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{TEXT}",
        TEXT.len()
    )
}

/// A longer head is answered before its end.
const HEAD_BYTES_MAX: u32 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_at_any_split() {
        for text in ["GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET /\n\n"] {
            let mut head = RequestHead::default();
            let (last, rest) = text.as_bytes().split_last().unwrap();
            assert!(rest.chunks(1).all(|byte| !head.is_complete_with(byte)));
            assert!(head.is_complete_with(&[*last]));
        }
    }

    #[test]
    fn an_endless_head_is_answered() {
        let mut head = RequestHead::default();
        assert!(!head.is_complete_with(&[b'x'; 8191]));
        assert!(head.is_complete_with(b"x"));
    }
}
