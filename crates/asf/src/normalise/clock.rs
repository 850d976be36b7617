//! The timeline of a channel: 32-bit times of one or many sources become one 64-bit clock that never goes back.
//!
//! Rules: `docs/protocol/asf.md` §8.2 (absurd send times), §13 A (loops), §18 (send times that go back). Send and
//! presentation times move by the same offset, so what a source got right between them stays right.

/// Keeps the offset between the source's times and the channel's.
#[derive(Debug)]
pub(super) struct Clock {
    preroll_ms: i64,
    /// Added to the source's times.
    offset_ms: i64,
    /// The source's latest send time, unwrapped.
    source_ms: Option<i64>,
    /// The channel's latest send time.
    sent_ms: u64,
    trust: Trust,
    /// The source began again: its first packet sets the offset, at least this long after the last.
    restart: Option<u64>,
    /// The next packet is the first of another pass.
    begins_pass: bool,
    /// Smallest presentation time of this pass, channel time.
    pass_min_ms: Option<i64>,
}

/// Where send times come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trust {
    /// The first timed packet decides.
    Undecided,
    /// The packets' own.
    Packets,
    /// Presentation time less the preroll: the source's own are absurd (GStreamer) or too late (VLC).
    Presentation,
}

/// Times of one packet of the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Send time, low 32 bits.
    pub(super) send_ms: u32,
    /// Least (presentation − send) of the objects that begin in it.
    pub(super) lead_ms: Option<i64>,
    /// Least (presentation − send) of all its payloads.
    pub(super) any_lead_ms: Option<i64>,
    /// Where the streams' next objects belong, channel time: the presentation times used so far plus a usual gap.
    pub(super) next_ms: Option<i64>,
}

/// What a packet's times become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Placed {
    /// Channel send time.
    pub(super) send_ms: u64,
    /// Unwrapped send time as the source wrote it; presentation times are this plus their lead plus the offset.
    pub(super) source_ms: i64,
    /// To be added to presentation times.
    pub(super) offset_ms: i64,
    /// The timeline was begun anew here because the source's times jumped.
    pub(super) jumped: bool,
}

impl Clock {
    pub(super) fn new(preroll_ms: u32) -> Clock {
        Clock {
            preroll_ms: i64::from(preroll_ms),
            offset_ms: 0,
            source_ms: None,
            sent_ms: 0,
            trust: Trust::Undecided,
            restart: None,
            begins_pass: false,
            pass_min_ms: None,
        }
    }

    /// Places one packet.
    pub(super) fn place(&mut self, times: Times) -> Placed {
        let written = self.unwrap(times.send_ms);
        let sane = self.sane(written, &times);
        let jumped = self.restart.is_none() && self.is_jump(sane);
        if jumped {
            self.restart = Some(0);
        }
        if let Some(gap_ms) = self.restart.take() {
            let after_sent = (self.sent_ms.saturating_add(gap_ms)) as i64 - sane;
            let presentation = written + times.any_lead_ms.unwrap_or(self.preroll_ms);
            // Where the presentation times would have it, unless damage makes that a pause nobody waits for.
            self.offset_ms = times
                .next_ms
                .map(|next| next - presentation)
                .filter(|offset| (after_sent..=after_sent + AHEAD_MS_MAX).contains(offset))
                .unwrap_or(after_sent);
        }
        self.begins_pass = false;
        if sane + self.offset_ms < 0 {
            self.offset_ms = -sane;
        }
        self.source_ms = Some(sane);
        self.sent_ms = self.sent_ms.max((sane + self.offset_ms) as u64);
        Placed {
            send_ms: self.sent_ms,
            source_ms: written,
            offset_ms: self.offset_ms,
            jumped,
        }
    }

    /// Whether an object shown at `time_ms` (channel time) can belong to the packet placed last; what is far from it is
    /// damaged and says nothing about where the pass begins and ends.
    pub(super) fn is_plausible(&self, time_ms: i64) -> bool {
        (time_ms - self.preroll_ms - self.sent_ms as i64).abs() <= LEAD_MS_MAX
    }

    /// Notes a plausible presentation time (channel time) of this pass.
    pub(super) fn presented(&mut self, time_ms: i64) {
        self.pass_min_ms = Some(self.pass_min_ms.map_or(time_ms, |least| least.min(time_ms)));
    }

    /// The source goes back to its first packet; `next_ms`: where the streams' next objects belong.
    pub(super) fn next_pass(&mut self, next_ms: Option<i64>) {
        if self.source_ms.take().is_none() {
            return;
        }
        self.begins_pass = true;
        match (next_ms, self.pass_min_ms.take()) {
            (Some(next), Some(least)) => self.offset_ms += (next - least).max(1),
            _ => self.restart = Some(0),
        }
    }

    /// The source was restarted; its first packet goes `gap_ms` after the last one sent.
    pub(super) fn resume(&mut self, gap_ms: u64) {
        self.restart = Some(gap_ms.min(GAP_MS_MAX));
        self.source_ms = None;
        self.begins_pass = false;
        self.pass_min_ms = None;
        self.trust = Trust::Undecided;
    }

    /// 32 bits around the latest time of the source.
    fn unwrap(&self, send_ms: u32) -> i64 {
        match self.source_ms {
            Some(latest) => latest + i64::from(send_ms.wrapping_sub(latest as u32) as i32),
            None => i64::from(send_ms),
        }
    }

    /// The send time to work with: the packet's own unless it contradicts the presentation times.
    fn sane(&mut self, written: i64, times: &Times) -> i64 {
        let Some(lead_ms) = times.lead_ms else {
            return match (self.trust, self.source_ms) {
                (Trust::Presentation, Some(latest)) => latest,
                _ => written,
            };
        };
        let absurd = (lead_ms - self.preroll_ms).abs() > LEAD_MS_MAX;
        if self.trust == Trust::Undecided {
            let late = lead_ms < self.preroll_ms / 4;
            self.trust = if absurd || late {
                Trust::Presentation
            } else {
                Trust::Packets
            };
        }
        let derived = written + lead_ms - self.preroll_ms;
        match self.trust {
            Trust::Presentation => match self.source_ms {
                Some(latest) if derived < latest && latest - derived < LEAD_MS_MAX => latest,
                _ => derived,
            },
            _ if absurd => derived,
            _ => written.min(written + lead_ms),
        }
    }

    fn is_jump(&self, sane: i64) -> bool {
        if self.begins_pass {
            let step = sane + self.offset_ms - self.sent_ms as i64;
            return !(-LEAD_MS_MAX..=AHEAD_MS_MAX).contains(&step);
        }
        let step = sane - self.source_ms.unwrap_or(sane);
        !(-BACK_MS_MAX..=AHEAD_MS_MAX).contains(&step)
    }
}

/// Presentation and send time may differ from the preroll by this much (§8.2).
const LEAD_MS_MAX: i64 = 60_000;
/// Send times may go back this far (§18); beyond, the timeline begins anew.
const BACK_MS_MAX: i64 = 1_000;
/// A pause in the source longer than this is a new timeline: nobody waits for it.
const AHEAD_MS_MAX: i64 = 600_000;
/// A gap between two runs of a source is never shown longer than this.
const GAP_MS_MAX: u64 = 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn times(send_ms: u32, lead_ms: i64) -> Times {
        Times {
            send_ms,
            lead_ms: Some(lead_ms),
            any_lead_ms: Some(lead_ms),
            next_ms: None,
        }
    }

    #[test]
    fn the_clock_runs_over_32_bits() {
        let mut clock = Clock::new(3100);
        assert_eq!(clock.place(times(u32::MAX - 79, 3100)).send_ms, 0xFFFF_FFB0);
        let placed = clock.place(times(20, 3100));
        assert_eq!((placed.send_ms, placed.offset_ms), (0x1_0000_0014, 0));
    }

    #[test]
    fn small_steps_back_are_clamped_and_large_ones_begin_anew() {
        let mut clock = Clock::new(3000);
        clock.place(times(10_000, 3000));
        assert_eq!(clock.place(times(9_500, 3000)).send_ms, 10_000);
        let placed = clock.place(Times {
            next_ms: Some(13_040),
            ..times(0, 3000)
        });
        assert!(placed.jumped);
        assert_eq!((placed.send_ms, placed.offset_ms), (10_040, 10_040));
    }

    #[test]
    fn late_and_absurd_send_times_come_from_presentation_times() {
        let mut vlc = Clock::new(2000);
        assert_eq!(vlc.place(times(2_500, 0)).send_ms, 500);
        assert_eq!(vlc.place(times(2_700, -90)).send_ms, 610);
        // GStreamer: send times from 1000 hours on, presentation times from 0; the low 32 bits come out right.
        let lead_ms = i64::from(5_000u32.wrapping_sub(3_600_000_000).cast_signed());
        let mut absurd = Clock::new(5000);
        assert_eq!(
            absurd.place(times(3_600_000_000, lead_ms)).send_ms as u32,
            0
        );
        assert_eq!(
            absurd.place(times(3_600_000_100, lead_ms)).send_ms as u32,
            100
        );
    }

    #[test]
    fn one_damaged_send_time_does_not_move_the_timeline() {
        let mut clock = Clock::new(3000);
        clock.place(times(1_000, 3000));
        assert_eq!(
            clock
                .place(times(2_000_000_000, 4_040 - 2_000_000_000))
                .send_ms,
            1_040
        );
        let placed = clock.place(times(1_080, 3000));
        assert_eq!(
            (placed.send_ms, placed.offset_ms, placed.jumped),
            (1_080, 0, false)
        );
    }

    #[test]
    fn a_pass_that_would_land_far_off_goes_on_after_the_last_packet() {
        let far = [i64::from(i32::MAX), AHEAD_MS_MAX + 70_000];
        for (next, least) in far
            .map(|far| (far, 3_000))
            .into_iter()
            .chain([(70_000, -far[0])])
        {
            let mut clock = Clock::new(3000);
            clock.place(times(0, 3000));
            clock.place(times(60_000, 3000));
            clock.presented(least);
            clock.next_pass(Some(next));
            let placed = clock.place(Times {
                next_ms: Some(next),
                ..times(0, 3000)
            });
            assert!(placed.jumped);
            let wanted = if next == 70_000 { 67_000 } else { 60_000 };
            assert_eq!(placed.offset_ms, wanted, "{next} {least}");
            assert_eq!(clock.place(times(40, 3000)).send_ms, wanted as u64 + 40);
        }
    }

    #[test]
    fn a_pass_without_any_plausible_time_goes_on_after_the_last_packet() {
        let mut clock = Clock::new(3000);
        clock.next_pass(None);
        assert_eq!(
            clock.place(times(500, 3000)).send_ms,
            500,
            "nothing was sent before"
        );
        clock.place(times(9_000, 3000));
        clock.next_pass(None);
        assert_eq!(clock.place(times(500, 3000)).send_ms, 9_000);
        assert_eq!(clock.place(times(700, 3000)).send_ms, 9_200);
    }

    #[test]
    fn a_restart_goes_on_after_the_gap() {
        let mut clock = Clock::new(3000);
        clock.place(times(60_000, 3000));
        clock.resume(2_500);
        let placed = clock.place(Times {
            next_ms: Some(63_040),
            ..times(0, 3000)
        });
        assert_eq!((placed.send_ms, placed.offset_ms), (62_500, 62_500));
        clock.resume(0);
        let placed = clock.place(Times {
            next_ms: Some(70_000),
            ..times(7, 3000)
        });
        assert_eq!(placed.offset_ms, 70_000 - 3_007);
    }
}
