//! What requests ask for: who may, which session they belong to, and what becomes of their bodies.

use std::time::Instant;

use funnel_wire::wmsp::{Body, BodyLength, Method, RequestHead, StatusCode};

use super::answers::{CONTINUE, ENCODER, Kind, Manner};
use super::auth::{Challenge, Verdict};
use super::connection::{Asked, BUSY, BodyEnd, Connection, State, Step};
use super::media::Media;
use super::receiver::{IDLE, INACTIVE, Owner, Receiver, Session};
use super::{ConnectionId, Output};

impl Receiver {
    /// A head is complete.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        head: RequestHead,
    ) -> Step {
        connection.manner = Manner::of(&head);
        connection.agent = head.fields.get("User-Agent").unwrap_or_default().to_owned();
        if head.method != Method::POST && head.method != Method::PUT {
            const WHY: &str = "Encoders push with POST or PUT.";
            return Step::Refuse(StatusCode::BAD_REQUEST, WHY);
        }
        let path = connection
            .path
            .get_or_insert_with(|| head.path().to_owned());
        if path != head.path() {
            const WHY: &str = "One connection is for one channel.";
            return Step::Refuse(StatusCode::NOT_FOUND, WHY);
        }
        // Encoders do not log in again to start: the push-id, or the connection, has been trusted at setup (§20.4).
        let is_known =
            Kind::of_request(&head) == Kind::Start && self.session_of(&head, connection).is_some();
        if is_known {
            return self.on_granted(now, id, connection, &head);
        }
        match self.guard.judge(now, &head) {
            Verdict::Granted => self.on_granted(now, id, connection, &head),
            Verdict::Denied(challenge) => self.deny(now, id, connection, &head, challenge),
            Verdict::Ask { user, password } => {
                self.out.push_back(Output::Check {
                    connection: id,
                    user: user.clone(),
                    password: password.clone(),
                });
                Step::Wait(State::Checking(Box::new(Asked {
                    head,
                    user,
                    password,
                })))
            }
        }
    }

    /// The answer to [`Output::Check`].
    pub(super) fn on_checked(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        state: State,
        is_good: bool,
    ) -> Step {
        let State::Checking(asked) = state else {
            return Step::Wait(state);
        };
        if is_good {
            self.guard.accept(&asked.user, &asked.password);
            self.on_granted(now, id, connection, &asked.head)
        } else {
            self.deny(now, id, connection, &asked.head, Challenge::default())
        }
    }

    /// 401. The connection stays if what the client still sends is small (§20.4), but not for guessing.
    fn deny(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        head: &RequestHead,
        challenge: Challenge,
    ) -> Step {
        let is_small = matches!(head.length, BodyLength::Sized(..=DRAINED_MAX));
        let is_wrong = head.fields.get("Authorization").is_some() && !challenge.is_stale;
        if !is_small || head.expects_continue() || is_wrong {
            connection.manner = connection.manner.closing();
        }
        // Everybody asks once without a login; who sends on regardless will not hear the answer.
        let reason = match head.fields.get("Authorization") {
            Some(_) if is_wrong => Some("The login is wrong."),
            None if !is_small && !head.expects_continue() => Some("It sends without a login."),
            _ => None,
        };
        if let Some(reason) = reason {
            self.out.push_back(Output::Refused {
                peer: connection.peer,
                status: StatusCode::UNAUTHORIZED,
                reason,
            });
        }
        let fields = self.guard.fields(now, challenge);
        self.answer(id, connection, StatusCode::UNAUTHORIZED, &fields);
        if connection.manner.keeps {
            Step::Go(State::Drain(Body::new(head.length)))
        } else {
            Step::Close
        }
    }

    /// The client may push.
    fn on_granted(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        head: &RequestHead,
    ) -> Step {
        let body = Body::new(head.length);
        let step = match Kind::of_request(head) {
            Kind::Setup => begin_setup(connection, head, body),
            Kind::Start => self.start(now, id, connection, head, body),
            Kind::Media => self.begin_body(now, connection, head, body),
        };
        if head.expects_continue() && matches!(step, Step::Go(_)) {
            self.out.push_back(Output::Send(id, CONTINUE.to_vec()));
        }
        step
    }

    /// The body of a setup is here (§20.1).
    pub(super) fn set_up(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        text: &[u8],
        cookie: Option<String>,
    ) -> Step {
        let auto_destroy = is_auto_destroy(text);
        let push_id = match cookie {
            None if !self.is_free_for(now, connection.peer) => {
                return Step::Refuse(StatusCode::CONFLICT, BUSY);
            }
            None => match self.new_session(now, connection) {
                Some(push_id) => push_id,
                None => return Step::Refuse(StatusCode::SERVICE_UNAVAILABLE, CROWDED),
            },
            Some(push_id) => {
                let known = self.sessions.iter().find(|known| known.push_id == push_id);
                let Some(session) = known else {
                    const WHY: &str = "There is no session with this push-id.";
                    return Step::Refuse(StatusCode::BAD_REQUEST, WHY);
                };
                if let Err(refused) = self.leave_body(now, connection, session.on) {
                    return refused;
                }
                push_id
            }
        };
        if let Some(session) = self.session_mut(&push_id) {
            session.auto_destroy = auto_destroy;
            session.until = now + INACTIVE;
        }
        let cookie = [("Set-Cookie", format!("push-id={push_id}"))];
        self.answer(id, connection, StatusCode::NO_CONTENT, &cookie);
        connection.session = Some(push_id);
        connection.answered(now)
    }

    /// A body of packets begins (§20.2): the first of a session, or the next (§20.3).
    fn start(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        head: &RequestHead,
        body: Body,
    ) -> Step {
        let known = self.session_of(head, connection);
        let on = known.and_then(|session| session.on);
        let known = known.map(|session| session.push_id.clone());
        let is_own = known.as_deref().is_some_and(|known| self.is_run_of(known));
        if !is_own && !self.is_free_for(now, connection.peer) {
            return Step::Refuse(StatusCode::CONFLICT, BUSY);
        }
        if let Err(refused) = self.leave_body(now, connection, on) {
            return refused;
        }
        // Without a setup the specification wants an error; the original makes a session (§20.4).
        let Some(push_id) = known.or_else(|| self.new_session(now, connection)) else {
            return Step::Refuse(StatusCode::SERVICE_UNAVAILABLE, CROWDED);
        };
        match &mut self.run {
            Some(run) if is_own => (run.on, run.heard_at) = (Some(id), now),
            _ => {
                let owner = Owner::Session(push_id.clone());
                self.begin_run(now, id, connection, owner, Media::of_push());
            }
        }
        if let Some(session) = self.session_mut(&push_id) {
            (session.on, session.until) = (Some(id), now + IDLE);
        }
        connection.by = None;
        let end = body_end(head);
        Step::Go(State::Media { body, end })
    }

    /// A body without a session begins (§22).
    fn begin_body(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        head: &RequestHead,
        body: Body,
    ) -> Step {
        if head.length != BodyLength::Sized(0) && !self.is_free_for(now, connection.peer) {
            return Step::Refuse(StatusCode::CONFLICT, BUSY);
        }
        // An encoder may connect long before it has its first packet.
        connection.by = Some(now + IDLE);
        Step::Go(State::Opening {
            body,
            end: body_end(head),
            first: Vec::new(),
        })
    }

    /// A session whose body still comes on another connection leaves it only if its encoder is given up, or may be displaced.
    fn leave_body(
        &mut self,
        now: Instant,
        connection: &Connection,
        on: Option<ConnectionId>,
    ) -> Result<(), Step> {
        const WHY: &str = "The encoder goes on with another connection.";
        let Some(on) = on else { return Ok(()) };
        if !self.is_free_for(now, connection.peer) {
            return Err(Step::Refuse(StatusCode::CONFLICT, BUSY));
        }
        self.detach(on);
        self.dismiss(on, StatusCode::CONFLICT, WHY);
        Ok(())
    }

    /// The session that a start belongs to: by its push-id, else by its connection, else, if everybody may push, by its address (§20.4).
    /// Where not everybody may, a push-id that was overheard is of no use from another address.
    fn session_of(&self, head: &RequestHead, connection: &Connection) -> Option<&Session> {
        let is_trusted = |known: &Session| self.guard.is_open() || known.peer == connection.peer;
        let find = |push_id: &str| {
            let mut sessions = self.sessions.iter();
            sessions.find(|known| known.push_id == push_id && is_trusted(known))
        };
        let cookie = push_id(head);
        let said = cookie.as_deref().and_then(find);
        let here = || connection.session.as_deref().and_then(find);
        let near = || {
            let is_near = |known: &&Session| known.peer == connection.peer && known.on.is_none();
            let is_open = self.guard.is_open() && cookie.is_none();
            self.sessions.iter().find(is_near).filter(|_| is_open)
        };
        said.or_else(here).or_else(near)
    }

    fn session_mut(&mut self, push_id: &str) -> Option<&mut Session> {
        let mut sessions = self.sessions.iter_mut();
        sessions.find(|known| known.push_id == push_id)
    }

    /// Makes a session; `None`: there are too many.
    fn new_session(&mut self, now: Instant, connection: &Connection) -> Option<String> {
        if self.sessions.len() >= SESSIONS_MAX {
            let waiting = self.sessions.iter().enumerate();
            let oldest = waiting
                .filter(|(_, known)| known.on.is_none() && !self.is_run_of(&known.push_id))
                .min_by_key(|(_, known)| known.until)?;
            self.sessions.remove(oldest.0);
        }
        let mut number = connection.push_id.max(1);
        while self.session_mut(&number.to_string()).is_some() {
            number = number.wrapping_add(1).max(1);
        }
        let push_id = number.to_string();
        self.sessions.push(Session {
            push_id: push_id.clone(),
            peer: connection.peer,
            on: None,
            until: now + INACTIVE,
            auto_destroy: false,
            changes: false,
        });
        Some(push_id)
    }
}

impl Kind {
    fn of_request(head: &RequestHead) -> Self {
        Self::of(head.fields.content_type().unwrap_or_default())
    }
}

/// The head of a setup (§20.1).
fn begin_setup(connection: &Connection, head: &RequestHead, body: Body) -> Step {
    if head.method != Method::POST || !connection.agent.starts_with(ENCODER) {
        return Step::Refuse(StatusCode::BAD_REQUEST, "Only encoders set up a push.");
    }
    match head.length {
        BodyLength::Sized(..=SETUP_MAX) => Step::Go(State::Setup {
            body,
            text: Vec::new(),
            cookie: push_id(head),
        }),
        BodyLength::Sized(_) => Step::Refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "This is too long for a setup.",
        ),
        BodyLength::Unstated | BodyLength::Chunked => {
            Step::Refuse(StatusCode::LENGTH_REQUIRED, "A setup has a Content-Length.")
        }
    }
}

fn body_end(head: &RequestHead) -> BodyEnd {
    match head.length {
        BodyLength::Sized(_) => BodyEnd::Part,
        BodyLength::Chunked => BodyEnd::Whole,
        BodyLength::Unstated => BodyEnd::Close,
    }
}

/// The push-id a client has, if it has one; 0 is none (§20.1).
fn push_id(head: &RequestHead) -> Option<String> {
    let cookies = head.fields.all("Cookie").flat_map(|all| all.split(';'));
    let mut named = cookies.filter_map(|cookie| cookie.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("push-id"))?;
    let value = value.trim();
    (!value.is_empty() && value != "0").then(|| value.to_owned())
}

/// Whether a setup says `AutoDestroy: 1`. Its template is of no use: channels are configured.
fn is_auto_destroy(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.trim().eq_ignore_ascii_case("AutoDestroy") && value.trim() == "1")
}

/// Longest body of a setup: two lines.
const SETUP_MAX: u64 = 4096;
/// Longest body read to keep a connection whose request was refused.
const DRAINED_MAX: u64 = 1 << 20;
/// Sessions that have set up. More than anybody needs: an encoder has one.
const SESSIONS_MAX: usize = 8;
const CROWDED: &str = "Too many encoders want this channel.";
