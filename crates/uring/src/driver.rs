//! Entering the kernel: fills the submission queue, enters, copies the completion queue out.
//!
//! One enter a turn does for all; a batch larger than the submission queue or much news at once costs further ones. Every
//! enter asks for events, because in a DEFER_TASKRUN ring a plain submit leaves finished work unseen. Nobody else touches
//! the ring's queues.

use std::{
    collections::VecDeque,
    io,
    panic::{self, AssertUnwindSafe},
    process, thread,
    time::Instant,
};

use io_uring::{IoUring, cqueue, squeue, types};

use crate::{
    batch::SendTable,
    dispatch::{Inbox, Reaped},
    op_table::{Key, Kind},
    ops::Stats,
};

/// How long an enter may wait for a completion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    No,
    /// `None`: for ever.
    Until(Option<Instant>),
}

pub(crate) struct Driver {
    pub(crate) ring: IoUring,
    pub(crate) inbox: Inbox,
}

impl Driver {
    pub(crate) fn new(ring: IoUring) -> Driver {
        let inbox = VecDeque::with_capacity(ring.params().cq_entries() as usize);
        Driver { ring, inbox }
    }

    /// Submits all of `queue`, then all of `sends`, waits if told to and nothing is there yet, and reaps. No send is
    /// outstanding afterwards.
    pub(crate) fn pump(
        &mut self,
        queue: &mut VecDeque<squeue::Entry>,
        stats: &mut Stats,
        sends: &mut SendTable,
        wait: Wait,
    ) {
        // Unwinding from in here could free what the kernel still reads. There is no caller's code in here, so it is a bug of ours.
        let pumped = panic::catch_unwind(AssertUnwindSafe(|| {
            self.pump_all(queue, stats, sends, wait)
        }));
        if pumped.is_err() {
            process::abort();
        }
    }

    fn pump_all(
        &mut self,
        queue: &mut VecDeque<squeue::Entry>,
        stats: &mut Stats,
        sends: &mut SendTable,
        wait: Wait,
    ) {
        loop {
            self.fill(queue, sends);
            let last = queue.is_empty() && sends.all_submitted();
            let wait = if last && self.inbox.is_empty() {
                wait
            } else {
                Wait::No
            };
            self.enter(wait, stats);
            self.reap(sends, stats);
            if last && self.ring.submission().is_empty() {
                break;
            }
        }
        while sends.outstanding() > 0 {
            // Never seen (see batch.rs). But nothing lent may outlive the turn, so this waits as long as it takes.
            self.enter(Wait::Until(None), stats);
            self.reap(sends, stats);
        }
        stats.sends += sends.submitted() as u64;
        sends.clear();
    }

    /// Lets the kernel do the work it left over. Since 6.13 an enter does no more than 20 pieces of deferred work (receives,
    /// polls, accepts) once it has a completion to show, so a shard that sends every turn would hear its players ever later.
    pub(crate) fn catch_up(&mut self, stats: &mut Stats, sends: &mut SendTable) {
        for _ in 0..CATCH_UP_ENTERS_MAX {
            if !self.ring.submission().taskrun() {
                break;
            }
            self.enter(Wait::No, stats);
            self.reap(sends, stats);
        }
    }

    /// Asks the kernel to end everything in flight and to forget the ring's sockets. Used on the way out.
    pub(crate) fn cancel_all(&mut self) {
        // ENOENT (nothing in flight) and ETIME are as good as success here: the caller looks at what is left.
        let _ = self.ring.submitter().register_sync_cancel(
            Some(types::Timespec::new().sec(1)),
            types::CancelBuilder::any(),
        );
    }

    /// Moves entries into the submission queue while there is room.
    fn fill(&mut self, queue: &mut VecDeque<squeue::Entry>, sends: &mut SendTable) {
        let mut submission = self.ring.submission();
        while !submission.is_full() {
            let next = queue.pop_front().or_else(|| {
                // SAFETY: with sends in the table, `pump` is only called inside `Ring::turn<'d>`, whose lenders live for `'d`, longer
                // than that call, and it does not return before every entry handed out was submitted and reaped.
                unsafe { sends.next_entry() }
            });
            let Some(entry) = next else { break };
            // SAFETY: what the entry points to is alive until its completion: sends as above; addresses and descriptors of accepts
            // and connects and the receive buffers belong to the ring and are freed, or leaked, by `Ring::drop` after these
            // operations; the rest has no pointers.
            if unsafe { submission.push(&entry) }.is_err() {
                unreachable!("room was there in the line above");
            }
        }
    }

    /// One `io_uring_enter`: submits what is in the queue, runs the ring's deferred work, waits.
    fn enter(&mut self, wait: Wait, stats: &mut Stats) {
        let to_submit = self.ring.submission().len() as u32;
        let until = if let Wait::Until(until) = wait {
            until
        } else {
            None
        };
        let timeout =
            until.map(|at| types::Timespec::from(at.saturating_duration_since(Instant::now())));
        let mut arguments = types::SubmitArgs::new();
        if let Some(timeout) = &timeout {
            arguments = arguments.timespec(timeout);
        }
        stats.enters += 1;
        // SAFETY: the flags say that the argument is the extended one, which `SubmitArgs` is; entries see `fill`.
        let entered = unsafe {
            self.ring.submitter().enter(
                to_submit,
                u32::from(wait != Wait::No),
                ENTER_GETEVENTS | ENTER_EXT_ARG,
                Some(&arguments),
            )
        };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => {}
            // The time is up, or a signal came.
            Err((Some(libc::ETIME | libc::EINTR), _)) => {}
            // Completions first, or no memory this moment: the caller's loop reaps and tries again.
            Err((Some(libc::EBUSY | libc::EAGAIN), _)) => thread::yield_now(),
            Err((_, error)) => fatal(&error),
        }
    }

    /// Copies the completion queue out, and what overflowed behind it.
    fn reap(&mut self, sends: &mut SendTable, stats: &mut Stats) {
        loop {
            for completion in self.ring.completion() {
                sort_in(&completion, sends, &mut self.inbox, stats);
            }
            if !self.ring.submission().cq_overflow() {
                return;
            }
            stats.overflows += 1;
            self.enter(Wait::No, stats);
        }
    }
}

fn sort_in(
    completion: &cqueue::Entry,
    sends: &mut SendTable,
    inbox: &mut Inbox,
    stats: &mut Stats,
) {
    let (result, flags) = (completion.result(), completion.flags());
    match Key::unpack(completion.user_data()) {
        Some(key) if key.kind == Kind::Send => {
            stats.stale += u64::from(!sends.reap(key, result, inbox))
        }
        Some(key) => inbox.push_back(Reaped::Done { key, result, flags }),
        None => stats.stale += 1,
    }
}

/// The errors left are those of a misused ring (EBADF, EFAULT, EEXIST, EINVAL) or lost completions (EBADR): no state to go on from.
fn fatal(error: &io::Error) -> ! {
    panic!("io_uring_enter failed and the ring cannot go on: {error}")
}

/// Bounds what one turn hears to some 640 pieces of news; the rest is the next turn's.
const CATCH_UP_ENTERS_MAX: u32 = 32;

// <linux/io_uring.h>, io_uring_enter(2) flags.
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
