//! One viewer: its conversation, its measurements, its manners.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use funnel_uring::File;

use crate::arrival::{Conduct, Visit};
use crate::meter::{Book, Meter, Scale, record};
use crate::news::{Heard, News, Over, Said};
use crate::scout::words;
use crate::target::{Talk, Target, Way};
use crate::worker::{SIP_BYTES_MAX, SIP_EVERY, error_words};

/// One viewer, from its arrival to its end.
#[derive(Debug)]
pub struct Viewer {
    /// Its plan.
    pub visit: Visit,
    /// When it was to come.
    pub scheduled: Instant,
    /// What it saw.
    pub meter: Meter,
    /// Its connection, once there is one.
    pub file: Option<File>,
    /// Its socket for datagrams, if it listens to any, and where that is.
    pub ears: Option<(File, SocketAddr)>,
    /// What it has to say.
    pub said: Said,
    /// Its words are on their way, or wait for room.
    pub is_speaking: bool,
    talk: Option<Talk>,
    leave_at: Option<Instant>,
    /// The next time it is woken on behalf of its conversation.
    alarm_at: Option<Instant>,
    has_media: bool,
    /// Its media goes elsewhere: that the server agreed is all there is to see.
    is_unheard: bool,
}

/// How a viewer ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// As it wanted.
    Left,
    /// The run is over.
    RunOver,
    /// The connection was not made; errno.
    NotConnected(i32),
    /// The server's doing.
    Over(Over),
}

impl Viewer {
    /// Not connected yet.
    pub fn new(visit: Visit, scheduled: Instant) -> Viewer {
        Viewer {
            meter: Meter::new(scheduled, visit.verified),
            visit,
            scheduled,
            file: None,
            ears: None,
            said: Said::default(),
            is_speaking: false,
            talk: None,
            leave_at: None,
            alarm_at: None,
            has_media: false,
            is_unheard: false,
        }
    }

    /// The connection stands; says when the viewer has to be woken.
    pub fn connected(&mut self, target: &Target, now: Instant, rng: &mut Rng) -> Option<Instant> {
        if self.visit.conduct == Conduct::Garbage {
            self.said.stream = (0..rng.usize(1..GARBAGE_BYTES_MAX))
                .map(|_| rng.u8(..))
                .collect();
        } else {
            let ears = self.ears.map(|(_, address)| address);
            self.talk = Some(target.talk(now, ears, &mut self.said));
        }
        self.is_unheard = target.way() == Way::Unheard;
        let stay = match self.visit.conduct {
            Conduct::Vanishing => Some(Duration::from_millis(rng.u64(..1000))),
            _ => self.visit.stay,
        };
        self.leave_at = stay.map(|stay| now + stay);
        self.leave_at
    }

    /// Whether it is there: connected, or member of its group.
    pub fn is_up(&self) -> bool {
        self.file.is_some() || self.talk.is_some()
    }

    /// When it has to be woken to ask for what is missing, unless it will be by then anyway. Where media comes over the
    /// connection, the look once a second is enough.
    pub fn alarm(&mut self) -> Option<Instant> {
        self.ears?;
        let at = self.talk.as_ref()?.wake_at()?;
        if self.alarm_at.is_some_and(|alarm| alarm <= at) {
            return None;
        }
        self.alarm_at.insert(at).to_owned().into()
    }

    /// Its alarm has gone off.
    pub fn awake(&mut self) {
        self.alarm_at = None;
    }

    /// Whether it is this wake-up at which it leaves.
    pub fn leaves_at(&self, at: Instant) -> bool {
        self.leave_at.is_some_and(|leave| leave <= at)
    }

    /// How much a slow reader takes at a time.
    pub fn sip_bytes(&self) -> u32 {
        match self.visit.conduct {
            Conduct::Slow(bits) => {
                let bytes = bits.saturating_mul(SIP_EVERY.as_millis() as u64) / 8_000;
                bytes.clamp(1, SIP_BYTES_MAX.into()) as u32
            }
            _ => SIP_BYTES_MAX,
        }
    }

    /// Has media come?
    pub fn is_watching(&self) -> bool {
        self.has_media
    }

    /// Has media come to somebody who wants it? Whoever does not read as he should costs the server less, or more.
    pub fn is_playing(&self) -> bool {
        self.has_media && self.visit.conduct == Conduct::Well
    }

    /// Takes what happened; `Some` when it is over.
    pub fn hear(
        &mut self,
        now: Instant,
        heard: Heard<'_>,
        scale: &Scale,
        book: &mut Book,
    ) -> Option<Over> {
        let Viewer {
            visit,
            meter,
            said,
            talk,
            has_media,
            is_unheard,
            ..
        } = self;
        let talk = talk.as_mut()?;
        let (mut over, well) = (None, visit.conduct == Conduct::Well);
        talk.hear(now, heard, said, &mut |news| match news {
            News::Packet { number, bytes } => {
                *has_media = true;
                if well {
                    meter.packet(now, number, bytes, scale, book);
                }
            }
            News::Bytes(size) => {
                *has_media = true;
                if well {
                    meter.bytes(now, size, scale, book);
                }
            }
            News::Playing if *is_unheard => {
                let is_first = !std::mem::replace(has_media, true);
                book.tally.counts.played += u64::from(well && is_first);
            }
            News::Playing => meter.playing(now, scale),
            News::Over(how) => {
                over.get_or_insert(how);
            }
            News::Header(_) => meter.new_stream(),
            News::Server(_) => {}
        });
        over
    }

    /// The connection has ended.
    pub fn hung_up(&mut self, now: Instant, scale: &Scale, book: &mut Book) -> Over {
        let over = self.hear(now, Heard::Closed, scale, book);
        over.unwrap_or(Over::Closed)
    }

    /// Time has passed; `Some` when it is over.
    pub fn look(&mut self, now: Instant, scale: &Scale, book: &mut Book) -> Option<Over> {
        self.meter.look(now, book);
        self.hear(now, Heard::Time, scale, book)
    }

    /// Writes down how it went; the words if it failed. Those who misbehave cannot fail.
    pub fn judge(
        &mut self,
        now: Instant,
        end: &End,
        scale: &Scale,
        book: &mut Book,
    ) -> Option<String> {
        if self.visit.conduct != Conduct::Well {
            return None;
        }
        self.meter
            .finish(now, matches!(end, End::Left | End::RunOver), scale, book);
        self.judge_datagrams(book);
        let failed = &mut book.tally.counts.failed;
        let waited = now.saturating_duration_since(self.scheduled);
        let media = if self.is_unheard {
            self.has_media.then_some(now)
        } else {
            self.meter.last_media()
        };
        match (end, media) {
            (End::NotConnected(errno), _) => {
                failed.connect += 1;
                Some(format!("cannot connect: {}", error_words(*errno)))
            }
            (End::Over(over), media) => {
                match over {
                    Over::Refused(_) => failed.refused += 1,
                    Over::TimedOut => failed.timed_out += 1,
                    Over::NoDatagrams => failed.no_media += 1,
                    Over::Broken(_) => failed.protocol += 1,
                    Over::Ended | Over::Closed => failed.closed_early += 1,
                }
                let when = if media.is_some() {
                    "while playing"
                } else {
                    "before media came"
                };
                Some(format!("{when}: {}", words(over)))
            }
            (End::Left | End::RunOver, Some(media))
                if now.saturating_duration_since(media) >= SILENCE =>
            {
                failed.timed_out += 1;
                Some(format!(
                    "while playing: no media for {} s",
                    SILENCE.as_secs()
                ))
            }
            (End::Left | End::RunOver, Some(_)) => {
                book.tally.counts.succeeded += 1;
                None
            }
            (End::Left | End::RunOver, None) if waited < BEGINNER => None,
            // What has not happened yet took so long at least, like the age of what is overdue.
            (End::Left | End::RunOver, None) if !self.is_up() => {
                failed.connect += 1;
                record(&mut book.tally.connect, waited);
                record(&mut book.tally.first_packet, waited);
                Some("cannot connect: no answer".into())
            }
            (End::Left | End::RunOver, None) => {
                failed.no_media += 1;
                record(&mut book.tally.first_packet, waited);
                Some("connected, but no media came".into())
            }
        }
    }

    fn judge_datagrams(&self, book: &mut Book) {
        let Some(talk) = &self.talk else { return };
        let found = talk.datagrams();
        book.tally.datagrams.merge(&found);
        let all = found.packets + found.recovered + found.lost;
        if self.ears.is_some() && all > 0 {
            let ppm = found.lost * 1_000_000 / all;
            book.tally.loss_ppm.saturating_record(ppm);
        }
    }
}

/// Longest garbage.
const GARBAGE_BYTES_MAX: usize = 2_000;
/// A viewer whose last media is older than this at its end has failed.
const SILENCE: Duration = Duration::from_secs(10);
/// Nobody who came later than this before the end can be blamed for having no media yet.
const BEGINNER: Duration = Duration::from_secs(2);
