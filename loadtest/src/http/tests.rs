//! Answers of real servers and of bad ones, cut everywhere.

use funnel_asf::probe::Probe;
use proptest::prelude::*;

use super::*;

/// What a viewer was told; runs of bytes are joined, for cuts may not matter.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Told {
    Server(String),
    Header(usize),
    Playing,
    Packet(Vec<u8>),
    Bytes(usize),
    Over(Over),
}

#[derive(Default)]
struct Log(Vec<Told>);

impl Log {
    fn tell(&mut self, news: News<'_>) {
        let told = match news {
            News::Server(name) => Told::Server(name.to_owned()),
            News::Header(bytes) => Told::Header(bytes.len()),
            News::Playing => Told::Playing,
            News::Packet { number, bytes } => {
                assert_eq!(number, None);
                Told::Packet(bytes.to_vec())
            }
            News::Bytes(count) => {
                if let Some(Told::Bytes(sum)) = self.0.last_mut() {
                    *sum += count;
                    return;
                }
                Told::Bytes(count)
            }
            News::Over(over) => Told::Over(over),
        };
        self.0.push(told);
    }
}

/// Everything told about an answer that comes in pieces.
fn hear<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Told> {
    let (mut stream, mut log) = (Stream::new(), Log::default());
    for piece in pieces {
        stream.received(piece, &mut |news| log.tell(news));
    }
    log.0
}

/// Without a damage's words: they quote what had come by then.
fn wordless(mut told: Vec<Told>) -> Vec<Told> {
    if let Some(Told::Over(Over::Broken(text))) = told.last_mut() {
        text.clear();
    }
    told
}

/// The same, having checked that it is told whole, cut in two at any byte, and byte by byte.
fn hear_cut_anywhere(answer: &[u8]) -> Vec<Told> {
    let told = hear([answer]);
    let whole = wordless(told.clone());
    for at in 0..=answer.len() {
        let (front, back) = answer.split_at(at);
        assert_eq!(wordless(hear([front, back])), whole, "cut at {at}");
    }
    assert_eq!(wordless(hear(answer.chunks(1))), whole, "byte by byte");
    told
}

fn broken(answer: &[u8]) -> String {
    match hear_cut_anywhere(answer).pop() {
        Some(Told::Over(Over::Broken(text))) => text,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: &[u8]) -> String {
    match hear_cut_anywhere(answer).pop() {
        Some(Told::Over(Over::Refused(text))) => text,
        other => panic!("{other:?}"),
    }
}

fn probe() -> Probe {
    Probe::new(300_000, 256).expect("in range")
}

/// A probe channel's header and first packets.
fn show(packets: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let packet = |seq| {
        let mut packet = Vec::new();
        probe().packet(seq, 1_000 + seq, &mut packet);
        packet
    };
    (probe().header([7; 16]), (0..packets).map(packet).collect())
}

/// What a viewer is told of `show`, behind `before`.
fn told(before: &[Told], (header, packets): &(Vec<u8>, Vec<Vec<u8>>)) -> Vec<Told> {
    let mut all = before.to_vec();
    all.push(Told::Header(header.len()));
    all.extend(packets.iter().cloned().map(Told::Packet));
    all
}

/// MS-WMSP 2.2.3: `$`, kind, length; 8 bytes of head before the payload of H and D.
fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 8) as u16;
    let mut all = vec![b'$', kind];
    all.extend(length.to_le_bytes());
    all.extend([0, 0, 0, 0, 0, 0x0C]);
    all.extend(length.to_le_bytes());
    all.extend(payload);
    all
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in body.chunks(size) {
        all.extend(format!("{:x};name=value\r\n", piece.len()).bytes());
        all.extend(piece);
        all.extend(b"\r\n");
    }
    all
}

fn listening(server: &str) -> Vec<Told> {
    vec![Told::Server(server.into()), Told::Playing]
}

#[test]
fn icecast_streams_are_counted() {
    let mut answer = b"HTTP/1.0 200 OK\r\nServer: Icecast 2.4.4\r\nConnection: Close\r\nContent-Type: audio/mpeg\r\n\
        Cache-Control: no-cache, no-store\r\nicy-pub:0\r\nicy-metadata:1\r\n\r\n"
        .to_vec();
    answer.extend([0xED; 300]);
    let mut expected = listening("Icecast 2.4.4");
    expected.push(Told::Bytes(300));
    assert_eq!(hear_cut_anywhere(&answer), expected);
}

#[test]
fn what_is_told_to_viewers_programs_comes_before_the_product() {
    let answer =
        b"HTTP/1.0 200 OK\r\nServer: Rex/9.0.0.2980\r\nX-Version-Info: funnel/1 load-test\r\n\r\n";
    assert_eq!(hear_cut_anywhere(answer), listening("funnel/1 load-test"));
}

#[test]
fn shoutcast_and_bare_line_feeds_are_understood() {
    assert_eq!(
        hear_cut_anywhere(b"ICY 200 OK\r\nicy-notice1:x\r\n\r\nabc"),
        [Told::Playing, Told::Bytes(3)]
    );
    assert_eq!(
        hear_cut_anywhere(b"HTTP/1.0 200 OK\nServer: x\n\nabc"),
        [Told::Server("x".into()), Told::Playing, Told::Bytes(3)]
    );
}

#[test]
fn plain_asf_is_cut_into_packets() {
    let show = show(3);
    let body = [show.0.clone(), show.1.concat()].concat();
    let head = b"HTTP/1.0 200 OK\r\nContent-type: video/x-ms-asf\r\nConnection: close\r\n\r\n";
    assert_eq!(
        hear_cut_anywhere(&[&head[..], &body].concat()),
        told(&[Told::Playing], &show)
    );
}

#[test]
fn windows_media_chunks_are_cut_into_packets_and_may_begin_anew() {
    let show = show(3);
    let mut body = framed(b'H', &show.0);
    for packet in &show.1 {
        body.extend(framed(b'D', packet));
    }
    body.extend([b'$', b'E', 4, 0, 1, 0, 0, 0]);
    body.extend(framed(b'H', &show.0));
    let head = b"HTTP/1.0 200 OK\r\nServer: Cougar 4.1.0.3921\r\nPragma: client-id=26229\r\n\r\n";
    let mut expected = told(&listening("Cougar 4.1.0.3921"), &show);
    expected.push(Told::Header(show.0.len()));
    assert_eq!(hear_cut_anywhere(&[&head[..], &body].concat()), expected);
}

#[test]
fn chunked_coding_is_taken_off_and_its_end_is_an_end() {
    let show = show(2);
    let body = [show.0.clone(), show.1.concat()].concat();
    for size in [1, 7, 16, 256, 5000] {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n".to_vec();
        answer.extend(chunked(&body, size));
        assert_eq!(hear([&answer[..]]), told(&[Told::Playing], &show));
        answer.extend(b"0\r\nTrailer: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        let mut expected = told(&[Told::Playing], &show);
        expected.push(Told::Over(Over::Ended));
        assert_eq!(hear([&answer[..]]), expected);
        assert_eq!(hear(answer.chunks(1)), expected);
    }
    let small = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0A;x\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(
        hear_cut_anywhere(small),
        [Told::Playing, Told::Bytes(15), Told::Over(Over::Ended)]
    );
}

#[test]
fn a_length_is_kept_to() {
    assert_eq!(
        hear_cut_anywhere(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP"),
        [Told::Playing, Told::Bytes(5), Told::Over(Over::Ended)]
    );
    assert_eq!(
        hear_cut_anywhere(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        [Told::Playing, Told::Over(Over::Ended)]
    );
}

#[test]
fn a_file_with_an_index_ends_where_its_packets_end() {
    let show = show(2);
    let mut body = [show.0.clone(), show.1.concat()].concat();
    body.extend(guid::SIMPLE_INDEX.as_bytes());
    body.extend([0; 40]);
    let mut expected = told(&[Told::Playing], &show);
    expected.push(Told::Over(Over::Ended));
    assert_eq!(hear([&b"HTTP/1.0 200 OK\r\n\r\n"[..], &body]), expected);
}

#[test]
fn what_only_begins_like_asf_is_counted() {
    let asf = guid::HEADER.as_bytes();
    for body in [
        &[asf[0]][..],
        &[&asf[..15], b"x"].concat(),
        b"$",
        b"$x",
        b"\xA4$",
    ] {
        let answer = [b"HTTP/1.0 200 OK\r\n\r\n", body, b"and more of it"].concat();
        assert_eq!(
            hear_cut_anywhere(&answer),
            [Told::Playing, Told::Bytes(body.len() + 14)]
        );
    }
}

#[test]
fn refusals_are_told_in_the_servers_words() {
    let not_found = b"HTTP/1.0 404 File Not Found\r\nServer: Icecast 2.4.4\r\n\r\n<html>";
    assert_eq!(refused(not_found), "404 File Not Found");
    assert_eq!(
        hear([&not_found[..]])[0],
        Told::Server("Icecast 2.4.4".into())
    );
    assert_eq!(refused(b"HTTP/1.1 503\r\n\r\n"), "503");
    assert_eq!(
        refused(b"HTTP/1.1 302 Found\r\nLocation: http://other/live\r\n\r\n"),
        "302 Found → http://other/live"
    );
    assert_eq!(
        refused(b"HTTP/1.1 206 Partial Content\r\n\r\nabc"),
        "206 Partial Content"
    );
    let long = format!("HTTP/1.1 500 {}\r\n\r\n", "x".repeat(9_000));
    assert_eq!(
        hear([long.as_bytes()]),
        [Told::Over(Over::Refused(format!(
            "500 {}",
            "x".repeat(TEXT_CHARS_MAX)
        )))]
    );
}

#[test]
fn interim_heads_are_passed_over() {
    assert_eq!(
        hear_cut_anywhere(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc"
        ),
        [Told::Playing, Told::Bytes(3)]
    );
    assert_eq!(
        refused(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        "101 Switching Protocols"
    );
}

#[test]
fn hostile_heads_end_in_words() {
    assert!(broken(b"\x01\x02SSH-2.0-x\r\n\r\n").contains(r"“\x01"));
    assert!(broken(b"HTTP/2.0 200 OK\r\n\r\n").contains("no HTTP"));
    assert!(broken(b"HTTP/1.1 OK\r\n\r\n").contains("response head"));
    assert!(broken(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n").contains("response head"));
    assert!(broken(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n").contains("gzip"));
    assert!(broken(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").contains("-1"));
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: b\r\n".repeat(FIELDS_MAX + 1)
    );
    assert!(broken(many.as_bytes()).contains("headers"));
    let endless = [&b"HTTP/1.1 200 OK\r\na: "[..], &[b'x'; 2 * HEAD_BYTES_MAX]].concat();
    for size in [1, 1000, endless.len()] {
        assert_eq!(
            hear(endless.chunks(size)),
            [Told::Over(Over::Broken(
                "a response head of more than 16384 bytes".into()
            ))]
        );
    }
}

#[test]
fn a_head_of_exactly_the_ceiling_is_read() {
    let (begin, end) = ("HTTP/1.1 200 OK\r\na: ", "\r\n\r\n");
    for (more, fits) in [(0, true), (1, false)] {
        let filling = "x".repeat(HEAD_BYTES_MAX - begin.len() - end.len() + more);
        let answer = format!("{begin}{filling}{end}abc");
        let told = hear([answer.as_bytes()]);
        assert_eq!(told == [Told::Playing, Told::Bytes(3)], fits, "{told:?}");
    }
}

#[test]
fn broken_framing_ends_in_words() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, part) in [
        (&b"xyz\r\n"[..], "“xyz"),
        (b"5\r\nhelloX", "“X”"),
        (b"5\r\nhello\rX", "“X”"),
        (b"11111111111111111\r\n", "chunked"),
        (&[b'0'; 300], "chunked"),
    ] {
        let text = broken(&[head, body].concat());
        assert!(text.contains(part), "{text}");
    }
    let (header, _) = show(0);
    let lost = [
        &b"HTTP/1.0 200 OK\r\n\r\n"[..],
        &framed(b'H', &header),
        b"????",
    ]
    .concat();
    assert!(broken(&lost).contains("no $ chunk"));
    let damaged = [
        &b"HTTP/1.0 200 OK\r\n\r\n"[..],
        guid::HEADER.as_bytes(),
        &[0; 8],
    ]
    .concat();
    let text = broken(&damaged);
    assert!(text.contains("Header"), "{text}");
}

#[test]
fn nothing_is_told_after_the_end() {
    let (mut stream, mut log) = (Stream::new(), Log::default());
    stream.received(b"HTTP/1.1 404 No\r\n\r\n", &mut |news| log.tell(news));
    stream.received(b"HTTP/1.1 200 OK\r\n\r\n", &mut |news| log.tell(news));
    assert_eq!(log.0, [Told::Over(Over::Refused("404 No".into()))]);
}

#[test]
fn requests_ask_for_the_stream() {
    let ask =
        |url: &str| String::from_utf8(Stream::request(&url.parse().expect("a URL"))).expect("text");
    let plain = ask("http://[::1]:8000/live?x=1");
    assert!(
        plain.starts_with("GET /live?x=1 HTTP/1.1\r\nHost: [::1]:8000\r\nUser-Agent: funnel-load/")
    );
    assert!(plain.ends_with("\r\nAccept: */*\r\nConnection: close\r\n\r\n"));
    assert!(!plain.contains("Pragma"));
    let player = ask("mmsh://a/live");
    assert!(player.contains("\r\nUser-Agent: NSPlayer/7"));
    assert!(player.contains("max-duration=0\r\nPragma: xPlayStrm=1\r\n"));
    for request in [plain, player] {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let parsed = httparse::Request::new(&mut fields).parse(request.as_bytes());
        assert_eq!(parsed, Ok(Status::Complete(request.len())));
    }
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        chunk in 1usize..600,
        packets in 0u64..6,
        in_chunks: bool,
        cuts in prop::collection::vec(1usize..700, 1..40),
    ) {
        let show = show(packets);
        let body = if in_chunks {
            let packets = show.1.iter().flat_map(|packet| framed(b'D', packet));
            framed(b'H', &show.0).into_iter().chain(packets).collect()
        } else {
            [show.0.clone(), show.1.concat()].concat()
        };
        let mut answer = b"HTTP/1.1 200 OK\r\nServer: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        answer.extend(chunked(&body, chunk));
        let mut rest = &answer[..];
        let mut pieces = Vec::new();
        for &cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(hear(pieces), told(&listening("x"), &show));
    }

    #[test]
    fn damage_anywhere_neither_panics_nor_speaks_after_the_end(
        flips in prop::collection::vec((0usize..2000, any::<u8>()), 1..8),
        chunk in 1usize..300,
    ) {
        let show = show(4);
        let body = [show.0, show.1.concat()].concat();
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        answer.extend(chunked(&body, 200));
        for (at, byte) in flips {
            let at = at % answer.len();
            answer[at] = byte;
        }
        let all = hear(answer.chunks(chunk));
        let overs = all.iter().filter(|told| matches!(told, Told::Over(_))).count();
        prop_assert!(overs <= 1);
        prop_assert!(overs == 0 || matches!(all.last(), Some(Told::Over(_))));
        prop_assert_eq!(wordless(hear([&answer[..]])), wordless(all), "pieces do not matter, damaged or not");
    }
}
