//! URLs of the MMS family: `mms://`, `mmst://` and `mmsu://` (protocol page §10).

use std::fmt;
use std::str::FromStr;

use funnel_wire::mms::PORT;

/// How the URL wants to be played.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `mms://`: find the best protocol.
    Mms,
    /// `mmst://`: MMS, data over TCP.
    Mmst,
    /// `mmsu://`: MMS, data over UDP.
    Mmsu,
}

/// A parsed URL. `Display` gives it back.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Url {
    /// `mms`, `mmst` or `mmsu`.
    pub scheme: Scheme,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// 1755 if the URL names none.
    pub port: u16,
    /// Path and query without the leading slash, as written: this is what OpenFile carries.
    pub path: String,
}

/// Why a text is not such a URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("expected mms://, mmst:// or mmsu://")]
    Scheme,
    /// Nothing between `//` and the path, or a bracket without its pair.
    #[error("the host is missing or damaged")]
    Host,
    /// Not 1–65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
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
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "mms" => Scheme::Mms,
            "mmst" => Scheme::Mmst,
            "mmsu" => Scheme::Mmsu,
            _ => return Err(UrlError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = split_authority(authority)?;
        let path = path.strip_prefix('/').unwrap_or(path).to_owned();
        Ok(Self {
            scheme,
            host,
            port,
            path,
        })
    }
}

fn split_authority(authority: &str) -> Result<(String, u16), UrlError> {
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
        None => PORT,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(UrlError::Port)?,
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
        if self.port == PORT {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Mms => "mms",
            Scheme::Mmst => "mmst",
            Scheme::Mmsu => "mmsu",
        };
        let slash = if self.path.starts_with('?') { "" } else { "/" };
        write!(f, "{scheme}://{}{slash}{}", self.authority(), self.path)
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
    fn each_fault_has_its_name() {
        for (text, error) in [
            ("http://h/x", UrlError::Scheme),
            ("radio.example/live", UrlError::Scheme),
            ("mms:///live", UrlError::Host),
            ("mms://[::1/live", UrlError::Host),
            ("mms://[h]/live", UrlError::Host),
            ("mms://user@h/live", UrlError::Host),
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
            let url = Url { scheme: Scheme::Mmst, host, port, path: path.trim_start_matches(['/', '?']).to_owned() };
            prop_assert_eq!(url.to_string().parse::<Url>(), Ok(url));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,60}") {
            let _ = text.parse::<Url>();
            let _ = format!("mms://{text}").parse::<Url>();
        }
    }
}
