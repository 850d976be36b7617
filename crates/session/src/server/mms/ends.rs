//! How a session ends or changes its content: drained, lost, kicked, shut down, another header.
//!
//! EndOfStream goes before every close after OPEN, or VLC and ffmpeg spin for ever (§5.21); before OPEN the next request
//! gets the reason as its answer, because a mute close kills mplayer.

use std::time::{Duration, Instant};

use funnel_asf::Selection;
use funnel_wire::mms::{HResult, Incarnation, Mid, ReportEndOfStream, ReportStreamChange};

use super::fragments::Fragments;
use super::order::Stage;
use super::refusal::Refusal;
use super::session::{
    Phase, REFUSED_LINGER, Run, STREAM_CHANGE, Serving, Session, State, check_content,
};
use super::{Event, Opened, Timer};

impl Session {
    pub(super) fn on_media_drained(&mut self, now: Instant) {
        if let State::Serving(Serving {
            phase: Phase::Streaming(run),
            ..
        }) = &self.state
        {
            self.say_farewell(now, HResult::S_OK, run.incarnation);
        }
    }

    pub(super) fn on_shutdown(&mut self, now: Instant) {
        let refusal = match self.stage() {
            Stage::Streaming => Refusal::Channel(HResult::S_OK), // a normal end (§8.7)
            Stage::Open | Stage::Ready => Refusal::Channel(HResult::NS_E_SHUTDOWN),
            _ => Refusal::Channel(HResult::NS_E_NO_NEW_CONNECTIONS),
        };
        self.end(now, refusal);
    }

    /// Ends the session in the manner of its state: EndOfStream first, never a mute close after OPEN (§5.21, §8.7).
    pub(super) fn end(&mut self, now: Instant, refusal: Refusal) {
        let hr = HResult::from(refusal);
        match &self.state {
            State::New => self.close(hr),
            State::Connected | State::Funnel => {
                self.state = State::Refused {
                    refusal,
                    close_at: now + REFUSED_LINGER,
                };
            }
            State::Opening { incarnation } => {
                let incarnation = *incarnation;
                self.refuse(Mid::OPEN_FILE, incarnation, refusal);
                self.deferred = Vec::new();
                self.state = State::Refused {
                    refusal,
                    close_at: now + REFUSED_LINGER,
                };
            }
            State::Serving(serving) => {
                let play_incarnation = match serving.phase {
                    Phase::Streaming(run) => run.incarnation,
                    Phase::Open | Phase::Ready => Incarnation(0),
                };
                self.stop_media();
                self.cancel_header();
                self.say_farewell(now, hr, play_incarnation);
            }
            State::Refused { .. } | State::Ending { .. } | State::Closed => {}
        }
    }

    pub(super) fn on_header_changed(&mut self, now: Instant, content: Opened) {
        let takes_it = self.player.takes_stream_change() && check_content(&content).is_ok();
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        match serving.phase {
            Phase::Open | Phase::Ready => serving.changed = Some(Box::new(content)),
            Phase::Streaming(run) if takes_it => {
                self.stop_media();
                self.begin_change(now, run.incarnation, content);
            }
            Phase::Streaming(_) => self.end(now, Refusal::Channel(HResult::S_OK)),
        }
    }

    /// EndOfStream and the close after it. Over UDP the last datagram gets a head start (§4.3).
    fn say_farewell(&mut self, now: Instant, hr: HResult, play_incarnation: Incarnation) {
        let mut said_at = now;
        let mut unsaid = None;
        if self.udp.is_some() {
            said_at += FAREWELL_PAUSE;
            unsaid = Some((said_at, play_incarnation));
        } else {
            self.outbox.message(ReportEndOfStream {
                hr,
                play_incarnation,
            });
        }
        self.state = State::Ending {
            hr,
            unsaid,
            close_at: said_at + self.settings.grace,
        };
    }

    /// The head start is over: what may be said now.
    pub(super) fn on_farewell_due(&mut self, now: Instant) {
        match &mut self.state {
            State::Ending { hr, unsaid, .. } => {
                if let Some((_, play_incarnation)) = unsaid.take() {
                    let hr = *hr;
                    self.outbox.message(ReportEndOfStream {
                        hr,
                        play_incarnation,
                    });
                }
            }
            State::Serving(Serving {
                phase: Phase::Streaming(run),
                changed,
                ..
            }) => {
                run.hold = None;
                if let Some(content) = changed.take() {
                    let old = run.incarnation;
                    self.change_stream(now, old, *content);
                }
            }
            _ => {}
        }
    }

    /// The media has stopped; the player is to learn of another header. Over UDP the last datagram gets a head start.
    pub(super) fn begin_change(&mut self, now: Instant, old: Incarnation, content: Opened) {
        match &mut self.state {
            State::Serving(serving) if self.udp.is_some() => {
                serving.changed = Some(Box::new(content));
                serving.phase = Phase::Streaming(Run {
                    hold: Some((now + FAREWELL_PAUSE, Timer::Farewell)),
                    ..Run::new(old, now)
                });
            }
            _ => self.change_stream(now, old, content),
        }
    }

    /// §8.4: end of this entry, StreamChange; the media waits for StartPlaying. Over TCP the new header follows unasked,
    /// over UDP the player asks for it as after OpenFile.
    fn change_stream(&mut self, now: Instant, old: Incarnation, content: Opened) {
        self.outbox.message(ReportEndOfStream {
            hr: HResult::S_FALSE,
            play_incarnation: old,
        });
        self.outbox.message(ReportStreamChange {
            header_incarnation: STREAM_CHANGE,
            packet_bytes: content.packet_bytes,
            header_bytes: u32::try_from(content.header.len()).unwrap_or(u32::MAX),
            bit_rate: content.bit_rate,
            ..ReportStreamChange::default()
        });
        let phase = if self.udp.is_some() {
            self.asked_at = now;
            Phase::Ready
        } else {
            self.outbox.header(Fragments::new(
                content.header.clone(),
                content.packet_bytes,
                STREAM_CHANGE.tag(),
            ));
            let hold_until = now + self.settings.stream_change_hold;
            Phase::Streaming(Run {
                hold: Some((hold_until, Timer::StreamChange)),
                ..Run::new(STREAM_CHANGE, now)
            })
        };
        self.state = State::Serving(Serving {
            content,
            selection: Selection::ALL,
            changed: None,
            phase,
        });
    }

    /// Emits `StopMedia` if media may be flowing.
    pub(super) fn stop_media(&mut self) {
        if let State::Serving(Serving {
            phase: Phase::Streaming(run),
            ..
        }) = &self.state
            && !run.is_held()
        {
            self.outbox.event(Event::StopMedia);
        }
    }

    /// Nothing follows this.
    pub(super) fn close(&mut self, hr: HResult) {
        self.deferred = Vec::new();
        self.cancel_header();
        self.outbox.event(Event::Close(hr));
        self.state = State::Closed;
    }
}

/// Head start of the last datagram before EndOfStream or StreamChange goes over TCP (§4.3).
const FAREWELL_PAUSE: Duration = Duration::from_millis(300);
