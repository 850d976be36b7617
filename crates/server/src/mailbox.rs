//! Resend requests on their way to the shard that serves their viewer.
//!
//! The kernel spreads a port's datagrams over the shards by its own hash, so a request arrives anywhere. The client id in it
//! names the shard, and whoever got it puts it into that shard's box as a value.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use funnel_uring::Doorbell;

/// A datagram and where it came from.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its sender.
    pub from: SocketAddr,
    /// All of it.
    pub bytes: ArrayVec<u8, LETTER_BYTES_MAX>,
}

/// The largest resend request: 12 bytes and 32 numbers (`docs/protocol/mmsp.md` §4.4).
pub const LETTER_BYTES_MAX: usize = 12 + 4 * 32;

/// One shard's box.
#[derive(Debug)]
pub struct Mailbox {
    letters: ArrayQueue<Letter>,
    doorbell: OnceLock<Doorbell>,
    lost: AtomicU64,
}

impl Mailbox {
    /// An empty one, of a shard that does not run yet.
    pub fn new() -> Self {
        Self {
            letters: ArrayQueue::new(LETTERS_MAX),
            doorbell: OnceLock::new(),
            lost: AtomicU64::new(0),
        }
    }

    /// The shard runs: this wakes it.
    pub fn open(&self, doorbell: Doorbell) {
        // A box belongs to one shard, which starts once.
        let _ = self.doorbell.set(doorbell);
    }

    /// Puts a datagram in; one that is too long or finds the box full is dropped and counted, as networks do.
    pub fn put(&self, from: SocketAddr, bytes: &[u8]) {
        let letter = ArrayVec::try_from(bytes).map(|bytes| Letter { from, bytes });
        let is_in = letter.is_ok_and(|letter| self.letters.push(letter).is_ok());
        if !is_in {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else if let Some(doorbell) = self.doorbell.get() {
            doorbell.ring();
        }
    }

    /// Takes the oldest out.
    pub fn take(&self) -> Option<Letter> {
        self.letters.pop()
    }

    /// Datagrams that found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A shard that does not get round to this many has more urgent things to do.
const LETTERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_box_and_a_letter_too_long_are_counted() {
        let mailbox = Mailbox::new();
        let from = SocketAddr::from(([127, 0, 0, 1], 7000));
        mailbox.put(from, &[1; LETTER_BYTES_MAX + 1]);
        assert_eq!((mailbox.lost(), mailbox.take().is_none()), (1, true));
        for number in 0..LETTERS_MAX + 3 {
            mailbox.put(from, &number.to_le_bytes());
        }
        assert_eq!(mailbox.lost(), 4);
        let first = mailbox.take().expect("a letter");
        assert_eq!(
            (first.from, &first.bytes[..]),
            (from, &0usize.to_le_bytes()[..])
        );
    }
}
