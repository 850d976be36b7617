//! Which of this machine's addresses a peer called, for listeners at all of them.
//!
//! Of a direct descriptor a ring can ask that on the newest kernels only (SOCKET_URING_OP_GETSOCKNAME). Since Linux 6.8 it can
//! make an ordinary descriptor of it (FIXED_FD_INSTALL), which `getsockname` knows; that one lives from the turn to its drain. Older
//! kernels, and a process that has no descriptor left, cannot say; that is an answer, too.
//!
//! The kernel does the operation while it takes the entry, so it finds the file that is meant: the file's close, if any, is behind
//! it in the queue. And a ring that is dropped sees its completion.

use std::{
    net::SocketAddr,
    os::fd::{FromRawFd, OwnedFd},
};

use io_uring::{opcode, types};
use socket2::Socket;

use crate::{
    dispatch::Completion,
    files::File,
    op_table::{Key, Kind, Op},
    ops::Ops,
};

impl Ops {
    /// Reports once, as `Completion::LocalAddress`, the file's own address: for a connection the one its peer called. Costs two
    /// system calls, and a descriptor until the drain after the next turn.
    pub fn ask_local_address(&mut self, file: File, token: u64) {
        if !self.files.is_open(file) {
            return;
        }
        let key = self.table.insert(Op::LocalAddress { file, token });
        let install = opcode::FixedFdInstall::new(types::Fixed(file.slot), 0).build();
        self.queue.push_back(install.user_data(key.pack()));
    }

    pub(crate) fn on_local_address(
        &mut self,
        file: File,
        token: u64,
        descriptor: Option<OwnedFd>,
        tell: &mut impl FnMut(Completion<'_>, &mut Ops),
    ) {
        // Closed before the caller, who may panic, hears of it.
        let address = descriptor.and_then(address);
        if self.files.is_open(file) {
            tell(Completion::LocalAddress { token, address }, self);
        }
    }
}

fn address(descriptor: OwnedFd) -> Option<SocketAddr> {
    let address = Socket::from(descriptor).local_addr();
    address.ok()?.as_socket()
}

/// The ordinary descriptor that a completion brings, if it does.
///
/// # Safety
/// To be called once for each completion of the kernel's: the descriptor then has one owner.
pub(crate) unsafe fn descriptor(key: Key, result: i32) -> Option<OwnedFd> {
    let brings = matches!(key.kind, Kind::LocalAddress | Kind::HandOver);
    (brings && result >= 0).then(|| {
        // SAFETY: FIXED_FD_INSTALL made it for us, and names it to nobody else.
        unsafe { OwnedFd::from_raw_fd(result) }
    })
}
