//! What is no media: pages for browsers, text for programs, the announcement of a group, while a player watches.

use std::time::Duration;

use crate::support::http::{self, Head, Peer};
use crate::support::media;
use crate::support::server::{Server, Setup};
use crate::support::wait_until;
use funnel_wire::nsc::Announcement;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// A page as a browser asks for it.
fn browse(server: &Server, path: &str) -> (Head, String) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: radio.example:81\r\nUser-Agent: {BROWSER}\r\n\
         Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nConnection: keep-alive\r\n\r\n"
    );
    let (head, page) = http::ask(server.http_address(), &request);
    (head, String::from_utf8(page).expect("text"))
}

#[test]
fn of_channels_as_they_are_at_that_moment() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    setup.channel(
        "evil",
        "source = { kind = \"demo\" }\nstart = \"first-viewer\"\ntitle = \"</title><script>alert(1)</script>\"",
    );
    let server = setup.start();
    let mut viewer = Peer::connect(server.http_address());
    viewer.send(http::get("/show", "curl/8").as_bytes());
    let mut media = vec![0; 100_000];
    assert_eq!(viewer.head().status, 200);
    assert!(viewer.fill(&mut media));

    wait_until("the viewer counts", Duration::from_secs(10), || {
        browse(&server, "/show").1.contains("<span>1 viewer</span>")
    });
    let (head, page) = browse(&server, "/SHOW?x");
    assert_eq!(head.status, 200);
    assert_eq!(head.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(head.field("Connection"), Some("close"));
    for expected in [
        "on air",
        "http://radio.example:81/show",
        "av-300k",
        "320x240",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    let (_, all) = browse(&server, "/");
    assert!(all.contains("1 of 2 on air"), "{all}");
    assert!(all.contains("&lt;script&gt;alert(1)"), "{all}");
    assert!(!all.contains("<script"), "{all}");
    let (head, slip) = browse(&server, "/shwo");
    assert_eq!(head.status, 404);
    assert!(slip.contains("href=\"/show\""), "{slip}");
    let (head, text) = http::ask(server.http_address(), &http::get("/", "curl/8"));
    assert_eq!(
        head.field("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("/show  on air, "), "{text}");

    assert!(viewer.fill(&mut media), "the viewer watched on");
    server.stop();
}

#[test]
fn a_group_is_announced_without_a_folder() {
    let mut setup = Setup::new();
    setup.channel(
        "live",
        "source = { kind = \"demo\" }\n\
         multicast = { address = \"239.192.77.32:30879\", interface = \"127.0.0.1\", ttl = 0 }",
    );
    setup.channel("plain", "source = { kind = \"demo\" }");
    let server = setup.start();
    let ask = |name: &str| http::ask(server.http_address(), &http::get(name, "NSPlayer/9.0"));
    wait_until("the header is known", Duration::from_secs(10), || {
        ask("/live.nsc").0.status == 200
    });
    let (head, announcement) = ask("/live.nsc");
    assert_eq!(
        head.field("Content-Type"),
        Some("application/x-netshow-channel")
    );
    let announcement = Announcement::parse(&announcement).expect("a good announcement");
    assert_eq!(announcement.group().to_string(), "239.192.77.32");
    assert_eq!(ask("/plain.nsc").0.status, 404);
    server.stop();
}
