//! Due times within a burst: encoders give all packets of a key frame one send time, and a network that gets them at once drops some.
//!
//! A bucket that drains at twice the channel's rate spreads them (`docs/protocol/asf.md` §8.2); paced transports obey, TCP does not.

/// Gives each packet of a channel its due time.
#[derive(Debug)]
pub(crate) struct Spread {
    /// Twice the channel's rate, in bit/s; 0 spreads nothing.
    bits_per_s: u64,
    /// When the packets before this one are through, µs on the channel's timeline.
    free_us: u64,
}

impl Spread {
    /// For a channel of `bit_rate` bit/s; 0 when unknown.
    pub(crate) fn new(bit_rate: u32) -> Self {
        Self {
            bits_per_s: u64::from(bit_rate) * 2,
            free_us: 0,
        }
    }

    /// When a packet of `bytes` with this send time is due: not before it, and at most [`HELD_MS_MAX`] after.
    pub(crate) fn due_ms(&mut self, send_ms: u64, bytes: usize) -> u64 {
        let send_us = send_ms.saturating_mul(1000);
        let due_us = self
            .free_us
            .clamp(send_us, send_us.saturating_add(HELD_MS_MAX * 1000));
        let takes_us = (bytes as u64 * 8_000_000)
            .checked_div(self.bits_per_s)
            .unwrap_or(0);
        self.free_us = due_us.saturating_add(takes_us);
        due_us / 1000
    }
}

/// Encoders leave a preroll of some seconds between send and show time; a third of the shortest is surely not missed.
const HELD_MS_MAX: u64 = 700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spread_at_twice_the_rate() {
        // 1000 bytes at 2 × 400 kb/s take 10 ms.
        let mut spread = Spread::new(400_000);
        let due: Vec<u64> = (0..4).map(|_| spread.due_ms(5000, 1000)).collect();
        assert_eq!(due, [5000, 5010, 5020, 5030]);
        assert_eq!(
            spread.due_ms(5020, 1000),
            5040,
            "the burst before is still going out"
        );
        assert_eq!(
            spread.due_ms(6000, 1000),
            6000,
            "nothing is in the way any more"
        );
    }

    #[test]
    fn nothing_is_held_longer_than_players_can_wait() {
        let mut spread = Spread::new(8_000);
        let last = (0..100).map(|_| spread.due_ms(0, 1000)).max();
        assert_eq!(last, Some(HELD_MS_MAX));
    }

    #[test]
    fn an_unknown_rate_spreads_nothing() {
        let mut spread = Spread::new(0);
        assert_eq!([spread.due_ms(7, 1000), spread.due_ms(7, 1000)], [7, 7]);
    }
}
