//! Datagrams of a multicast group: decode ∘ encode = identity, and any one packet of a span comes back from its parity.
//! Input: pieces, each behind its length (2 bytes).
#![no_main]

use funnel_wire::codec::Writer;
use funnel_wire::msb::{Correction, Datagram, compose, restore};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut packets: Vec<&[u8]> = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (datagram, behind) = behind.split_at(length);
        rest = behind;
        let Ok(decoded) = Datagram::decode(datagram) else {
            continue;
        };
        let mut out = Vec::new();
        decoded
            .encode(&mut Writer::new(&mut out))
            .expect("it came in one");
        assert_eq!(out, datagram);
        if let Datagram::Packet(packet) = decoded {
            packets.push(packet.asf);
        }
    }
    let Some((parity, others)) = packets.split_last() else {
        return;
    };
    for number in [0, 1, others.len() as u8, u8::MAX] {
        let mut out = Vec::new();
        if restore(parity, others, number, &mut out).is_ok() {
            assert_eq!(out.len(), parity.len());
        } else {
            assert!(out.is_empty());
        }
    }
    let mut parity = Vec::new();
    if compose(&packets, &mut parity).is_err() {
        return;
    }
    for (index, lost) in packets.iter().enumerate() {
        let mut others = packets.clone();
        others.remove(index);
        let mut out = Vec::new();
        restore(&parity, &others, index as u8 + 1, &mut out).expect("all the others");
        let body = &lost[Correction::BYTES..];
        assert!(out[Correction::BYTES..].starts_with(body));
    }
});
