//! What a server sends after a reconnection, joined to what it sent before.
//!
//! Whoever connects gets some seconds of the past, so most of the packets were there before. Are they the same broadcast's, they are left
//! out and the channel goes on as if the connection had never been lost. That it is the same shows in the header, byte for byte, and in
//! the send times; and since a show that begins anew can have the same header and the same times, in how soon packets come that were not
//! there before: the past comes faster than it was shown, a new show at its own pace. So packets wait until it is known.

use std::time::{Duration, Instant};

use funnel_asf::{Header, Layout};
use tracing::info;

use crate::intake::{Fault, Intake};

/// Remembers the newest packet from one run to the next.
#[derive(Debug, Default)]
pub(super) struct Splice {
    /// The header of the packets taken.
    header: Vec<u8>,
    newest: Option<Newest>,
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    send_ms: u32,
    /// Packets with this send time.
    count: u32,
}

/// Packets of which it is not known whether they were there before.
#[derive(Debug)]
struct Waiting {
    header: Header,
    since: Instant,
    until: Instant,
    /// Send time of the first of them.
    first_ms: u32,
    packets: Vec<Vec<u8>>,
    bytes: usize,
    /// Those with the send time of the newest.
    level: u32,
}

/// Where a packet stands beside what is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Known,
    Next,
    Elsewhere,
}

impl Splice {
    /// The first header of a run.
    pub(super) fn begin(&mut self, header: Header, now: Instant, intake: &mut Intake) {
        self.waiting = None;
        if self.header == header.bytes() && self.newest.is_some() {
            self.waiting = Some(Waiting {
                header,
                since: now,
                until: now,
                first_ms: 0,
                packets: Vec::new(),
                bytes: 0,
                level: 0,
            });
        } else {
            self.change(header, intake);
        }
    }

    /// Another header in the same run.
    pub(super) fn change(&mut self, header: Header, intake: &mut Intake) {
        self.waiting = None;
        self.header = header.bytes().to_vec();
        self.newest = None;
        intake.header(header);
    }

    /// A packet of full size.
    pub(super) fn packet(
        &mut self,
        raw: &[u8],
        now: Instant,
        intake: &mut Intake,
    ) -> Result<(), Fault> {
        let Ok(send_ms) = Layout::parse(raw).map(|layout| layout.send_ms()) else {
            return intake.packet(raw); // damaged, and counted there
        };
        if let (Some(waiting), Some(newest)) = (&mut self.waiting, self.newest) {
            match waiting.place(send_ms, newest, now) {
                Place::Known if waiting.bytes < WAITING_BYTES_MAX => {
                    waiting.bytes += raw.len();
                    waiting.packets.push(raw.to_vec());
                    return self.on_time(now, intake);
                }
                Place::Next => {
                    if let Some(Waiting { header, .. }) = self.waiting.take() {
                        info!(channel = intake.name(), "the origin goes on where it was");
                        intake.header_again(header);
                    }
                }
                Place::Known | Place::Elsewhere => self.release(intake)?,
            }
        }
        self.take(raw, send_ms, intake)
    }

    /// When what waits has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().filter(|it| !it.packets.is_empty())?;
        Some(waiting.until)
    }

    /// Ends the waiting when its time is over: what waits is another show, or the same from its beginning.
    pub(super) fn on_time(&mut self, now: Instant, intake: &mut Intake) -> Result<(), Fault> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if let Some(waiting) = self.waiting.as_mut().filter(|it| it.catches_up(now)) {
            waiting.until = now + WAIT;
            return Ok(());
        }
        self.release(intake)
    }

    fn release(&mut self, intake: &mut Intake) -> Result<(), Fault> {
        let Some(waiting) = self.waiting.take() else {
            return Ok(());
        };
        self.change(waiting.header, intake);
        for raw in waiting.packets {
            let send_ms = Layout::parse(&raw).map_or(0, |layout| layout.send_ms());
            self.take(&raw, send_ms, intake)?;
        }
        Ok(())
    }

    fn take(&mut self, raw: &[u8], send_ms: u32, intake: &mut Intake) -> Result<(), Fault> {
        let count = match self.newest {
            Some(newest) if newest.send_ms == send_ms => newest.count + 1,
            _ => 1,
        };
        self.newest = Some(Newest { send_ms, count });
        intake.packet(raw)
    }
}

impl Waiting {
    fn place(&mut self, send_ms: u32, newest: Newest, now: Instant) -> Place {
        // The first packet came later than the header.
        if self.packets.is_empty() {
            (self.since, self.until, self.first_ms) = (now, now + WAIT, send_ms);
        }
        match i64::from(send_ms.wrapping_sub(newest.send_ms) as i32) {
            0 => {
                self.level += 1;
                if self.level > newest.count {
                    Place::Next
                } else {
                    Place::Known
                }
            }
            1..=AHEAD_MS_MAX => Place::Next,
            BACK_MS_MAX..0 => Place::Known,
            _ => Place::Elsewhere,
        }
    }

    /// Whether what waits comes in much less time than it was shown in.
    fn catches_up(&self, now: Instant) -> bool {
        let last = self.packets.last().map(|raw| Layout::parse(raw));
        let last_ms = last.and_then(Result::ok).map(|layout| layout.send_ms());
        let shown_ms = last_ms.map_or(0, |last| last.wrapping_sub(self.first_ms));
        let took = now.duration_since(self.since);
        took < WAIT_MAX && u128::from(shown_ms) > took.as_millis() * 3 / 2
    }
}

/// From the first packet on, and from one look to the next.
const WAIT: Duration = Duration::from_secs(1);
/// How long it may take a server to send what it keeps of the past.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Nobody keeps more of the past for newcomers.
const BACK_MS_MAX: i64 = -60_000;
/// A longer absence is a new beginning.
const AHEAD_MS_MAX: i64 = 600_000;
const WAITING_BYTES_MAX: usize = 16 << 20;
