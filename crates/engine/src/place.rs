//! Where a viewer begins in a log, and when its bounded fast start is over and it stays where it is.

use std::time::{Duration, Instant};

use funnel_channel::Guard;

use crate::pacing::Progress;
use crate::viewer::{Hot, Media, Run, UNJOINED};

/// Finds the place to begin at: the very first packet of the log while it is young, else a clean point.
pub(crate) fn join(
    hot: &mut Hot,
    media: &Media,
    guard: &Guard<'_>,
    now: Instant,
    fast_start: Duration,
) {
    // After a jump only onwards, whatever another log still holds: nothing may come twice.
    if let Some(from) = media.missed_until {
        let clean = guard
            .join_point(now, fast_start)
            .filter(|at| *at >= from)
            .or_else(|| guard.next_clean_point(from));
        hot.run.cursor = clean.unwrap_or(UNJOINED);
        hot.run.joined_at = clean;
        return;
    }
    // Packet 0 begins the source: nothing in it is cut, so everybody may begin there (and nothing of a show is lost).
    let first = guard
        .packet(0)
        .filter(|packet| now.saturating_duration_since(packet.published_at()) <= fast_start);
    let fresh = guard.head() == 0 && guard.tail() == 0;
    let whole = first.is_some() || (fresh && !guard.ended());
    let clean = if whole {
        None
    } else {
        guard.join_point(now, fast_start)
    };
    let (cursor, joined_at) = match (whole, clean) {
        (true, _) => (0, None),
        (false, Some(at)) => (at, Some(at)),
        // No clean point yet: packet 0 is still the best place, if it is there.
        (false, None) if guard.packet(0).is_some() => (0, None),
        (false, None) => (UNJOINED, None),
    };
    hot.run = Run {
        cursor,
        joined_at,
        ..hot.run
    };
}

/// What a visit sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Where the viewer stood before.
    pub(crate) start: Run,
    pub(crate) bytes: u64,
    /// It has all there is to have now.
    pub(crate) caught_up: bool,
}

/// Ends the bounded part of the fast start when its media is sent or the viewer has caught up.
pub(crate) fn pace(
    hot: &mut Hot,
    media: &mut Media,
    guard: &Guard<'_>,
    sent: Sent,
    now: Instant,
    behind_max: Duration,
) {
    let Some(fast_start) = &mut media.fast_start else {
        return;
    };
    let times = guard
        .packet(sent.start.cursor)
        .zip(guard.packet(hot.run.cursor.saturating_sub(1)));
    let progress = match times {
        Some((first, last)) if sent.bytes > 0 => {
            fast_start.spend(sent.bytes, first.send_ms(), last.send_ms())
        }
        _ => Progress::Going,
    };
    if sent.caught_up && guard.tail() > 0 || fast_start.is_overdue(now) {
        media.fast_start = None;
    } else if progress == Progress::Over {
        let behind = guard.packet(hot.run.cursor).map_or(Duration::ZERO, |next| {
            now.saturating_duration_since(next.published_at())
        });
        // Who joined further back, for want of a newer clean point, first catches up: the log does not wait for it.
        if behind <= behind_max {
            media.fast_start = None;
            hot.delay_ms = u32::try_from(behind.as_millis()).unwrap_or(u32::MAX);
        }
    }
}
