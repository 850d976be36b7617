//! Our own player: opens a channel in the manner of Windows Media Player 9 (protocol page §13), or of another. Over HTTP:
//! [`http`], with the same events.
//!
//! Contract: feed one [`Input`], then call [`Session::poll_output`] until [`Output::Idle`]. The connection must exist
//! when the session is made; the first poll yields the first message. Packets are lent from the session's buffer, so
//! handle each before the next poll.

mod datagrams;
pub mod http;
mod inbox;
mod manner;
mod rebuild;
mod replies;
mod requests;
mod session;
mod udp;
mod window;

use std::time::{Duration, Instant};

use funnel_asf::Selection;
use funnel_wire::mms::{Acceleration, FrameError, HResult};
use funnel_wire::wmsp::{Fault, StatusCode};

pub use funnel_wire::mms::Transport;
pub use manner::{Manner, PlayTags};
pub use rebuild::full_size_packet;
pub use session::Session;
pub use udp::{UdpOptions, UdpStats};

/// What to ask for, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose habits to have.
    pub manner: Manner,
    /// Which streams; those the header does not have are left out.
    pub streams: Selection,
    /// Wishes for a fast start.
    pub acceleration: Acceleration,
    /// Ask for packet pair, if the manner sends FunnelInfo.
    pub packet_pair: bool,
    /// Select and play as soon as the header is there; else wait for [`Input::Play`].
    pub auto_play: bool,
    /// Time each answer may take.
    pub answer_within: Duration,
    /// Silence that ends a playing session; `None`: never.
    pub silence: Option<Duration>,
    /// Largest ASF header taken.
    pub header_bytes_max: usize,
    /// Our address for ConnectFunnel, where the manner has no invented one.
    pub local_address: String,
    /// How header and media are to come. With UDP: to this port of the address that the connection has here; the
    /// shell hands over what comes from the server's address as [`Input::Datagram`].
    pub transport: Transport,
    /// What to do about missing packets; for UDP only.
    pub udp: UdpOptions,
    /// Over UDP: play without having the header, once the time it may take (§7.3) is over, and select no streams,
    /// which means all of them. For load tests whose datagrams nobody reads.
    pub blind: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            manner: Manner::WINDOWS_MEDIA_9,
            streams: Selection::ALL,
            acceleration: Acceleration::default(),
            packet_pair: false,
            auto_play: true,
            answer_within: Duration::from_secs(20),
            silence: Some(Duration::from_secs(90)),
            header_bytes_max: 1 << 20,
            local_address: "127.0.0.1".into(),
            transport: Transport::Tcp,
            udp: UdpOptions::default(),
            blind: false,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes from the server.
    Received(&'a [u8]),
    /// A datagram from the server's address.
    Datagram(&'a [u8]),
    /// The server closed the connection.
    Closed,
    /// `now` has reached the `wake_at` of the last [`Output::Idle`].
    Timeout,
    /// Select streams and start, or seek. Ignored before the header is there.
    Play,
    /// Stop; [`Event::Stopped`] follows.
    Stop,
    /// Other streams, while playing or before.
    Select(Selection),
    /// Leave.
    Close,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// Send these bytes: one message.
    Send(&'a [u8]),
    /// Send this as one datagram to the server's address, at the port number of the connection.
    Datagram(&'a [u8]),
    /// Something to know.
    Event(Event<'a>),
    /// Nothing more.
    Idle {
        /// Next deadline.
        wake_at: Option<Instant>,
    },
}

/// What a player learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The server said who it is.
    Connected {
        /// Such as `9.1.1.3841`.
        server_version: String,
        /// `VersionInfo`, which few servers send.
        product: Option<String>,
    },
    /// The channel exists.
    Opened(FileInfo),
    /// The ASF header is complete: Header Object and the start of the Data Object. Comes again after a StreamChange.
    Header(&'a [u8]),
    /// Media with this run's tag follows.
    Started,
    /// One ASF packet as received; it may be shorter than the packet size, see [`full_size_packet`].
    Packet {
        /// Number of the packet in the channel.
        location: u32,
        /// The server's count for this viewer, extended to 32 bits; gaps are losses.
        sequence: u32,
        /// The packet.
        bytes: &'a [u8],
    },
    /// Packets that did not come over UDP and will not: `count` of them from `sequence` on.
    Lost {
        /// The first of them.
        sequence: u32,
        /// How many.
        count: u32,
    },
    /// Another header follows (§8.4).
    StreamChange(FileInfo),
    /// The answer to [`Input::Stop`].
    Stopped,
    /// The stream is over.
    End(HResult),
    /// The server says no.
    Refused {
        /// To what.
        stage: Stage,
        /// Why.
        hr: HResult,
    },
    /// The channel is at another URL.
    Redirect(String),
    /// Close the connection once the sends before are flushed; nothing follows.
    Close(CloseReason),
}

/// What ReportOpenFile and ReportStreamChange say about a channel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FileInfo {
    /// Size of the ASF packets.
    pub packet_bytes: u32,
    /// Size of the ASF header.
    pub header_bytes: u32,
    /// Bit/s.
    pub bit_rate: u32,
    /// `fileAttributes`; 0 in a StreamChange.
    pub attributes: u32,
}

/// Which request was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Connect.
    Connect,
    /// FunnelInfo.
    FunnelInfo,
    /// ConnectFunnel.
    ConnectFunnel,
    /// OpenFile.
    OpenFile,
    /// OpenFile was answered with a SecurityChallenge, which this client cannot meet.
    Authentication,
    /// ReadBlock.
    ReadBlock,
    /// StreamSwitch.
    StreamSwitch,
    /// StartPlaying.
    StartPlaying,
}

/// Why a session is over.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// End of stream, or [`Input::Close`].
    Finished,
    /// The server refused.
    Refused(HResult),
    /// The server is at another address.
    Redirected,
    /// The server closed the connection without a word.
    ConnectionLost,
    /// The server did not answer, or was silent.
    TimedOut,
    /// The header did not come over UDP, though it was asked for again.
    NoDatagrams,
    /// The server sent something that is not MMS.
    Framing(FrameError),
    /// The server sent something that is not HTTP.
    Http(Fault),
    /// The answer over HTTP is neither a stream of Windows Media nor ASF.
    NoStream,
    /// The server answered with this status of HTTP.
    Answered(StatusCode),
    /// The server sent a damaged message or header.
    Damaged(&'static str),
}
