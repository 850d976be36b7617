//! Live output of both FFmpeg muxers, cut at arbitrary places, gives the same header and packets.

mod media;

use funnel_asf::{DeframeError, Deframer, HeaderError, Item};
use media::{bytes, file, live, objects};

#[test]
fn chunks_cut_anywhere() {
    let whole = live("live-capture.asfh", &[usize::MAX]);
    assert_eq!(whole.packets.len(), 236);
    assert!(whole.header.is_broadcast());
    for cuts in [&[1][..], &[3], &[11, 13], &[1447, 1], &[7, 4096, 1, 60_000]] {
        let cut = live("live-capture.asfh", cuts);
        assert!(
            cut.packets == whole.packets && cut.header.bytes() == whole.header.bytes(),
            "cut at {cuts:?}"
        );
    }
    let found = objects(&whole.header, whole.packets.iter().map(Vec::as_slice));
    let video: Vec<_> = found.iter().filter(|object| object.stream == 1).collect();
    assert_eq!(
        (
            video.len(),
            video.iter().filter(|object| object.key).count()
        ),
        (200, 4)
    );
    assert_eq!(found.len() - video.len(), 173);
}

#[test]
fn plain_asf_cut_anywhere() {
    let whole = live("live-pipe.asf", &[usize::MAX]);
    for cuts in [&[1][..], &[5], &[575, 1], &[576], &[16, 577, 9000]] {
        let cut = live("live-pipe.asf", cuts);
        assert!(
            cut.packets == whole.packets && cut.header.bytes() == whole.header.bytes(),
            "cut at {cuts:?}"
        );
    }
}

#[test]
fn the_end_shows_as_soon_as_the_index_begins() {
    let bytes = bytes("live-pipe.asf");
    let index = bytes.len() - 146 - 12;
    let mut deframer = Deframer::new();
    deframer.push(&bytes[..index + 15]);
    let mut packets = 0;
    while let Some(item) = deframer.next().unwrap() {
        packets += usize::from(matches!(item, Item::Packet(_)));
    }
    assert_eq!(packets, 338);
    deframer.push(&bytes[index + 15..index + 16]);
    assert!(matches!(deframer.next(), Ok(Some(Item::End))));
    deframer.push(&bytes[index + 16..]);
    assert!(matches!(deframer.next(), Ok(None)));
}

#[test]
fn short_chunks_come_out_full_size_with_their_objects() {
    let source = file("tiny-audio.asf");
    let mut bytes = chunk(b'H', source.header.bytes());
    for raw in &source.packets {
        let layout = funnel_asf::Layout::parse(raw).unwrap();
        bytes.extend_from_slice(&chunk(
            b'D',
            &raw[..raw.len() - layout.padding_bytes() as usize],
        ));
    }
    bytes.extend_from_slice(b"$E\x04\x00\x00\x00\x00\x00");
    let mut deframer = Deframer::new();
    deframer.push(&bytes);
    let mut packets = Vec::new();
    while let Some(item) = deframer.next().unwrap() {
        if let Item::Packet(packet) = item {
            packets.push(packet.to_vec());
        }
    }
    assert!(packets.iter().all(|packet| packet.len() == 128));
    let whole = objects(&source.header, source.packets.iter().map(Vec::as_slice));
    assert_eq!(
        objects(&source.header, packets.iter().map(Vec::as_slice)),
        whole
    );
}

#[test]
fn a_header_may_come_in_pieces_and_again() {
    let source = file("metadata-unicode.wmv");
    let header = source.header.bytes();
    let mut deframer = Deframer::new();
    for piece in header.chunks(500) {
        deframer.push(&chunk(b'H', piece));
    }
    assert!(matches!(deframer.next(), Ok(Some(Item::Header(_)))));
    deframer.push(&chunk(b'D', &source.packets[0]));
    assert!(
        matches!(deframer.next(), Ok(Some(Item::Packet(packet))) if packet == source.packets[0])
    );
    deframer.push(b"$C\x04\x00\x00\x00\x00\x00");
    deframer.push(&chunk(b'H', header));
    assert!(matches!(deframer.next(), Ok(Some(Item::Header(_)))));

    let mut plain = Deframer::new();
    plain.push(&[header, &source.packets[0], header, &source.packets[0]].concat());
    for expected in ["header", "packet", "header", "packet"] {
        let found = match plain.next().unwrap().unwrap() {
            Item::Header(_) => "header",
            Item::Packet(_) => "packet",
            Item::End => "end",
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let fails = |bytes: &[u8]| {
        let mut deframer = Deframer::new();
        deframer.push(bytes);
        deframer.finish();
        loop {
            match deframer.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("read to the end"),
                Err(error) => return error,
            }
        }
    };
    assert!(matches!(
        fails(b"GET / HTTP/1.1"),
        DeframeError::Unknown { .. }
    ));
    assert!(matches!(
        fails(b"0&\xB2u\x8Ef\xCF"),
        DeframeError::Header(HeaderError::Truncated { .. })
    ));
    assert!(matches!(
        fails(b"$H\x04\x00\x00\x00\x00\x00"),
        DeframeError::Chunk {
            kind: b'H',
            length: 4
        }
    ));
    let header = file("tiny-audio.asf").header;
    assert!(matches!(
        fails(&[&chunk(b'H', header.bytes())[..], b"junk"].concat()),
        DeframeError::Lost { .. }
    ));
    assert!(matches!(
        fails(&bytes("bad-no-file-properties.asf")),
        DeframeError::Header(HeaderError::NoFileProperties)
    ));
}

fn chunk(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 8).to_le_bytes();
    let mut chunk = vec![
        b'$', kind, length[0], length[1], 0, 0, 0, 0, 0, 0x0C, length[0], length[1],
    ];
    chunk.extend_from_slice(payload);
    chunk
}
