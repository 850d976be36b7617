//! Multicast: channels sent once for everybody, to groups (MS-MSB, `docs/protocol/msb-nsc.md`).
//!
//! [`Groups`] stands beside the [`Engine`](crate::Engine) of a shard and is driven the same way: [`Groups::begin`] pins the
//! logs, [`GroupSends::fill`] lends the datagrams of a turn, [`Groups::sent`] takes the kernel's answers. Nobody asks for
//! anything here, so there is no session and no cursor but one for each group.
//!
//! Invariants worth naming: data packets of a group are numbered without gaps in the order of the log; a cycle of error
//! correction never spans two streams; one tick of 10 ms serves all groups, each with a bounded burst; nothing is allocated
//! in a turn that only sends media.

mod cycle;
mod group;
mod headers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{Channel, Guard, Reader};
use funnel_wire::msb::Span;
use funnel_wire::nsc::{FormatError, Formats};

use self::group::Group;

/// A group to be.
#[derive(Clone, Debug)]
pub struct GroupPlan {
    /// What is sent. Each of its logs needs a reader place for the group.
    pub channel: Arc<Channel>,
    /// Data packets for each parity packet; `None`: no error correction.
    pub span: Option<Span>,
}

/// The groups of one shard. A group's number is its place in the plan.
#[derive(Debug)]
pub struct Groups {
    groups: Vec<Group>,
    /// Of the log each group follows, by the same index.
    readers: Vec<Option<Reader>>,
    /// Heads and parity packets of one turn.
    arena: Box<[u8]>,
    spare: Option<GroupSpare>,
    /// When some group is to be looked at.
    tick_at: Option<Instant>,
    /// The group that is served first: one that found no room in the last turn.
    first: usize,
    reports: Vec<GroupReport>,
}

/// The logs as pinned for one turn.
pub struct GroupGuards<'e> {
    pinned: Vec<Option<Guard<'e>>>,
}

/// An empty list whose memory the next turn's guards reuse.
#[derive(Debug)]
pub struct GroupSpare(Vec<Option<Guard<'static>>>);

/// The datagrams due in one turn.
#[derive(Debug)]
pub struct GroupSends<'e> {
    groups: &'e mut [Group],
    arena: &'e mut [u8],
    first: &'e mut usize,
    now: Instant,
    due: bool,
}

/// One datagram for a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupSend<'p, 'd> {
    /// Which group; the kernel's answer goes to [`Groups::sent`] with it.
    pub group: u32,
    /// The datagram, in order; never empty.
    pub pieces: &'p [&'d [u8]],
}

/// What there is to tell of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GroupReport {
    /// Its packets refer to these headers from now on, the first of them being the newest: time for a new `.nsc` file.
    Headers {
        /// Which group.
        group: u32,
        /// The headers with their numbers.
        formats: Formats,
    },
    /// A header cannot be announced; nothing of its stream is sent.
    Refused {
        /// Which group.
        group: u32,
        /// Why.
        error: FormatError,
    },
    /// Packets are longer than a datagram can be, and left out. Told once.
    Unfit {
        /// Which group.
        group: u32,
    },
    /// The kernel refused to send.
    Unsent {
        /// Which group.
        group: u32,
        /// Datagrams since the last such report.
        count: u64,
        /// Of the last one.
        errno: i32,
    },
}

/// Totals of a group since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GroupCounters {
    /// Data packets.
    pub packets: u64,
    /// Parity packets.
    pub parity: u64,
    /// Beacons.
    pub beacons: u64,
    /// Of data and parity datagrams, without UDP and IP.
    pub bytes: u64,
    /// Packets passed over because their time was long over.
    pub skipped: u64,
    /// Packets longer than a datagram.
    pub unfit: u64,
    /// Datagrams the kernel refused.
    pub unsent: u64,
}

impl Groups {
    /// Groups that send beacons until their channels have something to send. Asks for the channels' headers.
    pub fn new(plans: Vec<GroupPlan>, now: Instant) -> Self {
        let arena = if plans.is_empty() { 0 } else { ARENA_BYTES };
        Self {
            readers: plans.iter().map(|_| None).collect(),
            tick_at: (!plans.is_empty()).then_some(now),
            groups: plans.into_iter().map(Group::new).collect(),
            arena: vec![0; arena].into(),
            spare: None,
            first: 0,
            reports: Vec::new(),
        }
    }

    /// Begins a turn: looks at channels and time, pins the logs, and returns what is due and when to wake.
    pub fn begin(&mut self, now: Instant) -> (GroupGuards<'_>, GroupSends<'_>, Option<Instant>) {
        let mut due = self.tick_at.is_some_and(|at| at <= now);
        for (group, number) in self.groups.iter_mut().zip(0..) {
            due |= group.look(number, &mut self.reports);
        }
        let mut pinned: Vec<Option<Guard<'_>>> =
            self.spare.take().map(|spare| spare.0).unwrap_or_default();
        if due {
            let after = self.tick_at.map(|at| at + TICK).filter(|at| *at > now);
            let tick = after.unwrap_or(now + TICK).min(now + TICK);
            for (group, number) in self.groups.iter_mut().zip(0..) {
                group.tell(now, number, &mut self.reports);
            }
            for (group, reader) in self.groups.iter_mut().zip(&mut self.readers) {
                group.begin(now, reader);
                pinned.push(reader.as_mut().map(Reader::pin));
            }
            let looks = self
                .groups
                .iter()
                .filter_map(|group| group.next_look(now, tick));
            self.tick_at = looks.min();
        }
        // No sleep while something waits for the owner.
        let wake = if self.reports.is_empty() {
            self.tick_at
        } else {
            Some(now)
        };
        let sends = GroupSends {
            groups: &mut self.groups,
            arena: &mut self.arena,
            first: &mut self.first,
            now,
            due,
        };
        (GroupGuards { pinned }, sends, wake)
    }

    /// Ends a turn: takes back what [`GroupGuards::release`] returned.
    pub fn end(&mut self, spare: GroupSpare) {
        self.spare = Some(spare);
    }

    /// The kernel's answer to a datagram: bytes taken, or `-errno`. What is lost is lost: the parity is for that.
    pub fn sent(&mut self, group: u32, result: i32) {
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.sent(result);
        }
    }

    /// The next turn closes every group's cycle; afterwards nothing is sent any more.
    pub fn drain(&mut self, now: Instant) {
        self.groups.iter_mut().for_each(Group::close);
        self.tick_at = Some(now);
    }

    /// What there is to log and to announce, each once.
    pub fn reports(&mut self) -> std::vec::Drain<'_, GroupReport> {
        self.reports.drain(..)
    }

    /// Totals of each group, by number.
    pub fn counters(&self) -> impl Iterator<Item = GroupCounters> {
        self.groups.iter().map(|group| group.counters)
    }
}

impl GroupGuards<'_> {
    /// Lets the logs go after the turn. Give what is left back to [`Groups::end`].
    pub fn release(self) -> GroupSpare {
        let mut pinned = self.pinned;
        pinned.clear();
        // An empty list of the same layout: collecting it in place keeps the memory, so no turn touches the heap.
        GroupSpare(
            pinned
                .into_iter()
                .map(|_| -> Option<Guard<'static>> { None })
                .collect(),
        )
    }
}

impl<'e> GroupSends<'e> {
    /// Gives each due datagram to `send`: heads and parity from an arena of the groups' own, bodies from the logs.
    pub fn fill<'d>(self, guards: &'d GroupGuards<'_>, mut send: impl FnMut(GroupSend<'_, 'd>))
    where
        'e: 'd,
    {
        if !self.due {
            return;
        }
        let count = self.groups.len();
        let mut arena: &'d mut [u8] = self.arena;
        let begin = std::mem::take(self.first);
        let mut all = true;
        for index in (begin..count).chain(0..begin) {
            let guard = guards.pinned.get(index).and_then(Option::as_ref);
            let group = u32::try_from(index).expect("fewer groups than ports");
            let done = self.groups[index].couple(self.now, guard, &mut arena, &mut |pieces| {
                send(GroupSend { group, pieces });
            });
            if !done && std::mem::take(&mut all) {
                *self.first = index;
            }
        }
    }
}

/// Time between two looks at groups on air.
const TICK: Duration = Duration::from_millis(TICK_MS);
const TICK_MS: u64 = 10;
/// In a tick, parity for ten times as much media: 4 Gb/s. Who finds no room comes first in the next.
const ARENA_BYTES: usize = 512 << 10;
