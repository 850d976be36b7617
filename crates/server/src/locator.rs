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
    /// `mms://` and its kin.
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
    #[error("{url}: {source}")]
    Http {
        /// The file.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// It is none.
    #[error("{place}: {reason} (see: funnel nsc)")]
    Unusable {
        /// The file.
        place: String,
        /// Its first fault.
        reason: String,
    },
}

impl FromStr for Locator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("http") => {
                let url = text.split('#').next().unwrap_or(text);
                Ok(Self::Multicast(Place::Http(url.to_owned())))
            }
            Some("https") => Err("an .nsc file is fetched with http://, not https://".to_owned()),
            Some(_) => text
                .parse()
                .map(Self::Channel)
                .map_err(|error: funnel_session::url::UrlError| error.to_string()),
            None if text.to_ascii_lowercase().ends_with(".nsc") => {
                Ok(Self::Multicast(Place::File(text.into())))
            }
            None => Err("expected mms://HOST/NAME, FILE.nsc or http://HOST/FILE.nsc".to_owned()),
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

impl Place {
    /// Reads the announcement; a web server may take `within`.
    ///
    /// # Errors
    /// It cannot be read, or lacks a group, a port, or a header.
    pub fn announcement(&self, within: Duration) -> Result<Announcement, AnnouncementError> {
        let bytes = match self {
            Self::File(path) => read(path).map_err(|source| AnnouncementError::File {
                path: path.clone(),
                source,
            })?,
            Self::Http(url) => fetch(url, within).map_err(|source| AnnouncementError::Http {
                url: url.clone(),
                source: Box::new(source),
            })?,
        };
        Announcement::parse(&bytes).map_err(|fault| AnnouncementError::Unusable {
            place: self.to_string(),
            reason: fault.to_string(),
        })
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
    use super::*;

    #[test]
    fn channels_and_announcements_are_told_apart() {
        let file = |name: &str| Ok(Locator::Multicast(Place::File(name.into())));
        let http = |url: &str| Ok(Locator::Multicast(Place::Http(url.into())));
        for (text, expected) in [
            ("show.nsc", file("show.nsc")),
            ("/srv/SHOW.NSC", file("/srv/SHOW.NSC")),
            ("http://studio/show.nsc#54", http("http://studio/show.nsc")),
            ("HTTP://studio:81/x?y", http("HTTP://studio:81/x?y")),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        let channel: Locator = "mms://studio/show.nsc".parse().expect("a channel");
        assert!(matches!(&channel, Locator::Channel(url) if url.path == "show.nsc"));
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
        assert!(sentence.contains("none.nsc: IP Address"), "{sentence}");
        let missing = Place::File(folder.path().join("missing.nsc"));
        assert!(missing.announcement(within).is_err());
    }
}
