//! A file on air: looked through once, then played by its send times, again and again or once for each audience.

use std::time::{Duration, Instant};

use funnel_asf::{DeframeError, PacketError};
use funnel_channel::{Air, Demand};
use tokio::time::sleep_until;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    cutter::Cutter,
    feed::{Feed, FeedError},
    inspect::{CHUNK_BYTES, Inspection},
    media::{Media, MediaError, Origin},
    pace::Pace,
    stage::Stage,
    wants::Wants,
};

/// Plays one file on one channel.
#[derive(Debug)]
pub(crate) struct Player {
    origin: Origin,
    looped: bool,
    speed: f64,
}

/// How a run over the file ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Run {
    Ended,
    /// Its viewers left, after this demand.
    Abandoned(Demand),
}

/// What stops a run; it is tried again later.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("it changed while on air: {0}")]
    Format(#[from] DeframeError),
    #[error("it changed while on air: none of its packets can be read any more")]
    NoPackets,
}

impl Player {
    pub(crate) fn new(origin: Origin, looped: bool, speed: f64) -> Self {
        Self {
            origin,
            looped,
            speed,
        }
    }

    /// Plays until the show is over for good; else until dropped.
    pub(crate) async fn run(self, mut stage: Stage, mut wants: Wants) {
        let mut backoff = Backoff::new();
        loop {
            let began = Instant::now();
            let Err(fault) = self.play(&mut stage, &mut wants).await else {
                return;
            };
            let wait = backoff.after(began.elapsed());
            warn!(channel = stage.channel().name(), %fault, retry_in = ?wait, "the file is off the air");
            if stage.channel().snapshot().air == Air::Ready {
                stage.channel().set_air(Air::Lost);
            }
            stage.away();
            tokio::time::sleep(wait).await;
        }
    }

    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "nobody else uses the feed once the stage is cleared, until it is told that the source is away"
    )]
    async fn play(&self, stage: &mut Stage, wants: &mut Wants) -> Result<(), Fault> {
        let media = Media::open(&self.origin).await?;
        let Inspection { header, survey, .. } = media.inspect().await?;
        stage.clear();
        let feed = &mut *stage.feed();
        feed.begin(
            header,
            survey.packet_bytes,
            &survey.bit_rates,
            Instant::now(),
        )?;
        info!(
            channel = feed.channel().name(),
            packets = survey.packets,
            damaged = survey.damaged,
            seconds = survey.duration_ms / 1000,
            "the file is ready"
        );
        let mut heard = wants.before_first_run();
        loop {
            wants.go_on_air(heard).await;
            let run = tokio::select! {
                run = self.run_once(&media, feed) => run?,
                seen = wants.idle(), if wants.on_demand() => Run::Abandoned(seen),
            };
            heard = match run {
                Run::Ended => wants.now(),
                Run::Abandoned(seen) => seen,
            };
            if run == Run::Ended {
                feed.end();
                feed.channel().set_air(Air::Ended);
                info!(channel = feed.channel().name(), "the file has ended");
                if !wants.on_demand() {
                    return Ok(());
                }
                wants.next_audience(heard).await;
            }
            feed.renew()?;
        }
    }

    /// From the first packet to the last, or round and round.
    async fn run_once(&self, media: &Media, feed: &mut Feed) -> Result<Run, Fault> {
        let mut pace = Pace::new(self.speed);
        loop {
            let began = Instant::now();
            if self.pass(media, feed, &mut pace).await? == 0 {
                return Err(Fault::NoPackets);
            }
            if !self.looped {
                return Ok(Run::Ended);
            }
            feed.next_pass();
            // A file without length would turn as fast as the machine can.
            if began.elapsed() < SHORTEST_PASS {
                tokio::time::sleep(SHORTEST_PASS).await;
            }
        }
    }

    /// Publishes every packet when it is due; returns how many there were.
    async fn pass(&self, media: &Media, feed: &mut Feed, pace: &mut Pace) -> Result<u64, Fault> {
        let mut cutter = Cutter::new(media.size());
        let mut published = 0;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        while !cutter.is_over() {
            chunk = media.read(cutter.position(), chunk).await?;
            cutter.push(&chunk);
            while let Some(raw) = cutter.next()? {
                if publish_when_due(feed, raw, pace).await.unwrap_or(false) {
                    published += 1;
                }
            }
        }
        Ok(published)
    }
}

/// Waits until the packet is due and publishes it; packets due at about the same time go out without a pause between them. A damaged
/// packet is left out: the operator was told when the file was inspected.
async fn publish_when_due(
    feed: &mut Feed,
    raw: &[u8],
    pace: &mut Pace,
) -> Result<bool, PacketError> {
    let Some(packet) = feed.prepare(raw)? else {
        return Ok(false);
    };
    let mut now = Instant::now();
    let due = pace.due(packet.send_ms(), now);
    if due > now + SAME_MOMENT {
        sleep_until(due.into()).await;
        now = Instant::now();
    }
    packet.publish(now);
    Ok(true)
}

/// Packets due within this are published together: timers are no finer.
const SAME_MOMENT: Duration = Duration::from_millis(1);
const SHORTEST_PASS: Duration = Duration::from_millis(20);
