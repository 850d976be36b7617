//! What stands in while a channel's source is away: other channels and files, the first that has something.
//!
//! [`StandIn::play`] is the task that runs from the end of the grace until the source is back. It plays the first fallback that is there,
//! goes back to an earlier one when that returns, and on to the next when there is nothing to play any more. A fallback's header decides
//! as a source's does: an equivalent one goes on in the epoch on air. How each kind is played: [`show`].

mod show;

use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use funnel_asf::Header;
use funnel_channel::{Air, Channel, Start};
use tokio::{sync::watch, time::sleep_until};
use tracing::{info, warn};

use crate::{
    feed::{Begun, Feed, FeedError},
    runtime::SourceSpec,
};

/// What can stand in for a channel's source.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// Whatever another channel has on air.
    Channel(Arc<Channel>),
    /// An ASF file, looped.
    File(PathBuf),
}

/// The fallbacks of one channel.
#[derive(Debug)]
pub(crate) struct StandIn {
    channel: Arc<Channel>,
    feed: Rc<RefCell<Feed>>,
    grace: Duration,
    /// In the order of preference.
    choices: Vec<Choice>,
    /// Rung when a channel among them changes.
    bell: watch::Receiver<()>,
    has_begun: Cell<bool>,
}

#[derive(Debug)]
struct Choice {
    fallback: Fallback,
    /// It could not be played and is left alone until then.
    not_before: Cell<Option<Instant>>,
}

impl StandIn {
    /// For the channel of `spec`, which is fed by `feed`; `None` without fallbacks.
    pub(crate) fn of(spec: &SourceSpec, feed: &Rc<RefCell<Feed>>) -> Option<Self> {
        if spec.fallback.is_empty() {
            return None;
        }
        let (ring, bell) = watch::channel(());
        for fallback in &spec.fallback {
            if let Fallback::Channel(channel) = fallback {
                let ring = ring.clone();
                channel.on_change(Box::new(move || {
                    ring.send_replace(());
                }));
            }
        }
        let choices = spec.fallback.iter().cloned().map(Choice::new).collect();
        Some(Self {
            channel: Arc::clone(&spec.channel),
            feed: Rc::clone(feed),
            grace: spec.source_grace,
            choices,
            bell,
            has_begun: Cell::new(false),
        })
    }

    /// Whether the feed has been used since the source left.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// The source has the feed again.
    pub(crate) fn leave(&self) {
        self.has_begun.set(false);
    }

    /// Plays until dropped. Begins when the grace is over.
    pub(crate) async fn play(&self) {
        let mut lost_at = Instant::now();
        let mut interest = Interest::default();
        let mut bell = self.bell.clone();
        loop {
            let Some(index) = self.first_ready() else {
                interest.reach(&self.choices);
                if self.channel.snapshot().air == Air::OnAir {
                    self.channel.set_air(Air::Gap);
                    lost_at = Instant::now() + self.grace;
                }
                self.wait(lost_at, &mut bell).await;
                continue;
            };
            interest.reach(&self.choices[..=index]);
            let choice = &self.choices[index];
            let (channel, fallback) = (self.channel.name(), choice.name());
            info!(
                channel,
                fallback, "the source is away: a fallback stands in"
            );
            tokio::select! {
                shown = self.show(&choice.fallback) => match shown {
                    Ok(()) => info!(channel, fallback, "the fallback has nothing more"),
                    Err(fault) => {
                        warn!(channel, fallback, %fault, retry_in = ?RETRY, "the fallback cannot stand in");
                        choice.not_before.set(Some(Instant::now() + RETRY));
                    }
                },
                () = self.better_than(index) => {}
            }
        }
    }

    fn first_ready(&self) -> Option<usize> {
        self.choices.iter().position(Choice::is_ready)
    }

    /// Nothing is there: says so when the grace is over, and returns when something may have changed: `bell` rings.
    async fn wait(&self, lost_at: Instant, bell: &mut watch::Receiver<()>) {
        let now = Instant::now();
        if now >= lost_at && self.channel.snapshot().air == Air::Gap {
            warn!(
                channel = self.channel.name(),
                "the source is lost, and no fallback has anything"
            );
            self.channel.set_air(Air::Lost);
        }
        let retries = self.choices.iter().filter_map(|it| it.not_before.get());
        let wake_at = retries.chain([lost_at]).filter(|at| *at > now).min();
        tokio::select! {
            result = bell.changed() => if result.is_err() { std::future::pending().await },
            () = sleep_until(wake_at.unwrap_or(now + RETRY).into()) => {}
        }
    }

    /// Returns when another one should stand in instead: a channel that comes before, or any while this one pauses.
    async fn better_than(&self, index: usize) {
        let (before, rest) = self.choices.split_at(index);
        let mut bell = self.bell.clone();
        loop {
            let mut others = rest.iter().skip(1);
            let pauses = !rest[0].is_ready();
            // A file that comes before has failed; it is tried again when this one has nothing more.
            if before.iter().any(|it| it.is_channel() && it.is_ready())
                || (pauses && (before.iter().any(Choice::is_ready) || others.any(Choice::is_ready)))
            {
                return;
            }
            if bell.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// A fallback's header, and when what follows would have been sent.
    fn begin(
        &self,
        header: Header,
        packet_bytes: u32,
        bit_rates: &[(u8, u32)],
        at: Instant,
    ) -> Result<(), FeedError> {
        let mut feed = self.feed.borrow_mut();
        let disturbs = feed.has_begun();
        let begun = feed.begin(header, packet_bytes, bit_rates, at)?;
        if disturbs && begun == Begun::New {
            warn!(
                channel = self.channel.name(),
                "the fallback has another format than what was on air: players that cannot follow are ended"
            );
        }
        drop(feed);
        self.has_begun.set(true);
        self.channel.set_air(Air::OnAir);
        Ok(())
    }

    /// A fallback's packet; its place on the channel's timeline, unless there is nothing in it for anybody.
    fn publish(&self, raw: &[u8]) -> Option<u64> {
        let mut feed = self.feed.borrow_mut();
        let packet = feed.prepare(raw).ok().flatten()?;
        let send_ms = packet.send_ms();
        packet.publish(Instant::now());
        Some(send_ms)
    }
}

impl Choice {
    fn new(fallback: Fallback) -> Self {
        Self {
            fallback,
            not_before: Cell::new(None),
        }
    }

    fn name(&self) -> String {
        match &self.fallback {
            Fallback::Channel(channel) => channel.name().to_owned(),
            Fallback::File(path) => path.display().to_string(),
        }
    }

    fn is_channel(&self) -> bool {
        matches!(self.fallback, Fallback::Channel(_))
    }

    fn is_ready(&self) -> bool {
        if self.not_before.get().is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let Fallback::Channel(channel) = &self.fallback else {
            return true;
        };
        let now = channel.snapshot();
        let is_live = now.epoch.is_some_and(|epoch| !epoch.log.ended());
        is_live && (now.air == Air::OnAir || (now.air == Air::Ready && waits_for_viewers(channel)))
    }
}

fn waits_for_viewers(channel: &Channel) -> bool {
    channel.options().start == Start::FirstViewer
}

/// For channels that wait for viewers, a fallback is one: those that are wanted run.
#[derive(Debug, Default)]
struct Interest(Vec<Option<Seat>>);

impl Interest {
    /// Watches these and no others.
    fn reach(&mut self, choices: &[Choice]) {
        self.0.truncate(choices.len());
        for choice in &choices[self.0.len()..] {
            self.0.push(match &choice.fallback {
                Fallback::Channel(channel) if waits_for_viewers(channel) => {
                    Some(Seat::taken(channel))
                }
                _ => None,
            });
        }
    }
}

/// A viewer of a channel, as its source counts them.
#[derive(Debug)]
struct Seat(Arc<Channel>);

impl Seat {
    fn taken(channel: &Arc<Channel>) -> Self {
        channel.ask_header();
        channel.viewer_started();
        Self(Arc::clone(channel))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.viewer_left();
    }
}

/// When a fallback that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use funnel_channel::ChannelOptions;
    use tokio::time::timeout;

    use super::*;
    use crate::runtime::{PushOptions, Source};

    fn channel(name: &str) -> Arc<Channel> {
        let options = ChannelOptions {
            start: Start::Always,
            readers_max: 1,
        };
        Channel::new(name, options)
    }

    #[test]
    fn who_has_nothing_to_show_sleeps_until_something_changes() {
        let other = channel("other");
        let spec = SourceSpec {
            channel: channel("one"),
            source: Source::Push(PushOptions::default()),
            fallback: vec![Fallback::Channel(Arc::clone(&other))],
            title: None,
            author: None,
            log_seconds: 60,
            log_bytes_max: 1 << 20,
            source_grace: Duration::from_secs(60),
            file_id: [7; 16],
        };
        let feed = Rc::new(RefCell::new(Feed::new(&spec)));
        let stand_in = StandIn::of(&spec, &feed).expect("a fallback");
        other.set_air(Air::Lost); // long before anybody looks
        let polls = Cell::new(0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut play = pin!(stand_in.play());
            let mut look = async || {
                let counted = poll_fn(|context| {
                    polls.set(polls.get() + 1);
                    play.as_mut().poll(context)
                });
                let over = timeout(Duration::from_millis(50), counted).await;
                assert!(over.is_err(), "it plays until it is dropped");
                polls.replace(0)
            };
            assert!(look().await <= 3);
            other.set_air(Air::Ended);
            assert!((1..=4).contains(&look().await));
            assert!(look().await <= 3);
        });
    }
}
