//! What a session has to say, in order. Memory is held only while something is queued; a Ping needs none.

use std::collections::VecDeque;

use funnel_wire::codec::Writer;
use funnel_wire::mms::MacMessage;

use super::mms::Fragments;
use super::{Event, Output};

/// Size of a Ping on the wire.
const PING_BYTES: usize = 48;

/// The queue of one session.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Item>,
    /// Bytes of queued messages, in order; the first `taken` were handed out.
    bytes: Vec<u8>,
    taken: usize,
    /// The header fragment or datagram that was handed out last.
    fragment: Vec<u8>,
    /// The last fragment of a header was handed out as a datagram.
    header_is_out: bool,
    ping: [u8; PING_BYTES],
    ping_waits: bool,
    /// Packets sent so far: the `seq` of the next one.
    sequence: u16,
}

#[derive(Debug)]
enum Item {
    Send { size: usize },
    Header(Fragments),
    Datagram { bytes: Vec<u8>, ends_header: bool },
    Event(Event),
}

impl Outbox {
    /// An empty queue; the next packet has `seq` 0.
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: Vec::new(),
            taken: 0,
            fragment: Vec::new(),
            header_is_out: false,
            ping: [0; PING_BYTES],
            ping_waits: false,
            sequence: 0,
        }
    }

    /// Queues one message.
    pub(super) fn message(&mut self, message: impl Into<MacMessage>) {
        let mut writer = Writer::new(&mut self.bytes);
        message.into().encode(self.sequence, &mut writer);
        let size = writer.written();
        self.sequence = self.sequence.wrapping_add(1);
        self.queue.push_back(Item::Send { size });
    }

    /// Queues bytes of another protocol, to be one send.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.queue.push_back(Item::Send { size: bytes.len() });
    }

    /// Queues an event.
    pub(super) fn event(&mut self, event: Event) {
        self.queue.push_back(Item::Event(event));
    }

    /// Queues an ASF header for TCP.
    pub(super) fn header(&mut self, fragments: Fragments) {
        self.queue.push_back(Item::Header(fragments));
    }

    /// Queues a datagram; `ends_header`: with the last fragment of a header.
    pub(super) fn datagram(&mut self, bytes: Vec<u8>, ends_header: bool) {
        self.queue.push_back(Item::Datagram { bytes, ends_header });
    }

    /// Forgets header fragments and datagrams that were not handed out.
    pub(super) fn cancel_header(&mut self) {
        let stays = |item: &Item| !matches!(item, Item::Header(_) | Item::Datagram { .. });
        self.queue.retain(stays);
    }

    /// Whether a whole header was handed out in datagrams.
    pub(super) fn header_is_out(&self) -> bool {
        self.header_is_out
    }

    /// Datagrams go elsewhere now: no header was handed out yet.
    pub(super) fn forget_header(&mut self) {
        self.header_is_out = false;
    }

    /// Queues a Ping, without touching the heap.
    pub(super) fn ping(&mut self) {
        self.ping = ping_packet(self.sequence);
        self.ping_waits = true;
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// How many things wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The next thing; `None` when there is nothing, and then no memory is held.
    pub(super) fn poll(&mut self) -> Option<Output<'_>> {
        match self.queue.front_mut() {
            None if self.ping_waits => {
                self.ping_waits = false;
                Some(Output::Send(&self.ping))
            }
            None => {
                self.queue = VecDeque::new();
                self.bytes = Vec::new();
                self.fragment = Vec::new();
                self.taken = 0;
                None
            }
            Some(Item::Header(fragments)) => {
                if !fragments.next(&mut self.fragment) {
                    self.queue.pop_front();
                }
                Some(Output::Send(&self.fragment))
            }
            Some(Item::Send { size }) => {
                let start = self.taken;
                self.taken += *size;
                self.queue.pop_front();
                Some(Output::Send(
                    self.bytes.get(start..self.taken).unwrap_or_default(),
                ))
            }
            Some(Item::Datagram { bytes, ends_header }) => {
                self.fragment = std::mem::take(bytes);
                self.header_is_out |= *ends_header;
                self.queue.pop_front();
                Some(Output::Datagram(&self.fragment))
            }
            Some(Item::Event(_)) => match self.queue.pop_front() {
                Some(Item::Event(event)) => Some(Output::Event(event)),
                _ => None,
            },
        }
    }
}

/// The whole TCP packet of a Ping with both parameters 0 (§5.23).
fn ping_packet(sequence: u16) -> [u8; PING_BYTES] {
    let mut packet = PING_TEMPLATE;
    packet[20..22].copy_from_slice(&sequence.to_le_bytes());
    packet
}

/// `TcpMessageHeader` for 16 bytes, chunkLen 2, MID 0x0004001B, two zeros.
const PING_TEMPLATE: [u8; PING_BYTES] = [
    0x01, 0, 0, 0, 0xCE, 0xFA, 0x0B, 0xB0, 0x20, 0, 0, 0, b'M', b'M', b'S', b' ', // header
    0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // chunk count, seq, time
    0x02, 0, 0, 0, 0x1B, 0, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[cfg(test)]
mod tests {
    use funnel_wire::mms::Ping;

    use super::*;

    #[test]
    fn the_prepared_ping_equals_the_encoded_one() {
        let mut encoded = Vec::new();
        MacMessage::from(Ping::default()).encode(0x1234, &mut Writer::new(&mut encoded));
        assert_eq!(ping_packet(0x1234)[..], encoded);
    }

    #[test]
    fn order_is_kept_around_a_header() {
        let mut outbox = Outbox::new();
        outbox.send(b"before");
        outbox.header(Fragments::new(vec![7u8; 150].into(), 100, 2));
        outbox.send(b"after");
        outbox.event(Event::StopMedia);
        outbox.send(b"end");
        let mut seen = Vec::new();
        while let Some(output) = outbox.poll() {
            match output {
                Output::Send(bytes) => seen.push((bytes.len(), bytes.last().copied())),
                other => assert_eq!(other, Output::Event(Event::StopMedia)),
            }
        }
        let expected = [
            (6, Some(b'e')),
            (83, Some(7)),
            (83, Some(7)),
            (5, Some(b'r')),
            (3, Some(b'd')),
        ];
        assert_eq!(seen, expected);
        assert_eq!(outbox.bytes.capacity() + outbox.queue.capacity(), 0);
    }
}
