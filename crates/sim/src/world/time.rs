//! How virtual time passes: sleeping as the ring sleeps, and what happens outside of the engine meanwhile.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Completion, DRAIN_MAX, Happening, What, World, book_of};
use crate::player::{Doings, Step};

impl World {
    /// Sleeps until the engine's deadline or the first completion or bell. False when nothing will ever happen.
    pub(super) fn sleep(&mut self, wake: Option<Instant>) -> bool {
        let until = match wake {
            Some(at) => at.max(self.now),
            None if self.happenings.is_empty() => return false,
            None => self.start + self.config.drains_at + DRAIN_MAX * 2,
        };
        self.pass_time(until, true);
        true
    }

    /// Lets time pass until `until`; with `wakeful` only until the ring would wake the shard.
    pub(super) fn pass_time(&mut self, until: Instant, wakeful: bool) {
        while let Some(Reverse(next)) = self.happenings.peek() {
            if next.at > until {
                break;
            }
            let Some(Reverse(next)) = self.happenings.pop() else {
                break;
            };
            self.now = self.now.max(next.at);
            self.happen(next.what);
            if wakeful && (!self.completions.is_empty() || self.bell.swap(false, Ordering::Relaxed))
            {
                return;
            }
        }
        self.now = self.now.max(until);
    }

    pub(super) fn happen(&mut self, what: What) {
        match what {
            What::Source(index) => {
                self.sources[index].step(self.now);
                self.schedule_source(index);
            }
            What::Join(id) => self.completions.push(Completion::Accepted(id)),
            What::Step(id, step) => {
                let step: Step = self.players[id].plan.steps[step].1.clone();
                let doings = self.players[id].step(self.now, &step);
                self.do_for(id, doings);
            }
            What::Read(id) => self.read(id),
            What::Wake(id) => {
                self.players[id].wake_scheduled = None;
                let is_due = (self.players[id].wakes_at).is_some_and(|at| at <= self.now);
                let doings = if is_due {
                    self.players[id].wake(self.now)
                } else {
                    Doings::default()
                };
                self.do_for(id, doings);
            }
            What::Datagram(id, bytes) => {
                let doings = self.players[id].datagram(self.now, &bytes);
                self.do_for(id, doings);
            }
            What::Request(id, bytes) => self.completions.push(Completion::Datagram(id, bytes)),
            What::Bytes(id, bytes) => self.completions.push(Completion::Received(id, bytes)),
            What::HangUp(id, result) => self.completions.push(Completion::ReceiveEnded(id, result)),
            What::Drain => {
                self.engine.drain(self.now);
                self.carry_out();
                self.bell.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn read(&mut self, id: usize) {
        let now = self.now;
        let player = &mut self.players[id];
        player.reads_later = false;
        let book = book_of(&self.sources, &player.plan.path);
        let doings = player.read(now, book);
        self.do_for(id, doings);
        self.look_writable(id);
        self.read_later(id);
    }

    pub(super) fn look_writable(&mut self, id: usize) {
        let link = &mut self.players[id].link;
        if link.awaits_writable && link.is_writable() {
            link.awaits_writable = false;
            self.completions.push(Completion::Writable(id));
        }
    }

    /// Schedules the player's next read if something is under way, or the end of its connection.
    pub(super) fn read_later(&mut self, id: usize) {
        let player = &mut self.players[id];
        let over =
            player.server_closed_at.is_some() && player.closed.is_none() && !player.is_silent;
        if player.reads_later || (player.link.waiting() == 0 && !over) || player.is_silent {
            return;
        }
        player.reads_later = true;
        let at = (self.now + player.link.latency() + READ_EVERY).max(player.link.stalled_until);
        self.schedule(at, What::Read(id));
    }

    pub(super) fn do_for(&mut self, id: usize, doings: Doings) {
        let latency = self.players[id].link.latency();
        let mut at = self.players[id].sent_until.max(self.now + latency);
        for bytes in doings.sends {
            match self.players[id].plan.trickle {
                None => self.schedule(at, What::Bytes(id, bytes)),
                Some(pause) => {
                    for byte in bytes {
                        self.schedule(at, What::Bytes(id, vec![byte]));
                        at += pause;
                    }
                }
            }
        }
        self.players[id].sent_until = at;
        if let Some(result) = doings.hang_up {
            self.schedule(at, What::HangUp(id, result));
        }
        for bytes in doings.datagrams {
            for late in self.players[id].ether.carry() {
                self.schedule(self.now + latency + late, What::Request(id, bytes.clone()));
            }
        }
        let player = &mut self.players[id];
        if let Some(at) = player.wakes_at
            && (player.wake_scheduled).is_none_or(|scheduled| at < scheduled)
        {
            player.wake_scheduled = Some(at);
            self.schedule(at.max(self.now), What::Wake(id));
        }
    }

    pub(super) fn schedule(&mut self, at: Instant, what: What) {
        self.order += 1;
        let order = self.order;
        self.happenings.push(Reverse(Happening { at, order, what }));
    }

    pub(super) fn schedule_all(&mut self) {
        let start = self.start;
        for id in 0..self.players.len() {
            let plan = self.players[id].plan.clone();
            if plan.joins_at >= self.config.drains_at {
                continue;
            }
            self.schedule(start + plan.joins_at, What::Join(id));
            for (number, (after, _)) in plan.steps.iter().enumerate() {
                self.schedule(start + plan.joins_at + *after, What::Step(id, number));
            }
        }
        self.schedule(start + self.config.drains_at, What::Drain);
        self.schedule_sources();
    }

    pub(super) fn schedule_sources(&mut self) {
        for index in 0..self.sources.len() {
            self.schedule_source(index);
        }
    }

    /// One happening per source and time; sources end with the drain.
    pub(super) fn schedule_source(&mut self, index: usize) {
        let end = self.start + self.config.drains_at;
        let source = &mut self.sources[index];
        if let Some(at) = source.next_unscheduled().filter(|at| *at < end) {
            self.schedule(at, What::Source(index));
        }
    }
}

/// A player's reads are this far apart.
const READ_EVERY: Duration = Duration::from_millis(20);
