//! One connection: the head of a request, then its body, then the next.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use funnel_wire::wmsp::{Body, BodyLength, Packet, RequestHead, StatusCode};

use super::answers::Manner;
use super::media::{Beginning, Media};
use super::receiver::{IDLE, INACTIVE, Owner, Receiver};
use super::{ConnectionId, End, Output, Way};

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: IpAddr,
    pub(super) way: Way,
    /// For the session that begins here.
    pub(super) push_id: u32,
    /// Came and was not looked at.
    pub(super) unread: Vec<u8>,
    pub(super) state: State,
    /// When it is ended unless something happens.
    pub(super) by: Option<Instant>,
    /// The channel as its first request spelled it: others are not to be had here.
    pub(super) path: Option<String>,
    /// The session that was set up here.
    pub(super) session: Option<String>,
    /// `User-Agent` of the latest request.
    pub(super) agent: String,
    /// How the latest request is answered.
    pub(super) manner: Manner,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum State {
    /// A head.
    Head,
    /// The answer to [`Output::Check`].
    Checking(Box<Asked>),
    /// The body of a setup.
    Setup {
        body: Body,
        text: Vec<u8>,
        cookie: Option<String>,
    },
    /// The first bytes of a body without a session, which say whether a run begins.
    Opening {
        body: Body,
        end: BodyEnd,
        first: Vec<u8>,
    },
    /// Media of the run.
    Media { body: Body, end: BodyEnd },
    /// A session has ended inside of its body: filler, or the next request.
    Ended,
    /// A body that nobody wants.
    Drain(Body),
}

/// A request that waits for its login to be checked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) head: RequestHead,
    pub(super) user: String,
    pub(super) password: String,
}

/// What the end of a body means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyEnd {
    /// It had a length: another may go on.
    Part,
    /// The encoder has ended it: the run is over.
    Whole,
    /// Only the end of the connection ends it.
    Close,
}

/// How a connection goes on.
#[derive(Debug)]
pub(super) enum Step {
    /// At once.
    Go(State),
    /// When more has come.
    Wait(State),
    /// Not.
    Refuse(StatusCode, &'static str),
    /// Not, after what was answered.
    Close,
}

impl Connection {
    pub(super) fn new(peer: IpAddr, way: Way, push_id: u32, now: Instant) -> Self {
        let raw = State::Opening {
            body: Body::new(BodyLength::Unstated),
            end: BodyEnd::Close,
            first: Vec::new(),
        };
        let (state, patience) = match way {
            Way::Http => (State::Head, SOON),
            Way::Raw => (raw, IDLE),
        };
        Self {
            peer,
            way,
            push_id,
            unread: Vec::new(),
            state,
            by: Some(now + patience),
            path: None,
            session: None,
            agent: String::new(),
            manner: Manner::UNKNOWN,
        }
    }

    /// Whether it rests after an answer, and nothing of another request has come.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Head | State::Ended)
            && self.path.is_some()
            && self.unread.is_empty()
    }

    /// Whether the end of the connection ends its body well.
    pub(super) fn ends_with_close(&self) -> bool {
        matches!(
            self.state,
            State::Media {
                end: BodyEnd::Close,
                ..
            }
        )
    }

    /// After an answer: the next request, if both want it.
    pub(super) fn answered(&mut self, now: Instant) -> Step {
        if !self.manner.keeps {
            return Step::Close;
        }
        self.by = Some(now + INACTIVE);
        Step::Go(State::Head)
    }

    /// Takes content of a body off what is unread; `None`: more has to come, or the body is over.
    fn content(&mut self, body: &mut Body) -> Result<Option<Vec<u8>>, StatusCode> {
        let (size, content) = body.take(&self.unread).map_err(|fault| fault.status())?;
        let content = content.to_vec();
        self.unread.drain(..size);
        Ok((size > 0).then_some(content))
    }
}

impl Receiver {
    /// Takes a connection one step on.
    pub(super) fn step(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        state: State,
    ) -> Step {
        match state {
            State::Head => self.read_head(now, id, connection),
            State::Checking(_) if connection.unread.len() > UNREAD_MAX => Step::Refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too much came before the login was checked.",
            ),
            State::Checking(_) => Step::Wait(state),
            State::Setup {
                mut body,
                mut text,
                cookie,
            } => match connection.content(&mut body) {
                Err(status) => Step::Refuse(status, DAMAGED),
                Ok(None) if body.is_over() => self.set_up(now, id, connection, &text, cookie),
                Ok(None) => Step::Wait(State::Setup { body, text, cookie }),
                Ok(Some(content)) => {
                    text.extend(content);
                    Step::Go(State::Setup { body, text, cookie })
                }
            },
            State::Opening {
                mut body,
                end,
                mut first,
            } => match connection.content(&mut body) {
                Err(status) => Step::Refuse(status, DAMAGED),
                Ok(content) => {
                    first.extend(content.unwrap_or_default());
                    self.open(now, id, connection, (body, end), first)
                }
            },
            State::Media { mut body, end } => match connection.content(&mut body) {
                Err(status) => Step::Refuse(status, DAMAGED),
                Ok(None) if body.is_over() => self.close_body(now, id, connection, end),
                Ok(None) => Step::Wait(State::Media { body, end }),
                Ok(Some(content)) => self.take_media(now, id, connection, (body, end), &content),
            },
            State::Ended => skip_filler(now, connection),
            State::Drain(mut body) => match connection.content(&mut body) {
                Err(_) => Step::Close,
                Ok(None) if body.is_over() => {
                    let step = connection.answered(now);
                    // Without a login nobody keeps a place for long: there are not many.
                    connection.by = Some(now + SOON);
                    step
                }
                Ok(None) => Step::Wait(State::Drain(body)),
                Ok(Some(_)) => Step::Go(State::Drain(body)),
            },
        }
    }

    fn read_head(&mut self, now: Instant, id: ConnectionId, connection: &mut Connection) -> Step {
        match RequestHead::parse(&connection.unread) {
            Err(fault) => {
                connection.manner = Manner::UNKNOWN;
                Step::Refuse(fault.status(), "This is no request.")
            }
            Ok(Some((head, size))) => {
                connection.unread.drain(..size);
                connection.by = Some(now + SOON);
                self.on_request(now, id, connection, head)
            }
            Ok(None) => {
                // From its first byte on, a head has to come soon.
                if !connection.unread.is_empty() {
                    let soon = now + SOON;
                    connection.by = Some(connection.by.map_or(soon, |by| by.min(soon)));
                }
                Step::Wait(State::Head)
            }
        }
    }

    /// A body without a session begins with a header, or goes on with those before it (§22.4).
    fn open(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        (body, end): (Body, BodyEnd),
        first: Vec<u8>,
    ) -> Step {
        const WHY: &str =
            "This neither begins with an ASF header nor goes on with a broadcast of yours.";
        match Media::begin(&first) {
            // Nothing at all: some clients try a login that way.
            Beginning::Undecided if first.is_empty() && body.is_over() => {
                self.answer(id, connection, StatusCode::OK, &[]);
                return connection.answered(now);
            }
            Beginning::Undecided if !body.is_over() => {
                return Step::Wait(State::Opening { body, end, first });
            }
            Beginning::Header(_) if !self.is_free_for(now, connection.peer) => {
                return Step::Refuse(StatusCode::CONFLICT, BUSY);
            }
            Beginning::Header(media) => self.begin_run(now, id, connection, Owner::Plain, media),
            Beginning::Undecided | Beginning::Middle => {
                let joined = self.run.as_mut().filter(|run| {
                    run.owner == Owner::Plain && run.on.is_none() && run.peer == connection.peer
                });
                match joined {
                    Some(run) => run.on = Some(id),
                    None => return Step::Refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, WHY),
                }
            }
        }
        connection.by = None;
        self.take_media(now, id, connection, (body, end), &first)
    }

    /// Content of the run's body.
    fn take_media(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        (body, end): (Body, BodyEnd),
        content: &[u8],
    ) -> Step {
        const WHY: &str = "The packets of this push cannot be understood.";
        let Some(run) = self.run.as_mut().filter(|run| run.on == Some(id)) else {
            return Step::Close;
        };
        let mut media = Vec::new();
        let taken = run.media.take(content, &mut media);
        if !media.is_empty() {
            self.out.push_back(Output::Media(media));
        }
        let Ok(taken) = taken else {
            return Step::Refuse(StatusCode::BAD_REQUEST, WHY);
        };
        if taken.is_media {
            run.heard_at = now;
        }
        if let Some(session) = self.sessions.iter_mut().find(|known| known.on == Some(id)) {
            session.changes = taken.changes;
            if taken.is_media {
                session.until = now + IDLE;
            }
        }
        if !taken.is_over {
            return Step::Go(State::Media { body, end });
        }
        // `$E`: the encoder has finished, though not its body.
        let rest = content.get(taken.bytes..).unwrap_or_default();
        connection.unread.splice(..0, rest.iter().copied());
        let session = self.sessions.iter().position(|known| known.on == Some(id));
        let session = session.map(|at| self.sessions.swap_remove(at));
        self.end_run(session.map_or(End::Away, |session| session.end()));
        connection.session = None;
        connection.by = Some(now + INACTIVE);
        self.answer(id, connection, StatusCode::NO_CONTENT, &[]);
        Step::Go(State::Ended)
    }

    /// The body of a run has come to its end.
    fn close_body(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        end: BodyEnd,
    ) -> Step {
        let session = self.sessions.iter_mut().find(|known| known.on == Some(id));
        let status = match session {
            Some(session) => {
                // The next body goes on (§20.3), but for one case without an answer.
                session.until = now + INACTIVE;
                (!session.changes).then_some(StatusCode::NO_CONTENT)
            }
            None => Some(StatusCode::OK),
        };
        self.detach(id);
        if end == BodyEnd::Whole {
            self.end_run(End::Away);
        }
        if let Some(status) = status {
            self.answer(id, connection, status, &[]);
        }
        connection.answered(now)
    }
}

/// Behind the end of a session, in a body whose rest will never come: filler, or the next request (§20.4).
fn skip_filler(now: Instant, connection: &mut Connection) -> Step {
    if connection
        .unread
        .first()
        .is_some_and(u8::is_ascii_uppercase)
    {
        return Step::Go(State::Head);
    }
    match Packet::split(&connection.unread) {
        Ok(Some((_, size))) => {
            connection.unread.drain(..size);
            connection.by = Some(now + INACTIVE);
            Step::Go(State::Ended)
        }
        Ok(None) => Step::Wait(State::Ended),
        Err(_) => Step::Close,
    }
}

/// A head, or a small body, has to be complete within this time.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// What an encoder may send before it hears whether its login is good.
const UNREAD_MAX: usize = 1 << 20;
const DAMAGED: &str = "The body is damaged.";
pub(super) const BUSY: &str = "Another encoder is sending to this channel.";
