//! Stream selection: a viewer gets the streams it selected and no other, also after a change while playing.

use crate::support::asf;
use crate::support::http::{self, Wmsp};
use crate::support::media;
use crate::support::server::Setup;
use crate::support::viewer::{Viewer, answer, ask, stream_switch};
use std::collections::HashSet;

/// Streams in the packets of the next `ms` of send time.
fn streams_seen(viewer: &mut Viewer, packet_bytes: usize, ms: u32) -> HashSet<u8> {
    streams_among(|| viewer.packet(), packet_bytes, ms)
}

fn streams_among(
    mut next: impl FnMut() -> Option<Vec<u8>>,
    packet_bytes: usize,
    ms: u32,
) -> HashSet<u8> {
    let mut seen = HashSet::new();
    let mut began = None;
    loop {
        let mut bytes = next().expect("media");
        bytes.resize(packet_bytes, 0);
        let packet = asf::packet(&bytes).expect("a sound packet");
        seen.extend(packet.payloads.iter().map(|payload| payload.stream));
        if packet
            .send_ms
            .wrapping_sub(*began.get_or_insert(packet.send_ms))
            >= ms
        {
            return seen;
        }
    }
}

#[test]
fn only_the_selected_streams_and_the_numbers_of_the_full_log() {
    let mut setup = Setup::new();
    setup.file_looped("rates", &media::file("mbr-3rates-mutex.wmv"));
    let server = setup.start();
    let mut viewer = Viewer::connect(server.port());
    assert_eq!(viewer.open("rates").result(), 0);
    viewer.read_header();
    let packet_bytes = asf::packet_bytes(&viewer.header);
    viewer.select(&[(1, 0), (2, 2), (3, 0), (4, 2)]);
    viewer.start();
    assert_eq!(
        streams_seen(&mut viewer, packet_bytes, 3_000),
        HashSet::from([1, 3])
    );
    assert!(
        viewer.gaps > 0,
        "packets of other streams alone keep their numbers to themselves"
    );

    // A change while playing: stream 4 instead of 3.
    viewer.send(ask::STREAM_SWITCH, &stream_switch(&[(3, 2), (4, 0)]));
    viewer.answer(answer::STREAM_SWITCH);
    let during = streams_seen(&mut viewer, packet_bytes, 5_000);
    assert!(during.contains(&4), "{during:?}");
    assert_eq!(
        streams_seen(&mut viewer, packet_bytes, 2_000),
        HashSet::from([1, 4])
    );
    server.stop();
}

#[test]
fn stop_and_start_again_on_one_connection() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let mut viewer = Viewer::play(server.port(), "show");
    for _ in 0..20 {
        viewer.packet().expect("media");
    }
    viewer.send(ask::STOP_PLAYING, &[1, 0, 0, 0, 4, 0, 0, 0]);
    let ended = viewer.answer(answer::END_OF_STREAM);
    assert_eq!(ended.result(), 0);
    viewer.start();
    let bytes = viewer.packet().expect("media again");
    let packet = asf::packet(&bytes).expect("a sound packet");
    assert!(
        packet.payloads[0].key && packet.payloads[0].offset == 0,
        "begins at a clean point: {packet:?}"
    );
    viewer.send(ask::CLOSE_FILE, &[1, 0, 0, 0, 1, 0, 0, 0]);
    while viewer.packet().is_some() {}
    server.stop();
}

/// Over HTTP a player asks for another stream on a connection of its own, which another shard may have: the order finds its viewer.
#[test]
fn over_http_the_order_comes_on_another_connection() {
    let mut setup = Setup::new();
    setup.file_looped("rates", &media::file("mbr-3rates-mutex.wmv"));
    let server = setup.start();
    let address = server.http_address();
    let agent = http::NEW_PLAYER;
    let selected = "stream-switch-entry=ffff:1:0 ffff:2:2 ffff:3:0 ffff:4:2";
    let request = http::play_request_of("rates", agent, selected, "");
    let mut viewer = Wmsp::play_with(address, &request);
    let packet_bytes = asf::packet_bytes(&viewer.header);
    let seen = streams_among(|| viewer.packet(), packet_bytes, 3_000);
    assert_eq!(seen, HashSet::from([1, 3]));
    assert!(viewer.gaps > 0, "numbers are those of the full log");

    for (from, to) in [(3, 4), (4, 2)] {
        let id = &viewer.client_id;
        let order = format!(
            "POST /rates HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nPragma: client-id={id}\r\n\
             Pragma: stream-switch-count=1\r\nPragma: stream-switch-entry={from}:{to}:0\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let (head, _) = http::ask(address, &order);
        assert_eq!(head.status, 200, "{head:?}");
        let during = streams_among(|| viewer.packet(), packet_bytes, 4_500);
        assert!(during.contains(&to), "{during:?} after {from}:{to}");
        let after = streams_among(|| viewer.packet(), packet_bytes, 1_000);
        assert_eq!(after, HashSet::from([1, to]), "after {from}:{to}");
    }
    server.stop();
}
