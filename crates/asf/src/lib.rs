//! ASF for a broadcast server: bytes ↔ header objects and data packets, clean points, re-timing, stream filtering.
//!
//! Pure: no sockets, no files, no clock. The way of a packet:
//!
//! ```text
//! source bytes ─► Deframer ─► Header ─► live_header ─► header for the wire
//!                     └─────► raw packet ─► Normaliser ─► Ready { full, stripped, join, … } ─► channel log
//!                                                            └─► Filter (one per stream selection) ─► its own log
//! ```
//!
//! Promises: nothing received can make it panic, loop or allocate without bound, and after warm-up
//! [`Normaliser::packet`] and [`Filter::packet`] allocate nothing. Layouts and rules: `docs/protocol/asf.md`; section
//! signs (§) in this crate mean that page unless another is named.

#![forbid(unsafe_code)]

mod bytes;
pub mod codec;
pub mod deframe;
pub mod filter;
pub mod guid;
pub mod header;
pub mod keyframe;
pub mod normalise;
pub mod object;
pub mod packet;
pub mod probe;
pub mod selection;
mod shape;
pub mod survey;

pub use codec::{Codec, Family};
pub use deframe::{DeframeError, Deframer, Item};
pub use filter::Filter;
pub use header::live::{HeaderWarning, LiveHeader, LiveOptions, live_header};
pub use header::{Description, Header, HeaderError, Stream, StreamKind, data_packets};
pub use normalise::{Normaliser, Repairs};
pub use object::{Assembler, MediaObject};
pub use packet::{Layout, PacketError};
pub use probe::{Mark, Probe};
pub use selection::{Selection, Thinning};
pub use shape::{PacketMeta, Ready};
pub use survey::Survey;
