//! What is recorded or probed: a viewer's connection, or a multicast, which becomes a connection to the announced unicast URL
//! when nothing arrives (`docs/protocol/msb-nsc.md` §10). Both tell the events of a client session.

use std::time::Duration;

use funnel_ingest::trust::Trust;
use funnel_session::client::{CloseReason, Event, Options, Stage, UdpStats};
use funnel_session::url::Url;

use crate::cli;
use crate::client::{Connection, explain};
use crate::console::complain;
use crate::failure::Failure;
use crate::group::{Group, State};
use crate::locator::Locator;

/// Call [`turn`](Self::turn) until it is no longer open.
#[derive(Debug)]
pub struct Feed {
    options: Options,
    trust: Trust,
    kind: Kind,
    /// Why there is no rollover; then it is over.
    fault: Option<String>,
    is_leaving: bool,
}

#[derive(Debug)]
enum Kind {
    Viewer(Url, Box<Connection>),
    Group(Box<Group>),
}

impl Feed {
    /// Connects, or joins.
    ///
    /// # Errors
    /// The server cannot be reached, or the announcement not be read, or the group not be joined.
    pub fn open(
        locator: &Locator,
        options: Options,
        trust: Trust,
        wishes: &cli::Multicast,
    ) -> Result<Self, Failure> {
        let kind = match locator {
            Locator::Channel(url) => {
                let connection =
                    Connection::open(url, options.clone(), &trust).map_err(Failure::fault)?;
                Kind::Viewer(url.clone(), Box::new(connection))
            }
            Locator::Multicast(place) => {
                let group =
                    Group::join(place, wishes, options.answer_within).map_err(Failure::fault)?;
                Kind::Group(Box::new(group))
            }
        };
        Ok(Self {
            options,
            trust,
            kind,
            fault: None,
            is_leaving: false,
        })
    }

    /// False once [`Event::Close`] was told.
    pub fn is_open(&self) -> bool {
        self.fault.is_none()
            && match &self.kind {
                Kind::Viewer(_, connection) => connection.is_open(),
                Kind::Group(group) => group.state() != State::Closed,
            }
    }

    /// Says good-bye; the turns that follow tell [`Event::Close`].
    pub fn leave(&mut self) {
        match &mut self.kind {
            Kind::Viewer(_, connection) => connection.leave(),
            Kind::Group(_) => self.is_leaving = true,
        }
    }

    /// Waits for what comes, at most for `patience`, and tells it.
    pub fn turn(&mut self, patience: Duration, mut tell: impl FnMut(Event<'_>)) {
        match &mut self.kind {
            Kind::Viewer(_, connection) => connection.turn(patience, tell),
            Kind::Group(group) if self.is_leaving => group.leave(tell),
            Kind::Group(group) => {
                group.turn(patience, &mut tell);
                if group.state() == State::Silent
                    && let Err(fault) = self.roll_over()
                {
                    self.fault = Some(fault);
                    tell(Event::Close(CloseReason::TimedOut));
                }
            }
        }
    }

    /// The group, unless there is none or it was silent.
    pub fn group(&self) -> Option<&Group> {
        match &self.kind {
            Kind::Viewer(..) => None,
            Kind::Group(group) => Some(group),
        }
    }

    /// Packets and what became of them, unless nothing came or nothing can be lost.
    pub fn summary(&self) -> Option<String> {
        match &self.kind {
            Kind::Viewer(_, connection) => connection
                .udp_stats()
                .filter(|stats| stats.received > 0)
                .as_ref()
                .map(udp_summary),
            Kind::Group(group) => (group.stats().packets > 0).then(|| group.summary()),
        }
    }

    /// Why it brought nothing, or no more, in one sentence.
    pub fn explain(&self, refused_at: Option<Stage>, reason: &CloseReason) -> String {
        match (&self.fault, &self.kind) {
            (Some(fault), _) => fault.clone(),
            (None, Kind::Viewer(url, connection)) => match connection.trouble() {
                Some(trouble) => format!("{url}: {trouble}"),
                None => explain(url, refused_at, reason),
            },
            (None, Kind::Group(group)) => format!("{}: nothing arrives any more", group.name()),
        }
    }

    /// Goes on with the unicast URL.
    fn roll_over(&mut self) -> Result<(), String> {
        let Kind::Group(group) = &self.kind else {
            return Ok(());
        };
        let silence = format!("nothing arrives from the group {}", group.name());
        let Some(text) = &group.announcement().unicast_url else {
            return Err(format!("{silence}, and no unicast URL is announced"));
        };
        let url: Url = text.as_str().parse().map_err(|error| {
            format!("{silence}, and the unicast URL {text} cannot be played: {error}")
        })?;
        complain(&format!("{silence}: {url} is played instead"));
        let connection = Connection::open(&url, self.options.clone(), &self.trust)
            .map_err(|error| format!("{silence}, and {error}"))?;
        self.kind = Kind::Viewer(url, Box::new(connection));
        Ok(())
    }
}

fn udp_summary(stats: &UdpStats) -> String {
    format!(
        "over UDP: {} packets came; {} were asked for again, {} of them recovered; {} are lost",
        stats.received, stats.requested, stats.recovered, stats.lost
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_was_asked_for_again() {
        let stats = UdpStats {
            received: 990,
            requested: 25,
            recovered: 15,
            lost: 10,
            ..UdpStats::default()
        };
        assert_eq!(
            udp_summary(&stats),
            "over UDP: 990 packets came; 25 were asked for again, 15 of them recovered; 10 are lost"
        );
    }
}
