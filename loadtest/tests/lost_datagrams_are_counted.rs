//! What happens to datagrams is reported, no more and no less; and what was repaired is in nobody's way.

mod scripted;

use funnel_asf::probe::Probe;
use scripted::tester::{Run, funnel_load};
use scripted::{Fault, Script, Server, Speech};

const VIEWERS: u64 = 20;
/// For 3 s. The run ends two seconds later, when all that may be asked for was asked for.
const PACKETS: u64 = 60;

/// 512 bytes every 50 ms.
fn probe() -> Probe {
    Probe::new(81_920, 512).expect("in range")
}

fn run(url: &str, more: [&str; 2]) -> Run {
    let viewers = VIEWERS.to_string();
    let all = [url, "-n", &viewers, "--at-once", "-d", "4s"];
    funnel_load(&[&all[..], &more].concat()).well()
}

/// One viewer misses a packet and a pair, another gets one that was overtaken.
fn troubled(viewer: usize) -> Script {
    let good = Script::good(PACKETS);
    match viewer {
        0 => good
            .with(Fault::Unsent(10))
            .with(Fault::Unsent(20))
            .with(Fault::Unsent(21)),
        1 => good.with(Fault::Overtaken(15)),
        _ => good,
    }
}

fn datagrams(run: &Run, name: &str) -> u64 {
    let value = run.at(&format!("/datagrams/{name}"));
    value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
}

#[test]
fn what_is_sent_again_is_recovered() {
    let server = Server::start(Speech::Mmsu, probe(), troubled);
    let run = run(
        &server.url(),
        ["--require", "missing=0,bad=0,udp_recovered_share=100%"],
    );
    let done = server.done();
    let expected = [
        ("received", done.datagrams),
        ("dropped", 0),
        ("packets", VIEWERS * PACKETS),
        ("gaps", 3),
        ("requested", 3),
        ("recovered", 3),
        ("reordered", 1),
        ("lost", 0),
    ];
    for (name, expected) in expected {
        assert_eq!(datagrams(&run, name), expected, "{name}: {:#}", run.report);
    }
    assert_eq!(run.count("packets"), VIEWERS * PACKETS);
    assert_eq!(run.count("bytes"), done.bytes);
    assert_eq!(run.count("succeeded"), VIEWERS);
    assert_eq!(run.at("/served/protocol"), "MMS over UDP");
    assert_eq!(run.at("/datagrams/recovered_share"), 1.0);
    assert_eq!(run.at("/datagrams/loss_percent/max"), 0.0);
}

#[test]
fn what_is_not_sent_again_is_lost() {
    let server = Server::start(Speech::Mmsu, probe(), |viewer| Script {
        repeats: false,
        ..troubled(viewer)
    });
    let run = run(&server.url(), ["--verify", "100%"]);
    for (name, expected) in [("requested", 3), ("recovered", 0), ("lost", 3)] {
        assert_eq!(datagrams(&run, name), expected, "{name}: {:#}", run.report);
    }
    assert_eq!(run.count("missing"), 3);
    assert_eq!(run.count("packets"), VIEWERS * PACKETS - 3);
    // Three of sixty, of one viewer.
    assert_eq!(run.at("/datagrams/loss_percent/count"), VIEWERS);
    let most = run.number("/datagrams/loss_percent/max");
    assert!((4.9..5.1).contains(&most), "{most} %");
    assert_eq!(run.at("/datagrams/loss_percent/p50"), 0.0);
    assert!(run.text.contains("3 asked for again"), "{}", run.text);
}

/// A tenth of everything is dropped, headers and repetitions included; every datagram is accounted for, but for
/// those that were still on their way when their viewer had ended: a repetition asked for twice comes twice.
#[test]
fn what_is_dropped_on_purpose_is_counted_and_asked_for() {
    let server = Server::start(Speech::Mmsu, probe(), |_| Script::good(PACKETS));
    let run = run(&server.url(), ["--drop", "10%"]);
    let (received, dropped) = (datagrams(&run, "received"), datagrams(&run, "dropped"));
    let sent = server.done().datagrams;
    let late = sent - (received + dropped);
    assert!(
        late <= VIEWERS / 4,
        "{sent} sent, {received} received, {dropped} dropped"
    );
    let share = dropped as f64 / (received + dropped) as f64;
    assert!((0.05..0.15).contains(&share), "{share}");
    assert!(datagrams(&run, "recovered") > 50, "{:#}", run.report);
    assert_eq!(run.count("missing"), datagrams(&run, "lost"));
    assert_eq!(run.count("succeeded"), VIEWERS);
}

/// Nobody listens to the media of deaf viewers, and nothing is said about it.
#[test]
fn the_deaf_only_talk() {
    let server = Server::start(Speech::Mmsu, probe(), |_| Script::good(PACKETS));
    let require = "failed=0,succeeded=20,connect_max<10s";
    let run = funnel_load(&[
        &server.url(),
        "-n",
        "20",
        "-d",
        "3s",
        "--deaf",
        "--require",
        require,
    ])
    .well();
    assert_eq!((run.count("played"), run.count("packets")), (VIEWERS, 0));
    assert!(run.at("/datagrams").is_null());
    assert!(run.at("/delay_ms").is_null());
    assert_eq!(run.count("overdue"), 0);
    assert!(server.done().datagrams >= VIEWERS * PACKETS / 2);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, word) in [
        (["mms://127.0.0.1:9/live", "--drop=1%"], "--drop"),
        (["mms://127.0.0.1:9/live", "--deaf"], "--deaf"),
        (["mmsu://127.0.0.1:9/live", "--stalled=1%"], "--stalled"),
        (["mmst://127.0.0.1:9/live", "--transport=udp"], "mmst"),
    ] {
        let run = funnel_load(&arguments);
        assert_eq!(run.code, 2, "{}", run.text);
        assert!(run.text.contains(word), "{}", run.text);
    }
}
