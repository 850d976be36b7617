//! What the kernel answers to a send, as far as the engine tells answers apart: it is told results, it makes no system calls.
//!
//! Linux, asm-generic/errno.h.

pub(crate) const EIO: i32 = 5;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EPIPE: i32 = 32;
pub(crate) const EMSGSIZE: i32 = 90;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const ECONNRESET: i32 = 104;
pub(crate) const ENOBUFS: i32 = 105;
