//! What a server does wrong to packets is reported, no more and no less, over every protocol.

mod scripted;

use funnel_asf::probe::Probe;
use scripted::tester::{Run, funnel_load};
use scripted::{Fault, Script, Server, Speech};

const VIEWERS: u64 = 20;
/// For 3 s; the run ends half a second later.
const PACKETS: u64 = 60;

/// 512 bytes every 50 ms.
fn probe() -> Probe {
    Probe::new(81_920, 512).expect("in range")
}

fn run(url: &str, more: [&str; 2]) -> Run {
    let viewers = VIEWERS.to_string();
    let all = [url, "-n", &viewers, "--at-once", "-d", "2.5s"];
    funnel_load(&[&all[..], &more].concat()).well()
}

/// Five viewers of twenty have trouble.
fn troubled(viewer: usize) -> Script {
    let good = Script::good(PACKETS);
    match viewer {
        0 => good
            .with(Fault::Lost(10))
            .with(Fault::Lost(11))
            .with(Fault::Lost(40)),
        1 => good.with(Fault::Twice(20)),
        2 => good.with(Fault::Swapped(15)).with(Fault::Swapped(30)),
        3 => good.with(Fault::Damaged(25)),
        4 => [5, 6, 7, 50]
            .into_iter()
            .fold(good, |script, at| script.with(Fault::Damaged(at))),
        _ => good,
    }
}

/// Packets sent beyond `VIEWERS × PACKETS`: three lost, one twice.
const PACKETS_SENT: u64 = VIEWERS * PACKETS - 3 + 1;

fn every_fault_is_counted(speech: Speech) {
    let server = Server::start(speech, probe(), troubled);
    let run = run(&server.url(), ["--verify", "100%"]);
    let done = server.done();
    assert_eq!(
        (done.viewers, done.plays, done.packets),
        (VIEWERS, VIEWERS, PACKETS_SENT)
    );

    let counts = [
        ("planned", VIEWERS),
        ("arrived", VIEWERS),
        ("connected", VIEWERS),
        ("played", VIEWERS),
        ("succeeded", VIEWERS),
        ("misbehaved", 0),
        ("packets", PACKETS_SENT),
        ("bytes", done.bytes),
        ("verified", PACKETS_SENT),
        ("verified_viewers", VIEWERS),
        ("missing", 3),
        ("duplicate", 1),
        ("reordered", 2),
        ("corrupt", 5),
        ("overdue", 0),
    ];
    for (name, expected) in counts {
        assert_eq!(run.count(name), expected, "{name}: {:#}", run.report);
    }
    assert_eq!(run.failed(), []);
    assert_eq!(run.at("/served/marked"), true);
    assert_eq!(run.at("/served/packet_bytes"), 512);
    assert_eq!(run.at("/served/bits_per_s"), 81_920);
    let moments = run.at("/moments").as_array().expect("a list");
    let last = moments.last().expect("at least one second");
    assert_eq!(last["bad_packets"], 3 + 1 + 2 + 5, "{last:#}");
    assert_eq!(last["playing"], VIEWERS, "{last:#}");
}

#[test]
fn over_mms() {
    every_fault_is_counted(Speech::Mms);
}

#[test]
fn over_http() {
    every_fault_is_counted(Speech::Http);
}

#[test]
fn over_windows_media_http() {
    every_fault_is_counted(Speech::WindowsMedia);
}

/// Only the sample's checksums are computed, and the report says how large it was.
#[test]
fn damage_is_found_in_the_verified_sample() {
    let all_damaged = |_| {
        (0..PACKETS).fold(Script::good(PACKETS), |script, at| {
            script.with(Fault::Damaged(at))
        })
    };
    let server = Server::start(Speech::Mms, probe(), all_damaged);
    let run = run(&server.url(), ["--verify", "40%"]);
    let sample = run.count("verified_viewers");
    assert!(
        (1..VIEWERS).contains(&sample),
        "{sample} of {VIEWERS} at 40 %"
    );
    assert_eq!(run.count("packets"), VIEWERS * PACKETS);
    assert_eq!(run.count("corrupt"), sample * PACKETS);
    assert_eq!(run.count("verified"), sample * PACKETS);
    assert_eq!(run.count("missing"), 0, "damaged packets have come");
}

/// A stream that is not ASF is counted in bytes; nothing is said about delays that cannot be known.
#[test]
fn bytes_without_marks_are_counted_and_have_no_delay() {
    let server = Server::start(Speech::Bytes, probe(), |_| Script::good(PACKETS));
    let run = run(&server.url(), ["--rate", "81920"]);
    assert_eq!(run.count("bytes"), server.done().bytes);
    assert_eq!(run.count("succeeded"), VIEWERS);
    assert_eq!((run.count("packets"), run.count("marked")), (0, 0));
    assert_eq!(run.at("/served/marked"), false);
    assert!(run.at("/delay_ms").is_null(), "{:#}", run.report);
    assert_eq!(run.at("/first_packet_ms/count"), VIEWERS);
    let gaps = run.number("/gap_ms/p50");
    assert!(
        (30.0..70.0).contains(&gaps),
        "a packet every 50 ms, but {gaps}"
    );
    let rate = run.number("/rate_percent/p50");
    assert!(
        (65.0..95.0).contains(&rate),
        "2 of 2.5 s have packets, but {rate} %"
    );
}
