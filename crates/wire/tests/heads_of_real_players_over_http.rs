//! The requests of `docs/protocol/wmsp.md` §5.4 as they stand on the wire, the worked exchanges of §26, and heads that could be read
//! in two ways.

use funnel_wire::wmsp::{
    BodyLength, FIELDS_MAX, Fault, Fragment, HEAD_BYTES_MAX, Level, Method, Packet, PacketKind,
    Product, RequestHead, ResponseHead, StatusCode, Version,
};
use hex_literal::hex;

fn request(text: &str) -> RequestHead {
    let text = text.replace('\n', "\r\n") + "\r\n";
    for cut in 0..text.len() {
        let part = RequestHead::parse(&text.as_bytes()[..cut]);
        assert_eq!(part, Ok(None), "cut at {cut} of {text}");
    }
    let behind = [text.as_bytes(), b"next"].concat();
    let (head, size) = RequestHead::parse(&behind).unwrap().unwrap();
    assert_eq!(size, text.len());
    head
}

const FFMPEG_PLAY: &str = "GET /live HTTP/1.1
Range: bytes=0-
Icy-MetaData: 1
Accept: */*
User-Agent: NSPlayer/4.1.0.3856
Host: 127.0.0.1:8080
Pragma: no-cache,rate=1.000000,request-context=2
Pragma: xPlayStrm=1
Pragma: xClientGUID={c77e7400-738a-11d2-9add-0020af0a3278}
Pragma: stream-switch-count=2
Pragma: stream-switch-entry=ffff:1:0 ffff:2:0\u{20}
Pragma: no-cache,rate=1.000000,stream-time=0Connection: Close
";

#[test]
fn ffmpeg_describes_and_plays() {
    let describe = request(
        "GET /live HTTP/1.1
Range: bytes=0-
Icy-MetaData: 1
Accept: */*
User-Agent: NSPlayer/4.1.0.3856
Host: h:8080
Pragma: no-cache,rate=1.000000,stream-time=0,stream-offset=0:0,request-context=1,max-duration=0
Pragma: xClientGUID={c77e7400-738a-11d2-9add-0020af0a3278}
Connection: Close
",
    );
    assert_eq!(
        (&describe.method, describe.version),
        (&Method::GET, Version::HTTP_11)
    );
    assert_eq!((describe.path(), describe.host()), ("live", Some("h:8080")));
    assert!(!describe.keeps_connection() && !describe.expects_continue());
    assert_eq!(describe.length, BodyLength::Unstated);
    let pragmas = describe.fields.pragmas();
    assert!(!pragmas.is_set("xPlayStrm"));
    assert_eq!(pragmas.number("request-context"), Some(1));
    assert_eq!(pragmas.text("stream-offset"), Some("0:0"));

    let play = request(FFMPEG_PLAY);
    let agent = play.agent().unwrap();
    assert_eq!(
        (agent.product, agent.major, agent.minor),
        (Product::Player, 4, 1)
    );
    let pragmas = play.fields.pragmas();
    assert!(pragmas.is_set("xPlayStrm"));
    assert_eq!(pragmas.number("stream-time"), Some(0));
    let levels: Vec<Level> = pragmas.switch_entries().map(|entry| entry.level).collect();
    assert_eq!(levels, [Level::All, Level::All]);
    // The line end that ffmpeg leaves out would have closed the connection.
    assert!(play.keeps_connection());
}

#[test]
fn mplayer_and_vlc_play() {
    let mplayer = request(
        "GET /live HTTP/1.0
Accept: */*
User-Agent: NSPlayer/4.1.0.3856
Host: h:8080
Pragma: xClientGUID={c77e7400-738a-11d2-9add-0020af0a3278}
Pragma: no-cache,rate=1.000000,stream-time=0,stream-offset=4294967295:4294967295,request-context=2,max-duration=0
Pragma: xPlayStrm=1
Pragma: stream-switch-entry=ffff:2:0 ffff:1:0\u{20}
Pragma: stream-switch-count=2
Connection: Close
",
    );
    let pragmas = mplayer.fields.pragmas();
    let targets: Vec<_> = pragmas
        .switch_entries()
        .map(|entry| entry.target.unwrap().resolve(false, |_| true))
        .collect();
    assert_eq!(targets, [Some(2), Some(1)]);
    let vlc = request(
        "GET /live HTTP/1.0
Host: h:8080
Accept: */*
User-Agent: NSPlayer/7.10.0.3059
Pragma: no-cache,rate=1.000000,request-context=2
Pragma: xPlayStrm=1
Pragma: xClientGUID={0xbabac001-0x9b19-0x1234-0x567890abcdef0123}
Pragma: stream-switch-count=3
Pragma: stream-switch-entry=ffff:1:2 ffff:2:0 ffff:3:0
Connection: Close
",
    );
    assert!(!vlc.keeps_connection());
    assert!(vlc.agent().unwrap().is_at_least(7, 10));
    let guid = vlc.fields.pragmas().client_guid().map(str::to_owned);
    assert_eq!(
        guid.as_deref(),
        Some("0xbabac001-0x9b19-0x1234-0x567890abcdef0123")
    );
}

#[test]
fn windows_media_player_12_plays_keeps_alive_and_logs() {
    let play = request(
        "GET /p HTTP/1.1
Accept: */*
User-Agent: NSPlayer/12.0.7601.17514
Host: h
X-Accept-Authentication: Negotiate, NTLM, Digest, Basic
Pragma: version11-enabled=1
Pragma: no-cache,rate=1.000,stream-time=0,stream-offset=4294967295:4294967295,packet-num=4294967295,max-duration=0
Pragma: xPlayStrm=1
Pragma: client-id=2034563124
Pragma: LinkBW=2147483647, AccelBW=2147483647, AccelDuration=18000, Speed=91268.055
Pragma: playlist-seek-id=64
Pragma: stream-switch-count=2
Pragma: stream-switch-entry=ffff:1:0 ffff:2:0
Supported: com.microsoft.wm.srvppair, com.microsoft.wm.sswitch, com.microsoft.wm.startupprofile
Pragma: xClientGUID={3300AD50-2C39-46c0-AE0A-0123456789AB}
Accept-Language: en-US, *;q=0.1
",
    );
    let pragmas = play.fields.pragmas();
    assert!(pragmas.is_set("version11-enabled") && pragmas.is_set("speed"));
    assert_eq!(
        (pragmas.client_id(), pragmas.number("AccelDuration")),
        (Some(2_034_563_124), Some(18_000))
    );
    assert!(play.fields.lists("Supported", "com.microsoft.wm.sswitch"));
    assert!(!play.fields.lists("Supported", "com.microsoft.wm.predstrm"));
    assert!(play.keeps_connection());

    let alive = request(
        "POST http://h:8080/a/b?c HTTP/1.0
User-Agent: NSPlayer/12.0.7601.17514
Pragma: client-id=2034563124
Pragma: xKeepAliveInPause=1
Content-Length: 0
Connection: Keep-Alive
",
    );
    assert_eq!((alive.path(), alive.host()), ("a/b?c", Some("h:8080")));
    assert!(alive.keeps_connection());
    assert_eq!(alive.length, BodyLength::Sized(0));

    let log = request(
        "POST //p HTTP/1.1
User-Agent: NSPlayer/12.0.7601.17514
Pragma: client-id=2034563124
Content-Type: application/x-wms-LogStats;charset=UTF-8
Content-Length: 2834
",
    );
    assert_eq!(log.path(), "p");
    let is_log = |kind: &str| kind.eq_ignore_ascii_case("application/x-wms-logstats");
    assert!(log.fields.content_type().is_some_and(is_log));
    assert_eq!(log.length, BodyLength::Sized(2834));

    let options = request("OPTIONS * HTTP/1.1\nPragma: client-id=1\n");
    assert_eq!((options.path(), &options.method), ("", &Method::OPTIONS));
}

#[test]
fn encoders_and_relays() {
    let relay = request(
        "GET / HTTP/1.0
User-Agent: NSServer/9.0.0.3171
Pragma: xPlayStrm=1
Pragma: client-id=7
Pragma: LinkBW=2147483647, BurstBW=3500000, BurstDuration=5000
Pragma: stream-switch-entry=ffff:1:0
",
    );
    assert_eq!(
        (relay.path(), relay.agent().unwrap().product),
        ("", Product::Server)
    );
    assert!(!relay.keeps_connection());
    let push = request(
        "POST /live HTTP/1.1
Transfer-Encoding: Chunked
User-Agent: Lavf/59.27.100
Expect: 100-continue
Connection: close
Host: 127.0.0.1:8080
",
    );
    assert_eq!((push.length, push.agent()), (BodyLength::Chunked, None));
    assert!(push.expects_continue());
}

#[test]
fn answers_of_section_26() {
    let text = "HTTP/1.0 200 OK\r\nContent-Type: application/vnd.ms.wms-hdr.asfv1\r\nServer: Cougar/9.5.6001.18281\r\n\
        Pragma: no-cache, client-id=3077113431, features=\"broadcast\", timeout=60000\r\nCache-Control: no-cache\r\n\
        Content-Length: 827\r\n\r\n";
    for cut in 0..text.len() {
        assert_eq!(ResponseHead::parse(&text.as_bytes()[..cut]), Ok(None));
    }
    let (head, size) = ResponseHead::parse(text.as_bytes()).unwrap().unwrap();
    assert_eq!(
        (size, head.status, head.length),
        (text.len(), StatusCode::OK, BodyLength::Sized(827))
    );
    let agent = head.agent().unwrap();
    assert_eq!(
        (agent.product, agent.major, agent.minor),
        (Product::Cougar, 9, 5)
    );
    assert_eq!(head.fields.pragmas().text("features"), Some("broadcast"));
    assert!(!head.keeps_connection());

    let mut describe = hex!("24 48 37 03 00 00 00 00 00 0C 37 03 30 26 B2 75").to_vec();
    assert_eq!(Packet::split(&describe), Ok(None));
    describe.resize(827, 0);
    let (packet, size) = Packet::split(&describe).unwrap().unwrap();
    let fragment = packet.fragment().unwrap();
    assert_eq!(
        (packet.kind, size, fragment.payload.len()),
        (PacketKind::HEADER, 827, 815)
    );
    assert!(fragment.is_last() && fragment.flags & Fragment::FIRST != 0);

    let (head, _) = ResponseHead::parse(b"HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(head.length, BodyLength::Sized(0), "whatever its fields say");
    let (head, _) = ResponseHead::parse(b"HTTP/1.1 200\r\n\r\n")
        .unwrap()
        .unwrap();
    assert!(!head.keeps_connection(), "the close ends it");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let fault = |text: &str| RequestHead::parse(text.as_bytes()).map(|head| head.is_some());
    let bad = StatusCode::BAD_REQUEST;
    for (text, status) in [
        (
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            bad,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
            bad,
        ),
        ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", bad),
        ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", bad),
        ("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", bad),
        ("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", bad),
        ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", bad),
        (
            "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
            bad,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            bad,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            StatusCode::NOT_IMPLEMENTED,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            StatusCode::NOT_IMPLEMENTED,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            StatusCode::NOT_IMPLEMENTED,
        ),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            StatusCode::NOT_IMPLEMENTED,
        ),
        ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", bad),
        ("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", bad),
        ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", bad),
        ("GET / HTTP/1.1\r\nX : a\r\n\r\n", bad),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", bad),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", bad),
        (
            "GET /a b HTTP/1.1\r\n\r\n",
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        ),
        (
            "GET / HTTP/2.0\r\n\r\n",
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        ),
        (
            "GET / RTSP/1.0\r\n\r\n",
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        ),
        ("G\x01T / HTTP/1.1\r\n\r\n", bad),
    ] {
        let found = fault(text).map_err(Fault::status);
        assert_eq!(found, Err(status), "{}", text.escape_debug());
    }
}

#[test]
fn heads_have_bounds() {
    let field = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes));
    let whole = format!("GET / HTTP/1.1\r\n{}\r\n", field(HEAD_BYTES_MAX - 23));
    assert_eq!(whole.len(), HEAD_BYTES_MAX);
    assert!(RequestHead::parse(whole.as_bytes()).unwrap().is_some());
    let longer = whole.replacen("X: ", "X: x", 1);
    assert_eq!(
        RequestHead::parse(longer.as_bytes()),
        Err(Fault::HeadTooLarge)
    );
    assert_eq!(
        RequestHead::parse(&longer.as_bytes()[..HEAD_BYTES_MAX]),
        Ok(None)
    );
    let endless = "GET /".to_owned() + &"x".repeat(HEAD_BYTES_MAX);
    assert_eq!(
        RequestHead::parse(endless.as_bytes()),
        Err(Fault::HeadTooLarge)
    );
    assert_eq!(
        Fault::HeadTooLarge.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    for count in [FIELDS_MAX, FIELDS_MAX + 1] {
        let text = format!("GET / HTTP/1.1\r\n{}\r\n", field(1).repeat(count));
        assert_eq!(
            RequestHead::parse(text.as_bytes()).is_ok(),
            count == FIELDS_MAX
        );
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_kept_out() {
    let (head, _) = RequestHead::parse(b"GET /\xC3\xA9 HTTP/1.1\r\nX: a\xFFb\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(
        (head.path(), head.fields.get("x")),
        ("é", Some("a\u{FFFD}b"))
    );
}
