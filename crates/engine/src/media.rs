//! What sessions tell the engine, and the beginning and end of media.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::Start;
use funnel_session::server::{Event, Input, Output, Play};
use funnel_session::{HResult, Selection};

use crate::engine::Engine;
use crate::outgoing::Way;
use crate::pacing::FastStart;
use crate::report::Report;
use crate::stations::Tuning;
use crate::viewer::{Exit, Flight, Media};

impl Engine {
    /// Does what a viewer's session says until it is idle; `is_of_player`: because its player said something.
    pub(crate) fn pump(&mut self, index: u32, now: Instant, is_of_player: bool) {
        loop {
            let Some(viewer) = self.viewers.get_mut(index as usize) else {
                return;
            };
            match viewer.session.poll_output() {
                Output::Send(message) => {
                    viewer.control.push(message, Way::Stream, &mut self.buffers);
                }
                Output::Datagram(bytes) => {
                    if viewer.udp.is_some() {
                        (viewer.control).push(bytes, Way::Datagram, &mut self.buffers);
                    }
                }
                Output::Event(Event::StopMedia) if !is_of_player => {
                    self.hold_sent(index); // the player was not done with it
                    self.end_run(index);
                }
                Output::Event(event) => self.on_event(index, event, now),
                Output::Idle { wake_at } => {
                    self.hot[index as usize].session_wake = wake_at.map(|(at, _)| at);
                    break;
                }
            }
        }
        let viewer = self.viewers.get(index as usize);
        if viewer.is_some_and(|viewer| viewer.control.waiting_bytes() > CONTROL_BYTES_MAX) {
            return self.end_hoarder(index);
        }
        self.queue(index);
    }

    fn on_event(&mut self, index: u32, event: Event, now: Instant) {
        match event {
            Event::Open(request) => self.on_open(index, request, now),
            Event::Transport(transport) => self.on_transport(index, transport, now),
            Event::Play(play) => self.on_play(index, &play, now),
            Event::Select(selection) => self.on_select(index, selection, now),
            Event::StopMedia => self.stop_media(index),
            Event::HandOver(hand_over) => {
                let exit = Exit::HandOver(Box::new(hand_over));
                self.viewers[index as usize].closing = Some((exit, now + FLUSH_MAX));
            }
            Event::Order { connection, order } => self.pass_on(now, connection, order),
            Event::ClientLog(log) => {
                let viewer = &self.viewers[index as usize];
                let channel = viewer.open.as_ref().map(|open| {
                    self.stations[open.station as usize]
                        .served
                        .channel
                        .name()
                        .to_owned()
                });
                let report = Report::ClientLog {
                    peer: viewer.peer,
                    channel: channel.unwrap_or_default(),
                    log,
                };
                self.reports.push(report);
            }
            Event::Close(hr) => {
                self.stop_media(index);
                self.viewers[index as usize].closing = Some((Exit::Close(hr), now + FLUSH_MAX));
            }
        }
    }

    fn on_play(&mut self, index: u32, play: &Play, now: Instant) {
        self.stop_media(index);
        let viewer = &mut self.viewers[index as usize];
        let Some(open) = &viewer.open else { return };
        let station = &self.stations[open.station as usize];
        let over_udp = viewer.udp.is_some();
        let Tuning { train, retain, .. } = station.served.tuning;
        let (accel, bit_rate) = (&play.accel, open.epoch.bit_rate);
        let fast_start = if over_udp {
            FastStart::over_udp(accel, bit_rate, train, retain, now)
        } else {
            FastStart::new(accel, bit_rate, train, now)
        };
        self.hot[index as usize].play(play, over_udp, now);
        viewer.media = Some(Box::new(Media::new(play, fast_start)));
        station.served.channel.viewer_started();
        self.begin_datagrams(index, play, now);
        if play.framing.is_http() {
            self.expect_orders(index);
        }
    }

    /// A stream switch while playing: the other log takes over at its next clean point (protocol page §5.15).
    fn on_select(&mut self, index: u32, selection: Selection, now: Instant) {
        let hot = &mut self.hot[index as usize];
        let viewer = &mut self.viewers[index as usize];
        let (Some(open), Some(media)) = (&viewer.open, &mut viewer.media) else {
            return;
        };
        media.wanted.selection = selection;
        let Some(feed) = hot.feed else { return };
        let (station, epoch) = (open.station, Arc::clone(&open.epoch));
        let tuning = self.stations[station as usize].served.tuning;
        let target = self.feeds.acquire(
            station,
            &epoch,
            media.wanted,
            &tuning,
            self.config.selections_max,
            now,
        );
        let Some(target) = target else { return };
        if let Some(before) = media.switch_to.take() {
            self.feeds.release(before);
        }
        if target == feed {
            self.feeds.release(target);
        } else if selection.within(epoch.streams) == Selection::NONE {
            // Nothing wanted: no clean point will ever come. The old streams end here; the cursor walks on over the
            // numbers, so that streams turned on again go on from there and nothing comes twice.
            viewer.note_train(hot);
            hot.feed = Some(target);
            hot.run.joined_at = None;
            self.feeds.release(feed);
        } else {
            media.switch_to = Some(target);
        }
    }

    /// Ends a run, and everything about it.
    pub(crate) fn stop_media(&mut self, index: u32) {
        self.forget_sent(index);
        self.end_run(index);
    }

    fn end_run(&mut self, index: u32) {
        let viewer = &mut self.viewers[index as usize];
        let Some(media) = viewer.media.take() else {
            return;
        };
        let hot = &mut self.hot[index as usize];
        viewer.note_train(hot);
        if let Some(train) = &mut viewer.train {
            train.stopped = true;
        }
        for feed in hot.feed.take().into_iter().chain(media.switch_to) {
            self.feeds.release(feed);
        }
        if let Some(open) = &viewer.open {
            self.stations[open.station as usize]
                .served
                .channel
                .viewer_left();
        }
    }

    /// A playing viewer's log: finds one for who has none, ends the session of who has come to the end of it.
    pub(crate) fn attend_media(&mut self, index: u32, now: Instant) {
        let Some(media) = self
            .viewers
            .get(index as usize)
            .and_then(|viewer| viewer.media.as_deref())
        else {
            return;
        };
        let hot = &self.hot[index as usize];
        if media.drained {
            self.come_to_the_end(index, now);
        } else if hot.feed.is_none() && hot.next_visit <= now {
            self.attach(index, now);
        }
    }

    fn come_to_the_end(&mut self, index: u32, now: Instant) {
        let viewer = &mut self.viewers[index as usize];
        if viewer.has_urgent() || self.hot[index as usize].flight != Flight::None {
            return; // the last packet is not out yet: the kernel's answer brings the viewer back
        }
        let Some(station) = viewer.open.as_ref().map(|open| open.station) else {
            return;
        };
        self.stations[station as usize].look();
        if self.stations[station as usize].is_lost() || !self.follow_header(index, now) {
            self.feed(index, now, Input::MediaDrained);
            // The session may not be streaming any more (a StreamChange pending): there is nothing to send either way.
            if self.viewers.contains(index as usize) {
                self.hold_sent(index);
                self.end_run(index);
            }
        }
    }

    /// Gives a playing viewer the log its channel writes now.
    fn attach(&mut self, index: u32, now: Instant) {
        let viewer = &mut self.viewers[index as usize];
        let Some(open) = &mut viewer.open else { return };
        let station = open.station;
        self.stations[station as usize].look();
        let Some(epoch) = self.stations[station as usize].snapshot.epoch.clone() else {
            return;
        };
        if epoch.header != open.epoch.header {
            self.follow_header(index, now);
            return;
        }
        open.epoch = Arc::clone(&epoch);
        let channel = &self.stations[station as usize].served.channel;
        let Some(media) = &mut viewer.media else {
            return;
        };
        if epoch.log.ended() {
            // A show that starts with its viewers is being rewound for this one; any other is over.
            media.drained = channel.options().start != Start::FirstViewer;
            self.hot[index as usize].next_visit = now + REWIND_POLL;
            media.rewind_polls += 1;
            if media.rewind_polls >= REWIND_POLLS_MAX && !media.drained {
                // Its play may have been counted for the show that was just ending: play again.
                media.rewind_polls = 0;
                channel.viewer_left();
                channel.viewer_started();
            }
            if media.drained {
                self.queue(index);
            }
            return;
        }
        let tuning = self.stations[station as usize].served.tuning;
        let wanted = media.wanted;
        let feed = self.feeds.acquire(
            station,
            &epoch,
            wanted,
            &tuning,
            self.config.selections_max,
            now,
        );
        match feed {
            Some(feed) => self.hot[index as usize].feed = Some(feed),
            None => self.feed(index, now, Input::Kick(HResult::NS_E_SERVER_UNAVAILABLE)),
        }
    }
}

/// How long the last messages may take before the connection is closed all the same.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Messages that may wait for one socket: a header of 64 KiB, asked for twice, and more than enough answers.
const CONTROL_BYTES_MAX: usize = 256 << 10;
/// How often a viewer looks whether its show was rewound, besides being woken for it.
const REWIND_POLL: Duration = Duration::from_millis(100);
/// Looks in vain after which its demand is made known once more.
const REWIND_POLLS_MAX: u8 = 10;
