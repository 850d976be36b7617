//! A source's bytes, whole and in pieces: the items must not depend on where the pieces are cut.
#![no_main]

use funnel_asf::{Deframer, Item};
use libfuzzer_sys::fuzz_target;

/// What came out, short enough to compare.
#[derive(Debug, PartialEq)]
enum Seen {
    Header(usize),
    Packet(Vec<u8>),
    End,
    Broken,
}

fn drain(deframer: &mut Deframer, seen: &mut Vec<Seen>) -> bool {
    loop {
        match deframer.next() {
            Ok(Some(Item::Header(header))) => seen.push(Seen::Header(header.bytes().len())),
            Ok(Some(Item::Packet(bytes))) => seen.push(Seen::Packet(bytes.to_vec())),
            Ok(Some(Item::End)) => seen.push(Seen::End),
            Ok(None) => return true,
            Err(_) => {
                seen.push(Seen::Broken);
                return false;
            }
        }
    }
}

fn deframe(bytes: &[u8], step: usize) -> Vec<Seen> {
    let mut deframer = Deframer::new();
    let mut seen = Vec::new();
    for piece in bytes.chunks(step) {
        deframer.push(piece);
        if !drain(&mut deframer, &mut seen) {
            return seen;
        }
    }
    deframer.finish();
    drain(&mut deframer, &mut seen);
    seen
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let whole = deframe(bytes, bytes.len());
    assert_eq!(deframe(bytes, 1 + usize::from(*first)), whole);
    // A stream that begins one byte later is another stream, but no reason to break.
    deframe(rest, 7.max(rest.len() / 3));
});
