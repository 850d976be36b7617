//! Couples the packets a viewer is due into one gather list, and finds the place where the kernel cut one.
//!
//! The hot loop of the server: per packet one look into the log, 8–20 bytes of head, two pieces; plain ASF has no heads, and
//! a piece for all packets that lie side by side. Free functions over slices and numbers. Measured by `engine_turn` in the benches.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use funnel_channel::{Form, Guard, Packet};
use funnel_session::server::Framing;

use crate::viewer::{Run, Train};

/// Pieces in one send at most: IOV_MAX.
pub const PIECES_MAX: usize = 1024;

/// Packets in one send at most: a head and a body each.
const PACKETS_MAX: u32 = PIECES_MAX as u32 / 2;

/// The pieces of one send.
pub(crate) type Pieces<'d> = ArrayVec<&'d [u8], PIECES_MAX>;

/// Where a train must end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// First packet not to send.
    pub(crate) end: u64,
    /// Bytes after which no further packet is taken.
    pub(crate) bytes_max: u64,
    /// Only packets published until then; over UDP, due until then.
    pub(crate) published_until: Option<Instant>,
}

/// What was coupled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Coupled {
    pub(crate) bytes: usize,
    pub(crate) packets: u32,
    /// The bounds on bytes or packets, or the arena, ended it: more is there to send.
    pub(crate) more: bool,
}

/// Takes packets from `run.cursor` on and moves `run` behind the last.
#[inline]
pub(crate) fn couple<'d>(
    guard: &'d Guard<'_>,
    form: Form,
    bounds: Bounds,
    run: &mut Run,
    heads: &mut &'d mut [u8],
    pieces: &mut Pieces<'d>,
) -> Coupled {
    let mut coupled = Coupled::default();
    while run.cursor < bounds.end {
        if coupled.bytes as u64 >= bounds.bytes_max
            || coupled.packets == PACKETS_MAX
            || heads.len() < Framing::HEAD_BYTES_MAX
        {
            coupled.more = true;
            break;
        }
        let Some(packet) = guard.packet(run.cursor) else {
            break;
        };
        if bounds
            .published_until
            .is_some_and(|until| packet.published_at() > until)
        {
            break;
        }
        let (body, after) = step(&packet, form, *run);
        if !body.is_empty() {
            if run.framing.is_bare() {
                push_bare(&packet, body, pieces);
            } else {
                let head = take_head(heads, run, body.len());
                pieces.push(head);
                pieces.push(body);
                coupled.bytes += head.len();
            }
            coupled.bytes += body.len();
            coupled.packets += 1;
        }
        *run = after;
    }
    coupled
}

/// Without heads, bodies that lie side by side are one piece: fewer for the kernel to walk.
#[inline]
fn push_bare<'d>(packet: &Packet<'d>, body: &'d [u8], pieces: &mut Pieces<'d>) {
    if let Some(last) = pieces.last_mut()
        && let Some(joined) = packet.joined(last, body)
    {
        *last = joined;
    } else {
        pieces.push(body);
    }
}

/// The packet at `run.cursor` for this viewer, and where the viewer stands behind it. An empty body is skipped.
#[inline]
pub(crate) fn step<'g>(packet: &Packet<'g>, form: Form, run: Run) -> (&'g [u8], Run) {
    // A second clean point ends the joining: from there on the joiners' forms are for those who join there.
    let joining = run
        .joined_at
        .is_some_and(|at| at == run.cursor || !packet.clean_point());
    let body = packet.bytes(form, joining);
    let after = Run {
        cursor: run.cursor + 1,
        sequence: run.sequence.wrapping_add(u32::from(!body.is_empty())),
        joined_at: run.joined_at.filter(|_| joining && !packet.join_done()),
        ..run
    };
    (body, after)
}

/// When a packet is to go out as a datagram: not before its spread due time, counted from when the source sent it (DESIGN §6.10).
#[inline]
pub(crate) fn due_at(packet: &Packet<'_>) -> Instant {
    packet.published_at() + Duration::from_millis(packet.due_ms().saturating_sub(packet.send_ms()))
}

/// Writes the head of the packet at `run` to the front of the arena, which has room for the longest, and splits it off.
#[inline]
pub(crate) fn take_head<'d>(arena: &mut &'d mut [u8], run: &Run, body_bytes: usize) -> &'d [u8] {
    let size = match arena.first_chunk_mut() {
        Some(room) => write_head(run, body_bytes, room),
        None => 0,
    };
    let (head, rest) = std::mem::take(arena).split_at_mut(size);
    *arena = rest;
    head
}

/// Writes the head of the packet at `run` and returns its size.
#[inline]
fn write_head(run: &Run, body_bytes: usize, out: &mut [u8; Framing::HEAD_BYTES_MAX]) -> usize {
    // Players see the low 32 bits of a live packet's number (protocol page §3.1).
    run.framing
        .head(run.cursor as u32, run.sequence, body_bytes, out)
}

/// Where the kernel stopped in a train.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Cut {
    /// Where the viewer stands behind the packet that was cut, or behind the last whole one.
    pub(crate) after: Run,
    /// Whole packets sent, the cut one not among them.
    pub(crate) packets: u32,
}

/// Walks a train again to the byte where the kernel stopped, and shows `keep` what of the cut packet is still to be sent:
/// the rests of head and body. `None` if the log has moved over it.
pub(crate) fn find_cut(
    guard: &Guard<'_>,
    train: &Train,
    sent: usize,
    keep: impl FnOnce([&[u8]; 2]),
) -> Option<Cut> {
    let mut run = train.start;
    let mut left = sent;
    let mut packets = 0;
    while left > 0 && run.cursor < train.end {
        let packet = guard.packet(run.cursor)?;
        let (body, after) = step(&packet, train.form, run);
        if !body.is_empty() {
            let mut head = [0; Framing::HEAD_BYTES_MAX];
            let size = write_head(&run, body.len(), &mut head);
            if left < size + body.len() {
                let (of_head, of_body) = (left.min(size), left.saturating_sub(size));
                keep([&head[of_head..size], &body[of_body..]]);
                return Some(Cut { after, packets });
            }
            left -= size + body.len();
            packets += 1;
        }
        run = after;
    }
    Some(Cut {
        after: run,
        packets,
    })
}

#[cfg(test)]
mod tests {
    use funnel_channel::{Entry, LogConfig, Publisher, Reader, log};

    use super::*;
    use crate::viewer::UNJOINED;

    /// A log of six packets of 40 bytes: the third has twins, the fourth is absent.
    fn small_log(now: Instant) -> (Publisher, Reader) {
        let config = LogConfig {
            packet_bytes: 40,
            retain: Duration::from_secs(60),
            bytes_max: 1 << 20,
            readers_max: 1,
            first_seq: 7,
        };
        let (mut publisher, log) = log(config).expect("a workable log");
        for number in 0..6u8 {
            let full = [number; 40];
            let twin = (number == 2).then_some(&full[..25]);
            if number == 3 {
                publisher.publish_absent(now).expect("room");
                continue;
            }
            let entry = Entry {
                full: &full,
                stripped: twin,
                join: twin,
                join_stripped: None,
                send_ms: 0,
                due_ms: 0,
                clean_point: number == 2,
                join_done: number == 2,
            };
            publisher.publish(now, entry).expect("room");
        }
        let reader = log.reader().expect("a place");
        (publisher, reader)
    }

    fn framings() -> [Framing; 4] {
        [
            Framing::default(),
            Framing::wmsp(1),
            Framing::chunked(2),
            Framing::ASF,
        ]
    }

    /// Everything from `run` on as one train; how many pieces it had.
    fn rest_of(guard: &Guard<'_>, form: Form, run: &mut Run) -> (Vec<u8>, Coupled, usize) {
        let mut arena = [0; 1024];
        let mut pieces = Pieces::new();
        let bounds = Bounds {
            end: guard.tail(),
            bytes_max: u64::MAX,
            published_until: None,
        };
        let coupled = couple(guard, form, bounds, run, &mut &mut arena[..], &mut pieces);
        assert_eq!(coupled.bytes, pieces.concat().len());
        (pieces.concat(), coupled, pieces.len())
    }

    fn start(framing: Framing, joined_at: Option<u64>) -> Run {
        Run {
            framing,
            cursor: joined_at.unwrap_or(7),
            sequence: 250,
            joined_at,
        }
    }

    #[test]
    fn whatever_is_taken_of_a_train_the_rest_follows_at_that_byte() {
        let (_publisher, mut reader) = small_log(Instant::now());
        let guard = reader.pin();
        for (framing, form, joined_at) in framings().into_iter().flat_map(|framing| {
            [
                (framing, Form::Full, None),
                (framing, Form::Stripped, None),
                (framing, Form::Full, Some(9)),
            ]
        }) {
            let begin = start(framing, joined_at);
            let mut end = begin;
            let (whole, coupled, _) = rest_of(&guard, form, &mut end);
            let train = Train {
                feed: 0,
                start: begin,
                end: end.cursor,
                form,
                bytes: whole.len(),
                packets: coupled.packets,
                datagrams: false,
                stopped: false,
            };
            for sent in 0..=whole.len() {
                let mut told = whole[..sent].to_vec();
                let cut = find_cut(&guard, &train, sent, |rest| told.extend(rest.concat()));
                let mut after = cut.expect("still in the log").after;
                told.extend(rest_of(&guard, form, &mut after).0);
                assert_eq!(told, whole, "{framing:?} {form:?} cut at {sent}");
                assert_eq!(after, end);
            }
        }
    }

    #[test]
    fn bare_packets_that_lie_side_by_side_are_one_piece() {
        let (_publisher, mut reader) = small_log(Instant::now());
        let guard = reader.pin();
        let mut run = start(Framing::ASF, None);
        let (bytes, coupled, pieces) = rest_of(&guard, Form::Full, &mut run);
        let packets = [0, 1, 2, 4, 5].map(|number| [number; 40]);
        assert_eq!(bytes, packets.concat());
        // The third packet's twins stand between it and the fifth.
        assert_eq!((coupled.packets, pieces), (5, 2));
        assert_ne!(run.cursor, UNJOINED);
        let (.., with_heads) = rest_of(&guard, Form::Full, &mut start(Framing::wmsp(0), None));
        assert_eq!(with_heads, 10);
    }

    #[test]
    fn each_chunk_tells_its_size_and_ends_the_one_before() {
        let (_publisher, mut reader) = small_log(Instant::now());
        let guard = reader.pin();
        let mut run = start(Framing::chunked(3), None);
        let (bytes, ..) = rest_of(&guard, Form::Stripped, &mut run);
        let mut rest = &bytes[..];
        let mut sizes = Vec::new();
        while let Some(line) = rest.strip_prefix(b"\r\n") {
            let digits = std::str::from_utf8(&line[..4]).expect("digits");
            let size = usize::from_str_radix(digits, 16).expect("hexadecimal");
            assert_eq!((&line[4..6], &line[6..8]), (&b"\r\n"[..], &b"$D"[..]));
            sizes.push(size - 12);
            rest = &line[6 + size..];
        }
        assert_eq!((sizes, rest.len()), (vec![40, 40, 25, 40, 40], 0));
    }

    #[test]
    fn a_train_has_as_many_packets_as_heads_and_bodies_fit_one_send() {
        let now = Instant::now();
        let (mut publisher, mut reader) = small_log(now);
        let full = [9; 40];
        for _ in 0..PACKETS_MAX {
            let entry = Entry {
                full: &full,
                stripped: None,
                join: None,
                join_stripped: None,
                send_ms: 0,
                due_ms: 0,
                clean_point: false,
                join_done: true,
            };
            publisher.publish(now, entry).expect("room");
        }
        let guard = reader.pin();
        for framing in framings() {
            let mut arena = vec![0; 1 << 16];
            let mut pieces = Pieces::new();
            let bounds = Bounds {
                end: guard.tail(),
                bytes_max: u64::MAX,
                published_until: None,
            };
            let mut run = start(framing, None);
            let mut heads = &mut arena[..];
            let coupled = couple(
                &guard,
                Form::Full,
                bounds,
                &mut run,
                &mut heads,
                &mut pieces,
            );
            assert!(coupled.more && coupled.packets == PACKETS_MAX);
        }
    }
}
