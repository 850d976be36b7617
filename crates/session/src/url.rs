//! URLs of channels: `mms://`, `mmst://`, `mmsu://` (protocol page of MMS, §10), and over HTTP `http://`, `https://`, `mmsh://`.

use std::fmt;
use std::str::FromStr;

use funnel_wire::mms;
use percent_encoding::percent_decode_str;

/// How the URL wants to be played.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `mms://`: find the best protocol.
    Mms,
    /// `mmst://`: MMS, data over TCP.
    Mmst,
    /// `mmsu://`: MMS, data over UDP.
    Mmsu,
    /// `mmsh://`: Windows Media over HTTP.
    Mmsh,
    /// `http://`: whatever the server has.
    Http,
    /// `https://`: the same over TLS.
    Https,
}

impl Scheme {
    /// Whether it is played over HTTP.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Mmsh | Self::Http | Self::Https)
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(self) -> bool {
        self == Self::Https
    }

    /// The port of a URL that names none.
    pub fn port(self) -> u16 {
        match self {
            Self::Mms | Self::Mmst | Self::Mmsu => mms::PORT,
            Self::Mmsh | Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The word in front of `://`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mms => "mms",
            Self::Mmst => "mmst",
            Self::Mmsu => "mmsu",
            Self::Mmsh => "mmsh",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const ALL: [Self; 6] = [
        Self::Mms,
        Self::Mmst,
        Self::Mmsu,
        Self::Mmsh,
        Self::Http,
        Self::Https,
    ];
}

/// A parsed URL. `Display` gives it back, without the login.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Url {
    /// How to play it.
    pub scheme: Scheme,
    /// Who asks; over HTTP only.
    pub login: Option<Login>,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// That of the scheme if the URL names none.
    pub port: u16,
    /// Path and query without the leading slash, as written: this is what OpenFile carries.
    pub path: String,
}

/// `name:password@` of a URL, decoded. `Debug` does not show the password.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Login {
    /// The user.
    pub name: String,
    /// May be empty.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a text is not such a URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("expected mms://, mmst://, mmsu://, mmsh://, http:// or https://")]
    Scheme,
    /// Nothing between `//` and the path, or a bracket without its pair.
    #[error("the host is missing or damaged")]
    Host,
    /// Not 1–65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Something before an `@`, where there are no logins.
    #[error("a user and a password can be given over HTTP only")]
    Login,
    /// Spaces or control characters.
    #[error("the URL contains a space or a control character")]
    Character,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim_ascii();
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(scheme))
            .ok_or(UrlError::Scheme)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, authority) = match authority.rsplit_once('@') {
            Some((login, authority)) if scheme.is_http() => (Some(Login::parse(login)), authority),
            Some(_) => return Err(UrlError::Login),
            None => (None, authority),
        };
        let (host, port) = split_authority(authority)?;
        let path = path.strip_prefix('/').unwrap_or(path).to_owned();
        Ok(Self {
            scheme,
            login,
            host,
            port: port.unwrap_or(scheme.port()),
            path,
        })
    }
}

impl Login {
    fn parse(text: &str) -> Self {
        let (name, password) = text.split_once(':').unwrap_or((text, ""));
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Self {
            name: decoded(name),
            password: decoded(password),
        }
    }
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        if !host.contains(':') {
            return Err(UrlError::Host);
        }
        (
            host,
            if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or(UrlError::Host)?)
            },
        )
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() || host.contains(['[', ']', '@', '\\']) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = digits.parse().ok().filter(|port| *port != 0);
            Some(number.ok_or(UrlError::Port)?)
        }
        Some(_) => return Err(UrlError::Port),
    };
    Ok((host.to_owned(), port))
}

impl Url {
    /// Host and, if unusual, port as in a `Host:` field: IPv6 in brackets.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == self.scheme.port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Where a server leads that was asked for this URL and answered with `location`. The login goes along only to the same
    /// server, and never from TLS to the open.
    ///
    /// # Errors
    /// When it is no URL that can be played.
    pub fn redirected(&self, location: &str) -> Result<Self, UrlError> {
        let location = location.trim_ascii();
        let is_absolute = location
            .split(['/', '?', '#'])
            .next()
            .is_some_and(|start| start.ends_with(':'));
        let mut url: Self = if is_absolute {
            location.parse()?
        } else if let Some(rest) = location.strip_prefix("//") {
            format!("{}://{rest}", self.scheme.name()).parse()?
        } else {
            let folder = match location.starts_with(['/', '?']) {
                true => "",
                false => {
                    let path = self.path.split('?').next().unwrap_or_default();
                    path.rfind('/').map_or("", |slash| &path[..=slash])
                }
            };
            let base = format!("{}://{}", self.scheme.name(), self.authority());
            let path = location.strip_prefix('/').unwrap_or(location);
            format!("{base}/{folder}{path}").parse()?
        };
        let is_same_server = url.scheme.is_tls() == self.scheme.is_tls()
            && (&url.host, url.port) == (&self.host, self.port);
        if url.login.is_none() && url.scheme.is_http() && is_same_server {
            url.login.clone_from(&self.login);
        }
        Ok(url)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.path.starts_with('?') { "" } else { "/" };
        write!(
            f,
            "{}://{}{slash}{}",
            self.scheme.name(),
            self.authority(),
            self.path
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Result<(Scheme, String, u16, String), UrlError> {
        text.parse()
            .map(|url: Url| (url.scheme, url.host, url.port, url.path))
    }

    #[test]
    fn the_three_schemes_and_their_parts() {
        assert_eq!(
            parts("mms://radio.example/live"),
            Ok((Scheme::Mms, "radio.example".into(), 1755, "live".into()))
        );
        assert_eq!(
            parts("MMST://h:2755/a/b?x=1#f"),
            Ok((Scheme::Mmst, "h".into(), 2755, "a/b?x=1".into()))
        );
        assert_eq!(
            parts("mmsu://[::1]:7/"),
            Ok((Scheme::Mmsu, "::1".into(), 7, "".into()))
        );
        assert_eq!(
            parts("mms://[fe80::1]"),
            Ok((Scheme::Mms, "fe80::1".into(), 1755, "".into()))
        );
        assert_eq!(
            parts("mms://h?q"),
            Ok((Scheme::Mms, "h".into(), 1755, "?q".into()))
        );
    }

    #[test]
    fn over_http_there_are_other_ports_and_a_login() {
        for (text, port, name) in [
            ("http://h/x", 80, None),
            ("https://h/x", 443, None),
            ("mmsh://h:8080/x", 8080, None),
            ("http://ann:p%40ss:w@h/x", 80, Some(("ann", "p@ss:w"))),
            ("https://b%3Ab@[::1]:8443/x", 8443, Some(("b:b", ""))),
        ] {
            let url: Url = text.parse().unwrap();
            let login = url.login.as_ref();
            assert_eq!(url.port, port, "{text}");
            assert_eq!(
                login.map(|login| (login.name.as_str(), login.password.as_str())),
                name,
                "{text}"
            );
            assert!(!format!("{url} {url:?}").contains("p@ss"), "{text}");
            assert!(!url.to_string().contains('@'), "{text}");
        }
    }

    #[test]
    fn redirects_are_read_as_links_are() {
        let url: Url = "http://a:b@h:8080/dir/x?q/1".parse().unwrap();
        for (location, expected) in [
            ("/y", "http://h:8080/y"),
            ("y?z", "http://h:8080/dir/y?z"),
            ("?z", "http://h:8080?z"),
            ("//other/y", "http://other/y"),
            ("https://other/y", "https://other/y"),
            ("mms://other/y", "mms://other/y"),
            (" MMSH://h:8080/y ", "mmsh://h:8080/y"),
        ] {
            let led = url.redirected(location).unwrap();
            assert_eq!(led.to_string(), expected, "{location}");
            let is_same = led.host == "h" && led.port == 8080;
            assert_eq!(led.login.is_some(), is_same, "{location}");
        }
        assert_eq!(url.redirected("ftp://h/x"), Err(UrlError::Scheme));
        assert_eq!(url.redirected("http:/x"), Err(UrlError::Scheme));
        let safe: Url = "https://a:b@h:8080/x".parse().unwrap();
        assert_eq!(safe.redirected("http://h:8080/x").unwrap().login, None);
    }

    #[test]
    fn each_fault_has_its_name() {
        for (text, error) in [
            ("rtsp://h/x", UrlError::Scheme),
            ("radio.example/live", UrlError::Scheme),
            ("mms:///live", UrlError::Host),
            ("mms://[::1/live", UrlError::Host),
            ("mms://[h]/live", UrlError::Host),
            ("mms://user@h/live", UrlError::Login),
            ("mmsu://a:b@h:1755/live", UrlError::Login),
            ("http://a@b@/live", UrlError::Host),
            ("mms://h:0/live", UrlError::Port),
            ("mms://h:65536/live", UrlError::Port),
            ("mms://h:+5/live", UrlError::Port),
            ("mms://h:/live", UrlError::Port),
            ("mms://h/a b", UrlError::Character),
        ] {
            assert_eq!(parts(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_gives_the_url_back(host in "[a-z][a-z0-9.-]{0,20}", port in 1u16.., path in "[a-zA-Z0-9/?=%._-]{0,30}") {
            let url = Url { scheme: Scheme::Mmst, login: None, host, port, path: path.trim_start_matches(['/', '?']).to_owned() };
            prop_assert_eq!(url.to_string().parse::<Url>(), Ok(url));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,60}") {
            let _ = text.parse::<Url>();
            let _ = format!("mms://{text}").parse::<Url>();
        }
    }
}
