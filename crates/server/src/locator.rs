//! What `funnel record` and `funnel probe` are given: a channel of a server, or the announcement of a multicast.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use funnel_session::url::Url;
use funnel_wire::nsc::{Announcement, FILE_BYTES_MAX};

/// A channel, or where a multicast is announced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Locator {
    /// `mms://` and its kin, `http://` and its kin.
    Channel(Url),
    /// An `.nsc` file.
    Multicast(Place),
}

/// Where an `.nsc` file is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// On this machine.
    File(PathBuf),
    /// `http://`, without the fragment that old station URLs carry.
    Http(String),
}

/// Why there is no announcement.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The web server refuses, or is not there.
    #[error("{url}: {}", answer(source))]
    Http {
        /// The file.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// It is none.
    #[error("{place} announces no multicast: {reason} (funnel nsc {place} says more)")]
    Unusable {
        /// The file.
        place: String,
        /// Its first fault.
        reason: String,
    },
}

/// What went wrong, in words.
fn answer(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(404) => "the web server has no such file (404)".to_owned(),
        ureq::Error::StatusCode(code) => format!("the web server refuses it ({code})"),
        ureq::Error::Timeout(_) => "the web server does not answer in time".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

impl FromStr for Locator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let file = text.split(['?', '#']).next().unwrap_or(text);
        let is_announcement = file.to_ascii_lowercase().ends_with(".nsc");
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("http") if is_announcement => Ok(Self::Multicast(Place::http(text))),
            Some("https") if is_announcement => {
                Err("an .nsc file is fetched with http://, not https://".to_owned())
            }
            Some(_) => text
                .parse()
                .map(Self::Channel)
                .map_err(|error: funnel_session::url::UrlError| error.to_string()),
            None if text.to_ascii_lowercase().ends_with(".nsc") => {
                Ok(Self::Multicast(Place::File(text.into())))
            }
            None => Err("expected mms://HOST/NAME, http://HOST/NAME or FILE.nsc".to_owned()),
        }
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(url) => url.fmt(f),
            Self::Multicast(place) => place.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    /// Any file may be meant, whatever its name.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None => Ok(Self::File(text.into())),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => Ok(Self::http(text)),
            Some(_) => Err("expected FILE.nsc or http://HOST/FILE.nsc".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

impl Place {
    fn http(url: &str) -> Self {
        Self::Http(url.split('#').next().unwrap_or(url).to_owned())
    }

    /// Reads and parses the announcement; a web server may take `within`.
    ///
    /// # Errors
    /// It cannot be read, or lacks a group, a port, or a header.
    pub fn announcement(&self, within: Duration) -> Result<Announcement, AnnouncementError> {
        Announcement::parse(&self.read(within)?).map_err(|fault| AnnouncementError::Unusable {
            place: self.to_string(),
            reason: fault.to_string(),
        })
    }

    /// What is there, be it an announcement or not; of a file that is too large, a byte too many.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, within: Duration) -> Result<Vec<u8>, AnnouncementError> {
        match self {
            Self::File(path) => read(path).map_err(|source| AnnouncementError::File {
                path: path.clone(),
                source,
            }),
            Self::Http(url) => fetch(url, within).map_err(|source| AnnouncementError::Http {
                url: url.clone(),
                source: Box::new(source),
            }),
        }
    }
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn fetch(url: &str, within: Duration) -> Result<Vec<u8>, ureq::Error> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(within))
        .user_agent(concat!("funnel/", env!("CARGO_PKG_VERSION")))
        .build();
    let mut response = ureq::Agent::new_with_config(config).get(url).call()?;
    let limit = FILE_BYTES_MAX as u64;
    response.body_mut().with_config().limit(limit).read_to_vec()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn channels_and_announcements_are_told_apart() {
        let file = |name: &str| Ok(Locator::Multicast(Place::File(name.into())));
        let http = |url: &str| Ok(Locator::Multicast(Place::Http(url.into())));
        for (text, expected) in [
            ("show.nsc", file("show.nsc")),
            ("/srv/SHOW.NSC", file("/srv/SHOW.NSC")),
            ("http://studio/show.nsc#54", http("http://studio/show.nsc")),
            ("HTTP://studio:81/X.NSC?y", http("HTTP://studio:81/X.NSC?y")),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        let channel: Locator = "mms://studio/show.nsc".parse().expect("a channel");
        assert!(matches!(&channel, Locator::Channel(url) if url.path == "show.nsc"));
        let channel: Locator = "HTTP://studio:81/x?y".parse().expect("a channel");
        assert!(matches!(&channel, Locator::Channel(url) if url.path == "x?y"));
        let place = |text: &str| text.parse::<Place>().map(Locator::Multicast);
        assert_eq!(place("any name"), file("any name"));
        assert_eq!(place("http://studio/x"), http("http://studio/x"));
        assert!(place("mms://studio/show.nsc").is_err());
        for wrong in [
            "",
            "show",
            "https://studio/show.nsc",
            "rtsp://studio/show",
            "mms://",
        ] {
            assert!(wrong.parse::<Locator>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_announcement_says_why_it_is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            Place::File(path)
        };
        let within = Duration::from_secs(1);
        let none = place("none.nsc", "[Address]\r\n").announcement(within);
        let sentence = none.expect_err("no group").to_string();
        assert!(
            sentence.contains("none.nsc announces no multicast: IP Address"),
            "{sentence}"
        );
        let missing = Place::File(folder.path().join("missing.nsc"));
        assert!(missing.announcement(within).is_err());
    }

    #[test]
    fn a_web_server_may_not_have_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        });
        let url = format!("http://127.0.0.1:{port}/demo.nsc");
        let answer = Place::Http(url.clone()).announcement(Duration::from_secs(10));
        assert_eq!(
            answer.expect_err("there is none").to_string(),
            format!("{url}: the web server has no such file (404)")
        );
        server.join().expect("no panic");
    }
}
