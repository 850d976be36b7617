//! A player's side of the handshake as ready-made bytes: Connect to StartPlaying, as the open-source players send it, or a GET.

use funnel_wire::codec::Writer;
use funnel_wire::mms::{
    Connect, ConnectFunnel, Incarnation, MAC_TO_VIEWER_REVISION, OpenFile, ReadBlock, StartPlaying,
    VIEWER_TO_MAC_REVISION, ViewerMessage,
};

/// The requests that bring a session from its connection to streaming, in order.
pub fn requests(channel: &str) -> [ViewerMessage; 5] {
    [
        Connect {
            play_incarnation: Incarnation(0),
            mac_to_viewer_revision: MAC_TO_VIEWER_REVISION,
            viewer_to_mac_revision: VIEWER_TO_MAC_REVISION,
            subscriber_name: "NSPlayer/9.0.0.2980; {3300AD50-2C39-46C0-AE0A-0123456789AB}".into(),
        }
        .into(),
        ConnectFunnel {
            max_block_bytes: u32::MAX,
            funnel_mode: 2,
            funnel_name: r"\\127.0.0.1\TCP\1037".into(),
            ..ConnectFunnel::default()
        }
        .into(),
        OpenFile {
            play_incarnation: Incarnation(1),
            file_name: channel.into(),
            ..OpenFile::default()
        }
        .into(),
        ReadBlock {
            open_file_id: 1,
            play_incarnation: Incarnation(2),
            ..ReadBlock::default()
        }
        .into(),
        StartPlaying {
            open_file_id: 1,
            asf_offset: u32::MAX,
            location_id: u32::MAX,
            play_incarnation: Incarnation(4),
            ..StartPlaying::default()
        }
        .into(),
    ]
}

/// The same as they go over the wire.
pub fn handshake(channel: &str) -> Vec<Vec<u8>> {
    all_encoded(&requests(channel))
}

/// The same for header and media as datagrams.
pub fn handshake_over_udp(channel: &str) -> Vec<Vec<u8>> {
    let mut requests = requests(channel);
    for request in &mut requests {
        if let ViewerMessage::ConnectFunnel(funnel) = request {
            funnel.funnel_name = r"\\127.0.0.1\UDP\1037".into();
        }
    }
    all_encoded(&requests)
}

/// The one request of a player of Windows Media over HTTP; version 1.1 gets chunks.
pub fn play_over_http(channel: &str, version: &str) -> Vec<u8> {
    format!(
        "GET /{channel} HTTP/{version}\r\nHost: 127.0.0.1\r\nUser-Agent: NSPlayer/9.0.0.2980\r\n\
         Pragma: xPlayStrm=1\r\nPragma: version11-enabled=1\r\n\r\n"
    )
    .into_bytes()
}

/// The request of anybody else.
pub fn get(channel: &str) -> Vec<u8> {
    format!("GET /{channel} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n\r\n").into_bytes()
}

fn all_encoded(requests: &[ViewerMessage]) -> Vec<Vec<u8>> {
    (0..)
        .zip(requests)
        .map(|(sequence, message)| encoded(message, sequence))
        .collect()
}

/// One message with its headers.
pub fn encoded(message: &ViewerMessage, sequence: u16) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(sequence, &mut Writer::new(&mut out));
    out
}
