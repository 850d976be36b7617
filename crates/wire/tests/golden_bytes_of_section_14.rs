//! Every packet of the worked example (section 14 of the protocol reference): decodes to what the annotations say and
//! encodes back to the same bytes. Messages the example lacks follow, built from the tables of section 5.

use funnel_wire::codec::Writer;
use funnel_wire::mms::*;
use hex_literal::hex;

fn only_message(packet: &[u8]) -> (TcpMessageHeader, Mid, Vec<u8>) {
    let mut framer = Framer::new(Traffic::MessagesAndData);
    let mut input = packet;
    let Some(Frame::Message(frame)) = framer.next(&mut input).unwrap() else {
        panic!("not one message")
    };
    assert!(input.is_empty());
    let messages: Vec<_> = frame.messages().collect();
    assert_eq!(messages.len(), 1);
    (frame.header, messages[0].0, messages[0].1.rest().to_vec())
}

fn viewer(packet: &[u8], expected: impl Into<ViewerMessage>) {
    let expected = expected.into();
    let (header, mid, body) = only_message(packet);
    let decoded = ViewerMessage::decode(mid, funnel_wire::codec::Reader::new(&body, 8)).unwrap();
    assert_eq!(decoded, expected);
    let mut out = Vec::new();
    decoded.encode(header.sequence.get(), &mut Writer::new(&mut out));
    assert_eq!(out, packet);
}

fn mac(packet: &[u8], expected: impl Into<MacMessage>) {
    let expected = expected.into();
    let (header, mid, body) = only_message(packet);
    let decoded = MacMessage::decode(mid, funnel_wire::codec::Reader::new(&body, 8)).unwrap();
    assert_eq!(decoded, expected);
    let mut out = Vec::new();
    decoded.encode(header.sequence.get(), &mut Writer::new(&mut out));
    assert_eq!(out, packet);
}

#[test]
fn connect() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  C0 00 00 00  4D 4D 53 20"
        "18 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "16 00 00 00  01 00 03 00  EF F0 F0 F0  0B 00 04 00"
        "1C 00 03 00  4E 00 53 00  50 00 6C 00  61 00 79 00"
        "65 00 72 00  2F 00 39 00  2E 00 30 00  2E 00 30 00"
        "2E 00 32 00  39 00 38 00  30 00 3B 00  20 00 7B 00"
        "33 00 33 00  30 00 30 00  41 00 44 00  35 00 30 00"
        "2D 00 32 00  43 00 33 00  39 00 2D 00  34 00 36 00"
        "43 00 30 00  2D 00 41 00  45 00 30 00  41 00 2D 00"
        "30 00 31 00  32 00 33 00  34 00 35 00  36 00 37 00"
        "38 00 39 00  41 00 42 00  7D 00 3B 00  20 00 48 00"
        "6F 00 73 00  74 00 3A 00  20 00 31 00  32 00 37 00"
        "2E 00 30 00  2E 00 30 00  2E 00 31 00  00 00 00 00"
    );
    assert_eq!(packet.len(), 208);
    viewer(
        &packet,
        Connect {
            play_incarnation: Incarnation::NO_PACKET_PAIR,
            mac_to_viewer_revision: MAC_TO_VIEWER_REVISION,
            viewer_to_mac_revision: VIEWER_TO_MAC_REVISION,
            subscriber_name:
                "NSPlayer/9.0.0.2980; {3300AD50-2C39-46C0-AE0A-0123456789AB}; Host: 127.0.0.1"
                    .into(),
        },
    );
}

#[test]
fn report_connected() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  68 00 00 00  4D 4D 53 20"
        "0D 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "0B 00 00 00  01 00 04 00  00 00 00 00  EF F0 F0 F0"
        "0B 00 04 00  1C 00 03 00  00 00 00 00  00 00 F0 3F"
        "01 00 00 00  01 00 00 00  00 80 00 00  80 96 98 00"
        "0B 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "39 00 2E 00  31 00 2E 00  31 00 2E 00  33 00 38 00"
        "34 00 31 00  00 00 00 00"
    );
    mac(
        &packet,
        ReportConnected {
            server_version: "9.1.1.3841".into(),
            ..ReportConnected::default()
        },
    );
}

#[test]
fn funnel_info() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  20 00 00 00  4D 4D 53 20"
        "04 00 00 00  01 00 00 00  00 00 00 00  00 00 00 00"
        "02 00 00 00  18 00 03 00  EF F0 F0 F0  00 00 00 00"
    );
    viewer(
        &packet,
        FunnelInfo {
            play_incarnation: Incarnation::NO_PACKET_PAIR,
        },
    );
}

#[test]
fn report_funnel_info() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  40 00 00 00  4D 4D 53 20"
        "08 00 00 00  01 00 00 00  00 00 00 00  00 00 00 00"
        "06 00 00 00  15 00 04 00  00 00 00 00  EF F0 F0 F0"
        "08 00 00 00  01 00 00 00  00 00 01 00  34 12 ED 5E"
        "00 00 00 00  01 00 00 00  00 00 00 00  00 00 00 00"
    );
    mac(
        &packet,
        ReportFunnelInfo {
            client_id: 0x5EED_1234,
            ..ReportFunnelInfo::default()
        },
    );
}

#[test]
fn the_three_packet_pair_packets_have_512_512_and_1056_bytes() {
    let sizes = ReportFunnelInfo::PAIR_BYTES.map(|size| {
        let report = ReportFunnelInfo {
            play_incarnation: Incarnation::PACKET_PAIR_TCP,
            pair_bytes: vec![0xA5; size],
            ..ReportFunnelInfo::default()
        };
        let mut out = Vec::new();
        MacMessage::from(report.clone()).encode(0, &mut Writer::new(&mut out));
        mac(&out, report);
        out.len()
    });
    assert_eq!(sizes, [512, 512, 1056]); // section 4.5
}

#[test]
fn connect_funnel() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  58 00 00 00  4D 4D 53 20"
        "0B 00 00 00  02 00 00 00  00 00 00 00  00 00 00 00"
        "09 00 00 00  02 00 03 00  00 00 00 00  FF FF FF FF"
        "00 00 00 00  80 96 98 00  02 00 00 00  5C 00 5C 00"
        "31 00 32 00  37 00 2E 00  30 00 2E 00  30 00 2E 00"
        "31 00 5C 00  54 00 43 00  50 00 5C 00  31 00 32 00"
        "33 00 34 00  00 00 00 00"
    );
    viewer(
        &packet,
        ConnectFunnel {
            play_incarnation: Incarnation(0),
            max_block_bytes: 0xFFFF_FFFF,
            max_funnel_bytes: 0,
            max_bit_rate: 10_000_000,
            funnel_mode: 2,
            funnel_name: r"\\127.0.0.1\TCP\1234".into(),
        },
    );
}

#[test]
fn report_connected_funnel() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  50 00 00 00  4D 4D 53 20"
        "0A 00 00 00  02 00 00 00  00 00 00 00  00 00 00 00"
        "08 00 00 00  02 00 04 00  00 00 00 00  00 00 00 00"
        "00 00 00 00  46 00 75 00  6E 00 6E 00  65 00 6C 00"
        "20 00 4F 00  66 00 20 00  54 00 68 00  65 00 20 00"
        "47 00 6F 00  64 00 73 00  00 00 00 00  00 00 00 00"
    );
    mac(&packet, ReportConnectedFunnel::default());
}

#[test]
fn open_file() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  40 00 00 00  4D 4D 53 20"
        "08 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00"
        "06 00 00 00  05 00 03 00  09 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00  6C 00 69 00  76 00 65 00"
        "32 00 2E 00  61 00 73 00  66 00 00 00  00 00 00 00"
    );
    let expected = OpenFile {
        play_incarnation: Incarnation(9),
        file_name: "live2.asf".into(),
        ..OpenFile::default()
    };
    viewer(&packet, expected);
}

#[test]
fn report_open_file() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  88 00 00 00  4D 4D 53 20"
        "11 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00"
        "0F 00 00 00  06 00 04 00  00 00 00 00  09 00 00 00"
        "01 00 00 00  00 00 00 00  00 00 00 00  00 00 00 02"
        "00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00  00 00 00 00  A4 05 00 00"
        "00 00 00 00  00 00 00 00  E0 8D 05 00  2F 03 00 00"
        "00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00"
    );
    assert_eq!(packet.len(), 152);
    mac(
        &packet,
        ReportOpenFile {
            play_incarnation: Incarnation(9),
            open_file_id: 1,
            file_attributes: attributes::BROADCAST,
            packet_bytes: 1444,
            bit_rate: 364_000,
            header_bytes: 815,
            ..ReportOpenFile::default()
        },
    );
}

#[test]
fn read_block() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  48 00 00 00  4D 4D 53 20"
        "09 00 00 00  04 00 00 00  00 00 00 00  00 00 00 00"
        "07 00 00 00  15 00 03 00  01 00 00 00  00 00 00 00"
        "00 00 00 00  00 80 00 00  FF FF FF FF  00 00 00 00"
        "00 00 00 00  00 00 00 00  00 00 00 00  00 20 AC 40"
        "01 00 00 00  00 00 00 00"
    );
    viewer(
        &packet,
        ReadBlock {
            open_file_id: 1,
            length: 0x8000,
            flags: 0xFFFF_FFFF,
            deadline_seconds: 3600.0,
            play_incarnation: Incarnation(1),
            ..ReadBlock::default()
        },
    );
}

#[test]
fn report_read_block() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  28 00 00 00  4D 4D 53 20"
        "05 00 00 00  04 00 00 00  00 00 00 00  00 00 00 00"
        "03 00 00 00  11 00 04 00  00 00 00 00  01 00 00 00"
        "00 00 00 00  00 00 00 00"
    );
    mac(
        &packet,
        ReportReadBlock {
            play_incarnation: Incarnation(1),
            ..ReportReadBlock::default()
        },
    );
}

#[test]
fn stream_switch() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  28 00 00 00  4D 4D 53 20"
        "05 00 00 00  05 00 00 00  00 00 00 00  00 00 00 00"
        "03 00 00 00  33 00 03 00  02 00 00 00  FF FF 01 00"
        "00 00 FF FF  02 00 00 00"
    );
    viewer(
        &packet,
        StreamSwitch::new(vec![StreamEntry::select(1, 0), StreamEntry::select(2, 0)]),
    );
}

#[test]
fn stream_switch_never_reads_beyond_the_message() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  28 00 00 00  4D 4D 53 20"
        "05 00 00 00  05 00 00 00  00 00 00 00  00 00 00 00"
        "03 00 00 00  33 00 03 00  05 00 00 00  FF FF 01 00" // mplayer: 5 announced, 2 there
        "00 00 FF FF  02 00 00 00"
    );
    let entries = vec![StreamEntry::select(1, 0), StreamEntry::select(2, 0)];
    viewer(
        &packet,
        StreamSwitch {
            announced: 5,
            entries,
        },
    );
}

#[test]
fn start_playing_with_acceleration() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  48 00 00 00  4D 4D 53 20"
        "09 00 00 00  06 00 00 00  00 00 00 00  00 00 00 00"
        "07 00 00 00  07 00 03 00  01 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00  FF FF FF FF  FF FF FF FF"
        "00 00 00 00  0A 00 00 00  E0 67 35 00  88 13 00 00"
        "40 4B 4C 00  00 00 00 00"
    );
    viewer(
        &packet,
        StartPlaying {
            acceleration: FULL_ACCELERATION,
            ..start_playing()
        },
    );
}

#[test]
fn start_playing_without_and_with_half_of_the_optional_fields() {
    let plain = hex!(
        "01 00 00 00  CE FA 0B B0  38 00 00 00  4D 4D 53 20"
        "07 00 00 00  06 00 00 00  00 00 00 00  00 00 00 00"
        "05 00 00 00  07 00 03 00  01 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00  FF FF FF FF  FF FF FF FF"
        "00 00 00 00  0A 00 00 00" // section 5.17: chunkLen 5, none
    );
    viewer(&plain, start_playing());
    let half = hex!(
        "01 00 00 00  CE FA 0B B0  40 00 00 00  4D 4D 53 20"
        "08 00 00 00  06 00 00 00  00 00 00 00  00 00 00 00"
        "06 00 00 00  07 00 03 00  01 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00  FF FF FF FF  FF FF FF FF"
        "00 00 00 00  0A 00 00 00  E0 67 35 00  88 13 00 00" // chunkLen 6: bandwidth and duration
    );
    viewer(
        &half,
        StartPlaying {
            acceleration: Acceleration {
                link: None,
                ..FULL_ACCELERATION
            },
            ..start_playing()
        },
    );
}

const FULL_ACCELERATION: Acceleration = Acceleration {
    bandwidth: Some(3_500_000),
    duration_ms: Some(5000),
    link: Some(5_000_000),
};

fn start_playing() -> StartPlaying {
    StartPlaying {
        open_file_id: 1,
        asf_offset: u32::MAX,
        location_id: u32::MAX,
        play_incarnation: Incarnation(10),
        ..StartPlaying::default()
    }
}

#[test]
fn report_stream_switch() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  20 00 00 00  4D 4D 53 20"
        "04 00 00 00  05 00 00 00  00 00 00 00  00 00 00 00"
        "02 00 00 00  21 00 04 00  00 00 00 00  00 00 00 00"
    );
    mac(&packet, ReportStreamSwitch { hr: HResult::S_OK });
}

#[test]
fn report_started_playing() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  38 00 00 00  4D 4D 53 20"
        "07 00 00 00  06 00 00 00  00 00 00 00  00 00 00 00"
        "05 00 00 00  05 00 04 00  00 00 00 00  0A 00 00 00"
        "01 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00"
        "00 00 00 00  00 00 00 00"
    );
    let expected = ReportStartedPlaying {
        play_incarnation: Incarnation(10),
        open_file_id: 1,
        ..ReportStartedPlaying::default()
    };
    mac(&packet, expected);
}

#[test]
fn stop_playing() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  20 00 00 00  4D 4D 53 20"
        "04 00 00 00  07 00 00 00  00 00 00 00  00 00 00 00"
        "02 00 00 00  09 00 03 00  01 00 00 00  0A 00 00 00"
    );
    viewer(
        &packet,
        StopPlaying {
            open_file_id: 1,
            play_incarnation: Incarnation(10),
        },
    );
}

#[test]
fn end_of_stream() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  20 00 00 00  4D 4D 53 20"
        "04 00 00 00  07 00 00 00  00 00 00 00  00 00 00 00"
        "02 00 00 00  1E 00 04 00  00 00 00 00  0A 00 00 00"
    );
    mac(
        &packet,
        ReportEndOfStream {
            hr: HResult::S_OK,
            play_incarnation: Incarnation(10),
        },
    );
}

#[test]
fn close_file() {
    let packet = hex!(
        "01 00 00 00  CE FA 0B B0  20 00 00 00  4D 4D 53 20"
        "04 00 00 00  08 00 00 00  00 00 00 00  00 00 00 00"
        "02 00 00 00  0D 00 03 00  00 00 00 00  01 00 00 00"
    );
    viewer(
        &packet,
        CloseFile {
            play_incarnation: Incarnation(0),
            open_file_id: 1,
        },
    );
}

// From here on: messages that section 14 does not show, bodies laid out by hand from the tables of section 5.

fn packet(sequence: u8, message: &[u8]) -> Vec<u8> {
    let mut packet = hex!("01 00 00 00 CE FA 0B B0 00 00 00 00 4D 4D 53 20 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00").to_vec();
    let length = message.len() as u32 + 16;
    packet[8..12].copy_from_slice(&length.to_le_bytes());
    packet[16..20].copy_from_slice(&(length / 8).to_le_bytes());
    packet[20] = sequence;
    packet.extend_from_slice(message);
    packet
}

#[test]
fn report_disconnected_funnel() {
    let message = hex!("02 00 00 00  03 00 04 00  D1 00 0D C0  00 00 00 00"); // section 5.7
    let expected = ReportDisconnectedFunnel {
        hr: HResult::NS_E_UDP_DISABLED,
        play_incarnation: Incarnation(0),
    };
    mac(&packet(2, &message), expected);
}

#[test]
fn report_redirect() {
    let message = hex!(
        "05 00 00 00  22 00 04 00  00 00 00 00  01 00 16 00" // section 5.10: hr, type 1, 22 bytes
        "6D 00 6D 00  73 00 3A 00  2F 00 2F 00  68 00 2F 00"
        "6C 00 32 00  00 00 00 00"
    );
    let redirect = ReportRedirect {
        hr: HResult::S_OK,
        redirect_type: 1,
        location: "mms://h/l2".into(),
    };
    mac(&packet(3, &message), redirect);
}

#[test]
fn security_challenge_and_response() {
    let challenge =
        hex!("03 00 00 00  1A 00 04 00  09 00 00 00  07 00 00 00  02 00 00 00  00 00 00 00"); // section 5.11
    let expected = SecurityChallenge {
        play_incarnation: Incarnation(9),
        cookie: 7,
        token: vec![0, 0],
    };
    mac(&packet(3, &challenge), expected);
    let response =
        hex!("03 00 00 00  1A 00 03 00  09 00 00 00  07 00 00 00  04 00 00 00  61 62 63 00");
    let expected = SecurityResponse {
        play_incarnation: Incarnation(9),
        cookie: 7,
        token: b"abc\0".to_vec(),
    };
    viewer(&packet(4, &response), expected);
}

#[test]
fn open_file_with_a_token() {
    let message = hex!(
        "04 00 00 00  05 00 03 00  01 00 00 00  FF FF FF FF" // section 5.8: incarnation, spare
        "04 00 00 00  04 00 00 00  61 00 00 00  62 63 64 00" // token at 4, 4 bytes, "a" NUL, "bcd" NUL
    );
    let expected = OpenFile {
        play_incarnation: Incarnation(1),
        spare: u32::MAX,
        file_name: "a".into(),
        token: b"bcd\0".to_vec(),
    };
    viewer(&packet(3, &message), expected);
}

#[test]
fn a_token_outside_of_the_message_is_an_error() {
    for (offset, size) in [(100u32, 4u32), (4, 100), (u32::MAX, 1), (4, u32::MAX)] {
        let mut body =
            hex!("01 00 00 00 FF FF FF FF 00 00 00 00 00 00 00 00 61 00 00 00 62 63 64 00");
        body[8..12].copy_from_slice(&offset.to_le_bytes());
        body[12..16].copy_from_slice(&size.to_le_bytes());
        let error =
            ViewerMessage::decode(Mid::OPEN_FILE, funnel_wire::codec::Reader::new(&body, 8))
                .unwrap_err();
        assert_eq!(error.mid, Mid::OPEN_FILE, "{offset} {size}");
    }
}

#[test]
fn cancel_read_block() {
    let message = hex!("02 00 00 00  25 00 03 00  02 00 00 00  00 00 00 00"); // section 5.14
    viewer(
        &packet(5, &message),
        CancelReadBlock {
            play_incarnation: Incarnation(2),
        },
    );
}

#[test]
fn striding() {
    let message = hex!(
        "06 00 00 00  28 00 03 00  01 00 00 00  00 00 00 00" // section 5.19
        "00 00 00 00  00 00 00 00  FF FF FF FF  FF FF FF FF"
        "00 00 00 00  0B 00 00 00  00 00 00 00  00 00 14 C0"
    );
    let expected = StartStriding {
        open_file_id: 1,
        asf_offset: u32::MAX,
        location_id: u32::MAX,
        play_incarnation: Incarnation(11),
        rate: -5.0,
        ..StartStriding::default()
    };
    viewer(&packet(6, &message), expected);
    let report =
        hex!("03 00 00 00  0A 00 04 00  45 00 0D C0  0B 00 00 00  00 00 00 00  00 00 00 00");
    let expected = ReportStartStriding {
        hr: HResult::NS_E_STRIDE_REFUSED,
        play_incarnation: Incarnation(11),
        spare: 0,
    };
    mac(&packet(6, &report), expected);
}

#[test]
fn stream_change() {
    let message = hex!(
        "04 00 00 00  20 00 04 00  00 00 00 00  FF 00 00 00" // section 5.22
        "A4 05 00 00  2F 03 00 00  E0 8D 05 00  00 00 00 00"
    );
    let expected = ReportStreamChange {
        hr: HResult::S_OK,
        header_incarnation: Incarnation(0xFF),
        packet_bytes: 1444,
        header_bytes: 815,
        bit_rate: 364_000,
        stream_id: 0,
    };
    mac(&packet(9, &message), expected);
}

#[test]
fn ping_and_pong() {
    mac(
        &packet(
            9,
            &hex!("02 00 00 00  1B 00 04 00  00 00 00 00  00 00 00 00"),
        ),
        Ping::default(),
    ); // section 5.23
    let ffmpeg = hex!("02 00 00 00  1B 00 03 00  01 00 00 00  FF FF 00 01");
    viewer(
        &packet(9, &ffmpeg),
        Pong {
            param1: 1,
            param2: 0x0100_FFFF,
        },
    );
}

#[test]
fn logging_has_1536_bytes() {
    let log = ClientLog {
        url: "mms://h/live".into(),
        packets_received: 5,
        ..ClientLog::default()
    };
    let mut out = Vec::new();
    ViewerMessage::from(Logging {
        log: Box::new(log.clone()),
    })
    .encode(7, &mut Writer::new(&mut out));
    assert_eq!(out.len(), 1536); // section 5.24
    viewer(&out, Logging { log: Box::new(log) });
}

#[test]
fn an_unknown_message_is_kept_as_its_number() {
    let (_, mid, body) = only_message(&packet(
        1,
        &hex!("02 00 00 00  30 00 03 00  01 02 03 04  05 06 07 08"),
    ));
    let message = ViewerMessage::decode(mid, funnel_wire::codec::Reader::new(&body, 8)).unwrap();
    assert_eq!(message, ViewerMessage::Unknown(Mid(0x0003_0030)));
    assert_eq!(mid.to_string(), "0x00030030");
}
