//! Connecting: from an ordinary socket the caller made to a connected direct descriptor.
//!
//! Three operations, one after the other: FILES_UPDATE puts the socket into the ring's table, CONNECT works on its slot, and if
//! that fails, CLOSE frees the slot. The ordinary descriptor is closed as soon as the first is over, so a connection holds one
//! for a turn only. Of the alternatives, SOCKET with a direct descriptor would need BIND and SETSOCKOPT in the ring, which Linux
//! 6.0 does not have; connecting before the socket is put into the table would hold a descriptor while a peer does not answer,
//! which may be minutes; and `io_uring_register` updates only slots *we* name, silently replacing what an accept in flight may have
//! put there. So the kernel picks the slot (IORING_FILE_INDEX_ALLOC), as it does for accepts, and writes its number where it read the
//! descriptor's.
//!
//! That place and the address are the ring's, one for each connect in flight, reused, and freed (or leaked) by `Ring::drop`
//! only after the operations. Accepts are armed for free slots only, and so are connects begun: what armed accepts and connects
//! under way may fill counts as full, so neither takes a slot from the other.

use std::{cell::UnsafeCell, collections::VecDeque, mem, net::SocketAddr, os::fd::AsRawFd};

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, Socket};

use crate::{
    dispatch::Completion,
    files::{File, State},
    op_table::{Key, Op},
    ops::Ops,
};

/// Names one connect under way, to cancel it. Void once its outcome was reported.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Attempt {
    slot: u32,
    generation: u32,
}

/// The connects under way and the memory lent to them. Grows to the size of the file table at most.
#[derive(Debug)]
pub(crate) struct ConnectPool {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Connects that will take a slot of the file table and have none yet.
    installing: u32,
    /// Tokens of connects there was no room for, not reported yet.
    pub(crate) refused: VecDeque<u64>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    token: u64,
    stage: Stage,
    /// Boxed, so that it stays where it is when `slots` grows.
    lent: Box<Lent>,
}

/// ```text
/// Free ──connect──▶ Installing ──in the table──▶ Connecting ──connected──▶ Free
///                    │      └──though cancelled──▶ Closing ◀──failed──┘
///                    └──no room──▶ Free                └──close done──▶ Free
/// ```
#[derive(Debug)]
enum Stage {
    Free,
    /// The socket is open until the ring's table holds it too.
    Installing {
        _socket: Socket,
        cancelled: bool,
    },
    Connecting {
        key: Key,
    },
    /// It came to nothing; its place in the file table is being freed.
    Closing {
        errno: i32,
    },
}

#[derive(Debug)]
struct Lent {
    /// Given as the ordinary descriptor, overwritten by the kernel with the place in the table.
    descriptor: UnsafeCell<i32>,
    /// Only read by the kernel.
    address: SockAddr,
}

impl Ops {
    /// Connects a TCP socket of the caller's making (`net::client_socket`) to `address`, whose family must be the socket's. Ends with one
    /// `Completion::Connected` or, the slot being free again, `Completion::ConnectFailed`. ENFILE: `RingConfig::files` are all in use,
    /// or kept for armed accepts. The socket's ordinary descriptor is held until the drain after the next turn, not longer, so that
    /// many connects are best spread over turns; a server's backlog wants that too.
    /// How long a silent peer is waited for is the socket's affair (TCP_USER_TIMEOUT, TCP_SYNCNT) or the caller's
    /// ([`Ops::cancel_connect`]).
    pub fn connect(&mut self, socket: Socket, address: SocketAddr, token: u64) -> Attempt {
        if self.files_for_accepts() <= self.accepts.armed() {
            self.connects.refused.push_back(token);
            return Attempt::VOID;
        }
        let attempt = self.connects.begin(socket, address, token);
        let key = self.table.insert(Op::Install { slot: attempt.slot });
        let install = self.connects.install_entry(attempt.slot);
        self.queue.push_back(install.user_data(key.pack()));
        attempt
    }

    /// Gives a connect up: it ends as soon as may be with `Completion::ConnectFailed` (ECANCELED), or connected all the same.
    pub fn cancel_connect(&mut self, attempt: Attempt) {
        match self.connects.stage_mut(attempt) {
            Some(Stage::Installing { cancelled, .. }) => *cancelled = true,
            Some(Stage::Connecting { key }) => {
                let key = *key;
                self.cancel(key);
            }
            Some(Stage::Free | Stage::Closing { .. }) | None => {}
        }
    }

    /// Slots that armed accepts may count on.
    pub(crate) fn files_for_accepts(&self) -> u32 {
        self.files.free().saturating_sub(self.connects.installing)
    }

    /// Follows the kernel: the socket is in the table, or there was no room. Its ordinary descriptor is closed here.
    pub(crate) fn on_installed(
        &mut self,
        slot: u32,
        result: i32,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        let Installed { place, cancelled } = self.connects.installed(slot);
        let file = if result == 1 {
            self.files.claim(place, State::Connecting)
        } else {
            None
        };
        let Some(file) = file else {
            // A result of 1 without a file: the kernel named a slot we believe in use, and which we must not touch.
            self.stats.stale += u64::from(result == 1);
            let errno = if result < 0 { -result } else { libc::ENFILE };
            let token = self.connects.end(slot);
            return tell(Completion::ConnectFailed { token, errno }, self);
        };
        if cancelled {
            return self.undo_connect(slot, file, libc::ECANCELED);
        }
        let key = self.table.insert(Op::Connect { slot, file });
        let connect = self.connects.connect_entry(slot, file, key);
        self.queue.push_back(connect.user_data(key.pack()));
    }

    pub(crate) fn on_connected(
        &mut self,
        slot: u32,
        file: File,
        result: i32,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        if result < 0 {
            return self.undo_connect(slot, file, -result);
        }
        self.files.opened(file);
        let token = self.connects.end(slot);
        tell(Completion::Connected { token, file }, self);
    }

    /// Follows the kernel: the slot of a socket that did not connect is free.
    pub(crate) fn on_undone(
        &mut self,
        slot: u32,
        file: File,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        self.files.release(file);
        let errno = self.connects.errno(slot);
        let token = self.connects.end(slot);
        tell(Completion::ConnectFailed { token, errno }, self);
    }

    fn undo_connect(&mut self, slot: u32, file: File, errno: i32) {
        self.connects.slots[slot as usize].stage = Stage::Closing { errno };
        let key = self.table.insert(Op::UndoConnect { slot, file });
        let close = opcode::Close::new(types::Fixed(file.slot)).build();
        self.queue.push_back(close.user_data(key.pack()));
    }
}

impl Attempt {
    /// Named by nothing: the pool has fewer slots.
    const VOID: Attempt = Attempt {
        slot: u32::MAX,
        generation: 0,
    };
}

/// What `ConnectPool::installed` found.
struct Installed {
    /// The place in the file table, if the operation says so.
    place: u32,
    cancelled: bool,
}

impl ConnectPool {
    pub(crate) fn new() -> ConnectPool {
        ConnectPool {
            slots: Vec::new(),
            free: Vec::new(),
            installing: 0,
            refused: VecDeque::new(),
        }
    }

    fn begin(&mut self, socket: Socket, address: SocketAddr, token: u64) -> Attempt {
        let (descriptor, address) = (socket.as_raw_fd(), SockAddr::from(address));
        let stage = Stage::Installing {
            _socket: socket,
            cancelled: false,
        };
        self.installing += 1;
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                debug_assert!(matches!(slot.stage, Stage::Free));
                (slot.token, slot.stage) = (token, stage);
                *slot.lent.descriptor.get_mut() = descriptor;
                slot.lent.address = address;
                Attempt {
                    slot: index,
                    generation: slot.generation,
                }
            }
            None => {
                let index = self.slots.len() as u32;
                let lent = Box::new(Lent {
                    descriptor: UnsafeCell::new(descriptor),
                    address,
                });
                self.slots.push(Slot {
                    generation: 0,
                    token,
                    stage,
                    lent,
                });
                Attempt {
                    slot: index,
                    generation: 0,
                }
            }
        }
    }

    fn install_entry(&self, slot: u32) -> squeue::Entry {
        let descriptor = self.slots[slot as usize].lent.descriptor.get();
        opcode::FilesUpdate::new(descriptor, 1)
            .offset(INDEX_ALLOC)
            .build()
    }

    /// Closes the ordinary descriptor.
    fn installed(&mut self, slot: u32) -> Installed {
        self.installing -= 1;
        let entry = &mut self.slots[slot as usize];
        let stage = mem::replace(&mut entry.stage, Stage::Free);
        debug_assert!(matches!(stage, Stage::Installing { .. }));
        Installed {
            // The operation is over, so nobody else writes here. Negative: the kernel named none, and no slot is `u32::MAX`.
            place: u32::try_from(*entry.lent.descriptor.get_mut()).unwrap_or(u32::MAX),
            cancelled: matches!(
                stage,
                Stage::Installing {
                    cancelled: true,
                    ..
                }
            ),
        }
    }

    fn connect_entry(&mut self, slot: u32, file: File, key: Key) -> squeue::Entry {
        let entry = &mut self.slots[slot as usize];
        entry.stage = Stage::Connecting { key };
        let address = &entry.lent.address;
        opcode::Connect::new(
            types::Fixed(file.slot),
            address.as_ptr().cast(),
            address.len(),
        )
        .build()
    }

    fn stage_mut(&mut self, attempt: Attempt) -> Option<&mut Stage> {
        self.slots
            .get_mut(attempt.slot as usize)
            .filter(|slot| slot.generation == attempt.generation)
            .map(|slot| &mut slot.stage)
    }

    fn errno(&self, slot: u32) -> i32 {
        match self.slots[slot as usize].stage {
            Stage::Closing { errno } => errno,
            _ => unreachable!("only what is being undone has a close of its own"),
        }
    }

    /// Frees the slot, with the outcome about to be reported, and returns the token.
    fn end(&mut self, slot: u32) -> u64 {
        let entry = &mut self.slots[slot as usize];
        entry.stage = Stage::Free;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        entry.token
    }
}

/// `IORING_FILE_INDEX_ALLOC` (~0U) of <linux/io_uring.h>: the kernel picks the slot.
pub(crate) const INDEX_ALLOC: i32 = -1;
