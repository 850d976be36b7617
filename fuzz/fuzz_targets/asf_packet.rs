//! Any bytes as a data packet: every range and part lies inside of it, and edits in place keep it readable.
#![no_main]

use funnel_asf::Layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(layout) = Layout::parse(bytes) else {
        return;
    };
    let mut copy = bytes.to_vec();
    for payload in layout.payloads() {
        assert!(payload.data().end <= bytes.len() && payload.span().end <= bytes.len());
        let _ = (
            payload.extension_data(bytes),
            payload.starts_object(),
            payload.time_ms(),
            payload.objects_begun(bytes),
        );
        let held: usize = payload.parts(bytes).map(<[u8]>::len).sum();
        assert!(held <= payload.data().len());
    }
    layout.set_send_ms(&mut copy, 0x0102_0304);
    for payload in &mut layout.payloads().to_vec() {
        let number = payload.number().wrapping_add(1);
        payload.set_number(&mut copy, number);
        payload.set_key(&mut copy, true);
        payload.set_time_ms(&mut copy, 0x0506_0708);
    }
    if !layout.is_parity() {
        let again = Layout::parse(&copy).expect("an edited packet has the same layout");
        assert_eq!(again.send_ms(), 0x0102_0304);
        assert_eq!(again.payloads().len(), layout.payloads().len());
    }
});
