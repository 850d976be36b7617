//! Sockets for datagrams: many peers on one file.
//!
//! One multishot RECVMSG a socket: the kernel takes a buffer for each datagram and writes, before its bytes, who sent it. The
//! buffers are a pool of their own, so that datagrams, which anybody can send, never take what connections receive into. And
//! they go back to the kernel at most once in `RingConfig::datagram_rest`: a flood costs no more than one pool of datagrams in that
//! time. When the pool is empty the receive ends (ENOBUFS) and rests until the buffers are back; meanwhile datagrams
//! wait in the socket's own buffer, and what that cannot hold the kernel drops and counts (`net::datagrams_dropped`).
//!
//! Opening is not connecting: a socket for datagrams is ready as soon as it is in the ring's table, so `Ring::open_datagrams`
//! enters the kernel at once and has the file. Nor is closing: no FIN, no reading on.

use std::{
    cell::UnsafeCell,
    io, mem,
    net::SocketAddr,
    os::fd::AsRawFd,
    ptr,
    time::{Duration, Instant},
};

use io_uring::{opcode, types};
use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::{
    buffers::{self, BufferPool, Lent},
    connect::INDEX_ALLOC,
    dispatch::{Completion, Inbox, Reaped},
    driver::Wait,
    files::{File, State},
    op_table::{Key, Op},
    ops::Ops,
    ring::Ring,
};

/// What the kernel puts before a datagram's bytes: `io_uring_recvmsg_out` (4 × u32) and room for the sender's address.
pub(crate) const HEAD_BYTES: usize = 16 + NAME_BYTES;

/// The longer of the two kinds of addresses.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// The state of a ring's datagram sockets that is not in its tables.
#[derive(Debug)]
pub(crate) struct Datagrams {
    /// The ring has buffers for them.
    has_buffers: bool,
    rest: Duration,
    /// When buffers may go back, and receives that rest may be armed, again.
    next: Option<Instant>,
    /// Receives that ended for want of buffers or with an error that passes, with their tokens.
    resting: Vec<(File, u64)>,
    /// The shape of every receive: room for an address, none for control messages. Boxed, as the kernel reads it.
    shape: Box<libc::msghdr>,
    /// Given as the descriptor of the socket being opened, overwritten by the kernel with its place in the table.
    place: Box<UnsafeCell<i32>>,
}

impl Ring {
    /// Takes a UDP socket (`net::datagram_socket`, `net::group_sender`, …) over, at once, with one system call. The ordinary
    /// descriptor is closed; who keeps a clone of it keeps the port open beyond the file. ENFILE: `RingConfig::files` are all in use,
    /// or kept for armed accepts. `Ops::close` and `Ops::abort` are the same for it: its slot is free with the next turn.
    pub fn open_datagrams(&mut self, socket: Socket) -> io::Result<File> {
        // A ring fails operations on O_NONBLOCK descriptors with EAGAIN instead of waiting.
        socket.set_nonblocking(false)?;
        if self.ops.files_for_accepts() <= self.ops.accepts.armed() {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        let key = self.ops.queue_open(&socket);
        let result = loop {
            let Ops { queue, stats, .. } = &mut *self.ops;
            self.driver.pump(queue, stats, &mut self.sends, Wait::No);
            if let Some(result) = take_result(&mut self.driver.inbox, key) {
                break result;
            }
        };
        self.ops.release_closed(&self.driver.inbox);
        self.ops.on_datagrams_open(key, result)
    }
}

/// Takes the completion of `key`, and no other, out of the inbox.
fn take_result(inbox: &mut Inbox, key: Key) -> Option<i32> {
    let at = inbox
        .iter()
        .rposition(|reaped| matches!(reaped, Reaped::Done { key: k, .. } if *k == key))?;
    match inbox.remove(at) {
        Some(Reaped::Done { result, .. }) => Some(result),
        _ => None,
    }
}

impl Ops {
    /// Reports what comes to a socket of [`Ring::open_datagrams`] as `Completion::Datagram`, from anybody, until the file is closed.
    /// Asked again on the same file: changes the token.
    ///
    /// # Panics
    /// If `RingConfig::datagram_buffers` is 0.
    pub fn receive_datagrams(&mut self, file: File, token: u64) {
        assert!(
            self.datagrams.has_buffers,
            "RingConfig::datagram_buffers is 0: this ring receives no datagrams"
        );
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        let armed = entry.receive.and_then(|key| self.table.get_mut(key));
        if let Some(Op::ReceiveDatagrams { token: current, .. }) = armed {
            *current = token;
        } else if let Some(resting) = self.datagrams.resting_mut(file) {
            *resting = token;
        } else {
            self.arm_datagrams(file, token);
        }
    }
    /// Gives buffers back and arms receives that rested, if it is time for that.
    pub(crate) fn end_rest(&mut self, now: Instant, pool: Option<&BufferPool>) {
        let Some(pool) = pool else { return };
        let idle = self.datagrams.resting.is_empty() && !pool.withholds();
        if idle || self.datagrams.next.is_some_and(|at| at > now) {
            return;
        }
        self.datagrams.next = Some(now + self.datagrams.rest);
        pool.publish();
        while let Some((file, token)) = self.datagrams.resting.pop() {
            if self.files.is_open(file) {
                self.arm_datagrams(file, token);
            }
        }
    }

    /// Follows the kernel: a datagram, or the end of a receive.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one completion, used once"
    )]
    pub(crate) fn on_datagram(
        &mut self,
        key: Key,
        file: File,
        token: u64,
        result: i32,
        more: bool,
        lent: Option<Lent<'_>>,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        if !more && entry.receive == Some(key) {
            entry.receive = None;
        }
        if let Some(lent) = &lent {
            match self.datagrams.parse(lent.bytes()) {
                Some(Parsed::Whole { from, bytes }) => {
                    tell(Completion::Datagram { token, from, bytes }, self)
                }
                Some(Parsed::Truncated) => self.stats.datagrams_truncated += 1,
                None => self.stats.stale += 1, // nothing the kernel writes
            }
        }
        drop(lent);
        let over = (self.files.open_mut(file)).is_some_and(|entry| entry.receive.is_none());
        if more || !over {
            return;
        }
        self.stats.datagrams_starved += u64::from(result == -libc::ENOBUFS);
        match -result {
            // An empty datagram ends a receive too.
            ..=0 | libc::EINTR | libc::EAGAIN => self.arm_datagrams(file, token),
            errno if passes(errno) => match self.datagrams.rest {
                Duration::ZERO => self.arm_datagrams(file, token),
                _ => self.datagrams.resting.push((file, token)),
            },
            _ => tell(Completion::ReceiveEnded { token, result }, self),
        }
    }

    fn arm_datagrams(&mut self, file: File, token: u64) {
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        debug_assert!(entry.receive.is_none());
        let key = self.table.insert(Op::ReceiveDatagrams { file, token });
        entry.receive = Some(key);
        let shape = ptr::from_ref(&*self.datagrams.shape);
        let socket = types::Fixed(file.slot);
        let receive = opcode::RecvMsgMulti::new(socket, shape, buffers::DATAGRAM_GROUP).build();
        self.queue.push_back(receive.user_data(key.pack()));
    }

    fn queue_open(&mut self, socket: &Socket) -> Key {
        *self.datagrams.place.get_mut() = socket.as_raw_fd();
        let key = self.table.insert(Op::OpenDatagrams);
        let install = opcode::FilesUpdate::new(self.datagrams.place.get(), 1).offset(INDEX_ALLOC);
        self.queue.push_back(install.build().user_data(key.pack()));
        key
    }

    /// Frees the slots whose closes are over, though not dispatched yet: the kernel may have given one of them away since.
    fn release_closed(&mut self, inbox: &Inbox) {
        for reaped in inbox {
            if let Reaped::Done { key, .. } = reaped
                && let Some(Op::Close { file } | Op::UndoConnect { file, .. }) =
                    self.table.get(*key)
            {
                self.files.release(file);
            }
        }
    }

    fn on_datagrams_open(&mut self, key: Key, result: i32) -> io::Result<File> {
        self.table.remove(key);
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        // The operation is over, so nobody else writes here. Negative: the kernel named none, and no slot is `u32::MAX`.
        let place = u32::try_from(*self.datagrams.place.get_mut()).unwrap_or(u32::MAX);
        let Some(file) = self.files.claim(place, State::Open) else {
            self.stats.stale += 1; // a slot we believe in use, and which we must not touch
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        };
        if let Some(entry) = self.files.open_mut(file) {
            entry.ended = true;
        }
        Ok(file)
    }
}

/// A received buffer, understood.
enum Parsed<'b> {
    Whole { from: SocketAddr, bytes: &'b [u8] },
    Truncated,
}

impl Datagrams {
    pub(crate) fn new(has_buffers: bool, rest: Duration) -> Datagrams {
        // SAFETY: a msghdr of zeroes is one with no name, no pieces and no control data.
        let mut shape: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        shape.msg_namelen = NAME_BYTES as _;
        Datagrams {
            has_buffers,
            rest,
            next: None,
            resting: Vec::with_capacity(16),
            shape,
            place: Box::new(UnsafeCell::new(-1)),
        }
    }

    /// When `Ops::end_rest` has something to do by itself.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.next.filter(|_| !self.resting.is_empty())
    }

    fn resting_mut(&mut self, file: File) -> Option<&mut u64> {
        self.resting
            .iter_mut()
            .find_map(|(resting, token)| (*resting == file).then_some(token))
    }

    fn parse<'b>(&self, buffer: &'b [u8]) -> Option<Parsed<'b>> {
        let received = types::RecvMsgOut::parse(buffer, &self.shape).ok()?;
        if received.is_payload_truncated() {
            return Some(Parsed::Truncated);
        }
        let from = address(received.name_data())?;
        // Of `buffer`, not of `received`, which dies here.
        let bytes = &buffer[HEAD_BYTES..][..received.payload_data().len()];
        Some(Parsed::Whole { from, bytes })
    }
}

/// What the kernel wrote as the sender's address.
fn address(name: &[u8]) -> Option<SocketAddr> {
    let mut storage = SockAddrStorage::zeroed();
    let length = name.len().min(NAME_BYTES);
    // SAFETY: the storage is larger than `NAME_BYTES`; any bytes are valid in it.
    let address = unsafe {
        ptr::copy_nonoverlapping(name.as_ptr(), ptr::from_mut(&mut storage).cast(), length);
        SockAddr::new(storage, length as libc::socklen_t)
    };
    address.as_socket()
}

/// Whether a socket that failed to receive so may well receive again: what peers and routers report of datagrams sent, and want.
fn passes(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOBUFS
            | libc::ENOMEM
            | libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::EHOSTDOWN
            | libc::ENETUNREACH
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EPROTO
            | libc::EACCES
            | libc::EMSGSIZE
    )
}
