//! The playback model: what a viewer with a buffer of so many seconds would have seen.
//!
//! ```text
//! Filling ── as much media as the buffer holds ──► Playing ── media used up ──► Stalled ── buffer full again ──► Playing
//! ```
//!
//! Media is a position on the stream's own time (ms since its first packet); playing uses it up in real time. Like the players
//! we know, a stalled one fills its whole buffer before it goes on.

use std::time::{Duration, Instant};

/// One viewer's model.
#[derive(Clone, Copy, Debug)]
pub struct Playback {
    state: State,
    /// Media there is, ms on the stream's time.
    have_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing has come.
    Empty,
    /// Collects from `from_ms` on. `since` is when the last one ran dry, if this is a stall.
    Filling {
        from_ms: u64,
        since: Option<Instant>,
    },
    /// Media up to `until_ms(t) = from_ms + (t − began)` is used up.
    Playing { from_ms: u64, began: Instant },
}

/// What changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Playback began for the first time.
    Started,
    /// Media ran out, at this moment in the past.
    Stalled(Instant),
    /// Playback goes on after so long.
    Resumed(Duration),
}

impl Default for Playback {
    fn default() -> Playback {
        Playback {
            state: State::Empty,
            have_ms: 0,
        }
    }
}

impl Playback {
    /// Media up to `position_ms` is there now. Call [`Playback::look`] before.
    pub fn media(&mut self, now: Instant, position_ms: u64, buffer: Duration) -> Option<Change> {
        self.have_ms = self.have_ms.max(position_ms);
        if let State::Empty = self.state {
            self.have_ms = position_ms;
            self.state = State::Filling {
                from_ms: position_ms,
                since: None,
            };
        }
        let State::Filling { from_ms, since } = self.state else {
            return None;
        };
        if u128::from(self.have_ms - from_ms) < buffer.as_millis() {
            return None;
        }
        self.state = State::Playing {
            from_ms,
            began: now,
        };
        Some(match since {
            None => Change::Started,
            Some(since) => Change::Resumed(now.saturating_duration_since(since)),
        })
    }

    /// Has the media run out by now?
    pub fn look(&mut self, now: Instant) -> Option<Change> {
        let State::Playing { from_ms, began } = self.state else {
            return None;
        };
        let dry = began + Duration::from_millis(self.have_ms - from_ms);
        if now <= dry {
            return None;
        }
        self.state = State::Filling {
            from_ms: self.have_ms,
            since: Some(dry),
        };
        Some(Change::Stalled(dry))
    }

    /// Since when it has been stalled, if it is.
    pub fn stalled_since(&self) -> Option<Instant> {
        match self.state {
            State::Filling { since, .. } => since,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: Duration = Duration::from_secs(3);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_stream_starts_when_the_buffer_is_full_and_never_stalls() {
        let (began, mut playback) = (Instant::now(), Playback::default());
        for position in (0..60_000).step_by(200) {
            let now = began + ms(position);
            assert_eq!(playback.look(now), None);
            let change = playback.media(now, 5_000 + position, BUFFER);
            assert_eq!(
                change,
                (position == 3_000).then_some(Change::Started),
                "{position}"
            );
        }
    }

    #[test]
    fn a_fast_start_plays_at_once() {
        let (now, mut playback) = (Instant::now(), Playback::default());
        assert_eq!(playback.media(now, 100, BUFFER), None);
        assert_eq!(playback.media(now, 5_100, BUFFER), Some(Change::Started));
    }

    #[test]
    fn a_hole_longer_than_the_buffer_stalls_for_known_times() {
        let (began, mut playback) = (Instant::now(), Playback::default());
        playback.media(began, 0, BUFFER);
        assert_eq!(playback.media(began, 4_000, BUFFER), Some(Change::Started));
        assert_eq!(playback.look(began + ms(4_000)), None);
        // Nothing until 6 s after the start; then media comes at twice real time.
        assert_eq!(
            playback.look(began + ms(6_000)),
            Some(Change::Stalled(began + ms(4_000)))
        );
        assert_eq!(playback.stalled_since(), Some(began + ms(4_000)));
        assert_eq!(playback.look(began + ms(6_001)), None, "said once");
        assert_eq!(playback.media(began + ms(6_000), 6_000, BUFFER), None);
        assert_eq!(
            playback.media(began + ms(6_500), 7_000, BUFFER),
            Some(Change::Resumed(ms(2_500)))
        );
        assert_eq!(
            playback.look(began + ms(9_500)),
            None,
            "three seconds are there"
        );
        assert_eq!(
            playback.look(began + ms(9_501)),
            Some(Change::Stalled(began + ms(9_500)))
        );
    }

    #[test]
    fn positions_that_go_back_take_nothing_away() {
        let (began, mut playback) = (Instant::now(), Playback::default());
        playback.media(began, 1_000, BUFFER);
        playback.media(began, 4_500, BUFFER);
        playback.media(began, 2_000, BUFFER);
        assert_eq!(playback.look(began + ms(3_500)), None);
    }
}
