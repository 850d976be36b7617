//! The body of a message: where it ends, and its content without the coding of chunks.

use super::Fault;

/// What a head says about the length of its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyLength {
    /// Nothing: no body in most requests, until the close in a response.
    Unstated,
    /// `Content-Length`, in bytes.
    Sized(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Takes a body apart as it comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Body(State);

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// Bytes that are left until the end.
    Sized(u64),
    /// Until the close.
    Endless,
    /// The line with a chunk's size comes next.
    ChunkSize,
    /// Bytes that are left of a chunk.
    Chunk(u64),
    /// The line end behind a chunk comes next.
    ChunkEnd,
    /// Lines behind the last chunk; so many bytes of them may still come.
    Trailer(usize),
    Over,
}

impl Body {
    /// The body behind a head with this length; unstated means until the close.
    pub fn new(length: BodyLength) -> Self {
        Self(match length {
            BodyLength::Unstated => State::Endless,
            BodyLength::Sized(0) => State::Over,
            BodyLength::Sized(bytes) => State::Sized(bytes),
            BodyLength::Chunked => State::ChunkSize,
        })
    }

    /// Takes bytes off the front of `unread`: how many, and which of them are content. Call it until it takes none: then
    /// more has to come first, or the body is over.
    ///
    /// # Errors
    /// When a chunk is damaged.
    pub fn take<'a>(&mut self, unread: &'a [u8]) -> Result<(usize, &'a [u8]), Fault> {
        let mut taken = 0;
        loop {
            let rest = unread.get(taken..).unwrap_or_default();
            match &mut self.0 {
                State::Over => return Ok((taken, &[])),
                State::Endless => return Ok((unread.len(), rest)),
                State::Sized(left) | State::Chunk(left) => {
                    let size = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= size as u64;
                    if *left == 0 {
                        self.0 = match self.0 {
                            State::Chunk(_) => State::ChunkEnd,
                            _ => State::Over,
                        };
                    }
                    return Ok((taken + size, rest.get(..size).unwrap_or_default()));
                }
                State::ChunkSize => match chunk_size(rest)? {
                    None => return Ok((taken, &[])),
                    Some((line, 0)) => {
                        taken += line;
                        self.0 = State::Trailer(TRAILER_BYTES_MAX);
                    }
                    Some((line, size)) => {
                        taken += line;
                        self.0 = State::Chunk(size);
                    }
                },
                State::ChunkEnd => {
                    if rest.len() < 2 && b"\r\n".starts_with(rest) {
                        return Ok((taken, &[]));
                    }
                    if !rest.starts_with(b"\r\n") {
                        return Err(Fault::Chunk);
                    }
                    taken += 2;
                    self.0 = State::ChunkSize;
                }
                State::Trailer(left) => {
                    let Some(line) = rest.iter().position(|byte| *byte == b'\n') else {
                        return if rest.len() > *left {
                            Err(Fault::HeadTooLarge)
                        } else {
                            Ok((taken, &[]))
                        };
                    };
                    taken += line + 1;
                    *left = left.checked_sub(line).ok_or(Fault::HeadTooLarge)?;
                    if matches!(rest.get(..line), Some(b"" | b"\r")) {
                        self.0 = State::Over;
                    }
                }
            }
        }
    }

    /// Whether everything has come. A body without a length is never over.
    pub fn is_over(&self) -> bool {
        self.0 == State::Over
    }
}

/// The line that begins a chunk, its length and the chunk's; `None`: it is not complete.
fn chunk_size(line: &[u8]) -> Result<Option<(usize, u64)>, Fault> {
    if !line.first().is_none_or(u8::is_ascii_hexdigit) {
        return Err(Fault::Chunk);
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete(size)) if size.0 <= CHUNK_LINE_BYTES_MAX => Ok(Some(size)),
        Ok(httparse::Status::Partial) if line.len() <= CHUNK_LINE_BYTES_MAX => Ok(None),
        Ok(_) | Err(_) => Err(Fault::Chunk),
    }
}

/// Longest line with a chunk's size; it may have extensions, which are ignored.
const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// Most bytes of fields behind the last chunk, which are ignored.
const TRAILER_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Content of a body that comes in pieces of `step` bytes, and what is left behind it.
    fn read(
        length: BodyLength,
        bytes: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, bool, Vec<u8>), Fault> {
        let mut body = Body::new(length);
        let (mut unread, mut content) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            unread.extend_from_slice(piece);
            loop {
                let (size, part) = body.take(&unread)?;
                content.extend_from_slice(part);
                unread.drain(..size);
                if size == 0 {
                    break;
                }
            }
        }
        Ok((content, body.is_over(), unread))
    }

    #[test]
    fn the_content_does_not_depend_on_where_it_is_cut() {
        let chunked = b"4\r\nWiki\r\n00005;x=y\r\npedia\r\n0\r\nA: b\r\n\r\nGET";
        for step in 1..=chunked.len() {
            let expected = (b"Wikipedia".to_vec(), true, b"GET".to_vec());
            assert_eq!(read(BodyLength::Chunked, chunked, step), Ok(expected));
            let sized = (b"4\r\nWik".to_vec(), true, chunked[6..].to_vec());
            assert_eq!(read(BodyLength::Sized(6), chunked, step), Ok(sized));
            let endless = (chunked.to_vec(), false, Vec::new());
            assert_eq!(read(BodyLength::Unstated, chunked, step), Ok(endless));
        }
        let nothing = (Vec::new(), true, b"x".to_vec());
        assert_eq!(read(BodyLength::Sized(0), b"x", 1), Ok(nothing));
    }

    #[test]
    fn a_damaged_chunk_is_a_fault_at_once() {
        for bytes in [
            &b"x\r\n"[..],
            b"\r\n4",
            b"-4\r\n",
            b" 4\r\n",
            b"4\r\nWikiXX",
            b"4\r\nWiki\n4\r\n",
            b"11111111111111111\r\n",
        ] {
            assert_eq!(
                read(BodyLength::Chunked, bytes, 1).unwrap_err(),
                Fault::Chunk,
                "{}",
                bytes.escape_ascii()
            );
        }
        // Found by the fuzz target `wmsp_request`: in one piece it was taken.
        let long_line = [&b"4;"[..], &[b'x'; 2000], b"\r\nWiki\r\n0\r\n\r\n"].concat();
        for step in [100, long_line.len()] {
            let content = read(BodyLength::Chunked, &long_line, step);
            assert_eq!(content, Err(Fault::Chunk), "in steps of {step}");
        }
        let endless_trailer = [&b"0\r\n"[..], &b"a: b\r\n".repeat(1000)].concat();
        assert_eq!(
            read(BodyLength::Chunked, &endless_trailer, 100),
            Err(Fault::HeadTooLarge)
        );
    }
}
