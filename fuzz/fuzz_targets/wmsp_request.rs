//! The stream of an HTTP client, or of a server: a head and the body behind it. Input: a byte that chooses the request (even) or
//! the response, one that says in which steps the body comes, then the stream.
//!
//! Laws: a head is complete at its last byte and not before; written again it says the same; the content of a body does not depend
//! on where it is cut, and nothing is taken twice.
#![no_main]

use funnel_wire::mms::ClientLog;
use funnel_wire::wmsp::{
    Body, BodyLength, FIELDS_MAX, Fault, Fields, HEAD_BYTES_MAX, HeadWriter, RequestHead,
    ResponseHead, UserAgent,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(([kind, step], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let length = if kind & 1 == 0 {
        request(stream)
    } else {
        response(stream)
    };
    let Some((length, size)) = length else { return };
    assert!(size <= HEAD_BYTES_MAX);
    let body = &stream[size..];
    let whole = content(length, body, body.len().max(1));
    assert_eq!(content(length, body, usize::from(*step) + 1), whole);
});

fn request(stream: &[u8]) -> Option<(BodyLength, usize)> {
    let (head, size) = RequestHead::parse(stream).ok()??;
    assert_eq!(RequestHead::parse(&stream[..size - 1]), Ok(None));
    let mut again = Vec::new();
    let writer = HeadWriter::request(&mut again, &head.method, &head.target, head.version);
    write(writer, &head.fields);
    let (read, _) = RequestHead::parse(&again).ok()??; // longer, where bytes were no UTF-8
    assert_eq!(
        (&read.method, &read.target, read.version),
        (&head.method, &head.target, head.version)
    );
    assert_eq!(read.length, head.length);
    look(&head.fields, &read.fields);
    let _ = (
        head.path(),
        head.host(),
        head.agent(),
        head.keeps_connection(),
        head.expects_continue(),
    );
    Some((head.length, size))
}

fn response(stream: &[u8]) -> Option<(BodyLength, usize)> {
    let (head, size) = ResponseHead::parse(stream).ok()??;
    assert_eq!(ResponseHead::parse(&stream[..size - 1]), Ok(None));
    let mut again = Vec::new();
    write(
        HeadWriter::response(&mut again, head.version, head.status),
        &head.fields,
    );
    let (read, _) = ResponseHead::parse(&again).ok()??;
    assert_eq!(
        (read.status, read.version, read.length),
        (head.status, head.version, head.length)
    );
    look(&head.fields, &read.fields);
    let _ = (head.agent(), head.keeps_connection());
    Some((head.length, size))
}

fn write(mut head: HeadWriter<'_>, fields: &Fields) {
    for (name, value) in fields.iter() {
        head = head.field(name, value);
    }
    head.finish();
}

/// What a session asks of a head; written again it is the same but for tabs.
fn look(fields: &Fields, again: &Fields) {
    assert!(fields.iter().count() <= FIELDS_MAX);
    let said: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name, value.replace('\t', " ")))
        .collect();
    let read: Vec<_> = again
        .iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    assert_eq!(said, read);
    let pragmas = fields.pragmas();
    let _ = (
        pragmas.client_id(),
        pragmas.client_guid(),
        pragmas.is_set("xPlayStrm"),
        pragmas.number("rate"),
    );
    for entry in pragmas.switch_entries() {
        let number = entry
            .target
            .and_then(|number| number.resolve(true, |number| number < 128));
        assert!(number.is_none_or(|number| number < 128));
    }
    if let Some(line) = pragmas.text("log-line") {
        ClientLog::from_line(line);
    }
    let _ = (
        fields.content_type(),
        fields.lists("Supported", "x"),
        fields.get("Server").map(UserAgent::parse),
    );
}

/// The content of a body that comes in pieces, whether it is over, and how much of it was taken.
fn content(length: BodyLength, bytes: &[u8], step: usize) -> (Vec<u8>, Result<bool, Fault>, usize) {
    let (mut body, mut unread, mut content, mut taken) =
        (Body::new(length), Vec::new(), Vec::new(), 0);
    for piece in bytes.chunks(step) {
        unread.extend_from_slice(piece);
        loop {
            match body.take(&unread) {
                Ok((0, part)) => {
                    assert!(part.is_empty());
                    break;
                }
                Ok((size, part)) => {
                    content.extend_from_slice(part);
                    taken += size;
                    unread.drain(..size);
                }
                // How much came before the fault was seen depends on the pieces.
                Err(fault) => return (Vec::new(), Err(fault), 0),
            }
        }
    }
    (content, Ok(body.is_over()), taken)
}
