//! What strangers may send, and the answers they may get.

use crate::support::http::{NEW_PLAYER, OLD_PLAYER, get, play_request};

/// What a request may be answered with. `CLOSED`: the connection ends without a word.
pub type Allowed = &'static [u16];
pub const CLOSED: u16 = 0;

/// A request and its answers.
pub struct Hostile {
    pub name: String,
    pub bytes: Vec<u8>,
    pub allowed: Allowed,
}

/// All of them.
pub fn all() -> Vec<Hostile> {
    let kinds = [
        broken_heads(),
        broken_lines(),
        not_http(),
        strange_sessions(),
        strange_pushes(),
    ];
    kinds.into_iter().flatten().collect()
}

fn hostile(name: impl Into<String>, bytes: impl Into<Vec<u8>>, allowed: Allowed) -> Hostile {
    Hostile {
        name: name.into(),
        bytes: bytes.into(),
        allowed,
    }
}

/// Who sends it: a player of Windows Media, a plain one, a browser, an encoder.
const AGENTS: [&str; 5] = [
    OLD_PLAYER,
    NEW_PLAYER,
    "curl/7.88.1",
    "Mozilla/5.0",
    "WMEncoder/12.0.7600.16385",
];

/// Heads that break HTTP, whatever the method.
fn broken_heads() -> Vec<Hostile> {
    let many = |lines: usize| {
        (0..lines)
            .map(|n| format!("X-{n}: {n}\r\n"))
            .collect::<String>()
    };
    let mut all = Vec::new();
    for agent in AGENTS {
        for method in ["GET", "HEAD", "POST", "PUT"] {
            let head = |fields: &str| {
                format!("{method} /show HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\n{fields}\r\n")
            };
            let cases: [(&str, String, Allowed); 12] = [
                (
                    "a head of 100 KiB",
                    head(&format!("X: {}\r\n", "x".repeat(100_000))),
                    &[431, CLOSED],
                ),
                ("a thousand fields", head(&many(1_000)), &[431, CLOSED]),
                (
                    "two lengths",
                    head("Content-Length: 4\r\nContent-Length: 5\r\n"),
                    &[400],
                ),
                (
                    "a list of lengths",
                    head("Content-Length: 4, 5\r\n"),
                    &[400],
                ),
                ("a negative length", head("Content-Length: -1\r\n"), &[400]),
                (
                    "a length with a sign",
                    head("Content-Length: +4\r\n"),
                    &[400],
                ),
                (
                    "a length beyond all numbers",
                    head("Content-Length: 99999999999999999999999\r\n"),
                    &[400],
                ),
                (
                    "a length and chunks",
                    head("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
                    &[400],
                ),
                ("a folded line", head("X: one\r\n two\r\n"), &[400]),
                (
                    "a space before the colon",
                    head("Content-Length : 4\r\n"),
                    &[400],
                ),
                (
                    "a carriage return in a value",
                    head("X: one\rTransfer-Encoding: chunked\r\n"),
                    &[400],
                ),
                ("a NUL in a value", head("X: one\0two\r\n"), &[400]),
            ];
            for (what, bytes, allowed) in cases {
                all.push(hostile(
                    format!("{method} of {agent}: {what}"),
                    bytes,
                    allowed,
                ));
            }
        }
    }
    all
}

/// Request lines that name nothing, or are none. Encoders may not GET at all: 405.
fn broken_lines() -> Vec<Hostile> {
    let long = "x".repeat(60_000);
    let lines: [(&str, Allowed); 17] = [
        ("GET /../../../etc/passwd HTTP/1.1", &[400, 404, 405]),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", &[400, 404, 405]),
        ("GET /%00 HTTP/1.1", &[400, 404, 405]),
        ("GET /%zz HTTP/1.1", &[400, 404, 405]),
        ("GET /show%0d%0aSet-Cookie:x HTTP/1.1", &[400, 404, 405]),
        ("GET /nothing-here HTTP/1.1", &[404, 405]),
        ("GET /show HTTP/9.9", &[400, 505]),
        ("GET /show HTTP/2.0", &[400, 505]),
        ("GET /show", &[400, CLOSED]),
        ("GET  /show  HTTP/1.1", &[400]),
        ("GET /sh ow HTTP/1.1", &[400, 505]),
        // Understood all the same.
        ("GET show HTTP/1.1", &[200, 405]),
        ("GET http:// HTTP/1.1", &[400, 404, 405]),
        ("BREW /show HTTP/1.1", &[400, 405, 501]),
        ("DELETE /show HTTP/1.1", &[400, 405, 501]),
        ("CONNECT example.org:443 HTTP/1.1", &[400, 404, 405, 501]),
        ("PRI * HTTP/2.0", &[400, 405, 501, 505]),
    ];
    let mut all = Vec::new();
    for agent in AGENTS {
        for (line, allowed) in lines {
            let bytes = format!("{line}\r\nHost: h\r\nUser-Agent: {agent}\r\n\r\n");
            all.push(hostile(format!("{agent}: {line}"), bytes, allowed));
        }
        let bytes = get(&format!("/{long}"), agent);
        all.push(hostile(
            format!("{agent}: an endless path"),
            bytes,
            &[400, 404, 414, 431],
        ));
    }
    all
}

/// What is not HTTP at all.
fn not_http() -> Vec<Hostile> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 0x55);
    vec![
        hostile("TLS", hello, &[400, CLOSED]),
        hostile(
            "RTSP",
            "OPTIONS rtsp://h/show RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            &[400, 405, 505, CLOSED],
        ),
        hostile("SSH", "SSH-2.0-OpenSSH_9.2\r\n", &[400, CLOSED]),
        hostile("letters", "A".repeat(100_000), &[400, 414, 431, CLOSED]),
        hostile("zeros", vec![0; 4_096], &[400, CLOSED]),
        hostile("empty lines", "\r\n".repeat(50_000), &[400, 431, CLOSED]),
    ]
}

/// Requests of Windows Media about sessions that are not, and with bodies that are not.
fn strange_sessions() -> Vec<Hostile> {
    let mut all = Vec::new();
    let mut random = fastrand::Rng::with_seed(0x5eed_8080);
    for agent in [OLD_PLAYER, NEW_PLAYER] {
        for id in [
            "0",
            "1",
            "4294967295",
            "4294967296",
            "-1",
            "x",
            "",
            &random.u32(..).to_string(),
        ] {
            let post = |pragma: &str, more: &str| {
                format!(
                    "POST /show HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nPragma: client-id={id}\r\n\
                     Pragma: {pragma}\r\n{more}Content-Length: 0\r\n\r\n"
                )
            };
            let entry = "stream-switch-count=1\r\nPragma: stream-switch-entry=ffff:1:0";
            for (pragma, allowed) in [
                (entry, &[400, 404][..]),
                ("xStopStrm=1", &[400, 404]),
                ("xKeepAliveInPause=1", &[400, 404]),
                // Those who left post their logs late: they are thanked.
                ("log-line=0.0.0.0 2026-11-21", &[200, 204, 400]),
            ] {
                all.push(hostile(
                    format!("{agent}: {pragma} for '{id}'"),
                    post(pragma, ""),
                    allowed,
                ));
            }
        }
        let post = |kind: &str, length: &str| {
            format!(
                "POST /show HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nContent-Type: {kind}\r\n\
                 Content-Length: {length}\r\n\r\n"
            )
        };
        for kind in ["application/x-wms-LogStats", "application/x-wms-sendevent"] {
            let bytes = post(kind, "10000000") + &"<XML>".repeat(20_000);
            all.push(hostile(
                format!("{agent}: ten megabytes of {kind}"),
                bytes,
                &[413],
            ));
            let bytes = post(kind, "12") + "<!ENTITY a \"";
            all.push(hostile(
                format!("{agent}: half of {kind}"),
                bytes,
                &[200, 204, 400],
            ));
        }
        all.push(hostile(
            format!("{agent}: a strange type"),
            post("text/html", "1") + "x",
            &[400, 405, 415],
        ));
        let unknown = play_request("nothing-here", agent, "");
        all.push(hostile(
            format!("{agent}: Play of nothing"),
            unknown,
            &[404],
        ));
    }
    all
}

/// Pushes to a channel that takes them, and bodies that end up nowhere.
fn strange_pushes() -> Vec<Hostile> {
    let mut all = Vec::new();
    for method in ["POST", "PUT"] {
        let head = |channel: &str, fields: &str| {
            format!(
                "{method} /{channel} HTTP/1.1\r\nHost: h\r\nUser-Agent: Lavf/59.27.100\r\n{fields}\r\n"
            )
        };
        let chunked = "Transfer-Encoding: chunked\r\n";
        let bodies: [(&str, String, Allowed); 12] = [
            (
                "a size that is none",
                head("live", chunked) + "zz\r\nabc\r\n0\r\n\r\n",
                &[400],
            ),
            (
                "a size with a sign",
                head("live", chunked) + "+3\r\nabc\r\n0\r\n\r\n",
                &[400],
            ),
            (
                "a size beyond all numbers",
                head("live", chunked) + "fffffffffffffffff\r\nabc",
                &[400, 413],
            ),
            (
                "no end of line behind a chunk",
                head("live", chunked) + "3\r\nabcdef\r\n0\r\n\r\n",
                &[400, 415],
            ),
            (
                "an endless extension",
                head("live", chunked) + "3;" + &"x".repeat(100_000),
                &[400, 413, 431],
            ),
            (
                "an end of line that is half of one",
                head("live", chunked) + "3\nabc\n0\n\n",
                &[400],
            ),
            (
                "chunks of another coding",
                head("live", "Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n",
                &[400, 501],
            ),
            (
                "chunked last but one",
                head("live", "Transfer-Encoding: chunked, gzip\r\n") + "0\r\n\r\n",
                &[400, 501],
            ),
            (
                "no ASF at all",
                head("live", "Content-Length: 10000\r\n") + &"not ASF. ".repeat(2_000),
                &[400, 415],
            ),
            (
                "no body at all",
                head("live", "Content-Length: 0\r\n"),
                &[200, 204, 400, 411, 415],
            ),
            (
                "nothing to push to",
                head("nothing-here", "Content-Length: 3\r\n") + "abc",
                &[404],
            ),
            (
                "a channel with a file",
                head("show", "Content-Length: 3\r\n") + "abc",
                &[403, 404, 405, 409],
            ),
        ];
        for (what, bytes, allowed) in bodies {
            all.push(hostile(format!("{method}: {what}"), bytes, allowed));
        }
        let locked = head(
            "locked",
            "Content-Length: 3\r\nAuthorization: Basic !!!!\r\n",
        ) + "abc";
        all.push(hostile(
            format!("{method}: a broken login"),
            locked,
            &[400, 401],
        ));
        let locked = head(
            "locked",
            "Content-Length: 3\r\nAuthorization: Digest username=\"studio\", realm=\r\n",
        );
        all.push(hostile(
            format!("{method}: half a digest"),
            locked + "abc",
            &[400, 401],
        ));
    }
    let encoder = |kind: &str, cookie: &str, length: &str, body: &str| {
        format!(
            "POST /live HTTP/1.1\r\nHost: h\r\nUser-Agent: WMEncoder/12.0.7600.16385\r\n\
             Content-Type: application/x-wms-{kind}\r\nCookie: push-id={cookie}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    all.push(hostile(
        "a setup of an unknown id",
        encoder("pushsetup", "12345", "0", ""),
        &[400, 403, 404, 409],
    ));
    all.push(hostile(
        "a setup of 10 MB",
        encoder("pushsetup", "0", "10000000", "x"),
        &[400, 413],
    ));
    let garbage = encoder("pushstart", "0", "2147483647", &"garbage!".repeat(1_000));
    all.push(hostile("a start with garbage", garbage, &[400, 403, 404]));
    all
}
