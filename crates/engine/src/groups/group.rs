//! One group: the epoch it follows, what is due, and when to say that it is still there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{Air, Channel, Epoch, Form, Guard, Reader, Start};
use funnel_wire::msb::{self, ASF_PACKET_BYTES_MAX, BEACON, Correction, HEADER_BYTES, StreamId};
use funnel_wire::nsc::{FormatId, Formats};

use super::cycle::{Cycle, HEAD_BYTES};
use super::headers::with_newest;
use super::{GroupCounters, GroupPlan, GroupReport, TICK_MS};
use crate::train::due_at;

#[derive(Debug)]
pub(super) struct Group {
    channel: Arc<Channel>,
    version: Option<u64>,
    air: Air,
    /// Number of the newest epoch seen.
    seen: u64,
    /// The newest epoch, until the one before is over.
    next: Option<(Arc<Epoch>, FormatId)>,
    following: Option<Following>,
    formats: Option<Formats>,
    /// Of the epoch that is followed, or was the last to be.
    stream: Option<StreamId>,
    next_id: u32,
    cycle: Cycle,
    sent_at: Option<Instant>,
    beacon_at: Option<Instant>,
    /// A beacon is due in this turn.
    beacon: bool,
    closing: bool,
    pub(super) counters: GroupCounters,
    trouble: Trouble,
    told_unfit: bool,
}

/// The epoch whose packets are sent.
#[derive(Debug)]
struct Following {
    /// `None` until the log was pinned for the first time.
    cursor: Option<u64>,
    /// Data packets in a tick at most.
    burst: u64,
    /// Everything there was has been sent.
    caught_up: bool,
    /// Nothing will follow, and its last cycle is closed.
    over: bool,
}

/// Sends the kernel refused since the last report.
#[derive(Debug, Default)]
struct Trouble {
    count: u64,
    errno: i32,
    told_at: Option<Instant>,
}

impl Following {
    fn new(epoch: &Epoch) -> Self {
        let bits_twice_the_rate = 2 * u64::from(epoch.bit_rate) * TICK_MS / 1000;
        let packet_bits = 8 * u64::from(epoch.packet_bytes.max(1));
        Self {
            cursor: None,
            burst: bits_twice_the_rate
                .div_ceil(packet_bits)
                .max(BURST_PACKETS_MIN),
            caught_up: false,
            over: false,
        }
    }
}

impl Group {
    pub(super) fn new(plan: GroupPlan) -> Self {
        // The announcement needs the header, whoever watches.
        plan.channel.ask_header();
        Self {
            channel: plan.channel,
            version: None,
            air: Air::default(),
            seen: 0,
            next: None,
            following: None,
            formats: None,
            stream: None,
            next_id: 0,
            cycle: Cycle::new(plan.span),
            sent_at: None,
            beacon_at: None,
            beacon: false,
            closing: false,
            counters: GroupCounters::default(),
            trouble: Trouble::default(),
            told_unfit: false,
        }
    }

    /// Looks at the channel; whether something changed since the last time.
    pub(super) fn look(&mut self, group: u32, reports: &mut Vec<GroupReport>) -> bool {
        let version = self.channel.version();
        if self.version.replace(version) == Some(version) {
            return false;
        }
        // The version first: a change in between shows as another version next time.
        let snapshot = self.channel.snapshot();
        self.air = snapshot.air;
        let Some(epoch) = snapshot.epoch.filter(|epoch| epoch.number != self.seen) else {
            return true;
        };
        self.seen = epoch.number;
        match with_newest(self.formats.as_ref(), &epoch.header) {
            Ok((formats, id)) => {
                self.next = Some((epoch, id));
                if self.formats.as_ref() != Some(&formats) {
                    reports.push(GroupReport::Headers {
                        group,
                        formats: formats.clone(),
                    });
                    self.formats = Some(formats);
                }
            }
            Err(error) => {
                self.next = None;
                reports.push(GroupReport::Refused { group, error });
            }
        }
        true
    }

    /// Begins with the next epoch if the one before is over, and finds out whether a beacon is due.
    pub(super) fn begin(&mut self, now: Instant, reader: &mut Option<Reader>) {
        let over = self
            .following
            .as_ref()
            .is_none_or(|following| following.over);
        if over && let Some((epoch, format)) = self.next.take() {
            *reader = epoch.log.reader();
            debug_assert!(
                reader.is_some(),
                "the plan says: a reader place for each group"
            );
            self.following = reader.as_ref().map(|_| Following::new(&epoch));
            self.stream = Some(match self.stream {
                None => StreamId::new(format),
                Some(before) => before.after_change(format),
            });
            self.cycle.reserve(epoch.packet_bytes as usize);
        }
        self.beacon = self.next_beacon(now).is_some_and(|at| at <= now);
        if self.beacon {
            self.beacon_at = Some(now);
        }
    }

    /// When it wants to be looked at next, unless the channel changes before.
    pub(super) fn next_look(&self, now: Instant, tick: Instant) -> Option<Instant> {
        if self.closing {
            return None;
        }
        // Packets ring no bell, so whoever waits for some looks at each tick.
        let polls = self.following.as_ref().is_some_and(|following| {
            !following.over && (self.air == Air::OnAir || !following.caught_up)
        });
        if polls || self.next.is_some() {
            return Some(tick);
        }
        self.next_beacon(now)
    }

    /// Beacons are for whoever waits for more: there are none when the show is over for good.
    fn next_beacon(&self, now: Instant) -> Option<Instant> {
        let for_good = self.air == Air::Ended && self.channel.options().start == Start::Always;
        if self.closing || for_good {
            return None;
        }
        let silent = self.sent_at.map_or(now, |at| at + SILENCE);
        let spaced = self.beacon_at.map_or(now, |at| at + BEACON_EVERY);
        Some(silent.max(spaced))
    }

    /// Closes the open cycle in the next turn and sends nothing more.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Gives what is due to `send`; false when the arena has no room for all of it.
    pub(super) fn couple<'d>(
        &mut self,
        now: Instant,
        guard: Option<&'d Guard<'_>>,
        arena: &mut &'d mut [u8],
        send: &mut dyn FnMut(&[&'d [u8]]),
    ) -> bool {
        if std::mem::take(&mut self.beacon) {
            self.counters.beacons += 1;
            send(&[&BEACON]);
        }
        let (Some(guard), Some(stream)) = (guard, self.stream) else {
            return true;
        };
        let Some(&Following { cursor, burst, .. }) = self.following.as_ref().filter(|it| !it.over)
        else {
            return true;
        };
        let expected = cursor.unwrap_or(guard.head());
        let mut cursor = go_on_at(expected, now, guard);
        self.counters.skipped += cursor - expected;
        let end = if self.closing { cursor } else { cursor + burst };
        let mut room = true;
        while cursor < end {
            let Some(packet) = guard.packet(cursor).filter(|packet| due_at(packet) <= now) else {
                break;
            };
            let body = packet.bytes(Form::Stripped, false);
            if arena.len() < HEAD_BYTES + HEAD_BYTES + body.len().max(self.cycle.parity_bytes()) {
                room = false;
                break;
            }
            cursor += 1;
            match head(self.next_id, stream, body) {
                Some(head) => self.couple_data(now, head, &body[Correction::BYTES..], arena, send),
                None => self.counters.unfit += 1,
            }
            if self.cycle.is_full() {
                self.couple_parity(stream, arena, send);
            }
        }
        let caught_up = cursor >= guard.tail();
        let last = self.closing || guard.ended() && caught_up;
        if last && room && self.cycle.is_open() {
            room = self.couple_parity(stream, arena, send);
        }
        if let Some(following) = &mut self.following {
            following.cursor = Some(cursor);
            following.caught_up = caught_up;
            following.over = last && room;
        }
        room
    }

    fn couple_data<'d>(
        &mut self,
        now: Instant,
        head: [u8; HEADER_BYTES],
        rest: &'d [u8],
        arena: &mut &'d mut [u8],
        send: &mut dyn FnMut(&[&'d [u8]]),
    ) {
        let correction = self.cycle.add(rest);
        let out = take(arena, HEAD_BYTES);
        out[..HEADER_BYTES].copy_from_slice(&head);
        out[HEADER_BYTES..].copy_from_slice(&correction.encode());
        send(&[out, rest]);
        self.next_id = self.next_id.wrapping_add(1);
        self.sent_at = Some(now);
        self.counters.packets += 1;
        self.counters.bytes += (HEAD_BYTES + rest.len()) as u64;
    }

    /// Closes the cycle; false when the arena has no room for that.
    fn couple_parity<'d>(
        &mut self,
        stream: StreamId,
        arena: &mut &'d mut [u8],
        send: &mut dyn FnMut(&[&'d [u8]]),
    ) -> bool {
        let bytes = self.cycle.parity_bytes();
        if arena.len() < bytes {
            return false;
        }
        let out = take(arena, bytes);
        self.cycle.close(self.next_id.wrapping_sub(1), stream, out);
        send(&[out]);
        self.counters.parity += 1;
        self.counters.bytes += bytes as u64;
        true
    }

    pub(super) fn sent(&mut self, result: i32) {
        if result < 0 {
            self.counters.unsent += 1;
            self.trouble.count += 1;
            self.trouble.errno = -result;
        }
    }

    /// Tells of packets that do not fit, once, and of refused sends, now and then.
    pub(super) fn tell(&mut self, now: Instant, group: u32, reports: &mut Vec<GroupReport>) {
        if self.counters.unfit > 0 && !std::mem::replace(&mut self.told_unfit, true) {
            reports.push(GroupReport::Unfit { group });
        }
        let trouble = &mut self.trouble;
        let quiet = trouble
            .told_at
            .is_some_and(|at| now.saturating_duration_since(at) < TROUBLE_EVERY);
        if trouble.count > 0 && !quiet {
            reports.push(GroupReport::Unsent {
                group,
                count: std::mem::take(&mut trouble.count),
                errno: trouble.errno,
            });
            trouble.told_at = Some(now);
        }
    }
}

/// The packet to go on with: not one that the log has no more, nor, when a thread was stopped or a log is seen late, one whose
/// time is long over while a clean point follows.
fn go_on_at(cursor: u64, now: Instant, guard: &Guard<'_>) -> u64 {
    let readable = cursor.max(guard.head());
    let late = guard
        .packet(readable)
        .is_some_and(|packet| now.saturating_duration_since(due_at(&packet)) > LATE);
    match guard.newest_clean_point() {
        Some(clean) if late || readable > cursor => readable.max(clean),
        _ => readable,
    }
}

/// The head of a datagram; `None` for what no datagram can carry.
fn head(id: u32, stream: StreamId, asf: &[u8]) -> Option<[u8; HEADER_BYTES]> {
    if asf.len() < Correction::BYTES || asf.len() > BODY_BYTES_MAX {
        return None;
    }
    msb::Packet { id, stream, asf }.header().ok()
}

fn take<'d>(arena: &mut &'d mut [u8], bytes: usize) -> &'d mut [u8] {
    let (taken, rest) = std::mem::take(arena).split_at_mut(bytes);
    *arena = rest;
    taken
}

/// Data packets a tick may always send: 9 Mb/s in packets that fit an Ethernet frame.
const BURST_PACKETS_MIN: u64 = 8;
/// How long nothing is sent before beacons begin.
const SILENCE: Duration = Duration::from_secs(1);
/// Between 1 and 10 s (§4).
const BEACON_EVERY: Duration = Duration::from_secs(5);
/// Packets that are later than this are passed over, if a clean point follows.
const LATE: Duration = Duration::from_secs(2);
/// Between two reports of refused sends.
const TROUBLE_EVERY: Duration = Duration::from_secs(10);
/// The longest UDP datagram over IPv4 has 65,507 bytes.
const BODY_BYTES_MAX: usize = 65_507 - HEADER_BYTES;
const _: () = assert!(BODY_BYTES_MAX <= ASF_PACKET_BYTES_MAX);
