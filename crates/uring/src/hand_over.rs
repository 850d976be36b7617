//! Letting a connection go: out of the ring, as an ordinary socket, with nothing lost and no goodbye to the peer.
//!
//! The receive is cancelled first; what it brought before its end is reported, and what it did not read stays in the kernel for
//! the next owner. Then the kernel makes an ordinary descriptor of the direct one (FIXED_FD_INSTALL, since Linux 6.8), and the slot
//! is closed: without a FIN, since the other descriptor holds the connection.
//!
//! ```text
//! Open ──hand_over──▶ HandingOver ──receive over──▶ install ──done──▶ Closing (reported, slot closed)
//!                          │                           └──refused──▶ closed in peace (reported)
//!                          └──receive failed──▶ closed (reported)
//! ```

use std::{io, os::fd::OwnedFd};

use io_uring::{opcode, types};

use crate::{
    dispatch::Completion,
    files::{File, State},
    op_table::Op,
    ops::Ops,
};

impl Ops {
    /// Takes a connection out of the ring. The file's name is void at once; what was on its way is still reported, as
    /// `Completion::Received` with this token, and last, once, `Completion::HandedOver`. Sends in flight are not waited for: bytes they
    /// did not take are the caller's to send on the socket. No other kind of file can be handed over.
    pub fn hand_over(&mut self, file: File, token: u64) {
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        entry.state = State::HandingOver;
        let (receive, writable) = (entry.receive, entry.writable);
        if let Some(key) = writable {
            self.cancel(key);
        }
        let Some(key) = receive else {
            return self.install(file, token);
        };
        if let Some(Op::Receive { token: current, .. }) = self.table.get_mut(key) {
            *current = token;
        }
        self.cancel(key);
    }

    /// The receive of a connection that is being handed over has ended.
    pub(crate) fn let_go(
        &mut self,
        file: File,
        token: u64,
        result: i32,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        match result {
            // The next owner finds the end of the peer's bytes again, and whatever was not read.
            0.. => self.install(file, token),
            _ if UNREAD.contains(&-result) => self.install(file, token),
            _ => self.hand_over_failed(file, token, -result, tell),
        }
    }

    fn install(&mut self, file: File, token: u64) {
        let key = self.table.insert(Op::HandOver { file, token });
        let install = opcode::FixedFdInstall::new(types::Fixed(file.slot), 0).build();
        self.queue.push_back(install.user_data(key.pack()));
    }

    pub(crate) fn on_handed_over(
        &mut self,
        file: File,
        token: u64,
        result: i32,
        descriptor: Option<OwnedFd>,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        let Some(socket) = descriptor else {
            let errno = match -result {
                libc::EINVAL => libc::EOPNOTSUPP, // the kernel does not know the operation
                errno => errno,
            };
            return self.hand_over_failed(file, token, errno, tell);
        };
        if let Some(entry) = self.files.get_mut(file) {
            entry.state = State::Closing;
            self.close_slot(file);
        }
        let socket = Ok(socket);
        tell(Completion::HandedOver { token, socket }, self);
    }

    fn hand_over_failed(
        &mut self,
        file: File,
        token: u64,
        errno: i32,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        if let Some(entry) = self.files.get_mut(file) {
            entry.state = State::Open;
            self.close(file);
        }
        let socket = Err(io::Error::from_raw_os_error(errno));
        tell(Completion::HandedOver { token, socket }, self);
    }
}

/// How a receive ends that left everything in the kernel: cancelled, without a buffer, disturbed.
const UNREAD: [i32; 4] = [libc::ECANCELED, libc::ENOBUFS, libc::EINTR, libc::EAGAIN];
