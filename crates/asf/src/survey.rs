//! A whole file or stream looked through once: what the operator is told before going on air.
//!
//! The packets go through a [`Normaliser`] of its own, so damage, repairs and key frames are those the channel will
//! meet.

use crate::header::Header;
use crate::normalise::{Normaliser, Repairs};
use crate::packet::Layout;

/// Facts about all packets of a source. Fields are true once [`finish`](Survey::finish) was called.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// Packets that carry media.
    pub packets: u64,
    /// Packets that broke a rule and were passed over.
    pub damaged: u64,
    /// Length: from the first object to the end of the last, ms.
    pub duration_ms: u64,
    /// The first packet with an object start is one where viewers may begin: the file can be looped.
    pub first_packet_is_key: bool,
    /// Longest time without a key frame of the deciding video stream, up to the end, ms; `None` without video or
    /// without any key frame.
    pub key_frame_gap_ms_max: Option<u32>,
    /// Key frames of that stream.
    pub key_frames: u64,
    /// Padding ÷ all bytes, 0…1.
    pub padding_share: f32,
    /// Media bits per second of each stream, measured.
    pub bit_rates: Vec<(u8, u32)>,
    /// There is a video stream.
    pub has_video: bool,
    /// Packet size after repairs: what the header for the wire must say.
    pub packet_bytes: u32,
    /// What the normaliser repairs.
    pub repairs: Repairs,
    normaliser: Normaliser,
    gate: Option<u8>,
    first_seen: bool,
    first_send_ms: Option<u64>,
    last_send_ms: u64,
    padding_bytes: u64,
    key_ms: Option<i64>,
    first_ms: Option<i64>,
    media: Vec<Media>,
}

/// What one stream amounts to.
#[derive(Debug)]
struct Media {
    stream: u8,
    bytes: u64,
    objects: i64,
    first_ms: i64,
    last_ms: i64,
}

impl Survey {
    /// For a source with this header.
    pub fn new(header: &Header) -> Survey {
        let media = |number| Media {
            stream: number,
            bytes: 0,
            objects: 0,
            first_ms: 0,
            last_ms: 0,
        };
        Survey {
            packets: 0,
            damaged: 0,
            duration_ms: 0,
            first_packet_is_key: false,
            key_frame_gap_ms_max: None,
            key_frames: 0,
            padding_share: 0.0,
            bit_rates: Vec::new(),
            has_video: header.streams().iter().any(|stream| stream.is_video()),
            packet_bytes: header.packet_bytes(),
            repairs: Repairs::default(),
            normaliser: Normaliser::new(header),
            gate: header
                .streams()
                .iter()
                .filter(|stream| stream.is_video())
                .map(|stream| stream.number)
                .min(),
            first_seen: false,
            first_send_ms: None,
            last_send_ms: 0,
            padding_bytes: 0,
            key_ms: None,
            first_ms: None,
            media: header
                .streams()
                .iter()
                .map(|stream| media(stream.number))
                .collect(),
        }
    }

    /// Takes the next packet, as it stands in the source.
    pub fn packet(&mut self, raw: &[u8]) {
        let ready = match self.normaliser.packet(raw) {
            Ok(Some(ready)) => ready,
            Ok(None) => return,
            Err(_) => {
                self.damaged += 1;
                return;
            }
        };
        self.packets += 1;
        self.padding_bytes += u64::from(ready.meta.padding_bytes);
        let send_ms = ready.meta.send_ms;
        self.first_send_ms.get_or_insert(send_ms);
        self.last_send_ms = send_ms + u64::from(ready.meta.duration_ms);
        let Ok(layout) = Layout::parse(ready.full) else {
            return;
        };
        if !self.first_seen
            && layout
                .payloads()
                .iter()
                .any(|payload| payload.starts_object())
        {
            self.first_seen = true;
            self.first_packet_is_key = ready.meta.clean_point;
        }
        for payload in layout.payloads() {
            let begun = payload.objects_begun(ready.full);
            let shown_ms = payload.time_ms().map_or(send_ms as i64, |time_ms| {
                send_ms as i64 + i64::from(time_ms.wrapping_sub(send_ms as u32).cast_signed())
            });
            if begun > 0 {
                self.first_ms = Some(self.first_ms.map_or(shown_ms, |first| first.min(shown_ms)));
            }
            if begun > 0 && self.gate == Some(payload.stream()) && payload.is_key() {
                self.key_frames += 1;
                let gap_ms = shown_ms
                    - self
                        .key_ms
                        .replace(shown_ms)
                        .or(self.first_ms)
                        .unwrap_or(shown_ms);
                self.key_frame_gap_ms_max =
                    self.key_frame_gap_ms_max.max(u32::try_from(gap_ms).ok());
            }
            if let Some(media) = self
                .media
                .iter_mut()
                .find(|media| media.stream == payload.stream())
            {
                media.add(payload.data().len(), begun, shown_ms);
            }
        }
    }

    /// Sums up.
    pub fn finish(mut self) -> Survey {
        let end_ms = self.media.iter().filter_map(Media::end_ms).max();
        let first_ms = self.first_ms.unwrap_or(0);
        self.duration_ms = end_ms.map_or(0, |end| u64::try_from(end - first_ms).unwrap_or(0));
        if let (Some(key_ms), Some(end_ms)) = (self.key_ms, end_ms) {
            self.key_frame_gap_ms_max = self
                .key_frame_gap_ms_max
                .max(u32::try_from(end_ms - key_ms).ok());
        }
        self.packet_bytes = self.normaliser.packet_bytes();
        self.repairs = *self.normaliser.repairs();
        let bytes = self.packets * u64::from(self.packet_bytes);
        self.padding_share = if bytes == 0 {
            0.0
        } else {
            (self.padding_bytes as f64 / bytes as f64) as f32
        };
        let span_ms = self
            .duration_ms
            .max(
                self.last_send_ms
                    .saturating_sub(self.first_send_ms.unwrap_or(0)),
            )
            .max(1);
        let rate = |media: &Media| {
            u32::try_from(media.bytes.saturating_mul(8_000) / span_ms).unwrap_or(u32::MAX)
        };
        self.bit_rates = self
            .media
            .iter()
            .map(|media| (media.stream, rate(media)))
            .collect();
        self
    }
}

impl Media {
    fn add(&mut self, bytes: usize, begun: u32, shown_ms: i64) {
        self.bytes += bytes as u64;
        if begun > 0 {
            self.first_ms = if self.objects == 0 {
                shown_ms
            } else {
                self.first_ms.min(shown_ms)
            };
            self.last_ms = if self.objects == 0 {
                shown_ms
            } else {
                self.last_ms.max(shown_ms)
            };
            self.objects += i64::from(begun);
        }
    }

    /// End of the last object, by the usual distance between objects.
    fn end_ms(&self) -> Option<i64> {
        let gap_ms = (self.last_ms - self.first_ms)
            .checked_div(self.objects - 1)
            .unwrap_or(0);
        (self.objects > 0).then_some(self.last_ms + gap_ms)
    }
}
