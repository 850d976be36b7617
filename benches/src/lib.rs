//! What the benches share: a heap that counts, a clock no neighbour disturbs, a player's requests, media, a full house,
//! and the sender without a protocol that servers are measured against (`bare-sender`).
//!
//! Run with `cargo bench -p funnel-benches`; numbers and their meaning are in `docs/performance.md`.

pub mod bare;
pub mod clock;
pub mod heap;
pub mod house;
pub mod media;
pub mod player;
