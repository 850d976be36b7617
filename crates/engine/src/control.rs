//! What a viewer's socket has to take besides media, and what its answers mean.
//!
//! Order on a connection: the rest of a packet that was cut, then each message as a send of its own, then media
//! (DESIGN §6.4).

use std::time::Instant;

use funnel_channel::Guard;

use crate::report::Counters;
use crate::train;
use crate::viewer::{Flight, Train, Viewer};

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
    viewer: &mut Viewer,
    sent: usize,
    now: Instant,
    counters: &mut Counters,
    pin: impl FnOnce(&Train, &mut dyn FnMut(&Guard<'_>)),
) -> Taken {
    viewer.stats.bytes += sent as u64;
    counters.bytes += sent as u64;
    let taken = match std::mem::replace(&mut viewer.flight, Flight::None) {
        Flight::None => Taken::Whole,
        Flight::Cut => {
            viewer.cut_sent += sent;
            if viewer.cut_sent < viewer.cut.len() {
                Taken::Part
            } else {
                viewer.cut = Vec::new();
                viewer.cut_sent = 0;
                Taken::Whole
            }
        }
        Flight::Control => {
            viewer.control_sent += sent;
            if viewer
                .control
                .front()
                .is_some_and(|message| viewer.control_sent < message.len())
            {
                Taken::Part
            } else {
                let message = viewer.control.pop_front();
                viewer.control_bytes -= message.map_or(0, |message| message.len());
                viewer.control_sent = 0;
                Taken::Whole
            }
        }
        Flight::Media(train) if sent == train.bytes => {
            count(viewer, counters, train.packets);
            Taken::Whole
        }
        Flight::Media(train) => {
            let mut cut = None;
            pin(&train, &mut |guard| {
                cut = train::find_cut(guard, train.form, train.start, train.end, sent)
            });
            match cut {
                None => Taken::Torn,
                Some(cut) => {
                    // The packet that was cut will be sent whole before anything else.
                    count(
                        viewer,
                        counters,
                        cut.packets + u32::from(!cut.rest.is_empty()),
                    );
                    viewer.cut = cut.rest;
                    viewer.sequence = cut.after.sequence;
                    match &mut viewer.media {
                        // Another run already: it begins where the cut packet left the count.
                        Some(media) if train.stopped => {
                            media.run.sequence = media.run.framing.first_sequence(viewer.sequence);
                        }
                        Some(media) => {
                            media.run = cut.after;
                            media.drained = false;
                        }
                        None => {}
                    }
                    Taken::Part
                }
            }
        }
    };
    if sent > 0 {
        viewer.session.note_progress(now);
    }
    taken
}

fn count(viewer: &mut Viewer, counters: &mut Counters, packets: u32) {
    viewer.stats.packets += u64::from(packets);
    counters.packets += u64::from(packets);
}
