//! Material for a source: a test file's header for the wire and its raw packets.

use std::sync::Arc;

use funnel_asf::{Deframer, Header, Item, LiveOptions, live_header};

/// One file of `testdata/media`, read once and shared.
#[derive(Debug)]
pub struct Reel {
    /// Name of the file.
    pub name: &'static str,
    /// As the source gives it.
    pub header: Header,
    /// As viewers get it.
    pub wire: Header,
    /// Raw packets in file order.
    pub packets: Vec<Box<[u8]>>,
    /// What it is said to need, bit/s; the header's word at first.
    pub bit_rate: u32,
    /// How much slower than its send times it is published: thins the bytes of a long run.
    pub slower: u32,
}

impl Reel {
    /// Reads a file; `title` makes the header one of its own.
    ///
    /// # Panics
    /// When the file is not there or not ASF: the repository is broken.
    pub fn load(name: &'static str, title: &str, slower: u32) -> Arc<Self> {
        let path = format!(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/media/{}"),
            name
        );
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut deframer = Deframer::new();
        deframer.push(&bytes);
        deframer.finish();
        let (mut header, mut packets) = (None, Vec::new());
        while let Ok(Some(item)) = deframer.next() {
            match item {
                Item::Header(found) => header = Some(found),
                Item::Packet(packet) => packets.push(packet.into()),
                Item::End => break,
            }
        }
        let header: Header = header.unwrap_or_else(|| panic!("{path}: no header"));
        let packet_bytes = header.packet_bytes();
        let options = LiveOptions {
            title: Some(title),
            author: None,
            file_id: [7; 16],
            packet_bytes,
            bit_rates: &[],
        };
        let wire = live_header(&header, &options)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .header;
        Arc::new(Self {
            name,
            header,
            bit_rate: wire.bit_rate(),
            wire,
            packets,
            slower,
        })
    }
}
