//! Requests for packets to be sent again: checked, budgeted, and answered from the log.
//!
//! A request can be forged, so it must name the client's id, which is random, and come from the address of its control
//! connection; and what is sent again is bounded per viewer and per engine. The packets themselves are coupled like any
//! other send, at the viewer's next visit.

use std::net::SocketAddr;
use std::time::Instant;

use funnel_session::server::{ResendRequest, Session};

use crate::burst::couple_again;
use crate::engine::Engine;
use crate::sends::{Datagrams, Draft, Guards, Sends};
use crate::viewer::Flight;

impl Engine {
    /// A datagram came to the UDP port: a resend request, or nothing worth an answer. `Some(shard)`: it is for that
    /// shard's engine; hand it over.
    pub fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<u16> {
        let Ok(request) = ResendRequest::decode(bytes) else {
            self.counters.datagrams_invalid += 1;
            return None;
        };
        let shard = (request.client_id & self.shard_mask()) as u16; // the mask has 16 bits at most
        if shard != self.config.shard && shard < self.config.shards {
            return Some(shard);
        }
        let index = self.clients.get(&request.client_id).copied();
        let Some(index) = index.filter(|index| {
            let viewer = self.viewers.get(*index as usize);
            request.source_id == Session::SOURCE_ID
                && viewer.is_some_and(|viewer| {
                    from.ip().to_canonical() == viewer.peer.ip().to_canonical()
                })
        }) else {
            self.counters.datagrams_invalid += 1;
            return None;
        };
        self.settle_trail(index);
        let udp = self.viewers[index as usize].udp.as_deref_mut()?;
        self.counters.resend_requests += 1;
        for sequence in request.sequences.iter().map(|sequence| sequence.get()) {
            // A player may guess that more was sent than it knows of.
            if udp.resends.contains(&sequence) || udp.trail.is_ahead(sequence) {
                continue;
            }
            if udp.trail.find(sequence).is_none() {
                self.counters.resends_gone += 1;
            } else if udp.resends.is_full() || !udp.budget.take(now, &mut self.resend_budget) {
                self.counters.resends_refused += 1;
            } else {
                udp.resends.push(sequence);
            }
        }
        if !udp.resends.is_empty() {
            self.queue(index);
        }
        None
    }

    /// Bits of a client id that tell the shard.
    pub(crate) fn shard_mask(&self) -> u32 {
        let shards = u32::from(self.config.shards.max(1));
        shards.next_power_of_two() - 1
    }
}

impl Sends<'_> {
    /// The next packet a viewer asked for again, if one of those it asked for is still there.
    pub(crate) fn couple_resend<'d>(
        &mut self,
        index: u32,
        guards: &'d Guards<'_>,
        draft: &mut Draft<'d>,
    ) {
        let viewer = &mut self.viewers[index as usize];
        let Some(udp) = viewer.udp.as_deref_mut() else {
            return;
        };
        while let Some(&sequence) = udp.resends.first() {
            let mark = udp.trail.find(sequence);
            let there = mark.is_some_and(|mark| {
                guards
                    .get(mark.log.feed)
                    .filter(|pinned| pinned.number == mark.log.number)
                    .is_some_and(|pinned| couple_again(&pinned.guard, mark, sequence, draft))
            });
            if there {
                self.hot[index as usize].flight = Flight::Resend;
                draft.datagrams = Some(Datagrams {
                    to: self.lanes[index as usize].to,
                    segment_bytes: None,
                });
                return;
            }
            self.counters.resends_gone += 1;
            udp.resends.remove(0);
        }
    }
}

/// How many packets may be sent again: so many a second, and some at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    per_second: u32,
    burst: u32,
    /// In thousandths of packets.
    credit: u64,
    filled_at: Instant,
}

impl Budget {
    /// A viewer's: half of what its channel sends, but 32 packets a second at least.
    pub(crate) fn of_viewer(packets_per_second: u32, now: Instant) -> Self {
        Self::new(
            (packets_per_second / 2).max(VIEWER_PER_SECOND_MIN),
            VIEWER_BURST,
            now,
        )
    }

    /// An engine's.
    pub(crate) fn of_engine(per_second: u32, now: Instant) -> Self {
        Self::new(per_second, (per_second / 4).max(VIEWER_BURST), now)
    }

    fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            per_second,
            burst,
            credit: u64::from(burst) * 1000,
            filled_at: now,
        }
    }

    /// Takes one packet out of this and `shared`, if both have it.
    pub(crate) fn take(&mut self, now: Instant, shared: &mut Self) -> bool {
        let has_both = self.fill(now) >= 1000 && shared.fill(now) >= 1000;
        if has_both {
            self.credit -= 1000;
            shared.credit -= 1000;
        }
        has_both
    }

    fn fill(&mut self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.filled_at).as_millis();
        if millis > 0 {
            let more = u64::try_from(millis)
                .unwrap_or(u64::MAX)
                .saturating_mul(u64::from(self.per_second));
            self.credit = (self.credit.saturating_add(more)).min(u64::from(self.burst) * 1000);
            self.filled_at = now;
        }
        self.credit
    }
}

/// Packets of one viewer that wait to be sent again: two requests.
pub(crate) const RESENDS_WAITING_MAX: usize = 64;
/// What a viewer of a slow channel gets again, a second.
const VIEWER_PER_SECOND_MIN: u32 = 32;
/// What a viewer gets again at once: two requests.
const VIEWER_BURST: u32 = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_viewer_gets_its_burst_and_then_its_rate_and_never_more_than_the_engine_has() {
        let start = Instant::now();
        let mut engine = Budget::of_engine(1000, start);
        let mut viewer = Budget::of_viewer(200, start); // 100 a second
        let mut taken = |now| (0..1000).filter(|_| viewer.take(now, &mut engine)).count();
        assert_eq!(taken(start), 64);
        assert_eq!(taken(start + Duration::from_millis(5)), 0); // half a packet
        assert_eq!(taken(start + Duration::from_millis(10)), 1);
        assert_eq!(taken(start + Duration::from_millis(510)), 50);
        assert_eq!(taken(start + Duration::from_secs(100)), 64);

        let mut engine = Budget::of_engine(10, start);
        let mut got = 0;
        for _ in 0..10 {
            let mut viewer = Budget::of_viewer(0, start);
            got += (0..64).filter(|_| viewer.take(start, &mut engine)).count();
        }
        assert_eq!(got, 64);
    }
}
