//! `[tls]`: the files; whether they are sound is found by who can parse them.

use super::fault::Fault;
use super::source::readable_file;
use super::walk::{Section, Walk};
use super::{Listen, Tls};

pub(super) fn tls(walk: &mut Walk, section: &Section<'_>) -> Option<Tls> {
    let mut file = |key: &str, help: &str| {
        let entry = walk.required(section, key, help)?;
        readable_file(walk, &entry, help)
    };
    let certificate = file(
        "certificate",
        "certificate = \"FILE\", in PEM, this server's first",
    );
    let key = file("key", "key = \"FILE\", in PEM");
    Some(Tls {
        certificate: certificate?,
        key: key?,
    })
}

/// HTTPS needs a certificate, and a certificate somewhere to show it.
pub(super) fn check(walk: &mut Walk, has_table: bool, listen: &Listen) {
    if !listen.https.is_empty() && !has_table {
        let fault = Fault::new(
            "listen.https",
            walk.span_of("listen.https"),
            "HTTPS needs a certificate, and there is no [tls]",
        );
        walk.add(fault.help("add [tls] with certificate = \"FILE\" and key = \"FILE\""));
    } else if listen.https.is_empty() && has_table {
        let fault = Fault::new(
            "tls",
            walk.span_of("tls"),
            "nothing listens for HTTPS, so the certificate is not used",
        );
        walk.add(
            fault
                .help("[listen] https = [\"0.0.0.0:8443\", \"[::]:8443\"]")
                .warning(),
        );
    }
}
