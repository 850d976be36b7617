//! Couples the packets a viewer is due into one gather list, and finds the place where the kernel cut one.
//!
//! The hot loop of the server: per packet one look into the log, 8–16 bytes of head, two pieces. Free functions over
//! slices and numbers. Measured by `engine_turn` in the benches.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use funnel_channel::{Form, Guard, Packet};
use funnel_session::server::Framing;

use crate::viewer::{Run, Train};

/// Pieces in one send at most: IOV_MAX.
pub const PIECES_MAX: usize = 1024;

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
    /// The bounds on bytes or pieces, or the arena, ended it: more is there to send.
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
            || pieces.remaining_capacity() < 2
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
            let head = take_head(heads, run, body.len());
            pieces.push(head);
            pieces.push(body);
            coupled.bytes += head.len() + body.len();
            coupled.packets += 1;
        }
        *run = after;
    }
    coupled
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

/// Writes the head of the packet at `run` to the front of the arena and splits it off, with the room of the longest.
#[inline]
pub(crate) fn take_head<'d>(arena: &mut &'d mut [u8], run: &Run, body_bytes: usize) -> &'d [u8] {
    let (head, rest) = std::mem::take(arena).split_at_mut(Framing::HEAD_BYTES_MAX);
    *arena = rest;
    let size = write_head(run, body_bytes, head);
    &head[..size]
}

/// Writes the head of the packet at `run` and returns its size.
#[inline]
fn write_head(run: &Run, body_bytes: usize, out: &mut [u8]) -> usize {
    let Ok(out) = out.try_into() else { return 0 };
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
