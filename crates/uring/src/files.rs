//! The ring's direct descriptor table, as we see it: one entry a slot, with a generation and what is in flight on it.
//!
//! The kernel chooses the slot when a connection is accepted or a socket is to be connected, and frees it when the close completes; this table follows.

use crate::op_table::Key;

/// A socket in the ring's direct descriptor table. Void after [`crate::Ops::close`]: what is asked of a void file is
/// not done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct File {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl File {
    /// The slot in the ring's table, 0 to `RingConfig::files` − 1. Two open files never share it, so it can index a table.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

/// Life of a slot.
///
/// ```text
/// Free ──accepted──▶ Open ──close──▶ Lingering ──EOF, error, LINGER over──▶ Closing ──close done──▶ Free
///  │                ▲ └──abort, or close after the peer's EOF────────────────▲
///  └──▶ Connecting ──┘└──▶ HandingOver ──────────────────────────────────────▲
///            └──failed, and closed──▶ Free
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Free,
    /// Nobody knows its name yet.
    Connecting,
    Open,
    /// Our FIN is on its way; what the peer still says is thrown away.
    Lingering,
    /// On its way out of the ring (`hand_over.rs`). Nobody asks anything of it any more.
    HandingOver,
    /// Being cancelled and closed: waits for a shutdown in flight, then for the close.
    Closing,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    generation: u32,
    pub(crate) state: State,
    /// The peer's bytes have ended (EOF or error), or it is a socket for datagrams: a close has no reset to avoid.
    pub(crate) ended: bool,
    /// A shutdown is in flight.
    pub(crate) shutting_down: bool,
    pub(crate) receive: Option<Key>,
    pub(crate) writable: Option<Key>,
}

impl Entry {
    fn new(generation: u32, state: State) -> Entry {
        Entry {
            generation,
            state,
            ended: false,
            shutting_down: false,
            receive: None,
            writable: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct FileTable {
    entries: Box<[Entry]>,
    used: u32,
}

impl FileTable {
    pub(crate) fn new(files: u32) -> FileTable {
        let empty = Entry::new(0, State::Free);
        FileTable {
            entries: vec![empty; files as usize].into_boxed_slice(),
            used: 0,
        }
    }

    /// Follows the kernel: `slot` now holds a new socket, open or connecting. `None` if the kernel names a slot we did not give it or that is in use.
    pub(crate) fn claim(&mut self, slot: u32, state: State) -> Option<File> {
        let entry = self
            .entries
            .get_mut(slot as usize)
            .filter(|entry| entry.state == State::Free)?;
        *entry = Entry::new(entry.generation, state);
        self.used += 1;
        Some(File {
            slot,
            generation: entry.generation,
        })
    }

    /// Follows the kernel: the socket is connected.
    pub(crate) fn opened(&mut self, file: File) {
        if let Some(entry) = self.get_mut(file) {
            debug_assert_eq!(entry.state, State::Connecting);
            entry.state = State::Open;
        }
    }

    /// Follows the kernel: the close completed, the slot is free.
    pub(crate) fn release(&mut self, file: File) {
        if let Some(entry) = self.get_mut(file)
            && entry.state != State::Free
        {
            entry.state = State::Free;
            entry.generation = entry.generation.wrapping_add(1);
            self.used -= 1;
        }
    }

    pub(crate) fn get_mut(&mut self, file: File) -> Option<&mut Entry> {
        self.entries
            .get_mut(file.slot as usize)
            .filter(|entry| entry.generation == file.generation)
    }

    pub(crate) fn open_mut(&mut self, file: File) -> Option<&mut Entry> {
        self.get_mut(file)
            .filter(|entry| entry.state == State::Open)
    }

    pub(crate) fn state(&self, file: File) -> State {
        match self.entries.get(file.slot as usize) {
            Some(entry) if entry.generation == file.generation => entry.state,
            _ => State::Free,
        }
    }

    pub(crate) fn is_open(&self, file: File) -> bool {
        self.state(file) == State::Open
    }

    /// Slots in use, closing ones included.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Slots not in use.
    pub(crate) fn free(&self) -> u32 {
        self.entries.len() as u32 - self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_name_does_not_reach_the_next_connection() {
        let mut files = FileTable::new(1);
        let first = files.claim(0, State::Open).unwrap();
        assert_eq!(files.claim(0, State::Open), None, "in use");
        files.release(first);
        let second = files.claim(0, State::Open).unwrap();
        assert!(!files.is_open(first) && files.is_open(second));
        files.release(first);
        assert!(
            files.is_open(second),
            "a second release of the first name is void"
        );
        assert_eq!((files.used(), files.free()), (1, 0));
    }

    #[test]
    fn slots_outside_the_table_are_refused() {
        assert_eq!(FileTable::new(2).claim(2, State::Open), None);
    }
}
