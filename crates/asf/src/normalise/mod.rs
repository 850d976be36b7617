//! Repairs every packet of a source once, at ingest, and keeps one timeline over loops and restarts.
//!
//! Repairs (`docs/protocol/asf.md` §14.5): the first three bytes become `82 00 00`, key bits become true, absurd send
//! times are derived anew, lengths that cut into payloads are put right, payloads of unknown streams go. Times, and
//! object numbers modulo their width, run on over [`Normaliser::next_pass`] and [`Normaliser::resume`]. Everything is
//! done in place where the packet keeps its layout, else the packet is composed anew at the same size.

mod clock;
mod track;

use std::fmt;

use self::clock::{Clock, Times};
use self::track::Track;
use crate::header::Header;
use crate::packet::{Fit, Layout, PREFIX, PacketError, all_payloads, compose, restore_padding};
use crate::shape::{Ready, Shaper};

/// Turns the packets of one source into the packets of a channel.
#[derive(Debug)]
pub struct Normaliser {
    source_bytes: usize,
    /// Bytes every packet gains for its missing prefix; `None` before the first packet.
    growth: Option<usize>,
    tracks: Box<[Track]>,
    index: [u8; 128],
    clock: Clock,
    /// Presentation times of the pass before reach to here, channel time.
    floor_ms: Option<i64>,
    shaper: Shaper,
    restored: Vec<u8>,
    full: Vec<u8>,
    repairs: Repairs,
}

/// How often each kind of repair was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Repairs {
    /// Packets given the error correction prefix they lacked.
    pub prefixes_added: u64,
    /// Packets whose error correction data was replaced by zeros.
    pub prefixes_cleared: u64,
    /// Key bits set on audio and command payloads.
    pub audio_keys_set: u64,
    /// Key bits changed on video payloads.
    pub video_keys_changed: u64,
    /// Send times replaced.
    pub send_times_moved: u64,
    /// Times the source's clock jumped and the timeline was begun anew.
    pub timeline_jumps: u64,
    /// Packets composed anew because their lengths contradicted each other.
    pub lengths_mended: u64,
    /// Payloads of streams the header does not describe.
    pub unknown_payloads: u64,
    /// Packets dropped: parity, empty, or of unknown streams only.
    pub packets_dropped: u64,
    /// Payloads whose times could not be moved: their packets have no 32-bit field for them.
    pub times_stuck: u64,
}

impl Normaliser {
    /// For a source with this header. Whether packets must grow by a prefix is decided by [`probe`](Self::probe), or
    /// else by the first packet.
    pub fn new(header: &Header) -> Normaliser {
        let source_bytes = header.packet_bytes() as usize;
        // Only what streams' time offsets differ by can be seen; all of them agree in any sane file.
        let least_offset_ms = header
            .streams()
            .iter()
            .map(|stream| stream.time_offset_ms)
            .min()
            .unwrap_or(0);
        let tracks: Box<[Track]> = header
            .streams()
            .iter()
            .map(|stream| Track::new(stream, least_offset_ms))
            .collect();
        let mut index = [u8::MAX; 128];
        tracks
            .iter()
            .enumerate()
            .for_each(|(at, track)| index[usize::from(track.number)] = at as u8);
        Normaliser {
            source_bytes,
            growth: None,
            tracks,
            index,
            clock: Clock::new(header.preroll_ms()),
            floor_ms: None,
            shaper: Shaper::new(header, header.stream_mask(), source_bytes),
            restored: Vec::with_capacity(source_bytes),
            full: Vec::with_capacity(source_bytes + PREFIX.len()),
            repairs: Repairs::default(),
        }
    }

    /// Looks at the first packet to decide whether packets must grow; returns the packet size to write in the header
    /// that goes out. Only the first whole packet decides, later calls change nothing.
    pub fn probe(&mut self, first_packet: &[u8]) -> u32 {
        if let (None, Ok(layout)) = (self.growth, Layout::parse(first_packet)) {
            let growth = if layout.is_parity() {
                0
            } else {
                PREFIX.len().saturating_sub(layout.prefix_bytes())
            };
            self.growth = Some(growth);
            self.shaper.reserve(self.source_bytes + growth);
        }
        self.packet_bytes()
    }

    /// Size of what comes out: the source's, up to 3 bytes more where its packets lack the error correction prefix.
    pub fn packet_bytes(&self) -> u32 {
        (self.source_bytes + self.growth.unwrap_or(0)) as u32
    }

    /// Takes one packet of the source. `None`: dropped on purpose (parity, empty, unknown streams only).
    ///
    /// # Errors
    /// The packet is damaged; nothing changed, the next one can be given.
    pub fn packet(&mut self, raw: &[u8]) -> Result<Option<Ready<'_>>, PacketError> {
        self.probe(raw);
        let Some(mut layout) = self.lay_down(raw)? else {
            self.repairs.packets_dropped += 1;
            return Ok(None);
        };
        self.mend_keys_and_numbers(&mut layout);
        let send_ms = self.mend_times(&mut layout);
        self.shaper.observe(&self.full, &layout, send_ms);
        Ok(Some(self.shaper.shape(&self.full, &layout, send_ms)))
    }

    /// The next packet is the file's first again: times and object numbers go on without a seam (§13 A).
    pub fn next_pass(&mut self) {
        self.clock.next_pass(self.next_ms());
        self.tracks.iter_mut().for_each(Track::begin_again);
        self.keep_floor();
    }

    /// The source was restarted with an equivalent header; its first packet goes `gap_ms` after the last one.
    pub fn resume(&mut self, gap_ms: u64) {
        self.clock.resume(gap_ms);
        self.tracks.iter_mut().for_each(Track::begin_again);
        self.keep_floor();
    }

    /// What was repaired so far.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// Puts the packet into `full` at the channel's size, with the normal prefix and without unknown streams; `None`
    /// when nothing of it is left.
    fn lay_down(&mut self, raw: &[u8]) -> Result<Option<Layout>, PacketError> {
        let raw = if raw.len() == self.source_bytes {
            raw
        } else {
            restore_padding(raw, self.source_bytes, &mut self.restored)?;
            &self.restored
        };
        let layout = Layout::parse(raw)?;
        let known = |(at, payload): (usize, &crate::packet::Payload)| {
            u64::from(self.index[usize::from(payload.stream())] != u8::MAX) << at
        };
        let keep: u64 = layout.payloads().iter().enumerate().map(known).sum();
        self.repairs.unknown_payloads +=
            layout.payloads().len() as u64 - u64::from(keep.count_ones());
        if keep == 0 {
            return Ok(None);
        }
        let target = self.source_bytes + self.growth.unwrap_or(0);
        let normal = layout.prefix_bytes() == PREFIX.len();
        if normal && target == raw.len() && layout.is_consistent() && keep == all_payloads(&layout)
        {
            self.full.clear();
            self.full.extend_from_slice(raw);
            self.repairs.prefixes_cleared += u64::from(raw[..3] != PREFIX);
            self.full[..3].copy_from_slice(&PREFIX);
            return Ok(Some(layout));
        }
        compose(raw, &layout, keep, Fit::Padded(target), &mut self.full)?;
        self.repairs.prefixes_added += u64::from(layout.prefix_bytes() < PREFIX.len());
        self.repairs.prefixes_cleared += u64::from(layout.prefix_bytes() > PREFIX.len());
        self.repairs.lengths_mended += u64::from(!layout.is_consistent());
        Layout::parse(&self.full).map(Some)
    }

    fn mend_keys_and_numbers(&mut self, layout: &mut Layout) {
        for payload in layout.payloads_mut() {
            let Some(track) = self
                .tracks
                .get_mut(usize::from(self.index[usize::from(payload.stream())]))
            else {
                continue;
            };
            let key = track.key(&self.full, payload);
            if key != payload.is_key() {
                let always = track.is_always_key();
                *(if always {
                    &mut self.repairs.audio_keys_set
                } else {
                    &mut self.repairs.video_keys_changed
                }) += 1;
                payload.set_key(&mut self.full, key);
            }
            let begun = payload.objects_begun(&self.full);
            let number = track.number(payload, begun);
            if number != payload.number() {
                payload.set_number(&mut self.full, number);
            }
        }
    }

    /// Moves all times of the packet to the channel's timeline; returns its send time.
    fn mend_times(&mut self, layout: &mut Layout) -> u64 {
        let written = layout.send_ms();
        let placed = self.clock.place(self.times(layout));
        self.repairs.timeline_jumps += u64::from(placed.jumped);
        if placed.send_ms as u32 != written {
            let moved = placed.send_ms as i64 != placed.source_ms + placed.offset_ms;
            self.repairs.send_times_moved += u64::from(moved);
            layout.set_send_ms(&mut self.full, placed.send_ms as u32);
        }
        for payload in layout.payloads_mut() {
            let Some(track) = self
                .tracks
                .get_mut(usize::from(self.index[usize::from(payload.stream())]))
            else {
                continue;
            };
            let Some(time_ms) = payload.time_ms() else {
                continue;
            };
            let shift_ms = placed.offset_ms + track.time_offset_ms;
            let shown_ms =
                placed.source_ms + i64::from(time_ms.wrapping_sub(written) as i32) + shift_ms;
            if shift_ms != 0 && !payload.set_time_ms(&mut self.full, shown_ms as u32) {
                self.repairs.times_stuck += 1;
            }
            let begun = payload.objects_begun(&self.full);
            if begun > 0 && self.clock.is_plausible(shown_ms) {
                track.presented(payload, begun, shown_ms);
                self.clock.presented(shown_ms);
            }
        }
        placed.send_ms
    }

    fn times(&self, layout: &Layout) -> Times {
        let send_ms = layout.send_ms();
        let lead = |payload: &crate::packet::Payload| {
            let lead_ms = i64::from(payload.time_ms()?.wrapping_sub(send_ms) as i32);
            Some(
                lead_ms
                    + self
                        .tracks
                        .get(usize::from(self.index[usize::from(payload.stream())]))?
                        .time_offset_ms,
            )
        };
        let all = || layout.payloads().iter();
        Times {
            send_ms,
            lead_ms: all()
                .filter(|payload| payload.starts_object())
                .filter_map(lead)
                .min(),
            any_lead_ms: all().filter_map(lead).min(),
            next_ms: self.next_ms(),
        }
    }

    /// Where the next object of the whole channel belongs: behind every stream's last.
    fn next_ms(&self) -> Option<i64> {
        self.tracks
            .iter()
            .filter_map(Track::next_ms)
            .max()
            .max(self.floor_ms)
    }

    fn keep_floor(&mut self) {
        self.floor_ms = self.next_ms();
        self.tracks.iter_mut().for_each(Track::begin_pass);
    }
}

impl Repairs {
    /// True when nothing had to be repaired.
    pub fn is_empty(&self) -> bool {
        *self == Repairs::default()
    }
}

/// One log line: only what happened.
impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.prefixes_added, "prefixes added"),
            (self.prefixes_cleared, "prefixes cleared"),
            (self.audio_keys_set, "audio key bits set"),
            (self.video_keys_changed, "video key bits changed"),
            (self.send_times_moved, "send times moved"),
            (self.timeline_jumps, "timeline jumps"),
            (self.lengths_mended, "packet lengths mended"),
            (self.unknown_payloads, "payloads of unknown streams dropped"),
            (self.packets_dropped, "packets without media dropped"),
            (self.times_stuck, "times without room to move"),
        ];
        let mut happened = counts.iter().filter(|(count, _)| *count > 0);
        let Some((count, what)) = happened.next() else {
            return f.write_str("nothing to repair");
        };
        write!(f, "{count} {what}")?;
        happened.try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}
