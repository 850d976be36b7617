//! Client ids: a player's session over HTTP outlives its connections (§1, §9.1).
//!
//! One table for the whole server, because a player's next connection may be any shard's. It is locked for single look-ups,
//! once or twice per request and never while media flows. An id ends `keep` after the last request that named it, or after
//! its media ended; one whose media flows cannot be taken over.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use funnel_asf::Selection;

/// The client ids of a server.
#[derive(Debug)]
pub struct Clients {
    keep: Duration,
    idle_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<u32, Standing>,
    /// Those in [`Standing::Idle`], the next to expire first.
    idle: BTreeSet<(Instant, u32)>,
    /// Those in [`Standing::Released`].
    released: Vec<u32>,
    wrong: Wrong,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Known until then.
    Idle(Instant),
    /// Its media has just ended: idle from the next look at a clock on.
    Released,
    Streaming(Place),
}

/// Where a client's media flows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// The [`client_id`](super::super::Session::client_id) of the connection.
    pub(super) connection: u32,
    /// Bit n: the channel has stream n.
    pub(super) streams: u128,
    /// What is sent of it.
    pub(super) selection: Selection,
}

/// What is known under an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    No,
    Idle,
    Streaming(Place),
}

/// Ids that nobody has, named lately.
#[derive(Debug, Default)]
struct Wrong {
    since: Option<Instant>,
    count: u32,
}

/// A client's media flows on this connection; over when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    clients: Arc<Clients>,
    id: u32,
}

impl Clients {
    /// Ids are kept for `keep` while nothing is heard of them, at most `idle_max` of those.
    pub fn new(keep: Duration, idle_max: usize) -> Self {
        Self {
            keep,
            idle_max: idle_max.max(1),
            table: Mutex::default(),
        }
    }

    /// How many there are, streaming ones included.
    pub fn len(&self) -> usize {
        self.lock().clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new id: the first of `candidates`, unpredictable numbers without end, that is free. The one that was silent for
    /// longest makes room.
    pub(super) fn issue(&self, now: Instant, candidates: impl Iterator<Item = u32>) -> u32 {
        let mut table = self.look(now);
        if table.idle.len() >= self.idle_max
            && let Some((_, oldest)) = table.idle.pop_first()
        {
            table.clients.remove(&oldest);
        }
        let mut free = candidates.filter(|id| *id != 0 && !table.clients.contains_key(id));
        let id = free.next().unwrap_or_default();
        drop(free);
        table.rest(id, now + self.keep);
        id
    }

    /// A request names this id: it lives on.
    pub(super) fn touch(&self, now: Instant, id: u32) -> Known {
        let mut table = self.look(now);
        match table.clients.get(&id) {
            None => {
                table.wrong.count(now);
                Known::No
            }
            Some(Standing::Streaming(place)) => Known::Streaming(*place),
            Some(_) => {
                table.rest(id, now + self.keep);
                Known::Idle
            }
        }
    }

    /// The client's media is to flow there; `None` if it flows elsewhere.
    pub(super) fn claim(self: &Arc<Self>, now: Instant, id: u32, place: Place) -> Option<Claim> {
        let mut table = self.look(now);
        if let Some(Standing::Streaming(_)) = table.clients.get(&id) {
            return None;
        }
        table.wake(id);
        table.clients.insert(id, Standing::Streaming(place));
        Some(Claim {
            clients: Arc::clone(self),
            id,
        })
    }

    /// The same for who asks to change what flows: `change` may, and its answer is returned. `None`: nothing flows, or too
    /// many ids were guessed lately.
    pub(super) fn change<T>(
        &self,
        now: Instant,
        id: u32,
        change: impl FnOnce(&mut Place) -> T,
    ) -> Option<T> {
        let mut table = self.look(now);
        if table.wrong.are_too_many(now) {
            return None;
        }
        match table.clients.get_mut(&id) {
            Some(Standing::Streaming(place)) => Some(change(place)),
            Some(_) => None,
            None => {
                table.wrong.count(now);
                None
            }
        }
    }

    fn look(&self, now: Instant) -> MutexGuard<'_, Table> {
        let mut table = self.lock();
        for id in std::mem::take(&mut table.released) {
            if let Some(Standing::Released) = table.clients.get(&id) {
                table.rest(id, now + self.keep);
            }
        }
        while let Some(&(until, id)) = table.idle.first().filter(|(until, _)| *until <= now) {
            table.idle.remove(&(until, id));
            table.clients.remove(&id);
        }
        table
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No change to the table can stop half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Clients {
    /// A little longer than players are told (§9.3), and as many as a thousand new players a second leave behind.
    fn default() -> Self {
        Self::new(super::TIMEOUT + Duration::from_secs(5), 65_536)
    }
}

impl Claim {
    /// The selection changed on the connection itself.
    pub(super) fn note(&self, place: Place) {
        if let Some(Standing::Streaming(known)) = self.clients.lock().clients.get_mut(&self.id) {
            *known = place;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.clients.lock();
        table.clients.insert(self.id, Standing::Released);
        table.released.push(self.id);
    }
}

impl Table {
    /// Nothing flows for this id; it is forgotten then.
    fn rest(&mut self, id: u32, until: Instant) {
        self.wake(id);
        self.idle.insert((until, id));
        self.clients.insert(id, Standing::Idle(until));
    }

    fn wake(&mut self, id: u32) {
        if let Some(Standing::Idle(until)) = self.clients.get(&id) {
            self.idle.remove(&(*until, id));
        }
    }
}

impl Wrong {
    fn count(&mut self, now: Instant) {
        if self.is_over(now) {
            *self = Self {
                since: Some(now),
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
    }

    /// With ten thousand viewers, one guess in four hundred thousand hits one of them.
    fn are_too_many(&self, now: Instant) -> bool {
        self.count > WRONG_MAX && !self.is_over(now)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now >= since + WRONG_WINDOW)
    }
}

/// Wrong ids in [`WRONG_WINDOW`], after which nothing that flows is changed from another connection until it is over.
const WRONG_MAX: u32 = 1000;
const WRONG_WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        connection: 7,
        streams: 0b110,
        selection: Selection::ALL,
    };

    fn clients(idle_max: usize) -> (Arc<Clients>, Instant) {
        let clients = Clients::new(Duration::from_secs(60), idle_max);
        (Arc::new(clients), Instant::now())
    }

    #[test]
    fn an_id_is_free_and_not_0() {
        let (clients, now) = clients(10);
        assert_eq!(clients.issue(now, [0, 5].into_iter()), 5);
        assert_eq!(clients.issue(now, [5, 0, 5, 6].into_iter()), 6);
    }

    #[test]
    fn an_id_lives_as_long_as_requests_name_it() {
        let (clients, start) = clients(10);
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = clients.issue(at(0), [5].into_iter());
        assert_eq!(clients.touch(at(59), id), Known::Idle);
        assert_eq!(clients.touch(at(118), id), Known::Idle);
        assert_eq!(clients.touch(at(178), id), Known::No);
        assert!(clients.is_empty());
    }

    #[test]
    fn who_streams_cannot_be_taken_over_and_does_not_expire() {
        let (clients, start) = clients(10);
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = clients.issue(at(0), [5].into_iter());
        let claim = clients.claim(at(1), id, PLACE).unwrap();
        assert_eq!(clients.touch(at(3600), id), Known::Streaming(PLACE));
        assert!(clients.claim(at(3600), id, PLACE).is_none());
        drop(claim);
        assert_eq!(clients.touch(at(7000), id), Known::Idle); // its time began to run with this look
        assert!(clients.claim(at(7059), id, PLACE).is_some());
    }

    #[test]
    fn the_silent_make_room() {
        let (clients, start) = clients(3);
        let streaming = clients.issue(start, [99].into_iter());
        let _claim = clients.claim(start, streaming, PLACE);
        for id in 1..100 {
            clients.issue(
                start + Duration::from_millis(u64::from(id)),
                std::iter::once(id),
            );
        }
        assert_eq!(clients.len(), 4);
        assert_eq!(clients.touch(start, 99), Known::Streaming(PLACE));
        assert_eq!(clients.touch(start, 97), Known::Idle);
        assert_eq!(clients.touch(start, 96), Known::No);
    }

    #[test]
    fn changes_reach_who_streams_but_not_while_ids_are_guessed() {
        let (clients, start) = clients(3);
        let id = clients.issue(start, [5].into_iter());
        assert_eq!(clients.change(start, id, |place| place.connection), None);
        let _claim = clients.claim(start, id, PLACE).unwrap();
        assert_eq!(clients.change(start, id, |place| place.connection), Some(7));
        for guess in 100..100 + WRONG_MAX + 1 {
            clients.touch(start, guess);
        }
        assert_eq!(clients.change(start, id, |place| place.connection), None);
        let later = start + WRONG_WINDOW;
        assert_eq!(clients.change(later, id, |place| place.connection), Some(7));
    }
}
