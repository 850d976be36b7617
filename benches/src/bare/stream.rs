//! The packets: made when due, kept for a few seconds, shared by everybody.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use funnel_asf::probe::Probe;

use super::RESPONSE;

/// When packet 0 was due, the same for all senders.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    at: Instant,
    unix_ns: u64,
}

impl Start {
    /// Now.
    pub fn now() -> Start {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Start {
            at: Instant::now(),
            unix_ns: unix.unwrap_or_default().as_nanos() as u64,
        }
    }
}

/// The newest packets.
pub struct Stream {
    probe: Probe,
    pieces: Pieces,
    start: Start,
    packet_bytes: usize,
    /// Packets side by side: packet `seq` has place `seq` modulo their number.
    kept: Vec<u8>,
    /// The packet being made.
    made: Vec<u8>,
    tail: u64,
}

/// How a train is cut into pieces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pieces {
    /// Each packet after so many bytes, which stand for a protocol's head; with 0, a piece a packet.
    Heads(u32),
    /// What lies side by side is one piece.
    Flat,
}

/// What one slot is due: pieces in order.
#[derive(Default)]
pub struct Train<'s> {
    /// Heads and bodies.
    pub pieces: Vec<&'s [u8]>,
    /// Sum of the pieces.
    pub bytes: usize,
    /// How many packets they are.
    pub packets: u64,
}

impl Stream {
    /// A stream whose trains are cut like this.
    pub fn new(probe: Probe, pieces: Pieces, start: Start) -> Stream {
        let count = probe.packets_until(KEPT) as usize + 1;
        let packet_bytes = probe.packet_bytes() as usize;
        Stream {
            probe,
            pieces,
            start,
            packet_bytes,
            kept: vec![0; count * packet_bytes],
            made: Vec::new(),
            tail: 0,
        }
    }

    /// What every connection gets first: the response's head and the ASF header.
    pub fn greeting(&self) -> Vec<u8> {
        let file_id = u128::from(self.start.unix_ns).to_le_bytes();
        [RESPONSE.as_bytes(), &self.probe.header(file_id)].concat()
    }

    /// Makes what is due at `now`.
    pub fn publish(&mut self, now: Instant) {
        let due = self.probe.packets_until(now - self.start.at);
        let count = self.count();
        // After a long sleep there is no point in making what is overwritten at once.
        for seq in self.tail.max(due.saturating_sub(count))..due {
            let unix_ns = self.start.unix_ns + self.probe.due(seq).as_nanos() as u64;
            self.probe.packet(seq, unix_ns, &mut self.made);
            let begin = (seq % count) as usize * self.packet_bytes;
            self.kept[begin..begin + self.packet_bytes].copy_from_slice(&self.made);
        }
        self.tail = due;
    }

    /// The next packet to be made.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Everything from `cursor` to the tail that is still there, and how many packets are not.
    pub fn train(&self, cursor: u64) -> (Train<'_>, u64) {
        let count = self.count();
        let first = cursor.max(self.tail.saturating_sub(count));
        let (from, until) = (first % count, first % count + (self.tail - first));
        let range = |from: u64, until: u64| {
            &self.kept[from as usize * self.packet_bytes..until as usize * self.packet_bytes]
        };
        let in_place = [
            range(from, until.min(count)),
            range(0, until.saturating_sub(count)),
        ];
        let mut pieces: Vec<&[u8]> = match self.pieces {
            Pieces::Flat => in_place.to_vec(),
            Pieces::Heads(bytes) => in_place
                .into_iter()
                .flat_map(|packets| packets.chunks(self.packet_bytes))
                .flat_map(|packet| <[&[u8]; 2]>::from(packet.split_at(bytes as usize)))
                .collect(),
        };
        pieces.retain(|piece| !piece.is_empty());
        let train = Train {
            bytes: pieces.iter().map(|piece| piece.len()).sum(),
            packets: self.tail - first,
            pieces,
        };
        (train, first - cursor)
    }

    /// Packets that are kept.
    fn count(&self) -> u64 {
        (self.kept.len() / self.packet_bytes) as u64
    }
}

/// How late a visit may be without loss.
const KEPT: Duration = Duration::from_secs(10);
