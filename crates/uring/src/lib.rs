//! The io_uring driver of one shard: one thread, one ring, its sockets.
//!
//! A [`Ring`] belongs to the thread that made it. Each loop turn is [`Ring::turn`] (everything that was asked for since the
//! last one, the trains of this one, and the wait, in one `io_uring_enter`) followed by [`Ring::drain`] (what finished,
//! one [`Completion`] at a time). Sockets are *direct descriptors*: they live in the ring's own table and are named by a
//! [`File`], a slot with a generation, so that a late name never reaches the next connection in the same slot.
//!
//! A file is a connection (accepted, or [`Ops::connect`]; [`Ops::hand_over`] makes an ordinary socket of it) or a UDP socket
//! ([`Ring::open_datagrams`]), which sends to and hears from many.
//!
//! Invariants worth naming:
//! - Memory lent to a send is the kernel's only while `turn` runs (`batch.rs` says why, and the ring counts it).
//! - Memory the kernel may touch later (receive buffers, addresses of accepts and connects) is the ring's own and outlives every
//!   operation on it.
//! - What strangers send costs a bounded number of datagrams a time, and nothing of what connections need (`datagrams.rs`).
//! - After [`Ops::close`] nothing more is reported for that file.
//! - In steady state a turn makes no heap operation.
//!
//! What a connection says, when it is due, and how long it may stall is the engine's business, not this crate's.

mod accept;
mod batch;
mod buffers;
mod caps;
mod connect;
mod datagrams;
mod delay;
mod dispatch;
mod doorbell;
mod driver;
mod files;
mod hand_over;
mod local_address;
pub mod net;
mod op_table;
mod ops;
mod ring;

pub use crate::{
    batch::{Batch, PIECES_MAX, Target},
    caps::{Caps, Missing, RELEASE_NEEDED, explain},
    connect::Attempt,
    dispatch::Completion,
    doorbell::Doorbell,
    files::File,
    ops::{Ops, Stats},
    ring::{Ring, RingConfig, RingError},
};
