//! Any bytes as an ASF header: what parses is within its limits, and a live header made of it parses again.
#![no_main]

use funnel_asf::{Header, LiveOptions, live_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let size = Header::wire_size(bytes);
    let Ok(header) = Header::parse(bytes) else {
        return;
    };
    assert_eq!(size.ok().flatten(), Some(header.bytes().len()));
    assert!(header.packet_bytes() > 0);
    assert!(header.equivalent(&header));
    for stream in header.streams() {
        assert!((1..=127).contains(&stream.number));
        assert!(header.stream_mask() & (1 << stream.number) != 0);
        let _ = (
            stream.codec.name(),
            stream.codec.family(),
            stream.codec_data(),
        );
    }
    let options = LiveOptions {
        title: Some("title"),
        author: None,
        file_id: [7; 16],
        packet_bytes: header.packet_bytes(),
        bit_rates: &[(1, 64_000)],
    };
    let Ok(live) = live_header(&header, &options) else {
        return;
    };
    let again = Header::parse(live.header.bytes()).expect("a header we wrote");
    assert!(again.is_broadcast());
    assert_eq!(again.packet_bytes(), header.packet_bytes());
    assert_eq!(again.streams().len(), header.streams().len());
    assert!(live.header.bytes().ends_with(&[1, 1]));
});
