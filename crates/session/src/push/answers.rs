//! What is written back, in one place: heads for encoders of the Windows Media family and for all others.

use std::time::Instant;

use funnel_wire::wmsp::{HeadWriter, RequestHead, StatusCode, Version};

use super::auth::{Challenge, Guard};

/// What of a request its answer depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Manner {
    version: Version,
    /// One of the family: it insists on a server of the family (§20.1).
    is_family: bool,
    /// The connection stays if both want it.
    pub(super) keeps: bool,
}

impl Manner {
    /// Before any request was understood.
    pub(super) const UNKNOWN: Self = Self {
        version: Version::HTTP_11,
        is_family: false,
        keeps: false,
    };

    pub(super) fn of(head: &RequestHead) -> Self {
        let agent = head.fields.get("User-Agent").unwrap_or_default();
        let content = head.fields.content_type().unwrap_or_default();
        Self {
            version: head.version,
            is_family: agent.starts_with(ENCODER) || Kind::of(content) != Kind::Media,
            keeps: head.keeps_connection(),
        }
    }

    /// An answer that ends the connection.
    pub(super) fn closing(self) -> Self {
        Self {
            keeps: false,
            ..self
        }
    }

    /// A whole answer. `product` is for those who do not insist.
    pub(super) fn answer(
        self,
        product: &str,
        status: StatusCode,
        fields: &[(&str, String)],
        text: &str,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let mut head = HeadWriter::response(&mut out, self.version, status);
        head = if self.is_family {
            head.field("Server", FAMILY_SERVER)
                .field("Pragma", "no-cache, timeout=60000")
                .field("Cache-Control", "no-cache")
        } else {
            head.field("Server", product)
        };
        for (name, value) in fields {
            head = head.field(name, value);
        }
        if !text.is_empty() {
            head = head.field("Content-Type", "text/plain; charset=utf-8");
        }
        let length = if text.is_empty() { 0 } else { text.len() + 1 };
        head.field("Content-Length", length)
            .field(
                "Connection",
                if self.keeps { "Keep-Alive" } else { "close" },
            )
            .finish();
        if !text.is_empty() {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        out
    }
}

impl Guard {
    /// The fields of a 401.
    pub(super) fn fields(&self, now: Instant, challenge: Challenge) -> Vec<(&'static str, String)> {
        let challenges = self.challenges(now, challenge).into_iter();
        challenges
            .map(|challenge| ("WWW-Authenticate", challenge))
            .collect()
    }
}

/// What the body of a request is, by its content type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Setup,
    Start,
    /// ASF, or chunks of it: whatever else the type says.
    Media,
}

impl Kind {
    pub(super) fn of(content_type: &str) -> Self {
        if content_type.eq_ignore_ascii_case("application/x-wms-pushsetup") {
            Self::Setup
        } else if content_type.eq_ignore_ascii_case("application/x-wms-pushstart") {
            Self::Start
        } else {
            Self::Media
        }
    }
}

/// What encoders of the family call themselves.
pub(super) const ENCODER: &str = "WMEncoder/";
/// The server they know (§26). Windows Media Encoder refuses any that is not called Cougar.
const FAMILY_SERVER: &str = "Cougar/9.5.6001.18281";
/// Goes before the body of a request that expects it.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
