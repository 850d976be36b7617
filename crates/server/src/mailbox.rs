//! What shards are told by each other and by the main thread: values in a bounded box, and a bell.
//!
//! The kernel spreads connections and datagrams over the shards by its own hash, so what concerns a viewer arrives anywhere: a resend
//! request, an order on another of a player's connections. The client id in it names the shard, and whoever got it puts it into
//! that shard's box.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use funnel_session::server::Order;
use funnel_uring::Doorbell;
use rustls::ServerConfig;

/// What is put into a box.
#[derive(Clone, Debug)]
pub enum Letter {
    /// A datagram for one of the shard's viewers, and where it came from.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: ArrayVec<u8, DATAGRAM_BYTES_MAX>,
    },
    /// What a player asks for one of the shard's viewers.
    Order {
        /// The viewer's client id.
        connection: u32,
        /// What it asks.
        order: Order,
    },
    /// What new connections over TLS are shown from now on.
    Certificate(Arc<ServerConfig>),
}

/// The largest resend request: 12 bytes and 32 numbers (`docs/protocol/mmsp.md` §4.4).
pub const DATAGRAM_BYTES_MAX: usize = 12 + 4 * 32;

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

    /// Puts a letter in. False if the box is full.
    #[must_use]
    pub fn put(&self, letter: Letter) -> bool {
        let is_in = self.letters.push(letter).is_ok();
        if is_in && let Some(doorbell) = self.doorbell.get() {
            doorbell.ring();
        }
        is_in
    }

    /// Puts a datagram in; one that is too long or finds the box full is dropped and counted, as networks do.
    pub fn put_datagram(&self, from: SocketAddr, bytes: &[u8]) {
        let letter = ArrayVec::try_from(bytes).map(|bytes| Letter::Datagram { from, bytes });
        if !letter.is_ok_and(|letter| self.put(letter)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
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
    fn a_full_box_and_a_datagram_too_long_are_counted() {
        let mailbox = Mailbox::new();
        let from = SocketAddr::from(([127, 0, 0, 1], 7000));
        mailbox.put_datagram(from, &[1; DATAGRAM_BYTES_MAX + 1]);
        assert_eq!((mailbox.lost(), mailbox.take().is_none()), (1, true));
        for number in 0..LETTERS_MAX + 3 {
            mailbox.put_datagram(from, &number.to_le_bytes());
        }
        assert_eq!(mailbox.lost(), 4);
        let Some(Letter::Datagram {
            from: sender,
            bytes,
        }) = mailbox.take()
        else {
            panic!("a datagram");
        };
        assert_eq!((sender, &bytes[..]), (from, &0usize.to_le_bytes()[..]));
    }
}
