//! What waits for a viewer's sockets besides media: messages, and buffers that come back, so that Pings and cut packets need no heap.

/// Messages of one viewer, each a send of its own. No memory is held while nothing waits.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// One behind the other, each with its size and way in front.
    bytes: Vec<u8>,
    /// Where the first begins that is not out yet.
    at: usize,
    /// What the kernel took of it.
    sent: usize,
}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Bytes that wait, sizes and what was taken of the first among them.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Queues a message behind the others.
    pub(crate) fn push(&mut self, message: &[u8], way: Way, buffers: &mut Buffers) {
        // A player that never takes the last one must not make the rest pile up.
        if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        buffers.make_room(&mut self.bytes, SIZE_BYTES + message.len());
        let word = message.len() << 1 | usize::from(way == Way::Datagram);
        self.bytes.extend_from_slice(&word.to_le_bytes());
        self.bytes.extend_from_slice(message);
    }

    /// How the first goes.
    pub(crate) fn way(&self) -> Way {
        match self.word() & 1 {
            0 => Way::Stream,
            _ => Way::Datagram,
        }
    }

    /// What is left of the first; empty when nothing waits.
    pub(crate) fn first(&self) -> &[u8] {
        let begin = self.at + SIZE_BYTES;
        self.bytes
            .get(begin + self.sent..begin + self.size())
            .unwrap_or_default()
    }

    /// The kernel took `sent` bytes of the first. Whether that was all of it: then the next one is the first.
    pub(crate) fn take(&mut self, sent: usize, buffers: &mut Buffers) -> bool {
        self.sent += sent;
        if self.sent < self.size() {
            return false;
        }
        self.at += SIZE_BYTES + self.size();
        self.sent = 0;
        if self.is_empty() {
            self.clear(buffers);
        }
        true
    }

    /// Forgets those that go as datagrams.
    pub(crate) fn forget_datagrams(&mut self, buffers: &mut Buffers) {
        let mut kept = 0;
        let mut at = self.at;
        while at < self.bytes.len() {
            let first = std::mem::replace(&mut self.at, at);
            let (size, way) = (SIZE_BYTES + self.size(), self.way());
            self.at = first;
            if way == Way::Stream {
                self.bytes.copy_within(at..at + size, kept);
                kept += size;
            }
            at += size;
        }
        self.bytes.truncate(kept);
        self.at = 0;
        if self.is_empty() {
            self.clear(buffers);
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        buffers.give(std::mem::take(&mut self.bytes));
        (self.at, self.sent) = (0, 0);
    }

    /// Size of the first.
    fn size(&self) -> usize {
        self.word() >> 1
    }

    /// What stands in front of the first: its size and, in the lowest bit, its way.
    fn word(&self) -> usize {
        let word = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| usize::from_le_bytes(*word))
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// On the viewer's connection.
    Stream,
    /// As one datagram.
    Datagram,
}

/// Empty buffers of one size, for whoever is next.
#[derive(Debug)]
pub(crate) struct Buffers {
    spare: Vec<Vec<u8>>,
    count_max: usize,
}

impl Buffers {
    /// Keeps `count_max` buffers at most.
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            spare: Vec::with_capacity(count_max),
            count_max,
        }
    }

    /// Makes `buffer` take `more` bytes, in one of these if they suffice.
    pub(crate) fn make_room(&mut self, buffer: &mut Vec<u8>, more: usize) {
        let needed = buffer.len() + more;
        if needed <= buffer.capacity() {
            return;
        }
        let mut larger = match self.spare.pop() {
            Some(spare) if needed <= spare.capacity() => spare,
            spare => {
                self.spare.extend(spare);
                Vec::with_capacity(needed.next_power_of_two().max(BUFFER_BYTES))
            }
        };
        larger.extend_from_slice(buffer);
        self.give(std::mem::replace(buffer, larger));
    }

    /// Takes a buffer back, unless it is a large one or there are enough.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let usual = (BUFFER_BYTES..2 * BUFFER_BYTES).contains(&buffer.capacity());
        if usual && self.spare.len() < self.count_max {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// Size of a message's size.
const SIZE_BYTES: usize = size_of::<usize>();
/// Room for any Ping, and for packets that fit one Ethernet frame; larger ones are allocated each time.
const BUFFER_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_and_in_order_however_they_are_taken() {
        let mut buffers = Buffers::new(8);
        let mut messages = Messages::default();
        let mut told = Vec::new();
        let mut sizes = Vec::new();
        for size in [1usize, 48, 3000, 2, 700] {
            let message: Vec<u8> = (0..size).map(|n| n as u8).collect();
            messages.push(&message, Way::Stream, &mut buffers);
            sizes.push(message);
            // Takes some of what waits, in pieces of 40 bytes, but never the last.
            while messages.waiting_bytes() > SIZE_BYTES + size {
                let piece = messages.first().len().min(40);
                told.extend_from_slice(&messages.first()[..piece]);
                messages.take(piece, &mut buffers);
            }
        }
        while !messages.is_empty() {
            let piece = messages.first().len().min(40);
            told.extend_from_slice(&messages.first()[..piece]);
            messages.take(piece, &mut buffers);
        }
        assert_eq!(told, sizes.concat());
        assert_eq!(messages.bytes.capacity(), 0);
    }

    #[test]
    fn what_was_taken_does_not_pile_up_behind_one_that_waits() {
        let mut buffers = Buffers::new(8);
        let mut messages = Messages::default();
        for _ in 0..10_000 {
            messages.push(&[7; 48], Way::Stream, &mut buffers);
            if messages.waiting_bytes() > 2 * (48 + SIZE_BYTES) {
                assert!(messages.take(48, &mut buffers));
            }
        }
        assert!(messages.bytes.capacity() <= BUFFER_BYTES);
    }

    #[test]
    fn datagrams_can_be_forgotten_while_a_message_is_half_taken() {
        let mut buffers = Buffers::new(8);
        let mut messages = Messages::default();
        for (fill, way) in [
            (1, Way::Datagram),
            (2, Way::Stream),
            (3, Way::Datagram),
            (4, Way::Datagram),
            (5, Way::Stream),
        ] {
            messages.push(&[fill; 100], way, &mut buffers);
        }
        assert_eq!(messages.way(), Way::Datagram);
        messages.take(100, &mut buffers);
        messages.take(30, &mut buffers);
        messages.forget_datagrams(&mut buffers);
        assert_eq!(
            (messages.way(), messages.first()),
            (Way::Stream, &[2; 70][..])
        );
        messages.take(70, &mut buffers);
        assert_eq!(
            (messages.way(), messages.first()),
            (Way::Stream, &[5; 100][..])
        );
        messages.push(&[6; 100], Way::Datagram, &mut buffers);
        messages.take(100, &mut buffers);
        messages.forget_datagrams(&mut buffers);
        assert!(messages.is_empty());
        assert_eq!(messages.bytes.capacity(), 0);
    }

    #[test]
    fn usual_buffers_come_back_and_large_ones_do_not() {
        let mut buffers = Buffers::new(8);
        let mut messages = Messages::default();
        messages.push(&[1; 48], Way::Stream, &mut buffers);
        messages.push(&[2; 5000], Way::Stream, &mut buffers); // moves to a large one
        assert_eq!(buffers.spare.len(), 1);
        messages.take(48, &mut buffers);
        messages.take(5000, &mut buffers);
        assert_eq!(buffers.spare.len(), 1);
        let mut cut = Vec::new();
        buffers.make_room(&mut cut, 1452);
        assert_eq!((cut.capacity(), buffers.spare.len()), (BUFFER_BYTES, 0));
        buffers.give(cut);
        assert_eq!(buffers.spare.len(), 1);
    }
}
