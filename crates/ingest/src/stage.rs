//! A channel as its source finds it: the way in, and what viewers can expect while the source comes and goes.
//!
//! A gap is bridged for the channel's grace; then a fallback stands in ([`StandIn`]), or the source counts as lost. Who has the feed is
//! never in doubt: a fallback uses it only between the end of the grace and the next [`Stage::back`], [`Stage::ready`] or
//! [`Stage::clear`], which end the fallback's task before it can run again.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use funnel_channel::{Air, Channel, Start};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::{fallback::StandIn, feed::Feed, runtime::SourceSpec};

/// One channel's feed and air.
#[derive(Debug)]
pub(crate) struct Stage {
    channel: Arc<Channel>,
    feed: Rc<RefCell<Feed>>,
    grace: Duration,
    stand_in: Option<Rc<StandIn>>,
    /// Waits for the end of the grace and does what then is to be done.
    absence: Option<JoinHandle<()>>,
}

impl Stage {
    /// Where a source that is to run always is away already.
    pub(crate) fn new(spec: &SourceSpec) -> Self {
        let feed = Rc::new(RefCell::new(Feed::new(spec)));
        let mut stage = Self {
            channel: Arc::clone(&spec.channel),
            grace: spec.source_grace,
            stand_in: StandIn::of(spec, &feed).map(Rc::new),
            feed,
            absence: None,
        };
        if spec.channel.options().start == Start::Always {
            stage.away();
        }
        stage
    }

    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The way in, for a source that is there.
    pub(crate) fn feed(&self) -> RefMut<'_, Feed> {
        self.feed.borrow_mut()
    }

    /// Whether a fallback has used the feed since the source left: then it goes on under a header again, not with a packet.
    pub(crate) fn is_taken(&self) -> bool {
        self.stand_in.as_ref().is_some_and(|it| it.has_begun())
    }

    /// The source is away. Viewers are kept for the grace, counted from the first call; a channel that was not on air stays as it is
    /// unless it has a fallback.
    pub(crate) fn away(&mut self) {
        if self.absence.is_some() {
            return;
        }
        if self.channel.snapshot().air == Air::OnAir {
            self.channel.set_air(Air::Gap);
        } else if self.stand_in.is_none() {
            return;
        }
        let (channel, grace) = (Arc::clone(&self.channel), self.grace);
        let stand_in = self.stand_in.clone();
        self.absence = Some(tokio::task::spawn_local(async move {
            tokio::time::sleep(grace).await;
            match stand_in {
                Some(stand_in) => stand_in.play().await,
                None => {
                    warn!(channel = channel.name(), away = ?grace, "the source is lost");
                    channel.set_air(Air::Lost);
                }
            }
        }));
    }

    /// The source's packets are coming.
    pub(crate) fn back(&mut self) {
        self.clear();
        self.channel.set_air(Air::OnAir);
    }

    /// Nobody watches, the source rests: the header is known, the clock stands.
    pub(crate) fn ready(&mut self) {
        self.clear();
        self.channel.set_air(Air::Ready);
    }

    /// The source said that its show is over.
    pub(crate) fn ended(&mut self) {
        self.clear();
        self.channel.set_air(Air::Ended);
    }

    /// Ends the grace and whoever stands in; the air is the caller's.
    pub(crate) fn clear(&mut self) {
        if let Some(absence) = self.absence.take() {
            absence.abort();
        }
        if let Some(stand_in) = &self.stand_in {
            stand_in.leave();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}
