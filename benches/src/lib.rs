//! What the benches share: a heap that counts, a player's side of the handshake, an engine full of viewers, media.
//!
//! Run with `cargo bench -p funnel-benches`; numbers and their meaning are in `docs/performance.md`.

pub mod heap;
pub mod house;
pub mod media;
pub mod player;
