//! One connection over HTTP: a player's of Windows Media streaming, or of anybody who takes plain ASF
//! (`docs/protocol/wmsp.md`, whose sections are meant by `§`).
//!
//! A connection carries requests one behind the other; a Play keeps it until its media ends. What a player says on other
//! connections finds it by the client id ([`Clients`]).

mod answers;
mod clients;
mod course;
mod heads;
mod pipelining;
mod request;
mod session;
mod status;
mod stream;

use super::outbox::Outbox;
use super::random::SplitMix;
use super::{
    Accel, Desk, Event, Framing, HandOver, Input, OpenRequest, Opened, Order, Output, Play, Player,
    Redirect, SessionError, Settings, Timer,
};

pub use clients::Clients;

pub(super) use session::Session;

/// How long a player may be silent on all its connections before its client id is forgotten, as it is told (§9.3).
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
