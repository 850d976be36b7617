//! The air of a channel whose source comes and goes: a gap is bridged for a while, then the source counts as lost.

use std::{sync::Arc, time::Duration};

use funnel_channel::{Air, Channel};
use tokio::task::JoinHandle;
use tracing::warn;

/// Sets the air state as the source leaves and returns.
#[derive(Debug)]
pub(crate) struct Grace {
    channel: Arc<Channel>,
    period: Duration,
    timer: Option<JoinHandle<()>>,
}

impl Grace {
    pub(crate) fn new(channel: &Arc<Channel>, period: Duration) -> Self {
        Self {
            channel: Arc::clone(channel),
            period,
            timer: None,
        }
    }

    /// The source is away. Viewers are kept for the period counted from the first call; a channel that was not on air stays as it is.
    pub(crate) fn away(&mut self) {
        if self.channel.snapshot().air != Air::OnAir {
            return;
        }
        self.channel.set_air(Air::Gap);
        let (channel, period) = (Arc::clone(&self.channel), self.period);
        let timer = tokio::task::spawn_local(async move {
            tokio::time::sleep(period).await;
            warn!(channel = channel.name(), away = ?period, "the source is lost");
            channel.set_air(Air::Lost);
        });
        self.stop_timer();
        self.timer = Some(timer);
    }

    /// Packets are coming.
    pub(crate) fn back(&mut self) {
        self.stop_timer();
        self.channel.set_air(Air::OnAir);
    }

    /// Nobody watches, the source rests: the header is known, the clock stands.
    pub(crate) fn ready(&mut self) {
        self.stop_timer();
        self.channel.set_air(Air::Ready);
    }

    /// The source said that its show is over.
    pub(crate) fn ended(&mut self) {
        self.stop_timer();
        self.channel.set_air(Air::Ended);
    }

    fn stop_timer(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        self.stop_timer();
    }
}
