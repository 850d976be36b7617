//! From raw packets to a channel's log: epochs, repairs, due times, publication.
//!
//! A feed belongs to one channel for as long as ingest runs, whatever its source does. [`Feed::begin`] decides whether a header goes on
//! with the epoch on air or begins another; [`Feed::prepare`] repairs a packet, and the caller says when it is published.

use std::{sync::Arc, time::Instant};

use funnel_asf::{
    Header, HeaderError, LiveOptions, Normaliser, PacketError, Ready, Repairs, live_header,
};
use funnel_channel::{Channel, Entry, EpochSpec, LogConfig, LogError, Publisher};
use tracing::{info, warn};

use crate::{lines::FLOOD_PERIOD, runtime::SourceSpec, spread::Spread};

/// One channel's way in.
#[derive(Debug)]
pub(crate) struct Feed {
    channel: Arc<Channel>,
    title: Option<String>,
    author: Option<String>,
    file_id: [u8; 16],
    log: LogConfig,
    epochs: u32,
    current: Option<Current>,
}

/// The epoch on air.
#[derive(Debug)]
struct Current {
    /// As the source gave it, for comparison.
    source: Header,
    spec: EpochSpec,
    normaliser: Normaliser,
    reported: Repairs,
    lane: Lane,
}

/// The last stretch: from a repaired packet to the log.
#[derive(Debug)]
struct Lane {
    name: String,
    publisher: Publisher,
    spread: Spread,
    last: Option<Instant>,
    held: Vec<Held>,
    held_bytes: usize,
    held_bytes_max: usize,
    shed: u64,
    shed_reported: Option<Instant>,
}

/// What [`Feed::begin`] decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Begun {
    /// The epoch on air goes on.
    Continued,
    /// Another epoch was announced.
    New,
}

/// Why a header cannot go on air.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error("its header cannot be sent: {0}")]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Feed {
    pub(crate) fn new(spec: &SourceSpec) -> Self {
        Self {
            channel: Arc::clone(&spec.channel),
            title: spec.title.clone(),
            author: spec.author.clone(),
            file_id: spec.file_id,
            log: LogConfig {
                packet_bytes: 0,
                retain: std::time::Duration::from_secs(spec.log_seconds.into()),
                bytes_max: spec.log_bytes_max,
                readers_max: 0,
                first_seq: 0,
            },
            epochs: 0,
            current: None,
        }
    }

    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// How far back the channel's log reaches.
    pub(crate) fn log_reach(&self) -> std::time::Duration {
        self.log.retain
    }

    /// A source begins, or begins again: `header` as it gave it, `packet_bytes` as they will be after repair, `bit_rates` measured or
    /// guessed for streams whose rate the header does not tell. An equivalent header continues the epoch after the real gap.
    pub(crate) fn begin(
        &mut self,
        header: Header,
        packet_bytes: u32,
        bit_rates: &[(u8, u32)],
        now: Instant,
    ) -> Result<Begun, FeedError> {
        if let Some(current) = &mut self.current
            && current.source.equivalent(&header)
            && current.spec.packet_bytes == packet_bytes
        {
            current.resume(now);
            return Ok(Begun::Continued);
        }
        let spec = self.spec(&header, packet_bytes, bit_rates)?;
        self.announce(header, spec)?;
        Ok(Begun::New)
    }

    /// Begins an epoch with the header of the last one, and an empty log.
    pub(crate) fn renew(&mut self) -> Result<(), FeedError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let (header, spec) = (current.source.clone(), current.spec.clone());
        self.announce(header, spec)
    }

    /// Whether a header was announced.
    pub(crate) fn has_begun(&self) -> bool {
        self.current.is_some()
    }

    /// Repairs one packet. `None`: nothing in it for anybody.
    pub(crate) fn prepare(&mut self, raw: &[u8]) -> Result<Option<Prepared<'_>>, PacketError> {
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let ready = current.normaliser.packet(raw)?;
        Ok(ready.map(|ready| Prepared {
            ready,
            lane: &mut current.lane,
        }))
    }

    /// Publishes what was held back.
    pub(crate) fn release(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            current.lane.release(now);
        }
    }

    /// The next packet is the file's first again.
    pub(crate) fn next_pass(&mut self) {
        if let Some(current) = &mut self.current {
            current.normaliser.next_pass();
            // Every pass needs the same repairs, and a short file passes many times a second.
            if current.reported == Repairs::default() {
                current.report_repairs();
            }
        }
    }

    /// The show is over: nothing follows in this epoch.
    pub(crate) fn end(&mut self) {
        if let Some(current) = &mut self.current {
            current.lane.publisher.end();
            current.report_repairs();
        }
    }

    /// The show is over, and what comes next begins an epoch whatever its header.
    pub(crate) fn close(&mut self) {
        self.end();
        self.current = None;
    }

    fn spec(
        &self,
        header: &Header,
        packet_bytes: u32,
        bit_rates: &[(u8, u32)],
    ) -> Result<EpochSpec, FeedError> {
        let options = LiveOptions {
            title: self.title.as_deref(),
            author: self.author.as_deref(),
            file_id: numbered(self.file_id, self.epochs),
            packet_bytes,
            bit_rates,
        };
        let live = live_header(header, &options)?;
        let channel = self.channel.name();
        if !live.dropped.is_empty() {
            info!(channel, dropped = ?live.dropped, "the header is shortened for players with small buffers");
        }
        for warning in &live.warnings {
            warn!(channel, "{warning}");
        }
        Ok(EpochSpec {
            header: live.header.bytes().into(),
            packet_bytes,
            bit_rate: live.header.bit_rate(),
            streams: live.header.stream_mask(),
            log: self.log.clone(),
        })
    }

    fn announce(&mut self, source: Header, spec: EpochSpec) -> Result<(), FeedError> {
        // The old publisher goes after the new epoch stands, so that viewers of an ended log find where to go on.
        let publisher = self.channel.announce(spec.clone())?;
        self.epochs = self.epochs.wrapping_add(1);
        let lane = Lane {
            name: self.channel.name().to_owned(),
            publisher,
            spread: Spread::new(spec.bit_rate),
            last: None,
            held: Vec::new(),
            held_bytes: 0,
            held_bytes_max: usize::try_from(spec.log.bytes_max / 2).unwrap_or(usize::MAX),
            shed: 0,
            shed_reported: None,
        };
        let normaliser = Normaliser::new(&source);
        self.current = Some(Current {
            source,
            spec,
            normaliser,
            reported: Repairs::default(),
            lane,
        });
        Ok(())
    }
}

impl Current {
    /// Goes on after the source was away: the timeline runs on by the time that really passed.
    fn resume(&mut self, now: Instant) {
        self.lane.held.clear();
        self.lane.held_bytes = 0;
        match self.lane.last {
            Some(last) => {
                let gap = now.saturating_duration_since(last).as_millis();
                self.normaliser
                    .resume(u64::try_from(gap).unwrap_or(u64::MAX));
            }
            None => self.normaliser = Normaliser::new(&self.source),
        }
        self.report_repairs();
    }

    /// Says once for each run what was repaired in it.
    fn report_repairs(&mut self) {
        let repairs = *self.normaliser.repairs();
        if repairs != self.reported {
            info!(channel = self.lane.name, ?repairs, "packets were repaired");
            self.reported = repairs;
        }
    }
}

/// A repaired packet on its way.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    ready: Ready<'a>,
    lane: &'a mut Lane,
}

impl Prepared<'_> {
    /// Its place on the channel's timeline.
    pub(crate) fn send_ms(&self) -> u64 {
        self.ready.meta.send_ms
    }

    /// Whether viewers may begin with it.
    pub(crate) fn is_clean_point(&self) -> bool {
        self.ready.meta.clean_point
    }

    /// Publishes it.
    pub(crate) fn publish(self, now: Instant) {
        let due_ms = self
            .lane
            .spread
            .due_ms(self.ready.meta.send_ms, self.ready.full.len());
        self.lane.publish(entry(&self.ready, due_ms), now);
    }

    /// Publishes it for viewers who have not seen what was before it; true when what follows can be taken whole. Only at a clean point
    /// is known what they can do without.
    pub(crate) fn publish_for_joiners(self, now: Instant) -> bool {
        let Ready {
            join,
            join_stripped,
            meta,
            ..
        } = self.ready;
        let Some(join) = join else {
            self.publish(now);
            return meta.join_done;
        };
        if !join.is_empty() {
            let ready = Ready {
                full: join,
                stripped: join_stripped,
                join: None,
                join_stripped: None,
                meta,
            };
            let lane = self.lane;
            Prepared { ready, lane }.publish(now);
        }
        meta.join_done
    }

    /// Keeps it until [`Feed::release`], back to the newest clean point.
    pub(crate) fn hold(self) {
        if self.ready.meta.clean_point || self.lane.held_bytes > self.lane.held_bytes_max {
            self.lane.held.clear();
            self.lane.held_bytes = 0;
        }
        // Without the clean point before it nobody could begin with this packet.
        if self.ready.meta.clean_point || !self.lane.held.is_empty() {
            let held = Held::of(&self.ready);
            self.lane.held_bytes += held.bytes();
            self.lane.held.push(held);
        }
    }
}

impl Lane {
    fn publish(&mut self, entry: Entry<'_>, now: Instant) {
        self.last = Some(now);
        if let Err(reason) = self.publisher.publish(now, entry) {
            self.shed += 1;
            if self
                .shed_reported
                .is_none_or(|at| now.saturating_duration_since(at) >= FLOOD_PERIOD)
            {
                warn!(channel = self.name, discarded = self.shed, %reason, "packets were discarded; more memory (log_bytes_max) helps");
                self.shed = 0;
                self.shed_reported = Some(now);
            }
        }
    }

    fn release(&mut self, now: Instant) {
        for held in std::mem::take(&mut self.held) {
            let due_ms = self.spread.due_ms(held.send_ms, held.full.len());
            self.publish(held.entry(due_ms), now);
        }
        self.held_bytes = 0;
    }
}

/// A packet that waits for the first viewer.
#[derive(Debug)]
struct Held {
    full: Box<[u8]>,
    stripped: Option<Box<[u8]>>,
    join: Option<Box<[u8]>>,
    join_stripped: Option<Box<[u8]>>,
    send_ms: u64,
    clean_point: bool,
    join_done: bool,
}

impl Held {
    fn of(ready: &Ready<'_>) -> Self {
        Self {
            full: ready.full.into(),
            stripped: ready.stripped.map(Into::into),
            join: ready.join.map(Into::into),
            join_stripped: ready.join_stripped.map(Into::into),
            send_ms: ready.meta.send_ms,
            clean_point: ready.meta.clean_point,
            join_done: ready.meta.join_done,
        }
    }

    fn bytes(&self) -> usize {
        let twins = [&self.stripped, &self.join, &self.join_stripped];
        self.full.len()
            + twins
                .into_iter()
                .flatten()
                .map(|twin| twin.len())
                .sum::<usize>()
    }

    fn entry(&self, due_ms: u64) -> Entry<'_> {
        Entry {
            full: &self.full,
            stripped: self.stripped.as_deref(),
            join: self.join.as_deref(),
            join_stripped: self.join_stripped.as_deref(),
            send_ms: self.send_ms,
            due_ms,
            clean_point: self.clean_point,
            join_done: self.join_done,
        }
    }
}

fn entry<'a>(ready: &Ready<'a>, due_ms: u64) -> Entry<'a> {
    Entry {
        full: ready.full,
        stripped: ready.stripped,
        join: ready.join,
        join_stripped: ready.join_stripped,
        send_ms: ready.meta.send_ms,
        due_ms,
        clean_point: ready.meta.clean_point,
        join_done: ready.meta.join_done,
    }
}

/// Bit rates for the streams of a live source whose header leaves them out: what its maximum leaves over, in equal parts, else what such
/// streams usually take.
pub(crate) fn guessed_bit_rates(header: &Header) -> Vec<(u8, u32)> {
    let known: u32 = header
        .streams()
        .iter()
        .fold(0, |sum, stream| sum.saturating_add(stream.bit_rate));
    let unknown: Vec<_> = header
        .streams()
        .iter()
        .filter(|stream| stream.bit_rate == 0)
        .collect();
    let left = header.bit_rate().saturating_sub(known);
    let share = left / u32::try_from(unknown.len().max(1)).unwrap_or(u32::MAX);
    let usual = |video: bool, audio: bool| match (video, audio) {
        (true, _) => 300_000,
        (_, true) => 64_000,
        _ => 1_000,
    };
    unknown
        .into_iter()
        .map(|stream| {
            (
                stream.number,
                if share > 0 {
                    share
                } else {
                    usual(stream.is_video(), stream.is_audio())
                },
            )
        })
        .collect()
}

/// A File ID of its own for each epoch.
fn numbered(mut id: [u8; 16], epoch: u32) -> [u8; 16] {
    for (byte, count) in id[12..].iter_mut().zip(epoch.to_le_bytes()) {
        *byte ^= count;
    }
    id
}
