//! A whole conversation cut at every byte, in both directions, says the same.

mod common;

use common::*;
use funnel_session::client::{Input as Ask, Manner, Options};
use funnel_session::server::Input;

/// What a player sends from Connect to CloseFile, with a pause.
fn conversation() -> Vec<Vec<u8>> {
    let mut pair = Pair::new(Options {
        manner: Manner::WINDOWS_MEDIA_9,
        packet_pair: true,
        ..Options::default()
    });
    pair.drive();
    pair.media(3);
    pair.ask(Ask::Stop);
    pair.ask(Ask::Play);
    pair.media(3);
    pair.ask(Ask::Close);
    pair.upstream
}

#[test]
fn towards_the_server() {
    let mut packets = conversation();
    let close = packets.pop().unwrap(); // alone: a player that leaves is not kept waiting for its channel
    let stream = packets.concat();
    let replay = |pieces: &[&[u8]]| {
        let mut server = Server::new();
        let mut said = Vec::new();
        for piece in pieces {
            said.extend(server.input(Input::Received(piece)));
        }
        said.extend(server.input(Input::Received(&close)));
        assert_eq!(server.session.state_name(), "closed");
        said
    };
    let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
    let expected = replay(&bytewise);
    assert_eq!(
        expected
            .iter()
            .filter(|said| matches!(said, Said::Message(_)))
            .count(),
        12
    );
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert!(replay(&[head, tail]) == expected, "cut at {cut}");
    }
}

#[test]
fn towards_the_client() {
    let heard = |piece_bytes: usize| {
        let mut pair = Pair::new(Options {
            packet_pair: true,
            ..Options::default()
        });
        pair.piece_bytes = piece_bytes;
        pair.drive();
        pair.media(5);
        pair.input(Input::HeaderChanged(other_channel()));
        pair.media(5);
        pair.ask(Ask::Stop);
        pair.ask(Ask::Play);
        pair.media(5);
        pair.input(Input::MediaDrained);
        pair.heard
    };
    let expected = heard(usize::MAX);
    assert_eq!(
        expected
            .iter()
            .filter(|heard| matches!(heard, Heard::Packet { .. }))
            .count(),
        15
    );
    for piece_bytes in (1..64).chain([100, 511, 1000, 1452, 1453, 3000]) {
        assert_eq!(heard(piece_bytes), expected, "pieces of {piece_bytes}");
    }
}
