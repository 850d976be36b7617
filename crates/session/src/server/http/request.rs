//! What a request wants (§5.1): one table, from its head alone.

use funnel_wire::mms::Path;
use funnel_wire::wmsp::{BodyLength, Method, Pragmas, Product, RequestHead, StatusCode, UserAgent};

use super::{Desk, OpenRequest, Player};

/// What a request wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// Somebody else answers.
    HandOver(Desk),
    /// Plain ASF without end.
    Plain,
    /// The channel's header.
    Describe,
    /// Header and media.
    Play,
    /// Media of the next entry, on the connection it was announced on.
    PlayNextEntry,
    /// Other streams from now on.
    SelectStream,
    /// No more media.
    Stop,
    /// The session is to live on.
    KeepAlive,
    /// A player's report, as a token or as the body.
    Log,
    /// A proxy asks what it may keep.
    ContentInfo,
    /// A proxy reports what its players did.
    RemoteEvent,
    /// Does pipelining work?
    Pipeline,
    /// Nothing we do.
    Refuse(StatusCode),
}

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) pragmas: Pragmas,
    /// Who asks, if it is one of the family.
    pub(super) agent: Option<UserAgent>,
    pub(super) wish: Wish,
}

impl Request {
    pub(super) fn new(head: RequestHead) -> Self {
        let pragmas = head.fields.pragmas();
        let agent = head.agent();
        let mut request = Self {
            head,
            pragmas,
            agent,
            wish: Wish::Plain,
        };
        request.wish = request.wish();
        request
    }

    /// Whether it is one that players of the family make, and so is to be answered in their way.
    pub(super) fn is_of_family(&self) -> bool {
        self.agent.is_some() || !matches!(self.wish, Wish::Plain | Wish::Refuse(_))
    }

    /// Whether the peer is one of the family, of this version or a later one.
    pub(super) fn is_at_least(&self, major: u16) -> bool {
        self.agent.is_some_and(|agent| agent.is_at_least(major, 0))
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    /// Chunks, so that the connection outlives the media (§2.1).
    pub(super) fn takes_chunks(&self) -> bool {
        self.is_http_11() && self.pragmas.is_set("version11-enabled")
    }

    pub(super) fn is_http_11(&self) -> bool {
        self.head.version == funnel_wire::wmsp::Version::HTTP_11
    }

    /// Where the body ends, if it is one that is read: bytes.
    pub(super) fn body_bytes(&self) -> Result<usize, StatusCode> {
        match self.head.length {
            BodyLength::Unstated => Ok(0),
            BodyLength::Chunked => Err(StatusCode::LENGTH_REQUIRED),
            BodyLength::Sized(0) => Ok(0),
            BodyLength::Sized(_) if self.head.method != Method::POST => {
                Err(StatusCode::BAD_REQUEST)
            }
            BodyLength::Sized(size) => usize::try_from(size)
                .ok()
                .filter(|size| *size <= BODY_BYTES_MAX)
                .ok_or(StatusCode::PAYLOAD_TOO_LARGE),
        }
    }

    /// The channel.
    pub(super) fn open_request(&self) -> Option<OpenRequest> {
        let path = Path::new(self.head.path());
        if path.is_too_long() {
            return None;
        }
        let mut names = path.candidates();
        // `NAME.asf` asks for the channel's ASF, and so do players that look for a file (§13, §19).
        if let Some(name) = names.last().and_then(|name| name.strip_suffix(".asf")) {
            names.push(name.to_owned());
        }
        Some(OpenRequest {
            names,
            query: path.query().map(str::to_owned),
            host: self.head.host().map(str::to_owned),
            raw: path.raw,
        })
    }

    pub(super) fn user_agent(&self) -> &str {
        self.head.fields.get("User-Agent").unwrap_or_default()
    }

    /// Who it is: some that call themselves alike have habits (§5.4).
    pub(super) fn player(&self) -> Player {
        let Some(agent) = self.agent.filter(UserAgent::is_viewer) else {
            return Player::Unknown;
        };
        let has_odd_guid = self
            .pragmas
            .client_guid()
            .is_some_and(|guid| guid.starts_with("0x"));
        let first_pragma = self.head.fields.get("Pragma").unwrap_or_default();
        match (agent.product, self.user_agent()) {
            (Product::Server, _) => Player::DistributionServer,
            (_, LINUX_AGENT) if self.is_http_11() => Player::Ffmpeg,
            (_, LINUX_AGENT) if first_pragma.starts_with("xClientGUID") => Player::Mplayer,
            (_, LINUX_AGENT) => Player::Libmms,
            _ if has_odd_guid => Player::Vlc,
            _ => Player::WindowsMedia { major: agent.major },
        }
    }

    fn wish(&self) -> Wish {
        match self.head.method {
            Method::GET | Method::HEAD => self.wish_of_get(),
            Method::POST => self.wish_of_post(),
            Method::PUT => Wish::HandOver(Desk::Ingest),
            Method::OPTIONS => Wish::KeepAlive,
            _ => Wish::Refuse(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn wish_of_get(&self) -> Wish {
        let path = self.head.path();
        let (name, query) = path.split_once('?').unwrap_or((path, ""));
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        if extension.is_some_and(|one| PAGES.iter().any(|page| one.eq_ignore_ascii_case(page))) {
            return Wish::HandOver(Desk::Pages);
        }
        match self.agent {
            Some(agent) if agent.is_viewer() => self.wish_of_viewer(agent),
            Some(_) => Wish::Refuse(StatusCode::METHOD_NOT_ALLOWED), // an encoder does not GET
            None if name.is_empty() => Wish::HandOver(Desk::Pages),
            None if extension == Some("asf") || query == "raw" => Wish::Plain,
            None if self.is_of_browser() => Wish::HandOver(Desk::Pages),
            None => Wish::Plain,
        }
    }

    fn wish_of_viewer(&self, agent: UserAgent) -> Wish {
        let pragmas = &self.pragmas;
        let is_bare = !self
            .head
            .fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("Pragma"));
        if pragmas.is_set("pipeline-request") {
            Wish::Pipeline
        } else if pragmas.is_set("xPlayNextEntry") {
            Wish::PlayNextEntry
        } else if pragmas.is_set("xPlayStrm") {
            Wish::Play
        } else if pragmas.has("stream-switch-entry") {
            Wish::SelectStream
        } else if is_bare && agent.product == Product::Server && !agent.is_at_least(4, 0) {
            Wish::Play // pullers that know nothing of Describe (§10)
        } else {
            Wish::Describe
        }
    }

    fn wish_of_post(&self) -> Wish {
        let content_type = self.head.fields.content_type().unwrap_or_default();
        let is = |name: &str| content_type.eq_ignore_ascii_case(name);
        let has = |token| self.pragmas.has(token);
        if is("application/x-wms-getcontentinfo") {
            Wish::ContentInfo
        } else if is("application/x-wms-LogStats") {
            Wish::Log
        } else if is("application/x-wms-sendevent") {
            Wish::RemoteEvent
        } else if !(content_type.is_empty() || is("text/plain"))
            || self.head.length == BodyLength::Chunked
        {
            self.wish_of_pusher(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        } else if has("log-line") {
            Wish::Log
        } else if has("xStopStrm") {
            Wish::Stop
        } else if has("xKeepAliveInPause") {
            Wish::KeepAlive
        } else if has("stream-switch-entry") {
            Wish::SelectStream
        } else {
            self.wish_of_pusher(StatusCode::BAD_REQUEST)
        }
    }

    /// A body that is no player's: an encoder's, unless a player says that it is one.
    fn wish_of_pusher(&self, status: StatusCode) -> Wish {
        match self.agent {
            Some(agent) if agent.is_viewer() => Wish::Refuse(status),
            _ => Wish::HandOver(Desk::Ingest),
        }
    }

    /// §19: somebody who reads pages, and wants one.
    fn is_of_browser(&self) -> bool {
        let reads = ["Mozilla/", "Opera"]
            .iter()
            .any(|name| self.user_agent().contains(name));
        reads
            && self
                .head
                .fields
                .get("Accept")
                .is_some_and(|types| types.contains("text/html"))
    }
}

/// What is never a channel's media.
const PAGES: [&str; 10] = [
    "asx", "wax", "wvx", "nsc", "m3u", "html", "htm", "ico", "css", "svg",
];
/// What ffmpeg, libmms and mplayer say they are.
const LINUX_AGENT: &str = "NSPlayer/4.1.0.3856";
/// Longest body of a player's request; a log has about 3 KB (§9.3).
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
