//! Any bytes as an `.nsc` file: nothing comes of it only with an error; what comes of it is, written canonically, read as
//! the same without further errors, and written again the same.
#![no_main]

use funnel_wire::nsc::{
    Announcement, Block, EXTRAS_MAX, FAULTS_MAX, FILE_BYTES_MAX, FORMATS_MAX, read,
};
use libfuzzer_sys::fuzz_target;

fn write(announcement: &Announcement) -> String {
    let mut out = String::new();
    announcement.encode(&mut out);
    out
}

fuzz_target!(|bytes: &[u8]| {
    let reading = read(bytes);
    // Behind the ceiling: that there are more, and up to three required properties.
    assert!(reading.faults.len() <= FAULTS_MAX + 4);
    for fault in &reading.faults {
        assert!(fault.to_string().len() < 600);
    }
    if let Some(announcement) = reading.announcement {
        assert!(announcement.formats().iter().len() <= FORMATS_MAX);
        assert!(announcement.extras().len() <= EXTRAS_MAX);
        let tidy = write(&announcement);
        assert!(tidy.len() <= FILE_BYTES_MAX);
        let again = read(tidy.as_bytes());
        assert!(again.is_good(), "{:?}", again.faults);
        assert_eq!(write(&again.announcement.expect("a file we wrote")), tidy);
    } else {
        assert!(!reading.is_good());
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(block) = Block::decode(text)
    {
        let mut value = String::new();
        Block::encode(block.key, &block.data, &mut value);
        let again = Block::decode(&value).expect("a block we wrote");
        assert_eq!((again.key, &again.data), (block.key, &block.data));
        assert_eq!(again.oddity, None);
    }
});
