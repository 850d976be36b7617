//! Operations in flight: who they belong to, and how a completion finds them.
//!
//! `user_data` is a [`Key`]: kind, slot and generation. A slot is freed only by the operation's terminal completion, and its
//! generation then changes, so a completion that comes late, twice or for something cancelled finds nothing instead of
//! somebody else. Sends are not in the table: they never outlive a turn and have their own, reused every turn (`batch.rs`).

use std::num::NonZeroU32;

use crate::files::File;

/// What an operation in flight is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Op {
    /// Waits for a connection; the kernel writes the peer's address into this accept slot.
    Accept { slot: u16 },
    /// Receive into the ring's own buffers: of at most so many bytes, once, or multishot.
    Receive {
        file: File,
        token: u64,
        once: Option<NonZeroU32>,
    },
    /// Multishot receive into the ring's buffers for datagrams, each with its sender's address before it.
    ReceiveDatagrams { file: File, token: u64 },
    /// Puts a socket for datagrams into the direct descriptor table; the kernel writes its place into memory of `Ops`.
    OpenDatagrams,
    /// Single-shot poll for room in the send buffer. Lends nothing.
    Writable { file: File, token: u64 },
    /// Sends FIN. The kernel has a worker thread do it, which looks the socket up by its slot only then: no close may overtake it.
    Shutdown { file: File },
    /// Takes a socket out of the direct descriptor table.
    Close { file: File },
    /// Puts a socket into the direct descriptor table; the kernel writes its place into this connect slot.
    Install { slot: u32 },
    /// Connects; the kernel reads the address from this connect slot.
    Connect { slot: u32, file: File },
    /// Takes a socket that did not connect out of the table again.
    UndoConnect { slot: u32, file: File },
    /// Makes an ordinary descriptor of a file's socket, which is ours to close.
    LocalAddress { file: File, token: u64 },
    /// The same for a connection that leaves the ring: the descriptor is its next owner's.
    HandOver { file: File, token: u64 },
    /// Multishot poll of the doorbell's eventfd.
    Doorbell,
}

impl Op {
    fn kind(&self) -> Kind {
        match self {
            Op::Accept { .. } => Kind::Accept,
            Op::Receive { .. } => Kind::Receive,
            Op::ReceiveDatagrams { .. } => Kind::ReceiveDatagrams,
            Op::OpenDatagrams => Kind::OpenDatagrams,
            Op::Writable { .. } => Kind::Writable,
            Op::Shutdown { .. } => Kind::Shutdown,
            Op::Close { .. } => Kind::Close,
            Op::Install { .. } => Kind::Install,
            Op::Connect { .. } => Kind::Connect,
            Op::UndoConnect { .. } => Kind::UndoConnect,
            Op::LocalAddress { .. } => Kind::LocalAddress,
            Op::HandOver { .. } => Kind::HandOver,
            Op::Doorbell => Kind::Doorbell,
        }
    }

    /// Whether a dropped ring must see it over: until then the kernel may touch memory of ours, or owes us something to close. (It
    /// reads a connect's address early, with SUBMIT_STABLE when it is submitted; nothing here relies on that.)
    pub(crate) fn must_end(&self) -> bool {
        match self {
            Op::Accept { .. }
            | Op::Receive { .. }
            | Op::ReceiveDatagrams { .. }
            | Op::OpenDatagrams
            | Op::Install { .. }
            | Op::Connect { .. }
            | Op::LocalAddress { .. }
            | Op::HandOver { .. } => true,
            Op::Writable { .. }
            | Op::Shutdown { .. }
            | Op::Close { .. }
            | Op::UndoConnect { .. }
            | Op::Doorbell => false,
        }
    }
}

/// The kind of an operation, as the top byte of `user_data`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept = 1,
    Receive = 2,
    Writable = 3,
    Close = 4,
    Doorbell = 5,
    Shutdown = 6,
    /// In the batch's own table, not in [`OpTable`].
    Send = 7,
    /// Cancel: reports only that it came too late, and nobody waits for it.
    Quiet = 8,
    Install = 9,
    Connect = 10,
    UndoConnect = 11,
    ReceiveDatagrams = 12,
    OpenDatagrams = 13,
    LocalAddress = 14,
    HandOver = 15,
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::Accept,
        Kind::Receive,
        Kind::Writable,
        Kind::Close,
        Kind::Doorbell,
        Kind::Shutdown,
        Kind::Send,
        Kind::Quiet,
        Kind::Install,
        Kind::Connect,
        Kind::UndoConnect,
        Kind::ReceiveDatagrams,
        Kind::OpenDatagrams,
        Kind::LocalAddress,
        Kind::HandOver,
    ];

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|&kind| kind as u8 == byte)
    }
}

/// The name of one operation, packed into `user_data`: kind in bits 56–63, slot in bits 32–55, generation in bits 0–31.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Key {
    pub(crate) const SLOTS_MAX: u32 = 1 << 24;
    pub(crate) const QUIET: Key = Key {
        kind: Kind::Quiet,
        slot: 0,
        generation: 0,
    };

    pub(crate) fn pack(self) -> u64 {
        debug_assert!(self.slot < Self::SLOTS_MAX);
        u64::from(self.kind as u8) << 56 | u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// `None` for a kind we never hand out.
    pub(crate) fn unpack(user_data: u64) -> Option<Key> {
        Some(Key {
            kind: Kind::from_byte((user_data >> 56) as u8)?,
            slot: (user_data >> 32) as u32 & (Self::SLOTS_MAX - 1),
            generation: user_data as u32,
        })
    }
}

/// A slab of operations. Slots are reused, newest first; the table never shrinks.
#[derive(Debug)]
pub(crate) struct OpTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    op: Option<Op>,
}

impl Slot {
    fn is_named(&self, key: Key) -> bool {
        self.generation == key.generation && self.op.is_some_and(|op| op.kind() == key.kind)
    }
}

impl OpTable {
    /// Room for `capacity` operations without a heap operation.
    pub(crate) fn with_capacity(capacity: usize) -> OpTable {
        OpTable {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
        }
    }

    /// Takes an operation in and names it.
    pub(crate) fn insert(&mut self, op: Op) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(
                self.slots.len() < Key::SLOTS_MAX as usize,
                "operations are bounded by the file table, at most 2^20 files"
            );
            self.slots.push(Slot {
                generation: 0,
                op: None,
            });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        debug_assert!(entry.op.is_none());
        entry.op = Some(op);
        Key {
            kind: op.kind(),
            slot,
            generation: entry.generation,
        }
    }

    /// The operation of that name, unless it is over.
    pub(crate) fn get(&self, key: Key) -> Option<Op> {
        self.slots
            .get(key.slot as usize)
            .filter(|slot| slot.is_named(key))?
            .op
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Op> {
        self.slots
            .get_mut(key.slot as usize)
            .filter(|slot| slot.is_named(key))?
            .op
            .as_mut()
    }

    /// Ends an operation: its name is void from now on.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Op> {
        let entry = self
            .slots
            .get_mut(key.slot as usize)
            .filter(|slot| slot.is_named(key))?;
        let op = entry.op.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(op)
    }

    /// Operations not over yet.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Op> {
        self.slots.iter().filter_map(|slot| slot.op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_user_data() {
        for kind in Kind::ALL {
            for slot in [0, 1, 0xABCDEF, Key::SLOTS_MAX - 1] {
                for generation in [0, 1, 0x89AB_CDEF, u32::MAX] {
                    let key = Key {
                        kind,
                        slot,
                        generation,
                    };
                    assert_eq!(Key::unpack(key.pack()), Some(key));
                }
            }
        }
    }

    #[test]
    fn the_layout_is_kind_slot_generation() {
        let key = Key {
            kind: Kind::Receive,
            slot: 0x0003_0405,
            generation: 0x0607_0809,
        };
        assert_eq!(key.pack(), 0x0203_0405_0607_0809);
    }

    #[test]
    fn foreign_user_data_is_no_key() {
        assert_eq!(Key::unpack(0), None);
        assert_eq!(Key::unpack(u64::MAX), None);
    }

    #[test]
    fn a_key_dies_with_its_operation() {
        let mut table = OpTable::with_capacity(2);
        let first = table.insert(Op::Accept { slot: 1 });
        assert_eq!(table.remove(first), Some(Op::Accept { slot: 1 }));
        let second = table.insert(Op::Accept { slot: 2 });
        assert_eq!(second.slot, first.slot, "slots are reused");
        assert_eq!(table.get(first), None);
        assert_eq!(
            table.remove(first),
            None,
            "a late completion ends nobody else's operation"
        );
        assert_eq!(table.get(second), Some(Op::Accept { slot: 2 }));
        assert_eq!(table.iter().count(), 1);
    }

    #[test]
    fn a_key_of_another_kind_finds_nothing() {
        let mut table = OpTable::with_capacity(1);
        let doorbell = table.insert(Op::Doorbell);
        assert_eq!(
            table.remove(Key::QUIET),
            None,
            "though slot and generation are the same"
        );
        assert_eq!(table.get(doorbell), Some(Op::Doorbell));
    }

    #[test]
    fn generations_wrap() {
        let mut table = OpTable::with_capacity(1);
        let key = table.insert(Op::Doorbell);
        table.remove(key);
        table.slots[0].generation = u32::MAX;
        let last = table.insert(Op::Doorbell);
        table.remove(last);
        assert_eq!(table.insert(Op::Doorbell).generation, 0);
    }
}
