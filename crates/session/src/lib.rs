//! Sans-I/O protocol machines: bytes and `now` go in, bytes, events and the next deadline come out.
//!
//! No sockets, no clocks, no threads. Every machine has one contract: feed exactly one input, then poll outputs until it
//! says `Idle` with the next deadline.
//!
//! * [`server`]: one player's session on our side: MMS over TCP and UDP, Windows Media over HTTP, plain ASF.
//! * [`client`]: our own player, for probing, recording and load tests.
//! * [`multicast`]: our own receiver of a group that an `.nsc` file announces.
//! * [`push`]: encoders that push to us, and our own encoder that pushes elsewhere.
//! * [`url`]: what a player is given to play.
#![forbid(unsafe_code)]

pub mod client;
mod load_test;
pub mod multicast;
pub mod push;
pub mod server;
pub mod url;

pub use funnel_asf::{Filter, Header, Selection, Thinning};
pub use funnel_wire::mms::{ClientLog, HResult};
pub use load_test::{LOAD_TEST_TOKEN, allows_load_test};
