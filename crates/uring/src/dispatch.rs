//! From what the kernel reported to what the caller is told, one completion at a time.
//!
//! By now the completion queue was copied out and the borrow on it is over, so the caller may ask for anything in its answer.

use std::{collections::VecDeque, io, net::SocketAddr, num::NonZeroU32, os::fd::OwnedFd};

use io_uring::cqueue;

use crate::{
    accept::{self, Verdict},
    buffers::{Lent, Pools},
    files::{File, State},
    local_address,
    op_table::{Key, Kind, Op},
    ops::Ops,
};

/// What happened on a ring. Tokens are the caller's own, returned as given.
#[derive(Debug)]
pub enum Completion<'a> {
    /// A peer connected. The file is open until it is closed.
    Accepted {
        /// Token given to `Ring::listen`.
        listener: u64,
        /// The connection.
        file: File,
        /// Its other end.
        peer: SocketAddr,
    },
    /// A connection could not be accepted; accepting goes on by itself after a rest, or when a file is closed. ENFILE: also
    /// said when `RingConfig::files` are all in use. EINVAL, EBADF and the like: this listener is unusable and one accept of it gave up.
    AcceptFailed {
        /// Token given to `Ring::listen`.
        listener: u64,
        /// Positive errno.
        errno: i32,
    },
    /// A socket is connected. The file is open until it is closed.
    Connected {
        /// Token given to `Ops::connect`.
        token: u64,
        /// The connection.
        file: File,
    },
    /// A socket could not be connected, and is closed.
    ConnectFailed {
        /// Token given to `Ops::connect`.
        token: u64,
        /// Positive errno: ECONNREFUSED, ETIMEDOUT, EADDRNOTAVAIL (the source address has no port left for this target), ECANCELED,
        /// ENFILE (`RingConfig::files` are all in use).
        errno: i32,
    },
    /// Bytes of the peer, never none, in order; theirs only during the call.
    Received {
        /// Token given to `Ops::receive`, `Ops::receive_some` or `Ops::hand_over`.
        token: u64,
        /// At most `RingConfig::receive_buffer_bytes`.
        bytes: &'a [u8],
    },
    /// A datagram, whole; its bytes are theirs only during the call.
    Datagram {
        /// Token given to `Ops::receive_datagrams`.
        token: u64,
        /// Who sent it, or pretends to.
        from: SocketAddr,
        /// At most `RingConfig::datagram_bytes`, perhaps none.
        bytes: &'a [u8],
    },
    /// The peer's bytes are over. Sending may still work after 0.
    ReceiveEnded {
        /// Token given to `Ops::receive`, `Ops::receive_some` or `Ops::receive_datagrams`.
        token: u64,
        /// 0: the peer closed; otherwise −errno.
        result: i32,
    },
    /// The next send gets somewhere.
    Writable {
        /// Token given to `Ops::poll_writable`.
        token: u64,
    },
    /// Which of this machine's addresses a connection came to.
    LocalAddress {
        /// Token given to `Ops::ask_local_address`.
        token: u64,
        /// Its own end; `None` if the kernel could not say.
        address: Option<SocketAddr>,
    },
    /// A connection has left the ring.
    HandedOver {
        /// Token given to `Ops::hand_over`.
        token: u64,
        /// It, for any use; or why it is closed: EOPNOTSUPP (before Linux 6.8), EMFILE, or what the peer did meanwhile.
        socket: io::Result<OwnedFd>,
    },
    /// A send is over.
    Sent {
        /// Token given to `Batch::send` or `Batch::send_to`.
        token: u64,
        /// Bytes the socket took, perhaps fewer than lent; or −errno, −EAGAIN for a full socket.
        result: i32,
    },
    /// Somebody rang the doorbell since the last time: look into the mailboxes.
    DoorbellRang,
}

/// A completion as copied from the queue; sends already have their names back, since their table is reused every turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaped {
    Sent { file: File, token: u64, result: i32 },
    Full { listener: u64 },
    Refused { token: u64 },
    Done { key: Key, result: i32, flags: u32 },
}

pub(crate) type Inbox = VecDeque<Reaped>;

impl Ops {
    /// Brings the tables up to date with one completion and tells `tell` what the caller should know.
    pub(crate) fn dispatch(
        &mut self,
        reaped: Reaped,
        pools: &Pools,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        match reaped {
            Reaped::Sent {
                file,
                token,
                result,
            } => {
                if self.files.is_open(file) {
                    tell(Completion::Sent { token, result }, self);
                }
            }
            Reaped::Full { listener } => tell(
                Completion::AcceptFailed {
                    listener,
                    errno: libc::ENFILE,
                },
                self,
            ),
            Reaped::Refused { token } => tell(
                Completion::ConnectFailed {
                    token,
                    errno: libc::ENFILE,
                },
                self,
            ),
            Reaped::Done { key, result, flags } => {
                // Whatever the operation has become, what is named here is ours: a buffer goes back when `lent` is dropped, a descriptor
                // is closed.
                let lent = cqueue::buffer_select(flags)
                    .zip(pools.of(key.kind))
                    .and_then(|(id, pool)| pool.lent(id, usize::try_from(result).unwrap_or(0)));
                // SAFETY: of each completion once.
                let descriptor = unsafe { local_address::descriptor(key, result) };
                let more = cqueue::more(flags);
                let op = if more {
                    self.table.get(key)
                } else {
                    self.table.remove(key)
                };
                match op {
                    Some(Op::Accept { slot }) => self.on_accept(slot, result, tell),
                    Some(Op::Receive { file, token, once }) => {
                        self.on_receive(key, file, token, once, result, more, lent, tell)
                    }
                    Some(Op::ReceiveDatagrams { file, token }) => {
                        self.on_datagram(key, file, token, result, more, lent, tell)
                    }
                    Some(Op::OpenDatagrams) => {} // `Ring::open_datagrams` takes its completion
                    Some(Op::Writable { file, token }) => self.on_writable(key, file, token, tell),
                    Some(Op::Shutdown { file }) => self.on_shutdown(file),
                    Some(Op::Close { file }) => self.files.release(file),
                    Some(Op::Install { slot }) => self.on_installed(slot, result, tell),
                    Some(Op::Connect { slot, file }) => self.on_connected(slot, file, result, tell),
                    Some(Op::UndoConnect { slot, file }) => self.on_undone(slot, file, tell),
                    Some(Op::LocalAddress { file, token }) => {
                        self.on_local_address(file, token, descriptor, tell)
                    }
                    Some(Op::HandOver { file, token }) => {
                        self.on_handed_over(file, token, result, descriptor, tell)
                    }
                    Some(Op::Doorbell) => self.on_doorbell(more, tell),
                    None if key.kind == Kind::Quiet => {} // a cancel that came too late
                    None => self.stats.stale += 1,
                }
            }
        }
    }

    fn on_accept(
        &mut self,
        slot: u16,
        result: i32,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        self.accepts.over(slot);
        let listener = self.accepts.token(slot);
        if let Ok(file_slot) = u32::try_from(result) {
            let (file, peer) = (
                self.files.claim(file_slot, State::Open),
                self.accepts.peer(slot),
            );
            self.accepts.again(slot);
            match (file, peer) {
                (Some(file), Some(peer)) => tell(
                    Completion::Accepted {
                        listener,
                        file,
                        peer,
                    },
                    self,
                ),
                (Some(file), None) => self.free_slot(file), // a listener that is not TCP
                (None, _) => self.stats.stale += 1,
            }
            return;
        }
        let errno = -result;
        match accept::verdict(errno) {
            Verdict::Cancelled => return self.accepts.again(slot),
            Verdict::Again => self.accepts.again(slot),
            Verdict::Rest => self.accepts.rest(slot),
            Verdict::Broken => self.accepts.retire(slot),
        }
        self.stats.accept_failures += 1;
        if accept::verdict(errno) != Verdict::Again {
            tell(Completion::AcceptFailed { listener, errno }, self);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one completion, used once"
    )]
    fn on_receive(
        &mut self,
        key: Key,
        file: File,
        token: u64,
        once: Option<NonZeroU32>,
        result: i32,
        more: bool,
        lent: Option<Lent<'_>>,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        if !more && entry.receive == Some(key) {
            entry.receive = None;
        }
        let state = entry.state;
        let starved = result == -libc::ENOBUFS;
        self.stats.receives_starved += u64::from(starved);
        let goes_on = result > 0 || starved || result == -libc::EINTR || result == -libc::EAGAIN;
        if !goes_on && result != -libc::ECANCELED {
            entry.ended = true;
        }
        match state {
            State::Open if goes_on => {
                let satisfied = once.is_some() && lent.is_some();
                if let Some(lent) = &lent {
                    tell(
                        Completion::Received {
                            token,
                            bytes: lent.bytes(),
                        },
                        self,
                    );
                }
                drop(lent);
                let over = self
                    .files
                    .open_mut(file)
                    .is_some_and(|entry| entry.receive.is_none());
                if over && !satisfied {
                    self.arm_receive(file, token, once);
                }
            }
            State::Open => tell(Completion::ReceiveEnded { token, result }, self),
            State::HandingOver => {
                if let Some(lent) = &lent {
                    tell(
                        Completion::Received {
                            token,
                            bytes: lent.bytes(),
                        },
                        self,
                    );
                }
                drop(lent);
                if !more {
                    self.let_go(file, token, result, tell);
                }
            }
            State::Lingering if goes_on && more => {}
            State::Lingering if goes_on => self.arm_receive(file, token, None),
            State::Lingering => self.free_slot(file),
            State::Closing | State::Connecting | State::Free => {}
        }
    }

    fn on_writable(
        &mut self,
        key: Key,
        file: File,
        token: u64,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        if entry.writable == Some(key) {
            entry.writable = None;
        }
        if entry.state == State::Open {
            tell(Completion::Writable { token }, self);
        }
    }

    /// The result does not matter: an error says that the connection was reset before.
    fn on_shutdown(&mut self, file: File) {
        if let Some(entry) = self.files.get_mut(file) {
            entry.shutting_down = false;
            self.close_slot(file);
        }
    }

    fn on_doorbell(&mut self, more: bool, tell: &mut impl FnMut(Completion<'_>, &mut Ops)) {
        if !more {
            self.arm_doorbell();
        }
        self.doorbell.answer();
        tell(Completion::DoorbellRang, self);
    }
}
