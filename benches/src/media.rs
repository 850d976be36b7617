//! The repository's test media, cut into header and packets.

use std::path::Path;

use funnel_asf::{Deframer, Header, Item};

/// Header and packets of one file.
pub struct Source {
    /// As it stands in the file.
    pub header: Header,
    /// As they stand in the file.
    pub packets: Vec<Vec<u8>>,
}

/// Reads a file of `testdata/media`.
///
/// # Panics
/// When it is not there or not ASF.
pub fn source(name: &str) -> Source {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/media"));
    let bytes = std::fs::read(folder.join(name)).expect("test media are in the repository");
    let mut deframer = Deframer::new();
    deframer.push(&bytes);
    deframer.finish();
    let (mut header, mut packets) = (None, Vec::new());
    while let Some(item) = deframer.next().expect("a good file") {
        match item {
            Item::Header(found) => header = Some(found),
            Item::Packet(packet) => packets.push(packet.to_vec()),
            Item::End => break,
        }
    }
    Source {
        header: header.expect("a good file"),
        packets,
    }
}
