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
    head_bytes: usize,
    start: Start,
    /// Packet `seq` lies at `seq` modulo the length.
    kept: Vec<Vec<u8>>,
    tail: u64,
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
    /// A stream whose packets are cut after `head_bytes`.
    pub fn new(probe: Probe, head_bytes: u32, start: Start) -> Stream {
        let kept = probe.packets_until(KEPT) as usize + 1;
        Stream {
            probe,
            head_bytes: head_bytes as usize,
            start,
            kept: vec![Vec::new(); kept],
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
        let count = self.kept.len() as u64;
        // After a long sleep there is no point in making what is overwritten at once.
        for seq in self.tail.max(due.saturating_sub(count))..due {
            let unix_ns = self.start.unix_ns + self.probe.due(seq).as_nanos() as u64;
            let place = &mut self.kept[(seq % count) as usize];
            self.probe.packet(seq, unix_ns, place);
        }
        self.tail = due;
    }

    /// The next packet to be made.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Everything from `cursor` to the tail that is still there, and how many packets are not.
    pub fn train(&self, cursor: u64) -> (Train<'_>, u64) {
        let count = self.kept.len() as u64;
        let first = cursor.max(self.tail.saturating_sub(count));
        let packets = (first..self.tail).map(|seq| &self.kept[(seq % count) as usize]);
        let pieces: Vec<&[u8]> = packets
            .flat_map(|packet| {
                let (head, body) = packet.split_at(self.head_bytes);
                [head, body]
            })
            .filter(|piece| !piece.is_empty())
            .collect();
        let train = Train {
            bytes: pieces.iter().map(|piece| piece.len()).sum(),
            packets: self.tail - first,
            pieces,
        };
        (train, first - cursor)
    }
}

/// How late a visit may be without loss.
const KEPT: Duration = Duration::from_secs(10);
