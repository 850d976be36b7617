//! A server session from its first byte to the first media packet, and what it costs afterwards.

use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use funnel_benches::{media, player};
use funnel_session::server::{Event, Framing, Input, Opened, Output, Play, Session, Settings};

fn main() {
    divan::main();
}

fn opened() -> Opened {
    let header = media::source("av-300k.wmv").header;
    Opened {
        header: header.bytes().into(),
        packet_bytes: header.packet_bytes(),
        bit_rate: header.bit_rate(),
        streams: header.stream_mask(),
    }
}

/// Connect to StartPlaying. Returns the session, and what is to be played.
fn shake_hands(
    settings: &Arc<Settings>,
    requests: &[Vec<u8>],
    opened: &Opened,
    now: Instant,
) -> (Session, Play) {
    let mut session = Session::new(Arc::clone(settings), 0x5EED, now);
    let mut play = None;
    for request in requests {
        session
            .handle_input(now, Input::Received(request))
            .expect("a well-formed request");
        loop {
            match session.poll_output() {
                Output::Send(bytes) => {
                    black_box(bytes);
                }
                Output::Event(Event::Open(request)) => {
                    black_box(request);
                    let answer = Input::Opened(Ok(opened.clone()));
                    session
                        .handle_input(now, answer)
                        .expect("it waits for this");
                }
                Output::Event(Event::Play(found)) => play = Some(found),
                Output::Event(_) | Output::Datagram(_) => {}
                Output::Idle { .. } => break,
            }
        }
    }
    (session, play.expect("StartPlaying was the last request"))
}

/// The whole handshake, server side; a session is made and dropped in it.
#[divan::bench]
fn handshake(bencher: Bencher<'_, '_>) {
    let (settings, requests, opened) = (
        Arc::new(Settings::default()),
        player::handshake("radio"),
        opened(),
    );
    let now = Instant::now();
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| shake_hands(&settings, &requests, &opened, now));
}

/// What the engine tells a session about each train that was taken.
#[divan::bench]
fn note_progress(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    let (mut session, _) = shake_hands(
        &Arc::new(Settings::default()),
        &player::handshake("radio"),
        &opened(),
        now,
    );
    bencher.bench_local(|| black_box(&mut session).note_progress(black_box(now)));
}

/// The head of a media packet, as the engine asks for it.
#[divan::bench]
fn media_head(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    let (_, play) = shake_hands(
        &Arc::new(Settings::default()),
        &player::handshake("radio"),
        &opened(),
        now,
    );
    let mut out = [0; Framing::HEAD_BYTES_MAX];
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let size = play
            .framing
            .head(black_box(5300), black_box(7), 1444, &mut out);
        black_box(&mut out);
        size
    });
}
