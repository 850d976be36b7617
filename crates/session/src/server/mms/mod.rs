//! One player over MMS, on TCP with media there or on UDP (`docs/protocol/mmsp.md`, whose sections are meant by `§`).

mod answers;
mod datagrams;
mod ends;
mod fragments;
mod order;
mod refusal;
mod session;
mod timers;

use super::outbox::Outbox;
use super::random::SplitMix;
use super::{
    Accel, Event, Framing, Input, OpenRequest, Opened, Output, Play, Player, Redirect,
    SessionError, Settings, Timer,
};

pub(super) use fragments::Fragments;
pub(super) use session::Session;
