//! What a browser sees, and the playlists players open: everything the HTTP port answers that is neither media nor an encoder's.
//!
//! Pure: [`answer`] turns a request into a response; a [`Show`] is what the caller knows of a channel at that moment. What comes from
//! outside (names, titles, the request itself) is escaped for the format it lands in. Pages are well-formed XML too, refer to
//! nothing outside themselves and run no scripts. Which player takes which playlist: `docs/protocol/wmsp.md` §19.

mod host;
mod html;
mod playlist;
mod text;

use std::sync::Arc;

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, SERVER, USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::directory::Directory;

/// The server, as links name it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Name and version, e.g. `funnel/0.1.0`.
    pub product: String,
    /// Host for links; IPv6 without brackets.
    pub host: String,
    /// `host` was configured: links name it, whatever the visitor called the server.
    pub host_is_configured: bool,
    /// TCP port of MMS.
    pub mms: u16,
    /// TCP port of HTTP; `None` = the visitor's own.
    pub http: Option<u16>,
    /// TCP port of HTTPS, if there is one.
    pub https: Option<u16>,
}

/// A channel at one moment.
#[derive(Clone, Debug, Default)]
pub struct Show {
    /// As configured.
    pub name: String,
    /// What players show; anybody's word.
    pub title: Option<String>,
    /// Anybody's word, too.
    pub author: Option<String>,
    /// What can be expected.
    pub state: State,
    /// bit/s, once a header is known.
    pub bit_rate: Option<u32>,
    /// One line for each stream, e.g. `video wmv2, 640x360, 250 kb/s`.
    pub streams: Vec<String>,
    /// Players watching now, those of a multicast group not counted.
    pub viewers: u32,
    /// It exists to be load tested: nothing to see or hear.
    pub is_load_test: bool,
    /// Its multicast group, if it has one.
    pub multicast: Multicast,
    /// It is on another server.
    pub elsewhere: Option<Elsewhere>,
}

/// What can be expected of a channel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum State {
    /// Packets are coming.
    OnAir,
    /// It begins when somebody plays.
    Standby,
    /// Its source has not come yet.
    #[default]
    Waiting,
    /// The source is away, the viewers wait for it.
    Interrupted,
    /// The show came to its end.
    Ended,
    /// The source is away for long.
    OffAir,
}

/// A channel's multicast group, for `NAME.nsc`.
#[derive(Clone, Debug, Default)]
pub enum Multicast {
    /// It has none.
    #[default]
    None,
    /// Its announcement waits for the first header.
    Pending,
    /// The whole announcement.
    Announced(Arc<str>),
}

/// Where a channel is instead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Elsewhere {
    /// For players that speak MMS.
    pub mms: String,
    /// For everybody else.
    pub http: String,
}

/// How a request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// `http://`
    Plain,
    /// `https://`
    Secure,
}

/// The answer to any request that is not for media. `look` says what is known of a channel now.
pub fn answer<T>(
    site: &Site,
    channels: &Directory<T>,
    look: impl Fn(&str, &T) -> Show,
    request: &Parts,
    way: Way,
) -> Response<String> {
    let links = host::links(site, request, way);
    let reader = Reader::of(request);
    let mut response = if ![Method::GET, Method::HEAD].contains(&request.method) {
        let mut refusal = sorry(reader, Sorry::Method);
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        refusal
    } else {
        let path = request.uri.path();
        let asked =
            (playlist::Kind::of(path)).and_then(|(kind, stem)| Some((kind, channels.find(stem)?)));
        if let Some((kind, found)) = asked {
            let show = look(found.name, found.value);
            match playlist::write(kind, &show, &links, request) {
                Some(list) => list,
                None if matches!(show.multicast, Multicast::Pending) => sorry(reader, Sorry::Soon),
                None => sorry(reader, Sorry::NoGroup { name: found.name }),
            }
        } else if path == "/" {
            let shows: Vec<Show> = channels
                .iter()
                .map(|(name, value)| look(name, value))
                .collect();
            reader.page(
                StatusCode::OK,
                || html::index(site, &links, &shows),
                || text::index(site, &links, &shows),
            )
        } else if let Some(found) = channels.find(path) {
            let show = look(found.name, found.value);
            reader.page(
                StatusCode::OK,
                || html::channel(site, &links, &show),
                || text::channel(&links, &show),
            )
        } else {
            let stem = playlist::Kind::of(path).map_or(path, |(_, stem)| stem);
            let nearest = channels.nearest(stem);
            sorry(reader, Sorry::NoChannel { path, nearest })
        }
    };
    let headers = response.headers_mut();
    if let Ok(product) = HeaderValue::from_str(&site.product) {
        headers.insert(SERVER, product);
    }
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Every answer tells of this moment, and no page needs anything from elsewhere.
const ALWAYS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-cache"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

/// Who reads the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    /// Shows pages.
    Browser,
    /// A player, a script, a person with curl.
    Program,
}

impl Reader {
    fn of(request: &Parts) -> Self {
        let accepts = request.headers.get_all(ACCEPT).iter();
        let wants_pages = accepts
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains("text/html"));
        if wants_pages {
            Self::Browser
        } else {
            Self::Program
        }
    }

    fn page(
        self,
        status: StatusCode,
        html: impl FnOnce() -> String,
        text: impl FnOnce() -> String,
    ) -> Response<String> {
        let (kind, body) = match self {
            Self::Browser => ("text/html; charset=utf-8", html()),
            Self::Program => ("text/plain; charset=utf-8", text()),
        };
        response(status, kind, body)
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Why there is nothing to see.
#[derive(Clone, Copy, Debug)]
enum Sorry<'a> {
    /// No channel, and the one that was meant, if it is a slip.
    NoChannel {
        path: &'a str,
        nearest: Option<&'a str>,
    },
    /// `NAME.nsc` of a channel without a group.
    NoGroup { name: &'a str },
    /// `NAME.nsc` before the first header.
    Soon,
    /// Neither GET nor HEAD.
    Method,
}

fn sorry(reader: Reader, why: Sorry<'_>) -> Response<String> {
    let status = match why {
        Sorry::NoChannel { .. } | Sorry::NoGroup { .. } => StatusCode::NOT_FOUND,
        Sorry::Soon => StatusCode::SERVICE_UNAVAILABLE,
        Sorry::Method => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut response = reader.page(
        status,
        || html::sorry(status, why),
        || text::sorry(status, why),
    );
    if matches!(why, Sorry::Soon) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

/// The `User-Agent`, empty if there is none or it is no text.
fn agent(request: &Parts) -> &str {
    let agent = request.headers.get(USER_AGENT);
    agent.and_then(|agent| agent.to_str().ok()).unwrap_or("")
}

#[cfg(test)]
mod tests;
