//! SIGTERM: end of stream for whoever watches, then the connection closes, then exit code 0.

use crate::support::media;
use crate::support::server::Setup;
use crate::support::viewer::{Event, Viewer, answer};
use std::time::{Duration, Instant};

#[test]
fn viewers_get_an_end_of_stream_and_the_server_exits_with_0() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let mut server = setup.start();
    let mut viewers: Vec<Viewer> = (0..20)
        .map(|_| Viewer::play(server.port(), "show"))
        .collect();
    let mut idle = Viewer::connect(server.port());
    assert_eq!(idle.open("show").result(), 0);
    for viewer in &mut viewers {
        viewer.packet().expect("media before the signal");
    }
    let began = Instant::now();
    server.terminate();
    for viewer in &mut viewers {
        let mut ended = false;
        loop {
            match viewer.next() {
                Event::Data { .. } => assert!(!ended, "media after the end of the stream"),
                event @ Event::Message {
                    command: answer::END_OF_STREAM,
                    ..
                } => {
                    assert_eq!(event.result(), 0);
                    ended = true;
                }
                Event::Message { .. } => {}
                Event::Closed => break,
            }
        }
        assert!(ended, "closed without an end of stream");
    }
    assert!(server.wait(Duration::from_secs(10)).success());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_end_of_a_file_ends_the_stream_and_closes_soon() {
    let mut setup = Setup::new();
    setup.file_once("short", &media::file("metadata-unicode.wmv"), 20.0);
    let server = setup.start();
    let mut viewer = Viewer::play(server.port(), "short");
    let mut packets = 0;
    let end = loop {
        match viewer.next() {
            Event::Data { .. } => packets += 1,
            event => break event,
        }
    };
    assert_eq!(packets, 76, "packets of the file");
    assert!(
        matches!(
            end,
            Event::Message {
                command: answer::END_OF_STREAM,
                ..
            }
        ),
        "{end:?}"
    );
    assert_eq!(end.result(), 0);
    let ended = Instant::now();
    assert_eq!(viewer.next(), Event::Closed);
    assert!(
        ended.elapsed() < Duration::from_secs(4),
        "closed {:?} after the end of the stream",
        ended.elapsed()
    );
    server.stop();
}
