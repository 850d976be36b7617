//! The channel log: one writer, many cursors, and the channel object around it.
//!
//! A channel is an append-only log of ASF data packets (`docs/architecture.md`). [`log()`] makes one and returns its two ends: the
//! [`Publisher`], which copies each packet in once, and the [`Log`], from which any number of threads claim a [`Reader`]. A reader
//! pins the log for one turn and borrows packets by reference; nothing is counted, locked or copied per packet.
//!
//! Invariants worth naming:
//! - A published byte never changes while anybody can see it: a segment is reused only when it lies below `head` and every pin is newer.
//! - `head ≤ tail`, both only grow; packet numbers are contiguous in between.
//! - The newest clean point stays readable until the byte ceiling forces it out, however old it is.
//! - Memory never exceeds `bytes_max` by more than the twins of one segment; at the ceiling packets are shed and counted.
//!
//! [`Channel`] adds what a broadcast needs around the log: epochs (one header, one log), whether the channel is on air, and the demand
//! of its viewers. It may be slow and uses locks; the log may not and does not.

mod channel;
mod counters;
mod log;
#[cfg(all(test, loom))]
mod model;
mod publisher;
mod segment;
mod sync;

pub use crate::channel::{Air, Channel, ChannelOptions, Demand, Epoch, EpochSpec, Snapshot, Start};
pub use crate::counters::Counters;
pub use crate::log::{Form, Guard, Log, LogConfig, LogError, Packet, Reader, log};
pub use crate::publisher::{Entry, Publisher, Shed};
