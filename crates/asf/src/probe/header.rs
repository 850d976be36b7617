//! The header of a probe channel, and how to know one again after [`live_header`](crate::live_header) rewrote it.
//!
//! One script command stream. That the channel exists to be load tested stands in an attribute of the Extended Content
//! Description, where people see it too; its value is the bit rate. The packet size stands where every header has it.

use super::{PREROLL_MS, Probe, STREAM};
use crate::bytes::{Cursor, utf16};
use crate::guid::{self, Guid};
use crate::header::{DATA_HEAD_BYTES, HEADER_BYTES_MIN, Header, StreamKind, children};

/// The probe channel this header belongs to; `None` for every other header.
pub fn is_probe(header: &Header) -> Option<Probe> {
    let [stream] = header.streams() else {
        return None;
    };
    if stream.kind != StreamKind::Command || stream.number != STREAM {
        return None;
    }
    let object = &header.bytes()[..header.bytes().len() - DATA_HEAD_BYTES];
    let bits_per_second = children(object, HEADER_BYTES_MIN)
        .filter_map(Result::ok)
        .filter(|child| child.id == guid::EXTENDED_CONTENT_DESCRIPTION)
        .find_map(|child| attribute(child.object))?;
    Probe::new(bits_per_second, header.packet_bytes()).ok()
}

/// Header Object and the first 50 bytes of the Data Object.
pub(super) fn compose(probe: &Probe, file_id: [u8; 16]) -> Vec<u8> {
    let children = [
        file_properties(probe, file_id),
        stream_properties(),
        header_extension(),
        content_description(),
        extended_content_description(probe),
        stream_bit_rate(probe),
    ];
    let count = children.len() as u32;
    let head = [&count.to_le_bytes()[..], &[1, 2], &children.concat()].concat();
    // Data Object: File ID, no count of packets, reserved; it promises no size.
    let data = [&file_id[..], &0u64.to_le_bytes(), &[1, 1]].concat();
    [object(guid::HEADER, &head), object(guid::DATA, &data)].concat()
}

/// §3.1: a broadcast, so counts and durations are 0.
fn file_properties(probe: &Probe, file_id: [u8; 16]) -> Vec<u8> {
    let mut body = file_id.to_vec();
    body.resize(56, 0);
    body.extend(u64::from(PREROLL_MS).to_le_bytes());
    body.extend(BROADCAST.to_le_bytes());
    body.extend(probe.packet_bytes().to_le_bytes());
    body.extend(probe.packet_bytes().to_le_bytes());
    body.extend(probe.bits_per_second().to_le_bytes());
    object(guid::FILE_PROPERTIES, &body)
}

/// §3.2: a command stream has neither type-specific nor error correction data.
fn stream_properties() -> Vec<u8> {
    let mut body = guid::COMMAND_MEDIA.as_bytes().to_vec();
    body.extend(guid::NO_ERROR_CORRECTION.as_bytes());
    body.extend([0; 16]);
    body.extend(u16::from(STREAM).to_le_bytes());
    body.extend([0; 4]);
    object(guid::STREAM_PROPERTIES, &body)
}

/// §3.3: required, and empty.
fn header_extension() -> Vec<u8> {
    let mut body = guid::RESERVED_1.as_bytes().to_vec();
    body.extend(6u16.to_le_bytes());
    body.extend([0; 4]);
    object(guid::HEADER_EXTENSION, &body)
}

/// §3.8: title, author, copyright, description, rating.
fn content_description() -> Vec<u8> {
    let texts = [TITLE, "", "", COMMENT, ""].map(|text| match text {
        "" => Vec::new(),
        text => terminated(text),
    });
    let lengths = texts
        .iter()
        .flat_map(|text| (text.len() as u16).to_le_bytes());
    let body: Vec<u8> = lengths.chain(texts.iter().flatten().copied()).collect();
    object(guid::CONTENT_DESCRIPTION, &body)
}

/// §3.9: one attribute.
fn extended_content_description(probe: &Probe) -> Vec<u8> {
    let name = terminated(ATTRIBUTE);
    let mut body = 1u16.to_le_bytes().to_vec();
    body.extend((name.len() as u16).to_le_bytes());
    body.extend(name);
    body.extend(DWORD.to_le_bytes());
    body.extend(4u16.to_le_bytes());
    body.extend(probe.bits_per_second().to_le_bytes());
    object(guid::EXTENDED_CONTENT_DESCRIPTION, &body)
}

/// §3.10: one record.
fn stream_bit_rate(probe: &Probe) -> Vec<u8> {
    let mut body = 1u16.to_le_bytes().to_vec();
    body.extend(u16::from(STREAM).to_le_bytes());
    body.extend(probe.bits_per_second().to_le_bytes());
    object(guid::STREAM_BITRATE_PROPERTIES, &body)
}

/// The value of [`ATTRIBUTE`] in an Extended Content Description; `None` where it is missing or the object broken.
fn attribute(object: &[u8]) -> Option<u32> {
    let mut cursor = Cursor::new(object);
    cursor.take(24)?;
    for _ in 0..cursor.u16()? {
        let name_bytes = cursor.u16()?;
        let name = cursor.take(usize::from(name_bytes))?;
        let (kind, value_bytes) = (cursor.u16()?, cursor.u16()?);
        let value = cursor.take(usize::from(value_bytes))?;
        if kind == DWORD && utf16(name) == ATTRIBUTE {
            return value.try_into().ok().map(u32::from_le_bytes);
        }
    }
    None
}

fn object(id: Guid, body: &[u8]) -> Vec<u8> {
    let size = body.len() as u64 + 24;
    [&id.as_bytes()[..], &size.to_le_bytes(), body].concat()
}

/// UTF-16LE with its NUL.
fn terminated(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

/// Name of the attribute that makes a header a probe channel's.
const ATTRIBUTE: &str = "funnel/LoadTestBitsPerSecond";
const TITLE: &str = "Load test";
const COMMENT: &str =
    "This channel exists to be load tested: its packets carry marks, nothing to see or hear.";
/// Value type of a 32-bit number (§3.9).
const DWORD: u16 = 3;
/// File Properties flags: broadcast, not seekable.
const BROADCAST: u32 = 1;
