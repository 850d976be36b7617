//! One connection's session, whichever protocol its player speaks.
//!
//! The first byte tells, on every port: players try MMS on the port of HTTP and the other way round
//! (`docs/protocol/wmsp.md` §14.3).

use std::sync::Arc;
use std::time::Instant;

use super::http;
use super::mms;
use super::{Input, Output, Player, SessionError, Settings};

/// One player's session. See the module for the contract.
///
/// A few hundred bytes; heap only over HTTP, and while a message is incomplete, an answer is awaited or outputs are queued.
#[derive(Debug)]
pub struct Session(Protocol);

const _: () = assert!(size_of::<Session>() <= 700);

#[expect(
    clippy::large_enum_variant,
    reason = "a connection over MMS needs no heap of its own"
)]
#[derive(Debug)]
enum Protocol {
    /// Until the player has said something, too.
    Mms(mms::Session),
    Http(Box<http::Session>),
}

impl Session {
    /// By which resend requests name the file (`docs/protocol/mmsp.md` §4.4).
    pub const SOURCE_ID: u16 = mms::Session::SOURCE_ID;

    /// A connection was accepted. `random` must be unpredictable: it becomes the client id in resend requests.
    pub fn new(settings: Arc<Settings>, random: u64, now: Instant) -> Self {
        Self(Protocol::Mms(mms::Session::new(settings, random, now)))
    }

    /// Takes one input; poll the outputs afterwards. On an error the connection must be closed at once.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), SessionError> {
        if let (Protocol::Mms(session), Input::Received([first, ..])) = (&self.0, &input)
            && first.is_ascii_alphabetic()
            && let Some(session) = http::Session::instead_of(session)
        {
            self.0 = Protocol::Http(Box::new(session));
        }
        match &mut self.0 {
            Protocol::Mms(session) => session.handle_input(now, input),
            Protocol::Http(session) => session.handle_input(now, input),
        }
    }

    /// What to do next; call until [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output<'_> {
        match &mut self.0 {
            Protocol::Mms(session) => session.poll_output(),
            Protocol::Http(session) => session.poll_output(),
        }
    }

    /// The transport took media at `at`: the player lives, even if it answers no Ping. May be told late, but before the
    /// next [`Input::Timeout`]. Of datagrams it proves nothing: they leave whether somebody receives them or not. Over HTTP
    /// nobody is pinged, and who takes nothing is its owner's to judge.
    pub fn note_progress(&mut self, at: Instant) {
        if let Protocol::Mms(session) = &mut self.0 {
            session.note_progress(at);
        }
    }

    /// The id by which the player's resend requests, and orders from its other connections, name this session.
    pub fn client_id(&self) -> u32 {
        match &self.0 {
            Protocol::Mms(session) => session.client_id(),
            Protocol::Http(session) => session.connection(),
        }
    }

    /// The player's name for logs: printable ASCII, short; empty until it said who it is.
    pub fn agent(&self) -> &str {
        match &self.0 {
            Protocol::Mms(session) => session.agent(),
            Protocol::Http(session) => session.agent(),
        }
    }

    /// Who the player seems to be.
    pub fn player(&self) -> Player {
        match &self.0 {
            Protocol::Mms(session) => session.player(),
            Protocol::Http(session) => session.player(),
        }
    }

    /// Name of the state for logs.
    pub fn state_name(&self) -> &'static str {
        match &self.0 {
            Protocol::Mms(session) => session.state_name(),
            Protocol::Http(session) => session.state_name(),
        }
    }
}
