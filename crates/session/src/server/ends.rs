//! How a session ends or changes its content: drained, lost, kicked, shut down, another header.
//!
//! EndOfStream goes before every close after OPEN, or VLC and ffmpeg spin for ever (§5.21); before OPEN the next request
//! gets the reason as its answer, because a mute close kills mplayer.

use std::time::Instant;

use funnel_asf::Selection;
use funnel_wire::mms::{HResult, Incarnation, Mid, ReportEndOfStream, ReportStreamChange};

use super::fragments::Fragments;
use super::http;
use super::order::Stage;
use super::refusal::Refusal;
use super::session::{
    Phase, REFUSED_LINGER, Run, STREAM_CHANGE, Serving, Session, State, check_content,
};
use super::{Event, Opened};

impl Session {
    pub(super) fn on_media_drained(&mut self, now: Instant) {
        if let State::Serving(Serving {
            phase: Phase::Streaming(run),
            ..
        }) = &self.state
        {
            let play_incarnation = run.incarnation;
            self.outbox.message(ReportEndOfStream {
                hr: HResult::S_OK,
                play_incarnation,
            });
            self.state = State::Ending {
                hr: HResult::S_OK,
                close_at: now + self.settings.grace,
            };
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
                self.outbox.cancel_header();
                self.outbox.message(ReportEndOfStream {
                    hr,
                    play_incarnation,
                });
                self.state = State::Ending {
                    hr,
                    close_at: now + self.settings.grace,
                };
            }
            State::Http(_) => self.answer_http(),
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
                self.change_stream(now, run.incarnation, content);
            }
            Phase::Streaming(_) => self.end(now, Refusal::Channel(HResult::S_OK)),
        }
    }

    /// §8.4: end of this entry, StreamChange, the new header; the media waits for StartPlaying.
    pub(super) fn change_stream(&mut self, now: Instant, old: Incarnation, content: Opened) {
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
        self.outbox.header(Fragments::new(
            content.header.clone(),
            content.packet_bytes,
            STREAM_CHANGE.tag(),
        ));
        let hold_until = Some(now + self.settings.stream_change_hold);
        let phase = Phase::Streaming(Run {
            hold_until,
            ..Run::new(STREAM_CHANGE, now)
        });
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
            && run.hold_until.is_none()
        {
            self.outbox.event(Event::StopMedia);
        }
    }

    /// Nothing follows this.
    pub(super) fn close(&mut self, hr: HResult) {
        self.deferred = Vec::new();
        self.outbox.cancel_header();
        self.outbox.event(Event::Close(hr));
        self.state = State::Closed;
    }

    pub(super) fn answer_http(&mut self) {
        self.outbox.text(&http::unavailable(&self.settings.product));
        self.close(HResult::NS_E_BAD_REQUEST);
    }
}
