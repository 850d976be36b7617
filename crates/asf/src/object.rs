//! Media objects put together again from their fragments (`docs/protocol/asf.md` §7).
//!
//! A server needs this only to look at a stream: the probe prints what it finds, tests compare it with the ground
//! truth. Tolerant as §7 says: a fragment that does not continue its object drops the object, never the stream.
//! Memory is bounded: an object grows with the bytes that really came, up to [`OBJECT_BYTES_MAX`].

use crate::header::Header;
use crate::packet::{Layout, PacketError, Payload, Replicated};

/// Largest object put together (§18).
pub const OBJECT_BYTES_MAX: u32 = 16 << 20;

/// One whole media object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaObject {
    /// Stream number.
    pub stream: u8,
    /// Media object number as coded in the packet.
    pub number: u32,
    /// Presentation time less the preroll, ms; negative when an encoder says so.
    pub time_ms: i64,
    /// The key-frame bit of its first fragment.
    pub key: bool,
    /// The encoded frame.
    pub data: Vec<u8>,
}

/// Puts media objects together, packet by packet.
#[derive(Debug)]
pub struct Assembler {
    preroll_ms: u32,
    streams: Vec<(u8, Option<Open>)>,
    dropped: u64,
}

/// An object of which a part has come.
#[derive(Debug)]
struct Open {
    size: u32,
    object: MediaObject,
}

impl Assembler {
    /// For the streams of one header; payloads of other streams are passed over.
    pub fn new(header: &Header) -> Assembler {
        let streams = header
            .streams()
            .iter()
            .map(|stream| (stream.number, None))
            .collect();
        Assembler {
            preroll_ms: header.preroll_ms(),
            streams,
            dropped: 0,
        }
    }

    /// Takes one packet and appends every object it completes to `objects`.
    ///
    /// # Errors
    /// The packet is damaged; objects under way are kept.
    pub fn packet(
        &mut self,
        packet: &[u8],
        objects: &mut Vec<MediaObject>,
    ) -> Result<(), PacketError> {
        let layout = Layout::parse(packet)?;
        for payload in layout.payloads() {
            self.payload(packet, &layout, payload, objects);
        }
        Ok(())
    }

    /// Objects begun and never completed, and fragments without a beginning, so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn payload(
        &mut self,
        packet: &[u8],
        layout: &Layout,
        payload: &Payload,
        objects: &mut Vec<MediaObject>,
    ) {
        let preroll = i64::from(self.preroll_ms);
        let Some((_, open)) = self
            .streams
            .iter_mut()
            .find(|(number, _)| *number == payload.stream())
        else {
            return;
        };
        let time_ms = i64::from(
            payload
                .time_ms()
                .unwrap_or(layout.send_ms().wrapping_add(self.preroll_ms)),
        ) - preroll;
        let object = |number, time_ms, data: &[u8]| MediaObject {
            stream: payload.stream(),
            number,
            time_ms,
            key: payload.is_key(),
            data: data.to_vec(),
        };
        match payload.replicated() {
            Replicated::Compressed { delta_ms } => {
                self.dropped += u64::from(open.take().is_some());
                let mut time_ms = time_ms;
                for (index, part) in payload.parts(packet).enumerate() {
                    let number =
                        payload.number().wrapping_add(index as u32) & payload.number_mask();
                    objects.push(object(number, time_ms, part));
                    time_ms += i64::from(delta_ms);
                }
            }
            Replicated::Object { size, .. } if payload.starts_object() => {
                self.dropped += u64::from(open.take().is_some());
                if size > OBJECT_BYTES_MAX || payload.data().len() > size as usize {
                    self.dropped += 1;
                    return;
                }
                *open = Some(Open {
                    size,
                    object: object(payload.number(), time_ms, &packet[payload.data()]),
                });
            }
            Replicated::Object { size, .. } => match open {
                Some(begun) if begun.continues(payload, size) => {
                    begun.object.data.extend_from_slice(&packet[payload.data()])
                }
                _ => self.dropped += 1 + u64::from(open.take().is_some()),
            },
            // Neither size nor number to match: such an object would end at the next one. No muxer writes it.
            Replicated::Nothing => self.dropped += 1,
        }
        if let Some(done) = open.take_if(|begun| begun.object.data.len() == begun.size as usize) {
            objects.push(done.object);
        }
    }
}

impl Open {
    fn continues(&self, payload: &Payload, size: u32) -> bool {
        let end = self.object.data.len() + payload.data().len();
        payload.number() == self.object.number
            && size == self.size
            && payload.offset() as usize == self.object.data.len()
            && end <= size as usize
    }
}
