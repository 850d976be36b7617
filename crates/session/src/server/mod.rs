//! The server side of one player's session.
//!
//! [`Session`] decides what is said to the player and when; its owner moves the bytes, finds the channel and sends the
//! media. Contract: feed one [`Input`], then call [`Session::poll_output`] until [`Output::Idle`]. Every
//! [`Output::Send`] is one message (or one header fragment) and must be a send of its own (protocol page §2.6).
//!
//! Media is not the session's business, its framing is: between [`Event::Play`] and [`Event::StopMedia`] the owner puts
//! [`Framing::head`] in front of every packet, with a sequence number that it counts per viewer.

mod door;
mod error;
mod framing;
mod http;
mod mms;
mod outbox;
mod player;
mod random;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_asf::Selection;
use funnel_wire::mms::{ClientLog, HResult};

pub use funnel_wire::mms::{ResendRequest, Transport};

pub use door::{Desk, HandOver, Order, Redirect};
pub use error::{Fault, SessionError};
pub use framing::Framing;
pub use http::Clients;
pub use player::Player;
pub use session::Session;

/// What all sessions of a server have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ServerVersionInfo`; major ≥ 9, or Windows Media Player holds back (§5.2).
    pub server_version: String,
    /// `VersionInfo`, empty for none: only for who must tell something to viewers' programs, see
    /// [`LOAD_TEST_TOKEN`](crate::LOAD_TEST_TOKEN) (§5.2).
    pub version_info: String,
    /// Name and version for HTTP answers to all but Windows Media players, such as `funnel/0.1.0`.
    pub product: String,
    /// What we are to Windows Media players over HTTP: `Rex/9.…` or `Cougar/9.…`. As Cougar from 9 on, players from 9 on get
    /// metadata packets and are let test pipelining (`docs/protocol/wmsp.md` §2.2, §5.3).
    pub http_identity: String,
    /// Sessions over HTTP, which outlive their connections; one table for all shards.
    pub clients: Arc<Clients>,
    /// Time from the connection to the ASF header.
    pub handshake: Duration,
    /// Time a player may stay silent while it does not play.
    pub idle: Duration,
    /// Silence after which a playing player is pinged.
    pub ping: Duration,
    /// Time between EndOfStream and the close, at most 2 s.
    pub grace: Duration,
    /// Time a player on TCP has to answer a StreamChange before the media starts anyway (§8.4).
    pub stream_change_hold: Duration,
    /// Players may ask for media over UDP.
    pub udp: bool,
    /// Largest part of an ASF header in one datagram, in bytes, without the head of 8 bytes.
    pub udp_payload_max: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_version: "9.1.1.3841".into(),
            version_info: String::new(),
            product: concat!("funnel/", env!("CARGO_PKG_VERSION")).into(),
            http_identity: "Rex/9.0.0.2980".into(), // deployed servers use it (§2.2)
            clients: Arc::default(),
            handshake: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            ping: Duration::from_secs(30),
            grace: Duration::from_millis(1500),
            stream_change_hold: Duration::from_secs(5),
            udp: true,
            udp_payload_max: 1444, // 1500 without the headers of IPv6, UDP and MMS
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes from the player.
    Received(&'a [u8]),
    /// The answer to [`Event::Open`]. Until it comes the session keeps the player waiting; later requests are deferred.
    Opened(Result<Opened, HResult>),
    /// The answer to [`Event::Open`]: the channel is elsewhere.
    Redirected(Arc<Redirect>),
    /// The player asked this on another of its connections ([`Event::Order`]).
    Order(Order),
    /// Everything to the end of the source was handed to the transport: say so with EndOfStream hr 0, then close.
    MediaDrained,
    /// The source is gone for good.
    SourceLost(HResult),
    /// The source came back with another header (§8.4).
    HeaderChanged(Opened),
    /// The server shuts down.
    Shutdown,
    /// The session must go, for this reason.
    Kick(HResult),
    /// `now` has reached the `wake_at` of the last [`Output::Idle`].
    Timeout,
}

/// A channel as it is on air now.
#[derive(Clone, Debug)]
pub struct Opened {
    /// ASF header for the wire: Header Object and the first 50 bytes of the Data Object, at most 64 KiB.
    pub header: Arc<[u8]>,
    /// Size of every ASF packet, at most 32 KiB.
    pub packet_bytes: u32,
    /// Sum over the streams, bit/s.
    pub bit_rate: u32,
    /// Bit n: stream n is there.
    pub streams: u128,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// Send these bytes as a send of their own, after whatever packet is being sent, before any further media.
    Send(&'a [u8]),
    /// Send these bytes as one datagram to the player's address and the port of the last [`Event::Transport`].
    Datagram(&'a [u8]),
    /// Something for the owner to act on, in order with the sends.
    Event(Event),
    /// Nothing more. Come back with input, or with [`Input::Timeout`] at `wake_at`.
    Idle {
        /// Next deadline and why.
        wake_at: Option<(Instant, Timer)>,
    },
}

/// Why a session wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timer {
    /// The player takes too long to ask for the header.
    Handshake,
    /// The player has been silent in READY.
    Idle,
    /// Time for a Ping, or to give up after unanswered ones.
    Ping,
    /// The connection is to be closed.
    Close,
    /// The player did not answer a StreamChange.
    StreamChange,
    /// The next datagram of an ASF header is due.
    Header,
    /// A player over HTTP tests whether its requests can follow one another at once.
    Pipelining,
    /// The last datagram has arrived by now, so EndOfStream cannot overtake it.
    Farewell,
}

/// What the owner has to do.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Look the channel up, then give [`Input::Opened`]. A session may ask again later for another channel.
    Open(OpenRequest),
    /// How header and media travel from now on; TCP until something else is said.
    Transport(Transport),
    /// Send media with this framing, once the outputs are drained.
    Play(Play),
    /// While playing: send these streams from now on.
    Select(Selection),
    /// Drop queued media now; a packet that was cut is finished first. Nothing with the old framing may follow.
    StopMedia,
    /// The connection is none of ours from here on: nothing follows. Whoever goes on with it gets the bytes.
    HandOver(HandOver),
    /// Give [`Input::Order`] to the session with this [`Session::client_id`], if it is still there.
    Order {
        /// Whose.
        connection: u32,
        /// What.
        order: Order,
    },
    /// A player's report for the log.
    ClientLog(Box<ClientLog>),
    /// Close the connection when everything sent so far is flushed. The reason is for the access log; nothing follows.
    Close(HResult),
}

/// What a player wants to see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenRequest {
    /// Names to look up, in this order.
    pub names: Vec<String>,
    /// Path as received.
    pub raw: String,
    /// Text behind the first `?`.
    pub query: Option<String>,
    /// Host name by which the player reached us; not to be trusted.
    pub host: Option<String>,
}

/// How media is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Play {
    /// What goes in front of each packet.
    pub framing: Framing,
    /// Which streams.
    pub selection: Selection,
    /// How fast the first part may come.
    pub accel: Accel,
    /// The player wants packets with their padding.
    pub keep_padding: bool,
}

/// A player's wishes for a fast start; absent for every open-source player (§5.17). Zeros are absent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Accel {
    /// Bit/s for the first part.
    pub bandwidth: Option<u32>,
    /// Milliseconds of media to send at that rate.
    pub duration_ms: Option<u32>,
    /// Bit/s of the player's link.
    pub link: Option<u32>,
}
