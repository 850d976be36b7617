//! Wakes a ring from another thread.
//!
//! An eventfd the ring polls. The `rung` flag spares the system call when the bell already rings and nobody has answered yet.
//! This is one of the few places where something but a value or an immutable log crosses threads, hence `Arc` and an atomic.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Wakes one ring. Cheap to clone, usable from any thread, harmless after the ring is gone.
#[derive(Clone, Debug)]
pub struct Doorbell {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    eventfd: File,
    rung: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Doorbell> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let eventfd = unsafe { File::from_raw_fd(fd) };
        Ok(Doorbell {
            shared: Arc::new(Shared {
                eventfd,
                rung: AtomicBool::new(false),
            }),
        })
    }

    /// Makes the ring's thread see a `Completion::DoorbellRang` soon. Rings between two answers count as one.
    /// What was written before the call is seen by the thread that answers.
    pub fn ring(&self) {
        if !self.shared.rung.swap(true, Ordering::AcqRel) {
            // The counter would block after 2^64 − 2 rings, which no machine lives to see; any other failure has no one to tell.
            let _ = (&self.shared.eventfd).write_all(&1u64.to_ne_bytes());
        }
    }

    /// The answering side: called before the mailboxes are looked into, so that a letter put in later rings again.
    pub(crate) fn answer(&self) {
        self.shared.rung.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }
}
