//! Exit codes, files, and words for those who ask for something that cannot be.

mod scripted;

use std::net::{IpAddr, UdpSocket};

use funnel_asf::probe::Probe;
use scripted::tester::{Run, funnel_load};
use scripted::{Fault, Opening, Script, Server, Speech};

const PACKETS: u64 = 60;

/// 512 bytes every 50 ms.
fn probe() -> Probe {
    Probe::new(81_920, 512).expect("in range")
}

/// Ten viewers, one of whom misses a packet.
fn one_lost(viewer: usize) -> Script {
    match viewer {
        4 => Script::good(PACKETS).with(Fault::Lost(30)),
        _ => Script::good(PACKETS),
    }
}

fn run(server: &Server, more: &[&str]) -> Run {
    let url = server.url();
    let mut arguments = vec![url.as_str(), "-n", "10", "--at-once", "-d", "2.5s"];
    arguments.extend(more);
    funnel_load(&arguments)
}

#[test]
fn requirements_met() {
    let server = Server::start(Speech::Mms, probe(), one_lost);
    let run = run(
        &server,
        &["--require", "missing<=1, failed=0, delay_p99<1s"],
    )
    .well();
    assert_eq!(run.at("/passed"), true);
    let all = run.at("/requirements").as_array().expect("a list");
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|one| one["met"] == true), "{all:?}");
}

#[test]
fn requirements_not_met() {
    let server = Server::start(Speech::Mms, probe(), one_lost);
    let run = run(&server, &["--require", "failed=0,missing=0"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert_eq!(run.at("/passed"), false);
    assert_eq!(run.at("/requirements/0/met"), true);
    assert_eq!(run.at("/requirements/1/met"), false);
    assert!(
        run.text.contains("missing=0") || run.text.contains("missing = 0"),
        "{}",
        run.text
    );
}

/// What cannot be measured is not met: a pipeline that asks for it should notice.
#[test]
fn requirements_that_cannot_be_measured_are_not_met() {
    let server = Server::start(Speech::Bytes, probe(), |_| Script::good(PACKETS));
    let run = run(&server, &["--require", "delay_p99<1s"]);
    assert_eq!(run.code, 1, "{}", run.text);
    assert_eq!(run.at("/requirements/0/met"), false);
}

#[test]
fn without_requirements_nothing_is_judged() {
    let server = Server::start(Speech::Mms, probe(), one_lost);
    let run = run(&server, &[]).well();
    assert!(run.at("/passed").is_null());
    assert_eq!(run.at("/schema"), "funnel-load/1");
    assert_eq!(run.at("/asked/viewers"), 10);
    assert!(run.at("/served/server").is_string());
}

#[test]
fn percentiles_and_the_page_are_written() {
    let server = Server::start(Speech::Mms, probe(), one_lost);
    let run = run(&server, &["--hgrm", "delay.hgrm", "--html", "page.html"]).well();
    let hgrm = std::fs::read_to_string(run.file("delay.hgrm")).expect("it was written");
    let rows: Vec<[f64; 3]> = hgrm
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("Value"))
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse);
            Some([
                fields.next()?.ok()?,
                fields.next()?.ok()?,
                fields.next()?.ok()?,
            ])
        })
        .collect();
    assert!(rows.len() > 5, "{hgrm}");
    assert!(
        rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]),
        "{hgrm}"
    );
    let last = rows.last().expect("not empty");
    assert_eq!(last[1], 1.0, "{hgrm}");
    assert_eq!(
        last[2] as u64,
        run.at("/delay_ms/count").as_u64().expect("a count")
    );
    let page = std::fs::read_to_string(run.file("page.html")).expect("it was written");
    assert!(page.contains("<svg") && page.trim_end().ends_with("</html>"));
}

/// An address of this machine other than loopback needs nobody's consent. Nothing leaves the machine.
#[test]
fn the_own_address_may_be_loaded() {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a port");
    // Connecting a UDP socket sends nothing; it only asks for the way.
    let own = socket
        .connect(("198.51.100.1", 9))
        .and_then(|()| socket.local_addr())
        .map_or(IpAddr::from([127, 0, 0, 2]), |address| address.ip());
    let server = Server::with_scout(own, Speech::Bytes, probe(), u64::MAX, |_| {
        Script::good(1_000)
    });
    let run = run(&server, &[]).well();
    assert_eq!(run.count("succeeded"), 10);
}

/// Nothing was measured, and this is why.
fn assert_cannot(run: &Run, words: &[&str]) {
    assert_eq!(run.code, 2, "{}", run.text);
    assert!(run.report.is_null(), "{}", run.text);
    for part in words {
        assert!(run.text.contains(part), "no “{part}” in: {}", run.text);
    }
}

#[test]
fn targets_that_do_not_play_are_told_before_anybody_comes() {
    let host = [127, 0, 0, 1].into();
    for (speech, script, words) in [
        (
            Speech::Http,
            Script::opening(Opening::Refuse),
            "404 Not Found",
        ),
        (Speech::Mms, Script::opening(Opening::Refuse), "C00D001A"),
        (
            Speech::Http,
            Script::opening(Opening::HangUp),
            "closed the connection",
        ),
        (Speech::Http, Script::opening(Opening::Nonsense), "no HTTP"),
        (
            Speech::Mms,
            Script::opening(Opening::Nonsense),
            "broken protocol",
        ),
        (
            Speech::Mms,
            Script::opening(Opening::Silence),
            "does not answer",
        ),
    ] {
        let server = Server::with_scout(host, speech, probe(), u64::MAX, move |_| script.clone());
        let run = run(&server, &[]);
        assert_cannot(&run, &[words]);
        assert_eq!(server.connections(), 1, "only the scout came");
    }
}

#[test]
fn nobody_at_the_other_end() {
    let server = Server::start(Speech::Mms, probe(), one_lost);
    let url = server.url();
    drop(server);
    assert_cannot(&funnel_load(&[&url]), &["cannot connect", "refused"]);
}

#[test]
fn wrong_arguments_are_explained() {
    let url = "mms://127.0.0.1:1/live";
    for (arguments, words) in [
        (&["live"][..], "http://"),
        (&["https://127.0.0.1/live"], "https:// is not supported"),
        (&["nowhere.nsc"], "nowhere.nsc"),
        (&["http://127.0.0.1:99999/"], "port"),
        (&[url, "-n", "0"], "0"),
        (&[url, "--duration", "3 weeks"], "weeks"),
        (&[url, "--stalled", "120%"], "more than all"),
        (&[url, "--require", "delay_p99"], "delay_p99"),
        (&[url, "--require", "delai_p99<1s"], "delai_p99"),
        (&[url, "--require", "delay_p99<fast"], "fast"),
        (&[url, "--at-once", "--poisson", "10/s"], "--poisson"),
    ] {
        assert_cannot(&funnel_load(arguments), &[words]);
    }
}

#[test]
fn a_process_that_is_not_there_is_told_at_once() {
    let server = Server::start(Speech::Mms, probe(), one_lost);
    // Above the kernel's highest process id (2^22).
    let run = run(&server, &["--server-pid", "4194305"]);
    assert_cannot(&run, &["4194305"]);
}
