//! Sources of channels: files, the built-in demo, child processes that write ASF, encoders that push, servers that are pulled, marked
//! packets for load tests; and what stands in while they are away.
//!
//! One thread on tokio-uring reads them all, one task a channel, and is the only writer of the channels' logs. What comes in is cut
//! (`funnel_asf::Deframer`), repaired once (`funnel_asf::Normaliser`) and published (`funnel_channel::Publisher`); what viewers get
//! never depends on how the source frames, paces or breaks. Few, sequential, file-like operations: tokio-uring is at home here, with a
//! plain ring (with `DEFER_TASKRUN` it hangs).
//!
//! ```text
//! file, demo ─ Cutter ─────────┐                                  ┌─ Pace (files)   ┐
//! command, push ─┐             ├─► Feed: header → epoch, packet → ┤                 ├─► channel log
//! pull ─ Splice ─┴─► Intake ───┤        Normaliser, Spread        ├─ held (viewers) ┤
//! fallback ─── StandIn ────────┤                                  └─ due times ─────┘
//! probe ── Mark ───────────────┘
//! ```
//!
//! Invariants worth naming:
//! - A source that fails takes nothing with it but its own channel's air.
//! - An equivalent header never disturbs viewers; any other begins an epoch, announced before the old log ends.
//! - A channel's feed is used by its source or by what stands in for it, never by both.
//! - No child outlives [`Ingest::stop`], nor does its process group.

#![forbid(unsafe_code)]

mod attend;
mod backoff;
mod child;
mod command;
mod cutter;
mod door;
mod fallback;
mod feed;
mod file;
mod inspect;
mod intake;
mod lines;
mod live;
mod media;
mod pace;
mod password;
mod probe;
mod pull;
mod push;
mod reel;
mod runtime;
mod spread;
mod stage;
pub mod trust;
mod visitor;
mod wants;

pub use crate::fallback::Fallback;
pub use crate::inspect::{InspectError, Inspection, inspect, inspect_bytes};
pub use crate::password::{Login, Password, PasswordError};
pub use crate::reel::{Reel, ReelPacket};
pub use crate::runtime::{
    Ingest, IngestError, PullOptions, PushOptions, Source, SourceSpec, Timing, spawn, spawn_timed,
};
pub use crate::visitor::{Stream, Visitor};
