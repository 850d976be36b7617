//! What is in the bodies of HTTP streaming: framed packets, and what `$H`, `$M` and logs carry. Input: a byte that says in which steps
//! the packets come, then the packets; the same bytes are read as metadata and as a log.
//!
//! Laws: packets do not depend on where they are cut; a packet written again has the same bytes but for the B bit; metadata is
//! read as it is written.
#![no_main]

use funnel_wire::mms::ClientLog;
use funnel_wire::wmsp::{
    FRAGMENT_BYTES_MAX, Metadata, OutOfStep, Packet, PacketHead, PacketKind, encode_fragments,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((step, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = packets(bytes, bytes.len().max(1));
    assert_eq!(packets(bytes, usize::from(*step) + 1), whole);

    let metadata = Metadata::parse(bytes);
    if !metadata.features.contains(['"', '\0']) {
        assert_eq!(Metadata::parse(&metadata.encode()), metadata);
    }
    let mut framed = Vec::new();
    encode_fragments(PacketKind::METADATA, 1, &bytes.repeat(20), &mut framed);
    let (read, end) = packets(&framed, 1000);
    assert_eq!(
        (end, read.len()),
        (Ok(0), (bytes.len() * 20).div_ceil(FRAGMENT_BYTES_MAX))
    );

    let log = ClientLog::from_xml(bytes);
    for text in [&log.url, &log.user_agent, &log.unique_id, &log.os] {
        assert!(text.chars().count() <= 260 && !text.contains(char::is_control));
    }
    ClientLog::from_line(&String::from_utf8_lossy(bytes));
});

type Packets = Vec<(PacketKind, Vec<u8>)>;

/// The packets, and how many bytes are left of one that is not complete.
fn packets(bytes: &[u8], step: usize) -> (Packets, Result<usize, OutOfStep>) {
    let (mut packets, mut unread) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        unread.extend_from_slice(piece);
        loop {
            match Packet::split(&unread) {
                Ok(None) => break,
                Err(error) => return (packets, Err(error)),
                Ok(Some((packet, size))) => {
                    check(&packet, &unread[..size]);
                    packets.push((packet.kind, packet.body.to_vec()));
                    unread.drain(..size);
                }
            }
        }
    }
    (packets, Ok(unread.len()))
}

fn check(packet: &Packet<'_>, wire: &[u8]) {
    let length = u16::try_from(packet.body.len()).expect("a 16-bit length");
    let head = PacketHead::new(packet.kind, length).encode();
    assert_eq!((head[0], &head[1..]), (wire[0] & 0x7F, &wire[1..4]));
    assert_eq!(packet.body, &wire[4..]);
    assert_eq!(
        packet.fragment().map(|fragment| fragment.payload.len() + 8),
        (packet.body.len() >= 8).then_some(packet.body.len())
    );
    let _ = packet.reason();
}
