//! One channel's receiver: connections, sessions of encoders that set up, and the run that is on the channel.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use funnel_wire::wmsp::StatusCode;

use super::auth::Guard;
use super::connection::{Connection, State, Step};
use super::media::Media;
use super::{ConnectionId, End, Input, Options, Output, Way};

/// See the [module](super).
#[derive(Debug)]
pub struct Receiver {
    pub(super) product: String,
    pub(super) takeover: bool,
    pub(super) guard: Guard,
    /// All but the one that is being served.
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) sessions: Vec<Session>,
    pub(super) run: Option<Run>,
    pub(super) out: VecDeque<Output>,
}

/// An encoder of the Windows Media family, from its setup on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) push_id: String,
    pub(super) peer: IpAddr,
    /// Where its body comes from.
    pub(super) on: Option<ConnectionId>,
    /// When it is forgotten: the idle timer inside of a body, even one that broke off, else the inactivity timer.
    pub(super) until: Instant,
    pub(super) auto_destroy: bool,
    /// `$E(1)` came last.
    pub(super) changes: bool,
}

/// What is on the channel.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) owner: Owner,
    pub(super) media: Media,
    pub(super) peer: IpAddr,
    /// Where its media comes from; none between bodies.
    pub(super) on: Option<ConnectionId>,
    /// When media came last, or the body began.
    pub(super) heard_at: Instant,
}

/// Whose run it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// The session with this push-id.
    Session(String),
    /// Requests without a session, or raw ASF.
    Plain,
}

impl Receiver {
    /// For a channel to which nobody has connected.
    pub fn new(options: Options, now: Instant) -> Self {
        let Options {
            access,
            takeover,
            product,
            secret,
        } = options;
        Self {
            product,
            takeover,
            guard: Guard::new(access, secret, now),
            connections: BTreeMap::new(),
            sessions: Vec::new(),
            run: None,
            out: VecDeque::new(),
        }
    }

    /// Takes one input; then poll.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Connected {
                connection,
                peer,
                way,
                push_id,
            } => {
                let new = Connection::new(peer, way, push_id, now);
                self.connections.insert(connection, new);
            }
            Input::Bytes(id, bytes) => self.serve(now, id, |_, connection, state| {
                connection.unread.extend_from_slice(bytes);
                Step::Go(state)
            }),
            Input::Checked(id, is_good) => self.serve(now, id, |receiver, connection, state| {
                receiver.on_checked(now, id, connection, state, is_good)
            }),
            Input::Closed(id) => {
                if let Some(connection) = self.connections.remove(&id) {
                    self.on_closed(id, &connection);
                }
            }
            Input::Unusable => self.on_unusable(),
            Input::Timeout => {}
            Input::Shutdown => self.on_shutdown(),
        }
        self.on_time(now);
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        let connections = self.connections.values().filter_map(|known| known.by);
        let sessions = self.sessions.iter().map(|session| session.until);
        let run = self.run.as_ref().and_then(Run::ends_at);
        Output::Idle {
            wake_at: connections.chain(sessions).chain(run).min(),
        }
    }

    /// Takes a connection as far as what has come of it allows, beginning with one step.
    fn serve(
        &mut self,
        now: Instant,
        id: ConnectionId,
        first: impl FnOnce(&mut Self, &mut Connection, State) -> Step,
    ) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        let state = std::mem::replace(&mut connection.state, State::Head);
        let mut step = first(self, &mut connection, state);
        loop {
            step = match step {
                Step::Go(state) => self.step(now, id, &mut connection, state),
                Step::Wait(state) => {
                    connection.state = state;
                    self.connections.insert(id, connection);
                    return;
                }
                Step::Refuse(status, why) => return self.turn_away(id, &connection, status, why),
                Step::Close => return self.out.push_back(Output::Close(id)),
            };
        }
    }

    /// The peer of a connection says no more.
    fn on_closed(&mut self, id: ConnectionId, connection: &Connection) {
        if let Some(run) = self.run.as_mut().filter(|run| run.on == Some(id)) {
            match run.owner {
                // Not fatal (§20.4): it may resume until its idle timer ends.
                Owner::Session(_) => {
                    self.detach(id);
                    self.out.push_back(Output::Paused);
                }
                Owner::Plain => {
                    self.end_run(End::Away);
                    if connection.ends_with_close() {
                        self.answer(id, connection, StatusCode::OK, &[]);
                    }
                }
            }
        }
        self.out.push_back(Output::Close(id));
    }

    fn on_unusable(&mut self) {
        const WHY: &str = "This cannot be broadcast: it is no ASF, or damaged.";
        let on = self.run.as_ref().and_then(|run| run.on);
        self.abandon_run();
        if let Some(id) = on {
            self.dismiss(id, StatusCode::UNSUPPORTED_MEDIA_TYPE, WHY);
        }
    }

    fn on_shutdown(&mut self) {
        const WHY: &str = "The server is going down.";
        self.sessions.clear();
        self.run = None;
        let all: Vec<_> = self.connections.keys().copied().collect();
        for id in all {
            self.dismiss(id, StatusCode::SERVICE_UNAVAILABLE, WHY);
        }
    }

    /// Ends whatever has waited for too long.
    fn on_time(&mut self, now: Instant) {
        const WHY: &str = "Nothing came for too long.";
        while let Some(at) = self.sessions.iter().position(|known| known.until <= now) {
            let session = self.sessions.swap_remove(at);
            if self.is_run_of(&session.push_id) {
                self.end_run(session.end());
            }
            if let Some(id) = session.on {
                self.dismiss(id, StatusCode::REQUEST_TIMEOUT, WHY);
            }
        }
        if let Some(run) = &self.run
            && run.ends_at().is_some_and(|at| at <= now)
        {
            let on = run.on;
            self.end_run(End::Away);
            if let Some(id) = on {
                self.dismiss(id, StatusCode::REQUEST_TIMEOUT, WHY);
            }
        }
        let is_late = |known: &Connection| known.by.is_some_and(|by| by <= now);
        while let Some((&id, connection)) =
            self.connections.iter().find(|(_, known)| is_late(known))
        {
            if connection.is_between_requests() {
                self.connections.remove(&id);
                self.out.push_back(Output::Close(id));
            } else {
                self.dismiss(id, StatusCode::REQUEST_TIMEOUT, WHY);
            }
        }
    }

    /// Whether an encoder from `peer` may displace the run on the channel, if there is one.
    pub(super) fn is_free_for(&self, now: Instant, peer: IpAddr) -> bool {
        self.run.as_ref().is_none_or(|run| {
            let silent_for = now.saturating_duration_since(run.heard_at);
            self.takeover || silent_for >= SILENCE || (run.on.is_none() && run.peer == peer)
        })
    }

    /// Whether the run on the channel is this session's.
    pub(super) fn is_run_of(&self, push_id: &str) -> bool {
        let owner = self.run.as_ref().map(|run| &run.owner);
        matches!(owner, Some(Owner::Session(known)) if known == push_id)
    }

    /// Begins a run on a connection. Whose run it was before, is let go.
    pub(super) fn begin_run(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &Connection,
        owner: Owner,
        media: Media,
    ) {
        const WHY: &str = "Another encoder has taken over.";
        if let Some(old) = self.run.take() {
            if let Owner::Session(push_id) = old.owner {
                self.sessions.retain(|known| known.push_id != push_id);
            }
            if let Some(on) = old.on {
                self.dismiss(on, StatusCode::CONFLICT, WHY);
            }
        }
        self.run = Some(Run {
            owner,
            media,
            peer: connection.peer,
            on: Some(id),
            heard_at: now,
        });
        self.out.push_back(Output::Began {
            peer: connection.peer,
            agent: connection.agent.clone(),
        });
    }

    /// The run is over.
    pub(super) fn end_run(&mut self, end: End) {
        if self.run.take().is_some() {
            self.out.push_back(Output::Ended(end));
        }
    }

    /// The run is over, and its session with it.
    pub(super) fn abandon_run(&mut self) {
        if let Some(Owner::Session(push_id)) = self.run.as_ref().map(|run| &run.owner) {
            self.sessions.retain(|known| known.push_id != *push_id);
        }
        self.end_run(End::Away);
    }

    /// The session or run that used a connection waits for another.
    pub(super) fn detach(&mut self, id: ConnectionId) {
        if let Some(run) = self.run.as_mut().filter(|run| run.on == Some(id)) {
            run.on = None;
            run.media.cut();
        }
        if let Some(session) = self.sessions.iter_mut().find(|known| known.on == Some(id)) {
            session.on = None;
        }
    }

    /// Ends a connection with an answer, at whatever it is.
    pub(super) fn dismiss(&mut self, id: ConnectionId, status: StatusCode, why: &'static str) {
        if let Some(connection) = self.connections.remove(&id) {
            self.turn_away(id, &connection, status, why);
        }
    }

    /// Refuses and closes; a run from there is over.
    fn turn_away(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
        status: StatusCode,
        why: &'static str,
    ) {
        if self.run.as_ref().is_some_and(|run| run.on == Some(id)) {
            self.abandon_run();
        }
        self.out.push_back(Output::Refused {
            peer: connection.peer,
            status,
            reason: why,
        });
        if connection.way == Way::Http {
            let manner = connection.manner.closing();
            let answer = manner.answer(&self.product, status, &[], why);
            self.out.push_back(Output::Send(id, answer));
        }
        self.out.push_back(Output::Close(id));
    }

    /// Answers a request that needs no words.
    pub(super) fn answer(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
        status: StatusCode,
        fields: &[(&str, String)],
    ) {
        if connection.way == Way::Http {
            let answer = connection.manner.answer(&self.product, status, fields, "");
            self.out.push_back(Output::Send(id, answer));
        }
    }
}

impl Session {
    /// What its end means for the channel.
    pub(super) fn end(&self) -> End {
        if self.auto_destroy {
            End::Over
        } else {
            End::Away
        }
    }
}

impl Run {
    /// When a run without session is over: between requests soon, else with the idle timer. Sessions have timers of their own.
    fn ends_at(&self) -> Option<Instant> {
        match (&self.owner, self.on) {
            (Owner::Session(_), _) => None,
            (Owner::Plain, Some(_)) => Some(self.heard_at + IDLE),
            (Owner::Plain, None) => Some(self.heard_at + SILENCE),
        }
    }
}

/// An encoder without media for this long is displaced by any other, and one that sends request by request (§22.4) is away. Longer than
/// any encoder pauses.
const SILENCE: Duration = Duration::from_secs(5);
/// The idle timer: without media for this long inside of a body (§20.4).
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// The inactivity timer: without a body for this long (§20.4).
pub(super) const INACTIVE: Duration = Duration::from_secs(120);
