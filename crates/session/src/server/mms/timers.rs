//! The deadlines of a session: one of each kind at most, reported with its reason (§7.3).

use std::time::Instant;

use funnel_wire::mms::HResult;

use super::order::Stage;
use super::refusal::Refusal;
use super::session::{Phase, Run, STREAM_CHANGE, Serving, Session, State};
use super::{Accel, Event, Framing, Play, Timer};

impl Session {
    pub(super) fn on_timeout(&mut self, now: Instant) {
        let Some((at, timer)) = self.wake_at() else {
            return;
        };
        if now < at {
            return;
        }
        match timer {
            Timer::Handshake
                if matches!(self.stage(), Stage::New | Stage::Connected | Stage::Funnel) =>
            {
                self.close(Refusal::Silence.into());
            }
            Timer::Handshake | Timer::Idle => self.end(now, Refusal::Silence),
            Timer::Close => {
                let hr = match &self.state {
                    State::Refused { refusal, .. } => (*refusal).into(),
                    State::Ending { hr, .. } => *hr,
                    _ => HResult::S_OK,
                };
                self.close(hr);
            }
            Timer::Ping => self.on_ping_due(now),
            Timer::StreamChange => self.on_hold_expired(now),
            Timer::Header => self.on_fragment_due(now),
            Timer::Farewell => self.on_farewell_due(now),
            Timer::Pipelining => {} // over HTTP only
        }
    }

    pub(super) fn on_ping_due(&mut self, now: Instant) {
        let patience = self.settings.ping * u32::from(UNANSWERED_PINGS_MAX);
        let State::Serving(Serving {
            phase: Phase::Streaming(run),
            ..
        }) = &mut self.state
        else {
            return;
        };
        let is_dead =
            run.unanswered_pings >= UNANSWERED_PINGS_MAX && now >= run.progress_at + patience;
        if is_dead {
            return self.end(now, Refusal::Silence);
        }
        run.unanswered_pings = run.unanswered_pings.saturating_add(1);
        run.pinged_at = now;
        self.outbox.ping();
    }

    pub(super) fn on_hold_expired(&mut self, now: Instant) {
        let keep_padding = self.player.keeps_padding();
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let framing = Framing::mms(STREAM_CHANGE.tag());
        serving.phase = Phase::Streaming(Run::new(STREAM_CHANGE, now));
        let play = Play {
            framing,
            selection: serving.selection,
            accel: Accel::default(),
            keep_padding,
        };
        self.outbox.event(Event::Play(play));
    }

    /// The next deadline; at most three compete in any state.
    pub(super) fn wake_at(&self) -> Option<(Instant, Timer)> {
        match &self.state {
            State::New | State::Connected | State::Funnel => {
                Some((self.handshake_until, Timer::Handshake))
            }
            State::Opening { .. } | State::Closed => None,
            State::Ending {
                unsaid: Some((at, _)),
                ..
            } => Some((*at, Timer::Farewell)),
            State::Refused { close_at, .. } | State::Ending { close_at, .. } => {
                Some((*close_at, Timer::Close))
            }
            State::Serving(serving) => {
                let usual = match serving.phase {
                    Phase::Open => (self.handshake_until, Timer::Handshake),
                    Phase::Ready => (self.asked_at + self.settings.idle, Timer::Idle),
                    Phase::Streaming(run) => {
                        let pinged_or_heard = self.heard_at.max(run.pinged_at);
                        let ping = (pinged_or_heard + self.settings.ping, Timer::Ping);
                        run.hold.filter(|hold| hold.0 <= ping.0).unwrap_or(ping)
                    }
                };
                let fragment = self.fragment_due().map(|at| (at, Timer::Header));
                Some(fragment.filter(|due| due.0 < usual.0).unwrap_or(usual))
            }
        }
    }
}

/// Unanswered Pings before silence counts as death (§7.3).
const UNANSWERED_PINGS_MAX: u8 = 3;
