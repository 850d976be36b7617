//! What may be asked of sockets: receive, tell when writable, close (`connect.rs`: connect). Asked now, submitted with the next turn.
//!
//! Closing is more than a close. The last messages must reach the peer, but Linux answers a close with a reset when bytes of
//! the peer are unread or arrive later, and a reset throws away what the peer has not read. So a close sends FIN after what is
//! queued (SHUTDOWN, SHUT_WR) and reads on, into nothing, until the peer has closed too or [`LINGER`] is over; only then the
//! receive is cancelled and the slot freed. What the peer has not taken by then the kernel still delivers on its own. Of
//! SHUT_RDWR nothing better comes: it makes the kernel reset a peer that is in the middle of a word.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    ptr,
    time::{Duration, Instant},
};

use io_uring::{opcode, squeue, types};

use crate::{
    accept::AcceptPool,
    buffers::{self, BufferPool},
    connect::ConnectPool,
    datagrams::Datagrams,
    delay::Delay,
    doorbell::Doorbell,
    files::{File, FileTable, State},
    op_table::{Key, Op, OpTable},
};

/// How long a closed connection may take to say goodbye before its slot is freed.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Operations on a ring's sockets. Nothing here enters the kernel: it is queued for the next [`crate::Ring::turn`].
#[derive(Debug)]
pub struct Ops {
    pub(crate) queue: VecDeque<squeue::Entry>,
    pub(crate) table: OpTable,
    pub(crate) files: FileTable,
    pub(crate) accepts: AcceptPool,
    pub(crate) connects: ConnectPool,
    pub(crate) datagrams: Datagrams,
    pub(crate) lingering: Delay<File>,
    /// Slots that lingering connections may hold; beyond it the oldest is closed at once.
    lingering_max: usize,
    pub(crate) doorbell: Doorbell,
    pub(crate) stats: Stats,
}

/// Counters since the ring was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// `io_uring_enter` calls. Sends ÷ enters = trains a turn.
    pub enters: u64,
    /// Those of them turns needed beyond their one: a batch exceeded the submission queue, or there was much news at once.
    pub extra_enters: u64,
    /// Trains handed to the kernel.
    pub sends: u64,
    /// Receives ended for want of a receive buffer and armed again: `RingConfig::receive_buffers` is too small if this keeps rising.
    pub receives_starved: u64,
    /// Turns that found the completion queue overflowing (nothing is lost, but it costs).
    pub overflows: u64,
    /// Completions for what was over already; each is harmless, many would mean a bug.
    pub stale: u64,
    /// Accepts that failed, aborted connections included.
    pub accept_failures: u64,
    /// Times all datagram buffers were in use and the rest had to wait for `RingConfig::datagram_rest`, or was dropped by the kernel.
    pub datagrams_starved: u64,
    /// Datagrams larger than `RingConfig::datagram_bytes`, thrown away.
    pub datagrams_truncated: u64,
}

impl Ops {
    pub(crate) fn new(files: u32, datagrams: Datagrams, doorbell: Doorbell) -> Ops {
        // Per file a receive, a poll and a shutdown or close; accepts and connects never exceed the free files; the doorbell.
        let operations = 3 * files as usize + 1;
        let mut ops = Ops {
            queue: VecDeque::with_capacity(1_024),
            table: OpTable::with_capacity(operations),
            files: FileTable::new(files),
            accepts: AcceptPool::new(),
            connects: ConnectPool::new(),
            datagrams,
            lingering: Delay::new(LINGER),
            lingering_max: (files as usize / 4).max(1),
            doorbell,
            stats: Stats::default(),
        };
        ops.arm_doorbell();
        ops
    }

    /// Reports what the peer sends as `Completion::Received` until its end, `Completion::ReceiveEnded`. Asked again on the
    /// same file: changes the token; after [`Ops::receive_some`]: goes on from there.
    pub fn receive(&mut self, file: File, token: u64) {
        self.receive_how(file, token, None);
    }

    /// Reports once what the peer sent, at most `bytes_max` bytes (at least 1) and one receive buffer: one `Completion::Received`
    /// or `Completion::ReceiveEnded`, then nothing until asked again; meanwhile the rest stays in the kernel and the peer's window
    /// closes. For readers that are slow, or that stall. Asked again before the answer: changes the token only; as it does after
    /// [`Ops::receive`], which nothing but the end of the connection ends.
    pub fn receive_some(&mut self, file: File, token: u64, bytes_max: u32) {
        // More than an `int` is EINVAL.
        let bytes_max = bytes_max.clamp(1, i32::MAX as u32);
        self.receive_how(file, token, NonZeroU32::new(bytes_max));
    }

    fn receive_how(&mut self, file: File, token: u64, once: Option<NonZeroU32>) {
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        let Some(key) = entry.receive else {
            return self.arm_receive(file, token, once);
        };
        if let Some(Op::Receive {
            token: current,
            once: armed,
            ..
        }) = self.table.get_mut(key)
        {
            *current = token;
            // A single receive in flight becomes the first of many.
            *armed = armed.and(once);
        }
    }

    /// Reports once, as `Completion::Writable`, that a send would get somewhere: room in the send buffer, or an error the
    /// next send will tell. Holds no memory. Asked again before that: changes the token.
    pub fn poll_writable(&mut self, file: File, token: u64) {
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        if let Some(key) = entry.writable {
            if let Some(Op::Writable { token: current, .. }) = self.table.get_mut(key) {
                *current = token;
            }
            return;
        }
        let key = self.table.insert(Op::Writable { file, token });
        entry.writable = Some(key);
        let poll = opcode::PollAdd::new(types::Fixed(file.slot), libc::POLLOUT as u32).build();
        self.queue.push_back(poll.user_data(key.pack()));
    }

    /// Closes in peace: everything sent so far goes out, then FIN; what still arrives is thrown away. Nothing more is
    /// reported for the file, and its name is void. Its slot is taken until the peer has closed too, at most about a second.
    pub fn close(&mut self, file: File) {
        let Some(entry) = self.files.open_mut(file) else {
            return;
        };
        if entry.ended {
            return self.free_slot(file);
        }
        entry.state = State::Lingering;
        entry.shutting_down = true;
        let (receiving, writable) = (entry.receive.is_some(), entry.writable);
        if let Some(key) = writable {
            self.cancel(key);
        }
        let key = self.table.insert(Op::Shutdown { file });
        let shutdown = opcode::Shutdown::new(types::Fixed(file.slot), libc::SHUT_WR).build();
        self.queue.push_back(shutdown.user_data(key.pack()));
        if !receiving {
            self.arm_receive(file, 0, None);
        }
        self.lingering.push(file);
        while self.lingering.len() > self.lingering_max
            && let Some(oldest) = self.lingering.pop()
        {
            self.end_lingering(oldest);
        }
    }

    /// Closes at once, for peers that deserve no patience: the slot is free with the next turn. What was sent still goes
    /// out, unless bytes of the peer are unread or arrive later: then the kernel resets the connection.
    pub fn abort(&mut self, file: File) {
        if self.files.is_open(file) {
            self.free_slot(file);
        }
    }

    /// Cancels the armed accepts and closes today's listeners once these are over: new peers are refused by the kernel.
    /// A connection taken in the same moment is still reported.
    pub fn stop_accepting(&mut self) {
        let queue = &mut self.queue;
        self.accepts.stop(|key| queue.push_back(cancel_entry(key)));
    }

    /// Slots of the direct descriptor table in use, connecting and lingering ones included.
    pub fn files_used(&self) -> u32 {
        self.files.used()
    }

    /// Counters since the ring was made.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Queues what time brings: the end of patience with closed peers, accepts, buffers for datagrams.
    pub(crate) fn begin_turn(&mut self, now: Instant, datagrams: Option<&BufferPool>) {
        self.lingering.start(now);
        while let Some(file) = self.lingering.pop_due(now) {
            self.end_lingering(file);
        }
        self.accepts.wake(now);
        let files = self.files_for_accepts();
        self.accepts.arm(files, &mut self.table, &mut self.queue);
        self.end_rest(now, datagrams);
    }

    /// When `begin_turn` has something to do by itself.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        [
            self.lingering.next_due(),
            self.accepts.next_wake(),
            self.datagrams.next_wake(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn arm_doorbell(&mut self) {
        let key = self.table.insert(Op::Doorbell);
        let poll = opcode::PollAdd::new(types::Fd(self.doorbell.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.queue.push_back(poll.user_data(key.pack()));
    }

    pub(crate) fn arm_receive(&mut self, file: File, token: u64, once: Option<NonZeroU32>) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        debug_assert!(entry.receive.is_none());
        let key = self.table.insert(Op::Receive { file, token, once });
        entry.receive = Some(key);
        let socket = types::Fixed(file.slot);
        let receive = match once {
            None => opcode::RecvMulti::new(socket, buffers::GROUP).build(),
            Some(bytes_max) => opcode::Recv::new(socket, ptr::null_mut(), bytes_max.get())
                .buf_group(buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        };
        self.queue.push_back(receive.user_data(key.pack()));
    }

    /// Frees the slot now: operations in flight keep the socket alive, so they are cancelled first.
    pub(crate) fn free_slot(&mut self, file: File) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        debug_assert!(matches!(entry.state, State::Open | State::Lingering));
        entry.state = State::Closing;
        let in_flight = [entry.receive, entry.writable];
        for key in in_flight.into_iter().flatten() {
            self.cancel(key);
        }
        self.close_slot(file);
    }

    /// Closes a file that is being closed, unless a shutdown is in flight: the worker thread that does it may not have looked up
    /// its socket yet, and would find the slot's next owner. Then this is called again when it is over.
    pub(crate) fn close_slot(&mut self, file: File) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        if entry.shutting_down || entry.state != State::Closing {
            return;
        }
        let key = self.table.insert(Op::Close { file });
        let close = opcode::Close::new(types::Fixed(file.slot)).build();
        self.queue.push_back(close.user_data(key.pack()));
    }

    fn end_lingering(&mut self, file: File) {
        if self.files.state(file) == State::Lingering {
            self.free_slot(file);
        }
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.queue.push_back(cancel_entry(key));
    }
}

fn cancel_entry(key: Key) -> squeue::Entry {
    opcode::AsyncCancel::new(key.pack())
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(Key::QUIET.pack())
}
