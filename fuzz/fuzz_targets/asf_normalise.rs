//! Any packets behind a good header: what comes out has the channel's size, parses, and needs no second repair;
//! a filter over it keeps these laws.
#![no_main]

use funnel_asf::{Filter, Header, Layout, Normaliser, Ready, Selection, Thinning};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Headers to choose from by the first byte; `make-seeds.py` knows this order.
static HEADERS: LazyLock<Vec<Header>> = LazyLock::new(|| {
    let files: [&[u8]; 8] = [
        include_bytes!("../../testdata/media/av-300k.wmv"),
        include_bytes!("../../testdata/media/mbr-3rates-mutex.wmv"),
        include_bytes!("../../testdata/media/h264-aac.asf"),
        include_bytes!("../../testdata/media/tiny-audio.asf"),
        include_bytes!("../../testdata/media/slides-3min.asf"),
        include_bytes!("../../testdata/media/v-compressed.asf"),
        include_bytes!("../../testdata/media/v-lengths.asf"),
        include_bytes!("../../testdata/media/v-noec.asf"),
    ];
    files
        .iter()
        .map(|bytes| Header::parse(bytes).expect("a good header"))
        .collect()
});

fn check(ready: &Ready<'_>, size: usize) {
    assert_eq!(ready.full.len(), size);
    assert_eq!(&ready.full[..3], &[0x82, 0, 0]);
    let layout = Layout::parse(ready.full).expect("a packet we publish");
    assert_eq!(
        u64::from(layout.send_ms()),
        ready.meta.send_ms & 0xffff_ffff
    );
    for form in [ready.stripped, ready.join, ready.join_stripped]
        .into_iter()
        .flatten()
    {
        assert!(form.len() <= size);
        assert!(form.is_empty() || Layout::parse(form).is_ok());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((number, mut rest)) = bytes.split_first() else {
        return;
    };
    let header = &HEADERS[usize::from(number % 8)];
    let mut normaliser = Normaliser::new(header);
    let mut selection = Selection::ALL;
    selection.set(1 + number / 8 % 4, Thinning::Off);
    let mut filter = Filter::new(header, selection);
    let mut last_send_ms = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length) & 0x7fff);
        let (packet, behind) = behind.split_at(length.min(behind.len()));
        if packet.len() % 61 == 60 {
            normaliser.next_pass();
        } else if packet.len() % 67 == 66 {
            normaliser.resume(u64::from(*number) * 100);
        }
        if let Ok(Some(ready)) = normaliser.packet(packet) {
            assert!(ready.meta.send_ms >= last_send_ms, "send times run on");
            last_send_ms = ready.meta.send_ms;
            let size = ready.full.len();
            check(&ready, size);
            let full = ready.full.to_vec();
            let filtered = filter
                .packet(&full)
                .expect("a filter takes what the normaliser gives");
            if let Some(ready) = filtered {
                check(&ready, size);
            }
        }
        rest = behind;
    }
});
