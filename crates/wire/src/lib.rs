//! Bytes ↔ messages of the MMS protocol family.
//!
//! This crate knows layouts and nothing else: no order of messages, no sockets, no clock. Everything it decodes comes
//! from strangers, so a decoder ends in a value or a typed error that names the field and the offset, never in a panic.
//!
//! * [`codec`]: the cursors every layout is read and written with.
//! * [`mms`]: MMS over TCP and UDP (MS-MMSP), described in `docs/protocol/mmsp.md`; section numbers there refer to that page.
//! * [`msb`]: multicast datagrams (MS-MSB), described in `docs/protocol/msb-nsc.md`.
//! * [`nsc`]: `.nsc` files, which announce such a multicast, on the same page.
//! * [`wmsp`]: Windows Media over HTTP (MS-WMSP, MS-WMHTTP), described in `docs/protocol/wmsp.md`.
#![forbid(unsafe_code)]

#[macro_use]
mod macros;

pub mod codec;
pub mod mms;
pub mod msb;
pub mod nsc;
pub mod wmsp;
