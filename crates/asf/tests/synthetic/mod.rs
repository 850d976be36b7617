//! Headers and packets made for one test: streams, sizes and encoders' habits at will.
#![allow(dead_code, reason = "each test file uses its own part")]

use funnel_asf::packet::{Fragmented, PacketWriter};
use funnel_asf::{Header, guid};

pub const PREROLL_MS: u32 = 3000;

/// A stream to declare.
pub enum Declared {
    /// Number and FourCC.
    Video(u8, [u8; 4]),
    /// Number; MP3.
    Audio(u8),
    /// Number and FourCC; inside an Extended Stream Properties Object that declares an 11-byte extension and Output
    /// Clean Point.
    HiddenVideo(u8, [u8; 4]),
    /// Number and time offset in ms; MP3.
    LateAudio(u8, u64),
}

pub fn header(packet_bytes: u32, streams: &[Declared]) -> Header {
    Header::parse(&header_bytes(packet_bytes, streams)).expect("made by the rules")
}

pub fn header_bytes(packet_bytes: u32, streams: &[Declared]) -> Vec<u8> {
    let mut file = vec![0; 80];
    file[56..64].copy_from_slice(&u64::from(PREROLL_MS).to_le_bytes());
    file[68..72].copy_from_slice(&packet_bytes.to_le_bytes());
    file[72..76].copy_from_slice(&packet_bytes.to_le_bytes());
    let (mut top, mut hidden) = (object(guid::FILE_PROPERTIES, &file), Vec::new());
    for stream in streams {
        match *stream {
            Declared::Video(number, four) => {
                top.extend(properties(number, guid::VIDEO_MEDIA, &video(four), 0))
            }
            Declared::Audio(number) => {
                top.extend(properties(number, guid::AUDIO_MEDIA, &audio(), 0))
            }
            Declared::LateAudio(number, late_ms) => {
                top.extend(properties(number, guid::AUDIO_MEDIA, &audio(), late_ms));
            }
            Declared::HiddenVideo(number, four) => hidden.extend(extended(number, four)),
        }
    }
    let mut extension = guid::RESERVED_1.as_bytes().to_vec();
    extension.extend(6u16.to_le_bytes());
    extension.extend((hidden.len() as u32).to_le_bytes());
    extension.extend(hidden);
    top.extend(object(guid::HEADER_EXTENSION, &extension));
    let head = [&(streams.len() as u32 + 2).to_le_bytes()[..], &[1, 2], &top].concat();
    let data = [&[0; 24][..], &[1, 1]].concat();
    [object(guid::HEADER, &head), object(guid::DATA, &data)].concat()
}

pub fn object(id: guid::Guid, body: &[u8]) -> Vec<u8> {
    [
        &id.as_bytes()[..],
        &(body.len() as u64 + 24).to_le_bytes(),
        body,
    ]
    .concat()
}

fn properties(number: u8, kind: guid::Guid, data: &[u8], late_ms: u64) -> Vec<u8> {
    let mut body = [
        kind.as_bytes().as_slice(),
        guid::NO_ERROR_CORRECTION.as_bytes(),
    ]
    .concat();
    body.extend((late_ms * 10_000).to_le_bytes());
    body.extend((data.len() as u32).to_le_bytes());
    body.extend([0, 0, 0, 0, number, 0, 0, 0, 0, 0]);
    body.extend(data);
    object(guid::STREAM_PROPERTIES, &body)
}

fn extended(number: u8, four: [u8; 4]) -> Vec<u8> {
    let mut body = vec![0; 64];
    body[48] = number;
    body[62] = 2;
    body.extend([7; 16]);
    body.extend([11, 0, 2, 0, 0, 0, 0xAA, 0xBB]);
    body.extend(guid::OUTPUT_CLEAN_POINT.as_bytes());
    body.extend([1, 0, 0, 0, 0, 0]);
    body.extend(properties(number, guid::VIDEO_MEDIA, &video(four), 0));
    object(guid::EXTENDED_STREAM_PROPERTIES, &body)
}

fn video(four: [u8; 4]) -> Vec<u8> {
    let mut data = vec![0; 51];
    data[0..4].copy_from_slice(&320u32.to_le_bytes());
    data[4..8].copy_from_slice(&240u32.to_le_bytes());
    data[9] = 40;
    data[27..31].copy_from_slice(&four);
    data
}

fn audio() -> Vec<u8> {
    let mut data = vec![0; 18];
    data[0] = 0x55;
    data[2] = 1;
    data[4..8].copy_from_slice(&8000u32.to_le_bytes());
    data[8..12].copy_from_slice(&1000u32.to_le_bytes());
    data
}

/// An object to send, its number counted by the stream.
#[derive(Clone, Debug)]
pub struct Frame {
    pub stream: u8,
    pub key: bool,
    pub time_ms: u32,
    pub data: Vec<u8>,
}

pub fn packets(packet_bytes: u32, frames: &[Frame]) -> Vec<Vec<u8>> {
    let mut writer = PacketWriter::new(packet_bytes, PREROLL_MS).expect("size is in range");
    let (mut packets, mut numbers) = (Vec::new(), [0u8; 128]);
    let mut emit = |packet: &[u8]| packets.push(packet.to_vec());
    for frame in frames {
        let number = &mut numbers[usize::from(frame.stream)];
        let Frame {
            stream,
            key,
            time_ms,
            ref data,
        } = *frame;
        writer.object(
            Fragmented {
                stream,
                number: *number,
                key,
                time_ms,
                data,
            },
            &mut emit,
        );
        *number = number.wrapping_add(1);
    }
    writer.flush(&mut emit);
    packets
}

/// `seconds` of 25 fps video on stream 1 with a key each second, and audio on stream 2; video claims by `claim`.
pub fn show(seconds: u32, claim: impl Fn(u32) -> bool) -> Vec<Frame> {
    let mut frames = Vec::new();
    for index in 0..seconds * 25 {
        let true_key = index % 25 == 0;
        let first = if true_key { 0x10 } else { 0x90 };
        let data = vec![first; if true_key { 900 } else { 150 }];
        frames.push(Frame {
            stream: 1,
            key: claim(index),
            time_ms: index * 40,
            data,
        });
        frames.push(Frame {
            stream: 2,
            key: false,
            time_ms: index * 40,
            data: vec![index as u8; 40],
        });
    }
    frames
}
