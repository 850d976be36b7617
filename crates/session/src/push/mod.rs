//! Encoders that push over HTTP (`docs/protocol/wmsp.md` §20, §22): what we say to those that push to a channel of ours.
//!
//! Section numbers in this module refer to that page. A [`Receiver`] belongs to one channel and hears of all connections to it, because
//! one encoder may use several: Windows Media Encoder sets up on one and starts on another (§20.4), GStreamer may open one for each
//! request (§22.4). It has no sockets, clock or random numbers: feed one [`Input`], then poll until [`Output::Idle`].
//!
//! ```text
//! connection ─► head ─► login? ─► setup ─► 204, push-id                 ┐
//!                          │  ──► start ─► $ packets, 4-byte heads ─┐   │  session: lives between connections and bodies
//!                          └────► POST, PUT ─► ASF or $ chunks ─────┴─► run ─► Output::Media for `funnel_asf::Deframer`
//! ```
//!
//! One run at a time is on the channel. A second encoder is refused (409) while the first one sends, unless told otherwise
//! ([`Options::takeover`]); one that has been silent for 5 s, or has lost its connection, gives way.

mod answers;
mod auth;
mod connection;
mod digest;
mod media;
mod receiver;
mod requests;
pub mod sender;

use std::net::IpAddr;
use std::time::Instant;

pub use digest::{DigestWords, digest_response, ha1};
pub use funnel_wire::wmsp::StatusCode;
pub use receiver::Receiver;

/// The realm in challenges, and in the hashes that answer them.
pub const REALM: &str = "funnel";

/// How a receiver behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one who may push; `None`: everybody.
    pub access: Option<Access>,
    /// A second encoder takes over.
    pub takeover: bool,
    /// What `Server:` says to encoders that are not of the Windows Media family; the others insist on a name of their own.
    pub product: String,
    /// Random: what Digest nonces are made with.
    pub secret: [u8; 16],
}

/// Who may push.
#[derive(Clone, Debug)]
pub struct Access {
    /// Name.
    pub user: String,
    /// How the password is known.
    pub secret: Secret,
}

/// What is known of a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secret {
    /// [`ha1`] of user, [`REALM`] and password: enough for Digest, and for Basic.
    Digest([u8; 16]),
    /// Only somebody else can tell a right password from a wrong one: [`Output::Check`]. For Basic alone.
    Asked,
}

/// A connection, as the owner of a receiver numbers them. A number is not used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// What comes in on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Requests.
    Http,
    /// Media from the first byte to the last (§22.2), and nothing is ever answered.
    Raw,
}

/// What a receiver is fed.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A connection begins.
    Connected {
        /// Its number.
        connection: ConnectionId,
        /// Where it comes from.
        peer: IpAddr,
        /// What comes in.
        way: Way,
        /// Random: the push-id of a session that begins on it.
        push_id: u32,
    },
    /// Bytes of a connection.
    Bytes(ConnectionId, &'a [u8]),
    /// The peer says no more, or the connection broke.
    Closed(ConnectionId),
    /// The answer to [`Output::Check`].
    Checked(ConnectionId, bool),
    /// The media of the current run cannot be used: its encoder is told so and let go.
    Unusable,
    /// The time of [`Output::Idle`] has come.
    Timeout,
    /// Everybody is told that the server ends.
    Shutdown,
}

/// What a receiver says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Bytes for a connection.
    Send(ConnectionId, Vec<u8>),
    /// The connection is to be ended once everything was sent; what it still says does not count, and nothing is to be told of it.
    Close(ConnectionId),
    /// Is this the password of that user? Answer with [`Input::Checked`].
    Check {
        /// Who asks.
        connection: ConnectionId,
        /// The name given.
        user: String,
        /// The password given.
        password: String,
    },
    /// A run begins: bytes of [`Output::Media`] from here on are a new source's first. A run before it is over.
    Began {
        /// Where it comes from.
        peer: IpAddr,
        /// Its `User-Agent`; empty without HTTP.
        agent: String,
    },
    /// The next bytes of the run, whole for [`funnel_asf::Deframer`]: plain ASF, or `$` chunks with their 8-byte heads.
    Media(Vec<u8>),
    /// The encoder of the run is away; it may go on with the same run.
    Paused,
    /// The run is over.
    Ended(End),
    /// An encoder was turned away.
    Refused {
        /// Where it comes from.
        peer: IpAddr,
        /// What it was answered; over [`Way::Raw`], what it would have been.
        status: StatusCode,
        /// The sentence with it.
        reason: &'static str,
    },
    /// Nothing more until an input; at this time [`Input::Timeout`].
    Idle {
        /// When.
        wake_at: Option<Instant>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The encoder is gone, and may come back.
    Away,
    /// The encoder said beforehand that the show is over when it leaves (`AutoDestroy: 1`).
    Over,
}
