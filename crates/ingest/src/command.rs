//! A program as source: run, read, restarted when it ends.
//!
//! Packets are published as they arrive. With `start = first-viewer` the program runs while somebody is interested: it begins when a
//! header is asked for, its packets are held back to the newest clean point until the first viewer plays, and it is stopped some seconds
//! after the last one left.

use std::time::{Duration, Instant};

use funnel_asf::{DeframeError, Deframer, Header, Item, Layout, Normaliser};
use funnel_channel::Demand;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    child::Child,
    feed::{Begun, Feed, FeedError, guessed_bit_rates},
    grace::Grace,
    inspect::{warning_of_codecs, warning_of_key_frames, warning_of_packet_size},
    runtime::Stop,
    wants::Wants,
};

/// How long a source may be away, and when it counts as that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) grace: Duration,
    /// Without a packet for this long it is away.
    pub(crate) silence: Duration,
}

/// Feeds a channel from `run` until ingest stops.
pub(crate) async fn run(
    run: Vec<String>,
    patience: Patience,
    feed: Feed,
    wants: Wants,
    mut stop: Stop,
) {
    let grace = Grace::new(feed.channel(), patience.grace);
    let mut source = Source {
        run,
        wants,
        patience,
        intake: Intake::new(feed, grace),
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
                    source.intake.grace.away();
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
    patience: Patience,
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
            let Patience { grace, silence } = self.patience;
            let silent_for = if self.intake.is_silent {
                silence + grace
            } else {
                silence
            };
            let silent_at = tokio::time::Instant::from_std(self.intake.heard_at + silent_for);
            let event = tokio::select! {
                biased;
                () = stop.stopped() => Event::Stop,
                () = play.play_since(heard), if !self.intake.playing => Event::Play,
                seen = &mut idle, if on_demand => Event::Idle(seen),
                chunk = child.chunk() => chunk.map_or(Event::Closed, Event::Bytes),
                () = tokio::time::sleep_until(silent_at) => Event::Silent,
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
                        packets = self.intake.packets,
                        "the command has ended"
                    );
                    self.intake.end_run();
                    return Outcome::Ended;
                }
                Event::Silent if !self.intake.is_silent => {
                    warn!(
                        channel = self.intake.name(),
                        seconds = silence.as_secs_f32(),
                        "the command delivers no packets"
                    );
                    self.intake.is_silent = true;
                    self.intake.grace.away();
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

/// Takes the bytes of one run after the other and feeds the channel.
struct Intake {
    feed: Feed,
    grace: Grace,
    /// Whether packets go on air, or are held back for the first viewer.
    playing: bool,
    deframer: Deframer,
    run: Run,
    /// When the last good packet came, or the run began.
    heard_at: Instant,
    /// That is too long ago.
    is_silent: bool,
    packets: u64,
    damaged: u64,
}

/// What is known of the packets of this run.
#[derive(Default)]
struct Run {
    /// A header whose first packet has not come.
    header: Option<Header>,
    damaged_in_a_row: u32,
    /// Since when packets come.
    good_since: Option<Instant>,
    key_frames: KeyFrames,
}

/// How far key frames (to be exact: places where viewers may begin) are apart.
#[derive(Default)]
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

/// Why a command's output cannot be used; it is ended and started again.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Format(#[from] DeframeError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("more than {DAMAGED_MAX} damaged packets in a row")]
    Damaged,
}

impl Intake {
    fn new(feed: Feed, grace: Grace) -> Self {
        Self {
            feed,
            grace,
            playing: false,
            deframer: Deframer::new(),
            run: Run::default(),
            heard_at: Instant::now(),
            is_silent: false,
            packets: 0,
            damaged: 0,
        }
    }

    fn name(&self) -> &str {
        self.feed.channel().name()
    }

    fn begin_run(&mut self, playing: bool) {
        (self.deframer, self.run, self.playing) = (Deframer::new(), Run::default(), playing);
        (self.heard_at, self.is_silent) = (Instant::now(), false);
        (self.packets, self.damaged) = (0, 0);
    }

    fn end_run(&mut self) {
        if self.damaged > 0 {
            warn!(
                channel = self.name(),
                damaged = self.damaged,
                good = self.packets,
                "damaged packets were left out"
            );
        }
    }

    /// How long this run has delivered packets.
    fn good_for(&self) -> Duration {
        self.run
            .good_since
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nobody watches: the next viewer finds the header, and an empty log instead of what was on air for others.
    fn rest(&mut self) {
        if !self.feed.has_begun() {
            return;
        }
        match self.feed.renew() {
            Ok(()) => self.grace.ready(),
            Err(fault) => warn!(channel = self.name(), %fault, "the channel cannot be made ready"),
        }
    }

    /// The first viewer plays: what was held back goes on air.
    fn play(&mut self) {
        self.playing = true;
        if self.run.good_since.is_some() {
            self.feed.release(Instant::now());
            self.grace.back();
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let now = Instant::now();
        self.deframer.push(bytes);
        while let Some(item) = self.deframer.next()? {
            let raw = match item {
                Item::Packet(raw) => raw,
                Item::Header(header) => {
                    self.run.header = Some(header);
                    continue;
                }
                Item::End => continue,
            };
            // The first good packet shows how large packets will be, which the header on the wire has to say.
            if self.run.header.is_some() && Layout::parse(raw).is_ok() {
                let header = self.run.header.take().expect("looked at in the line above");
                begin(
                    &mut self.feed,
                    &mut self.grace,
                    header,
                    raw,
                    self.playing,
                    now,
                )?;
            }
            let log = self.feed.log_reach();
            match self.feed.prepare(raw) {
                Ok(packet) => {
                    let warning = packet.as_ref().and_then(|packet| {
                        let key_frames = &mut self.run.key_frames;
                        key_frames.look(packet.send_ms(), packet.is_clean_point(), log)
                    });
                    self.run.damaged_in_a_row = 0;
                    self.packets += 1;
                    let returns = std::mem::take(&mut self.is_silent);
                    self.heard_at = now;
                    if (self.run.good_since.is_none() || returns) && self.playing {
                        self.grace.back();
                    }
                    self.run.good_since.get_or_insert(now);
                    match packet {
                        Some(packet) if self.playing => packet.publish(now),
                        Some(packet) => packet.hold(),
                        None => {}
                    }
                    if let Some(warning) = warning {
                        warn!(channel = self.name(), "{warning}");
                    }
                }
                Err(_) => {
                    self.damaged += 1;
                    self.run.damaged_in_a_row += 1;
                    if self.run.damaged_in_a_row > DAMAGED_MAX {
                        return Err(Fault::Damaged);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A header with its first packet: goes on with the epoch on air, or begins another.
fn begin(
    feed: &mut Feed,
    grace: &mut Grace,
    header: Header,
    first: &[u8],
    playing: bool,
    now: Instant,
) -> Result<(), FeedError> {
    let packet_bytes = Normaliser::new(&header).probe(first);
    let bit_rates = guessed_bit_rates(&header);
    let warnings = [
        warning_of_packet_size(packet_bytes),
        warning_of_codecs(&header),
    ];
    let begun = feed.begin(header, packet_bytes, &bit_rates, now)?;
    let channel = feed.channel().name();
    match begun {
        Begun::New => {
            info!(channel, packet_bytes, "the command sends a new header");
            // Files are told about at the start of the server; a command says only now what it sends.
            for warning in warnings.iter().flatten() {
                warn!(channel, "{warning}");
            }
        }
        Begun::Continued => info!(channel, "the command goes on with the same header"),
    }
    if !playing {
        grace.ready();
    }
    Ok(())
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
