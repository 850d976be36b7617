//! The head of a response, for our own player and puller.

use http::{StatusCode, Version};

use super::fields::{is_too_large, version};
use super::{BodyLength, FIELDS_MAX, Fault, Fields, UserAgent};

/// First line and fields of a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResponseHead {
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Status.
    pub status: StatusCode,
    /// The server's words for it; may be empty.
    pub reason: String,
    /// The fields.
    pub fields: Fields,
    /// How long the body is; unstated means until the server closes.
    pub length: BodyLength,
}

impl ResponseHead {
    /// Reads a head from the start of `bytes`, and says how long it is. `None`: it is not complete.
    ///
    /// # Errors
    /// When it is no head, too large a one, or one whose body could be read in two ways.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let size = match parsed.parse(bytes)? {
            httparse::Status::Complete(size) if !is_too_large(size) => size,
            httparse::Status::Partial if !is_too_large(bytes.len()) => return Ok(None),
            _ => return Err(Fault::HeadTooLarge),
        };
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|_| Fault::Syntax("status"))?;
        let fields = Fields::new(parsed.headers);
        let length = if is_without_body(status) {
            BodyLength::Sized(0)
        } else {
            fields.body_length()?
        };
        let head = Self {
            version: version(parsed.version),
            status,
            reason: parsed.reason.unwrap_or_default().to_owned(),
            fields,
            length,
        };
        Ok(Some((head, size)))
    }

    /// The server, if it is one of the family (§2.2).
    pub fn agent(&self) -> Option<UserAgent> {
        self.fields.get("Server").and_then(UserAgent::parse)
    }

    /// Whether another request may follow on this connection, once the body is over.
    pub fn keeps_connection(&self) -> bool {
        self.length != BodyLength::Unstated && self.fields.keeps_connection(self.version)
    }
}

/// Whatever its fields say.
fn is_without_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
