//! What the normaliser knows of one stream: whether its key bits lie, how its objects are numbered, how far it got.
//!
//! Rules: `docs/protocol/asf.md` §5.3 and §14.5 (key bits), §13 A (numbers and gaps).

use crate::guid;
use crate::header::{Stream, StreamKind};
use crate::keyframe::Sniffer;
use crate::packet::{Payload, Replicated};

/// One stream of a channel.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) number: u8,
    pub(super) time_offset_ms: i64,
    rule: KeyRule,
    /// Bytes of payload extension data before the Output Clean Point byte.
    clean_point_at: Option<usize>,
    objects: u64,
    keys: u64,
    /// Number (as received) and verdict of the object under way.
    current: Option<(u32, bool)>,
    shift: u32,
    next_number: Option<u32>,
    renumber: bool,
    pass: Pass,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KeyRule {
    /// Audio and commands: every object is a key.
    Always,
    /// Video: the flag, checked against the bitstream where that tells.
    Video(Sniffer),
    /// Anything else: as received.
    AsReceived,
}

/// Presentation times of one pass over the source, channel time.
#[derive(Debug, Default)]
struct Pass {
    objects: i64,
    first_ms: i64,
    last_ms: i64,
}

impl Track {
    pub(super) fn new(stream: &Stream, least_offset_ms: u32) -> Track {
        let rule = match stream.kind {
            StreamKind::Audio { .. } | StreamKind::Command => KeyRule::Always,
            StreamKind::Video { .. } => KeyRule::Video(Sniffer::of(stream)),
            StreamKind::Other => KeyRule::AsReceived,
        };
        Track {
            number: stream.number,
            time_offset_ms: i64::from(stream.time_offset_ms - least_offset_ms),
            rule,
            clean_point_at: clean_point_offset(stream),
            objects: 0,
            keys: 0,
            current: None,
            shift: 0,
            next_number: None,
            renumber: false,
            pass: Pass::default(),
        }
    }

    /// True for audio and commands, whose every object is a clean point.
    pub(super) fn is_always_key(&self) -> bool {
        self.rule == KeyRule::Always
    }

    /// What the key bit of this payload should be.
    pub(super) fn key(&mut self, packet: &[u8], payload: &Payload) -> bool {
        match self.rule {
            KeyRule::Always => true,
            KeyRule::AsReceived => payload.is_key(),
            KeyRule::Video(sniffer) => {
                if payload.starts_object() {
                    let key = self.verdict(packet, payload, sniffer);
                    self.current = Some((payload.number(), key));
                    key
                } else {
                    let known = self
                        .current
                        .filter(|(number, _)| *number == payload.number());
                    known.map_or(payload.is_key(), |(_, key)| key)
                }
            }
        }
    }

    /// Is the video object that begins here a key frame? The flag is doubted when most objects claim it, at the very
    /// beginning, and when no object ever claimed it; then the bitstream decides where it can.
    fn verdict(&mut self, packet: &[u8], payload: &Payload, sniffer: Sniffer) -> bool {
        let marked = self.clean_point_at.is_some_and(|at| {
            payload
                .extension_data(packet)
                .get(at)
                .is_some_and(|&b| b != 0)
        });
        let claimed = payload.is_key() || marked;
        self.objects += 1;
        self.keys += u64::from(claimed);
        let doubtful = self.objects <= 8 || self.keys * 2 > self.objects || self.keys == 0;
        let media = packet.get(payload.data()).unwrap_or_default();
        let sniffed = if doubtful {
            sniffer.is_key(media)
        } else {
            None
        };
        sniffed.unwrap_or(claimed)
    }

    /// The object number this payload gets; `begun` objects begin in it.
    pub(super) fn number(&mut self, payload: &Payload, begun: u32) -> u32 {
        if std::mem::take(&mut self.renumber) {
            self.shift = self
                .next_number
                .map_or(0, |next| next.wrapping_sub(payload.number()));
        }
        let number = payload.number().wrapping_add(self.shift) & payload.number_mask();
        self.next_number = Some(number.wrapping_add(begun.max(1)));
        number
    }

    /// Notes that this payload's object shows at `time_ms`, and the last of a compressed row later.
    pub(super) fn presented(&mut self, payload: &Payload, begun: u32, time_ms: i64) {
        let last_ms = match payload.replicated() {
            Replicated::Compressed { delta_ms } => {
                time_ms + i64::from(begun.saturating_sub(1)) * i64::from(delta_ms)
            }
            _ => time_ms,
        };
        if self.pass.objects == 0 {
            self.pass.first_ms = time_ms;
            self.pass.last_ms = last_ms;
        }
        self.pass.first_ms = self.pass.first_ms.min(time_ms);
        self.pass.last_ms = self.pass.last_ms.max(last_ms);
        self.pass.objects += i64::from(begun);
    }

    /// Where the stream's next object belongs, had the source gone on: its last plus the usual gap.
    pub(super) fn next_ms(&self) -> Option<i64> {
        let Pass {
            objects,
            first_ms,
            last_ms,
        } = self.pass;
        let gap_ms = (last_ms - first_ms + objects - 2)
            .checked_div(objects - 1)
            .unwrap_or(LONE_OBJECT_MS);
        (objects > 0).then_some(last_ms + gap_ms.max(1))
    }

    /// The source begins again: numbers go on from here, whatever it writes.
    pub(super) fn begin_again(&mut self) {
        self.renumber = true;
        self.current = None;
    }

    /// Forgets how far the pass got; the next payload begins a new one.
    pub(super) fn begin_pass(&mut self) {
        self.pass = Pass::default();
    }
}

/// Where the Output Clean Point byte stands in the extension data, if every system before it has a fixed size.
fn clean_point_offset(stream: &Stream) -> Option<usize> {
    let mut at = 0;
    for system in &stream.extensions {
        if system.id == guid::OUTPUT_CLEAN_POINT && system.size == 1 {
            return Some(at);
        }
        at += match system.size {
            0xFFFF => return None,
            size => usize::from(size),
        };
    }
    None
}

/// How long a pass of a single object lasts: one slide.
const LONE_OBJECT_MS: i64 = 1_000;
