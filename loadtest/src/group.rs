//! A viewer of a multicast: our own receiver, told in [`News`].

use std::sync::Arc;
use std::time::Instant;

use funnel_session::multicast::{Event, Input, Options, Output, Receiver};
use funnel_wire::nsc::Announcement;

use crate::news::{Heard, News, Over};
use crate::tally::Datagrams;

/// One viewer's receiver.
#[derive(Debug)]
pub struct Group {
    receiver: Receiver,
    has_begun: bool,
    wake_at: Option<Instant>,
}

impl Group {
    /// The group is joined.
    pub fn new(announcement: Arc<Announcement>, now: Instant) -> Group {
        let options = Options {
            // How long silence may last is for the tester to judge.
            open_within: None,
            silence: None,
            ..Options::default()
        };
        Group {
            receiver: Receiver::new(announcement, options, now),
            has_begun: false,
            wake_at: None,
        }
    }

    /// When [`Heard::Time`] is due.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// What became of datagrams so far.
    pub fn datagrams(&self) -> Datagrams {
        let stats = self.receiver.stats();
        Datagrams {
            packets: stats.packets - stats.restored,
            duplicate: stats.duplicates + stats.late,
            reordered: stats.reordered,
            recovered: stats.restored,
            lost: stats.lost,
            ..Datagrams::default()
        }
    }

    /// Takes what happened.
    pub fn hear(&mut self, now: Instant, heard: Heard<'_>, tell: &mut impl FnMut(News<'_>)) {
        let input = match heard {
            Heard::Datagram(from, bytes) => Input::Datagram(from, bytes),
            Heard::Time if self.wake_at.is_some_and(|at| at <= now) => Input::Timeout,
            Heard::Time | Heard::Stream(_) | Heard::Closed => return,
        };
        // What was due before the first datagram came was sent before this viewer listened.
        if !std::mem::replace(&mut self.has_begun, true) {
            tell(News::Playing);
        }
        self.receiver.handle_input(now, input);
        loop {
            let event = match self.receiver.poll_output() {
                Output::Event(event) => event,
                Output::Idle { wake_at } => {
                    self.wake_at = wake_at;
                    return;
                }
            };
            match event {
                Event::Header(header) => tell(News::Header(header)),
                Event::Packet { id, bytes, .. } => tell(News::Packet {
                    number: Some(id),
                    bytes,
                }),
                Event::UnknownFormat(format) => tell(News::Over(Over::Broken(format!(
                    "packets of header {}, which is not announced",
                    format.get()
                )))),
                Event::OpenTimedOut => tell(News::Over(Over::TimedOut)),
                Event::Ended => tell(News::Over(Over::Ended)),
                Event::Lost { .. } | Event::Changed | Event::Beacon => {}
            }
        }
    }
}
