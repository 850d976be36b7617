//! A child process that writes ASF to its standard output.
//!
//! Its output is read through the ring by a task of its own and handed over in chunks; a few wait at most, then the pipe fills and the
//! child feels it. Its standard error goes to the log. It leads a process group, so that what it starts can be ended with it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child as Process, Command},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tracing::{info, warn};

use crate::lines::{Flood, Lines};

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    group: Pid,
    chunks: mpsc::Receiver<Vec<u8>>,
    pipe: i32,
    reader: JoinHandle<()>,
    logger: JoinHandle<()>,
    orphans: Orphans,
}

/// What the child has left behind in its pipe when it is gone itself.
#[derive(Clone, Copy, Debug)]
enum Orphans {
    /// The child is running.
    None,
    /// It is gone; whoever holds its pipe has until then.
    Until(Instant),
    /// They were killed; one who left the group may still hold the pipe.
    Killed(Instant),
}

impl Child {
    /// Starts `run` (program and arguments).
    ///
    /// # Errors
    /// When there is no such program, or no process or pipe to be had.
    pub(crate) fn spawn(run: &[String], channel: &str) -> io::Result<Self> {
        let [program, arguments @ ..] = run else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the command is empty",
            ));
        };
        let (output, input) = io::pipe()?;
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::from(OwnedFd::from(input)))
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = process
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?))
            .ok_or_else(|| io::Error::other("the child has no process id"))?;
        let errors = process
            .stderr
            .take()
            .ok_or_else(|| io::Error::other("the child has no standard error"))?;
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let pipe = output.as_raw_fd();
        let output = tokio_uring::fs::File::from_std(std::fs::File::from(OwnedFd::from(output)));
        Ok(Self {
            process,
            group,
            chunks,
            pipe,
            reader: tokio_uring::spawn(read_output(output, sender)),
            logger: tokio::task::spawn_local(log_errors(Box::pin(errors), channel.to_owned())),
            orphans: Orphans::None,
        })
    }

    /// The next bytes of its output; `None` when there will be no more. May be dropped and called again.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.orphans {
                Orphans::None => tokio::select! {
                    biased;
                    chunk = self.chunks.recv() => return chunk,
                    _ = self.process.wait() => self.orphans = Orphans::Until(Instant::now() + ORPHANS),
                },
                Orphans::Until(until) => tokio::select! {
                    biased;
                    chunk = self.chunks.recv() => return chunk,
                    () = sleep_until(until.into()) => {
                        signal(self.group, Signal::KILL);
                        self.orphans = Orphans::Killed(Instant::now() + ORPHANS);
                    }
                },
                Orphans::Killed(until) => tokio::select! {
                    biased;
                    chunk = self.chunks.recv() => return chunk,
                    () = sleep_until(until.into()) => return None,
                },
            }
        }
    }

    /// Ends the child and its group, politely at first, and reaps it. Says how it ended.
    pub(crate) async fn stop(mut self) -> Option<ExitStatus> {
        // Nobody listens any more: a reader that waits to hand over ends here.
        self.chunks.close();
        while self.chunks.try_recv().is_ok() {}
        signal(self.group, Signal::TERM);
        let ended = timeout(POLITE, self.process.wait()).await;
        // Always: what the child has started may have let go of its output and ignore requests.
        signal(self.group, Signal::KILL);
        let status = match ended {
            Ok(status) => status.ok(),
            Err(_) => timeout(POLITE, self.process.wait())
                .await
                .ok()
                .and_then(Result::ok),
        };
        self.release_reader().await;
        if timeout(POLITE, &mut self.logger).await.is_err() {
            self.logger.abort();
        }
        status
    }

    /// The output is over: gives the child time to end by itself, then ends it.
    pub(crate) async fn finish(mut self) -> Option<ExitStatus> {
        let _ = timeout(POLITE, self.process.wait()).await;
        self.stop().await
    }

    /// Ends the reading task. A process that left the group may hold the pipe open for ever, and the ring waits for its reads; a byte
    /// written into the pipe's own end ends the last of them.
    async fn release_reader(&mut self) {
        if timeout(Duration::from_millis(200), &mut self.reader)
            .await
            .is_ok()
        {
            return;
        }
        let woken = OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{}", self.pipe))
            .and_then(|mut pipe| pipe.write_all(&[0]));
        if woken.is_err() || timeout(POLITE, &mut self.reader).await.is_err() {
            warn!(
                group = %self.group,
                "a process that the command left behind still holds its output"
            );
        }
    }
}

async fn read_output(pipe: tokio_uring::fs::File, chunks: mpsc::Sender<Vec<u8>>) {
    loop {
        // A pipe has no positions; 0 is what the kernel expects there.
        let (result, chunk) = pipe.read_at(Vec::with_capacity(CHUNK_BYTES), 0).await;
        if !matches!(result, Ok(1..)) || chunks.send(chunk).await.is_err() {
            break;
        }
    }
    // The number of the pipe must not be used any more once this task is done, and it is not: `release_reader` looks first.
    let _ = pipe.close().await;
}

async fn log_errors(mut errors: Pin<Box<dyn AsyncRead>>, channel: String) {
    let mut lines = Lines::default();
    let mut flood = Flood::new(Instant::now());
    let mut buffer = vec![0; 4096];
    let mut line = |text: &str| {
        let (pass, held) = flood.pass(Instant::now());
        if held > 0 {
            info!(target: "source", channel, "({held} more lines)");
        }
        if pass {
            info!(target: "source", channel, "{text}");
        }
    };
    while let Ok(count @ 1..) = errors.read(&mut buffer).await {
        lines.push(&buffer[..count], &mut line);
    }
    lines.end(line);
}

/// Sends a signal to a process group; nothing to do when the group is gone.
fn signal(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => warn!(%group, ?signal, %error, "cannot send a signal to a command"),
    }
}

/// A packet of ordinary size comes alone; this is for the rare large burst.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks read ahead of the task that publishes them.
const CHUNKS_MAX: usize = 4;
/// How long what a child left behind may hold its output.
const ORPHANS: Duration = Duration::from_secs(1);
/// How long a child has to obey.
const POLITE: Duration = Duration::from_secs(2);
