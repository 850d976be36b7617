//! `funnel record` on one of the machines, and what it says at its end.

use crate::lab::lan::Host;
use crate::support::player::Ran;
use crate::support::server::{Server, funnel};
use std::path::PathBuf;

/// What `funnel record` wrote and said.
pub struct Recorded {
    pub file: PathBuf,
    pub ran: Ran,
    pub packets: u64,
    pub missing: u64,
    /// Packets that came after they were asked for again.
    pub recovered: u64,
    /// Packets of a multicast that parity restored.
    pub restored: u64,
}

/// Records `source` on this machine into a file of this name, at most 30 s.
pub fn record(host: &Host, server: &Server, name: &str, source: &str) -> Recorded {
    record_with(host, server, name, source, &[])
}

/// As [`record`], with more arguments.
pub fn record_with(
    host: &Host,
    server: &Server,
    name: &str,
    source: &str,
    more: &[&str],
) -> Recorded {
    let file = server.folder().join(format!("{name}.asf"));
    let output = file.to_string_lossy();
    let arguments = ["record", source, "--output", &output];
    let ran = host.within(|| funnel(&[&arguments, more].concat()));
    ran.expect_success("funnel record");
    Recorded {
        file,
        packets: number_before(&ran.stdout, " packets, "),
        missing: number_before(&ran.stderr, " packets are missing"),
        recovered: number_before(&ran.stdout, " of them recovered"),
        restored: number_before(&ran.stdout, " of them restored"),
        ran,
    }
}

/// The number in front of these words; 0 when they are not said.
fn number_before(text: &str, words: &str) -> u64 {
    let Some((before, _)) = text.split_once(words) else {
        return 0;
    };
    let digits = before.rsplit(' ').next().expect("something in front");
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number before '{words}' in {text}"))
}
