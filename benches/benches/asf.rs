//! ASF at ingest: once per packet and channel, never per viewer. Bytes are those of the source's packets.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use funnel_asf::packet::{Fit, compose};
use funnel_asf::{
    Deframer, Filter, Header, Item, Layout, LiveOptions, Normaliser, Selection, Thinning,
    live_header,
};
use funnel_benches::media::{Source, source};

fn main() {
    divan::main();
}

/// Ordinary video and sound; three rates of one picture; slides, nearly all padding.
const FILES: [&str; 3] = ["av-300k.wmv", "mbr-3rates.wmv", "slides-3min.asf"];

fn bytes_of(packets: &[Vec<u8>]) -> BytesCount {
    BytesCount::new(packets.iter().map(Vec::len).sum::<usize>())
}

/// What ingest made of a file: its live header and the full packets.
fn normalised(source: &Source) -> (Header, Vec<Vec<u8>>) {
    let mut normaliser = Normaliser::new(&source.header);
    let options = LiveOptions {
        packet_bytes: normaliser.probe(&source.packets[0]),
        ..LiveOptions::default()
    };
    let header = live_header(&source.header, &options)
        .expect("a good header")
        .header;
    let packets = source.packets.iter().filter_map(|raw| {
        let ready = normaliser.packet(raw).expect("a good packet")?;
        Some(ready.full.to_vec())
    });
    (header, packets.collect())
}

/// Walks the payloads of each packet.
#[divan::bench(args = FILES)]
fn layout_parse(bencher: Bencher<'_, '_>, file: &str) {
    let packets = source(file).packets;
    bencher
        .counter(bytes_of(&packets))
        .counter(ItemsCount::new(packets.len()))
        .bench_local(|| {
            for packet in &packets {
                black_box(Layout::parse(black_box(packet)).expect("a good packet"));
            }
        });
}

/// Parse, repair, move to the continuing timeline, lay down the twins.
#[divan::bench(args = FILES)]
fn normalise(bencher: Bencher<'_, '_>, file: &str) {
    let source = source(file);
    let mut normaliser = Normaliser::new(&source.header);
    normaliser.probe(&source.packets[0]);
    bencher
        .counter(bytes_of(&source.packets))
        .counter(ItemsCount::new(source.packets.len()))
        .bench_local(|| {
            for packet in &source.packets {
                black_box(normaliser.packet(black_box(packet)).expect("a good packet"));
            }
            normaliser.next_pass();
        });
}

/// A filtered log's work: key frames of stream 1, all of stream 2.
#[divan::bench(args = FILES)]
fn filter(bencher: Bencher<'_, '_>, file: &str) {
    let (header, packets) = normalised(&source(file));
    let mut selection = Selection::NONE;
    selection.set(1, Thinning::KeyFramesOnly);
    selection.set(2, Thinning::All);
    let mut filter = Filter::new(&header, selection);
    bencher
        .counter(bytes_of(&packets))
        .counter(ItemsCount::new(packets.len()))
        .bench_local(|| {
            for packet in &packets {
                black_box(filter.packet(black_box(packet)).expect("a good packet"));
            }
        });
}

/// The stripped twin alone, from layouts parsed before.
#[divan::bench(args = FILES)]
fn strip(bencher: Bencher<'_, '_>, file: &str) {
    let (_, packets) = normalised(&source(file));
    let layouts: Vec<_> = packets
        .iter()
        .map(|packet| Layout::parse(packet).expect("a good packet"))
        .collect();
    let mut out = Vec::new();
    bencher
        .counter(bytes_of(&packets))
        .counter(ItemsCount::new(packets.len()))
        .bench_local(|| {
            for (packet, layout) in packets.iter().zip(&layouts) {
                compose(black_box(packet), layout, u64::MAX, Fit::Shortest, &mut out)
                    .expect("it fits");
                black_box(&mut out);
            }
        });
}

/// A source's bytes, in reads of 64 KiB, into packets.
#[divan::bench(args = FILES)]
fn deframe(bencher: Bencher<'_, '_>, file: &str) {
    let source = source(file);
    let mut bytes = source.header.bytes().to_vec();
    source
        .packets
        .iter()
        .for_each(|packet| bytes.extend_from_slice(packet));
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| {
            let (mut deframer, mut packets) = (Deframer::new(), 0);
            for read in bytes.chunks(64 << 10) {
                deframer.push(black_box(read));
                while let Some(item) = deframer.next().expect("a good source") {
                    packets += usize::from(matches!(black_box(item), Item::Packet(_)));
                }
            }
            assert!(packets > 0);
        });
}

#[divan::bench(args = FILES)]
fn header_parse(bencher: Bencher<'_, '_>, file: &str) {
    let bytes = source(file).header.bytes().to_vec();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| Header::parse(black_box(&bytes)));
}

#[divan::bench(args = FILES)]
fn header_made_live(bencher: Bencher<'_, '_>, file: &str) {
    let header = source(file).header;
    let options = LiveOptions {
        title: Some("Radio"),
        ..LiveOptions::default()
    };
    bencher
        .counter(BytesCount::new(header.bytes().len()))
        .bench_local(|| live_header(black_box(&header), &options));
}
