//! Who asks decides what comes: plain ASF for everybody, framed packets for players of Windows Media, nothing of ours for
//! encoders and browsers.

mod common;
mod web;

use std::sync::Arc;

use funnel_session::server::{Desk, Event, Input, Settings};
use web::Web;

#[test]
fn anybody_gets_plain_asf_until_the_end() {
    let mut web = Web::new();
    let said = web.ask(&[
        "GET /live HTTP/1.1",
        "User-Agent: curl/8.5",
        "Host: radio:8080",
        "Range: bytes=0-",
        "Icy-MetaData: 1",
    ]);
    assert_eq!(
        said,
        [
            "! open live at radio:8080",
            "< HTTP/1.1 200 OK",
            concat!("< Server: funnel/", env!("CARGO_PKG_VERSION")),
            "< Cache-Control: no-cache",
            "< Content-Type: video/x-ms-asf",
            "< Connection: close",
            "<| header",
            "! play plain [1 2] padded",
        ]
    );
    assert_eq!(web.media(2), ["<| packet"; 2]);
    assert_eq!(
        web.send("GET /other HTTP/1.1\r\n\r\n"),
        [""; 0],
        "it is told no more"
    );
    let said = web.input(Input::MediaDrained);
    assert_eq!(said, ["! stop", "! close 0x00000000 S_OK"]);
}

#[test]
fn a_head_is_answered_without_a_body() {
    for (head, has_length) in [
        (&["HEAD /live HTTP/1.0", "User-Agent: Wget"][..], None),
        (
            &["HEAD /live HTTP/1.0", "User-Agent: NSPlayer/9.0"],
            Some(()),
        ),
        (
            &[
                "HEAD /live HTTP/1.0",
                "User-Agent: NSPlayer/9.0",
                "Pragma: xPlayStrm=1",
            ],
            Some(()),
        ),
    ] {
        let mut web = Web::new();
        let mut said = web.ask(head);
        assert_eq!(said.remove(1), "< HTTP/1.0 200 OK");
        assert_eq!(said.pop().unwrap(), "! close 0x00000000 S_OK");
        let stated = said
            .iter()
            .find_map(|line| line.strip_prefix("< Content-Length: "));
        assert_eq!(stated.is_some(), has_length.is_some());
        assert!(said.iter().all(|line| !line.starts_with("<|")), "{said:?}");
    }
}

#[test]
fn who_is_no_viewer_is_handed_over_with_every_byte() {
    let html = "Accept: text/html,*/*";
    for (lines, body, desk) in [
        (
            &["POST /live HTTP/1.1", "Transfer-Encoding: chunked"][..],
            "4\r\n",
            Desk::Ingest,
        ),
        (
            &["PUT /live HTTP/1.1", "Content-Length: 9999999999"],
            "",
            Desk::Ingest,
        ),
        (
            &[
                "POST /live HTTP/1.0",
                "Content-Type: application/x-wms-pushsetup",
                "User-Agent: WMEncoder/9.0",
            ],
            "",
            Desk::Ingest,
        ),
        (
            &[
                "POST /live HTTP/1.0",
                "Content-Type: video/x-ms-asf",
                "Content-Length: 5",
            ],
            "0&\u{b2}u",
            Desk::Ingest,
        ),
        (
            &["GET /live HTTP/1.1", "User-Agent: Mozilla/5.0", html],
            "",
            Desk::Pages,
        ),
        (&["GET / HTTP/1.1", "User-Agent: curl/8.5"], "", Desk::Pages),
        (
            &["GET /live.asx HTTP/1.1", "User-Agent: NSPlayer/12.0"],
            "",
            Desk::Pages,
        ),
        (&["HEAD /live.M3U?x HTTP/1.1"], "", Desk::Pages),
    ] {
        let text = [&lines.join("\r\n"), "\r\n\r\n", body].concat();
        let mut web = Web::new();
        web.send(&text[..20]);
        web.send(&text[20..]);
        let Some(Event::HandOver(hand_over)) = web.events.pop() else {
            panic!("{text}");
        };
        assert_eq!(
            (hand_over.to, hand_over.received),
            (desk, text.into_bytes())
        );
        assert_eq!(web.send("more"), [""; 0]);
        assert_eq!(web.wake_at, None);
    }
}

#[test]
fn a_browser_without_a_wish_for_pages_and_who_insists_get_asf() {
    let browser = "User-Agent: Mozilla/5.0";
    for lines in [
        &["GET /live HTTP/1.1", browser, "Accept: */*"],
        &["GET /live.asf HTTP/1.1", browser, "Accept: text/html"],
        &["GET /live?raw HTTP/1.1", browser, "Accept: text/html"],
    ] {
        let mut web = Web::new();
        assert!(
            web.ask(lines).contains(&"<| header".to_owned()),
            "{lines:?}"
        );
    }
}

#[test]
fn a_player_is_told_the_header_and_comes_again_to_play() {
    let settings = Arc::new(Settings::default());
    let agent = "User-Agent: NSPlayer/4.1.0.3856";
    let mut first = Web::to(&settings, 1);
    let said = first.ask(&[
        "GET /live HTTP/1.0",
        agent,
        "Pragma: no-cache,rate=1.000000",
    ]);
    let id = said[3]
        .strip_prefix("< Pragma: no-cache, client-id=")
        .unwrap();
    let id = id.split(',').next().unwrap();
    assert_eq!(
        said,
        [
            "! open live at -",
            "< HTTP/1.0 200 OK",
            "< Server: Rex/9.0.0.2980",
            &format!("< Pragma: no-cache, client-id={id}, timeout=60000, features=\"broadcast\""),
            "< Cache-Control: no-cache",
            "< Content-Type: application/vnd.ms.wms-hdr.asfv1",
            &format!("< Content-Length: {}", common::header().len() + 12),
            "< Connection: close",
            "<| $H 0 0C header",
            "<.",
            "! close 0x00000000 S_OK",
        ]
    );
    let mut second = Web::to(&settings, 2);
    let said = second.ask(&[
        "GET /live HTTP/1.0",
        agent,
        &format!("Pragma: xPlayStrm=1,client-id={id}"),
        "Pragma: stream-switch-count=2",
        "Pragma: stream-switch-entry=ffff:1:0 ffff:2:2 ",
    ]);
    assert_eq!(
        said,
        [
            "! open live at -",
            "< HTTP/1.0 200 OK",
            "< Server: Rex/9.0.0.2980",
            &format!("< Pragma: no-cache, client-id={id}, timeout=60000, features=\"broadcast\""),
            "< Cache-Control: no-cache",
            "< Content-Type: application/x-mms-framed",
            "< Connection: close",
            "<| $H 0 0C header",
            "! play framed [1]",
        ]
    );
    assert_eq!(second.media(2), ["<| $D 5300 00", "<| $D 5301 01"]);
    let said = second.input(Input::MediaDrained);
    assert_eq!(said, ["! stop", "<| $E 0", "! close 0x00000000 S_OK"]);
}
