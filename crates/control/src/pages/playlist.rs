//! Playlists: `NAME.asx` (and `.wax`, `.wvx`) in both notations, `NAME.m3u`, and `NAME.nsc`, the announcement of a multicast.
//!
//! A player opens the first entry it can (`docs/protocol/rollover.md` §7), so the order is: multicast, which costs the server nothing
//! more; `mms://`, behind which old players find the best way; `http://`, which everybody can; before all of them `https://` for
//! who came so. An M3U has one entry, since players play all they find in one.

use http::request::Parts;
use http::{Response, StatusCode};

use super::host::Links;
use super::text::shown;
use super::{Multicast, Show, agent, html, response};

/// What a playlist's name ends with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Windows Media metafile; the value is its media type.
    Asx(&'static str),
    /// What nearly every other player opens.
    M3u,
    /// The announcement of a multicast.
    Nsc,
}

impl Kind {
    /// By the extension of a path, and what stands before it. An escaped dot is none.
    pub(super) fn of(path: &str) -> Option<(Self, &str)> {
        let (stem, extension) = path.rsplit_once('.')?;
        let kind = match extension.to_ascii_lowercase().as_str() {
            "asx" => Self::Asx("video/x-ms-asf"),
            "wax" => Self::Asx("audio/x-ms-wax"),
            "wvx" => Self::Asx("video/x-ms-wvx"),
            "m3u" => Self::M3u,
            "nsc" => Self::Nsc,
            _ => return None,
        };
        Some((kind, stem))
    }
}

/// A way to play a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    /// The multicast its announcement tells of.
    Group,
    /// Windows Media's own protocol, over TCP or UDP.
    Mms,
    /// HTTP.
    Http,
    /// HTTP with encryption.
    Https,
}

/// Every way to play a channel, best first. For a load test, too: it plays, there is just nothing to see.
pub(super) fn ways(links: &Links, show: &Show) -> Vec<(By, String)> {
    if let Some(elsewhere) = &show.elsewhere {
        return vec![
            (By::Mms, elsewhere.mms.clone()),
            (By::Http, elsewhere.http.clone()),
        ];
    }
    let name = &show.name;
    let group = match show.multicast {
        Multicast::None => None,
        Multicast::Pending | Multicast::Announced(_) => links.file(name, "nsc"),
    };
    let all = [
        (By::Group, group),
        (By::Mms, Some(links.mms(name))),
        (By::Http, links.http(name)),
        (By::Https, links.https(name)),
    ];
    let known = all.into_iter().filter_map(|(by, url)| Some((by, url?)));
    let mut ways: Vec<_> = known.collect();
    if links.is_secure() {
        // Who came in private goes on in private.
        ways.sort_by_key(|(by, _)| *by != By::Https);
    }
    ways
}

/// `None`: there is no such list of this channel.
pub(super) fn write(
    kind: Kind,
    show: &Show,
    links: &Links,
    request: &Parts,
) -> Option<Response<String>> {
    let (content_type, body) = match kind {
        Kind::Asx(_) if is_for_old_players(request) => ("video/x-ms-asf", reference(links, show)),
        Kind::Asx(content_type) => (content_type, html::asx(show, &hrefs(links, show))),
        Kind::M3u => ("audio/x-mpegurl", m3u(links, show)),
        Kind::Nsc => match &show.multicast {
            Multicast::Announced(text) => ("application/x-netshow-channel", text.to_string()),
            Multicast::None | Multicast::Pending => return None,
        },
    };
    Some(response(StatusCode::OK, content_type, body))
}

/// Asked for with `?old`, and given to players from before the XML notation.
fn is_for_old_players(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or("");
    let version = agent(request).strip_prefix("NSPlayer/");
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    query.split('&').any(|word| word == "old") || major.is_some_and(|major| major < XML_SINCE)
}

/// The version of Windows Media Player that introduced ASX 3.0, from memory of its documentation: not verified.
const XML_SINCE: u32 = 6;

fn hrefs(links: &Links, show: &Show) -> Vec<String> {
    ways(links, show).into_iter().map(played).collect()
}

/// With the extension that tells a browser's plug-in what it gets; the server does not look at it.
fn played((by, url): (By, String)) -> String {
    match by {
        By::Http | By::Https if !url.contains('?') => format!("{url}?MSWMExt=.asf"),
        _ => url,
    }
}

/// HTTP first: players read these as Windows Media HTTP streaming (VLC), and not all of the old ones take another scheme here.
fn reference(links: &Links, show: &Show) -> String {
    let mut ways = ways(links, show);
    ways.retain(|(by, _)| *by != By::Group);
    ways.sort_by_key(|(by, _)| *by != By::Http);
    let refs = (ways.into_iter().map(played).enumerate())
        .map(|(index, url)| format!("Ref{}={url}\r\n", index + 1));
    std::iter::once("[Reference]\r\n".to_owned())
        .chain(refs)
        .collect()
}

fn m3u(links: &Links, show: &Show) -> String {
    let title = shown(show.title.as_deref().unwrap_or(&show.name));
    let url = match &show.elsewhere {
        Some(elsewhere) => elsewhere.http.clone(),
        None => links.best(&show.name),
    };
    format!("#EXTM3U\n#EXTINF:-1,{title}\n{url}\n")
}
