//! Sources that run: begun, listened to, ended and begun again, with growing pauses while they fail.
//!
//! What runs, a program or a connection, is the caller's [`Kind`]. Packets are published as they arrive. With `start = first-viewer` a run
//! begins when a header is asked for, its packets are held back to the newest clean point until the first viewer plays, and it is ended
//! some seconds after the last one left.

use std::ops::ControlFlow;

use funnel_channel::Demand;
use tracing::{info, warn};

use crate::{backoff::Backoff, intake::Intake, runtime::Stop, wants::Wants};

/// What can run.
pub(crate) trait Kind {
    type Run<'a>: Run
    where
        Self: 'a;

    /// Begins a run; `None` when that failed, which was said.
    fn start(&mut self, intake: &Intake) -> Option<Self::Run<'_>>;
}

/// A run that has begun.
pub(crate) trait Run {
    type News;

    /// Waits for what comes next. May be dropped and called again.
    async fn news(&mut self) -> Self::News;

    /// Takes it. Breaks when the run is over; why was said.
    fn take(&mut self, news: Self::News, intake: &mut Intake) -> ControlFlow<()>;

    /// Ends it.
    async fn stop(self, intake: &Intake);
}

/// Feeds a channel until ingest stops.
pub(crate) async fn run(kind: impl Kind, intake: Intake, wants: Wants, mut stop: Stop) {
    let mut source = Source {
        kind,
        wants,
        intake,
    };
    let mut backoff = Backoff::new();
    let mut heard = Demand::default();
    loop {
        if source.wants.on_demand() {
            tokio::select! {
                () = source.wants.any_since(heard) => {}
                () = stop.stopped() => return,
            }
        }
        let wait = match source.run_once(heard, &mut stop).await {
            Outcome::Stopped => return,
            Outcome::Ended => {
                let good = source.intake.good_for();
                let now = source.wants.now();
                if source.wants.on_demand() && now.viewers == 0 {
                    heard = now;
                    source.intake.rest();
                    // Else whoever asks for a header again and again would start a source that fails each time.
                    if !good.is_zero() {
                        continue;
                    }
                } else {
                    source.intake.away();
                }
                backoff.after(good)
            }
            Outcome::Idle(seen) => {
                heard = seen;
                source.intake.rest();
                continue;
            }
        };
        let (channel, name) = (source.intake.name(), source.intake.source());
        info!(channel, after = ?wait, "{name} is tried again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.stopped() => return,
        }
    }
}

/// One channel's source.
struct Source<K> {
    kind: K,
    wants: Wants,
    intake: Intake,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// It ended, or had to be ended.
    Ended,
    /// Nobody was interested any more, after this demand.
    Idle(Demand),
    /// Ingest is stopping.
    Stopped,
}

/// What a run waits for.
enum Event<N> {
    Stop,
    Idle(Demand),
    Play,
    News(N),
    /// No packet for as long as a source may be silent, and then for its grace.
    Silent,
}

impl<K: Kind> Source<K> {
    /// Runs once. A play beyond what was `heard` starts the show.
    async fn run_once(&mut self, heard: Demand, stop: &mut Stop) -> Outcome {
        let on_demand = self.wants.on_demand();
        self.intake.begin_run(!on_demand);
        let Some(mut run) = self.kind.start(&self.intake) else {
            return Outcome::Ended;
        };
        let (mut idle, mut play) = (self.wants.clone(), self.wants.clone());
        let idle = idle.idle();
        tokio::pin!(idle);
        let outcome = loop {
            let silent_at = self.intake.silent_at();
            let event = tokio::select! {
                biased;
                () = stop.stopped() => Event::Stop,
                () = play.play_since(heard), if !self.intake.is_playing() => Event::Play,
                seen = &mut idle, if on_demand => Event::Idle(seen),
                news = run.news() => Event::News(news),
                () = tokio::time::sleep_until(silent_at.into()) => Event::Silent,
            };
            let (channel, name) = (self.intake.name(), self.intake.source());
            match event {
                Event::Play => self.intake.play(),
                Event::News(news) => {
                    if run.take(news, &mut self.intake).is_break() {
                        break Outcome::Ended;
                    }
                }
                Event::Silent if !self.intake.is_silent() => self.intake.fall_silent(),
                Event::Silent => {
                    warn!(channel, "{name} goes on delivering no packets and is ended");
                    break Outcome::Ended;
                }
                Event::Stop => break Outcome::Stopped,
                Event::Idle(seen) => {
                    info!(channel, "nobody is watching: {name} is stopped");
                    break Outcome::Idle(seen);
                }
            }
        };
        run.stop(&self.intake).await;
        self.intake.end_run();
        outcome
    }
}
