//! Packets from media objects: for synthetic sources and tests (`docs/protocol/asf.md` §14.1).
//!
//! Writes what encoders write: several payloads a packet, single-payload packets for the inside of large objects,
//! send time = presentation time of the first payload less the preroll.

use crate::packet::compose::Frame;
use crate::packet::{Fit, PAYLOADS_MAX, PREFIX, PacketError};

/// An object to be cut into payloads.
#[derive(Clone, Copy, Debug)]
pub struct Fragmented<'a> {
    /// 1…127.
    pub stream: u8,
    /// Media object number, modulo 256.
    pub number: u8,
    /// Key frame.
    pub key: bool,
    /// Show time, ms; the preroll is added.
    pub time_ms: u32,
    /// The encoded frame.
    pub data: &'a [u8],
}

/// Packs objects into packets of one size.
#[derive(Debug)]
pub struct PacketWriter {
    packet_bytes: usize,
    preroll_ms: u32,
    payloads: Vec<u8>,
    count: usize,
    first_ms: u32,
    last_ms: u32,
    packet: Vec<u8>,
}

impl PacketWriter {
    /// Packets of `packet_bytes` (at least [`PACKET_BYTES_MIN`](crate::header::PACKET_BYTES_MIN)).
    ///
    /// # Errors
    /// [`PacketError::Size`]: no payload fits such packets.
    pub fn new(packet_bytes: u32, preroll_ms: u32) -> Result<PacketWriter, PacketError> {
        let packet_bytes = packet_bytes as usize;
        let least = MULTI_HEAD_BYTES + MULTI_PAYLOAD_HEAD_BYTES + 1;
        if packet_bytes < least || packet_bytes > usize::from(u16::MAX) {
            return Err(PacketError::Size {
                have: least,
                packet_bytes,
            });
        }
        Ok(PacketWriter {
            packet_bytes,
            preroll_ms,
            payloads: Vec::with_capacity(packet_bytes),
            count: 0,
            first_ms: 0,
            last_ms: 0,
            packet: Vec::with_capacity(packet_bytes),
        })
    }

    /// Adds an object; every packet that is full is handed to `emit`.
    pub fn object(&mut self, object: Fragmented<'_>, emit: &mut impl FnMut(&[u8])) {
        let mut offset = 0;
        loop {
            let span = object.time_ms.wrapping_sub(self.first_ms);
            if self.count == PAYLOADS_MAX
                || self.room() == 0
                || (self.count > 0 && span > u32::from(u16::MAX))
            {
                self.flush(emit);
            }
            let rest = &object.data[offset..];
            if self.count == 0 && rest.len() > self.room() {
                let taken = rest
                    .len()
                    .min(self.packet_bytes - SINGLE_HEAD_BYTES - PAYLOAD_HEAD_BYTES);
                self.single(&object, offset, &rest[..taken], emit);
                offset += taken;
            } else {
                let taken = rest.len().min(self.room());
                self.payload(&object, offset, &rest[..taken]);
                offset += taken;
            }
            if offset == object.data.len() {
                return;
            }
        }
    }

    /// Ends the packet under way, if there is one.
    pub fn flush(&mut self, emit: &mut impl FnMut(&[u8])) {
        if self.count == 0 {
            return;
        }
        let payload_flags = [0x80 | self.count as u8];
        let span = self.last_ms.wrapping_sub(self.first_ms) as u16;
        self.packet.clear();
        head(
            &mut self.packet,
            self.packet_bytes,
            1,
            self.payloads.len(),
            self.first_ms,
            span,
        );
        self.packet.extend_from_slice(&payload_flags);
        self.packet.extend_from_slice(&self.payloads);
        self.packet.resize(self.packet_bytes, 0);
        emit(&self.packet);
        self.payloads.clear();
        self.count = 0;
    }

    /// Media bytes that still fit one more payload of the packet under way.
    fn room(&self) -> usize {
        self.packet_bytes
            .saturating_sub(MULTI_HEAD_BYTES + self.payloads.len() + MULTI_PAYLOAD_HEAD_BYTES)
    }

    fn payload(&mut self, object: &Fragmented<'_>, offset: usize, data: &[u8]) {
        if self.count == 0 {
            self.first_ms = object.time_ms;
        }
        self.last_ms = object.time_ms;
        payload_head(&mut self.payloads, object, offset, self.preroll_ms);
        self.payloads
            .extend_from_slice(&(data.len() as u16).to_le_bytes());
        self.payloads.extend_from_slice(data);
        self.count += 1;
    }

    fn single(
        &mut self,
        object: &Fragmented<'_>,
        offset: usize,
        data: &[u8],
        emit: &mut impl FnMut(&[u8]),
    ) {
        self.packet.clear();
        head(
            &mut self.packet,
            self.packet_bytes,
            0,
            PAYLOAD_HEAD_BYTES + data.len(),
            object.time_ms,
            0,
        );
        payload_head(&mut self.packet, object, offset, self.preroll_ms);
        self.packet.extend_from_slice(data);
        self.packet.resize(self.packet_bytes, 0);
        emit(&self.packet);
    }
}

/// Everything before the payload flags; `multiple` is bit 0 of the length type flags.
fn head(
    packet: &mut Vec<u8>,
    packet_bytes: usize,
    multiple: u8,
    payload_bytes: usize,
    send_ms: u32,
    span_ms: u16,
) {
    let bare = SINGLE_HEAD_BYTES + usize::from(multiple) + payload_bytes;
    let frame =
        Frame::choose(bare, Fit::Padded(packet_bytes)).map_or(Frame::Full, |(_, frame)| frame);
    packet.extend_from_slice(&PREFIX);
    packet.extend_from_slice(&[frame.flags() | multiple, PROPERTY_FLAGS]);
    frame.put_padding(packet);
    packet.extend_from_slice(&send_ms.to_le_bytes());
    packet.extend_from_slice(&span_ms.to_le_bytes());
}

fn payload_head(out: &mut Vec<u8>, object: &Fragmented<'_>, offset: usize, preroll_ms: u32) {
    out.extend_from_slice(&[
        object.stream | if object.key { 0x80 } else { 0 },
        object.number,
    ]);
    out.extend_from_slice(&(offset as u32).to_le_bytes());
    out.push(8);
    out.extend_from_slice(&(object.data.len() as u32).to_le_bytes());
    out.extend_from_slice(&object.time_ms.wrapping_add(preroll_ms).to_le_bytes());
}

/// The property flags every writer uses (§6.2).
const PROPERTY_FLAGS: u8 = 0x5D;
/// Prefix, two flag bytes, send time, duration.
const SINGLE_HEAD_BYTES: usize = 11;
/// The same and payload flags, with two bytes kept for a padding field.
const MULTI_HEAD_BYTES: usize = 14;
const PAYLOAD_HEAD_BYTES: usize = 15;
/// With the length of its data.
const MULTI_PAYLOAD_HEAD_BYTES: usize = 17;
