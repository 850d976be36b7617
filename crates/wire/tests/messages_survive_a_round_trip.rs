//! Encode, then decode, gives the same message; arbitrary bytes never panic a decoder.

use funnel_wire::codec::{Reader, Writer};
use funnel_wire::mms::*;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "[ -~éß€😀]{0,40}"
}

fn viewer_message() -> impl Strategy<Value = ViewerMessage> {
    let dwords = any::<[u32; 8]>();
    (
        0..14u8,
        dwords,
        any::<u64>(),
        text(),
        prop::collection::vec(any::<u8>(), 1..40),
        prop::collection::vec(any::<[u16; 3]>(), 0..30),
    )
        .prop_map(|(kind, d, q, name, token, entries)| {
            let play_incarnation = Incarnation(d[0]);
            let seconds = f64::from(d[1]) / 8.0;
            match kind {
                0 => Connect {
                    play_incarnation,
                    mac_to_viewer_revision: d[1],
                    viewer_to_mac_revision: d[2],
                    subscriber_name: name,
                }
                .into(),
                1 => FunnelInfo { play_incarnation }.into(),
                2 => ConnectFunnel {
                    play_incarnation,
                    max_block_bytes: d[1],
                    max_funnel_bytes: d[2],
                    max_bit_rate: d[3],
                    funnel_mode: d[4],
                    funnel_name: name,
                }
                .into(),
                3 => OpenFile {
                    play_incarnation,
                    spare: d[1],
                    file_name: name,
                    token,
                }
                .into(),
                4 => SecurityResponse {
                    play_incarnation,
                    cookie: d[1],
                    token,
                }
                .into(),
                5 => ReadBlock {
                    open_file_id: d[1],
                    file_block_id: d[2],
                    offset: d[3],
                    length: d[4],
                    flags: d[5],
                    padding: d[6],
                    earliest_seconds: seconds,
                    deadline_seconds: f64::MAX,
                    play_incarnation,
                    play_sequence: d[7],
                }
                .into(),
                6 => CancelReadBlock { play_incarnation }.into(),
                7 => {
                    let entry = |[source, target, thinning_level]: [u16; 3]| StreamEntry {
                        source,
                        target,
                        thinning_level,
                    };
                    StreamSwitch::new(entries.into_iter().map(entry).collect()).into()
                }
                8 => StartPlaying {
                    open_file_id: d[1],
                    padding: d[2],
                    position_seconds: seconds,
                    asf_offset: d[3],
                    location_id: d[4],
                    frame_offset: d[5],
                    play_incarnation,
                    acceleration: Acceleration {
                        bandwidth: Some(d[6]),
                        duration_ms: Some(d[7]),
                        link: None,
                    },
                }
                .into(),
                9 => StartStriding {
                    open_file_id: d[1],
                    padding: d[2],
                    position_seconds: seconds,
                    asf_offset: d[3],
                    location_id: d[4],
                    frame_offset: d[5],
                    play_incarnation,
                    rate: -seconds,
                }
                .into(),
                10 => StopPlaying {
                    open_file_id: d[1],
                    play_incarnation,
                }
                .into(),
                11 => Pong {
                    param1: d[1],
                    param2: d[2],
                }
                .into(),
                12 => {
                    let log = ClientLog {
                        bytes_received: q,
                        packets_resent: d[1],
                        os: "Linux".into(),
                        ..ClientLog::default()
                    };
                    Logging { log: Box::new(log) }.into()
                }
                _ => CloseFile {
                    play_incarnation,
                    open_file_id: d[1],
                }
                .into(),
            }
        })
}

fn through_the_wire(packet: &[u8]) -> Vec<(Mid, Vec<u8>)> {
    let mut framer = Framer::new(Traffic::Messages);
    let mut seen = Vec::new();
    for piece in packet.chunks(7) {
        let mut input = piece;
        while let Some(Frame::Message(frame)) = framer.next(&mut input).unwrap() {
            seen.extend(
                frame
                    .messages()
                    .map(|(mid, reader)| (mid, reader.rest().to_vec())),
            );
        }
    }
    seen
}

proptest! {
    #[test]
    fn viewer_messages(message in viewer_message(), sequence: u16) {
        let mut out = Vec::new();
        message.encode(sequence, &mut Writer::new(&mut out));
        prop_assert_eq!(out.len() % 8, 0);
        let seen = through_the_wire(&out);
        prop_assert_eq!(seen.len(), 1);
        prop_assert_eq!(ViewerMessage::decode(seen[0].0, Reader::new(&seen[0].1, 8)).unwrap(), message);
    }

    #[test]
    fn open_reports(hr: u32, id: u32, packet_bytes: u32, packet_count: u64, duration in 0.0f64..1e9) {
        let report = MacMessage::from(ReportOpenFile {
            hr: HResult(hr), open_file_id: id, packet_bytes, packet_count, duration_seconds: duration, ..ReportOpenFile::default()
        });
        let mut out = Vec::new();
        report.encode(1, &mut Writer::new(&mut out));
        let seen = through_the_wire(&out);
        prop_assert_eq!(MacMessage::decode(seen[0].0, Reader::new(&seen[0].1, 8)).unwrap(), report);
    }

    #[test]
    fn connected_reports(server_version in text(), version_info in text(), package in text()) {
        let report = MacMessage::from(ReportConnected {
            server_version, version_info, authentication_package: package, ..ReportConnected::default()
        });
        let mut out = Vec::new();
        report.encode(1, &mut Writer::new(&mut out));
        let seen = through_the_wire(&out);
        prop_assert_eq!(MacMessage::decode(seen[0].0, Reader::new(&seen[0].1, 8)).unwrap(), report);
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..300), known in 0usize..28, other: u32) {
        for mid in [Mid::KNOWN[known % Mid::KNOWN.len()], Mid(other)] {
            let _ = ViewerMessage::decode(mid, Reader::new(&body, 8));
            let _ = MacMessage::decode(mid, Reader::new(&body, 8));
        }
        let _ = ResendRequest::decode(&body);
    }

    #[test]
    fn arbitrary_streams_never_panic_and_never_hold_more_than_a_message(
        bytes in prop::collection::vec(any::<u8>(), 0..400), good in any::<bool>(), piece in 1usize..50,
    ) {
        let mut stream = bytes;
        if good && stream.len() >= 16 {
            stream[4..8].copy_from_slice(&SESSION_ID.to_le_bytes());
            stream[12..16].copy_from_slice(&SEAL.to_le_bytes());
        }
        for traffic in [Traffic::Messages, Traffic::MessagesAndData] {
            let mut framer = Framer::new(traffic);
            'stream: for piece in stream.chunks(piece) {
                let mut input = piece;
                loop {
                    match framer.next(&mut input) {
                        Ok(Some(Frame::Message(frame))) => {
                            for (mid, reader) in frame.messages() {
                                let _ = ViewerMessage::decode(mid, reader.clone());
                                let _ = MacMessage::decode(mid, reader);
                            }
                        }
                        Ok(Some(Frame::Data { .. })) => {}
                        Ok(None) => break,
                        Err(_) => break 'stream,
                    }
                }
                prop_assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn names_accept_anything(text in ".{0,80}") {
        let _ = SubscriberName::parse(&text);
        let _ = FunnelName::parse(&text);
        let candidates = Path::new(text).candidates();
        prop_assert!((1..=3).contains(&candidates.len()));
    }
}
