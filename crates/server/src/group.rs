//! A multicast as it is received here: the sans-I/O receiver on a blocking socket that has joined the group.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use funnel_session::HResult;
use funnel_session::client::{CloseReason, Event, FileInfo};
use funnel_session::multicast::{self, Input, Options, Output, Receiver, Stats};
use funnel_uring::net::group_receiver;
use funnel_wire::nsc::Announcement;

use crate::cli;
use crate::entry::Entry;
use crate::locator::{AnnouncementError, Place};

/// One group joined. Call [`turn`](Self::turn) until it is no longer open.
#[derive(Debug)]
pub struct Group {
    place: Place,
    announcement: Arc<Announcement>,
    socket: UdpSocket,
    receiver: Receiver,
    buffer: Box<[u8]>,
    state: State,
    /// Until a packet that can be decoded comes.
    entry: Option<Entry>,
    /// Packets came whose header the announcement does not have; it was read last at that time.
    is_outdated: bool,
    read_at: Instant,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Datagrams are awaited.
    Open,
    /// Nothing arrived in the open time.
    Silent,
    /// Over, as was told.
    Closed,
}

/// Why a group cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no announcement.
    #[error(transparent)]
    Announcement(#[from] AnnouncementError),
    /// The announcement names no source.
    #[error(
        "{0} names no Multicast Adapter, so its source cannot be joined: leave out --source-specific"
    )]
    NoSource(Place),
    /// The system refuses.
    #[error("the group {group} cannot be joined: {}", reason(*group, source))]
    Join {
        /// Group and port.
        group: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What the system said, in words where its own mislead.
fn reason(group: SocketAddr, error: &io::Error) -> String {
    let is_of_one_link = matches!(group.ip(), IpAddr::V6(ip) if ip.segments()[0] & 0xF == 2);
    match error.raw_os_error() {
        Some(ENODEV) => {
            "no route leads there; name the network interface with --interface".to_owned()
        }
        Some(EINVAL) if is_of_one_link => {
            "it is a group of one link; name the network interface with --interface".to_owned()
        }
        _ => error.to_string(),
    }
}

// Linux, `errno.h`.
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;

impl Group {
    /// Reads the announcement, for which a web server may take `within`, and joins the group.
    ///
    /// # Errors
    /// There is no announcement, or the group cannot be joined.
    pub fn join(
        place: &Place,
        wishes: &cli::Multicast,
        within: Duration,
    ) -> Result<Self, JoinError> {
        let announcement = Arc::new(place.announcement(within)?);
        let source = match (wishes.source_specific, announcement.adapter) {
            (true, None) => return Err(JoinError::NoSource(place.clone())),
            (true, source) => source,
            (false, _) => None,
        };
        let group = SocketAddr::new(announcement.group(), announcement.port().get());
        let socket = group_receiver(group, wishes.interface, source)
            .map_err(|source| JoinError::Join { group, source })?;
        // A wish: a busy moment of ours should cost no packet.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let options = Options {
            open_within: Some(wishes.open_time),
            ..Options::default()
        };
        let now = Instant::now();
        Ok(Self {
            place: place.clone(),
            receiver: Receiver::new(Arc::clone(&announcement), options, now),
            announcement,
            socket: socket.into(),
            buffer: vec![0; DATAGRAM_BYTES_MAX].into(),
            state: State::Open,
            entry: None,
            is_outdated: false,
            read_at: now,
        })
    }

    /// Whether there is more to come.
    pub fn state(&self) -> State {
        self.state
    }

    /// What the file says.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// What arrived so far.
    pub fn stats(&self) -> Stats {
        self.receiver.stats()
    }

    /// Tells what is held and then [`Event::Close`].
    pub fn leave(&mut self, mut tell: impl FnMut(Event<'_>)) {
        self.receiver.handle_input(Instant::now(), Input::Close);
        self.drain(&mut tell);
    }

    /// Waits for a datagram, at most for `patience`, and tells what it brought.
    pub fn turn(&mut self, patience: Duration, mut tell: impl FnMut(Event<'_>)) {
        let Some(wake_at) = self.drain(&mut tell) else {
            return;
        };
        if self.is_outdated && self.read_at.elapsed() >= READ_AGAIN_AFTER {
            self.read_again(patience);
        }
        let wait = wake_at.map_or(patience, |at| {
            patience.min(at.saturating_duration_since(Instant::now()))
        });
        // Zero would mean "for ever".
        let wait = wait.max(Duration::from_millis(1));
        let _ = self.socket.set_read_timeout(Some(wait));
        let result = self.socket.recv_from(&mut self.buffer);
        let input = match &result {
            Ok((bytes, from)) => Input::Datagram(*from, &self.buffer[..*bytes]),
            Err(error) => {
                if !is_pause(error) {
                    // Such as an interface that went down: it may return.
                    thread::sleep(wait);
                }
                Input::Timeout
            }
        };
        self.receiver.handle_input(Instant::now(), input);
        self.drain(&mut tell);
    }

    /// What arrived and what did not, in a line.
    pub fn summary(&self) -> String {
        let stats = self.stats();
        let mut text = format!(
            "{}: {} packets, {} of them restored, {} lost",
            self.name(),
            stats.packets,
            stats.restored,
            stats.lost
        );
        for (count, what) in [
            (stats.late, "late"),
            (stats.duplicates, "duplicates"),
            (stats.foreign, "of other sources"),
            (stats.unknown, "of unknown headers"),
            (stats.invalid, "invalid"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }

    /// Group and port.
    pub fn name(&self) -> SocketAddr {
        SocketAddr::new(self.announcement.group(), self.announcement.port().get())
    }

    /// Until the receiver is idle; its deadline, or `None` when it is over.
    fn drain(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Option<Option<Instant>> {
        while self.state == State::Open {
            let event = match self.receiver.poll_output() {
                Output::Idle { wake_at } => return Some(wake_at),
                Output::Event(event) => event,
            };
            match event {
                multicast::Event::Header(bytes) => {
                    self.entry = Entry::new(bytes, Instant::now());
                    tell(Event::Header(bytes));
                }
                multicast::Event::Packet { id, bytes, .. } => {
                    let entry = self.entry.as_ref();
                    if entry.is_none_or(|entry| entry.is_here(bytes, Instant::now())) {
                        self.entry = None;
                        tell(Event::Packet {
                            location: id,
                            sequence: id,
                            bytes,
                        });
                    }
                }
                multicast::Event::Lost { id, count } => tell(Event::Lost {
                    sequence: id,
                    count,
                }),
                multicast::Event::Changed => tell(Event::StreamChange(FileInfo::default())),
                multicast::Event::Beacon => {}
                multicast::Event::UnknownFormat(_) => self.is_outdated = true,
                multicast::Event::OpenTimedOut => self.state = State::Silent,
                multicast::Event::Ended => {
                    self.state = State::Closed;
                    tell(Event::End(HResult::S_OK));
                    tell(Event::Close(CloseReason::Finished));
                }
            }
        }
        None
    }

    /// The file may have changed, with the channel's header.
    fn read_again(&mut self, within: Duration) {
        self.read_at = Instant::now();
        let Ok(announcement) = self.place.announcement(within) else {
            return;
        };
        let is_same_group = (announcement.group(), announcement.port())
            == (self.announcement.group(), self.announcement.port());
        let announcement = Arc::new(announcement);
        if is_same_group && self.receiver.renew(Arc::clone(&announcement)) {
            self.announcement = announcement;
            // Told again if it still lacks a header.
            self.is_outdated = false;
        }
    }
}

/// Whole datagrams: 65,535 bytes are the most an IP packet holds.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// Some seconds of a usual channel.
const SOCKET_BUFFER_BYTES: usize = 2 << 20;
/// Announcements are not read again more often.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(2);

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
