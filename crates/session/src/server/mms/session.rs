//! The state machine of one player: states, timers, inputs that do not come from the player.
//!
//! ```text
//!            Connect        ConnectFunnel      OpenFile        Opened(Ok)      ReadBlock      StartPlaying
//!     New ────────► Connected ────────► Funnel ───────► Opening ───────► Open ───────► Ready ───────► Streaming
//!                       ▲                  │               │ Opened(Err)    ▲            ▲  StopPlaying  │
//!                       └── Connect from   └─ ReadBlock ─► ▼                └─ (again) ──┘◄──────────────┤
//!                           any state                   Refused ─► Closed    end of anything served      ▼
//!                                                                            Open/Ready/Streaming ─► Ending ─► Closed
//! ```
//!
//! The answers to the player's requests are in `answers.rs`, the table of what may come when in `order.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_asf::Selection;
use funnel_wire::codec::Reader;
use funnel_wire::mms::{
    ASF_PACKET_BYTES_MAX, Frame, Framer, HResult, Incarnation, Mid, ReportOpenFile, ReportRedirect,
    Traffic, ViewerMessage, attributes,
};

use super::datagrams::{Allowance, Udp};
use super::order::{Stage, Verdict, verdict};
use super::refusal::{self, Refusal};
use super::{Input, Opened, Outbox, Output, Player, Redirect, SessionError, Settings, Timer};

/// One player's session. See the module for the contract.
///
/// A few hundred bytes; heap only while a message is incomplete, an answer is awaited or outputs are queued.
#[derive(Debug)]
pub struct Session {
    pub(super) settings: Arc<Settings>,
    pub(super) outbox: Outbox,
    pub(super) state: State,
    framer: Framer,
    /// Requests that came while the channel was looked up.
    pub(super) deferred: Vec<Deferred>,
    /// Source of client id and packet-pair bytes.
    pub(super) nonce: u64,
    /// Deadline for reaching READY.
    pub(super) handshake_until: Instant,
    /// It has opened a channel since it connected or was READY last.
    pub(super) opened_before: bool,
    /// Last byte from the player: proof of life.
    pub(super) heard_at: Instant,
    /// Last whole message from the player: proof of interest.
    pub(super) asked_at: Instant,
    pub(super) agent: Box<str>,
    pub(super) product: Box<str>,
    pub(super) host: Option<Box<str>>,
    pub(super) player: Player,
    /// Header and media go over UDP.
    pub(super) udp: Option<Box<Udp>>,
    pub(super) allowance: Allowance,
    /// Requests out of order so far.
    strikes: u8,
}

/// What is known in each state, and only there.
#[derive(Debug)]
pub(super) enum State {
    New,
    Connected,
    Funnel,
    Opening {
        incarnation: Incarnation,
    },
    Refused {
        refusal: Refusal,
        close_at: Instant,
    },
    Serving(Serving),
    Ending {
        hr: HResult,
        /// When to say EndOfStream, and of which run, if it was not said yet.
        unsaid: Option<(Instant, Incarnation)>,
        close_at: Instant,
    },
    Closed,
}

/// An open channel.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) content: Opened,
    pub(super) selection: Selection,
    /// The channel's header since it changed behind the back of a player that does not play.
    pub(super) changed: Option<Box<Opened>>,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Open,
    Ready,
    Streaming(Run),
}

/// A run of media.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) incarnation: Incarnation,
    /// When the last Ping went out, or the run began.
    pub(super) pinged_at: Instant,
    pub(super) unanswered_pings: u8,
    /// When the transport last took media.
    pub(super) progress_at: Instant,
    /// No media flows until then: before a StreamChange over UDP, or after one until StartPlaying comes.
    pub(super) hold: Option<(Instant, Timer)>,
}

#[derive(Debug)]
pub(super) struct Deferred {
    mid: Mid,
    body: Box<[u8]>,
}

impl Session {
    /// By which resend requests name the file: the low 16 bits of its id (§4.4).
    pub(crate) const SOURCE_ID: u16 = OPEN_FILE_ID as u16;

    /// A connection was accepted. `random` must be unpredictable: it becomes the client id in resend requests.
    pub fn new(settings: Arc<Settings>, random: u64, now: Instant) -> Self {
        let handshake_until = now + settings.handshake;
        Self {
            settings,
            outbox: Outbox::new(),
            state: State::New,
            framer: Framer::new(Traffic::Messages),
            deferred: Vec::new(),
            nonce: random,
            handshake_until,
            opened_before: false,
            heard_at: now,
            asked_at: now,
            agent: Box::default(),
            product: Box::default(),
            host: None,
            player: Player::Unknown,
            udp: None,
            allowance: Allowance::default(),
            strikes: 0,
        }
    }

    /// What it was made with and when it has to be done with connecting, if the player has said nothing yet.
    pub(in crate::server) fn untouched(&self) -> Option<(&Arc<Settings>, u64, Instant)> {
        let is_new = matches!(self.state, State::New) && !self.framer.is_mid_unit();
        is_new.then_some((&self.settings, self.nonce, self.handshake_until))
    }

    /// Takes one input; poll the outputs afterwards. On an error the connection must be closed at once.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), SessionError> {
        match input {
            Input::Received(bytes) => return self.on_received(now, bytes),
            Input::Opened(answer) => return self.on_opened(now, answer),
            Input::Redirected(redirect) => self.on_redirected(now, &redirect),
            Input::Order(_) => {} // players over MMS say everything on their one connection
            Input::MediaDrained => self.on_media_drained(now),
            Input::SourceLost(hr) | Input::Kick(hr) => self.end(now, Refusal::Channel(hr)),
            Input::HeaderChanged(content) => self.on_header_changed(now, content),
            Input::Shutdown => self.on_shutdown(now),
            Input::Timeout => self.on_timeout(now),
        }
        Ok(())
    }

    /// What to do next; call until [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output<'_> {
        let wake_at = self.wake_at();
        self.outbox.poll().unwrap_or(Output::Idle { wake_at })
    }

    /// The transport took media at `at`: the player lives, even if it answers no Ping. May be told late, but before the
    /// next [`Input::Timeout`]. Of datagrams it proves nothing: they leave whether somebody receives them or not.
    pub fn note_progress(&mut self, at: Instant) {
        if let State::Serving(Serving {
            phase: Phase::Streaming(run),
            ..
        }) = &mut self.state
            && self.udp.is_none()
        {
            run.progress_at = run.progress_at.max(at);
        }
    }

    /// The id by which the player's resend requests name this session (§4.4).
    pub fn client_id(&self) -> u32 {
        self.nonce as u32 // the low half stays the same for the whole session
    }

    /// The player's name for logs: printable ASCII, short; empty until it said who it is.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Who the player seems to be.
    pub fn player(&self) -> Player {
        self.player
    }

    /// Name of the state for logs.
    pub fn state_name(&self) -> &'static str {
        self.stage().name()
    }

    pub(super) fn stage(&self) -> Stage {
        match &self.state {
            State::New => Stage::New,
            State::Connected => Stage::Connected,
            State::Funnel => Stage::Funnel,
            State::Opening { .. } => Stage::Opening,
            State::Refused { .. } => Stage::Refused,
            State::Serving(serving) => match serving.phase {
                Phase::Open => Stage::Open,
                Phase::Ready => Stage::Ready,
                Phase::Streaming(_) => Stage::Streaming,
            },
            State::Ending { .. } => Stage::Ending,
            State::Closed => Stage::Closed,
        }
    }

    fn on_received(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        if bytes.is_empty() || matches!(self.state, State::Closed) {
            return Ok(());
        }
        self.heard_at = now;
        if let State::Serving(Serving {
            phase: Phase::Streaming(run),
            ..
        }) = &mut self.state
        {
            run.unanswered_pings = 0;
        }
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(Traffic::Messages));
        let result = self.read_frames(now, &mut framer, bytes);
        framer.release();
        self.framer = framer;
        result
    }

    fn read_frames(
        &mut self,
        now: Instant,
        framer: &mut Framer,
        mut input: &[u8],
    ) -> Result<(), SessionError> {
        loop {
            match framer.next(&mut input) {
                Ok(Some(Frame::Message(frame))) => {
                    for (mid, body) in frame.messages() {
                        self.on_message(now, mid, body)?;
                    }
                }
                Ok(Some(Frame::Data { .. })) | Ok(None) => return Ok(()), // Traffic::Messages has no Data
                Err(_) if matches!(self.state, State::Closed) => return Ok(()),
                Err(frame) => {
                    return Err(SessionError::Frame {
                        state: self.state_name(),
                        frame,
                    });
                }
            }
        }
    }

    fn on_message(&mut self, now: Instant, mid: Mid, body: Reader<'_>) -> Result<(), SessionError> {
        self.asked_at = now;
        match verdict(self.stage(), mid) {
            Verdict::Ignore => {}
            Verdict::Defer => self.defer(mid, body.rest())?,
            Verdict::Serve if mid == Mid::CLOSE_FILE => self.close(HResult::S_OK),
            Verdict::Serve => match ViewerMessage::decode(mid, body) {
                Ok(message) => self.serve(now, message),
                Err(_) => self.strike(now, mid, Incarnation(0), Refusal::Damaged),
            },
            verdict => {
                let incarnation = ViewerMessage::decode(mid, body)
                    .map_or(Incarnation(0), |m| refusal::incarnation(&m));
                match verdict {
                    Verdict::Gone => self.refuse(mid, incarnation, self.reason_of_end()),
                    _ => self.strike(now, mid, incarnation, Refusal::OutOfOrder),
                }
            }
        }
        self.check_flood()
    }

    fn defer(&mut self, mid: Mid, body: &[u8]) -> Result<(), SessionError> {
        let bytes: usize = self.deferred.iter().map(|request| request.body.len()).sum();
        if self.deferred.len() >= DEFERRED_MAX || bytes + body.len() > DEFERRED_BYTES_MAX {
            return Err(SessionError::Flood {
                state: self.state_name(),
                requests: self.deferred.len(),
            });
        }
        self.deferred.push(Deferred {
            mid,
            body: body.into(),
        });
        Ok(())
    }

    fn check_flood(&self) -> Result<(), SessionError> {
        match self.outbox.len() {
            0..=OUTPUTS_MAX => Ok(()),
            requests => Err(SessionError::Flood {
                state: self.state_name(),
                requests,
            }),
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(&mut self, mid: Mid, incarnation: Incarnation, refusal: Refusal) {
        if let Some(report) =
            refusal::report(mid, incarnation, refusal, &self.settings.server_version)
        {
            self.outbox.message(report);
        }
    }

    /// Answers with an error and counts it; three are too many (§7.1).
    pub(super) fn strike(
        &mut self,
        now: Instant,
        mid: Mid,
        incarnation: Incarnation,
        refusal: Refusal,
    ) {
        self.refuse(mid, incarnation, refusal);
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX {
            match self.stage() {
                Stage::Open | Stage::Ready | Stage::Streaming => self.end(now, refusal),
                Stage::Ending => {}
                _ => self.close(refusal.into()),
            }
        }
    }

    /// Why later requests are refused, once the end is certain.
    fn reason_of_end(&self) -> Refusal {
        match &self.state {
            State::Refused { refusal, .. } => *refusal,
            State::Ending { hr, .. } if hr.is_error() => Refusal::Channel(*hr),
            _ => Refusal::Channel(HResult::NS_E_STREAM_END),
        }
    }

    fn on_opened(
        &mut self,
        now: Instant,
        answer: Result<Opened, HResult>,
    ) -> Result<(), SessionError> {
        let State::Opening { incarnation } = self.state else {
            return Ok(());
        };
        let answer = answer
            .map_err(Refusal::Channel)
            .and_then(|content| check_content(&content).map(|()| content));
        match answer {
            Ok(content) => {
                self.outbox.message(ReportOpenFile {
                    play_incarnation: incarnation,
                    open_file_id: OPEN_FILE_ID,
                    file_attributes: attributes::BROADCAST,
                    packet_bytes: content.packet_bytes,
                    bit_rate: content.bit_rate,
                    header_bytes: u32::try_from(content.header.len()).unwrap_or(u32::MAX),
                    ..ReportOpenFile::default()
                });
                // The wait for the source was not the player's; a player that opens again and again gets no further time.
                if !std::mem::replace(&mut self.opened_before, true) {
                    self.handshake_until = now + self.settings.handshake;
                }
                let selection = Selection::ALL;
                self.state = State::Serving(Serving {
                    content,
                    selection,
                    changed: None,
                    phase: Phase::Open,
                });
            }
            Err(refusal) => {
                self.refuse(Mid::OPEN_FILE, incarnation, refusal);
                self.state = State::Refused {
                    refusal,
                    close_at: now + REFUSED_LINGER,
                };
            }
        }
        self.serve_deferred(now)
    }

    /// §5.10: another address instead of the channel; the player goes there and closes.
    fn on_redirected(&mut self, now: Instant, redirect: &Redirect) {
        if !matches!(self.state, State::Opening { .. }) {
            return;
        }
        self.outbox.message(ReportRedirect {
            hr: HResult::S_OK,
            redirect_type: TO_ANOTHER_URL,
            location: redirect.mms.clone(),
        });
        self.deferred.clear();
        self.state = State::Refused {
            refusal: Refusal::Channel(HResult::NS_E_FILE_NOT_FOUND),
            close_at: now + REFUSED_LINGER,
        };
    }

    fn serve_deferred(&mut self, now: Instant) -> Result<(), SessionError> {
        for request in std::mem::take(&mut self.deferred) {
            self.on_message(now, request.mid, Reader::new(&request.body, 8))?;
        }
        Ok(())
    }
}

impl Run {
    pub(super) fn new(incarnation: Incarnation, now: Instant) -> Self {
        Self {
            incarnation,
            pinged_at: now,
            unanswered_pings: 0,
            progress_at: now,
            hold: None,
        }
    }

    /// Is this the pause around a StreamChange?
    pub(super) fn is_held(&self) -> bool {
        self.hold.is_some()
    }
}

pub(super) fn check_content(content: &Opened) -> Result<(), Refusal> {
    let header_fits = (1..=HEADER_BYTES_MAX).contains(&content.header.len());
    let packet_fits = (1..=ASF_PACKET_BYTES_MAX).contains(&content.packet_bytes);
    if header_fits && packet_fits {
        Ok(())
    } else {
        Err(Refusal::Content)
    }
}

/// The only value every player understands (§5.9).
pub(super) const OPEN_FILE_ID: u32 = 1;
/// Tag of header and media after a StreamChange (§3).
pub(super) const STREAM_CHANGE: Incarnation = Incarnation(0xFF);
/// Time between an error answer and the close (§5.9).
pub(super) const REFUSED_LINGER: Duration = Duration::from_secs(1);
/// Requests out of order before the session ends (§7.1).
const STRIKES_MAX: u8 = 3;
/// Largest ASF header: what `Opened` promises.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Requests kept while a channel is looked up; real players send none.
const DEFERRED_MAX: usize = 16;
/// Bytes of them.
const DEFERRED_BYTES_MAX: usize = 16 * 1024;
/// Outputs queued by one input; a pipelining player causes about a dozen.
const OUTPUTS_MAX: usize = 32;

/// `RedirectType` of ReportRedirect (§5.10).
const TO_ANOTHER_URL: u16 = 1;
