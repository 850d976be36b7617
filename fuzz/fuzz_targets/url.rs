//! Any text as an address: what parses is written so that it parses to the same again, but for the login, which is never written.
//! Any text as a redirect: it leads to an address of the same kind.
#![no_main]

use funnel_session::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let base: Url = "http://ann:secret@studio.example:8080/a/b?c"
        .parse()
        .expect("an address");
    if let Ok(led) = base.redirected(text) {
        let is_home =
            (led.host.as_str(), led.port, led.scheme.is_tls()) == ("studio.example", 8080, false);
        assert!(
            is_home || led.login != base.login,
            "the login goes elsewhere with {text:?}"
        );
    }
    let Ok(url) = text.parse::<Url>() else { return };
    assert!(url.port != 0 && !url.host.is_empty());
    let again: Url = url.to_string().parse().expect("an address we wrote");
    assert!(again.login.is_none() && (url.login.is_none() || url.scheme.is_http()));
    assert_eq!(
        Url {
            login: url.login.clone(),
            ..again
        },
        url,
        "from {text:?}"
    );
});
