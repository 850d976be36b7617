//! Clean points, the start filter and the twins of a packet: what the channel log keeps beside the full packet.
//!
//! Used by [`Normaliser`](crate::Normaliser) for the whole channel and by [`Filter`](crate::Filter) for a selection,
//! each with its own state. Rules: `docs/protocol/asf.md` §12.3 (start filter), §11.2 (stripped form), §12.2 (audio
//! and command objects are all clean).
//!
//! A joiner is a viewer who began at the latest clean point and takes the `join` forms until `join_done`. So that this
//! stays exact, a packet is no clean point while the joiners of the one before are not done, unless that takes longer
//! than [`JOIN_MS_MAX`]. Whoever meets a second clean point while still joining takes full packets from it on.

use crate::header::Header;
use crate::packet::{Fit, Layout, Payload, Replicated, all_payloads, compose};
use crate::selection::stream_bit;

/// A packet as the channel log takes it.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// The packet at its full size, padding included, beginning `82 00 00`.
    pub full: &'a [u8],
    /// The same without padding; only when that saves at least 3 bytes.
    pub stripped: Option<&'a [u8]>,
    /// What of it a joiner gets, full size, where that differs from `full`; empty: nothing.
    pub join: Option<&'a [u8]>,
    /// `join` without padding: there whenever `join` is, so it never falls back to `stripped`.
    pub join_stripped: Option<&'a [u8]>,
    /// Facts about it.
    pub meta: PacketMeta,
}

/// Facts about one packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PacketMeta {
    /// When to send it, ms on a timeline that goes on over loops and restarts; the packet holds the low 32 bits.
    pub send_ms: u64,
    /// Time span of its payloads, ms; 0 = unknown.
    pub duration_ms: u16,
    /// A viewer may begin here, with the `join` form.
    pub clean_point: bool,
    /// From the next packet on a joiner takes full packets.
    pub join_done: bool,
    /// Bytes that say nothing.
    pub padding_bytes: u32,
    /// Bit n is set when a payload of stream n is here.
    pub streams: u128,
}

/// State of one stream set: where viewers may begin, and what a joiner has begun to see.
#[derive(Debug)]
pub(crate) struct Shaper {
    tracks: Box<[Track]>,
    /// Stream number → position in `tracks`, [`NO_TRACK`] where there is none.
    index: [u8; 128],
    first_send_ms: Option<u64>,
    join: Join,
    stripped: Vec<u8>,
    joined: Vec<u8>,
    joined_stripped: Vec<u8>,
}

/// The latest clean point and its joiners.
#[derive(Debug, Default)]
struct Join {
    /// Send time of the clean point; `None` before the first.
    since_ms: Option<u64>,
    /// Streams the joiner has begun to get.
    started: u128,
    done: bool,
}

/// What is known of one stream.
#[derive(Debug)]
struct Track {
    number: u8,
    video: bool,
    audio: bool,
    /// The header says that key-frame bits mean nothing.
    no_clean_points: bool,
    key_seen: bool,
    objects: u32,
    first_seen_ms: u64,
    last_seen_ms: Option<u64>,
    /// The last payload left its object unfinished.
    open: bool,
}

impl Shaper {
    /// For the streams of `header` in `mask`; packets have `packet_bytes`.
    pub(crate) fn new(header: &Header, mask: u128, packet_bytes: usize) -> Shaper {
        let chosen = header
            .streams()
            .iter()
            .filter(|stream| mask & stream_bit(stream.number) != 0);
        let mut tracks: Vec<Track> = chosen
            .map(|stream| Track {
                number: stream.number,
                video: stream.is_video(),
                audio: stream.is_audio(),
                no_clean_points: stream.no_clean_points,
                key_seen: false,
                objects: 0,
                first_seen_ms: 0,
                last_seen_ms: None,
                open: false,
            })
            .collect();
        tracks.sort_by_key(|track| track.number);
        let mut index = [NO_TRACK; 128];
        tracks
            .iter()
            .enumerate()
            .for_each(|(at, track)| index[usize::from(track.number)] = at as u8);
        let mut shaper = Shaper {
            tracks: tracks.into(),
            index,
            first_send_ms: None,
            join: Join::default(),
            stripped: Vec::new(),
            joined: Vec::new(),
            joined_stripped: Vec::new(),
        };
        shaper.reserve(packet_bytes);
        shaper
    }

    /// Reserves what composing packets of this size needs.
    pub(crate) fn reserve(&mut self, packet_bytes: usize) {
        for buffer in [
            &mut self.stripped,
            &mut self.joined,
            &mut self.joined_stripped,
        ] {
            buffer.reserve(packet_bytes + 8);
        }
    }

    /// Takes note of every payload of a packet, before [`shape`](Self::shape).
    pub(crate) fn observe(&mut self, packet: &[u8], layout: &Layout, send_ms: u64) {
        self.first_send_ms.get_or_insert(send_ms);
        for payload in layout.payloads() {
            let Some(track) = self
                .tracks
                .get_mut(usize::from(self.index[usize::from(payload.stream())]))
            else {
                continue;
            };
            if track.last_seen_ms.is_none() {
                track.first_seen_ms = send_ms;
            }
            track.last_seen_ms = Some(send_ms);
            track.objects = track.objects.saturating_add(payload.objects_begun(packet));
            track.key_seen |= payload.is_key();
            track.open = match payload.replicated() {
                Replicated::Object { size, .. } => {
                    (payload.offset() as usize + payload.data().len()) < size as usize
                }
                Replicated::Compressed { .. } => false,
                Replicated::Nothing => true,
            };
        }
    }

    /// May a viewer's first payload of this stream be this one?
    pub(crate) fn may_start(&self, payload: &Payload, send_ms: u64) -> bool {
        self.track(payload)
            .is_some_and(|track| payload.starts_object() && track.clean(payload, send_ms))
    }

    /// The twins and facts of a packet that was observed.
    pub(crate) fn shape<'a>(
        &'a mut self,
        full: &'a [u8],
        layout: &Layout,
        send_ms: u64,
    ) -> Ready<'a> {
        let all = all_payloads(layout);
        let strip = full.len() >= layout.shortest_bytes() + STRIP_BYTES_MIN
            && compose(full, layout, all, Fit::Shortest, &mut self.stripped).is_ok();
        let clean_point = self.is_clean_point(layout, send_ms);
        if clean_point {
            self.join = Join {
                since_ms: Some(send_ms),
                started: 0,
                done: false,
            };
        }
        let joining = self.join.since_ms.is_some() && !self.join.done;
        let keep = if joining {
            self.start(layout, send_ms)
        } else {
            all
        };
        let trim = keep != all;
        if trim {
            self.compose_join(full, layout, keep);
        }
        self.join.done |= joining
            && !self
                .tracks
                .iter()
                .any(|track| self.holds_up(track, send_ms));
        Ready {
            full,
            stripped: strip.then_some(&self.stripped),
            join: trim.then_some(&self.joined),
            join_stripped: trim.then_some(&self.joined_stripped),
            meta: PacketMeta {
                send_ms,
                duration_ms: layout.duration_ms(),
                clean_point,
                join_done: self.join.done,
                padding_bytes: layout.padding_bytes(),
                streams: layout.streams(),
            },
        }
    }

    fn compose_join(&mut self, full: &[u8], layout: &Layout, keep: u64) {
        self.joined.clear();
        self.joined_stripped.clear();
        if keep != 0 {
            let padded = compose(
                full,
                layout,
                keep,
                Fit::Padded(full.len()),
                &mut self.joined,
            );
            let shortest = compose(full, layout, keep, Fit::Shortest, &mut self.joined_stripped);
            debug_assert!(
                padded.is_ok() && shortest.is_ok(),
                "fewer payloads fit where all did"
            );
        }
    }

    /// The start filter: which payloads a joiner gets. Notes the streams that begin.
    fn start(&mut self, layout: &Layout, send_ms: u64) -> u64 {
        let mut keep = 0;
        for (position, payload) in layout.payloads().iter().enumerate() {
            let bit = stream_bit(payload.stream());
            if self.join.started & bit != 0 || self.may_start(payload, send_ms) {
                self.join.started |= bit;
                keep |= 1 << position;
            }
        }
        keep
    }

    fn is_clean_point(&self, layout: &Layout, send_ms: u64) -> bool {
        let busy = self
            .join
            .since_ms
            .is_some_and(|since| !self.join.done && send_ms < since + JOIN_MS_MAX);
        if busy {
            return false;
        }
        let gate = self.gate(send_ms);
        let audio = self.tracks.iter().any(|track| track.audio);
        layout.payloads().iter().any(|payload| {
            self.may_start(payload, send_ms)
                && self.track(payload).is_some_and(|track| match gate {
                    Some(number) => track.number == number,
                    None => track.audio || !audio,
                })
        })
    }

    /// The stream whose key frames decide: the lowest numbered video stream that is not silent for long.
    fn gate(&self, send_ms: u64) -> Option<u8> {
        let begun = self.first_send_ms.unwrap_or(send_ms);
        self.tracks
            .iter()
            .find(|track| {
                track.video
                    && send_ms.saturating_sub(track.last_seen_ms.unwrap_or(begun))
                        < VIDEO_SILENCE_MS_MAX
            })
            .map(|track| track.number)
    }

    /// True while a joiner might still be given a cut object, or a video that begins without its key frame.
    fn holds_up(&self, track: &Track, send_ms: u64) -> bool {
        if self.join.started & stream_bit(track.number) != 0 {
            return false;
        }
        let begun = self.first_send_ms.unwrap_or(send_ms);
        match track.last_seen_ms {
            Some(seen) => {
                (track.video || track.open) && send_ms.saturating_sub(seen) < SILENCE_MS_MAX
            }
            None => send_ms.saturating_sub(begun) < UNSEEN_MS_MAX,
        }
    }

    fn track(&self, payload: &Payload) -> Option<&Track> {
        self.tracks
            .get(usize::from(self.index[usize::from(payload.stream())]))
    }
}

impl Track {
    /// Can an object that begins with this payload be decoded on its own?
    fn clean(&self, payload: &Payload, send_ms: u64) -> bool {
        !self.video || payload.is_key() || self.no_clean_points || self.is_keyless(send_ms)
    }

    /// A video that has shown no key frame for so long that it will not: waiting would mean no picture ever.
    fn is_keyless(&self, send_ms: u64) -> bool {
        !self.key_seen
            && self.objects >= KEYLESS_OBJECTS_MIN
            && send_ms.saturating_sub(self.first_seen_ms) >= KEYLESS_MS_MIN
    }
}

const NO_TRACK: u8 = u8::MAX;
/// A stripped twin pays from here on (§11.2).
const STRIP_BYTES_MIN: usize = 3;
/// Longest time a join may keep the next clean point back.
pub const JOIN_MS_MAX: u64 = 10_000;
/// A stream that has been silent this long does not hold up joiners.
const SILENCE_MS_MAX: u64 = 10_000;
/// A stream that has never been seen holds up joiners this long from the beginning.
const UNSEEN_MS_MAX: u64 = 5_000;
/// A video silent this long no longer decides where viewers may begin.
const VIDEO_SILENCE_MS_MAX: u64 = 60_000;
/// Without a key frame for this long, and this many objects, a video has none.
const KEYLESS_MS_MIN: u64 = 60_000;
const KEYLESS_OBJECTS_MIN: u32 = 50;
