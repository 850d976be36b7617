//! The pool of armed accepts: single-shot, each with a place of its own for the peer's address.
//!
//! Multishot accept would be one operation a listener, but it has one address for all and so could not tell who came. No more
//! accepts are armed than there are free slots for direct descriptors: beyond that the kernel would take a connection and
//! drop it, while unarmed it waits in the backlog. An accept that failed for want of resources rests [`REST`] before it is
//! armed again, since the connection it could not take is still there and would fail it at once.

use std::{
    cell::UnsafeCell,
    collections::VecDeque,
    fmt, mem,
    net::SocketAddr,
    os::fd::AsRawFd,
    ptr,
    time::{Duration, Instant},
};

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::{
    delay::Delay,
    op_table::{Key, Op, OpTable},
};

/// How long an accept rests that failed for want of descriptors or memory.
pub(crate) const REST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct AcceptPool {
    listeners: Vec<Listener>,
    slots: Vec<Slot>,
    /// Slots to be armed as soon as there is room, longest unarmed first.
    idle: VecDeque<u16>,
    resting: Delay<u16>,
    armed: u32,
    full_reported: bool,
}

#[derive(Debug)]
struct Listener {
    /// Until it is stopped and its last accept is over.
    socket: Option<Socket>,
    token: u64,
    armed: u32,
    stopped: bool,
}

#[derive(Debug)]
struct Slot {
    listener: u16,
    key: Option<Key>,
    /// Boxed, so that it stays where it is when `slots` grows: the kernel writes here while `key` is `Some`.
    peer: Box<UnsafeCell<Peer>>,
}

struct Peer {
    address: SockAddrStorage,
    length: libc::socklen_t,
}

impl AcceptPool {
    pub(crate) fn new() -> AcceptPool {
        AcceptPool {
            listeners: Vec::new(),
            slots: Vec::new(),
            idle: VecDeque::new(),
            resting: Delay::new(REST),
            armed: 0,
            full_reported: false,
        }
    }

    pub(crate) fn add(&mut self, socket: Socket, token: u64, depth: u16) {
        // A ring fails operations on O_NONBLOCK descriptors with EAGAIN instead of waiting. If this should fail, accepts do, and say so.
        let _ = socket.set_nonblocking(false);
        let listener = self.listeners.len() as u16;
        self.listeners.push(Listener {
            socket: Some(socket),
            token,
            armed: 0,
            stopped: false,
        });
        for _ in 0..depth.max(1) {
            let peer = Box::new(UnsafeCell::new(Peer {
                address: SockAddrStorage::zeroed(),
                length: 0,
            }));
            self.idle.push_back(self.slots.len() as u16);
            self.slots.push(Slot {
                listener,
                key: None,
                peer,
            });
        }
    }

    /// Starts the rest of those that failed and ends that of those rested enough.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.resting.start(now);
        while let Some(slot) = self.resting.pop_due(now) {
            self.idle.push_back(slot);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.resting.next_due()
    }

    /// Arms as many idle accepts as `files_free` allows.
    pub(crate) fn arm(
        &mut self,
        files_free: u32,
        ops: &mut OpTable,
        queue: &mut VecDeque<squeue::Entry>,
    ) {
        while self.armed < files_free
            && let Some(index) = self.idle.pop_front()
        {
            let slot = &mut self.slots[usize::from(index)];
            let listener = &mut self.listeners[usize::from(slot.listener)];
            let Some(socket) = &listener.socket else {
                continue;
            };
            let key = ops.insert(Op::Accept { slot: index });
            slot.key = Some(key);
            listener.armed += 1;
            self.armed += 1;
            self.full_reported = false;
            queue.push_back(accept_entry(socket, &slot.peer).user_data(key.pack()));
        }
    }

    /// Accepts in flight: slots of the file table they may fill at any moment.
    pub(crate) fn armed(&self) -> u32 {
        self.armed
    }

    /// Token of a listener that cannot accept because no slot is free; once for each time this comes about.
    pub(crate) fn newly_full(&mut self) -> Option<u64> {
        let waiting = *self.idle.front()?;
        if self.armed > 0 || mem::replace(&mut self.full_reported, true) {
            return None;
        }
        Some(self.token(waiting))
    }

    /// Follows the kernel: the accept of `slot` is over. To be followed by `again`, `rest` or `retire`, after `peer`.
    pub(crate) fn over(&mut self, slot: u16) {
        let entry = &mut self.slots[usize::from(slot)];
        entry.key = None;
        self.armed -= 1;
        self.listeners[usize::from(entry.listener)].armed -= 1;
    }

    pub(crate) fn again(&mut self, slot: u16) {
        if self.listener(slot).stopped {
            self.retire(slot)
        } else {
            self.idle.push_back(slot)
        }
    }

    pub(crate) fn rest(&mut self, slot: u16) {
        if self.listener(slot).stopped {
            self.retire(slot)
        } else {
            self.resting.push(slot)
        }
    }

    /// Not armed again; the last accept of a stopped listener closes it.
    pub(crate) fn retire(&mut self, slot: u16) {
        let listener = &mut self.listeners[usize::from(self.slots[usize::from(slot)].listener)];
        if listener.stopped && listener.armed == 0 {
            listener.socket = None;
        }
    }

    /// No accept of today's listeners is armed any more; those in flight are to be cancelled by the keys handed to `cancel`.
    pub(crate) fn stop(&mut self, mut cancel: impl FnMut(Key)) {
        self.idle.clear();
        self.resting.retain(|_| false);
        self.slots
            .iter()
            .filter_map(|slot| slot.key)
            .for_each(&mut cancel);
        for listener in &mut self.listeners {
            listener.stopped = true;
            if listener.armed == 0 {
                listener.socket = None;
            }
        }
    }

    pub(crate) fn token(&self, slot: u16) -> u64 {
        self.listener(slot).token
    }

    /// Who came; `None` for an address that is neither IPv4 nor IPv6. Only between `over` and the next `arm`.
    pub(crate) fn peer(&self, slot: u16) -> Option<SocketAddr> {
        let entry = &self.slots[usize::from(slot)];
        debug_assert!(entry.key.is_none(), "the kernel may be writing");
        // SAFETY: the accept is over (`key` is None), so nobody writes here.
        let peer = unsafe { &*entry.peer.get() };
        // SAFETY: a copy of plain bytes, which any are a valid `SockAddrStorage`; the kernel filled in `length` bytes of an
        // address of its family, the rest is zero or an older address.
        unsafe { SockAddr::new(ptr::from_ref(&peer.address).read(), peer.length) }.as_socket()
    }

    fn listener(&self, slot: u16) -> &Listener {
        &self.listeners[usize::from(self.slots[usize::from(slot)].listener)]
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// What to do with an accept that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// The peer's or the network's affair: arm again, say nothing.
    Again,
    /// Resources are short: say so, arm again after [`REST`].
    Rest,
    /// It was cancelled.
    Cancelled,
    /// The listener itself is unusable: say so, never arm again.
    Broken,
}

/// The rows are those of accept(2), "Error handling".
pub(crate) fn verdict(errno: i32) -> Verdict {
    match errno {
        libc::ECANCELED => Verdict::Cancelled,
        libc::ECONNABORTED
        | libc::EINTR
        | libc::EPERM
        | libc::EPROTO
        | libc::ENOPROTOOPT
        | libc::ENETDOWN
        | libc::EHOSTDOWN
        | libc::ENONET
        | libc::EHOSTUNREACH
        | libc::ENETUNREACH => Verdict::Again,
        libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT => {
            Verdict::Broken
        }
        _ => Verdict::Rest,
    }
}

fn accept_entry(socket: &Socket, peer: &UnsafeCell<Peer>) -> squeue::Entry {
    let place = peer.get();
    // SAFETY: the slot's last accept is over (it was idle), so nobody else reads or writes here.
    let (address, length) = unsafe {
        (*place).length = size_of::<SockAddrStorage>() as libc::socklen_t;
        (&raw mut (*place).address, &raw mut (*place).length)
    };
    opcode::Accept::new(types::Fd(socket.as_raw_fd()), address.cast(), length)
        .file_index(Some(types::DestinationSlot::auto_target()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aborted_connection_is_nobodys_news_and_full_tables_rest() {
        assert_eq!(verdict(libc::ECONNABORTED), Verdict::Again);
        for errno in [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EAGAIN,
        ] {
            assert_eq!(verdict(errno), Verdict::Rest, "errno {errno}");
        }
        assert_eq!(verdict(libc::EINVAL), Verdict::Broken);
    }
}
