//! The ingest thread: makes the ring, runs a task for each source, stops them all.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, mpsc as sync_mpsc},
    thread,
    time::Duration,
};

use funnel_asf::Probe;
use funnel_channel::Channel;
use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::{
    Visitor,
    command::{self, Command},
    door::{self, Routes},
    fallback::Fallback,
    feed::Feed,
    file,
    intake::{Intake, Patience},
    live,
    media::Origin,
    password::Login,
    probe,
    pull::{self, Pull},
    push,
    stage::Stage,
    wants::Wants,
};

/// A channel and what feeds it.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The channel to feed; its options say when the source starts. A channel has one source at a time.
    pub channel: Arc<Channel>,
    /// Where the packets come from.
    pub source: Source,
    /// What stands in while the source is away for longer than its grace, the first that has something. For none of the sources that
    /// never are away (probes).
    pub fallback: Vec<Fallback>,
    /// Title in the header viewers get, instead of the source's own.
    pub title: Option<String>,
    /// Author, likewise.
    pub author: Option<String>,
    /// How long packets stay readable, in seconds.
    pub log_seconds: u32,
    /// Ceiling for the memory of the channel's log.
    pub log_bytes_max: u64,
    /// How long the source may be away before a fallback stands in, or else the channel counts as lost.
    pub source_grace: Duration,
    /// Random; each header sent for this channel gets a File ID derived from it.
    pub file_id: [u8; 16],
}

/// A kind of source.
#[derive(Clone, Debug)]
pub enum Source {
    /// An ASF file, paced by its send times.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Begin again at its end, without a seam; else the channel ends with the file.
        looped: bool,
        /// 1.0 is real time.
        speed: f64,
    },
    /// The same from memory.
    Demo {
        /// A whole ASF file.
        bytes: &'static [u8],
        /// As for files.
        looped: bool,
    },
    /// A program that writes ASF, plain or in `$` chunks, to its standard output; restarted when it ends.
    Command {
        /// Program and arguments. It runs in a process group of its own.
        run: Vec<String>,
    },
    /// Marked packets for load tests, made here at their due times.
    Probe(Probe),
    /// Whoever pushes to the channel's address, or to a TCP port of its own.
    Push(PushOptions),
    /// Another server, or an encoder that waits to be asked.
    Pull(PullOptions),
}

/// Who may push, and where.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// The one who may; without, everybody.
    pub login: Option<Login>,
    /// A second encoder takes over; else it is refused while the first one sends.
    pub takeover: bool,
    /// Where raw ASF is taken without HTTP, and without a login.
    pub tcp: Option<SocketAddr>,
}

/// Where a channel is fetched. With the channel's `Start::FirstViewer` only while somebody watches.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// `http`, `https`, `mmsh`, `mms`, `mmst` or `mmsu`; may name user and password.
    pub url: String,
    /// PEM file with the certificates to trust, instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Why ingest cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// No thread.
    #[error("cannot start the ingest thread: {0}")]
    Thread(#[source] io::Error),
    /// No io_uring, or no epoll beside it.
    #[error("cannot start the ingest ring: {0}")]
    Ring(#[source] io::Error),
    /// An address for raw ASF is taken, or not ours.
    #[error("channel `{channel}` cannot listen for encoders on {address}: {source}")]
    Listen {
        /// The channel's name.
        channel: String,
        /// As configured.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

/// The running ingest thread. Dropping it is the same as [`Ingest::stop`].
#[derive(Debug)]
pub struct Ingest {
    stop: watch::Sender<bool>,
    door: mpsc::Sender<Visitor>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How patient ingest is.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A source that runs only for viewers is stopped or rewound when it had none for this long. The default, 10 s, is enough for a
    /// player that reconnects, or opens twice as xine does.
    pub idle: Duration,
    /// A command that delivers no packet for this long counts as away, though it still runs; after the channel's grace on top of it, it is
    /// started again. The default, 5 s, is longer than any encoder pauses between packets, and as long as VLC waits before it complains.
    pub silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            silence: Duration::from_secs(5),
        }
    }
}

/// Starts feeding, with the default [`Timing`]. Returns as soon as the ring stands; sources report through their channels and the log.
///
/// # Errors
/// When the thread or its ring cannot be made. A source that fails is no error here: it is logged and tried again.
pub fn spawn(specs: Vec<SourceSpec>) -> Result<Ingest, IngestError> {
    spawn_timed(specs, Timing::default())
}

/// The same as [`spawn`] with another timing.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_timed(specs: Vec<SourceSpec>, timing: Timing) -> Result<Ingest, IngestError> {
    let listeners = specs.iter().map(listener).collect::<Result<Vec<_>, _>>()?;
    let (stop, stopping) = watch::channel(false);
    let (door, visitors) = mpsc::channel(VISITORS_MAX);
    let (ready, is_ready) = sync_mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("funnel-ingest".into())
        .spawn(move || {
            // Default flags on purpose: tokio-uring hangs in a ring with DEFER_TASKRUN.
            let runtime = match tokio_uring::Runtime::new(&tokio_uring::builder()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            drop(ready.send(Ok(())));
            let sources = specs.into_iter().zip(listeners).collect();
            runtime.block_on(run(sources, timing, visitors, Stop(stopping)));
        })
        .map_err(IngestError::Thread)?;
    let ingest = Ingest {
        stop,
        door,
        thread: Some(thread),
    };
    match is_ready.recv() {
        Ok(Ok(())) => Ok(ingest),
        Ok(Err(error)) => Err(IngestError::Ring(error)),
        Err(_) => Err(IngestError::Ring(io::Error::other(
            "the ingest thread died at its start",
        ))),
    }
}

/// Connections that wait at the door.
const VISITORS_MAX: usize = 256;

/// The port for raw ASF, if the source has one: taken before anything runs.
fn listener(spec: &SourceSpec) -> Result<Option<TcpListener>, IngestError> {
    let Source::Push(PushOptions {
        tcp: Some(address), ..
    }) = spec.source
    else {
        return Ok(None);
    };
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    };
    listen().map_err(|source| IngestError::Listen {
        channel: spec.channel.name().to_owned(),
        address,
        source,
    })
}

impl Ingest {
    /// Where encoders are handed in: connections with the head of their request, for any channel. When it is full, more is refused.
    pub fn door(&self) -> mpsc::Sender<Visitor> {
        self.door.clone()
    }

    /// Ends all sources: kills and reaps the children, ends the logs. Returns when the thread is gone, a few seconds at most.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the ingest thread panicked");
        }
    }
}

/// Tells a task that ingest is stopping.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Completes when ingest is stopping. May be dropped and called again.
    pub(crate) async fn stopped(&mut self) {
        // A vanished sender is a stop as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// A source and, if it has one, its port.
type Listening = (SourceSpec, Option<TcpListener>);

async fn run(
    sources: Vec<Listening>,
    timing: Timing,
    visitors: mpsc::Receiver<Visitor>,
    stop: Stop,
) {
    let mut routes = Routes::default();
    let mut tasks = Vec::new();
    for (spec, listener) in sources {
        let channel = spec.channel.name().to_owned();
        let (push, encoders) = mpsc::channel(push::VISITORS_MAX);
        routes.add(
            &channel,
            matches!(spec.source, Source::Push(_)).then_some(push),
        );
        let entrance = push::Entrance { encoders, listener };
        let task = run_source(spec, timing, entrance, stop.clone());
        tasks.push((channel, tokio_uring::spawn(task)));
    }
    tokio_uring::spawn(door::run(visitors, routes, stop.clone()));
    for (channel, task) in tasks {
        if let Err(failure) = task.await {
            error!(channel, %failure, "a source's task broke; the channel is off until restart");
        }
    }
    stop.clone().stopped().await;
}

async fn run_source(spec: SourceSpec, timing: Timing, entrance: push::Entrance, mut stop: Stop) {
    let wants = Wants::of(&spec.channel, timing.idle);
    let patience = Patience {
        grace: spec.source_grace,
        silence: timing.silence,
    };
    match spec.source.clone() {
        Source::Command { run } => {
            let intake = Intake::new(Stage::new(&spec), patience, command::NAME);
            live::run(Command { run }, intake, wants, stop).await
        }
        Source::Push(options) => {
            push::run(options, patience, Stage::new(&spec), entrance, stop).await
        }
        Source::Pull(options) => {
            let intake = Intake::new(Stage::new(&spec), patience, pull::NAME);
            match Pull::new(&options) {
                Ok(pull) => live::run(pull, intake, wants, stop).await,
                Err(fault) => {
                    let channel = spec.channel.name();
                    error!(channel, %fault, "the URL cannot be pulled; the channel is off until restart");
                }
            }
        }
        Source::File {
            path,
            looped,
            speed,
        } => {
            let player = file::Player::new(Origin::File(path), looped, speed);
            tokio::select! {
                () = player.run(Stage::new(&spec), wants) => {}
                () = stop.stopped() => {}
            }
        }
        Source::Demo { bytes, looped } => {
            let player = file::Player::new(Origin::Memory(bytes), looped, 1.0);
            tokio::select! {
                () = player.run(Stage::new(&spec), wants) => {}
                () = stop.stopped() => {}
            }
        }
        Source::Probe(probe) => {
            tokio::select! {
                () = probe::run(probe, spec.file_id, Feed::new(&spec), wants) => {}
                () = stop.stopped() => {}
            }
        }
    }
}
