//! How fast a viewer's first part comes: as its request allows, then in real time.
//!
//! Without a wish the whole fast start goes out at once over TCP, which bounds itself. With one, and over UDP always, a token bucket bounds it until the
//! agreed milliseconds of media are sent; from then on the viewer stays as far behind the live edge as it is
//! ([`crate::viewer::Hot::delay`]), which is real time. Wishes: MS-MMSP 2.2.4.25, protocol page §5.17.

use std::time::{Duration, Instant};

use funnel_session::server::Accel;

/// A token bucket over the fast start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FastStart {
    bytes_per_second: u64,
    /// Media to send at that rate, ms; `u64::MAX`: until the viewer has caught up.
    media_ms: u64,
    /// Send time of the first packet, once it was sent.
    from_ms: Option<u64>,
    filled_at: Instant,
    /// Below zero after a packet that was larger than what was left.
    credit_bytes: i64,
    /// Who has not caught up by then is not told the truth by the header.
    ends_by: Option<Instant>,
}

impl FastStart {
    /// `None` when the request sets no bound. Never slower than the channel needs (`bit_rate`, bit/s).
    pub(crate) fn new(accel: &Accel, bit_rate: u32, train: Duration, now: Instant) -> Option<Self> {
        let wished = [accel.bandwidth, accel.link].into_iter().flatten().min()?;
        Some(Self::at(wished, accel, bit_rate, train, now))
    }

    /// Over UDP, where nothing bounds itself: as wished, else three times what the channel sends. Either is at least twice
    /// what the header tells, so that a log that reaches back by `retain` is caught up with in that time; then nothing but the
    /// bursts is a bound. `None`: nobody knows what the channel sends.
    pub(crate) fn over_udp(
        accel: &Accel,
        bit_rate: u32,
        train: Duration,
        retain: Duration,
        now: Instant,
    ) -> Option<Self> {
        let usual = (bit_rate > 0).then(|| bit_rate.saturating_mul(3));
        let wished = [accel.bandwidth, accel.link].into_iter().flatten().min();
        Some(Self {
            ends_by: Some(now + retain),
            ..Self::at(wished.or(usual)?, accel, bit_rate, train, now)
        })
    }

    fn at(wished: u32, accel: &Accel, bit_rate: u32, train: Duration, now: Instant) -> Self {
        // Headers tell the media's rate: ASF's own bytes, heads and padding come on top, as much again in the worst case.
        let bytes_per_second = u64::from(wished.max(bit_rate.saturating_mul(2))) / 8;
        Self {
            bytes_per_second,
            media_ms: accel.duration_ms.map_or(u64::MAX, u64::from),
            from_ms: None,
            filled_at: now,
            credit_bytes: bytes_in(bytes_per_second, train).cast_signed(),
            ends_by: None,
        }
    }

    /// Whether it helps no more.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.ends_by.is_some_and(|at| at <= now)
    }

    /// How long `bytes` take at this rate.
    pub(crate) fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.bytes_per_second.max(1))
    }

    /// Bytes that may go out now.
    pub(crate) fn budget(&mut self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        // A viewer that was not visited for long must not burst: one second's worth at most.
        let more = bytes_in(self.bytes_per_second, since);
        self.credit_bytes = (self.credit_bytes.saturating_add_unsigned(more))
            .min(self.bytes_per_second.cast_signed());
        self.credit_bytes.max(0).cast_unsigned()
    }

    /// Notes what went out; the packets' send times tell when the agreed part is over.
    pub(crate) fn spend(&mut self, bytes: u64, first_ms: u64, last_ms: u64) -> Progress {
        self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(bytes);
        let from = *self.from_ms.get_or_insert(first_ms);
        if last_ms.saturating_sub(from) >= self.media_ms {
            Progress::Over
        } else {
            Progress::Going
        }
    }
}

/// Whether the fast start goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    Going,
    Over,
}

fn bytes_in(bytes_per_second: u64, time: Duration) -> u64 {
    let bytes = u128::from(bytes_per_second) * time.as_millis() / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: Duration = Duration::from_millis(200);

    fn accel(bandwidth: Option<u32>, duration_ms: Option<u32>, link: Option<u32>) -> Accel {
        Accel {
            bandwidth,
            duration_ms,
            link,
        }
    }

    #[test]
    fn no_wish_is_no_bound() {
        assert!(
            FastStart::new(
                &accel(None, Some(5000), None),
                300_000,
                TRAIN,
                Instant::now()
            )
            .is_none()
        );
    }

    #[test]
    fn the_slower_of_wish_and_link_holds_but_not_below_the_channel() {
        let now = Instant::now();
        for (bandwidth, link, expected) in [
            (3_500_000, 1_000_000, 1_000_000),
            (3_500_000, 8_000_000, 3_500_000),
            (100_000, 90_000, 600_000),
        ] {
            let mut start = FastStart::new(
                &accel(Some(bandwidth), None, Some(link)),
                300_000,
                TRAIN,
                now,
            )
            .expect("a wish");
            let all = start.budget(now);
            start.spend(all, 0, 0);
            assert_eq!(start.budget(now + Duration::from_secs(1)) * 8, expected);
        }
    }

    #[test]
    fn it_ends_with_the_agreed_media() {
        let mut start = FastStart::new(
            &accel(Some(1_000_000), Some(5000), None),
            1,
            TRAIN,
            Instant::now(),
        )
        .expect("a wish");
        assert_eq!(start.spend(1, 70_000, 72_000), Progress::Going);
        assert_eq!(start.spend(1, 72_000, 74_999), Progress::Going);
        assert_eq!(start.spend(1, 74_999, 75_000), Progress::Over);
    }
}
