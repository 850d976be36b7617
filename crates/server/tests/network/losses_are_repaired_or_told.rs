//! Datagrams lost on the way are asked for again and come again; what cannot come again is told.

use crate::lab::frame::{self, Fate, Frame, Toward};
use crate::lab::lan::Lan;
use crate::recorder::record;
use crate::support::media::GOOD;
use crate::support::normalised;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;

/// The show of these tests, 516 packets of 1,444 bytes in 20 s.
const SHOW: &str = "av-300k.wmv";
const PACKETS: u64 = 516;

fn setup(speed: f32) -> Setup {
    let mut setup = Setup::new();
    let show = crate::support::media::file(SHOW);
    for name in ["one", "two"] {
        setup.file_once(name, &show, speed);
    }
    setup
}

#[test]
fn a_bad_day_is_repaired_over_ipv4_and_ipv6() {
    let mut lan = Lan::new();
    let machine = lan.host();
    let (first, first_line) = lan.host_behind(frame::rough(0.02, 4));
    let (second, second_line) = lan.host_behind(frame::rough(0.02, 6));
    let server = machine.serve(setup(2.0));
    let wanted = player::decode(&crate::support::media::file(SHOW), server.folder());
    std::thread::scope(|scope| {
        for (host, line, address, name) in [
            (&first, &first_line, machine.ipv4(), "one"),
            (&second, &second_line, machine.ipv6(), "two"),
        ] {
            let (server, wanted) = (&server, &wanted);
            scope.spawn(move || {
                let recorded = record(host, server, name, &server.url("mmsu", address, name));
                let counts = line.counts();
                let report = || format!("{address}: {counts:?}\n{}", recorded.ran.report());
                assert!(
                    counts.to_host.lost >= 5,
                    "too little was lost: {}",
                    report()
                );
                assert!(
                    recorded.recovered >= 5,
                    "nothing was repaired: {}",
                    report()
                );
                assert!(recorded.ran.stdout.contains("no gaps"), "{}", report());
                assert_eq!(recorded.packets, PACKETS, "{}", report());
                assert_eq!(player::decode(&recorded.file, server.folder()), *wanted);
            });
        }
    });
    let lost = first_line.counts().to_host.lost + second_line.counts().to_host.lost;
    server.stop_then(|server| {
        assert!(server.total("resend_requests") > 0, "{}", server.log());
        assert!(
            server.total("resent") >= lost.saturating_sub(4),
            "{lost} lost: {}",
            server.log()
        );
    });
}

#[test]
fn one_in_ten_is_repaired_or_told() {
    let mut lan = Lan::new();
    let machine = lan.host();
    let (far, line) = lan.host_behind(frame::lose(0.1, 3));
    let server = machine.serve(setup(2.0));
    let recorded = record(
        &far,
        &server,
        "one",
        &server.url("mmsu", machine.ipv4(), "one"),
    );
    let counts = line.counts();
    let report = format!("{counts:?}\n{}", recorded.ran.report());
    assert!(counts.to_host.lost >= 30, "too little was lost: {report}");
    assert_eq!(recorded.packets + recorded.missing, PACKETS, "{report}");
    assert!(
        recorded.missing * 10 <= counts.to_host.lost,
        "hardly any is repaired: {report}"
    );
    let frames: usize = player::decode(&recorded.file, server.folder())
        .iter()
        .map(Vec::len)
        .sum();
    assert!(frames >= 800, "{frames} of 930 frames: {report}");
    server.stop();
}

/// Media packets 25, 75, 125 … never come, however often they are sent.
fn lose_one_in_fifty(frame: &Frame<'_>) -> Fate {
    match frame.location() {
        Some(location) if frame.toward == Toward::Host && is_one_in_fifty(location as usize) => {
            Fate::Lose
        }
        _ => Fate::Pass,
    }
}

fn is_one_in_fifty(location: usize) -> bool {
    location < 10_000 && location % 50 == 25
}

#[test]
fn what_never_comes_is_told_and_the_rest_is_kept() {
    let mut lan = Lan::new();
    let machine = lan.host();
    let (far, line) = lan.host_behind(lose_one_in_fifty);
    let server = machine.serve(setup(4.0));
    let recorded = record(
        &far,
        &server,
        "one",
        &server.url("mmsu", machine.ipv6(), "one"),
    );
    let report = format!("{:?}\n{}", line.counts(), recorded.ran.report());
    assert_eq!(
        (recorded.packets, recorded.missing),
        (PACKETS - 10, 10),
        "{report}"
    );
    assert!(
        recorded.ran.stderr.contains("missing in 10 gaps"),
        "{report}"
    );
    let asked_for_again = line.counts().to_host.lost - 10;
    assert!(
        (10..=60).contains(&asked_for_again),
        "it asks again, and gives up: {report}"
    );
    server.stop();
}

/// VLC asks for nothing: it gets the packets that are not lost, and no others.
#[test]
fn vlc_gets_all_that_is_not_lost() {
    let good = GOOD
        .iter()
        .find(|good| good.name == SHOW)
        .expect("in the list");
    let mut lan = Lan::new();
    let machine = lan.host();
    let (far, line) = lan.host_behind(lose_one_in_fifty);
    let server = machine.serve(setup(4.0));
    far.within(|| {
        let header = normalised::header_of(server.address(), "one");
        let dump =
            Vlc::new(server.folder(), "lossy").dump(60, &server.url("mmsu", machine.ipv4(), "one"));
        normalised::check_without("VLC", good, &dump, &header, is_one_in_fifty);
    });
    assert_eq!(line.counts().to_host.lost, 10);
    server.stop();
}

/// At the speed of the show, with its own decoders, through a line that loses one in ten.
#[test]
fn vlc_keeps_playing() {
    let mut setup = Setup::new();
    setup.file_once(
        "show",
        &crate::support::media::file("metadata-unicode.wmv"),
        1.0,
    );
    let mut lan = Lan::new();
    let machine = lan.host();
    let mut random = fastrand::Rng::with_seed(8);
    // Not the header, which VLC does not ask for a second time.
    let (far, line) = lan.host_behind(move |frame: &Frame<'_>| match frame.location() {
        Some(5..1_000) if frame.toward == Toward::Host && random.f64() < 0.1 => Fate::Lose,
        _ => Fate::Pass,
    });
    let server = machine.serve(setup);
    let vlc = Vlc::new(server.folder(), "play");
    let ran = far.within(|| vlc.run(40, &["-vv", &server.url("mmsu", machine.ipv4(), "show")]));
    assert!(line.counts().to_host.lost >= 3, "{:?}", line.counts());
    assert!(!ran.timed_out(), "VLC does not end: {}", ran.report());
    for sign in ["streaming started", "EOF reached"] {
        assert!(
            ran.stderr.contains(sign),
            "no '{sign}' in VLC's log:\n{}",
            ran.stderr
        );
    }
    server.stop();
}
