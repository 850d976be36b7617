//! What viewers want of a channel, as its source waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnel_channel::{Air, Channel, Demand, Start};
use tokio::{sync::watch, time::timeout_at};

/// Waits for demand. Each clone waits for itself.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    channel: Arc<Channel>,
    idle: Duration,
    bell: watch::Receiver<()>,
}

impl Wants {
    /// Viewers of `channel`; it is idle when it had none for `idle`.
    pub(crate) fn of(channel: &Arc<Channel>, idle: Duration) -> Self {
        let (ring, bell) = watch::channel(());
        channel.on_demand(Box::new(move || {
            ring.send_replace(());
        }));
        Self {
            channel: Arc::clone(channel),
            idle,
            bell,
        }
    }

    /// Whether the source waits for its first viewer.
    pub(crate) fn on_demand(&self) -> bool {
        self.channel.options().start == Start::FirstViewer
    }

    pub(crate) fn now(&self) -> Demand {
        self.channel.demand()
    }

    /// The demand before a source's first run: for one that waits for its first viewer, who has begun to play before counts.
    pub(crate) fn before_first_run(&self) -> Demand {
        let mut demand = self.now();
        if self.on_demand() {
            demand.plays = 0;
        }
        demand
    }

    /// Puts the channel on air: at once, or when somebody has begun to play since `past` was taken, being ready until then.
    pub(crate) async fn go_on_air(&mut self, past: Demand) {
        if self.on_demand() {
            self.channel.set_air(Air::Ready);
            self.play_since(past).await;
        }
        self.channel.set_air(Air::OnAir);
    }

    /// Waits until somebody has begun to play since `past` was taken.
    pub(crate) async fn play_since(&mut self, past: Demand) {
        while self.now().plays == past.plays {
            self.changed().await;
        }
    }

    /// Waits until somebody plays, or has asked for a header since `past` was taken.
    pub(crate) async fn any_since(&mut self, past: Demand) {
        loop {
            let now = self.now();
            if now.viewers > 0 || now.opens != past.opens || now.plays != past.plays {
                return;
            }
            self.changed().await;
        }
    }

    /// Waits until the viewers of a show that is over are gone, or somebody new asks.
    pub(crate) async fn next_audience(&mut self, past: Demand) {
        loop {
            let now = self.now();
            if now.viewers == 0 || now.opens != past.opens || now.plays != past.plays {
                return;
            }
            self.changed().await;
        }
    }

    /// Waits until nobody has been playing, and nobody new has asked, for the idle time. Returns what it saw last: who comes while the
    /// source is being stopped is not in it.
    pub(crate) async fn idle(&mut self) -> Demand {
        let mut seen = self.now();
        let mut idle_at = Instant::now() + self.idle;
        loop {
            if seen.viewers > 0 {
                self.changed().await;
            } else if timeout_at(idle_at.into(), self.changed()).await.is_err() {
                return seen;
            }
            let now = self.now();
            if now != seen {
                idle_at = Instant::now() + self.idle;
            }
            seen = now;
        }
    }

    /// Completes when demand may have changed since this clone last looked.
    async fn changed(&mut self) {
        if self.bell.changed().await.is_err() {
            // The channel holds the other end, and we hold the channel.
            std::future::pending().await
        }
    }
}
