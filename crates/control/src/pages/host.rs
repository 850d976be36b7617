//! What the server is called in links: as configured, else as the visitor called it.
//!
//! The `Host` field is the visitor's word and comes back to nobody else, but it ends in URLs: what is no host name is not believed.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::request::Parts;

use super::{Site, Way};
use crate::links;

/// Writes the URLs of channels, for one visitor.
#[derive(Clone, Debug)]
pub(super) struct Links {
    host: String,
    mms: u16,
    http: Option<u16>,
    https: Option<u16>,
    way: Way,
}

/// How this visitor reaches the server: the host and port of its request, which may lead through somebody's port forwarding.
pub(super) fn links(site: &Site, request: &Parts, way: Way) -> Links {
    let usual = match way {
        Way::Plain => 80,
        Way::Secure => 443,
    };
    let called = called(request);
    let believed = called
        .filter(|(host, _)| !site.host_is_configured || host.eq_ignore_ascii_case(&site.host));
    let mut links = Links {
        host: site.host.clone(),
        mms: site.mms,
        http: site.http,
        https: site.https,
        way,
    };
    if let Some((host, port)) = believed {
        links.host = host.to_owned();
        let own = match way {
            Way::Plain => &mut links.http,
            Way::Secure => &mut links.https,
        };
        *own = Some(port.unwrap_or(usual));
    }
    links
}

/// Host, IPv6 without brackets, and port, if the request names them in good form.
fn called(request: &Parts) -> Option<(&str, Option<u16>)> {
    let field = request.headers.get(HOST)?.to_str().ok()?;
    let (host, port) = match field.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let end = field.find(':').unwrap_or(field.len());
            let (host, port) = field.split_at(end);
            is_name(host).then_some((host, port))?
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let digits = port.strip_prefix(':')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| *port > 0 && is_number)?;
    Some((host, Some(port)))
}

/// A name or an IPv4 address.
fn is_name(host: &str) -> bool {
    const BYTES_MAX: usize = 253; // RFC 1035 §2.3.4
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=BYTES_MAX).contains(&host.len()) && host.bytes().all(is_plain)
}

impl Links {
    /// Whether the visitor came over HTTPS.
    pub(super) fn is_secure(&self) -> bool {
        self.way == Way::Secure
    }

    /// For players that find the way themselves.
    pub(super) fn mms(&self, name: &str) -> String {
        links::url("mms", &self.host, self.mms, name)
    }

    /// What the server is called.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The link that plays everywhere, if there is an HTTP port.
    pub(super) fn http(&self, name: &str) -> Option<String> {
        Some(links::url("http", &self.host, self.http?, name))
    }

    /// The same with encryption.
    pub(super) fn https(&self, name: &str) -> Option<String> {
        Some(links::url("https", &self.host, self.https?, name))
    }

    /// The one link to show: encrypted for who came so, else plain, else MMS.
    pub(super) fn best(&self, name: &str) -> String {
        let secure = match self.way {
            Way::Secure => self.https(name),
            Way::Plain => None,
        };
        secure
            .or_else(|| self.http(name))
            .or_else(|| self.https(name))
            .unwrap_or_else(|| self.mms(name))
    }

    /// A file about the channel, such as `NAME.asx`, the way the visitor came.
    pub(super) fn file(&self, name: &str, extension: &str) -> Option<String> {
        let (secure, plain) = (self.https(name), self.http(name));
        let url = match self.way {
            Way::Secure => secure.or(plain),
            Way::Plain => plain.or(secure),
        };
        Some(format!("{}.{extension}", url?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            product: "funnel/0.1.0".to_owned(),
            host: "studio".to_owned(),
            host_is_configured: false,
            mms: 1755,
            http: Some(8080),
            https: Some(8443),
        }
    }

    fn links_for(site: &Site, host: Option<&[u8]>, way: Way) -> Links {
        let mut request = http::Request::builder();
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        links(site, &parts, way)
    }

    #[test]
    fn links_name_the_server_as_the_visitor_did() {
        let links = links_for(&site(), Some(b"radio.example.org"), Way::Plain);
        assert_eq!(links.mms("x"), "mms://radio.example.org/x");
        assert_eq!(links.http("x").unwrap(), "http://radio.example.org/x");
        assert_eq!(
            links.https("x").unwrap(),
            "https://radio.example.org:8443/x"
        );
        assert_eq!(links.best("x"), "http://radio.example.org/x");
        let links = links_for(&site(), Some(b"[2001:db8::7]:9443"), Way::Secure);
        assert_eq!(links.mms("x"), "mms://[2001:db8::7]/x");
        assert_eq!(links.http("x").unwrap(), "http://[2001:db8::7]:8080/x");
        assert_eq!(links.best("x"), "https://[2001:db8::7]:9443/x");
        assert_eq!(
            links.file("x", "asx").unwrap(),
            "https://[2001:db8::7]:9443/x.asx"
        );
    }

    #[test]
    fn a_configured_host_stays_and_keeps_the_port_it_was_called_at() {
        let site = Site {
            host: "live.example.org".to_owned(),
            host_is_configured: true,
            ..site()
        };
        let called = links_for(&site, Some(b"LIVE.example.org"), Way::Plain);
        assert_eq!(called.http("x").unwrap(), "http://LIVE.example.org/x");
        for other in [b"127.0.0.1:9".as_slice(), b"evil.example"] {
            let links = links_for(&site, Some(other), Way::Plain);
            assert_eq!(links.http("x").unwrap(), "http://live.example.org:8080/x");
        }
    }

    #[test]
    fn what_is_no_host_is_not_believed() {
        let long = "a".repeat(254);
        let hostile: [&[u8]; 13] = [
            b"",
            b"a b",
            b"x/../y",
            b"\"><script>",
            b"user@host",
            b"[::1",
            b"[not:an:address]",
            b"h:0",
            b"h:65536",
            b"h:+80",
            b"h:80:90",
            b"\xff\xfe",
            long.as_bytes(),
        ];
        for host in hostile {
            let links = links_for(&site(), Some(host), Way::Plain);
            assert_eq!(
                links.best("x"),
                "http://studio:8080/x",
                "{}",
                String::from_utf8_lossy(host)
            );
        }
        assert_eq!(
            links_for(&site(), None, Way::Plain).best("x"),
            "http://studio:8080/x"
        );
    }

    #[test]
    fn without_http_there_is_mms() {
        let site = Site {
            http: None,
            https: None,
            ..site()
        };
        let links = links_for(&site, None, Way::Plain);
        assert_eq!(links.best("x"), "mms://studio/x");
        assert_eq!(links.file("x", "asx"), None);
    }
}
