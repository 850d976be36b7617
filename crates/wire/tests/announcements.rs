//! `.nsc` files: the files of `testdata/nsc`, written by an encoder that is not ours; what we write is read the same; and
//! no cut, change or invention of a stranger does more than make faults.

use funnel_wire::nsc::{
    Announcement, EXTRAS_MAX, FAULTS_MAX, FILE_BYTES_MAX, FORMAT_BYTES_MAX, FORMATS_BYTES_MAX,
    FORMATS_MAX, Fault, FaultKind, Format, FormatId, Formats, STRING_UNITS_MAX, Severity, Text,
    read,
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

const STATION: &[u8] = include_bytes!("../../../testdata/nsc/station.nsc");
const TWO_HEADERS: &[u8] = include_bytes!("../../../testdata/nsc/two-headers-ipv6.nsc");
const UNTIDY: &[u8] = include_bytes!("../../../testdata/nsc/old-and-untidy.nsc");
const DAMAGED: &[u8] = include_bytes!("../../../testdata/nsc/damaged.nsc");
const TINY: &[u8] = include_bytes!("../../../testdata/media/tiny-audio.asf");

fn text(text: &str) -> Option<Text> {
    Some(Text::new(text).expect("a good text"))
}

fn told(bytes: &[u8]) -> Vec<String> {
    read(bytes).faults.iter().map(Fault::to_string).collect()
}

fn encoded(announcement: &Announcement) -> String {
    let mut out = String::new();
    announcement.encode(&mut out);
    out
}

/// Header Object of this content, and 50 bytes.
fn header(inside: &[u8]) -> Vec<u8> {
    let size = 24 + inside.len() as u64;
    [&TINY[..16], &size.to_le_bytes(), inside, &[7; 50]].concat()
}

#[test]
fn every_property_of_section_7() {
    assert_eq!(told(STATION), [] as [&str; 0]);
    let station = Announcement::parse(STATION).unwrap();
    assert_eq!(
        station.group(),
        IpAddr::V4(Ipv4Addr::new(239, 192, 48, 179))
    );
    assert_eq!(station.port().get(), 19009);
    assert_eq!(station.name, text("MY_COMPUTER, bpp"));
    assert_eq!(station.adapter, Some([157, 55, 149, 102].into()));
    assert_eq!(
        (station.time_to_live, station.span_max),
        (Some(32), Some(10))
    );
    assert_eq!(station.log_url, text("http://studio.example/wmsiislog.dll"));
    assert_eq!(station.unicast_url, text("mms://studio.example/bpp"));
    assert_eq!(
        (station.allow_splitting, station.allow_caching),
        (Some(true), Some(true))
    );
    assert_eq!(
        (station.cache_expiration_s, station.network_buffer_ms),
        (Some(86_400), Some(500))
    );
    assert!(station.extras().is_empty());
    let formats: Vec<&Format> = station.formats().iter().collect();
    assert_eq!(formats.len(), 1);
    assert_eq!(formats[0].header(), &TINY[..0x166 + 50]);
    assert_eq!(formats[0].description(), text("Windows Media").as_ref());
    assert!(station.formats().get(formats[0].id()).is_some());
}

#[test]
fn what_we_write_is_what_the_other_encoder_writes() {
    for file in [STATION, TWO_HEADERS] {
        let announcement = Announcement::parse(file).unwrap();
        assert_eq!(encoded(&announcement).as_bytes(), file);
    }
    // The same from nothing: the numbers of the headers are ours (§7: CRC-32 & 0x7FF).
    let group = IpAddr::V6(Ipv6Addr::new(0xFF15, 0, 0, 0, 0, 0, 0x48, 0x179));
    let read = Announcement::parse(TWO_HEADERS).unwrap();
    let mut formats = Formats::new(&TINY[..0x166 + 50], text("café")).unwrap();
    for format in read.formats().iter().skip(1) {
        formats.add(format.header(), None).unwrap();
    }
    let port = NonZeroU16::new(0x7890).unwrap();
    assert_eq!(Announcement::new(group, port, formats).unwrap(), read);
}

#[test]
fn an_untidy_file_is_read_and_every_deviation_told() {
    assert_eq!(
        told(UNTIDY),
        [
            "line 2: IP Port: an integer should have 8 hexadecimal digits",
            "line 4: description1: checksum 0x26 instead of 0x27: edited by hand, or damaged",
            "line 5: Format1: 1 bytes behind the end of the encoded data",
            "line 10: IP Address: not encoded: VLC and set-top boxes read encoded strings only",
            "line 11: IP Address: said twice; the first one counts",
            "line 12: Unicast URL: not encoded: VLC and set-top boxes read encoded strings only",
            "line 12: Unicast URL: should begin with mms:// or http://: not every player knows others",
            "line 13: a remark: neither a section nor name=value; passed over",
            "line 14: NSC Format Version: not encoded: VLC and set-top boxes read encoded strings only",
        ]
    );
    assert!(read(UNTIDY).is_good());
    let station = Announcement::parse(UNTIDY).unwrap();
    assert_eq!(station.group(), IpAddr::V4([239, 192, 48, 179].into()));
    assert_eq!(station.port().get(), 19009, "not that of [Station]");
    let id = FormatId::new(926).unwrap();
    let format = station.formats().get(id).unwrap();
    assert_eq!(format.description(), text("Windows Media").as_ref());
    let extras: Vec<(&str, &str, Option<Text>)> = station
        .extras()
        .iter()
        .map(|extra| (extra.section().name(), extra.name(), extra.text()))
        .collect();
    assert_eq!(
        extras,
        [
            ("Address", "Player URL", text("http://player.example/")),
            ("Address", "Player Version", text("6.1.5.130")),
            ("Address", "Distribution Limit", text("0x00000005")),
            ("Station", "IP Port", text("1234")),
        ]
    );
    // Written again it is tidy but for the URL, and says the same.
    let tidy = encoded(&station);
    assert_eq!(Announcement::parse(tidy.as_bytes()).unwrap(), station);
    assert_eq!(read(tidy.as_bytes()).faults.len(), 1, "{tidy}");
}

#[test]
fn damage_is_told_with_line_and_key() {
    assert_eq!(
        told(DAMAGED),
        [
            "line 2: Name: character 6 is not one of the encoding",
            "line 3: NSC Format Version: \"4.0\" is not version 3.0",
            "line 4: Multicast Adapter: \"studio\" is not an IP address",
            "line 5: IP Address: 10.0.0.1 is not a multicast address",
            "line 6: IP Port: 65536 is not from 1 to 65535",
            "line 7: Time To Live: \"32\" is not an integer: 0x and 8 hexadecimal digits",
            "line 8: Default Ecc: a span of 15; 10 is usual, and above 14 the parity packet's number does not fit",
            "line 9: Log URL: should begin with http://",
            "line 10: Allow Caching: 2 is not from 0 to 1",
            "line 12: Format1: 4294967295 bytes announced, 408 there",
            "line 13: Format2: format ID 2048 is more than 11 bits",
            "line 14: Format3: the ASF header has 407 bytes, and should have 408 with the first 50 of the data object",
            "line 15: Format4: 64 bytes that are no ASF header",
            "line 16: Description5: describes a format that is not there",
            "IP Address: required, and there is no usable one",
            "IP Port: required, and there is no usable one",
            "Format1: required, and there is no usable one",
        ]
    );
    let fault = Announcement::parse(DAMAGED).unwrap_err();
    assert_eq!((fault.line, &*fault.key), (Some(2), "Name"));
}

#[test]
fn one_bad_header_does_not_spoil_the_others() {
    let file = String::from_utf8(TWO_HEADERS.to_vec()).unwrap();
    let second = file
        .lines()
        .find_map(|line| line.strip_prefix("Format2="))
        .unwrap();
    let third = format!("{file}Format3={second}\r\nFormat4={}\r\n", &second[..90]);
    let reading = read(third.as_bytes());
    let lines: Vec<Option<usize>> = reading.faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [Some(14), Some(15)]);
    assert!(!reading.is_good());
    assert_eq!(reading.announcement.unwrap().formats().iter().len(), 2);
}

#[test]
fn every_truncation_is_read_without_harm() {
    for file in [STATION, TWO_HEADERS, UNTIDY, DAMAGED] {
        for cut in 0..file.len() {
            let reading = read(&file[..cut]);
            assert!(
                reading.announcement.is_some() || !reading.is_good(),
                "nothing came of {cut} bytes, unsaid"
            );
        }
    }
    // In an encoded string a cut never looks like a shorter value.
    let whole = Announcement::parse(STATION).unwrap();
    let last = String::from_utf8_lossy(STATION)
        .find("Description1")
        .unwrap();
    for cut in last..STATION.len() - 2 {
        // An unknown name before its number is there; with nothing behind "=" it is empty.
        let description_is_cut = cut >= last + 12 && cut != last + 13;
        let reading = read(&STATION[..cut]);
        assert_eq!(reading.announcement.unwrap().group(), whole.group());
        assert_eq!(
            reading
                .faults
                .iter()
                .any(|fault| fault.key == "Description1"),
            description_is_cut,
            "{cut}"
        );
    }
    assert!(!read(b"").is_good());
}

#[test]
fn ceilings_hold() {
    let huge = vec![b'\n'; FILE_BYTES_MAX + 1];
    let reading = read(&huge);
    assert_eq!(
        reading.faults[0].kind,
        FaultKind::FileLong(FILE_BYTES_MAX + 1)
    );
    assert!(reading.announcement.is_none());

    let noise = [STATION, &b"x\n".repeat(100_000)].concat();
    let reading = read(&noise);
    assert!(reading.announcement.is_none() && !reading.is_good());
    assert_eq!(reading.faults.len(), FAULTS_MAX + 1);
    assert_eq!(reading.faults.last().unwrap().kind, FaultKind::Faults);

    let long = format!("{}Name2={}\r\n", "k=v\r\n".repeat(EXTRAS_MAX), "v");
    let reading = read(&[STATION, long.as_bytes()].concat());
    assert_eq!(reading.faults.len(), 1);
    assert_eq!(reading.faults[0].kind, FaultKind::Extras);
    assert_eq!(reading.announcement.unwrap().extras().len(), EXTRAS_MAX);

    let reading = read(&[STATION, b"k=", &[b'v'; 70_000][..]].concat());
    assert_eq!(reading.faults[0].kind, FaultKind::Extras);

    let long = format!("[Address]\nName={}\n", "x".repeat(STRING_UNITS_MAX + 1));
    let reading = read(long.as_bytes());
    let fault = &reading.faults[1];
    assert_eq!(fault.severity(), Severity::Error);
    assert!(fault.to_string().contains("longer than 2048"), "{fault}");
}

#[test]
fn the_largest_announcement_is_read_again() {
    let longest = text(&"\u{20AC}".repeat(STRING_UNITS_MAX));
    let filler = |number: usize, bytes: usize| {
        let mut inside = vec![0; bytes - 74];
        inside[..8].copy_from_slice(&number.to_le_bytes());
        header(&inside)
    };
    let count = FORMATS_BYTES_MAX / FORMAT_BYTES_MAX;
    for (count, bytes) in [
        (count, FORMAT_BYTES_MAX),
        (FORMATS_MAX, FORMATS_BYTES_MAX / FORMATS_MAX),
    ] {
        let mut formats = Formats::new(&filler(0, bytes), longest.clone()).unwrap();
        for number in 1..count {
            formats
                .add(&filler(number, bytes), longest.clone())
                .unwrap();
        }
        let mut announcement =
            Announcement::new([239, 1, 2, 3].into(), NonZeroU16::MAX, formats).unwrap();
        announcement.name = longest.clone();
        announcement.log_url = longest.clone();
        announcement.unicast_url = longest.clone();
        let file = encoded(&announcement);
        assert!(file.len() <= FILE_BYTES_MAX);
        assert_eq!(Announcement::parse(file.as_bytes()).unwrap(), announcement);
    }
}

#[test]
fn addresses_that_are_no_group_are_refused() {
    let formats = Formats::new(&header(b""), None).unwrap();
    let error = Announcement::new([10, 0, 0, 1].into(), NonZeroU16::MIN, formats).unwrap_err();
    assert_eq!(error.to_string(), "10.0.0.1 is not a multicast address");
    for (group, is_local) in [
        ("224.0.0.7", true),
        ("224.0.1.7", false),
        ("ff12::1", true),
        ("ff15::1", false),
    ] {
        let faults = told(format!("IP Address={group}").as_bytes());
        let told = faults.iter().any(|fault| fault.contains("one link only"));
        assert_eq!(told, is_local, "{group}");
    }
}

/// Text as a name, URL or description may be.
fn some_text() -> impl Strategy<Value = Option<Text>> {
    proptest::option::of("[^\0]{1,40}".prop_map(|text| Text::new(text).expect("not empty")))
}

prop_compose! {
    fn formats()(insides in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), some_text(), 0u16..0x800), 1..5)) -> Formats {
        let mut list: Option<Formats> = None;
        for (inside, description, id) in insides {
            let format = Format::new(FormatId::new(id).unwrap(), &header(&inside), description).unwrap();
            match &mut list {
                // The same number again: refused, and nothing changes.
                Some(list) => drop(list.push(format)),
                None => list = Some(Formats::of(format)),
            }
        }
        list.expect("at least one")
    }
}

prop_compose! {
    fn announcement()(
        group in prop_oneof![
            any::<[u8; 4]>().prop_map(|[a, b, c, d]| IpAddr::from([224 | a & 15, b, c, d])),
            any::<[u8; 15]>().prop_map(|rest| {
                let mut octets = [0xFF; 16];
                octets[1..].copy_from_slice(&rest);
                IpAddr::from(octets)
            }),
        ],
        port: NonZeroU16,
        formats in formats(),
        texts in (some_text(), some_text(), some_text()),
        adapter: Option<IpAddr>,
        bytes: (Option<u8>, Option<u8>),
        flags: (Option<bool>, Option<bool>),
        times: (Option<u32>, Option<u32>),
    ) -> Announcement {
        let mut announcement = Announcement::new(group, port, formats).unwrap();
        (announcement.name, announcement.log_url, announcement.unicast_url) = texts;
        announcement.adapter = adapter;
        (announcement.time_to_live, announcement.span_max) = bytes;
        (announcement.allow_splitting, announcement.allow_caching) = flags;
        (announcement.cache_expiration_s, announcement.network_buffer_ms) = times;
        announcement
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(announcement in announcement()) {
        let file = encoded(&announcement);
        prop_assert!(file.is_ascii());
        let reading = read(file.as_bytes());
        prop_assert!(reading.is_good(), "{:?}", reading.faults);
        prop_assert_eq!(reading.announcement.unwrap(), announcement);
    }

    #[test]
    fn a_changed_byte_is_read_or_told(announcement in announcement(), at: prop::sample::Index, byte: u8) {
        let mut file = encoded(&announcement).into_bytes();
        let at = at.index(file.len());
        file[at] = byte;
        let reading = read(&file);
        prop_assert!(reading.announcement.is_some() || !reading.is_good());
        if let Some(read) = reading.announcement {
            let again = encoded(&read);
            prop_assert_eq!(encoded(&Announcement::parse(again.as_bytes()).unwrap()), again);
        }
    }

    #[test]
    fn any_lines_are_borne(lines in "((\\[[a-zA-Z]{0,3}\\]|(IP Port|Format1|Name|x)[ =]{1,2}(0x|02|01)?[0-9a-zA-Z{}=]{0,30}|.{0,9})\r?\n){0,12}") {
        let reading = read(&[lines.as_bytes(), STATION].concat());
        prop_assert!(reading.announcement.is_some() || !reading.is_good());
        if let Some(read) = reading.announcement {
            let again = encoded(&read);
            prop_assert_eq!(encoded(&Announcement::parse(again.as_bytes()).unwrap()), again);
        }
    }
}
