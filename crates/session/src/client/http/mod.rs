//! Our own player and puller over HTTP: Windows Media (`docs/protocol/wmsp.md` §10) and plain ASF, told apart by the answer.
//!
//! ```text
//! Describe ── header ──► Ready ── Play ──► Playing ── $E ──► over
//!   └──── plain ASF comes at once ────────────▲
//! ```
//!
//! Contract: feed one [`Input`], then call [`Session::poll_output`] until [`Output::Idle`]. A session has several connections,
//! one after the other and at times two at once; it names them with numbers that it never uses again. The shell makes a
//! connection when told to, sends on it what it is told to send, and says what came on which. Redirects are followed.
//! What happens is told in the [`Event`]s of the player over MMS.

mod exchange;
pub(crate) mod login;
mod requests;
mod session;

use std::time::{Duration, Instant};

use funnel_asf::Selection;

use super::Event;
use crate::url::Url;

pub use session::Session;

/// What to ask for, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who to be.
    pub manner: Manner,
    /// Which streams; those the header does not have are left out.
    pub streams: Selection,
    /// How much of the past to ask for, so that there is something to play at once, ms. A server may give less, or more.
    pub burst_ms: u32,
    /// Ask for HTTP/1.1 and its chunks, as players do that tested the way for it; else HTTP/1.0, which everybody speaks.
    pub wants_chunks: bool,
    /// Play as soon as the header is there; else wait for [`Input::Play`]. Plain ASF plays in any case.
    pub auto_play: bool,
    /// Time each answer may take, connecting included.
    pub answer_within: Duration,
    /// Silence that ends a playing session; `None`: never.
    pub silence: Option<Duration>,
    /// Largest ASF header taken.
    pub header_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            manner: Manner::Player,
            streams: Selection::ALL,
            burst_ms: 5000,
            wants_chunks: false,
            auto_play: true,
            answer_within: Duration::from_secs(20),
            silence: Some(Duration::from_secs(90)),
            header_bytes_max: funnel_asf::header::HEADER_BYTES_MAX,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// Windows Media Player 9.
    Player,
    /// Windows Media Services 9 that pulls for redistribution.
    Relay,
    /// A program that downloads.
    Plain,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes on a connection.
    Received {
        /// Which.
        connection: u32,
        /// What.
        bytes: &'a [u8],
    },
    /// A connection was closed by the server or lost, or could not be made.
    Closed {
        /// Which.
        connection: u32,
    },
    /// `now` has reached the `wake_at` of the last [`Output::Idle`].
    Timeout,
    /// Start. Ignored before the header is there, and while playing.
    Play,
    /// Leave.
    Close,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// Make a connection to host and port of this URL, over TLS if its scheme says so.
    Connect {
        /// Its number from now on.
        connection: u32,
        /// Where to.
        url: &'a Url,
    },
    /// Send these bytes on it, once it exists.
    Send {
        /// Which.
        connection: u32,
        /// What.
        bytes: &'a [u8],
    },
    /// Close it. What still comes on it may be told, and is ignored.
    Disconnect {
        /// Which.
        connection: u32,
    },
    /// Something to know. Behind [`Event::Close`] nothing follows, and no connection is left.
    Event(Event<'a>),
    /// Nothing more.
    Idle {
        /// Next deadline.
        wake_at: Option<Instant>,
    },
}
