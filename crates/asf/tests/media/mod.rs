//! The test media of the repository and their ground truth (`testdata/media/README.md`).
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::PathBuf;

use funnel_asf::{Assembler, Deframer, Header, Item, MediaObject, Normaliser, data_packets};

/// Files a player can decode whole, with their ground truth.
pub const GOOD: [&str; 12] = [
    "av-300k.wmv",
    "audio-64k.wma",
    "mbr-3rates.wmv",
    "mbr-3rates-mutex.wmv",
    "h264-aac.asf",
    "large-packets.wmv",
    "tiny-audio.asf",
    "slides-3min.asf",
    "metadata-unicode.wmv",
    "v-compressed.asf",
    "v-noec.asf",
    "v-lengths.asf",
];

/// Header and packets of one source.
pub struct Source {
    pub header: Header,
    pub packets: Vec<Vec<u8>>,
}

/// What `expected/NAME.tsv` says of one object, and what we compare: the key flag of audio is ffprobe's habit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    pub stream: u8,
    pub time_ms: i64,
    pub size: usize,
    pub video_key: bool,
    pub md5: String,
}

/// What normalising made of a source: one entry per packet, `None` where it was dropped or damaged.
pub struct Shaped {
    pub header: Header,
    pub packets: Vec<Packet>,
}

/// An owned copy of `Ready`.
#[derive(Clone, Debug)]
pub struct Packet {
    pub full: Vec<u8>,
    pub stripped: Option<Vec<u8>>,
    pub join: Option<Vec<u8>>,
    pub join_stripped: Option<Vec<u8>>,
    pub meta: funnel_asf::PacketMeta,
}

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/media")).join(name)
}

pub fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file on disk, read as the file source does.
pub fn file(name: &str) -> Source {
    let bytes = bytes(name);
    let header = Header::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let count = data_packets(&header, bytes.len() as u64, header.data_object_size());
    let packets = bytes[header.bytes().len()..].chunks_exact(header.packet_bytes() as usize);
    let packets = packets
        .take(count as usize)
        .take_while(|packet| !funnel_asf::packet::ends_data(packet));
    Source {
        packets: packets.map(<[u8]>::to_vec).collect(),
        header,
    }
}

/// A live capture, pushed through the deframer in pieces of the given sizes, repeated.
pub fn live(name: &str, cuts: &[usize]) -> Source {
    let bytes = bytes(name);
    let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
    let (mut deframer, mut header, mut packets, mut ends) = (Deframer::new(), None, Vec::new(), 0);
    while !rest.is_empty() {
        let piece = rest.len().min(*cuts.next().expect("cycled"));
        deframer.push(&rest[..piece]);
        rest = &rest[piece..];
        if rest.is_empty() {
            deframer.finish();
        }
        while let Some(item) = deframer
            .next()
            .unwrap_or_else(|error| panic!("{name}: {error}"))
        {
            match item {
                Item::Header(found) => {
                    assert!(header.replace(found).is_none(), "{name}: one header")
                }
                Item::Packet(packet) => packets.push(packet.to_vec()),
                Item::End => ends += 1,
            }
        }
    }
    assert_eq!(ends, 1, "{name}: one end");
    Source {
        header: header.expect("a header came"),
        packets,
    }
}

/// Objects assembled from packets; damaged packets are passed over.
pub fn objects<'a>(
    header: &Header,
    packets: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<MediaObject> {
    let (mut assembler, mut objects) = (Assembler::new(header), Vec::new());
    for packet in packets {
        let _ = assembler.packet(packet, &mut objects);
    }
    objects
}

/// The packets of a source as the channel log would get them.
pub fn shape(source: &Source) -> Shaped {
    let mut normaliser = Normaliser::new(&source.header);
    let packets = source
        .packets
        .iter()
        .filter_map(|raw| own(normaliser.packet(raw)))
        .collect();
    Shaped {
        header: source.header.clone(),
        packets,
    }
}

pub fn own(
    ready: Result<Option<funnel_asf::Ready<'_>>, funnel_asf::PacketError>,
) -> Option<Packet> {
    let ready = ready.ok().flatten()?;
    Some(Packet {
        full: ready.full.to_vec(),
        stripped: ready.stripped.map(<[u8]>::to_vec),
        join: ready.join.map(<[u8]>::to_vec),
        join_stripped: ready.join_stripped.map(<[u8]>::to_vec),
        meta: ready.meta,
    })
}

impl Packet {
    /// What a viewer gets: as the channel log chooses.
    pub fn form(&self, stripped: bool, joining: bool) -> &[u8] {
        match (joining.then_some(self.join.as_ref()).flatten(), stripped) {
            (Some(_), true) => self.join_stripped.as_ref().expect("always beside join"),
            (Some(join), false) => join,
            (None, true) => self.stripped.as_ref().unwrap_or(&self.full),
            (None, false) => &self.full,
        }
    }
}

pub fn lines(header: &Header, objects: &[MediaObject]) -> Vec<Line> {
    objects.iter().map(|object| line(header, object)).collect()
}

pub fn line(header: &Header, object: &MediaObject) -> Line {
    let video = header
        .stream(object.stream)
        .is_some_and(|stream| stream.is_video());
    Line {
        stream: object.stream,
        time_ms: object.time_ms,
        size: object.data.len(),
        video_key: video && object.key,
        md5: format!("{:x}", md5::compute(&object.data)),
    }
}

pub fn expected(name: &str, header: &Header) -> Vec<Line> {
    let text = String::from_utf8(bytes(&format!("expected/{name}.tsv"))).expect("tsv is text");
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let stream: u8 = fields[0].parse().expect("stream");
        let video = header
            .stream(stream)
            .is_some_and(|stream| stream.is_video());
        Line {
            stream,
            time_ms: fields[1].parse().expect("time"),
            size: fields[2].parse().expect("size"),
            video_key: video && fields[3] == "K",
            md5: fields[4].to_owned(),
        }
    };
    text.lines().map(parse).collect()
}

/// Lines of each stream apart: fragments of several streams may complete in another order after filtering.
pub fn of_stream(lines: &[Line], stream: u8) -> Vec<Line> {
    lines
        .iter()
        .filter(|line| line.stream == stream)
        .cloned()
        .collect()
}

/// First difference of two long lists, readable.
#[track_caller]
pub fn assert_same(what: &str, found: &[Line], expected: &[Line]) {
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}: object {position}");
    }
    assert_eq!(found.len(), expected.len(), "{what}: number of objects");
}
