//! What is watched from outside of the engine: spinning, memory, and that nothing is left at the end.

use std::sync::Arc;
use std::time::Instant;

use super::World;

impl World {
    pub(super) fn fault(&mut self, what: String) {
        let at = self.now.saturating_duration_since(self.start);
        self.outcome.faults.push(format!("at {at:?}: {what}"));
    }

    pub(super) fn idle_turn(&mut self, wake: Option<Instant>) {
        self.outcome.idle_turns += 1;
        if wake.is_some_and(|at| at <= self.now) {
            self.nothing_in_a_row += 1;
        } else {
            self.nothing_in_a_row = 0;
        }
        if self.nothing_in_a_row == SPIN_MAX {
            self.fault(format!("{SPIN_MAX} turns in a row with nothing to do"));
        }
    }

    pub(super) fn look(&mut self) {
        if self.outcome.turns.is_multiple_of(16) {
            let counters = self.engine.counters();
            let outcome = &mut self.outcome;
            outcome.connections_max = outcome.connections_max.max(counters.connections);
            outcome.feeds_max = outcome.feeds_max.max(self.engine.feeds_count());
            outcome.queued_bytes_max = outcome.queued_bytes_max.max(self.engine.queued_bytes());
            for index in 0..self.sources.len() {
                let source = &self.sources[index];
                let schedule = source.schedule();
                // A log may exceed its ceiling by the twins of one segment.
                if source.log_bytes() > schedule.log_bytes_max + (1 << 20) {
                    self.fault(format!("the log of {} outgrows its ceiling", schedule.name));
                }
            }
        }
    }

    pub(super) fn look_at_the_end(&mut self) {
        // One more turn lets go what the last viewers left.
        self.turn();
        self.outcome.counters = self.engine.counters();
        if !self.engine.is_empty() {
            let left = self.engine.counters().connections;
            self.fault(format!("{left} connections outlive the drain"));
        }
        if self.engine.feeds_count() != 0 {
            let feeds = self.engine.feeds_count();
            self.fault(format!("{feeds} logs stay open"));
        }
        if self.admission.viewers() != 0 {
            let permits = self.admission.viewers();
            self.fault(format!("{permits} permits are lost"));
        }
        for index in 0..self.sources.len() {
            let channel = Arc::clone(&self.sources[index].channel);
            let viewers = channel.demand().viewers;
            if viewers != 0 {
                self.fault(format!(
                    "{} counts {viewers} viewers of nobody",
                    channel.name()
                ));
            }
        }
    }
}

/// Turns in a row with nothing sent, nothing told and a deadline not ahead.
const SPIN_MAX: u32 = 8;
