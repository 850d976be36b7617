//! A firewall that lets no datagram through: players are told or give up, and the server keeps nothing of them.

use crate::lab::frame;
use crate::lab::lan::{Host, Lan};
use crate::support::media;
use crate::support::player::{self, Vlc};
use crate::support::server::{Server, Setup, funnel};
use crate::support::wait_until;
use std::time::{Duration, Instant};

fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    setup
}

/// Most datagrams for somebody who shows no sign of receiving any: two for the packet pair, and the header nine times.
const UNANSWERED_MAX: u64 = 2 + 9;

/// Everybody who opened the channel has left it, says the server.
fn all_gone(server: &Server) {
    wait_until(
        "the server closes the session",
        Duration::from_secs(10),
        || {
            let log = server.log();
            let opened = log.lines().filter(|line| line.contains("viewer opened"));
            let left = log
                .lines()
                .filter(|line| line.contains("viewer left") && line.contains("channel=\"show\""));
            opened.count() == left.count()
        },
    );
}

#[test]
fn a_recorder_says_so_and_tcp_still_works() {
    let mut lan = Lan::new();
    let machine = lan.host();
    let (far, line) = lan.host_behind(frame::no_udp);
    let server = machine.serve(setup());
    for (address, name) in [(machine.ipv4(), "four"), (machine.ipv6(), "six")] {
        let out = server.folder().join(format!("{name}.asf"));
        let before = line.counts().to_host.came;
        let began = Instant::now();
        let url = server.url("mmsu", address, "show");
        let ran = far.within(|| funnel(&["record", &url, "--output", &out.to_string_lossy()]));
        assert!(
            !ran.status.success() && !ran.timed_out(),
            "{}",
            ran.report()
        );
        assert!(
            ran.stderr.contains("nothing comes over UDP"),
            "{}",
            ran.report()
        );
        assert!(!out.exists(), "a file of nothing");
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "{:?}",
            began.elapsed()
        );
        let sent = line.counts().to_host.came - before;
        assert!(
            (1..=UNANSWERED_MAX).contains(&sent),
            "{sent} datagrams to nobody"
        );
        all_gone(&server);
        // The way its words name.
        let url = server.url("mmst", address, "show");
        far.within(|| {
            funnel(&[
                "record",
                &url,
                "--duration",
                "1s",
                "--output",
                &out.to_string_lossy(),
            ])
        })
        .expect_success("funnel record over TCP");
        assert!(!player::decode(&out, server.folder()).is_empty());
    }
    server.stop();
}

/// VLC waits for its header; the server sends it a few times at most, and forgets VLC when it goes.
#[test]
fn vlc_waits_for_nothing_at_little_cost() {
    let mut lan = Lan::new();
    let machine = lan.host();
    let (far, line): (Host, _) = lan.host_behind(frame::no_udp);
    let server = machine.serve(setup());
    let vlc = Vlc::new(server.folder(), "blocked");
    let ran = far.within(|| vlc.run(20, &["-vv", &server.url("mmsu", machine.ipv4(), "show")]));
    let counts = line.counts().to_host;
    assert!(
        (1..=UNANSWERED_MAX).contains(&counts.came),
        "{counts:?} {}",
        ran.report()
    );
    all_gone(&server);
    server.stop();
}
