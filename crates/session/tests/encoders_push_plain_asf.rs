//! POST and PUT of ASF as ffmpeg, OBS and GStreamer send it (`docs/protocol/wmsp.md` §22), raw ASF, logins, and what is no push at all; in
//! virtual time.

mod push_desk;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use funnel_session::push::{
    Access, ConnectionId, DigestWords, Input, REALM, Secret, Way, digest_response, ha1,
};
use push_desk::*;

/// The request of ffmpeg 5.1, §22.1.
fn ffmpeg(fields: &str) -> String {
    format!(
        "POST /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\n{fields}\
         Connection: close\r\nHost: 127.0.0.1:8080\r\nIcy-MetaData: 1\r\n\r\n"
    )
}

/// A request of souphttpclientsink 1.22; `from` as in its Content-Range.
fn gstreamer(from: Option<usize>, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let range = from.map(|from| format!("Content-Range: bytes {from}-{}/*\r\n", from + length - 1));
    let head = format!(
        "PUT /live HTTP/1.1\r\nContent-Length: {length}\r\n{}Accept-Encoding: gzip, deflate\r\n\
         User-Agent: GStreamer souphttpclientsink libsoup/3.2.3\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:8999\r\n\r\n",
        range.unwrap_or_default()
    );
    [head.as_bytes(), body].concat()
}

fn chunk(content: &[u8]) -> Vec<u8> {
    [
        format!("{:x}\r\n", content.len()).as_bytes(),
        content,
        b"\r\n",
    ]
    .concat()
}

/// A chunk of `asf_stream`, §22.3.
fn framed(kind: u8, location: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 8).unwrap().to_le_bytes();
    [
        &[b'$', kind],
        &length[..],
        &[location, 0, 0, 0, 0, flags],
        &length[..],
        body,
    ]
    .concat()
}

#[test]
fn ffmpegs_request_is_broadcast_while_it_lasts() {
    let (header, packets) = asf();
    let mut desk = Desk::new();
    let id = desk.connect(1);
    assert_eq!(desk.say(id, ffmpeg("")), "");
    // It connects long before its inputs are open.
    assert_eq!(desk.wait(second(59)), "");
    assert_eq!(desk.say(id, chunk(&header)), "began media");
    assert_eq!(desk.say(id, chunk(&packets[0])), "media");
    assert_eq!(desk.say(id, chunk(&packets[1])), "media");
    assert_eq!(desk.items(), "hdd");
    assert_eq!(desk.say(id, "0\r\n\r\n"), "away 0:200 0:close");
    assert_eq!(desk.field("Server"), "funnel/test");
    assert_eq!(desk.field("Connection"), "close");
}

#[test]
fn asf_stream_is_told_by_its_chunks() {
    let (header, packets) = asf();
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, ffmpeg(""));
    assert_eq!(
        desk.say(id, chunk(&framed(b'H', 0, 12, &header))),
        "began media"
    );
    desk.say(id, chunk(&framed(b'D', 1, 0, &packets[0])));
    desk.say(id, chunk(&framed(b'E', 2, 0, &[])));
    assert_eq!(desk.items(), "hde");
    // PeerCast and its like write packets of a push without saying so.
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, ffmpeg(""));
    let push = [packet(b'H', &header), packet(b'D', &packets[0])].concat();
    assert_eq!(desk.say(id, chunk(&push)), "began media");
    assert_eq!(desk.items(), "hd");
}

#[test]
fn any_cut_of_the_bytes_is_the_same_push() {
    let (header, packets) = asf();
    let all = [
        ffmpeg("").into_bytes(),
        chunk(&header),
        chunk(&packets[0]),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    for step in [1, 2, 7, 100, 1000] {
        let mut desk = Desk::new();
        let id = desk.connect(1);
        let words: Vec<_> = all.chunks(step).map(|piece| desk.say(id, piece)).collect();
        let words: Vec<_> = words.iter().flat_map(|words| words.split(' ')).collect();
        let rare: Vec<_> = words
            .into_iter()
            .filter(|word| !["", "media"].contains(word))
            .collect();
        assert_eq!(rare, ["began", "away", "0:200", "0:close"], "{step}");
        assert_eq!(desk.items(), "hd");
    }
}

#[test]
fn a_body_may_have_a_length_or_end_with_the_connection() {
    let (header, packets) = asf();
    let body = [&header[..], &packets[0]].concat();
    let mut desk = Desk::new();
    let id = desk.connect(1);
    let sized = format!(
        "PUT /live HTTP/1.1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    desk.say(id, sized);
    assert_eq!(desk.say(id, &body), "began media 0:200");
    assert_eq!(desk.field("Connection"), "Keep-Alive");
    assert_eq!(desk.wait(second(5)), "away", "nothing went on with it");
    let id = desk.connect(1);
    desk.say(id, "POST /live HTTP/1.0\r\n\r\n");
    assert_eq!(desk.say(id, &body), "began media");
    assert_eq!(desk.close(id), "away 1:200 1:close");
    // Half of a body with a length is a loss.
    let id = desk.connect(1);
    desk.say(id, "PUT /live HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    desk.say(id, &body);
    assert_eq!(desk.close(id), "away 2:close");
}

#[test]
fn gstreamers_requests_are_joined_on_one_connection_or_many() {
    let (header, packets) = asf();
    for fresh in [false, true] {
        let mut desk = Desk::new();
        let mut id = desk.connect(1);
        assert_eq!(desk.say(id, gstreamer(None, &header)), "began media 0:200");
        let mut at = header.len();
        for (count, packet) in packets.iter().take(5).enumerate() {
            assert_eq!(desk.wait(second(4)), "");
            if fresh {
                desk.close(id);
                id = desk.connect(1);
            }
            let words = desk.say(id, gstreamer(Some(at), packet));
            assert_eq!(words, format!("media {id}:200"), "{count}");
            at += packet.len();
        }
        assert_eq!(desk.items(), "hddddd");
        // An encoder that begins anew, or another, is told from one that goes on.
        let other = desk.connect(2);
        assert_eq!(
            desk.say(other, gstreamer(None, &header)),
            format!("{other}:409 {other}:close")
        );
        assert_eq!(
            desk.say(id, gstreamer(None, &header)),
            format!("began media {id}:200")
        );
        assert_eq!(desk.wait(second(5)), "away");
        let late = desk.say(id, gstreamer(Some(at), &packets[5]));
        assert_eq!(
            late,
            format!("{id}:415 {id}:close"),
            "its header is forgotten"
        );
    }
}

#[test]
fn who_expects_it_is_told_to_continue_or_why_not() {
    let (header, _) = asf();
    let expect = ffmpeg("Expect: 100-continue\r\n");
    let mut desk = Desk::new();
    let id = desk.connect(1);
    assert_eq!(desk.say(id, &expect), "0:100");
    assert_eq!(desk.answers[0].1, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(desk.say(id, chunk(&header)), "began media");
    let other = desk.connect(2);
    assert_eq!(
        desk.say(other, &expect),
        "1:409 1:close",
        "before it has sent anything"
    );
    let mut desk = Desk::with(Some(alice(Secret::Asked)), false);
    let id = desk.connect(1);
    assert_eq!(desk.say(id, &expect), "0:401 0:close");
    assert_eq!(desk.field("WWW-Authenticate"), "Basic realm=\"funnel\"");
}

#[test]
fn raw_asf_is_taken_without_a_word() {
    let (header, packets) = asf();
    let mut desk = Desk::new();
    let id = desk.connect_way(1, Way::Raw);
    assert_eq!(desk.say(id, &header[..15]), "");
    assert_eq!(desk.say(id, &header[15..]), "began media");
    assert_eq!(desk.say(id, &packets[0]), "media");
    let other = desk.connect_way(2, Way::Raw);
    assert_eq!(desk.say(other, &header), "1:close", "one at a time");
    assert_eq!(desk.close(id), "away 0:close");
    let id = desk.connect_way(2, Way::Raw);
    assert_eq!(desk.say(id, "GET / HTTP/1.1\r\n\r\n"), "2:close");
    let id = desk.connect_way(2, Way::Raw);
    assert_eq!(desk.wait(second(60)), format!("{id}:close"), "nothing came");
}

#[test]
fn an_encoder_that_falls_silent_is_let_go() {
    let (header, packets) = asf();
    let mut desk = Desk::new();
    let id = desk.connect(1);
    desk.say(id, ffmpeg(""));
    desk.say(id, chunk(&header));
    assert_eq!(desk.wait(second(59)), "");
    assert_eq!(desk.say(id, chunk(&packets[0])), "media");
    assert_eq!(desk.wait(second(60)), "away 0:408 0:close");
}

#[test]
fn a_second_encoder_is_refused_or_takes_over() {
    let (header, packets) = asf();
    for takeover in [false, true] {
        let mut desk = Desk::with(None, takeover);
        let first = desk.connect(1);
        desk.say(first, ffmpeg(""));
        desk.say(first, chunk(&header));
        let second_one = desk.connect(2);
        let words = desk.say(
            second_one,
            [ffmpeg("").into_bytes(), chunk(&header)].concat(),
        );
        if takeover {
            assert_eq!(words, "0:409 0:close began media");
            assert_eq!(desk.say(first, chunk(&packets[0])), "");
        } else {
            assert_eq!(words, "1:409 1:close");
            assert_eq!(desk.say(first, chunk(&packets[0])), "media");
            // It hangs for 5 s: who comes then takes its place.
            assert_eq!(desk.wait(second(5)), "");
            let third = desk.connect(3);
            let words = desk.say(third, [ffmpeg("").into_bytes(), chunk(&header)].concat());
            assert_eq!(words, "0:409 0:close began media");
        }
    }
}

fn alice(secret: Secret) -> Access {
    Access {
        user: "alice".into(),
        secret,
    }
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        STANDARD.encode(format!("{user}:{password}"))
    )
}

/// The answer of a client that knows the password to the last 401.
fn digest(desk: &Desk, password: &str, count: u32) -> String {
    let challenge = desk.field("WWW-Authenticate");
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .expect("a nonce")
        .split('"')
        .next()
        .unwrap();
    let count = format!("{count:08x}");
    let words = DigestWords {
        nonce,
        count: Some((&count, "0a4f113b")),
    };
    let response = digest_response(ha1("alice", REALM, password), "POST", "/live", words);
    format!(
        "Authorization: Digest username=\"alice\",realm=\"{REALM}\",nonce=\"{nonce}\",uri=\"/live\",response=\"{response}\",qop=auth,\
         cnonce=\"0a4f113b\",nc={count}\r\n"
    )
}

#[test]
fn logins_by_digest() {
    let access = alice(Secret::Digest(ha1("alice", REALM, "secret")));
    let mut desk = Desk::with(Some(access), false);
    let id = desk.connect(1);
    assert_eq!(desk.say(id, ffmpeg("")), "0:401 0:close");
    let (_, answer) = &desk.answers[0];
    assert_eq!(answer.matches("WWW-Authenticate: ").count(), 2, "{answer}");
    assert!(
        desk.field("WWW-Authenticate")
            .starts_with("Digest realm=\"funnel\", qop=\"auth\"")
    );
    // ffmpeg repeats the request on a new connection.
    let good = digest(&desk, "secret", 1);
    let id = desk.connect(1);
    let words = desk.say(id, [ffmpeg(&good).into_bytes(), chunk(&asf().0)].concat());
    assert_eq!(words, "began media");
    desk.say(id, "0\r\n\r\n");
    // Somebody who has listened in cannot say the same again.
    let id = desk.connect(1);
    assert_eq!(desk.say(id, ffmpeg(&good)), "2:401 2:close");
    assert!(desk.field("WWW-Authenticate").contains("stale=true"));
    let id = desk.connect(1);
    let bad = digest(&desk, "wrong", 1);
    assert_eq!(desk.say(id, ffmpeg(&bad)), "3:401 3:close");
    assert!(!desk.field("WWW-Authenticate").contains("stale=true"));
    let id = desk.connect(1);
    assert_eq!(
        desk.say(id, ffmpeg("Expect: 100-continue\r\n")),
        "4:401 4:close"
    );
    let told = ["It sends without a login.", "The login is wrong."];
    assert_eq!(
        desk.refusals, told,
        "who only asks is not worth a line in the log"
    );
    // Basic is good, too.
    let id = desk.connect(1);
    let words = desk.say(
        id,
        [
            ffmpeg(&basic("alice", "secret")).into_bytes(),
            chunk(&asf().0),
        ]
        .concat(),
    );
    assert_eq!(words, "began media");
}

#[test]
fn logins_that_somebody_else_checks() {
    let mut desk = Desk::with(Some(alice(Secret::Asked)), false);
    let id = desk.connect(1);
    // The body does not wait for the answer.
    let request = [
        ffmpeg(&basic("alice", "secret")).into_bytes(),
        chunk(&asf().0),
    ]
    .concat();
    assert_eq!(desk.say(id, &request), "0:check:alice:secret");
    assert_eq!(desk.say(id, chunk(&asf().1[0])), "");
    assert_eq!(
        desk.feed(Input::Checked(ConnectionId(id), true)),
        "began media"
    );
    assert_eq!(desk.items(), "hd");
    assert_eq!(
        desk.feed(Input::Checked(ConnectionId(id), false)),
        "",
        "it was checked"
    );
    desk.close(id);
    // The next time it is known.
    let id = desk.connect(1);
    assert_eq!(desk.say(id, &request), "began media");
    desk.close(id);
    let id = desk.connect(1);
    assert_eq!(
        desk.say(id, ffmpeg(&basic("alice", "wrong"))),
        "2:check:alice:wrong"
    );
    assert_eq!(
        desk.feed(Input::Checked(ConnectionId(id), false)),
        "2:401 2:close"
    );
    assert_eq!(
        desk.feed(Input::Checked(ConnectionId(id), true)),
        "",
        "it is gone"
    );
    // Nor may anybody fill the memory meanwhile.
    let id = desk.connect(1);
    desk.say(id, ffmpeg(&basic("alice", "x")));
    assert_eq!(desk.say(id, vec![0; (1 << 20) + 1]), "3:413 3:close");
}

#[test]
fn a_login_on_a_small_request_keeps_the_connection() {
    let access = alice(Secret::Digest(ha1("alice", REALM, "secret")));
    let mut desk = Desk::with(Some(access), false);
    let id = desk.connect(1);
    assert_eq!(
        desk.say(id, post(SETUP, Some(0), "AutoDestroy: 1\r\n")),
        "0:401"
    );
    assert!(desk.field("Server").starts_with("Cougar/"));
    let good = digest(&desk, "secret", 1);
    let setup = head(SETUP, Some(0), &format!("{good}Content-Length: 0\r\n"));
    assert_eq!(desk.say(id, setup), "0:204");
    // The start has no login: its push-id is trusted, and so is the connection; nobody else is.
    let start = |cookie| head(START, cookie, "Content-Length: 2147483647\r\n");
    for cookie in [Some(1), None] {
        let stranger = desk.connect(1);
        assert_eq!(
            desk.say(stranger, start(cookie)),
            format!("{stranger}:401 {stranger}:close")
        );
    }
    assert_eq!(desk.say(id, start(None)), "began");
    let (header, packets) = asf();
    desk.say(id, packet(b'H', &header));
    desk.close(id);
    // Nor from elsewhere, by somebody who has listened in.
    let stranger = desk.connect(9);
    let words = desk.say(stranger, start(Some(PUSH_ID.into())));
    assert_eq!(words, format!("{stranger}:401 {stranger}:close"));
    let id = desk.connect(1);
    assert_eq!(desk.say(id, start(Some(PUSH_ID.into()))), "");
    assert_eq!(desk.say(id, packet(b'D', &packets[0])), "media");
    // GStreamer sends the first body twice.
    let mut desk = Desk::with(Some(alice(Secret::Asked)), true);
    let id = desk.connect(1);
    assert_eq!(desk.say(id, gstreamer(None, &header)), "0:401");
    let login = basic("alice", "secret");
    let request =
        String::from_utf8_lossy(&gstreamer(None, &[])).replace("Content-Length: 0\r\n", "");
    let request = request.replace(
        "Host",
        &format!("Content-Length: {}\r\n{login}Host", header.len()),
    );
    assert_eq!(
        desk.say(id, [request.as_bytes(), &header].concat()),
        "0:check:alice:secret"
    );
    assert_eq!(
        desk.feed(Input::Checked(ConnectionId(id), true)),
        "began media 0:200"
    );
}

#[test]
fn who_does_not_come_back_with_a_login_keeps_no_place() {
    let mut desk = Desk::with(Some(alice(Secret::Asked)), false);
    let id = desk.connect(1);
    assert_eq!(desk.say(id, post(SETUP, Some(0), "")), "0:401");
    assert_eq!(desk.wait(second(9)), "");
    assert_eq!(desk.wait(second(2)), "0:close");
    // Each guess takes a connection of its own.
    let access = alice(Secret::Digest(ha1("alice", REALM, "secret")));
    let mut desk = Desk::with(Some(access), false);
    let id = desk.connect(1);
    let guess = head(
        SETUP,
        Some(0),
        &format!("{}Content-Length: 0\r\n", basic("alice", "x")),
    );
    assert_eq!(desk.say(id, guess.repeat(2)), "0:401 0:close");
}

#[test]
fn what_is_no_push_gets_the_right_status() {
    let huge = format!("POST /live HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(17_000));
    let many = format!("POST /live HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    let cases: &[(&str, &[u8], &str)] = &[
        ("another method", b"DELETE /live HTTP/1.1\r\n\r\n", "400"),
        ("no method", b"\0\0\0\0\r\n\r\n", "400"),
        ("another version", b"POST /live HTTP/2.0\r\n\r\n", "505"),
        ("a head without end", huge.as_bytes(), "431"),
        ("too many fields", many.as_bytes(), "431"),
        (
            "two lengths",
            b"POST /live HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "400",
        ),
        (
            "both lengths",
            b"POST /live HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
        (
            "a negative length",
            b"POST /live HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "400",
        ),
        (
            "an unknown coding",
            b"POST /live HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "501",
        ),
        (
            "a folded line",
            b"POST /live HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "400",
        ),
        (
            "a bad chunk",
            b"POST /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "400",
        ),
        (
            "no ASF",
            b"POST /live HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "415",
        ),
        (
            "a form",
            b"POST /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n",
            "415",
        ),
    ];
    for (what, request, status) in cases {
        let mut desk = Desk::new();
        let id = desk.connect(1);
        assert_eq!(
            desk.say(id, request),
            format!("0:{status} 0:close"),
            "{what}"
        );
        assert!(desk.wake_at.is_none(), "{what}: nothing is left of it");
    }
    let mut desk = Desk::new();
    let id = desk.connect(1);
    let empty = "POST /live HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(desk.say(id, empty), "0:200", "a login is tried that way");
    assert_eq!(
        desk.say(id, empty.replace("live", "other")),
        "0:404 0:close"
    );
}

#[test]
fn slow_heads_and_bodies_end() {
    let mut desk = Desk::new();
    let id = desk.connect(1);
    let head = b"POST /live HTTP/1.1\r\nHost: h\r\n";
    let mut words = String::new();
    for byte in head {
        words = desk.say(id, [*byte]) + &desk.wait(second(1));
        if !words.is_empty() {
            break;
        }
    }
    assert_eq!(words, "0:408 0:close");
    let id = desk.connect(1);
    desk.say(id, ffmpeg(""));
    assert_eq!(desk.wait(second(60)), "1:408 1:close");
    let id = desk.connect(1);
    assert_eq!(desk.wait(second(10)), format!("{id}:408 {id}:close"));
}
