//! Connections that are not, or not only, a player's: hand-overs, redirects, orders for another connection.

use funnel_asf::Selection;

/// A connection that somebody else is to go on with, and what was read of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HandOver {
    /// Who.
    pub to: Desk,
    /// Everything the peer has said so far: the head of a request, and what came behind it.
    pub received: Vec<u8>,
}

/// Who goes on with a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Desk {
    /// An encoder pushes (`docs/protocol/wmsp.md` §20, §22).
    Ingest,
    /// A browser looks, or a player asks for `NAME.asx`, `NAME.nsc` or `NAME.m3u` (§19).
    Pages,
}

/// Where a channel is instead, in the words of each protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// For MMS: `mms://`, `mmst://` or `mmsu://` (`docs/protocol/mmsp.md` §5.10).
    pub mms: String,
    /// For HTTP: `http://` (`docs/protocol/wmsp.md` §14.1).
    pub http: String,
}

/// What a player asks on one connection for the media on another of its connections (`docs/protocol/wmsp.md` §5.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Send these streams from now on.
    Select(Selection),
    /// Send nothing more.
    Stop,
}
