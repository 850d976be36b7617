//! The URLs of channels, as players, pages and screens get them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{HTTP_PORT, MMS_PORT};

/// The address to open a channel at. The port is left out when it is the scheme's usual one, the name is percent-encoded, an IPv6
/// host gets its brackets. What comes out has no character that HTML, XML or a shell takes for its own, but those brackets.
pub fn url(scheme: &str, host: &str, port: u16, channel: &str) -> String {
    let path = path(channel);
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    if port == usual_port(scheme) {
        format!("{scheme}://{host}{path}")
    } else {
        format!("{scheme}://{host}:{port}{path}")
    }
}

/// The path of a channel in any of its URLs, percent-encoded.
pub fn path(channel: &str) -> String {
    format!("/{}", utf8_percent_encode(channel, PLAIN_IN_URL))
}

/// The port meant when a URL names none.
pub fn usual_port(scheme: &str) -> u16 {
    match scheme {
        "http" => 80,
        "https" => 443,
        _ => MMS_PORT,
    }
}

/// RFC 3986 §2.3, unreserved: safe in every player and every shell.
const PLAIN_IN_URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The address of a channel elsewhere, in the words of both families of protocols: MMS and HTTP. One of them is `url`; in the other,
/// host and path are the same and the port is the usual one of a funnel, since nobody knows better.
pub fn both_families(url: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // The colons of an IPv6 address are not the port's.
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    match scheme {
        "http" => (format!("mms://{host}{path}"), url.to_owned()),
        _ => (url.to_owned(), format!("http://{host}:{HTTP_PORT}{path}")),
    }
}

/// As a shell takes it for one word: brackets and `&` mean something there.
pub fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-:%~".contains(letter);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The host for links when none is configured: an address that is listened on if it names one machine, else `machine`.
pub fn host<'a>(
    public_host: Option<&str>,
    mms: &[SocketAddr],
    machine: impl Into<Cow<'a, str>>,
) -> String {
    let named: Option<IpAddr> = mms
        .first()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    match (public_host, named) {
        (Some(host), _) => host.to_owned(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => machine.into().into_owned(),
    }
}

/// The port for MMS links: that of the first address listened on.
pub fn port(mms: &[SocketAddr]) -> u16 {
    mms.first().map_or(MMS_PORT, SocketAddr::port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_for_links_is_the_best_known() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let any = [address("0.0.0.0:1755")];
        let one = [address("[::1]:1755")];
        assert_eq!(
            host(Some("live.example.org"), &one, "studio"),
            "live.example.org"
        );
        assert_eq!(host(None, &one, "studio"), "::1");
        assert_eq!(host(None, &any, "studio"), "studio");
    }

    #[test]
    fn what_is_elsewhere_is_there_for_both_families() {
        for (url, mms, http) in [
            ("mms://h/a?b", "mms://h/a?b", "http://h:8080/a?b"),
            (
                "mmst://[::1]:2755/a",
                "mmst://[::1]:2755/a",
                "http://[::1]:8080/a",
            ),
            ("mmsu://[::1]/a", "mmsu://[::1]/a", "http://[::1]:8080/a"),
            ("http://h:81/a:b", "mms://h/a:b", "http://h:81/a:b"),
            ("http://h", "mms://h", "http://h"),
        ] {
            assert_eq!(both_families(url), (mms.to_owned(), http.to_owned()));
        }
    }

    #[test]
    fn a_usual_port_is_left_out() {
        assert_eq!(url("mms", "h", 1755, "a b"), "mms://h/a%20b");
        assert_eq!(url("http", "h", 1755, "x"), "http://h:1755/x");
        assert_eq!(url("http", "h", 80, "x"), "http://h/x");
        assert_eq!(url("https", "::1", 443, "é"), "https://[::1]/%C3%A9");
        assert_eq!(
            url("https", "::1", 8443, "<&>"),
            "https://[::1]:8443/%3C%26%3E"
        );
    }
}
