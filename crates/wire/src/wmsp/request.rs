//! The head of a request, as strict as is needed to know where its body begins and ends.

use std::str;

use http::{Method, Version};

use super::fields::{is_too_large, version};
use super::{BodyLength, FIELDS_MAX, Fault, Fields, UserAgent};

/// First line and fields of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestHead {
    /// Any word: those that are not known are for the reader to refuse.
    pub method: Method,
    /// As on the request line: `/path?query`, `http://host/path?query` or `*`.
    pub target: String,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
    /// How long the body is; unstated, for a GET or HEAD, means that there is none.
    pub length: BodyLength,
}

impl RequestHead {
    /// Reads a head from the start of `bytes`, and says how long it is. `None`: it is not complete.
    ///
    /// # Errors
    /// When it is no head, too large a one, or one whose body could be read in two ways.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        let size = match parsed.parse(bytes)? {
            httparse::Status::Complete(size) if !is_too_large(size) => size,
            httparse::Status::Partial if !is_too_large(bytes.len()) => return Ok(None),
            _ => return Err(Fault::HeadTooLarge),
        };
        let method = parsed.method.unwrap_or_default();
        let method = method.parse().map_err(|_| Fault::Syntax("method"))?;
        let fields = Fields::new(parsed.headers);
        let length = fields.body_length()?;
        let version = version(parsed.version);
        if length == BodyLength::Chunked && version == Version::HTTP_10 {
            return Err(Fault::TransferEncoding);
        }
        let head = Self {
            method,
            target: parsed.path.unwrap_or_default().to_owned(),
            version,
            fields,
            length,
        };
        Ok(Some((head, size)))
    }

    /// Path and query without scheme, host and leading slashes: what names the channel (`POST //` occurs, §13).
    /// Empty for `/` and `*`.
    pub fn path(&self) -> &str {
        let target = match self.split_absolute() {
            Some((_, rest)) => rest,
            None if self.target == "*" => "",
            None => &self.target,
        };
        target.trim_start_matches('/')
    }

    /// By which host and port the client reached the server, as it says: from an absolute request line, else `Host`.
    pub fn host(&self) -> Option<&str> {
        let host = self.split_absolute().map(|(host, _)| host);
        host.or_else(|| self.fields.get("Host"))
    }

    /// The user agent, if it is one of the family (§2.2); else see the field.
    pub fn agent(&self) -> Option<UserAgent> {
        self.fields.get("User-Agent").and_then(UserAgent::parse)
    }

    /// Whether the client wants the connection to stay; an answer to HTTP/1.0 has to say so, too.
    pub fn keeps_connection(&self) -> bool {
        self.fields.keeps_connection(self.version)
    }

    /// Whether the client holds the body back until it hears `100 Continue` (§22.1).
    pub fn expects_continue(&self) -> bool {
        self.version == Version::HTTP_11 && self.fields.lists("Expect", "100-continue")
    }

    /// Host and what follows it, of an absolute request line.
    fn split_absolute(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self.target.split_once("://")?;
        if !["http", "https", "mmsh"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        Some(rest.split_at(end))
    }
}
