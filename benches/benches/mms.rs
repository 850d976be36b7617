//! The MMS codec: each message both ways, the head of a Data packet, the framer.

use std::fmt;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use funnel_benches::player;
use funnel_wire::codec::{Reader, Writer};
use funnel_wire::mms::*;
use zerocopy::{FromBytes, IntoBytes};

fn main() {
    divan::main();
}

/// A message of either direction.
#[derive(Clone)]
enum Sample {
    Viewer(ViewerMessage),
    Mac(MacMessage),
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mid().name().unwrap_or("unknown"))
    }
}

impl Sample {
    fn mid(&self) -> Mid {
        match self {
            Self::Viewer(message) => message.mid(),
            Self::Mac(message) => message.mid(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let out = &mut Writer::new(out);
        match self {
            Self::Viewer(message) => message.encode(7, out),
            Self::Mac(message) => message.encode(7, out),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// One message of each kind, as real conversations carry them.
fn samples() -> Vec<Sample> {
    let viewer: Vec<ViewerMessage> = player::requests("radio")
        .into_iter()
        .chain([
            FunnelInfo {
                play_incarnation: Incarnation::NO_PACKET_PAIR,
            }
            .into(),
            SecurityResponse {
                token: vec![0x41; 40],
                ..SecurityResponse::default()
            }
            .into(),
            CancelReadBlock {
                play_incarnation: Incarnation(2),
            }
            .into(),
            StreamSwitch::new(vec![StreamEntry::select(1, 0), StreamEntry::select(2, 0)]).into(),
            StartStriding::default().into(),
            StopPlaying::default().into(),
            Pong::default().into(),
            Logging::default().into(),
            CloseFile::default().into(),
        ])
        .collect();
    let mac: [MacMessage; 14] = [
        ReportConnected {
            server_version: "9.1.1.3841".into(),
            ..ReportConnected::default()
        }
        .into(),
        ReportFunnelInfo::default().into(),
        ReportConnectedFunnel::default().into(),
        ReportDisconnectedFunnel::default().into(),
        ReportOpenFile::default().into(),
        ReportRedirect {
            location: "mms://radio.example/live".into(),
            ..ReportRedirect::default()
        }
        .into(),
        SecurityChallenge {
            token: vec![0x41; 40],
            ..SecurityChallenge::default()
        }
        .into(),
        ReportReadBlock::default().into(),
        ReportStreamSwitch::default().into(),
        ReportStartedPlaying::default().into(),
        ReportStartStriding::default().into(),
        ReportEndOfStream::default().into(),
        ReportStreamChange::default().into(),
        Ping::default().into(),
    ];
    let viewer = viewer.into_iter().map(Sample::Viewer);
    viewer.chain(mac.into_iter().map(Sample::Mac)).collect()
}

/// A whole TCP packet into a buffer that is used again.
#[divan::bench(args = samples())]
fn encode(bencher: Bencher<'_, '_>, sample: &Sample) {
    let mut out = sample.encoded();
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        out.clear();
        black_box(sample).encode(&mut out);
        black_box(&mut out).len()
    });
}

/// From the bytes of a TCP packet to the message.
#[divan::bench(args = samples())]
fn decode(bencher: Bencher<'_, '_>, sample: &Sample) {
    let packet = sample.encoded();
    let decode_one = |mid: Mid, reader: Reader<'_>| match sample {
        Sample::Viewer(_) => ViewerMessage::decode(mid, reader).map(Sample::Viewer),
        Sample::Mac(_) => MacMessage::decode(mid, reader).map(Sample::Mac),
    };
    bencher
        .counter(BytesCount::new(packet.len()))
        .bench_local(|| {
            let unit = split(black_box(&packet), Traffic::Messages, 0);
            let Ok(Some((Frame::Message(frame), _))) = unit else {
                panic!("a whole message")
            };
            let (mid, reader) = frame.messages().next().expect("one message");
            decode_one(mid, reader).expect("well-formed")
        });
}

/// The 8 bytes in front of a media packet.
#[divan::bench]
fn data_head_encode(bencher: Bencher<'_, '_>) {
    let mut out = [0; 8];
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        let head = DataHeader::new(black_box(5300), 10, black_box(7), 1444);
        out.copy_from_slice(head.as_bytes());
        black_box(&mut out)[0]
    });
}

/// The same, read.
#[divan::bench]
fn data_head_decode(bencher: Bencher<'_, '_>) {
    let bytes = DataHeader::new(5300, 10, 7, 1444).as_bytes().to_vec();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| DataHeader::read_from_bytes(black_box(&bytes)));
}

/// A client's framer over 100 trains of 5 packets, in reads of so many bytes (1,460: one segment each).
#[divan::bench(args = [64, 1_460, 16_384, 1 << 20])]
fn framer(bencher: Bencher<'_, '_>, read_bytes: usize) {
    let mut stream = Vec::new();
    for number in 0..500u32 {
        let head = DataHeader::new(number, 4, number.to_le_bytes()[0], 1444);
        stream.extend_from_slice(head.as_bytes());
        stream.resize(stream.len() + 1444, 0xA5);
    }
    bencher
        .counter(BytesCount::new(stream.len()))
        .bench_local(|| {
            let mut framer = Framer::new(Traffic::MessagesAndData);
            let mut packets = 0;
            for mut input in black_box(&stream).chunks(read_bytes) {
                while let Some(frame) = framer.next(&mut input).expect("in step") {
                    black_box(frame);
                    packets += 1;
                }
            }
            assert_eq!(packets, 500);
        });
}
