//! Good conversations, damaged by seeded mutations: never a panic, never an endless answer, always a refusal, a close, or
//! a session whose own timers end it. Both sides.

mod common;

use std::time::Duration;

use common::*;
use funnel_session::client::{self, Input as Ask, Manner, Options};
use funnel_session::server::{Input, Transport};

/// Flips, overwrites, cuts, repeats, swaps and inserts.
fn damage(packets: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let index = random.below(packets.len());
        let at = random.below(packets[index].len());
        match random.below(9) {
            0 => packets[index][at] ^= 1 << random.below(8),
            1 => packets[index][at] = random.next() as u8,
            2 => packets[index].truncate(at.max(1)),
            3 => packets.insert(index, packets[index].clone()),
            4 => {
                let other = random.below(packets.len());
                packets.swap(index, other);
            }
            5 => drop(packets.remove(index)),
            6 => {
                let dword =
                    [0u32, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, 65_536, 65_544][random.below(7)];
                let at = at & !3;
                if at + 4 <= packets[index].len() {
                    packets[index][at..at + 4].copy_from_slice(&dword.to_le_bytes());
                }
            }
            7 => {
                let noise: Vec<u8> = (0..random.below(200))
                    .map(|_| random.next() as u8)
                    .collect();
                packets.insert(index, noise);
            }
            _ => packets[index].extend((0..8).map(|_| 0)),
        }
        packets.retain(|packet| !packet.is_empty());
        if packets.is_empty() {
            packets.push(vec![0]);
        }
    }
}

fn conversations() -> Vec<Vec<Vec<u8>>> {
    let talk = |(manner, transport)| {
        let mut pair = Pair::new(Options {
            manner,
            transport,
            packet_pair: true,
            ..Options::default()
        });
        pair.drive();
        pair.media(2);
        pair.ask(Ask::Stop);
        pair.ask(Ask::Play);
        pair.ask(Ask::Close);
        pair.upstream
    };
    let over = |transport| {
        Manner::ALL
            .into_iter()
            .map(move |manner| (manner, transport))
    };
    let udp = Transport::Udp { port: 7000 };
    over(Transport::Tcp).chain(over(udp)).map(talk).collect()
}

#[test]
fn four_hundred_damaged_players() {
    let conversations = conversations();
    let (mut errors, mut refusals, mut untouched) = (0, 0, 0);
    for seed in 0..400u64 {
        let mut random = Random(seed);
        let mut packets = conversations[seed as usize % conversations.len()].clone();
        damage(&mut packets, &mut random);
        let mut server = Server::new();
        let (mut output_bytes, mut failed, mut refused) = (0, false, false);
        for packet in &packets {
            match server.try_input(Input::Received(packet)) {
                Ok(said) => {
                    refused |= messages(&said)
                        .iter()
                        .any(|message| message.hr().is_some_and(|hr| hr.is_error()));
                    output_bytes += said.len() * 2048;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    failed = true;
                    break;
                }
            }
        }
        assert!(output_bytes < 4 << 20, "seed {seed}");
        if !failed {
            // nobody comes back: the timers must end it
            let said = server.wait(Duration::from_secs(600));
            assert!(said.len() < 50, "seed {seed}");
            assert_eq!(server.session.state_name(), "closed", "seed {seed}");
        }
        errors += usize::from(failed);
        refusals += usize::from(!failed && refused);
        untouched += usize::from(!failed && !refused);
    }
    assert!(
        errors > 50 && refusals > 20 && untouched > 20,
        "{errors} {refusals} {untouched}: the mutations reach everything"
    );
}

#[test]
fn pure_noise_is_closed_at_once() {
    for seed in 0..300u64 {
        let mut random = Random(seed);
        let mut noise: Vec<u8> = (0..64 + random.below(500))
            .map(|_| random.next() as u8)
            .collect();
        if noise[0].is_ascii_alphabetic() {
            noise[0] = 1; // else it may be HTTP
        }
        let mut server = Server::new();
        assert!(
            server.try_input(Input::Received(&noise)).is_err(),
            "seed {seed}"
        );
    }
}

#[test]
fn a_flood_of_requests_in_one_segment_is_an_error() {
    let mut server = Server::at("ready");
    let request = encode(read_block(2), 0);
    assert!(
        server
            .try_input(Input::Received(&request.repeat(5)))
            .is_ok()
    );
    let error = server
        .try_input(Input::Received(&request.repeat(700)))
        .unwrap_err();
    assert_eq!(error.fault(), funnel_session::server::Fault::Peer);
    let mut server = Server::at("opening");
    assert!(
        server
            .try_input(Input::Received(&request.repeat(700)))
            .is_err(),
        "deferred requests are bounded"
    );
}

#[test]
fn four_hundred_damaged_servers() {
    for seed in 0..400u64 {
        let mut random = Random(seed);
        let manner = Manner::ALL[seed as usize % Manner::ALL.len()].clone();
        let mut pair = Pair::new(Options {
            manner: manner.clone(),
            ..Options::default()
        });
        pair.drive();
        pair.media(5);
        pair.input(Input::MediaDrained);
        let mut downstream = Vec::new();
        for (one, sequence) in pair.said.iter().zip(0..) {
            let mut bytes = Vec::new();
            match one {
                Said::Message(message) => {
                    message.encode(sequence, &mut funnel_wire::codec::Writer::new(&mut bytes))
                }
                Said::Header { head, payload } => {
                    bytes.extend_from_slice(zerocopy::IntoBytes::as_bytes(head));
                    bytes.extend_from_slice(payload);
                }
                _ => continue,
            }
            downstream.push(bytes);
        }
        damage(&mut downstream, &mut random);
        let mut client = Pair::new(Options {
            manner,
            ..Options::default()
        })
        .client;
        let mut outputs = 0;
        let now = std::time::Instant::now();
        for bytes in downstream {
            client.handle_input(now, Ask::Received(&bytes));
            while !matches!(client.poll_output(), client::Output::Idle { .. }) {
                outputs += 1;
                assert!(outputs < 1000, "seed {seed}");
            }
        }
    }
}
