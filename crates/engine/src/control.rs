//! What a viewer's socket has to take besides media, and what its answers mean.
//!
//! Order on a connection: the rest of a packet that was cut, then each message as a send of its own, then media
//! (DESIGN §6.4).

use std::time::Instant;

use funnel_channel::Guard;

use crate::outgoing::Buffers;
use crate::report::Counters;
use crate::train;
use crate::viewer::{Flight, Hot, Train, Viewer};

/// What the kernel's answer to a send means for the viewer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// All of it.
    Whole,
    /// A part, or nothing: wait until the socket is writable.
    Part,
    /// A part of a packet that is no longer in the log: the stream cannot be continued.
    Torn,
}

/// Books `sent` bytes of what was in flight.
pub(crate) fn settle(
    hot: &mut Hot,
    viewer: &mut Viewer,
    sent: usize,
    now: Instant,
    counters: &mut Counters,
    buffers: &mut Buffers,
    pin: impl FnOnce(&Train, &mut dyn FnMut(&Guard<'_>)),
) -> Taken {
    hot.count(sent, 0, counters);
    if sent > 0 {
        hot.progress_at = now;
    }
    viewer.note_train(hot);
    match std::mem::replace(&mut hot.flight, Flight::None) {
        Flight::None => Taken::Whole,
        Flight::Cut => {
            viewer.cut_sent += sent;
            if viewer.cut_sent < viewer.cut.len() {
                Taken::Part
            } else {
                buffers.give(std::mem::take(&mut viewer.cut));
                viewer.cut_sent = 0;
                Taken::Whole
            }
        }
        Flight::Control => {
            if viewer.control.take(sent, buffers) {
                Taken::Whole
            } else {
                Taken::Part
            }
        }
        flight @ (Flight::Datagram | Flight::Resend) => {
            let dropped = viewer.drop_first_datagram(flight, buffers);
            counters.resent += u64::from(dropped && flight == Flight::Resend);
            Taken::Whole
        }
        // Written down above, if it was not before.
        Flight::Steady(_) | Flight::Noted => {
            let Some(train) = viewer.train.take() else {
                return Taken::Whole;
            };
            if sent == train.bytes || train.datagrams {
                hot.count(0, train.packets, counters);
                return Taken::Whole;
            }
            let mut cut = None;
            pin(&train, &mut |guard| {
                cut = train::find_cut(guard, &train, sent, |rest| {
                    buffers.make_room(&mut viewer.cut, rest.iter().map(|part| part.len()).sum());
                    rest.iter()
                        .for_each(|part| viewer.cut.extend_from_slice(part));
                });
            });
            match cut {
                None => Taken::Torn,
                Some(cut) => {
                    // The packet that was cut will be sent whole before anything else.
                    let packets = cut.packets + u32::from(!viewer.cut.is_empty());
                    hot.count(0, packets, counters);
                    let sequence = cut.after.sequence;
                    match &mut viewer.media {
                        // Another run already: it begins where the cut packet left the count.
                        Some(_) if train.stopped => {
                            hot.run.sequence = hot.run.framing.first_sequence(sequence);
                        }
                        Some(media) => {
                            hot.run = cut.after;
                            media.drained = false;
                        }
                        None => hot.run.sequence = sequence,
                    }
                    Taken::Part
                }
            }
        }
    }
}
