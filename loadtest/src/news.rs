//! What a viewer's protocol machine hears, says and learns, the same for all protocols.

use std::net::SocketAddr;

/// What happens to a viewer.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// Bytes of its connection.
    Stream(&'a [u8]),
    /// A datagram, and who sent it.
    Datagram(SocketAddr, &'a [u8]),
    /// The server closed the connection.
    Closed,
    /// Time has passed.
    Time,
}

/// What a viewer has to say.
#[derive(Debug, Default)]
pub struct Said {
    /// Over its connection.
    pub stream: Vec<u8>,
    /// To the server, each a datagram.
    pub datagrams: Vec<Vec<u8>>,
}

/// One thing a viewer learned from bytes received.
#[derive(Debug)]
pub enum News<'a> {
    /// Who the server says it is.
    Server(&'a str),
    /// An ASF header: Header Object and the start of the Data Object.
    Header(&'a [u8]),
    /// The server agreed; media follows. What was due before this moment is backlog.
    Playing,
    /// One ASF packet, as received (padding may have been removed).
    Packet {
        /// The server's running number of the packet, where the protocol has one: gaps are losses.
        number: Option<u32>,
        /// The packet.
        bytes: &'a [u8],
    },
    /// This many bytes of media that is not ASF.
    Bytes(usize),
    /// It is over; nothing follows.
    Over(Over),
}

/// Why it is over.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Over {
    /// The stream ended in the protocol's way.
    Ended,
    /// The server said no, in its words.
    Refused(String),
    /// The server is silent.
    TimedOut,
    /// The server answers, but its datagrams do not come.
    NoDatagrams,
    /// The server closed the connection.
    Closed,
    /// The server broke the protocol.
    Broken(String),
}
