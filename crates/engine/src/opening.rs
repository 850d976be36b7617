//! How viewers come to channels: looked up, waited for, admitted, refused, left; and what a channel's changes mean for them.

use std::sync::Arc;
use std::time::Instant;

use funnel_session::HResult;
use funnel_session::server::{Input, OpenRequest};

use crate::engine::{Engine, Found};
use crate::report::Report;
use crate::stations::{Answer, Served, Station};
use crate::viewer::{Open, Opening};

impl Engine {
    pub(crate) fn look_at_stations(&mut self, now: Instant) {
        for station in 0..self.stations.len() {
            if self.stations[station].members > 0 && self.stations[station].look() {
                self.on_station_change(u32::try_from(station).unwrap_or(u32::MAX), now);
            }
        }
    }

    /// A channel changed: answers who waits for it, tells who does not play of a new header, wakes who waits for media.
    fn on_station_change(&mut self, station: u32, now: Instant) {
        for index in self.indices() {
            let viewer = &self.viewers[index as usize];
            if viewer
                .opening
                .as_ref()
                .is_some_and(|opening| opening.station == station)
            {
                self.answer(index, now);
            } else if viewer
                .open
                .as_ref()
                .is_some_and(|open| open.station == station)
            {
                if viewer.media.is_none() {
                    self.follow_header(index, now);
                }
                self.queue(index);
            }
        }
    }

    /// Tells a viewer's session when its channel has got another header than the player has. Whether it did.
    pub(crate) fn follow_header(&mut self, index: u32, now: Instant) -> bool {
        let viewer = &mut self.viewers[index as usize];
        let Some(open) = viewer.open.as_mut() else {
            return false;
        };
        let station = &self.stations[open.station as usize];
        let (Some(epoch), Some(opened)) = (&station.snapshot.epoch, station.opened()) else {
            return false;
        };
        if epoch.number == open.epoch.number {
            return false;
        }
        let changed = epoch.header != open.epoch.header;
        open.epoch = Arc::clone(epoch);
        if changed {
            self.feed(index, now, Input::HeaderChanged(opened));
        }
        changed
    }

    pub(crate) fn on_open(&mut self, index: u32, request: OpenRequest, now: Instant) {
        self.leave_channel(index);
        let found = request
            .names
            .iter()
            .find_map(|name| (self.config.lookup)(name));
        let served = match found {
            _ if self.draining => {
                return self.refuse(index, request.raw, HResult::NS_E_NO_NEW_CONNECTIONS, now);
            }
            None => return self.refuse(index, request.raw, HResult::NS_E_FILE_NOT_FOUND, now),
            Some(Found::Elsewhere(redirect)) => {
                return self.feed(index, now, Input::Redirected(redirect));
            }
            Some(Found::Channel(served)) => served,
        };
        let until = now + served.tuning.open_wait;
        let station = self.station(served);
        self.viewers[index as usize].opening = Some(Box::new(Opening {
            station,
            until,
            wanted: request.raw,
        }));
        self.stations[station as usize].members += 1;
        self.stations[station as usize].served.channel.ask_header();
        self.stations[station as usize].look();
        self.answer(index, now);
    }

    /// Answers a viewer who waits for a channel, if the channel is there.
    pub(crate) fn answer(&mut self, index: u32, now: Instant) {
        let viewer = &mut self.viewers[index as usize];
        let Some(opening) = &viewer.opening else {
            return;
        };
        let station = &self.stations[opening.station as usize];
        match station.answer() {
            Answer::Wait if now < opening.until => self.sleep(index),
            Answer::Wait => self.refuse_opening(index, HResult::NS_E_PUBLISHING_POINT_STOPPED, now),
            Answer::Refuse(hr) => self.refuse_opening(index, hr, now),
            Answer::Open(opened) => match self
                .config
                .admission
                .admit(viewer.peer.ip(), opened.bit_rate)
            {
                Err(hr) => self.refuse_opening(index, hr, now),
                Ok(permit) => {
                    let Some(epoch) = station.snapshot.epoch.clone() else {
                        return;
                    };
                    viewer.open = Some(Box::new(Open {
                        station: opening.station,
                        epoch,
                        _permit: permit,
                    }));
                    viewer.opening = None;
                    self.reports.push(Report::Opened {
                        peer: viewer.peer,
                        agent: viewer.session.agent().to_owned(),
                        channel: station.served.channel.name().to_owned(),
                    });
                    self.feed(index, now, Input::Opened(Ok(opened)));
                }
            },
        }
    }

    fn refuse_opening(&mut self, index: u32, hr: HResult, now: Instant) {
        if let Some(opening) = self.viewers[index as usize].opening.take() {
            self.stations[opening.station as usize].members -= 1;
            self.refuse(index, opening.wanted, hr, now);
        }
    }

    fn refuse(&mut self, index: u32, wanted: String, hr: HResult, now: Instant) {
        let viewer = &self.viewers[index as usize];
        self.counters.refused += 1;
        self.reports.push(Report::Refused {
            peer: viewer.peer,
            agent: viewer.session.agent().to_owned(),
            wanted,
            hr,
        });
        self.feed(index, now, Input::Opened(Err(hr)));
    }

    fn station(&mut self, served: Served) -> u32 {
        let known = self
            .stations
            .iter()
            .position(|station| Arc::ptr_eq(&station.served.channel, &served.channel));
        let position = known.unwrap_or_else(|| {
            self.stations.push(Station::new(served));
            self.stations.len() - 1
        });
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    /// Lets the viewer's channel go, with everything that belongs to it.
    pub(crate) fn leave_channel(&mut self, index: u32) {
        self.stop_media(index);
        let viewer = &mut self.viewers[index as usize];
        let opening = viewer.opening.take().map(|opening| opening.station);
        let open = viewer.open.take().map(|open| open.station);
        for station in opening.into_iter().chain(open) {
            self.stations[station as usize].members -= 1;
        }
    }
}
