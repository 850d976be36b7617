//! What live sources have in common: a run of bytes or packets becomes what is on air, and its absence a gap.
//!
//! One for each channel, for as long as ingest runs. A source begins a run, hands over its bytes as they come ([`Intake::take`]) or what it
//! has cut itself ([`Intake::header`], [`Intake::packet`]), and ends the run. An equivalent header in the next run goes on in the same
//! epoch. Sources decide when they run and when one is given up; nothing here waits. While a fallback stands in, a source that is back
//! waits for its first clean point: from there on viewers can follow it.

use std::time::{Duration, Instant};

use funnel_asf::{DeframeError, Deframer, Header, Item, Layout, Normaliser};
use funnel_channel::Air;
use tracing::{info, warn};

use crate::{
    feed::{Begun, FeedError, guessed_bit_rates},
    inspect::{warning_of_codecs, warning_of_key_frames, warning_of_packet_size},
    stage::Stage,
};

/// How long a source may be away, and when it counts as that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) grace: Duration,
    /// Without a packet for this long it is away.
    pub(crate) silence: Duration,
}

/// Takes one run after the other and feeds the channel.
#[derive(Debug)]
pub(crate) struct Intake {
    /// What the log calls the source: "the command".
    source: &'static str,
    stage: Stage,
    patience: Patience,
    /// Whether packets go on air, or are held back for the first viewer.
    playing: bool,
    deframer: Deframer,
    run: Run,
    /// The epoch on air was begun by this source.
    has_epoch: bool,
    /// When the last good packet came, or the run began.
    heard_at: Instant,
    /// That is too long ago.
    is_silent: bool,
    packets: u64,
    damaged: u64,
}

/// What is known of the packets of this run.
#[derive(Debug, Default)]
struct Run {
    header: Option<Header>,
    /// A packet has come under this header.
    has_begun: bool,
    /// Looks for the place where the fallback gives way.
    scout: Option<Scout>,
    /// Viewers who come from the fallback have not seen what some packets go on with.
    trims: bool,
    damaged_in_a_row: u32,
    /// Since when packets come.
    good_since: Option<Instant>,
    key_frames: KeyFrames,
}

/// Looks through the packets of a source while a fallback has the feed.
#[derive(Debug)]
struct Scout {
    normaliser: Normaliser,
    since: Instant,
}

/// Why what a source sends cannot be used; the run is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Format(#[from] DeframeError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("more than {DAMAGED_MAX} damaged packets in a row")]
    Damaged,
}

impl Intake {
    /// `source` is what the log calls it, with its article.
    pub(crate) fn new(stage: Stage, patience: Patience, source: &'static str) -> Self {
        Self {
            source,
            stage,
            patience,
            playing: false,
            deframer: Deframer::new(),
            run: Run::default(),
            has_epoch: false,
            heard_at: Instant::now(),
            is_silent: false,
            packets: 0,
            damaged: 0,
        }
    }

    /// The channel's name.
    pub(crate) fn name(&self) -> &str {
        self.stage.channel().name()
    }

    /// What the log calls the source.
    pub(crate) fn source(&self) -> &'static str {
        self.source
    }

    /// A run begins; `playing` unless its packets wait for the first viewer ([`Intake::play`]).
    pub(crate) fn begin_run(&mut self, playing: bool) {
        (self.deframer, self.run, self.playing) = (Deframer::new(), Run::default(), playing);
        (self.heard_at, self.is_silent) = (Instant::now(), false);
        (self.packets, self.damaged) = (0, 0);
        // For viewers who have asked, waiting for it counts as its absence.
        if self.stage.channel().snapshot().air != Air::OnAir {
            self.stage.away();
        }
    }

    /// Takes the next bytes of a run: plain ASF, or `$` chunks with their 8-byte heads.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut deframer = std::mem::take(&mut self.deframer);
        deframer.push(bytes);
        let taken = self.take_items(&mut deframer);
        self.deframer = deframer;
        taken
    }

    /// Takes a header as the source gave it. It counts from the first good packet on.
    pub(crate) fn header(&mut self, header: Header) {
        self.run.header = Some(header);
        (self.run.has_begun, self.run.scout) = (false, None);
    }

    /// The run goes on with what the last one sent, times and numbers too: nothing begins, unless something else was on air meanwhile.
    pub(crate) fn header_again(&mut self, header: Header) {
        self.header(header);
        self.run.has_begun = self.has_epoch && !self.stage.is_taken();
    }

    /// Takes a packet of full size as the source gave it.
    pub(crate) fn packet(&mut self, raw: &[u8]) -> Result<(), Fault> {
        let now = Instant::now();
        if !self.run.has_begun || self.stage.is_taken() {
            if self.stage.is_taken() && !self.may_return(raw, now)? {
                return Ok(());
            }
            // The first good packet shows how large packets will be, which the header on the wire has to say.
            if self.run.header.is_some() && Layout::parse(raw).is_ok() {
                self.begin(raw, now)?;
            }
        }
        let mut feed = self.stage.feed();
        let log = feed.log_reach();
        let Ok(packet) = feed.prepare(raw) else {
            drop(feed);
            return self.damage();
        };
        let warning = packet.as_ref().and_then(|packet| {
            let key_frames = &mut self.run.key_frames;
            key_frames.look(packet.send_ms(), packet.is_clean_point(), log)
        });
        self.run.damaged_in_a_row = 0;
        self.packets += 1;
        self.heard_at = now;
        let is_first = self
            .run
            .good_since
            .replace(self.run.good_since.unwrap_or(now))
            .is_none();
        match packet {
            Some(packet) if self.playing && self.run.trims => {
                self.run.trims = !packet.publish_for_joiners(now);
            }
            Some(packet) if self.playing => packet.publish(now),
            Some(packet) => packet.hold(),
            None => {}
        }
        drop(feed);
        let returns = std::mem::take(&mut self.is_silent) || is_first;
        if returns && self.playing {
            self.stage.back();
        }
        if let Some(warning) = warning {
            warn!(channel = self.name(), "{warning}");
        }
        Ok(())
    }

    /// The first viewer plays: what was held back goes on air.
    pub(crate) fn play(&mut self) {
        self.playing = true;
        if self.run.good_since.is_some() && !self.stage.is_taken() {
            self.stage.feed().release(Instant::now());
            self.stage.back();
        }
    }

    /// Nobody watches: the next viewer finds the header, and an empty log instead of what was on air for others.
    pub(crate) fn rest(&mut self) {
        if !self.stage.feed().has_begun() {
            return self.stage.clear();
        }
        self.has_epoch = false;
        let renewed = self.stage.feed().renew();
        match renewed {
            Ok(()) => self.stage.ready(),
            Err(fault) => warn!(channel = self.name(), %fault, "the channel cannot be made ready"),
        }
    }

    /// The source is away: viewers are kept for its grace.
    pub(crate) fn away(&mut self) {
        self.stage.away();
    }

    /// The run delivers no packets any more: says so, and the source is away until the next.
    pub(crate) fn fall_silent(&mut self) {
        warn!(
            channel = self.name(),
            seconds = self.patience.silence.as_secs_f32(),
            "{} delivers no packets",
            self.source
        );
        self.pause();
    }

    /// The run goes on, but not now: the source is away until its next packet.
    pub(crate) fn pause(&mut self) {
        self.is_silent = true;
        self.stage.away();
    }

    /// The show is over for good: viewers are told so, and the next run is another show.
    pub(crate) fn finish(&mut self) {
        if self.stage.feed().has_begun() {
            self.has_epoch = false;
            self.stage.feed().close();
            self.stage.ended();
        }
    }

    /// The run is over. What the channel does now is for [`Intake::away`], [`Intake::rest`] or [`Intake::finish`] to say.
    pub(crate) fn end_run(&mut self) {
        if self.damaged > 0 {
            warn!(
                channel = self.name(),
                damaged = self.damaged,
                good = self.packets,
                "damaged packets were left out"
            );
        }
    }

    /// When the run will have been without packets for too long: to fall silent, and then, after its grace, to be given up.
    pub(crate) fn silent_at(&self) -> Instant {
        let Patience { grace, silence } = self.patience;
        self.heard_at
            + if self.is_silent {
                silence + grace
            } else {
                silence
            }
    }

    /// Whether the run has fallen silent.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether packets go on air; else they are held back.
    pub(crate) fn is_playing(&self) -> bool {
        self.playing
    }

    /// Good packets of this run.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// How long this run has delivered packets.
    pub(crate) fn good_for(&self) -> Duration {
        self.run
            .good_since
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn take_items(&mut self, deframer: &mut Deframer) -> Result<(), Fault> {
        while let Some(item) = deframer.next()? {
            match item {
                Item::Packet(raw) => self.packet(raw)?,
                Item::Header(header) => self.header(header),
                Item::End => {}
            }
        }
        Ok(())
    }

    /// The fallback has the feed: whether the source takes it back with this packet.
    fn may_return(&mut self, raw: &[u8], now: Instant) -> Result<bool, Fault> {
        let Some(header) = &self.run.header else {
            return Ok(false);
        };
        let scout = self.run.scout.get_or_insert_with(|| Scout {
            normaliser: Normaliser::new(header),
            since: now,
        });
        let Ok(packet) = scout.normaliser.packet(raw) else {
            self.damage()?;
            return Ok(false);
        };
        self.heard_at = now;
        let has_waited = now.duration_since(scout.since) > self.stage.feed().log_reach();
        Ok(has_waited || packet.is_some_and(|packet| packet.meta.clean_point))
    }

    fn damage(&mut self) -> Result<(), Fault> {
        self.damaged += 1;
        self.run.damaged_in_a_row += 1;
        if self.run.damaged_in_a_row > DAMAGED_MAX {
            return Err(Fault::Damaged);
        }
        Ok(())
    }

    /// The run's header with its first packet: goes on with the epoch on air, or begins another.
    fn begin(&mut self, first: &[u8], now: Instant) -> Result<(), FeedError> {
        let Some(header) = self.run.header.clone() else {
            return Ok(());
        };
        let packet_bytes = Normaliser::new(&header).probe(first);
        let bit_rates = guessed_bit_rates(&header);
        let warnings = [
            warning_of_packet_size(packet_bytes),
            warning_of_codecs(&header),
        ];
        let begun = self
            .stage
            .feed()
            .begin(header, packet_bytes, &bit_rates, now)?;
        let gives_way = self.stage.is_taken();
        self.run.trims = gives_way && self.playing;
        (self.run.has_begun, self.run.scout) = (true, None);
        self.has_epoch = true;
        let (channel, source) = (self.name(), self.source);
        match begun {
            Begun::New => {
                info!(channel, packet_bytes, "{source} sends a new header");
                // Files are told about at the start of the server; other sources say only now what they send.
                for warning in warnings.iter().flatten() {
                    warn!(channel, "{warning}");
                }
            }
            Begun::Continued => info!(channel, "{source} goes on with the same header"),
        }
        if gives_way {
            info!(channel, "{source} is back, the fallback gives way");
        }
        if self.playing {
            self.stage.back();
        } else {
            self.stage.ready();
        }
        Ok(())
    }
}

/// How far key frames (to be exact: places where viewers may begin) are apart.
#[derive(Debug, Default)]
struct KeyFrames {
    last_ms: Option<u64>,
    has_warned: bool,
}

impl KeyFrames {
    /// Looks at the next packet; a sentence for the operator when they are further apart than `log`, once.
    fn look(&mut self, send_ms: u64, is_clean_point: bool, log: Duration) -> Option<String> {
        let since = *self.last_ms.get_or_insert(send_ms);
        let gap = Duration::from_millis(send_ms.saturating_sub(since));
        if is_clean_point {
            self.last_ms = Some(send_ms);
        }
        let warning = warning_of_key_frames(gap, log).filter(|_| !self.has_warned);
        self.has_warned |= warning.is_some();
        warning
    }
}

/// `docs/protocol/asf.md` §18.
const DAMAGED_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_further_apart_than_the_log_are_told_once() {
        let log = Duration::from_secs(30);
        let mut key_frames = KeyFrames::default();
        let mut look = |seconds: u64, is_clean_point| {
            key_frames.look(7_000 + seconds * 1000, is_clean_point, log)
        };
        assert_eq!(look(0, true), None);
        assert_eq!(look(30, false), None);
        assert_eq!(look(30, true), None);
        assert_eq!(look(60, false), None);
        let warning = look(61, false).expect("31 s without a key frame");
        assert!(
            warning.contains("31.0 s") && warning.contains("-g"),
            "{warning}"
        );
        assert_eq!(look(62, false), None, "once");
    }
}
