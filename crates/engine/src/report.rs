//! What the engine has to tell an operator, as values; writing it down is the owner's business.

use std::net::SocketAddr;
use std::time::Duration;

use funnel_session::{ClientLog, HResult};

use crate::train::Coupled;

/// One line for the log.
#[derive(Debug)]
pub enum Report {
    /// A viewer opened a channel.
    Opened {
        /// Address of the player.
        peer: SocketAddr,
        /// Name the player gives itself.
        agent: String,
        /// Channel it opened.
        channel: String,
    },
    /// A viewer asked for something it does not get.
    Refused {
        /// Address of the player.
        peer: SocketAddr,
        /// Name the player gives itself.
        agent: String,
        /// What it asked for, as received.
        wanted: String,
        /// What it was told.
        hr: HResult,
    },
    /// A player's own report.
    ClientLog {
        /// Address of the player.
        peer: SocketAddr,
        /// Channel it has open.
        channel: String,
        /// What it says.
        log: Box<ClientLog>,
    },
    /// A connection is over.
    Left {
        /// Address of the player.
        peer: SocketAddr,
        /// Name the player gave itself.
        agent: String,
        /// Channel it had open.
        channel: Option<String>,
        /// Why.
        reason: Reason,
        /// What it got.
        stats: ViewerStats,
    },
    /// A channel's packets do not fit one datagram: over UDP each goes out in IP fragments. Once a channel.
    Fragments {
        /// The channel.
        channel: String,
        /// Size of its packets, bytes.
        packet_bytes: u32,
        /// What fits after the 8 bytes in front, bytes.
        fitting_bytes: u32,
    },
    /// The kernel or a device does not cut trains into datagrams: from now on each packet is a send of its own. Once.
    SegmentationOff {
        /// What it answered.
        errno: i32,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// In the protocol's way; the code the session gave.
    Closed(HResult),
    /// It was no player's, and somebody else goes on with it.
    HandedOver,
    /// The player closed the connection.
    PeerClosed,
    /// The player broke the protocol.
    PeerFault(String),
    /// It took nothing for this long.
    Lag(Duration),
    /// It did not take the last messages before the close.
    Unflushed,
    /// The kernel reported an error on its socket; the errno.
    Kernel(i32),
}

/// What one viewer got.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ViewerStats {
    /// Media packets handed to the kernel, whole.
    pub packets: u64,
    /// Bytes handed to the kernel, heads and messages included.
    pub bytes: u64,
    /// Packets it missed because the log had moved on.
    pub packets_skipped: u64,
    /// Times it was moved to a newer clean point.
    pub jumps: u32,
    /// Furthest it was behind, ms.
    pub lag_ms_max: u64,
}

/// Totals of a shard; they only grow, except for the two that say what is now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Connections now.
    pub connections: u64,
    /// Viewers playing now.
    pub playing: u64,
    /// Connections ever accepted.
    pub accepted: u64,
    /// Sends handed to the kernel (packets ÷ sends = length of the trains).
    pub sends: u64,
    /// Sends of steady viewers (÷ sends = visits that touched two cache lines of a viewer and no more).
    pub steady_sends: u64,
    /// Media packets handed to the kernel, whole.
    pub packets: u64,
    /// Bytes the kernel took.
    pub bytes: u64,
    /// Sends the kernel took only a part of: a viewer that lags.
    pub short_sends: u64,
    /// Packets viewers missed because the log had moved on.
    pub packets_skipped: u64,
    /// Times a viewer was moved to a newer clean point.
    pub jumps: u64,
    /// Viewers closed because they took nothing for too long.
    pub lag_closed: u64,
    /// Requests for a channel that were refused.
    pub refused: u64,
    /// Connections closed for breaking the protocol.
    pub faults: u64,
    /// Viewers ended because the part of a packet they still needed was gone.
    pub torn: u64,
    /// Sends of media over UDP (`datagrams` ÷ this = segmentation achieved).
    pub datagram_sends: u64,
    /// Media packets handed to the kernel over UDP, resends not among them.
    pub datagrams: u64,
    /// Sends over UDP that were made again, since the socket's buffer was full or the kernel did not cut them.
    pub datagram_retries: u64,
    /// Packets, header parts and resends the kernel refused to send over UDP.
    pub datagrams_lost: u64,
    /// Viewers whose trains are too large for their way: they get each packet as a send of its own.
    pub plain_viewers: u64,
    /// Requests for packets to be sent again, of viewers that are here.
    pub resend_requests: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Packets asked for that are no longer in the log, or of a run that the player stopped.
    pub resends_gone: u64,
    /// Packets asked for beyond what a viewer or this shard may have again.
    pub resends_refused: u64,
    /// Datagrams that are no such request, or not from whom they say they are.
    pub datagrams_invalid: u64,
}

impl Counters {
    /// Counts a send of media over UDP.
    pub(crate) fn count_datagrams(&mut self, coupled: &Coupled) {
        self.datagram_sends += u64::from(coupled.packets > 0);
        self.datagrams += u64::from(coupled.packets);
    }
}
