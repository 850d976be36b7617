//! The header for the wire: golden bytes, limits, and the same streams when read again.

mod media;
mod synthetic;

use funnel_asf::{
    Codec, Header, HeaderWarning, LiveOptions, Normaliser, Survey, guid, live_header,
};
use hex_literal::hex;
use media::{GOOD, bytes, file, live};

const FILE_ID: [u8; 16] = hex!("00112233445566778899AABBCCDDEEFF");

#[test]
fn av_300k_becomes_a_broadcast() {
    let source = file("av-300k.wmv").header;
    let measured = LiveOptions {
        file_id: FILE_ID,
        bit_rates: &[(1, 240_000)],
        ..LiveOptions::default()
    };
    let out = live_header(&source, &measured).unwrap();
    let bytes = out.header.bytes();
    let properties = find(bytes, guid::FILE_PROPERTIES.as_bytes());
    assert_eq!(
        &properties[24..104],
        hex!(
            "00112233445566778899AABBCCDDEEFF" // File ID
            "0000000000000000 00803ED5DEB19D01" // file size, creation date as in the source
            "FFFFFFFF00000000"                 // packets count
            "0000000000000000 0000000000000000" // durations
            "1C0C000000000000 01000000"        // preroll 3100, broadcast
            "A4050000 A4050000 00650400"       // packet size 1444 twice, 288,000 bit/s
        )
    );
    let rates = find(bytes, guid::STREAM_BITRATE_PROPERTIES.as_bytes());
    assert_eq!(
        &rates[16..38],
        hex!("2600000000000000 0200 0100 80A90300 0200 80BB0000")
    );
    let data = &bytes[bytes.len() - 50..];
    assert_eq!(
        data,
        hex!(
            "3626B2758E66CF11A6D900AA0062CE6C 3200000000000000 00112233445566778899AABBCCDDEEFF 0000000000000000 0101"
        )
    );
    assert!(out.dropped.is_empty() && out.warnings.is_empty());
    assert_eq!(out.header.bit_rate(), 288_000);
    // Everything else stands as the source has it, the new records behind it.
    assert_eq!(bytes.len(), source.bytes().len() + 38);
}

#[test]
fn metadata_unicode_keeps_its_texts_or_takes_new_ones() {
    let source = file("metadata-unicode.wmv").header;
    let kept = live_header(
        &source,
        &LiveOptions {
            file_id: FILE_ID,
            ..LiveOptions::default()
        },
    )
    .unwrap();
    assert_eq!(kept.header.description(), source.description());
    assert!(
        !source.description().title.is_ascii()
            && source.description().title.chars().any(|c| c > '\u{FFFF}')
    );
    let options = LiveOptions {
        title: Some("Новый \u{1F600}"),
        file_id: FILE_ID,
        ..LiveOptions::default()
    };
    let retitled = live_header(&source, &options).unwrap();
    assert_eq!(retitled.header.description().title, "Новый \u{1F600}");
    assert_eq!(
        retitled.header.description().author,
        source.description().author
    );
    let properties = find(retitled.header.bytes(), guid::FILE_PROPERTIES.as_bytes());
    assert_eq!(&properties[56..64], hex!("FFFFFFFF00000000"));
    assert_eq!(&properties[88..92], hex!("01000000"));
}

#[test]
fn every_source_reads_the_same_again() {
    let files = GOOD.map(|name| (name, file(name).header));
    let captures =
        ["live-capture.asfh", "live-pipe.asf"].map(|name| (name, live(name, &[4000]).header));
    for (name, source) in files.into_iter().chain(captures) {
        let out = live_header(
            &source,
            &LiveOptions {
                file_id: FILE_ID,
                ..LiveOptions::default()
            },
        )
        .unwrap();
        let bytes = out.header.bytes();
        assert!(bytes.len() <= 8192 && bytes.ends_with(&[1, 1]), "{name}");
        assert!(
            out.header.is_broadcast()
                && out.header.equivalent(&source)
                && source.equivalent(&out.header),
            "{name}"
        );
        assert_eq!(out.header.data_object_size(), 50);
        assert_eq!(out.header.packets_count(), 0xFFFF_FFFF);
        assert!(
            out.header
                .streams()
                .iter()
                .all(|stream| stream.bit_rate > 0),
            "{name}: a rate for each stream"
        );
        assert_eq!(
            out.header.bit_rate(),
            out.header
                .streams()
                .iter()
                .map(|stream| stream.bit_rate)
                .sum::<u32>()
        );
        let again = live_header(
            &out.header,
            &LiveOptions {
                file_id: FILE_ID,
                ..LiveOptions::default()
            },
        )
        .unwrap();
        assert_eq!(
            again.header.bytes(),
            bytes,
            "{name}: rewriting twice changes nothing"
        );
    }
}

#[test]
fn several_rates_of_one_picture_exclude_each_other() {
    let plain = live_header(&file("mbr-3rates.wmv").header, &LiveOptions::default()).unwrap();
    let added = find(
        plain.header.bytes(),
        guid::BITRATE_MUTUAL_EXCLUSION.as_bytes(),
    );
    assert_eq!(
        &added[16..48],
        hex!("3000000000000000 012AE2D6DA35D1119034 00A0C90349BE 0300 0200 0300 0400")
    );
    let own = live_header(
        &file("mbr-3rates-mutex.wmv").header,
        &LiveOptions::default(),
    )
    .unwrap();
    let found = own
        .header
        .bytes()
        .windows(16)
        .filter(|bytes| bytes == guid::BITRATE_MUTUAL_EXCLUSION.as_bytes());
    assert_eq!(found.count(), 1);
    let rates: Vec<u32> = own
        .header
        .streams()
        .iter()
        .map(|stream| stream.bit_rate)
        .collect();
    assert_eq!(rates, [32_000, 79_000, 136_000, 240_000]);
}

#[test]
fn a_missing_prefix_shows_in_the_packet_size() {
    let source = file("v-noec.asf");
    let mut normaliser = Normaliser::new(&source.header);
    assert_eq!(normaliser.packet_bytes(), 128);
    assert_eq!(normaliser.probe(&source.packets[0]), 131);
    let options = LiveOptions {
        packet_bytes: normaliser.packet_bytes(),
        ..LiveOptions::default()
    };
    assert_eq!(
        live_header(&source.header, &options)
            .unwrap()
            .header
            .packet_bytes(),
        131
    );
    assert_eq!(
        normaliser
            .packet(&source.packets[0])
            .unwrap()
            .unwrap()
            .full
            .len(),
        131
    );
}

#[test]
fn long_headers_lose_what_players_miss_least() {
    let source = file("metadata-unicode.wmv").header;
    let with = |extra: &[u8]| {
        let bytes = source.bytes();
        let (object, data) = bytes.split_at(bytes.len() - 50);
        let mut longer = [object, extra, data].concat();
        let size = (object.len() + extra.len()) as u64;
        longer[16..24].copy_from_slice(&size.to_le_bytes());
        live_header(&Header::parse(&longer).unwrap(), &LiveOptions::default()).unwrap()
    };
    let object = |id: guid::Guid, bytes: usize| {
        [
            &id.as_bytes()[..],
            &(bytes as u64).to_le_bytes(),
            &vec![0; bytes - 24],
        ]
        .concat()
    };
    let out = with(
        &[
            object(guid::PADDING, 9000),
            object(guid::METADATA_LIBRARY, 9000),
        ]
        .concat(),
    );
    assert_eq!(out.dropped, ["Marker", "Padding", "Metadata Library"]);
    assert!(out.header.bytes().len() < 8192 && out.warnings.is_empty());
    let out = with(&object(guid::EXTENDED_CONTENT_ENCRYPTION, 9000));
    assert!(
        out.header.is_encrypted()
            && matches!(
                out.warnings[..],
                [HeaderWarning::TooLongForMplayerAndXine { .. }]
            )
    );
    let out = with(&object(guid::EXTENDED_CONTENT_ENCRYPTION, 18_000));
    assert_eq!(out.warnings.len(), 2);
    let mut too_long = source.bytes().to_vec();
    too_long.splice(
        source.bytes().len() - 50..source.bytes().len() - 50,
        object(guid::CONTENT_ENCRYPTION, 70_000),
    );
    let size = (too_long.len() - 50) as u64;
    too_long[16..24].copy_from_slice(&size.to_le_bytes());
    assert!(live_header(&Header::parse(&too_long).unwrap(), &LiveOptions::default()).is_err());
}

#[test]
fn a_picture_goes_and_its_neighbours_stay() {
    let entry = |name: &str, value: &[u8]| {
        let name: Vec<u8> = name
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
        let lengths = [
            (name.len() as u16).to_le_bytes(),
            1u16.to_le_bytes(),
            (value.len() as u16).to_le_bytes(),
        ];
        [&lengths[0][..], &name, &lengths[1], &lengths[2], value].concat()
    };
    let entries = [
        entry("WM/Year", b"1999"),
        entry("WM/Picture", &[7; 9000]),
        entry("WM/Genre", b"test"),
    ];
    let texts = synthetic::object(
        guid::EXTENDED_CONTENT_DESCRIPTION,
        &[&[3, 0][..], &entries.concat()].concat(),
    );
    let mut bytes = synthetic::header_bytes(500, &[synthetic::Declared::Audio(1)]);
    bytes.splice(bytes.len() - 50..bytes.len() - 50, texts);
    let size = bytes.len() as u64 - 50;
    bytes[16..24].copy_from_slice(&size.to_le_bytes());
    let out = live_header(&Header::parse(&bytes).unwrap(), &LiveOptions::default()).unwrap();
    assert_eq!(out.dropped, ["WM/Picture"]);
    let left = find(
        out.header.bytes(),
        guid::EXTENDED_CONTENT_DESCRIPTION.as_bytes(),
    );
    let expected = synthetic::object(
        guid::EXTENDED_CONTENT_DESCRIPTION,
        &[&[2, 0][..], &entries[0], &entries[2]].concat(),
    );
    assert!(left.starts_with(&expected));
}

#[test]
fn facts_of_a_header() {
    let header = file("av-300k.wmv").header;
    assert_eq!(
        (
            header.packet_bytes(),
            header.preroll_ms(),
            header.packets_count()
        ),
        (1444, 3100, 516)
    );
    assert_eq!(header.stream_mask(), 0b110);
    let codecs: Vec<Codec> = header.streams().iter().map(|stream| stream.codec).collect();
    assert_eq!(codecs, [Codec::Video(*b"WMV2"), Codec::Audio(0x161)]);
    assert!((20_000..20_100).contains(&header.play_duration_ms()));
    let other = file("large-packets.wmv").header;
    assert!(!header.equivalent(&other));
    assert!(
        Header::wire_size(&bytes("av-300k.wmv")[..23])
            .unwrap()
            .is_none()
    );
    assert_eq!(
        Header::wire_size(&bytes("av-300k.wmv")[..24]),
        Ok(Some(819))
    );
}

#[test]
fn a_survey_tells_what_hurts() {
    let survey = |name: &str| {
        let source = file(name);
        let mut survey = Survey::new(&source.header);
        source
            .packets
            .iter()
            .for_each(|packet| survey.packet(packet));
        survey.finish()
    };
    let av = survey("av-300k.wmv");
    assert_eq!((av.packets, av.damaged, av.key_frames), (516, 0, 10));
    assert!(av.first_packet_is_key && av.has_video);
    assert!(av.padding_share < 0.05, "{}", av.padding_share);
    assert_eq!(av.key_frame_gap_ms_max, Some(2_000));
    assert!(
        (19_950..20_150).contains(&av.duration_ms),
        "{}",
        av.duration_ms
    );
    let video = av.bit_rates[0].1;
    assert!((230_000..260_000).contains(&video), "{video}");
    assert_eq!(survey("slides-3min.asf").key_frame_gap_ms_max, Some(30_006));
    let tiny = survey("tiny-audio.asf");
    assert!((0.19..0.21).contains(&tiny.padding_share) && tiny.key_frame_gap_ms_max.is_none());
    assert_eq!(survey("v-noec.asf").packet_bytes, 131);
}

fn find<'a>(bytes: &'a [u8], id: &[u8; 16]) -> &'a [u8] {
    let at = bytes
        .windows(16)
        .position(|window| window == id)
        .expect("object is there");
    &bytes[at..]
}
