//! The `.nsc` files: how players find a channel's group and learn its headers.
//!
//! Shards say which headers their groups use; a thread of its own writes the files, since a disk may be slow. A file is
//! replaced whole, so nobody ever reads half of one.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::thread;

use crossbeam::channel::{Receiver, Sender, unbounded};
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
    path: PathBuf,
}

/// The headers a channel's packets refer to have changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The channel's place among the notices.
    pub notice: usize,
    /// All of them, the newest first.
    pub formats: Formats,
}

/// Starts the thread that writes the files; it ends with the last sender.
///
/// # Errors
/// When there is no thread to be had.
pub fn start(notices: Vec<Option<Notice>>) -> io::Result<Sender<Changed>> {
    let (tell, told) = unbounded();
    thread::Builder::new()
        .name("funnel-announce".into())
        .spawn(move || write_all(&notices, &told))?;
    Ok(tell)
}

fn write_all(notices: &[Option<Notice>], told: &Receiver<Changed>) {
    for Changed { notice, formats } in told {
        let Some(notice) = notices.get(notice).and_then(Option::as_ref) else {
            continue;
        };
        let (channel, file) = (&notice.channel, notice.path.display());
        match notice.write(formats) {
            Ok(()) => info!(channel, %file, "the channel's group is announced"),
            Err(error) => warn!(
                channel,
                %file,
                %error,
                "the announcement cannot be written: players cannot find the group, or miss its new header"
            ),
        }
    }
}

impl Notice {
    /// The announcement of a channel with this group, to be written into `folder`.
    pub fn new(
        channel: &ChannelConfig,
        multicast: &ChannelMulticast,
        host: &str,
        unicast_url: String,
        folder: &Path,
    ) -> Self {
        Self {
            channel: channel.name.clone(),
            multicast: multicast.clone(),
            host: host.to_owned(),
            unicast_url,
            path: file(folder, &channel.name),
        }
    }

    fn write(&self, formats: Formats) -> io::Result<()> {
        let mut text = String::new();
        self.announcement(formats)
            .ok_or(io::ErrorKind::InvalidInput)?
            .encode(&mut text);
        replace(&self.path, text.as_bytes())
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
