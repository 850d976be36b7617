//! What happens to media that flows: requests beside it, orders from other connections, other headers, the end (§9.2, §11).

use std::time::{Duration, Instant};

use funnel_asf::Selection;
use funnel_wire::mms::HResult;
use funnel_wire::wmsp::{Method, PacketKind, StatusCode, encode_reason};

use super::answers::keep_alive_answer;
use super::heads::Answer;
use super::request::{Request, Wish};
use super::session::{Session, State};
use super::stream::{Phase, Stream, Viewer, choose};
use super::{Accel, Event, Opened, Order};

impl Session {
    /// A request on the connection whose media flows. Its answer waits for the end of that, unless it changes what flows.
    pub(super) fn serve_beside(&mut self, now: Instant, request: &Request, body: &[u8]) {
        if request.wish == Wish::Stop {
            return self.stop(now, request);
        }
        let Some(mut stream) = self.take_stream() else {
            return;
        };
        if let Some(viewer) = &mut stream.viewer {
            let answer = match request.wish {
                Wish::SelectStream | Wish::PlayNextEntry => {
                    self.select_beside(now, viewer, request)
                }
                Wish::KeepAlive => Some(keep_alive_answer(request)),
                Wish::Log | Wish::RemoteEvent | Wish::ContentInfo => Some(self.heed(request, body)),
                Wish::Refuse(status) => Some(Answer::of(status)),
                _ => Some(Answer::of(StatusCode::BAD_REQUEST)),
            };
            if let Some(mut answer) = answer.filter(|_| viewer.is_chunked) {
                answer.client = Some(viewer.client);
                let keeps = viewer.keeps_connection;
                self.encode(request, &answer, keeps, &mut viewer.pending);
            }
            stream.deaf |= viewer.pending.len() > PENDING_BYTES_MAX;
        }
        self.state = State::Streaming(stream);
    }

    /// What the player asked on another connection.
    pub(super) fn on_order(&mut self, now: Instant, order: Order) {
        match (&mut self.state, order) {
            (State::Streaming(stream), Order::Select(selection)) => {
                if let Some(viewer) = &mut stream.viewer {
                    viewer.select(now, selection, &mut self.outbox);
                }
            }
            (State::Streaming(_), Order::Stop) => self.end_stream(now, HResult::S_OK, false),
            _ => {}
        }
    }

    /// The channel has another header. Who cannot go on may come again: some do after `$E(1)` (§11).
    pub(super) fn on_header_changed(&mut self, now: Instant, content: Opened) {
        let State::Streaming(stream) = &mut self.state else {
            return; // the next Describe or Play sees it
        };
        match &mut stream.viewer {
            Some(viewer) if viewer.takes_change && !content.header.is_empty() => {
                if matches!(viewer.phase, Phase::Flowing) {
                    self.outbox.event(Event::StopMedia);
                    say(&mut self.outbox, viewer, |packets| {
                        encode_reason(PacketKind::END, HResult::S_FALSE, packets);
                    });
                }
                let choice_is_old = viewer.switched_at.map_or(now, |at| at + CHOICE_STANDS);
                let at = choice_is_old.max(now + viewer.lag);
                let content = Box::new(content);
                viewer.phase = Phase::Leaving { at, content };
                self.on_change_due(now);
            }
            _ => self.end_stream(now, HResult::S_FALSE, false),
        }
    }

    /// The time for the next step of a change may have come.
    pub(super) fn on_change_due(&mut self, now: Instant) {
        let Some(mut stream) = self.take_stream() else {
            return;
        };
        if let Some(viewer) = &mut stream.viewer
            && stream_is_due(viewer, now)
        {
            match std::mem::replace(&mut viewer.phase, Phase::Flowing) {
                Phase::Leaving { content, .. } => {
                    let selection = match viewer.predicts {
                        true => Selection::ALL,
                        false => Selection::NONE,
                    };
                    viewer.enter(content.streams, selection);
                    let header =
                        self.header_packets(viewer.tells_metadata, viewer.entry, &content.header);
                    say(&mut self.outbox, viewer, |packets| {
                        encode_reason(PacketKind::CHANGE, HResult::S_OK, packets);
                        packets.extend_from_slice(&header);
                    });
                    let until = now + self.settings.stream_change_hold;
                    viewer.phase = Phase::Choosing { until };
                    if viewer.predicts {
                        viewer.flow(Accel::default(), &mut self.outbox);
                    }
                }
                Phase::Choosing { .. } => {
                    viewer.place.selection = Selection::ALL;
                    viewer.flow(Accel::default(), &mut self.outbox);
                }
                Phase::Flowing => {}
            }
        }
        self.state = State::Streaming(stream);
    }

    /// No more media: `$E`, and the close unless the connection may stay. `is_over`: all of it was sent.
    pub(super) fn end_stream(&mut self, now: Instant, hr: HResult, is_over: bool) {
        let Some(mut stream) = self.take_stream() else {
            return;
        };
        if stream.viewer.as_ref().is_none_or(Viewer::flows) {
            self.outbox.event(Event::StopMedia);
        }
        let mut stays = false;
        if let Some(viewer) = &mut stream.viewer {
            // Old players take any reason but 0 as a call to come again at once (§6.5).
            let reason = match hr.is_error() && !viewer.takes_change {
                true => HResult::S_OK,
                false => hr,
            };
            let (mut packet, mut out) = (Vec::new(), Vec::new());
            encode_reason(PacketKind::END, reason, &mut packet);
            viewer.wrap(&packet, &mut out);
            viewer.unwrap(&mut out);
            self.outbox.send(&out);
            stays = viewer.is_chunked && viewer.keeps_connection && is_over && !stream.deaf;
        }
        if stays {
            self.await_request(now);
        } else {
            self.close(if hr.is_error() { hr } else { HResult::S_OK });
        }
    }

    /// The player wants no more, on the connection itself.
    fn stop(&mut self, now: Instant, request: &Request) {
        let Some(mut stream) = self.take_stream() else {
            return;
        };
        let Some(viewer) = &mut stream.viewer else {
            return;
        };
        if viewer.flows() {
            self.outbox.event(Event::StopMedia);
        }
        if !viewer.is_chunked {
            return self.close(HResult::S_OK);
        }
        let mut out = Vec::new();
        viewer.unwrap(&mut out);
        self.outbox.send(&out);
        let answer = Answer {
            client: Some(viewer.client),
            ..Answer::default()
        };
        drop(stream); // its id is free for another Play
        self.answer(now, request, answer);
    }

    /// Other streams, asked for on the connection itself: with GET in a new answer that goes on with the media (§5.2).
    fn select_beside(
        &mut self,
        now: Instant,
        viewer: &mut Viewer,
        request: &Request,
    ) -> Option<Answer> {
        let is_next = matches!(viewer.phase, Phase::Choosing { .. });
        let mut selection = viewer.place.selection;
        if request.wish == Wish::PlayNextEntry && !is_next
            || !choose(request, viewer.place.streams, &mut selection)
        {
            return Some(Answer::of(StatusCode::BAD_REQUEST));
        }
        let goes_on = viewer.is_chunked && request.head.method == Method::GET;
        if goes_on {
            let mut out = Vec::new();
            viewer.unwrap(&mut out);
            let answer = Answer {
                client: Some(viewer.client),
                tokens: self.tokens(request, viewer.entry),
                ..Answer::default()
            };
            self.begin_media(request, &answer, true, &mut out);
            self.outbox.send(&out);
        }
        viewer.select(now, selection, &mut self.outbox);
        (!goes_on).then(Answer::default)
    }

    fn take_stream(&mut self) -> Option<Box<Stream>> {
        if !matches!(self.state, State::Streaming(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Streaming(stream) => Some(stream),
            _ => None,
        }
    }
}

/// Sends packets between media.
fn say(outbox: &mut super::Outbox, viewer: &Viewer, write: impl FnOnce(&mut Vec<u8>)) {
    let (mut packets, mut out) = (Vec::new(), Vec::new());
    write(&mut packets);
    viewer.wrap(&packets, &mut out);
    outbox.send(&out);
}

fn stream_is_due(viewer: &Viewer, now: Instant) -> bool {
    viewer.change_due().is_some_and(|at| at <= now)
}

/// A choice of streams stands so long before another header takes it back (§9.3).
const CHOICE_STANDS: Duration = Duration::from_secs(8);
/// Answers that may wait for the end of the media.
const PENDING_BYTES_MAX: usize = 8 * 1024;
