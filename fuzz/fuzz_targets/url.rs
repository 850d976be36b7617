//! Any text as an address: what parses is written so that it parses to the same again.
#![no_main]

use funnel_session::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(url) = text.parse::<Url>() else { return };
    assert!(url.port != 0 && !url.host.is_empty());
    let again: Url = url.to_string().parse().expect("an address we wrote");
    assert_eq!(again, url, "from {text:?}");
});
