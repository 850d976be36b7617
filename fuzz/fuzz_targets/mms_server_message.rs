//! A TCP stream from a server, messages and Data packets mixed, whole and in pieces.
#![no_main]

use funnel_wire::codec::Writer;
use funnel_wire::mms::{Frame, Framer, MacMessage, Traffic};
use libfuzzer_sys::fuzz_target;

/// What the stream held, as text: a received NaN is not equal to itself.
fn units(bytes: &[u8], step: usize) -> (Vec<String>, Vec<MacMessage>) {
    let mut framer = Framer::new(Traffic::MessagesAndData);
    let (mut seen, mut messages) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(step.max(1)) {
        loop {
            match framer.next(&mut piece) {
                Ok(Some(Frame::Message(frame))) => {
                    for message in frame
                        .messages()
                        .filter_map(|(mid, body)| MacMessage::decode(mid, body).ok())
                    {
                        seen.push(format!("{message:?}"));
                        messages.push(message);
                    }
                }
                Ok(Some(Frame::Data { header, payload })) => {
                    seen.push(format!("{header:?} {payload:?}"))
                }
                Ok(None) => break,
                Err(_) => return (seen, messages),
            }
        }
    }
    (seen, messages)
}

/// What reading our own writing of `message` gives.
fn rewritten(message: &MacMessage) -> MacMessage {
    let mut encoded = Vec::new();
    message.encode(3, &mut Writer::new(&mut encoded));
    units(&encoded, encoded.len())
        .1
        .pop()
        .expect("a message we wrote")
}

fuzz_target!(|bytes: &[u8]| {
    let (whole, messages) = units(bytes, bytes.len());
    let (pieces, _) = units(bytes, 1 + bytes.len() / 5);
    assert_eq!(whole, pieces, "the cut changes what is read");
    for message in &messages {
        if matches!(message, MacMessage::Unknown(_)) {
            continue;
        }
        // The first writing may tidy up, the second must not change anything.
        let tidy = rewritten(message);
        assert_eq!(
            format!("{:?}", rewritten(&tidy)),
            format!("{tidy:?}"),
            "decode of encode"
        );
    }
});
