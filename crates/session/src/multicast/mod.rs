//! Our own receiver of a multicast (`docs/protocol/msb-nsc.md` §6): datagrams of the group in, the channel's packets in order out.
//!
//! Contract: join the group and make a [`Receiver`]; feed one [`Input`], then call [`Receiver::poll_output`] until
//! [`Output::Idle`]. Packets are lent from the receiver's buffer, so handle each before the next poll.
//!
//! Anybody can send to a group: whatever is not a beacon or packet of the announced multicast is counted and changes nothing.

mod receiver;
mod window;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use funnel_wire::nsc::FormatId;

pub use receiver::Receiver;

/// How to receive.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much of the protocol to use.
    pub mode: Mode,
    /// Without beacon or packet for this long after the start: [`Event::OpenTimedOut`] (§4: 20 s). `None`: never.
    pub open_within: Option<Duration>,
    /// Without packet for this long after the last one: [`Event::Ended`] (§4: 30 s). `None`: never.
    pub silence: Option<Duration>,
    /// How long a missing packet may still arrive by another way, once its parity packet came in vain or must have been
    /// lost. The first packets wait as long for what they may have overtaken.
    pub reorder: Duration,
    /// How long a missing packet is waited for at most, its parity packet being still to come.
    pub patience: Duration,
    /// Packets held behind a missing one at most, 16 or more so that a parity packet is never too late.
    pub window: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Strict,
            open_within: Some(Duration::from_secs(20)),
            silence: Some(Duration::from_secs(30)),
            reorder: Duration::from_millis(100),
            patience: Duration::from_secs(10),
            window: 64,
        }
    }
}

/// Whose habits to have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// The specification: the announced source only, the header the packet names, order, error correction.
    Strict,
    /// A set-top box's (§14): any source, always the first header, packets as they come, parity packets left out, zeros up
    /// to the packet size.
    Simple,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A whole datagram, and who sent it.
    Datagram(SocketAddr, &'a [u8]),
    /// `now` has reached the `wake_at` of the last [`Output::Idle`].
    Timeout,
    /// Tell what is still held, then [`Event::Ended`].
    Close,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// Something to know.
    Event(Event<'a>),
    /// Nothing more.
    Idle {
        /// Next deadline.
        wake_at: Option<Instant>,
    },
}

/// What a receiver learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// What follows needs this ASF header: Header Object and the start of the Data Object. Comes before the first packet
    /// and after [`Event::Changed`], even if it is the same as before.
    Header(&'a [u8]),
    /// One ASF packet with empty error correction data; it may be shorter than the packet size, see
    /// [`full_size_packet`](crate::client::full_size_packet).
    Packet {
        /// Number of the packet in the multicast.
        id: u32,
        /// The packet.
        bytes: &'a [u8],
        /// It was lost, and made from the others of its span. There may be zeros behind its end.
        restored: bool,
    },
    /// Packets that did not come and could not be restored: `count` of them from `id` on.
    Lost {
        /// The first of them.
        id: u32,
        /// How many.
        count: u32,
    },
    /// Another stream begins (an entry, a loop, a new encoder, a restarted server): times and objects start anew.
    Changed,
    /// The sender is there and has nothing to send.
    Beacon,
    /// Packets of a header that the announcement does not have are ignored: it may be out of date. Told once for each.
    UnknownFormat(FormatId),
    /// Nothing of this multicast arrives here: try the unicast URL. Nothing follows.
    OpenTimedOut,
    /// No packet for [`Options::silence`], or [`Input::Close`]. Nothing follows.
    Ended,
}

/// What arrived and what became of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// Of these, beacons.
    pub beacons: u64,
    /// Of these, parity packets.
    pub parities: u64,
    /// Packets told, restored ones included.
    pub packets: u64,
    /// Of these, made from their span.
    pub restored: u64,
    /// Of these, arrived after a packet with a higher number.
    pub reordered: u64,
    /// Packets told as lost.
    pub lost: u64,
    /// Packets that were there already.
    pub duplicates: u64,
    /// Packets that came after they were told as lost, or before the first one told.
    pub late: u64,
    /// Datagrams of a source that was not announced.
    pub foreign: u64,
    /// Packets of a header that was not announced.
    pub unknown: u64,
    /// Datagrams that are neither beacon nor packet, or without usable error correction part, or in a place of their own.
    pub invalid: u64,
    /// Times another stream began.
    pub changes: u64,
}
