//! Requests that no honest client makes: each gets the right status or an end, costs a bounded amount, and leaves others alone.

mod common;
mod web;

use std::sync::Arc;
use std::time::Duration;

use common::Random;
use funnel_session::HResult;
use funnel_session::server::{Event, Input, Settings};
use web::Web;

const LOG: &str = "POST /live HTTP/1.1\r\nUser-Agent: NSPlayer/9.0\r\nContent-Type: application/x-wms-LogStats\r\n";

/// A request with these lines behind its first one.
fn get(fields: &str) -> String {
    format!("GET /live HTTP/1.1\r\nUser-Agent: NSPlayer/9.0\r\n{fields}\r\n")
}

#[test]
fn each_shape_gets_its_status() {
    let many = "X: y\r\n".repeat(70);
    let long_field = format!("X: {}\r\n", "y".repeat(17_000));
    let long_line = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(17_000));
    let long_path = format!(
        "GET /{} HTTP/1.1\r\nUser-Agent: curl\r\n\r\n",
        "x".repeat(3000)
    );
    let shapes: &[(&str, String, &str)] = &[
        ("too many fields", get(&many), "431"),
        ("a field without end", get(&long_field), "431"),
        ("a first line without end", long_line, "431"),
        ("no end at all", "GET /live HTTP/1.1\r\n".into(), "408"),
        ("a path longer than any", long_path, "414"),
        ("NUL in a value", get("X: a\0b\r\n"), "400"),
        ("a lone CR", get("X: a\rb\r\n"), "400"),
        ("a folded field", get("X: a\r\n b\r\n"), "400"),
        ("a blank before the colon", get("X : a\r\n"), "400"),
        ("a field without a colon", get("Xa\r\n"), "400"),
        ("a field without a name", get(": a\r\n"), "400"),
        (
            "a blank in the path",
            "GET /a b HTTP/1.1\r\n\r\n".into(),
            "505",
        ),
        ("no version", "GET /live\r\n\r\n".into(), "400"),
        (
            "a version to come",
            "GET /live HTTP/2.0\r\n\r\n".into(),
            "505",
        ),
        (
            "the beginning of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            "505",
        ),
        (
            "another protocol",
            "OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n".into(),
            "505",
        ),
        (
            "a method in small letters",
            "get /live HTTP/1.1\r\n\r\n".into(),
            "405",
        ),
        (
            "a method unheard of",
            "BREW /live HTTP/1.1\r\n\r\n".into(),
            "405",
        ),
        ("TRACE", "TRACE /live HTTP/1.1\r\n\r\n".into(), "405"),
        (
            "a tunnel",
            "CONNECT h:25 HTTP/1.1\r\nHost: h:25\r\n\r\n".into(),
            "405",
        ),
        ("a body behind GET", get("Content-Length: 5\r\n"), "400"),
        (
            "chunks behind GET",
            get("Transfer-Encoding: chunked\r\n"),
            "411",
        ),
        (
            "chunks and a length",
            format!("{LOG}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "400",
        ),
        (
            "a length and chunks",
            format!("{LOG}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
            "400",
        ),
        (
            "two lengths",
            format!("{LOG}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            "400",
        ),
        (
            "the same length twice",
            format!("{LOG}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
            "400",
        ),
        (
            "a list of lengths",
            format!("{LOG}Content-Length: 5, 5\r\n\r\n"),
            "400",
        ),
        (
            "a length with a sign",
            format!("{LOG}Content-Length: +5\r\n\r\n"),
            "400",
        ),
        (
            "a negative length",
            format!("{LOG}Content-Length: -1\r\n\r\n"),
            "400",
        ),
        (
            "a hexadecimal length",
            format!("{LOG}Content-Length: 0x10\r\n\r\n"),
            "400",
        ),
        (
            "a length of nothing",
            format!("{LOG}Content-Length:\r\n\r\n"),
            "400",
        ),
        (
            "a length beyond 64 bits",
            format!("{LOG}Content-Length: 99999999999999999999\r\n\r\n"),
            "400",
        ),
        (
            "a report that is too long",
            format!("{LOG}Content-Length: 65537\r\n\r\n"),
            "413",
        ),
        (
            "a report in chunks",
            format!("{LOG}Transfer-Encoding: chunked\r\n\r\n"),
            "411",
        ),
        (
            "another coding",
            format!("{LOG}Transfer-Encoding: gzip\r\n\r\n"),
            "501",
        ),
        (
            "chunks twice",
            format!("{LOG}Transfer-Encoding: chunked, chunked\r\n\r\n"),
            "501",
        ),
        (
            "chunks on two lines",
            format!("{LOG}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"),
            "501",
        ),
        (
            "chunks hidden by a tab",
            format!("{LOG}Transfer-Encoding: \tchunked\x0b\r\n\r\n"),
            "400",
        ),
        (
            "chunks in HTTP/1.0",
            LOG.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n",
            "501",
        ),
        (
            "no id",
            get("Pragma: stream-switch-entry=ffff:1:0\r\n"),
            "400",
        ),
        (
            "an id beyond 32 bits",
            get("Pragma: stream-switch-entry=ffff:1:0, client-id=4294967296\r\n"),
            "400",
        ),
        (
            "an id that is text",
            get("Pragma: stream-switch-entry=ffff:1:0, client-id=x\r\n"),
            "400",
        ),
        (
            "somebody's next entry",
            get("Pragma: xPlayNextEntry=1, client-id=7\r\n"),
            "400",
        ),
    ];
    let mut differ = Vec::new();
    for (name, request, status) in shapes {
        let mut web = Web::new();
        web.channel = Some(Err(HResult::NS_E_FILE_NOT_FOUND));
        let mut said = Vec::new();
        for piece in request.as_bytes().chunks(1000) {
            said.extend(web.input(Input::Received(piece)));
        }
        said.extend(web.wait(Duration::from_secs(100)));
        let first = said.iter().find_map(|line| line.strip_prefix("< HTTP/1."));
        let seen = first.map(|line| &line[2..5]).unwrap_or_default();
        if seen != *status {
            differ.push(format!("{name}: {seen}, not {status}"));
        }
        assert!(
            said.last().unwrap().starts_with("! close"),
            "{name}: {said:#?}"
        );
        let heads = said.iter().filter(|line| line.starts_with("< HTTP/"));
        assert_eq!(heads.count(), 1, "{name}: {said:#?}");
        assert_eq!(web.send("GET / HTTP/1.1\r\n\r\n"), [""; 0], "{name}");
    }
    assert_eq!(differ, [""; 0]);
}

#[test]
fn a_head_byte_by_byte_has_its_time_and_no_more() {
    let mut web = Web::new();
    for byte in b"GET /live HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" {
        if web.session.state_name() == "closed" {
            return;
        }
        web.input(Input::Received(&[*byte]));
        web.wait(Duration::from_secs(1));
    }
    panic!("it is still listened to");
}

#[test]
fn a_head_that_begins_behind_a_whole_request_has_no_more_time() {
    let mut web = Web::new();
    web.send("OPTIONS * HTTP/1.1\r\nUser-Agent: NSPlayer/9.0\r\n\r\nGET /live HTTP/1.1\r\n");
    assert_eq!(web.session.state_name(), "reading a request");
    let said = web.wait(Settings::default().handshake);
    assert!(said[0].contains("HTTP/1.1 408 "), "{said:?}");
    assert_eq!(web.session.state_name(), "closed");
}

#[test]
fn floods_end_the_connection() {
    let one = "OPTIONS * HTTP/1.1\r\nUser-Agent: NSPlayer/9.0\r\n\r\n";
    let mut web = Web::new();
    assert!(
        web.try_input(Input::Received(one.repeat(10).as_bytes()))
            .is_ok()
    );
    assert!(
        web.try_input(Input::Received(one.repeat(1000).as_bytes()))
            .is_err()
    );
    // So do requests that need a channel, of which each is served inside of the one before it.
    let one_more =
        "GET /live HTTP/1.1\r\nUser-Agent: NSPlayer/9.0\r\nConnection: Keep-Alive\r\n\r\n";
    let mut web = Web::new();
    assert!(
        web.try_input(Input::Received(one_more.repeat(10).as_bytes()))
            .is_ok()
    );
    assert_eq!(web.events.len(), 10);
    assert!(
        web.try_input(Input::Received(one_more.repeat(1000).as_bytes()))
            .is_err()
    );
    assert!(web.events.len() < 40);
    // While a channel is looked up, requests wait, but not any number.
    let mut web = Web::new();
    web.channel = None;
    web.send("GET /live HTTP/1.1\r\nUser-Agent: NSPlayer/9.0\r\n\r\n");
    let mut sent = 0;
    while web.try_input(Input::Received(one.as_bytes())).is_ok() {
        sent += one.len();
        assert!(sent < 200_000);
    }
    // While media flows, answers wait for its end, but not any number.
    let mut web = Web::new();
    web.ask(&[
        "GET /live HTTP/1.1",
        "User-Agent: NSPlayer/9.0",
        "Pragma: xPlayStrm=1, version11-enabled=1",
    ]);
    for _ in 0..10_000 {
        assert_eq!(web.send(one), [""; 0]);
    }
    let said = web.input(Input::MediaDrained);
    let answers = said
        .iter()
        .filter(|line| line.starts_with("< HTTP/"))
        .count();
    assert!((20..200).contains(&answers), "{answers}");
    assert_eq!(said.last().unwrap(), "! close 0x00000000 S_OK");
}

#[test]
fn who_guesses_ids_disturbs_nobody() {
    let settings = Arc::new(Settings::default());
    let mut viewer = Web::to(&settings, 1);
    let said = viewer.ask(&[
        "GET /live HTTP/1.0",
        "User-Agent: NSPlayer/9.0",
        "Pragma: xPlayStrm=1",
    ]);
    let pragma = said
        .iter()
        .find(|line| line.contains("client-id="))
        .unwrap();
    let id: u32 = pragma
        .split(['=', ','])
        .find_map(|word| word.parse().ok())
        .unwrap();
    for guess in 0..2000u32 {
        let mut attacker = Web::to(&settings, 2 + u64::from(guess));
        let named = id.wrapping_add(1 + guess);
        attacker.ask(&[
            "POST /live HTTP/1.0",
            "User-Agent: NSPlayer/9.0",
            &format!("Pragma: client-id={named}, xStopStrm=1"),
        ]);
        assert!(
            !attacker
                .events
                .iter()
                .any(|event| matches!(event, Event::Order { .. }))
        );
    }
    let mut attacker = Web::to(&settings, 9999);
    let request = format!("Pragma: client-id={id}, stream-switch-entry=ffff:1:2");
    attacker.ask(&["POST /live HTTP/1.0", "User-Agent: NSPlayer/9.0", &request]);
    let orders = |web: &Web| {
        let order = |event: &&Event| matches!(event, Event::Order { .. });
        web.events.iter().filter(order).count()
    };
    assert_eq!(
        orders(&attacker),
        0,
        "after so many guesses even the right one is not heard"
    );
    let mut owner = Web::at(&settings, 10_000, attacker.now + Duration::from_secs(20));
    owner.ask(&["POST /live HTTP/1.0", "User-Agent: NSPlayer/9.0", &request]);
    assert_eq!(orders(&owner), 1);
    assert_eq!(viewer.media(1), ["<| $D 5300 00"]);
}

#[test]
fn a_thousand_damaged_dialogues() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/dialogues/http");
    let mut requests = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut request = String::new();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            match line.strip_prefix("> ").or(line.strip_prefix(">")) {
                Some(line) => request += &format!("{line}\r\n"),
                None if !request.is_empty() => requests.push(std::mem::take(&mut request)),
                None => {}
            }
        }
    }
    assert!(requests.len() > 40);
    let settings = Arc::new(Settings::default());
    let mut viewer = Web::to(&settings, 1);
    viewer.ask(&[
        "GET /live HTTP/1.0",
        "User-Agent: NSPlayer/9.0",
        "Pragma: xPlayStrm=1",
    ]);
    let (mut served, mut refused, mut ended) = (0, 0, 0);
    for seed in 0..1000u64 {
        let mut random = Random(seed);
        let mut web = Web::to(&settings, 2 + seed);
        let mut bytes = Vec::new();
        for _ in 0..1 + random.below(3) {
            bytes.extend_from_slice(requests[random.below(requests.len())].as_bytes());
        }
        for _ in 0..random.below(4) {
            damage(&mut bytes, &mut random);
        }
        let mut said = Vec::new();
        let pieces = 1 + random.below(bytes.len());
        let failed = bytes.chunks(pieces).any(|piece| {
            match web.try_input(Input::Received(piece)) {
                Ok(more) => said.extend(more),
                Err(_) => return true,
            }
            false
        });
        if failed {
            ended += 1;
            continue;
        }
        if web.play.is_some() {
            web.media(2);
            said.extend(web.input(Input::HeaderChanged(common::other_channel())));
            said.extend(web.wait(Duration::from_secs(40)));
            said.extend(web.input(Input::Kick(HResult::NS_E_SHUTDOWN)));
        }
        said.extend(web.wait(Duration::from_secs(600))); // nobody comes back: the timers must end it
        assert!(said.len() < 500, "seed {seed}");
        assert_eq!(web.session.state_name(), "closed", "seed {seed}");
        let is_refusal =
            |line: &String| line.starts_with("< HTTP/1.1 4") || line.starts_with("< HTTP/1.0 4");
        match said.iter().any(is_refusal) {
            true => refused += 1,
            false => served += 1,
        }
    }
    assert!(
        served > 200 && refused > 100,
        "{served} {refused} {ended}: the damage reaches everything"
    );
    assert_eq!(viewer.media(1), ["<| $D 5300 00"]);
    assert!(viewer.input(Input::Timeout).is_empty());
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes.truncate(at.max(1)),
        2 => {
            bytes.remove(at);
        }
        3 => bytes.insert(at, b"\r\n\0: ,=\xFF\x24"[random.below(9)]),
        _ => {
            let end = (at + random.below(200)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
    }
    if bytes.is_empty() || !bytes[0].is_ascii_alphabetic() {
        bytes.insert(0, b'G');
    }
}
