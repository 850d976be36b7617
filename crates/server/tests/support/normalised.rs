//! What a player must have received: the stream as it was normalised at ingest, byte for byte.
//!
//! It is computed here by `funnel-asf` from the file; a player fills packets that came without their padding
//! up with zeros, so each packet may have the full or the filled-up stripped form.

use super::asf;
use super::media::Good;
use super::viewer::Viewer;
use funnel_asf::{Deframer, Filter, Item, Normaliser, Ready, Selection, Thinning};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};

/// The forms in which one packet may arrive, all of them as long as a packet of the channel.
type Forms = Vec<Vec<u8>>;

/// Every packet a viewer must get who starts with the file and selects these streams.
fn expected(good: &Good, selection: Selection) -> Vec<Forms> {
    let bytes = super::read(&good.path());
    let mut deframer = Deframer::new();
    deframer.push(&bytes);
    deframer.finish();
    let mut stages: Option<(Normaliser, Filter)> = None;
    let mut packets = Vec::new();
    while let Some(item) = deframer
        .next()
        .unwrap_or_else(|error| panic!("{}: {error}", good.name))
    {
        match item {
            Item::Header(header) => {
                stages = Some((Normaliser::new(&header), Filter::new(&header, selection)));
            }
            Item::Packet(raw) => {
                let (normaliser, filter) = stages.as_mut().expect("a header first");
                let ready = normaliser
                    .packet(raw)
                    .unwrap_or_else(|error| panic!("{}: {error}", good.name));
                let Some(whole) = ready else { continue };
                if selection == Selection::ALL {
                    packets.push(forms(&whole));
                } else if let Some(left) = filter.packet(whole.full).expect("a sound packet") {
                    packets.push(forms(&left));
                }
            }
            Item::End => {}
        }
    }
    packets
}

fn forms(ready: &Ready<'_>) -> Forms {
    let size = ready.full.len();
    let filled = |form: &[u8]| {
        let mut filled = form.to_vec();
        filled.resize(size, 0);
        filled
    };
    [Some(ready.full), ready.stripped]
        .into_iter()
        .flatten()
        .map(filled)
        .collect()
}

/// What a player chose where it had a choice: the streams that came.
fn selection_of(good: &Good, packets: &[u8], size: usize) -> Selection {
    if !good.name.starts_with("mbr-") {
        return Selection::ALL;
    }
    let came: BTreeSet<u8> = packets
        .chunks_exact(size)
        .flat_map(|packet| asf::packet(packet).expect("a sound packet").payloads)
        .map(|payload| payload.stream)
        .collect();
    assert_eq!(came.len(), 2, "one sound and one video of three: {came:?}");
    assert!(came.contains(&1), "the sound: {came:?}");
    let mut selection = Selection::NONE;
    for stream in came {
        selection.set(stream, Thinning::All);
    }
    selection
}

/// Compares a player's file with the header a scripted viewer saw and the packets expected.
pub fn check(player: &str, good: &Good, received: &[u8], header: &[u8]) {
    check_without(player, good, received, header, |_| false);
}

/// As [`check`], of a player that did not get the packets, counted from 0, of which `is_lost` is true.
pub fn check_without(
    player: &str,
    good: &Good,
    received: &[u8],
    header: &[u8],
    is_lost: impl Fn(usize) -> bool,
) {
    let size = expected(good, Selection::ALL)[0][0].len();
    let packets = received.get(header.len()..).unwrap_or_default();
    let selection = selection_of(good, packets, size);
    compare(player, good, received, header, selection, is_lost);
}

/// As [`check`], of a player that has no choice and gets every stream.
pub fn check_whole(player: &str, good: &Good, received: &[u8], header: &[u8]) {
    compare(player, good, received, header, Selection::ALL, |_| false);
}

fn compare(
    player: &str,
    good: &Good,
    received: &[u8],
    header: &[u8],
    selection: Selection,
    is_lost: impl Fn(usize) -> bool,
) {
    let who = format!("{player} on {}", good.name);
    assert!(
        received.len() >= header.len(),
        "{who}: {} bytes, not even the header",
        received.len()
    );
    let (got_header, mut rest) = received.split_at(header.len());
    // libmms blanks the streams it did not select out of the header it hands on.
    let blanked = player == "libmms" && selection != Selection::ALL;
    assert!(
        blanked || asf::without_file_id(got_header) == asf::without_file_id(header),
        "{who}: another header"
    );
    let packets = expected(good, selection);
    let numbered = packets.iter().enumerate();
    for (number, forms) in numbered.filter(|(number, _)| !is_lost(*number)) {
        let size = forms[0].len();
        assert!(
            rest.len() >= size,
            "{who}: ends after {number} of {} packets",
            packets.len()
        );
        let (packet, after) = rest.split_at(size);
        if !forms.iter().any(|form| form == packet) {
            let wrong = packet
                .iter()
                .zip(&forms[0])
                .position(|(got, want)| got != want);
            panic!(
                "{who}: packet {number} differs, first at byte {wrong:?}\ngot  {:02x?}\nwant {:02x?}",
                &packet[..48.min(size)],
                &forms[0][..48.min(size)]
            );
        }
        rest = after;
    }
    assert_eq!(rest.len(), 0, "{who}: bytes after the last packet");
}

/// The header a scripted viewer gets from the server at `address`.
pub fn header_of(address: SocketAddr, channel: &str) -> Vec<u8> {
    let stream = TcpStream::connect(address).expect("the server accepts");
    let mut viewer = Viewer::on(stream);
    assert_eq!(viewer.open(channel).result(), 0, "OpenFile of {channel}");
    viewer.read_header();
    viewer.header
}
