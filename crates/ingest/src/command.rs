//! A program as source: run, read, restarted when it ends.
//!
//! Packets are published as they arrive. With `start = first-viewer` the program runs while somebody is interested: it begins when a
//! header is asked for, its packets are held back to the newest clean point until the first viewer plays, and it is stopped some seconds
//! after the last one left.

use funnel_channel::Demand;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    child::Child,
    intake::{Intake, Patience},
    runtime::Stop,
    stage::Stage,
    wants::Wants,
};

/// Feeds a channel from `run` until ingest stops.
pub(crate) async fn run(
    run: Vec<String>,
    patience: Patience,
    stage: Stage,
    wants: Wants,
    mut stop: Stop,
) {
    let mut source = Source {
        run,
        wants,
        intake: Intake::new(stage, patience, "the command"),
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
                    // Else whoever asks for a header again and again would start a command that fails each time.
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
        info!(channel = source.intake.name(), after = ?wait, "the command will be started again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.stopped() => return,
        }
    }
}

/// One channel's command.
struct Source {
    run: Vec<String>,
    wants: Wants,
    intake: Intake,
}

/// How a run of the command ended.
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
enum Event {
    Stop,
    Idle(Demand),
    Play,
    Bytes(Vec<u8>),
    Closed,
    /// No packet for as long as a source may be silent, and then for its grace.
    Silent,
}

impl Source {
    /// Runs the command once. A play beyond what was `heard` starts the show.
    async fn run_once(&mut self, heard: Demand, stop: &mut Stop) -> Outcome {
        let on_demand = self.wants.on_demand();
        self.intake.begin_run(!on_demand);
        let mut child = match Child::spawn(&self.run, self.intake.name()) {
            Ok(child) => child,
            Err(error) => {
                warn!(channel = self.intake.name(), command = self.run.first(), %error, "the command cannot be started");
                return Outcome::Ended;
            }
        };
        info!(
            channel = self.intake.name(),
            command = self.run.first(),
            "the command is running"
        );
        let (mut idle, mut play) = (self.wants.clone(), self.wants.clone());
        let idle = idle.idle();
        tokio::pin!(idle);
        loop {
            let silent_at = self.intake.silent_at();
            let event = tokio::select! {
                biased;
                () = stop.stopped() => Event::Stop,
                () = play.play_since(heard), if !self.intake.is_playing() => Event::Play,
                seen = &mut idle, if on_demand => Event::Idle(seen),
                chunk = child.chunk() => chunk.map_or(Event::Closed, Event::Bytes),
                () = tokio::time::sleep_until(silent_at.into()) => Event::Silent,
            };
            let outcome = match event {
                Event::Play => {
                    self.intake.play();
                    continue;
                }
                Event::Bytes(bytes) => match self.intake.take(&bytes) {
                    Ok(()) => continue,
                    Err(fault) => {
                        warn!(channel = self.intake.name(), %fault, "the command's output cannot be used");
                        Outcome::Ended
                    }
                },
                Event::Closed => {
                    let status = child.finish().await;
                    let status = status.map(|status| status.to_string());
                    warn!(
                        channel = self.intake.name(),
                        status,
                        packets = self.intake.packets(),
                        "the command has ended"
                    );
                    self.intake.end_run();
                    return Outcome::Ended;
                }
                Event::Silent if !self.intake.is_silent() => {
                    self.intake.fall_silent();
                    continue;
                }
                Event::Silent => {
                    warn!(
                        channel = self.intake.name(),
                        "the command goes on delivering no packets and is ended"
                    );
                    Outcome::Ended
                }
                Event::Stop => Outcome::Stopped,
                Event::Idle(seen) => {
                    info!(
                        channel = self.intake.name(),
                        "nobody is watching: the command is stopped"
                    );
                    Outcome::Idle(seen)
                }
            };
            child.stop().await;
            self.intake.end_run();
            return outcome;
        }
    }
}
