//! How a fallback is played: a channel by following its log, a file round and round by its send times.
//!
//! A channel is begun at its newest clean point, in the form for viewers who begin there, so nothing comes of which the beginning is
//! missing. Its log wakes nobody, so it is looked at in short intervals.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use funnel_asf::{DeframeError, Header, HeaderError};
use funnel_channel::{Air, Channel, Epoch, Form, Reader};
use tokio::time::{sleep, sleep_until, timeout};

use super::{Fallback, StandIn};
use crate::{
    cutter::Cutter,
    feed::{FeedError, guessed_bit_rates},
    inspect::{CHUNK_BYTES, Inspection},
    media::{Media, MediaError, Origin},
    pace::Pace,
};

/// Why a fallback cannot stand in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("its header is damaged: {0}")]
    Header(#[from] HeaderError),
    #[error("it changed while on air: {0}")]
    Format(#[from] DeframeError),
    #[error("it changed while on air: none of its packets can be read any more")]
    NoPackets,
    #[error("its log has too many readers")]
    Readers,
    #[error("it did not come on air within {START:?}")]
    Start,
}

impl StandIn {
    /// Plays one until there is nothing more to play.
    pub(super) async fn show(&self, fallback: &Fallback) -> Result<(), Fault> {
        match fallback {
            Fallback::Channel(channel) => self.follow(channel).await,
            Fallback::File(path) => self.loop_file(path).await,
        }
    }

    async fn follow(&self, channel: &Channel) -> Result<(), Fault> {
        let epoch = timeout(START, on_air(channel)).await;
        let epoch = epoch.map_err(|_| Fault::Start)?;
        let mut reader = epoch.log.reader().ok_or(Fault::Readers)?;
        let mut place = None;
        loop {
            let is_over = self.take(&epoch, &mut reader, &mut place)?;
            if is_over || !matches!(channel.snapshot().air, Air::OnAir | Air::Gap) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Takes what the log has; true when nothing more will come.
    fn take(
        &self,
        epoch: &Epoch,
        reader: &mut Reader,
        place: &mut Option<Place>,
    ) -> Result<bool, Fault> {
        let guard = reader.pin();
        let at = match place.take().filter(|place| place.next >= guard.head()) {
            Some(place) => place,
            None => {
                let Some(start) = guard.newest_clean_point() else {
                    return Ok(guard.ended());
                };
                let header = Header::parse(&epoch.header)?;
                let bit_rates = guessed_bit_rates(&header);
                let published_at = guard.packet(start).map(|packet| packet.published_at());
                let published_at = published_at.unwrap_or_else(Instant::now);
                self.begin(header, epoch.packet_bytes, &bit_rates, published_at)?;
                Place {
                    next: start,
                    joined_at: Some(start),
                }
            }
        };
        let mut joined_at = at.joined_at;
        for packet in (at.next..guard.tail()).filter_map(|number| guard.packet(number)) {
            // As for any viewer: a second clean point ends the joining.
            joined_at = joined_at.filter(|at| *at == packet.seq() || !packet.clean_point());
            let body = packet.bytes(Form::Full, joined_at.is_some());
            joined_at = joined_at.filter(|_| !packet.join_done());
            if !body.is_empty() {
                self.publish(body);
            }
        }
        *place = Some(Place {
            next: guard.tail(),
            joined_at,
        });
        Ok(guard.ended())
    }

    async fn loop_file(&self, path: &Path) -> Result<(), Fault> {
        let media = Media::open(&Origin::File(path.to_owned())).await?;
        let Inspection { header, survey, .. } = media.inspect().await?;
        let now = Instant::now();
        self.begin(header, survey.packet_bytes, &survey.bit_rates, now)?;
        let mut pace = Pace::new(1.0);
        loop {
            let began = Instant::now();
            if self.pass(&media, &mut pace).await? == 0 {
                return Err(Fault::NoPackets);
            }
            self.feed.borrow_mut().next_pass();
            // A file without length would turn as fast as the machine can.
            sleep_until((began + SHORTEST_PASS).into()).await;
        }
    }

    /// Publishes each packet when the one before it is due, so that none has to be kept; returns how many there were.
    async fn pass(&self, media: &Media, pace: &mut Pace) -> Result<u64, Fault> {
        let mut cutter = Cutter::new(media.size());
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut published = 0;
        while !cutter.is_over() {
            chunk = media.read(cutter.position(), chunk).await?;
            cutter.push(&chunk);
            while let Some(raw) = cutter.next()? {
                if let Some(send_ms) = self.publish(raw) {
                    published += 1;
                    sleep_until(pace.due(send_ms, Instant::now()).into()).await;
                }
            }
        }
        Ok(published)
    }
}

/// Where in a channel's log a fallback is.
#[derive(Clone, Copy, Debug)]
struct Place {
    next: u64,
    /// The clean point it began at, until what follows can be taken whole.
    joined_at: Option<u64>,
}

/// The epoch of a channel, once it is on air.
async fn on_air(channel: &Channel) -> Arc<Epoch> {
    loop {
        let now = channel.snapshot();
        if let (Air::OnAir, Some(epoch)) = (now.air, now.epoch) {
            return epoch;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A tenth of a usual train.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A command that waits for viewers needs this long at most.
const START: Duration = Duration::from_secs(10);
const SHORTEST_PASS: Duration = Duration::from_millis(20);
