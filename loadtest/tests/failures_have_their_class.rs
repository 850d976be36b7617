//! How a viewer failed is told apart, each viewer counts once, and who misbehaves on purpose cannot fail.

mod scripted;

use std::net::Ipv4Addr;

use funnel_asf::probe::Probe;
use scripted::tester::{Run, funnel_load};
use scripted::{Fault, Opening, Script, Server, Speech};

const PACKETS: u64 = 60;

/// 512 bytes every 50 ms.
fn probe() -> Probe {
    Probe::new(81_920, 512).expect("in range")
}

/// Twenty viewers, the first five of whom get another script.
fn five_of_twenty(speech: Speech, script: Script) -> Run {
    let server = Server::start(speech, probe(), move |viewer| match viewer {
        0..5 => script.clone(),
        _ => Script::good(PACKETS),
    });
    let run = funnel_load(&[&server.url(), "-n", "20", "--at-once", "-d", "2.5s"]);
    assert_eq!(run.code, 0, "failures alone decide nothing: {}", run.text);
    assert_eq!(run.count("succeeded"), 15, "{:#}", run.report);
    assert_eq!(run.count("missing"), 0, "{:#}", run.report);
    run
}

/// They failed like this, and the report has words for it.
fn assert_failed(run: &Run, how: &str, words: &str) {
    assert_eq!(run.failed(), [(how.to_owned(), 5)], "{:#}", run.report);
    let told = run.at("/failures").as_array().expect("a list");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["count"], 5);
    let text = told[0]["text"].as_str().expect("a text");
    assert!(text.contains(words), "{text}");
    assert!(run.text.contains(words), "{}", run.text);
}

#[test]
fn refused() {
    let run = five_of_twenty(Speech::Http, Script::opening(Opening::Refuse));
    assert_failed(&run, "refused", "404 Not Found");
    let run = five_of_twenty(Speech::Mms, Script::opening(Opening::Refuse));
    assert_failed(&run, "refused", "C00D001A");
}

#[test]
fn no_media() {
    for speech in [Speech::Mms, Speech::Http] {
        let run = five_of_twenty(speech, Script::opening(Opening::Silence));
        assert_failed(&run, "no_media", "no media");
        assert_eq!((run.count("connected"), run.count("played")), (20, 15));
    }
}

#[test]
fn closed_early() {
    for speech in [Speech::Mms, Speech::Http] {
        let run = five_of_twenty(speech, Script::opening(Opening::HangUp));
        assert_failed(&run, "closed_early", "before media came");
        let run = five_of_twenty(speech, Script::good(PACKETS).with(Fault::HangUp(30)));
        assert_failed(&run, "closed_early", "while playing");
        assert_eq!(run.count("packets"), 15 * PACKETS + 5 * 30);
    }
    for speech in [Speech::Mms, Speech::WindowsMedia] {
        let run = five_of_twenty(speech, Script::good(PACKETS).with(Fault::End(30)));
        assert_failed(&run, "closed_early", "the stream ended");
        assert_eq!(run.count("packets"), 15 * PACKETS + 5 * 30);
    }
}

#[test]
fn protocol() {
    for speech in [Speech::Mms, Speech::Http] {
        let run = five_of_twenty(speech, Script::opening(Opening::Nonsense));
        assert_failed(&run, "protocol", "before media came");
    }
    for speech in [Speech::Mms, Speech::WindowsMedia] {
        let run = five_of_twenty(speech, Script::good(PACKETS).with(Fault::Nonsense(30)));
        assert_failed(&run, "protocol", "while playing");
    }
}

#[test]
fn connect() {
    // The scout and fifteen viewers; then nobody listens.
    let host = Ipv4Addr::LOCALHOST.into();
    let server = Server::with_scout(host, Speech::Mms, probe(), 16, |_| Script::good(PACKETS));
    let run = funnel_load(&[&server.url(), "-n", "20", "--ramp", "10/s", "-d", "1s"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_failed(&run, "connect", "refused");
    assert_eq!((run.count("arrived"), run.count("connected")), (20, 15));
    assert_eq!(run.count("succeeded"), 15);
}

/// No media for ten seconds is a failure, if the connection stands or not.
#[test]
fn timed_out() {
    let server = Server::start(Speech::Mms, probe(), |viewer| match viewer {
        0..5 => Script::good(PACKETS).with(Fault::Die(20)),
        _ => Script::good(1_000),
    });
    let run = funnel_load(&[&server.url(), "-n", "10", "--at-once", "-d", "11.5s"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_failed(&run, "timed_out", "no media for");
    assert_eq!(run.count("succeeded"), 5);
}

#[test]
fn misbehaviour_is_counted_and_never_a_failure() {
    let server = Server::start(Speech::Mms, probe(), |_| Script::good(PACKETS));
    let run = funnel_load(&[
        &server.url(),
        "-n",
        "40",
        "--at-once",
        "-d",
        "2.5s",
        "--seed",
        "3",
        "--stalled",
        "20%",
        "--vanish",
        "20%",
        "--garbage",
        "15%",
        "--slow",
        "15%@16kb/s",
    ])
    .well();
    let misbehaved = run.count("misbehaved");
    assert!((15..40).contains(&misbehaved), "{misbehaved} of 40 at 70 %");
    assert_eq!(run.count("succeeded"), 40 - misbehaved, "{:#}", run.report);
    assert_eq!(run.failed(), []);
    assert_eq!(
        run.count("packets"),
        (40 - misbehaved) * PACKETS,
        "only of those who behave"
    );
    assert_eq!(
        run.count("missing") + run.count("corrupt") + run.count("overdue"),
        0
    );
    let misbehaving = run.at("/asked/misbehaving").as_str().expect("a text");
    assert!(misbehaving.contains("20 % stalled"), "{misbehaving}");
    assert_eq!(server.connections(), 41);
}

/// Who leaves is replaced, and has not failed.
#[test]
fn churn_replaces_who_leaves() {
    let server = Server::start(Speech::Mms, probe(), |_| Script::good(1_000));
    let run = funnel_load(&[
        &server.url(),
        "-n",
        "20",
        "--at-once",
        "--stay",
        "1s",
        "-d",
        "3s",
    ])
    .well();
    let planned = run.count("planned");
    assert!(
        (50..200).contains(&planned),
        "20 and some 80 who came after them, not {planned}"
    );
    assert_eq!(run.count("arrived"), planned);
    assert_eq!(server.connections(), planned + 1);
    assert_eq!(run.failed(), []);
    assert_eq!((run.count("missing"), run.count("duplicate")), (0, 0));
    let playing = run.number("/viewers_mean");
    assert!((15.0..20.5).contains(&playing), "{playing} at a time");
}
