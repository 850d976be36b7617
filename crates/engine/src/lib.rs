//! The fan-out brain of one core: viewers, trains, pacing, lag policy, timers, admission.
//!
//! [`Engine`] decides which viewer gets what and when. It knows no socket, no clock and no protocol: its owner (a shard
//! thread, or a simulation) tells it what happened and when, lends it to the ring for one turn, and carries out the
//! [`Action`]s it leaves. One turn of the owner:
//!
//! 1. tell what happened: [`Engine::accept`], [`Engine::received`], [`Engine::sent`], [`Engine::writable`], …;
//! 2. [`Engine::begin`] looks at channels and timers, pins the logs and returns the sends that are due;
//! 3. [`Sends::fill`] lends heads and bodies to one send per viewer, and the kernel is entered once;
//! 4. carry out [`Engine::actions`], log [`Engine::reports`], sleep until the deadline `begin` gave.
//!
//! Invariants worth naming: one send in flight per viewer; every result is told before the next `begin`; a viewer's bytes
//! are whole messages and whole packets in order, whatever the transport cuts; nothing is allocated in a turn that only
//! sends media.
#![forbid(unsafe_code)]

mod admission;
mod burst;
mod control;
mod derived;
mod engine;
mod errno;
mod feeds;
mod groups;
mod media;
mod opening;
mod orders;
mod outgoing;
mod pacing;
mod place;
mod report;
mod resend;
mod sends;
mod stations;
mod trail;
mod train;
mod udp;
mod viewer;
mod wheel;

pub use admission::{Admission, AdmissionLimits, Permit};
pub use engine::{Action, Engine, EngineConfig, Found, Lookup};
pub use groups::{
    GroupCounters, GroupGuards, GroupPlan, GroupReport, GroupSend, GroupSends, GroupSpare, Groups,
};
pub use report::{Counters, Reason, Report, ViewerStats};
pub use sends::{Datagrams, Guards, Outgoing, Sends, Spare};
pub use stations::{Served, Tuning};
pub use train::PIECES_MAX;
pub use udp::UdpLimits;
pub use viewer::Key;
