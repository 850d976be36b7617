//! A TCP stream from a viewer, whole and in pieces: decoding never panics, and a message once written by us
//! is read and written the same ever after. (The first writing may tidy up: a string that filled its field,
//! entries announced and not sent.)
#![no_main]

use funnel_wire::codec::Writer;
use funnel_wire::mms::{
    Frame, Framer, FunnelName, Path, ResendRequest, SubscriberName, Traffic, ViewerMessage,
};
use libfuzzer_sys::fuzz_target;

fn read(framer: &mut Framer, mut input: &[u8], messages: &mut Vec<ViewerMessage>) -> bool {
    loop {
        match framer.next(&mut input) {
            Ok(Some(Frame::Message(frame))) => {
                messages.extend(
                    frame
                        .messages()
                        .filter_map(|(mid, body)| ViewerMessage::decode(mid, body).ok()),
                );
            }
            Ok(Some(Frame::Data { .. })) => panic!("a viewer sends no Data packets"),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// All messages of the stream, cut into pieces of `step` bytes.
fn messages(bytes: &[u8], step: usize) -> Vec<ViewerMessage> {
    let mut framer = Framer::new(Traffic::Messages);
    let mut all = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        if !read(&mut framer, piece, &mut all) {
            break;
        }
    }
    all
}

/// What reading our own writing of `message` gives.
fn rewritten(message: &ViewerMessage) -> ViewerMessage {
    let mut encoded = Vec::new();
    message.encode(3, &mut Writer::new(&mut encoded));
    messages(&encoded, encoded.len())
        .pop()
        .expect("a message we wrote")
}

fuzz_target!(|bytes: &[u8]| {
    let whole = messages(bytes, bytes.len());
    let pieces = messages(bytes, 1 + bytes.len() / 5);
    // Compared as text: a received NaN is not equal to itself.
    assert_eq!(
        format!("{whole:?}"),
        format!("{pieces:?}"),
        "the cut changes the messages"
    );
    for message in whole
        .iter()
        .filter(|message| !matches!(message, ViewerMessage::Unknown(_)))
    {
        let tidy = rewritten(message);
        assert_eq!(
            format!("{:?}", rewritten(&tidy)),
            format!("{tidy:?}"),
            "decode of encode"
        );
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = SubscriberName::parse(&text).player_version();
    let _ = FunnelName::parse(&text);
    let path = Path::new(text.into_owned());
    let _ = (
        path.candidates(),
        path.query().map(str::len),
        path.is_too_long(),
    );
    if let Ok(request) = ResendRequest::decode(bytes) {
        let mut encoded = Vec::new();
        request.encode(&mut Writer::new(&mut encoded));
        assert_eq!(
            ResendRequest::decode(&encoded).map(|again| format!("{again:?}")),
            Ok(format!("{request:?}"))
        );
    }
});
