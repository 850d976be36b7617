//! The fan-out engine under simulated conditions: virtual time, seeded sockets, scripted players, invariant checkers.
//!
//! Tests only. [`World`] is an owner of [`funnel_engine::Engine`], in place of a shard thread with its ring: it keeps the
//! same order (begin, fill, results, actions), but its sockets, players and sources live in virtual time, so that ten
//! minutes of broadcast take a second or two. One seed is one run. What every byte must be is known to [`Book`], a record
//! of what the sources published, and checked by [`Tap`] on the wire of each player, apart from the client session that
//! plays it. Faults are collected, not panicked, so that a run names all of them together with its seed.
#![forbid(unsafe_code)]

mod book;
mod crowd;
mod ether;
mod link;
mod player;
mod reel;
mod rng;
mod source;
mod tap;
mod verdict;
mod world;

pub use book::{Book, Published, Stretch};
pub use crowd::{crowd, http_crowd, programme};
pub use ether::{Ether, EtherQuality};
pub use link::{Link, LinkQuality};
pub use player::{Plan, Player, Role, Speech, Step};
pub use reel::Reel;
pub use rng::Rng;
pub use source::{Cue, Schedule, Source};
pub use tap::{Received, Run, Tap};
pub use verdict::{same_bytes, verdict};
pub use world::{Outcome, World, WorldConfig};
