//! A second, small reader of ASF packets and headers, independent of `funnel-asf`: what the tests
//! conclude about received packets must not rest on the code under test. `docs/protocol/asf.md` §3, §6.

/// One payload of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub stream: u8,
    pub key: bool,
    pub object: u32,
    /// Where in the object this piece begins; 0 for the packed short objects of a compressed payload.
    pub offset: u32,
    /// Presentation time in ms, preroll included.
    pub time_ms: u32,
    pub bytes: usize,
}

/// What a packet says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub send_ms: u32,
    pub payloads: Vec<Payload>,
}

/// Takes little-endian fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn uint(&mut self, bytes: usize) -> Option<u32> {
        Some(
            self.take(bytes)?
                .iter()
                .rev()
                .fold(0, |value, byte| (value << 8) | u32::from(*byte)),
        )
    }

    /// A field whose two-bit type says how long it is.
    fn typed(&mut self, kind: u8) -> Option<u32> {
        self.uint([0, 1, 2, 4][usize::from(kind & 3)])
    }
}

/// Reads one packet, or `None` when its fields do not fit in it.
pub fn packet(bytes: &[u8]) -> Option<Packet> {
    let mut fields = Fields(bytes);
    let first = *bytes.first()?;
    if first & 0x80 != 0 {
        fields.take(1 + usize::from(first & 0x0f))?;
    }
    let flags = fields.uint(1)? as u8;
    let properties = fields.uint(1)? as u8;
    let length = fields.typed(flags >> 5)?;
    fields.typed(flags >> 1)?;
    let padding = fields.typed(flags >> 3)? as usize;
    let send_ms = fields.uint(4)?;
    fields.uint(2)?;
    let used = bytes.len() - fields.0.len();
    let end = if length > 0 {
        (length as usize).min(bytes.len())
    } else {
        bytes.len()
    };
    fields.0 = bytes.get(used..end.checked_sub(padding)?)?;
    let mut payloads = Vec::new();
    if flags & 1 == 0 {
        payloads.push(payload(&mut fields, properties, None)?);
    } else {
        let counts = fields.uint(1)? as u8;
        for _ in 0..counts & 0x3f {
            payloads.push(payload(&mut fields, properties, Some(counts >> 6))?);
        }
    }
    Some(Packet { send_ms, payloads })
}

fn payload(fields: &mut Fields<'_>, properties: u8, length_kind: Option<u8>) -> Option<Payload> {
    let number = fields.uint(1)? as u8;
    let object = fields.typed(properties >> 4)?;
    let offset = fields.typed(properties >> 2)?;
    let replicated = fields.typed(properties)? as usize;
    let extra = fields.take(replicated)?;
    let (offset, time_ms) = match replicated {
        1 => (0, offset),
        8.. => (offset, u32::from_le_bytes(extra[4..8].try_into().ok()?)),
        _ => return None,
    };
    let bytes = match length_kind {
        Some(kind) => fields.typed(kind)? as usize,
        None => fields.0.len(),
    };
    fields.take(bytes)?;
    Some(Payload {
        stream: number & 0x7f,
        key: number & 0x80 != 0,
        object,
        offset,
        time_ms,
        bytes,
    })
}

/// GUID of the File Properties Object as stored.
const FILE_PROPERTIES: [u8; 16] =
    *b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65";
/// GUID of the Stream Properties Object as stored.
const STREAM_PROPERTIES: [u8; 16] =
    *b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65";
/// First four bytes of the video stream type.
const VIDEO: [u8; 4] = *b"\xc0\xef\x19\xbc";

/// Top-level header objects: offset of each and its GUID.
fn objects(header: &[u8]) -> Vec<(usize, [u8; 16])> {
    let mut found = Vec::new();
    let mut at = 30;
    while let Some(head) = header.get(at..at + 24) {
        let size = u64::from_le_bytes(head[16..24].try_into().expect("8 bytes"));
        found.push((at, head[..16].try_into().expect("16 bytes")));
        at += usize::try_from(size.max(24)).expect("a size in memory");
    }
    found
}

/// The header with both copies of the File ID zeroed: the only bytes that differ from start to start.
pub fn without_file_id(header: &[u8]) -> Vec<u8> {
    let mut copy = header.to_vec();
    for (at, guid) in objects(header) {
        if guid == FILE_PROPERTIES {
            copy[at + 24..at + 40].fill(0);
        }
    }
    let data = copy.len() - 50;
    copy[data + 24..data + 40].fill(0);
    copy
}

/// Makes a file's header say that it is a broadcast, which has no length.
pub fn make_broadcast(file: &mut [u8]) {
    let at = objects(file)
        .iter()
        .find(|(_, guid)| *guid == FILE_PROPERTIES)
        .expect("File Properties")
        .0;
    // Play and send duration; flags.
    file[at + 64..at + 80].fill(0);
    file[at + 88] |= 1;
}

/// Packet size in bytes, from the File Properties Object.
pub fn packet_bytes(header: &[u8]) -> usize {
    let at = objects(header)
        .iter()
        .find(|(_, guid)| *guid == FILE_PROPERTIES)
        .expect("File Properties")
        .0;
    u32::from_le_bytes(header[at + 92..at + 96].try_into().expect("4 bytes")) as usize
}

/// Numbers of the streams in the header, and of those that are video.
pub fn streams(header: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut all, mut video) = (Vec::new(), Vec::new());
    for (at, guid) in objects(header) {
        if guid == STREAM_PROPERTIES {
            let number = header[at + 72] & 0x7f;
            all.push(number);
            if header[at + 24..at + 28] == VIDEO {
                video.push(number);
            }
        }
    }
    (all, video)
}
