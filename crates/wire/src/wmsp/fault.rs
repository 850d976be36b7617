//! What can be wrong with a message of HTTP, and the status that tells the peer.

use http::StatusCode;

/// Why a head or a body cannot be read. The connection is of no use afterwards: where the next message begins is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not HTTP, or with bytes in it that HTTP forbids: NUL, a lone CR, a folded line.
    #[error("not a head of HTTP: {0}")]
    Syntax(&'static str),
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("a version of HTTP other than 1.0 and 1.1")]
    Version,
    /// Longer than [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX), or more than [`FIELDS_MAX`](super::FIELDS_MAX) fields.
    #[error("the head is too large")]
    HeadTooLarge,
    /// `Content-Length` twice, or not a number.
    #[error("the Content-Length is unclear")]
    ContentLength,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("Content-Length and Transfer-Encoding at once")]
    TwoLengths,
    /// A `Transfer-Encoding` that is not `chunked`, or in a request of HTTP/1.0.
    #[error("an unknown Transfer-Encoding")]
    TransferEncoding,
    /// A chunk without a size, or not ended where its size says.
    #[error("a damaged chunk")]
    Chunk,
}

impl Fault {
    /// What to answer to such a request.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            Self::Syntax(_) | Self::ContentLength | Self::TwoLengths | Self::Chunk => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

impl From<httparse::Error> for Fault {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::Version => Self::Version,
            httparse::Error::TooManyHeaders => Self::HeadTooLarge,
            httparse::Error::HeaderName => Self::Syntax("field name"),
            httparse::Error::HeaderValue => Self::Syntax("field value"),
            httparse::Error::NewLine => Self::Syntax("line end"),
            httparse::Error::Status => Self::Syntax("status"),
            httparse::Error::Token => Self::Syntax("first line"),
        }
    }
}
