//! Logs a shard writes itself, from a log it reads: streams a selection left out are taken out of the packets, or heads are put
//! in front of them. The numbering stays, so that a change of log is a translation of the cursor (DESIGN §6.12).

use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_channel::{
    Entry, Epoch, Form, Guard, Log, LogConfig, LogError, Packet, Publisher, Shed,
};
use funnel_session::server::Framing;
use funnel_session::{Filter, Header, Selection};

use crate::stations::Tuning;

/// The writing side of such a log.
pub(crate) struct Derived {
    /// Feed it is made from.
    pub(crate) base: u32,
    maker: Maker,
    publisher: Option<Publisher>,
    next: u64,
}

/// What is done to each packet.
enum Maker {
    Filter(Box<Filter>),
    Frame(Frame),
}

impl Derived {
    /// The log of a selection of streams, and its two ends. `None` when the header cannot be read.
    pub(crate) fn filtered(
        base: u32,
        guard: &Guard<'_>,
        log: &Log,
        epoch: &Epoch,
        selection: Selection,
        tuning: &Tuning,
    ) -> Option<(Self, Arc<Log>)> {
        let header = Header::parse(&epoch.header).ok()?;
        let maker = Maker::Filter(Box::new(Filter::new(&header, selection)));
        Self::new(base, log, maker, guard.head(), epoch.packet_bytes, tuning).ok()
    }

    /// The log of packets with their heads, as all viewers with this framing take them, and its two ends. It has one form only,
    /// so that packets lie side by side. It begins where one
    /// who comes at `now` joins: nobody who takes these is further back.
    pub(crate) fn framed(
        base: u32,
        guard: &Guard<'_>,
        log: &Log,
        epoch: &Epoch,
        framing: Framing,
        tuning: &Tuning,
        now: Instant,
    ) -> Option<(Self, Arc<Log>)> {
        let first = first_for_newcomers(guard, tuning.fast_start, now);
        let maker = Maker::Frame(Frame {
            framing,
            bodies: Default::default(),
        });
        let packet_bytes = epoch.packet_bytes + Framing::HEAD_BYTES_MAX as u32;
        Self::new(base, log, maker, first, packet_bytes, tuning).ok()
    }

    fn new(
        base: u32,
        log: &Log,
        maker: Maker,
        first: u64,
        packet_bytes: u32,
        tuning: &Tuning,
    ) -> Result<(Self, Arc<Log>), LogError> {
        let (publisher, log) = log.derive(LogConfig {
            packet_bytes,
            retain: tuning.retain,
            bytes_max: tuning.log_bytes_max,
            readers_max: 1,
            first_seq: first,
        })?;
        let derived = Self {
            base,
            maker,
            publisher: Some(publisher),
            next: first,
        };
        Ok((derived, log))
    }

    /// Makes what the base log has got since the last time; `form` is the one its viewers take.
    pub(crate) fn follow(&mut self, now: Instant, base: &Guard<'_>, form: Form) {
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        // Left behind by the base log (this shard slept): the numbers stay, their packets are absent.
        while self.next < base.head() {
            if publisher.publish_absent(now).is_err() {
                return;
            }
            self.next += 1;
        }
        for _ in 0..MADE_PER_TURN {
            let Some(packet) = base.packet(self.next) else {
                break;
            };
            if self.maker.publish(publisher, &packet, form).is_err() {
                break; // the ceiling: our own guard of the last turn is gone by the next
            }
            self.next += 1;
        }
        if base.ended() && self.next >= base.tail() {
            self.publisher = None; // dropping it ends the log
        }
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derived")
            .field("base", &self.base)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Maker {
    fn publish(
        &mut self,
        publisher: &mut Publisher,
        packet: &Packet<'_>,
        form: Form,
    ) -> Result<u64, Shed> {
        let at = packet.published_at();
        let entry = match self {
            Self::Frame(frame) if packet.present() => frame.entry(packet, form),
            Self::Frame(_) => return publisher.publish_absent(at),
            Self::Filter(filter) => {
                filter.set_clock(packet.send_ms());
                match filter.packet(packet.bytes(Form::Full, false)) {
                    Ok(Some(ready)) => Entry {
                        full: ready.full,
                        stripped: ready.stripped,
                        join: ready.join,
                        join_stripped: ready.join_stripped,
                        send_ms: packet.send_ms(),
                        due_ms: packet.due_ms(),
                        clean_point: ready.meta.clean_point,
                        join_done: ready.meta.join_done,
                    },
                    // Nothing of this packet is selected; ingest let no damaged packet into the base log.
                    Ok(None) | Err(_) => return publisher.publish_absent(at),
                }
            }
        };
        publisher.publish(at, entry)
    }
}

/// Puts heads in front of packets.
struct Frame {
    framing: Framing,
    /// For everybody, and for joiners.
    bodies: [Vec<u8>; 2],
}

impl Frame {
    fn entry(&mut self, packet: &Packet<'_>, form: Form) -> Entry<'_> {
        let [full, join] = [packet.bytes(form, false), packet.bytes(form, true)];
        // A form that was not given lies where its substitute does.
        let has_join = !std::ptr::eq(join, full);
        for (body, form) in self.bodies.iter_mut().zip([full, join]) {
            body.clear();
            if !form.is_empty() {
                let mut head = [0; Framing::HEAD_BYTES_MAX];
                // Everybody's count of packets is their number in the log.
                let number = packet.seq() as u32;
                let size = (self.framing).head(number, number, form.len(), &mut head);
                body.extend_from_slice(&head[..size]);
                body.extend_from_slice(form);
            }
        }
        let [full, join] = &self.bodies;
        Entry {
            full,
            stripped: None,
            join: has_join.then_some(join),
            join_stripped: None,
            send_ms: packet.send_ms(),
            due_ms: packet.due_ms(),
            clean_point: packet.clean_point(),
            join_done: packet.join_done(),
        }
    }
}

/// The oldest packet that somebody who comes at `now` may be sent.
fn first_for_newcomers(guard: &Guard<'_>, fast_start: Duration, now: Instant) -> u64 {
    let head = guard.head();
    let oldest = guard.packet(head).map(|packet| packet.published_at());
    match oldest.map(|at| now.saturating_duration_since(at)) {
        Some(age) if age > fast_start => guard.join_point(now, fast_start).unwrap_or(head),
        _ => head,
    }
}

/// Packets made per turn and log; a new one catches up over a few turns.
const MADE_PER_TURN: usize = 2048;

#[cfg(test)]
mod tests {
    use funnel_channel::{Reader, log};

    use super::*;

    fn config(readers_max: usize) -> LogConfig {
        LogConfig {
            packet_bytes: 100,
            retain: Duration::from_secs(60),
            bytes_max: 64 << 20,
            readers_max,
            first_seq: 0,
        }
    }

    fn entry(full: &[u8]) -> Entry<'_> {
        Entry {
            full,
            stripped: None,
            join: None,
            join_stripped: None,
            send_ms: 3,
            due_ms: 4,
            clean_point: true,
            join_done: false,
        }
    }

    /// The log with heads made of what `reader` reads, at `now`.
    fn framed(framing: Framing, now: Instant, reader: &mut Reader) -> (Derived, Reader) {
        let log = Arc::clone(reader.log());
        let guard = reader.pin();
        let frame = Maker::Frame(Frame {
            framing,
            bodies: Default::default(),
        });
        let tuning = Tuning::default();
        let first = first_for_newcomers(&guard, tuning.fast_start, now);
        let (derived, log) = Derived::new(0, &log, frame, first, 112, &tuning).expect("workable");
        let reader = log.reader().expect("a place");
        (derived, reader)
    }

    fn range(guard: &Guard<'_>) -> (u64, u64) {
        (guard.head(), guard.tail())
    }

    #[test]
    fn every_packet_gets_a_head_and_what_is_missing_stays_missing() {
        for form in [Form::Full, Form::Stripped] {
            heads_of(form);
        }
    }

    fn heads_of(form: Form) {
        let now = Instant::now();
        let (mut publisher, log) = log(config(1)).expect("a workable log");
        let mut reader = log.reader().expect("a place");
        let full = [7; 100];
        let forms = [
            (None, None, None),
            (Some(&full[..60]), None, None),
            (None, Some(&full[..80]), None),
            (Some(&full[..60]), Some(&full[..80]), Some(&full[..40])),
            (None, Some(&full[..0]), None),
        ];
        for (stripped, join, join_stripped) in forms {
            let entry = Entry {
                stripped,
                join,
                join_stripped,
                ..entry(&full)
            };
            publisher.publish(now, entry).expect("room");
        }
        publisher.publish_absent(now).expect("room");
        let framing = Framing::wmsp(5);
        let (mut derived, mut copy) = framed(framing, now, &mut reader);
        derived.follow(now, &reader.pin(), form);
        let (base, copy) = (reader.pin(), copy.pin());
        assert_eq!(range(&copy), (0, 6));
        for seq in 0..6 {
            let (from, to) = (base.packet(seq).unwrap(), copy.packet(seq).unwrap());
            assert_eq!(to.present(), from.present());
            assert_eq!(to.clean_point(), from.clean_point());
            assert_eq!((to.send_ms(), to.due_ms()), (from.send_ms(), from.due_ms()));
            assert_eq!(to.published_at(), from.published_at());
            for joining in [false, true] {
                let (body, whole) = (from.bytes(form, joining), to.bytes(Form::Full, joining));
                let mut head = [0; Framing::HEAD_BYTES_MAX];
                let size = framing.head(seq as u32, seq as u32, body.len(), &mut head);
                let expected = match body {
                    [] => Vec::new(),
                    body => [&head[..size], body].concat(),
                };
                assert_eq!(whole, expected, "{seq} {form:?} {joining}");
            }
        }
    }

    #[test]
    fn it_begins_where_newcomers_join_and_ends_with_its_base() {
        let now = Instant::now();
        let (mut publisher, log) = log(config(1)).expect("a workable log");
        let mut reader = log.reader().expect("a place");
        for second in 0..30 {
            let at = now + Duration::from_secs(second);
            publisher.publish(at, entry(&[1; 100])).expect("room");
        }
        let late = now + Duration::from_secs(29);
        let (mut derived, mut copy) = framed(Framing::wmsp(0), late, &mut reader);
        derived.follow(late, &reader.pin(), Form::Full);
        assert_eq!(range(&copy.pin()), (24, 30));
        drop(publisher);
        derived.follow(late, &reader.pin(), Form::Full);
        assert!(copy.pin().ended());
    }

    #[test]
    fn a_young_log_is_copied_from_its_beginning() {
        let now = Instant::now();
        let (mut publisher, log) = log(config(1)).expect("a workable log");
        let mut reader = log.reader().expect("a place");
        let unclean = Entry {
            clean_point: false,
            ..entry(&[1; 100])
        };
        publisher.publish(now, unclean).expect("room");
        publisher.publish(now, entry(&[1; 100])).expect("room");
        let (mut derived, mut copy) = framed(Framing::wmsp(0), now, &mut reader);
        derived.follow(now, &reader.pin(), Form::Full);
        assert_eq!(range(&copy.pin()), (0, 2));
    }
}
