//! What a viewer's protocol machine learns, the same for all protocols.

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
    /// The server closed the connection.
    Closed,
    /// The server broke the protocol.
    Broken(String),
}
