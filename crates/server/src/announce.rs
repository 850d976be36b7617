//! The announcements (`.nsc`): how players find a channel's group and learn its headers.
//!
//! Shards say which headers their groups use; a thread of its own pins the announcements to the [`Board`], where the pages find
//! them, and writes the files, since a disk may be slow. A file is replaced whole, so nobody ever reads half of one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use funnel_control::config::{ChannelConfig, ChannelMulticast, Interface};
use funnel_wire::nsc::{Announcement, Formats, Text};
use tracing::{info, warn};

/// What stays the same in a channel's announcement.
#[derive(Clone, Debug)]
pub struct Notice {
    channel: String,
    multicast: ChannelMulticast,
    /// Host of the server, as players are told.
    host: String,
    unicast_url: String,
    /// Where it is written, if anywhere.
    path: Option<PathBuf>,
}

/// The headers a channel's packets refer to have changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The channel's place among the notices.
    pub notice: usize,
    /// All of them, the newest first.
    pub formats: Formats,
}

/// The latest announcement of each channel, as players get it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<HashMap<String, Arc<str>>>>);

impl Board {
    /// `None` until the channel's header is known.
    pub fn read(&self, channel: &str) -> Option<Arc<str>> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.get(channel).cloned()
    }

    fn pin(&self, channel: &str, text: &str) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.insert(channel.to_owned(), text.into());
    }
}

/// Starts the thread that keeps the board and writes the files; it ends with the last sender.
///
/// # Errors
/// When there is no thread to be had.
pub fn start(notices: Vec<Notice>, board: Board) -> io::Result<Sender<Changed>> {
    let (tell, told) = unbounded();
    thread::Builder::new()
        .name("funnel-announce".into())
        .spawn(move || write_all(&notices, &board, &told))?;
    Ok(tell)
}

fn write_all(notices: &[Notice], board: &Board, told: &Receiver<Changed>) {
    // What could not be written is tried again: a folder may return, a disk get room.
    let mut unwritten: BTreeMap<usize, String> = BTreeMap::new();
    loop {
        let news = match unwritten.is_empty() {
            true => told.recv().map_err(RecvTimeoutError::from),
            false => told.recv_timeout(AGAIN_AFTER),
        };
        match news {
            Ok(Changed { notice, formats }) => {
                unwritten.remove(&notice);
                let Some(known) = notices.get(notice) else {
                    continue;
                };
                let Some(text) = known.text(formats) else {
                    continue;
                };
                board.pin(&known.channel, &text);
                if let Err(error) = known.write(&text) {
                    known.complain(&error);
                    unwritten.insert(notice, text);
                }
            }
            Err(RecvTimeoutError::Timeout) => unwritten.retain(|notice, text| {
                let known = notices.get(*notice);
                known.is_some_and(|known| known.write(text).is_err())
            }),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// How long after a fault files are written again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

impl Notice {
    /// The announcement of a channel with this group, to be written into `folder` if there is one.
    pub fn new(
        channel: &ChannelConfig,
        multicast: &ChannelMulticast,
        host: &str,
        unicast_url: String,
        folder: Option<&Path>,
    ) -> Self {
        Self {
            channel: channel.name.clone(),
            multicast: multicast.clone(),
            host: host.to_owned(),
            unicast_url,
            path: folder.map(|folder| file(folder, &channel.name)),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        replace(path, text.as_bytes())?;
        let file = path.display();
        info!(channel = self.channel, %file, "the channel's group is announced");
        Ok(())
    }

    fn complain(&self, error: &io::Error) {
        let file = self.path.as_deref().unwrap_or(Path::new("")).display();
        warn!(
            channel = self.channel,
            %file,
            %error,
            "the announcement cannot be written: players cannot find the group, or miss its new header; it is tried again every 2 s"
        );
    }

    fn text(&self, formats: Formats) -> Option<String> {
        let mut text = String::new();
        self.announcement(formats)?.encode(&mut text);
        Some(text)
    }

    /// `None` for what the configuration does not let through: no multicast address, port 0.
    fn announcement(&self, formats: Formats) -> Option<Announcement> {
        let address = self.multicast.address;
        let port = NonZeroU16::new(address.port())?;
        let mut announcement = Announcement::new(address.ip(), port, formats).ok()?;
        announcement.name = text(format!("{}, {}", self.host, self.channel));
        announcement.adapter = source(&self.multicast);
        announcement.time_to_live = Some(self.multicast.ttl);
        announcement.span_max = Some(self.multicast.span).filter(|span| *span > 0);
        announcement.log_url = self.multicast.log_url.clone().and_then(text);
        announcement.unicast_url = text(self.unicast_url.clone());
        Some(announcement)
    }
}

/// Where the announcement of a channel is.
pub fn file(folder: &Path, channel: &str) -> PathBuf {
    folder.join(format!("{channel}.nsc"))
}

/// The address the datagrams come from, if it is known before they are sent.
pub fn source(multicast: &ChannelMulticast) -> Option<IpAddr> {
    match multicast.interface {
        Some(Interface::Address(source)) => Some(source),
        Some(Interface::Name(_)) | None => None,
    }
}

/// Left out rather than wrong: nothing a player needs is lost with a text that no file can hold.
fn text(text: String) -> Option<Text> {
    Text::new(text).ok()
}

/// Puts a file in the place of another, in one step.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use funnel_control::config::Config;
    use funnel_ingest::inspect_bytes;
    use funnel_wire::nsc::read;

    use super::*;
    use crate::settings::DEMO;

    fn notice(folder: &Path) -> Notice {
        let multicast = ChannelMulticast {
            address: "239.192.48.179:30864".parse().expect("a group"),
            ttl: 8,
            interface: Some(Interface::Address("192.0.2.7".parse().expect("an address"))),
            source_specific: false,
            span: 10,
            log_url: Some("http://live.example.org/log".to_owned()),
        };
        let demo = Config::demo().channels.remove(0);
        let url = "mms://live.example.org/demo".to_owned();
        Notice::new(&demo, &multicast, "live.example.org", url, Some(folder))
    }

    /// Of the demo, as long as nobody gives it an id of its own.
    fn formats() -> Formats {
        let demo = inspect_bytes("the built-in demo", DEMO).expect("the demo");
        Formats::new(demo.live.header.bytes(), None).expect("a header")
    }

    /// After a wanted change, `FUNNEL_WRITE_EXPECTED=1` writes the file anew.
    #[test]
    fn the_demo_is_announced_as_in_the_golden_file() {
        const GOLDEN: &str = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/nsc/demo-channel.nsc"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let notice = notice(folder.path());
        let text = notice.text(formats()).expect("an announcement");
        notice.write(&text).expect("written");
        let written = fs::read(folder.path().join("demo.nsc")).expect("the announcement");
        if std::env::var_os("FUNNEL_WRITE_EXPECTED").is_some() {
            fs::write(GOLDEN, &written).expect("the golden file");
        }
        let golden = fs::read(GOLDEN).expect("the golden file");
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(&golden)
        );
        let reading = read(&golden);
        assert!(
            reading.is_good() && reading.faults.is_empty(),
            "{:?}",
            reading.faults
        );
        let announcement = reading.announcement.expect("a good file");
        let told = |text: &Option<Text>| text.as_ref().map(|text| text.as_str().to_owned());
        assert_eq!(announcement.group().to_string(), "239.192.48.179");
        assert_eq!(announcement.port().get(), 30864);
        assert_eq!(announcement.time_to_live, Some(8));
        assert_eq!(announcement.span_max, Some(10));
        assert_eq!(
            announcement.adapter.map(|ip| ip.to_string()),
            Some("192.0.2.7".into())
        );
        assert_eq!(
            told(&announcement.name),
            Some("live.example.org, demo".into())
        );
        assert_eq!(
            told(&announcement.log_url),
            Some("http://live.example.org/log".into())
        );
        assert_eq!(
            told(&announcement.unicast_url),
            Some("mms://live.example.org/demo".into())
        );
        assert_eq!(announcement.formats(), &formats());
    }

    #[test]
    fn without_parity_and_source_the_file_names_none() {
        let mut notice = notice(Path::new("/nowhere"));
        notice.multicast.span = 0;
        notice.multicast.interface = Some(Interface::Name("eth0".to_owned()));
        let announcement = notice.announcement(formats()).expect("a group");
        assert_eq!((announcement.span_max, announcement.adapter), (None, None));
    }

    #[test]
    fn every_change_replaces_the_whole_file_and_a_bad_folder_stops_nobody() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lost = notice(&folder.path().join("gone"));
        let unwritten = Notice {
            channel: "unwritten".to_owned(),
            path: None,
            ..lost.clone()
        };
        let board = Board::default();
        let notices = vec![lost, unwritten, notice(folder.path())];
        let tell = start(notices, board.clone()).expect("a thread");
        let path = folder.path().join("demo.nsc");
        fs::write(&path, "an old one").expect("written");
        for notice in [0, 1, 2] {
            let formats = formats();
            tell.send(Changed { notice, formats }).expect("it listens");
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !read(&fs::read(&path).expect("never away")).is_good() {
            assert!(Instant::now() < deadline, "the file was never written");
            thread::yield_now();
        }
        let files = fs::read_dir(folder.path()).expect("our folder");
        assert_eq!(files.count(), 1, "nothing is left beside it");
        for channel in ["demo", "unwritten"] {
            let pinned = board.read(channel).expect("pinned, written or not");
            assert!(read(pinned.as_bytes()).is_good(), "{channel}: {pinned}");
        }
        assert_eq!(board.read("other"), None);
        // The folder returns, and nothing else is told.
        let returned = folder.path().join("gone");
        fs::create_dir(&returned).expect("made");
        let deadline = Instant::now() + 4 * AGAIN_AFTER;
        while !returned.join("demo.nsc").exists() {
            assert!(Instant::now() < deadline, "it was not tried again");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
