//! More than three hundred requests that no sound client sends: each gets its status or is hung up on, a viewer beside them misses
//! nothing, and nothing is left behind.

mod catalogue;

use catalogue::CLOSED;

use crate::support::http::{self, NEW_PLAYER, OLD_PLAYER, Peer, Wmsp, get, play_request};
use crate::support::media;
use crate::support::server::{Server, Setup};
use crate::support::viewer::Viewer;
use crate::support::{all_at_once, job, wait_until};
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The status of the answer; [`CLOSED`] for none. At most 5 s.
fn status_of(address: SocketAddr, bytes: &[u8]) -> std::io::Result<u16> {
    let mut peer = Peer::connect(address);
    peer.stream()
        .set_read_timeout(Some(Duration::from_secs(5)))?;
    // The server may answer and hang up before it has heard all of it.
    let _ = peer.try_send(bytes);
    match peer.try_head() {
        Ok(head) => Ok(head.map_or(CLOSED, |head| head.status)),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(CLOSED),
        Err(error) => Err(error),
    }
}

fn serve() -> Server {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    setup.source("live", "kind = \"push\"", "");
    let hash = "digest:939e7578ed9e3c518a452acee763bce9";
    setup.source(
        "locked",
        &format!("kind = \"push\", user = \"studio\", password_hash = \"{hash}\""),
        "",
    );
    setup.table("[limits]\nhandshake_seconds = 3\nidle_seconds = 10\n");
    setup.start()
}

/// Watches until told to stop: packets seen, and how often some were missing.
fn keep_watching(
    mut viewer: Wmsp,
    finished: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<(u32, u32)> {
    let finished = Arc::clone(finished);
    std::thread::spawn(move || {
        let mut packets = 0;
        while !finished.load(Ordering::Acquire) {
            viewer.packet().expect("media goes on for the good viewer");
            packets += 1;
        }
        (packets, viewer.gaps)
    })
}

#[test]
fn each_gets_its_status_and_nobody_else_is_disturbed() {
    let requests = catalogue::all();
    assert!(requests.len() > 300, "{} requests", requests.len());
    let server = serve();
    let address = server.http_address();
    // Warm up: what the first sessions allocate is kept for the next ones.
    for request in requests.iter().step_by(10) {
        let _ = status_of(address, &request.bytes);
    }
    let mut mms = Viewer::play(server.port(), "show");
    let good = Wmsp::play(address, "show");
    wait_until(
        "the warm-up's descriptors are closed",
        Duration::from_secs(15),
        || {
            let before = server.descriptors();
            std::thread::sleep(Duration::from_millis(500));
            server.descriptors() == before
        },
    );
    let (descriptors, resident) = (server.descriptors(), server.resident_bytes());
    let finished = Arc::new(AtomicBool::new(false));
    let watching = keep_watching(good, &finished);

    let requests = Arc::new(requests);
    let wrong = Arc::new(std::sync::Mutex::new(Vec::new()));
    let lanes = 8;
    let jobs = (0..lanes).map(|lane| {
        let (requests, wrong) = (Arc::clone(&requests), Arc::clone(&wrong));
        job(format!("lane {lane}"), move || {
            for request in requests.iter().skip(lane).step_by(lanes) {
                let status = status_of(address, &request.bytes);
                if !status
                    .as_ref()
                    .is_ok_and(|status| request.allowed.contains(status))
                {
                    let line = format!("{}: {status:?}, not {:?}", request.name, request.allowed);
                    wrong.lock().expect("no panic").push(line);
                }
            }
        })
    });
    all_at_once(jobs.collect());
    let wrong = wrong.lock().expect("no panic");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        requests.len(),
        wrong.join("\n")
    );

    for _ in 0..10 {
        assert!(mms.packet().is_some(), "media over MMS goes on");
        assert!(
            Wmsp::play(address, "show").packet().is_some(),
            "media for a new viewer"
        );
    }
    wait_until(
        "all descriptors are given back",
        Duration::from_secs(20),
        || server.descriptors() <= descriptors,
    );
    finished.store(true, Ordering::Release);
    let (packets, gaps) = watching.join().expect("the good viewer");
    assert!(packets > 10, "{packets} packets for the good viewer");
    assert_eq!(
        (gaps, mms.gaps),
        (0, 0),
        "the good viewers missed something"
    );
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    server.stop();
}

/// Heads and bodies that never end: a byte now and then does not keep a connection.
#[test]
fn slow_bytes_are_given_up_on() {
    let server = serve();
    let address = server.http_address();
    let body = "POST /show HTTP/1.1\r\nHost: h\r\nUser-Agent: NSPlayer/12.0\r\nContent-Type: application/x-wms-LogStats\r\n\
                Content-Length: 1000\r\n\r\n";
    let cases = [("", "head"), (body, "body")];
    let jobs = cases.map(|(quick, what)| {
        job(what, move || {
            let mut peer = Peer::connect(address);
            peer.stream().set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
            peer.send(quick.as_bytes());
            let began = Instant::now();
            let slow = get("/show", OLD_PLAYER).repeat(10);
            let mut answer = None;
            for byte in slow.as_bytes() {
                let sent = peer.try_send(&[*byte]);
                let heard = peer.try_head();
                if sent.is_err() || !matches!(&heard, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
                    answer = Some(heard.ok().flatten().map_or(CLOSED, |head| head.status));
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "{what}: never given up on");
            }
            assert!(matches!(answer, Some(408 | CLOSED)), "{what}: {answer:?}");
            let took = began.elapsed();
            assert!((Duration::from_secs(2)..Duration::from_secs(13)).contains(&took), "{what}: after {took:?}");
        })
    });
    all_at_once(jobs.into());
    server.stop();
}

/// The id of somebody who watches is worth nothing to anybody else; of somebody who left, to nobody but the one who knows it.
#[test]
fn nobody_takes_over_the_session_of_another() {
    let server = serve();
    let address = server.http_address();
    let mut victim = Wmsp::play_with(address, &play_request("show", NEW_PLAYER, ""));
    let id = victim.client_id.clone();
    victim.packet().expect("media");
    for agent in [OLD_PLAYER, NEW_PLAYER] {
        let request = play_request("show", agent, &format!("Pragma: client-id={id}\r\n"));
        let mut thief = Peer::connect(address);
        thief.send(request.as_bytes());
        let head = thief.head();
        assert!((400..500).contains(&head.status), "{agent}: {head:?}");
    }
    for _ in 0..20 {
        victim.packet().expect("the victim plays on");
    }
    assert_eq!(victim.gaps, 0);
    // Ids do not tell the next one: no two are near each other.
    let mut ids = HashMap::new();
    for _ in 0..50 {
        let (head, _) = http::ask(address, &get("/show", OLD_PLAYER));
        let id: u32 = head
            .pragma("client-id")
            .expect("an id")
            .parse()
            .expect("a number");
        assert_eq!(ids.insert(id >> 12, ()), None, "{id} is near another one");
    }
    server.stop();
}

/// What follows a request in one go is a request of its own or is not heard, never part of a body that was not one.
#[test]
fn nothing_is_smuggled_behind_a_request() {
    let server = serve();
    let address = server.http_address();
    let second = "GET /nothing-here HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/7\r\n\r\n";
    for first in [
        "POST /show HTTP/1.1\r\nHost: h\r\nUser-Agent: NSPlayer/12.0\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /show HTTP/1.1\r\nHost: h\r\nUser-Agent: NSPlayer/12.0\r\nTransfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: h\r\nUser-Agent: Lavf/59\r\nContent-Length: 3\r\nContent-Length: 3, 90\r\n\r\nabc",
        "POST /live HTTP/1.1\r\nHost: h\r\nUser-Agent: Lavf/59\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET /show HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/7\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
    ] {
        for says_more in [true, false] {
            let mut peer = Peer::connect(address);
            peer.send([first, second].concat().as_bytes());
            if !says_more {
                let said_all = peer.stream().shutdown(Shutdown::Write);
                said_all.expect("still connected");
            }
            let head = peer.head();
            assert!((400..600).contains(&head.status), "{first}: {head:?}");
            assert_ne!(head.status, 404, "{first}");
            // After a framing error nothing behind it is believed.
            let mut rest = Vec::new();
            let ended = peer.rest(&mut rest);
            let text = String::from_utf8_lossy(&rest);
            let second = "a second answer";
            assert!(
                !text.contains("HTTP/1."),
                "{first}: {ended:?}, {second}:\n{text}"
            );
        }
    }
    server.stop();
}
