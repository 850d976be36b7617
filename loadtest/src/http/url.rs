//! URLs of HTTP streams: `http://host:port/path`, and `mmsh://…` for the same asked as Windows Media Player asks.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Where a stream is. `Display` gives the URL back, the port always named.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HttpUrl {
    /// How to ask.
    pub manner: Manner,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// 80 if the URL names none.
    pub port: u16,
    /// Path and query, with the leading slash.
    pub path: String,
}

/// As whom to ask.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Manner {
    /// `http://`: as any listener.
    Plain,
    /// `mmsh://`: as Windows Media Player.
    WindowsMedia,
}

/// Why a text is no such URL.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("this is no URL: {0}")]
    Syntax(#[from] http::uri::InvalidUri),
    /// Another scheme, or none.
    #[error("expected http:// or mmsh://")]
    Scheme,
    /// TLS.
    #[error("https:// is not supported: measure the server behind its TLS, with http://")]
    Tls,
    /// No host.
    #[error("the host is missing")]
    Host,
    /// `user:password@`.
    #[error("a user name in the URL is not supported")]
    User,
    /// Not 1–65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<HttpUrl, UrlError> {
        let uri: Uri = text.trim_ascii().parse()?;
        let manner = match uri.scheme_str() {
            Some("http") => Manner::Plain,
            Some("mmsh") => Manner::WindowsMedia,
            Some("https") => return Err(UrlError::Tls),
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::User);
        }
        let named = authority.host();
        let port = match authority.as_str()[named.len()..].strip_prefix(':') {
            None => PORT,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(UrlError::Port)?,
        };
        let host = named.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(HttpUrl {
            manner,
            host: host.to_owned(),
            port,
            path: format!("{slash}{path}"),
        })
    }
}

impl HttpUrl {
    /// Host and port as in a `Host:` field: IPv6 in brackets, port 80 left out.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        match self.port {
            PORT => format!("{open}{}{close}", self.host),
            port => format!("{open}{}{close}:{port}", self.host),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.manner {
            Manner::Plain => "http",
            Manner::WindowsMedia => "mmsh",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// RFC 9110, 4.2.1.
const PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_back() {
        for (text, manner, host, port, path, again) in [
            (
                "http://localhost:8000/live.mp3",
                Manner::Plain,
                "localhost",
                8000,
                "/live.mp3",
                "http://localhost:8000/live.mp3",
            ),
            ("http://a.b", Manner::Plain, "a.b", 80, "/", "http://a.b/"),
            (
                "http://a.b?x=1",
                Manner::Plain,
                "a.b",
                80,
                "/?x=1",
                "http://a.b/?x=1",
            ),
            (
                "HTTP://[::1]:81/a?b=c&d",
                Manner::Plain,
                "::1",
                81,
                "/a?b=c&d",
                "http://[::1]:81/a?b=c&d",
            ),
            (
                " mmsh://127.0.0.1:8080/live ",
                Manner::WindowsMedia,
                "127.0.0.1",
                8080,
                "/live",
                "mmsh://127.0.0.1:8080/live",
            ),
        ] {
            let url: HttpUrl = text.parse().expect(text);
            assert_eq!(
                (url.manner, &*url.host, url.port, &*url.path),
                (manner, host, port, path)
            );
            assert_eq!(url.to_string(), again);
            assert_eq!(again.parse::<HttpUrl>().expect(again), url);
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused_with_the_reason() {
        for (text, part) in [
            ("", "no URL"),
            ("live", "expected http://"),
            ("/live", "expected http://"),
            ("ftp://a/", "expected http://"),
            ("rtsp://a/", "expected http://"),
            ("https://a/", "https:// is not supported"),
            ("http://", "no URL"),
            ("http://:80/", "host"),
            ("http://u:p@a/", "user name"),
            ("http://a:0/", "port"),
            ("http://a:65536/", "port"),
            ("http://a:/", "port"),
            ("http://a b/", "no URL"),
            ("http://[::1/", "no URL"),
        ] {
            let error = text.parse::<HttpUrl>().expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
