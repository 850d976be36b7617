//! Known delays come out at their percentiles, and nothing that was slow is left out.

mod scripted;

use std::ops::Range;
use std::time::Duration;

use funnel_asf::probe::Probe;
use scripted::tester::{Run, funnel_load};
use scripted::{Fault, Script, Server, Speech};

/// 512 bytes every 250 ms.
fn slow_probe() -> Probe {
    Probe::new(16_384, 512).expect("in range")
}

/// 512 bytes every 50 ms.
fn probe() -> Probe {
    Probe::new(81_920, 512).expect("in range")
}

fn run(server: &Server, viewers: &str, duration: &str) -> Run {
    funnel_load(&[&server.url(), "-n", viewers, "--at-once", "-d", duration]).well()
}

fn assert_within(run: &Run, pointer: &str, range: Range<f64>) {
    let value = run.number(pointer);
    assert!(
        range.contains(&value),
        "{pointer} is {value}, not in {range:?}: {:#}",
        run.report
    );
}

/// Each packet received has one sample, or was backlog; each overdue one has one too.
fn assert_no_sample_is_missing(run: &Run) {
    let samples = run.at("/delay_ms/count").as_u64().expect("a count")
        + run.at("/delay_ramp_ms/count").as_u64().unwrap_or(0);
    assert_eq!(
        samples + run.count("backlog"),
        run.count("marked") + run.count("overdue"),
        "{:#}",
        run.report
    );
}

/// Every twentieth packet is 200 ms late: 5 %.
#[test]
fn a_share_of_late_packets_shows_from_its_percentile_on() {
    let late = Fault::Late {
        every: 20,
        by: Duration::from_millis(200),
    };
    for speech in [Speech::Mms, Speech::Http] {
        // Viewers' first packets differ: each viewer has its own twentieth.
        let server = Server::start(speech, slow_probe(), move |_| Script::good(20).with(late));
        let run = run(&server, "40", "4.3s");
        assert_eq!(run.count("packets"), 40 * 20);
        assert_within(&run, "/delay_ms/p50", 0.0..60.0);
        assert_within(&run, "/delay_ms/p90", 0.0..100.0);
        assert_within(&run, "/delay_ms/p99", 200.0..280.0);
        assert_within(&run, "/delay_ms/max", 200.0..400.0);
        assert_no_sample_is_missing(&run);
    }
}

/// One viewer of ten is 300 ms behind all the time.
#[test]
fn a_few_slow_viewers_show_from_their_percentile_on() {
    let server = Server::start(Speech::Mms, probe(), |viewer| match viewer {
        3 => Script::good(60).with(Fault::AllLate(Duration::from_millis(300))),
        _ => Script::good(60),
    });
    let run = run(&server, "10", "3s");
    assert_within(&run, "/delay_ms/p50", 0.0..60.0);
    assert_within(&run, "/delay_ms/p99", 300.0..380.0);
    assert_within(&run, "/first_packet_ms/max", 300.0..800.0);
    assert_no_sample_is_missing(&run);
}

/// Two seconds of silence, then everything at once: forty packets that were late by 0 to 2 s, evenly.
#[test]
fn a_stall_counts_for_every_packet_that_was_due_in_it() {
    let stall = Fault::Stall {
        at: 30,
        lasts: Duration::from_secs(2),
    };
    for speech in [Speech::Mms, Speech::Http] {
        let server = Server::start(speech, probe(), move |_| Script::good(80).with(stall));
        // 80 packets in 4 s; the steady time begins after 1 s.
        let run = run(&server, "10", "3.5s");
        assert_eq!(run.count("packets"), 10 * 80);
        assert_eq!(run.count("missing"), 0);
        assert_eq!(run.count("overdue"), 0);
        assert_no_sample_is_missing(&run);
        // 60 packets a viewer are due in the steady time, and two thirds of them waited.
        assert_within(&run, "/delay_ms/count", 10.0 * 57.0..10.0 * 62.0);
        assert_within(&run, "/delay_ms/p50", 350.0..700.0);
        assert_within(&run, "/delay_ms/p90", 1600.0..1850.0);
        assert_within(&run, "/delay_ms/max", 2000.0..2200.0);
        assert_within(&run, "/gap_ms/max", 2000.0..2200.0);
    }
}

/// A server that dies leaves packets that never come: they are as late as the run is long.
#[test]
fn a_dead_server_shows_as_long_delays() {
    for speech in [Speech::Mms, Speech::Http] {
        let server = Server::start(speech, probe(), |_| Script::good(1000).with(Fault::Die(30)));
        let run = run(&server, "10", "5s");
        // Dead after 1.5 s of 6 s: the packets of 3.5 s are overdue by a second or more.
        let overdue = run.count("overdue");
        assert!(
            (10 * 62..10 * 72).contains(&overdue),
            "{overdue} overdue: {:#}",
            run.report
        );
        assert_no_sample_is_missing(&run);
        assert_within(&run, "/delay_ms/max", 4200.0..4700.0);
        assert_within(&run, "/delay_ms/p90", 3500.0..4600.0);
        assert_within(&run, "/gap_ms/max", 4200.0..4700.0);
        assert_within(&run, "/rate_percent/max", 2.0..20.0);
    }
}

/// What was due before a viewer came is a fast start, not a delay.
#[test]
fn backlog_is_not_delay() {
    for speech in [Speech::Mms, Speech::Http] {
        let server = Server::start(speech, probe(), |_| Script {
            backlog: 40,
            ..Script::good(100)
        });
        // The server has run for a moment when viewers come: it has a backlog to send.
        std::thread::sleep(Duration::from_secs(2));
        let run = run(&server, "10", "2.5s");
        assert_eq!(run.count("packets"), 10 * 100);
        let backlog = run.count("backlog");
        assert!((400..=420).contains(&backlog), "{backlog}");
        assert_no_sample_is_missing(&run);
        assert_within(&run, "/delay_ms/max", 0.0..200.0);
        // Two seconds of media are there at once.
        assert_within(&run, "/first_packet_ms/max", 0.0..400.0);
    }
}

/// With a buffer of a second and a backlog of half a second, playback begins after the other half, and a stall of two seconds
/// leaves it dry for one.
#[test]
fn playback_starts_and_stalls_as_a_buffer_of_that_size_would() {
    let server = Server::start(Speech::Mms, probe(), |_| Script {
        backlog: 10,
        ..Script::good(110).with(Fault::Stall {
            at: 50,
            lasts: Duration::from_secs(2),
        })
    });
    std::thread::sleep(Duration::from_secs(1));
    let run = funnel_load(&[
        &server.url(),
        "-n",
        "10",
        "--at-once",
        "-d",
        "4.5s",
        "--buffer",
        "1s",
    ])
    .well();
    assert_eq!(run.at("/start_ms/count"), 10);
    assert_within(&run, "/start_ms/p50", 400.0..700.0);
    assert_eq!(
        (run.count("stalls"), run.count("stalled_viewers")),
        (10, 10)
    );
    assert_eq!(run.at("/stall_ms/count"), 10);
    assert_within(&run, "/stall_ms/p50", 850.0..1250.0);
    assert_within(&run, "/counts/stalled_ms", 8_500.0..12_500.0);
}
