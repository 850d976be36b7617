//! The ring: the shard's one place to meet the kernel, and the owner of all memory it may touch.
//!
//! `turn` submits and waits, `drain` reports; between them the caller thinks. Dropping the ring ends every operation first and
//! frees the memory they point to afterwards; should the kernel not let go within a second, that memory is leaked, not freed.

use std::{
    io,
    marker::PhantomData,
    mem::ManuallyDrop,
    rc::Rc,
    time::{Duration, Instant},
};

use socket2::Socket;
use thiserror::Error;

use crate::{
    batch::{Batch, SendTable},
    buffers::{BufferPool, DATAGRAM_GROUP, GROUP, Pools, Return},
    caps::{self, Caps, Missing},
    datagrams::{Datagrams, HEAD_BYTES},
    dispatch::{Completion, Reaped},
    doorbell::Doorbell,
    driver::{Driver, Wait},
    local_address,
    op_table::Op,
    ops::{Ops, Stats},
};

/// How large a ring's tables are. All memory is laid out by these at the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RingConfig {
    /// Entries of the submission queue, rounded up to a power of two, at most 32,768. A turn with more costs further system calls, nothing else.
    pub sends_per_turn: u32,
    /// Direct descriptors: connections at one time, closing ones included. At most the limit of open files (RLIMIT_NOFILE),
    /// though they do not count against it, and 2^20.
    pub files: u32,
    /// Receive buffers shared by all connections, rounded up to a power of two, at most 32,768.
    pub receive_buffers: u16,
    /// Size of each.
    pub receive_buffer_bytes: u32,
    /// Buffers shared by all sockets that receive datagrams, one a datagram, rounded up to a power of two, at most 32,768. 0: none, and
    /// no socket can receive them.
    pub datagram_buffers: u16,
    /// The largest datagram that is received; larger ones are thrown away and counted.
    pub datagram_bytes: u32,
    /// Datagram buffers go back to the kernel at most once in this time, so that a flood costs at most `datagram_buffers` datagrams
    /// each time; the kernel drops the rest. Zero: they go back at once, for sockets that wish to hear everything.
    pub datagram_rest: Duration,
}

impl Default for RingConfig {
    /// 1,024 sends a turn, 16,384 files, 256 receive buffers of 4 KiB; 256 datagrams of up to 256 bytes each 5 ms.
    fn default() -> RingConfig {
        RingConfig {
            sends_per_turn: 1_024,
            files: 16_384,
            receive_buffers: 256,
            receive_buffer_bytes: 4_096,
            datagram_buffers: 256,
            datagram_bytes: 256,
            datagram_rest: Duration::from_millis(5),
        }
    }
}

/// Why a ring could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel has no io_uring for us.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The table of direct descriptors was refused.
    #[error(
        "cannot reserve {files} direct descriptors for a ring: {source}; the table is bounded by the limit of open files (`ulimit -n`, \
         LimitNOFILE= in systemd), so raise that, lower the viewer limit or use more workers"
    )]
    Files {
        /// How many were asked for.
        files: u32,
        /// EMFILE: above the limit; ENOMEM.
        source: io::Error,
    },
    /// The receive buffers were refused.
    #[error("cannot set up {buffers} receive buffers of {buffer_bytes} bytes for a ring: {source}")]
    Buffers {
        /// How many were asked for.
        buffers: u16,
        /// Of which size.
        buffer_bytes: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The doorbell was refused.
    #[error("cannot make an eventfd for a ring: {0}")]
    Doorbell(#[source] io::Error),
}

/// One io_uring with its sockets, for the thread that made it.
pub struct Ring {
    pub(crate) driver: Driver,
    pub(crate) sends: SendTable,
    // Freed (or leaked) by hand in `drop`: the kernel writes into the memory of these two.
    pub(crate) ops: ManuallyDrop<Ops>,
    pools: ManuallyDrop<Pools>,
    caps: Caps,
    // The kernel takes submissions from one thread only.
    not_send: PhantomData<Rc<()>>,
}

impl Ring {
    /// Makes a ring for this thread.
    pub fn new(config: RingConfig) -> Result<Ring, RingError> {
        // A turn can complete every send; beside that each file may have a receive and a poll to report, and datagrams come in crowds.
        let cq_entries = (config.sends_per_turn.saturating_mul(2))
            .max(config.files.saturating_mul(2))
            .max(u32::from(config.datagram_buffers).saturating_mul(2))
            .max(64);
        Ring::with_completion_queue(config, cq_entries)
    }

    fn with_completion_queue(config: RingConfig, cq_entries: u32) -> Result<Ring, RingError> {
        let RingConfig {
            files,
            receive_buffers,
            receive_buffer_bytes: buffer_bytes,
            datagram_buffers,
            datagram_bytes,
            datagram_rest,
            ..
        } = config;
        let (ring, caps) = caps::build(config.sends_per_turn.max(1), cq_entries)?;
        ring.submitter()
            .register_files_sparse(files)
            .map_err(|source| RingError::Files { files, source })?;
        let pool = |group, buffers, buffer_bytes, returning| {
            BufferPool::new(&ring, group, buffers, buffer_bytes, returning).map_err(|source| {
                RingError::Buffers {
                    buffers,
                    buffer_bytes,
                    source,
                }
            })
        };
        let received = pool(GROUP, receive_buffers, buffer_bytes, Return::AtOnce)?;
        let (returning, buffer_bytes) = (
            if datagram_rest.is_zero() {
                Return::AtOnce
            } else {
                Return::Withheld
            },
            datagram_bytes.saturating_add(HEAD_BYTES as u32),
        );
        let datagrams = (datagram_buffers > 0)
            .then(|| pool(DATAGRAM_GROUP, datagram_buffers, buffer_bytes, returning))
            .transpose()?;
        // Shutdowns are the only work the kernel hands to worker threads; two are plenty. Only a wish, so errors do not matter.
        let _ = ring.submitter().register_iowq_max_workers(&mut [2, 2]);
        let doorbell = Doorbell::new().map_err(RingError::Doorbell)?;
        Ok(Ring {
            sends: SendTable::new(ring.params().sq_entries() as usize),
            driver: Driver::new(ring),
            ops: ManuallyDrop::new(Ops::new(
                files,
                Datagrams::new(datagrams.is_some(), datagram_rest),
                doorbell,
            )),
            pools: ManuallyDrop::new(Pools {
                received,
                datagrams,
            }),
            caps,
            not_send: PhantomData,
        })
    }

    /// Takes a listening socket over and keeps `depth` accepts armed on it (fewer when files run out). `token` names it in completions.
    pub fn listen(&mut self, socket: Socket, token: u64, depth: u16) {
        self.ops.accepts.add(socket, token, depth);
    }

    /// What may be asked of sockets, for the next turn.
    pub fn ops(&mut self) -> &mut Ops {
        &mut self.ops
    }

    /// One turn: everything asked of [`Ops`] since the last one and the sends `fill` adds are submitted, and if nothing is there
    /// to report, the thread waits until something is or until `wait_until` (`None`: no deadline). May return earlier with
    /// nothing: a signal, or housekeeping. `now` is the caller's clock; if `wait_until` is not after it, there is no wait.
    ///
    /// What is lent to sends must outlive the call, not more: `'d` cannot name anything made inside `fill`. Heads written while
    /// filling come from an arena made before, split off piece by piece:
    ///
    /// ```
    /// fn heads(ring: &mut funnel_uring::Ring, files: &[funnel_uring::File], body: &[u8], arena: &mut [u8]) {
    ///     let mut rest = arena;
    ///     let now = std::time::Instant::now();
    ///     ring.turn(None, now, |batch| {
    ///         for (number, &file) in files.iter().enumerate() {
    ///             let (head, after) = std::mem::take(&mut rest).split_at_mut(8);
    ///             rest = after;
    ///             head.copy_from_slice(&number.to_le_bytes());
    ///             batch.send(file, number as u64, [&*head, body]);
    ///         }
    ///     });
    /// }
    /// ```
    ///
    /// ```compile_fail,E0597
    /// fn dies_early(ring: &mut funnel_uring::Ring, file: funnel_uring::File) {
    ///     let now = std::time::Instant::now();
    ///     ring.turn(None, now, |batch| {
    ///         let bytes = vec![1, 2, 3];
    ///         batch.send(file, 0, [&bytes[..]]);
    ///     });
    /// }
    /// ```
    pub fn turn<'d>(
        &mut self,
        wait_until: Option<Instant>,
        now: Instant,
        fill: impl FnOnce(&mut Batch<'_, 'd>),
    ) {
        let enters_before = self.ops.stats.enters;
        self.ops.begin_turn(now, self.pools.datagrams.as_ref());
        if let Some(listener) = self.ops.accepts.newly_full() {
            self.driver.inbox.push_back(Reaped::Full { listener });
        }
        let refused = self.ops.connects.refused.drain(..);
        (self.driver.inbox).extend(refused.map(|token| Reaped::Refused { token }));
        let mut batch = Batch::new(&mut self.sends, &mut self.driver, &mut self.ops);
        fill(&mut batch);
        batch.filled();

        let deadline = [wait_until, self.ops.next_wake()]
            .into_iter()
            .flatten()
            .min();
        let wait = if deadline.is_some_and(|at| at <= now) {
            Wait::No
        } else {
            Wait::Until(deadline)
        };
        let Ops { queue, stats, .. } = &mut *self.ops;
        self.driver.pump(queue, stats, &mut self.sends, wait);
        self.driver.catch_up(stats, &mut self.sends);
        stats.extra_enters += stats.enters - enters_before - 1;
    }

    /// Reports what the last turns brought, in the order it happened. What `tell` asks for is done in the next turn. If `tell`
    /// panics, the rest is reported next time.
    pub fn drain(&mut self, mut tell: impl FnMut(Completion<'_>, &mut Ops)) {
        while let Some(reaped) = self.driver.inbox.pop_front() {
            self.ops.dispatch(reaped, &self.pools, &mut tell);
        }
    }

    /// Wakes this ring from elsewhere.
    pub fn doorbell(&self) -> Doorbell {
        self.ops.doorbell.clone()
    }

    /// Counters since the ring was made.
    pub fn stats(&self) -> Stats {
        self.ops.stats()
    }

    /// What the kernel offered.
    pub fn caps(&self) -> Caps {
        self.caps
    }

    /// Ends every operation; `true` if the kernel may write into no memory of ours any more.
    fn end_operations(&mut self) -> bool {
        let give_up = Instant::now() + TEARDOWN;
        self.ops.stop_accepting();
        loop {
            let Ops { queue, stats, .. } = &mut *self.ops;
            self.driver.pump(queue, stats, &mut self.sends, Wait::No);
            self.driver.cancel_all();
            self.driver.pump(queue, stats, &mut self.sends, Wait::No);
            while let Some(reaped) = self.driver.inbox.pop_front() {
                if let Reaped::Done { key, result, flags } = reaped {
                    // SAFETY: of each completion once.
                    drop(unsafe { local_address::descriptor(key, result) });
                    if !io_uring::cqueue::more(flags) {
                        self.ops.table.remove(key);
                    }
                }
            }
            if !self.ops.table.iter().any(|op: Op| op.must_end()) {
                return true;
            }
            if Instant::now() >= give_up {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let ended = self.end_operations();
        // Sockets close here and now (what was sent goes out), not whenever the kernel gets round to freeing the ring.
        let _ = self.driver.ring.submitter().unregister_files();
        if !ended {
            tracing::warn!(
                "a ring's operations did not end within {TEARDOWN:?}; their memory is leaked"
            );
            return;
        }
        for group in [GROUP, DATAGRAM_GROUP] {
            let _ = self.driver.ring.submitter().unregister_buf_ring(group);
        }
        // SAFETY: both are dropped once, here, and not used again; no operation points into them any more.
        unsafe {
            ManuallyDrop::drop(&mut self.ops);
            ManuallyDrop::drop(&mut self.pools);
        }
    }
}

/// How long a dropped ring waits for the kernel to let go.
const TEARDOWN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use crate::{
        File,
        net::{ListenOptions, listener},
    };

    use super::*;

    const PLAYERS: usize = 60;

    /// Accepts until there are `PLAYERS` files, with a receive armed on each; the token is the player's number.
    fn accept_all(ring: &mut Ring) -> Vec<File> {
        let mut files = Vec::new();
        while files.len() < PLAYERS {
            let now = Instant::now();
            ring.turn(Some(now + Duration::from_millis(20)), now, |_| {});
            ring.drain(|completion, ops| {
                if let Completion::Accepted { file, .. } = completion {
                    ops.receive(file, files.len() as u64);
                    files.push(file);
                }
            });
        }
        files
    }

    #[test]
    fn an_overflowing_completion_queue_loses_nothing() {
        let config = RingConfig {
            sends_per_turn: 4,
            files: 64,
            receive_buffers: 64,
            receive_buffer_bytes: 64,
            datagram_buffers: 0,
            ..RingConfig::default()
        };
        let mut ring = Ring::with_completion_queue(config, 8).unwrap();
        let socket = listener("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        ring.listen(socket, 0, 4);
        let mut clients: Vec<TcpStream> = (0..PLAYERS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let files = accept_all(&mut ring);
        ring.turn(Some(Instant::now()), Instant::now(), |_| {});

        let (mut heard, mut sent) = (vec![Vec::new(); PLAYERS], 0);
        for round in 0..20 {
            clients
                .iter_mut()
                .for_each(|client| client.write_all(b"here").unwrap());
            let media = [round; 10];
            ring.turn(Some(Instant::now()), Instant::now(), |batch| {
                files
                    .iter()
                    .for_each(|&file| batch.send(file, 0, [&media[..]]));
            });
            ring.drain(|completion, _| match completion {
                Completion::Sent { result, .. } => sent += result,
                Completion::Received { token, bytes } => {
                    heard[token as usize].extend_from_slice(bytes)
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(
                sent,
                (i32::from(round) + 1) * PLAYERS as i32 * 10,
                "sends are over in their turn all the same"
            );
            clients
                .iter_mut()
                .for_each(|client| client.read_exact(&mut [0; 10]).unwrap());
        }
        let give_up = Instant::now() + Duration::from_secs(5);
        while heard.iter().any(|words| words.len() < 80) && Instant::now() < give_up {
            let now = Instant::now();
            ring.turn(Some(now + Duration::from_millis(20)), now, |_| {});
            ring.drain(|completion, _| {
                if let Completion::Received { token, bytes } = completion {
                    heard[token as usize].extend_from_slice(bytes);
                }
            });
        }
        assert!(
            heard.iter().all(|words| words == &b"here".repeat(20)),
            "in order and complete"
        );
        assert!(ring.ops().stats().overflows > 0, "the test is about that");
    }

    #[test]
    fn more_files_than_the_process_may_have_are_refused_with_advice() {
        let config = RingConfig {
            files: 1 << 22,
            ..RingConfig::default()
        };
        let error = Ring::new(config)
            .err()
            .expect("above every limit")
            .to_string();
        assert!(
            error.contains("4194304") && error.contains("ulimit -n"),
            "{error}"
        );
    }
}
