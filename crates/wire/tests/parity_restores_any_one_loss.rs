//! Error correction of multicasts (`docs/protocol/msb-nsc.md` §3) for spans of any packets: the parity packet is the XOR of the
//! page, any one packet comes back, two do not, and arbitrary bytes make errors and no panic.

use funnel_wire::msb::{Correction, ParityError, Place, Span, compose, restore};
use proptest::prelude::*;

prop_compose! {
    /// A cycle, and the ASF packets of one span, numbered or all of them number 1.
    fn span()(
        cycle: u8,
        is_numbered: bool,
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..=14),
    ) -> (u8, Vec<Vec<u8>>) {
        let packets = (1..).zip(&bodies).map(|(number, body)| {
            let number = if is_numbered { number } else { 1 };
            [&Correction::Data(Place { number, cycle }).encode()[..], body].concat()
        });
        (cycle, packets.collect())
    }
}

fn refer(packets: &[Vec<u8>]) -> Vec<&[u8]> {
    packets.iter().map(Vec::as_slice).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_one_of_a_span((cycle, packets) in span()) {
        let data = refer(&packets);
        let mut parity = Vec::new();
        compose(&data, &mut parity).expect("a span");
        prop_assert_eq!(&parity[..3], &[0x92, (data.len() as u8 + 1) << 4 | 2, cycle]);
        prop_assert_eq!(parity.len(), data.iter().map(|packet| packet.len()).max().expect("one at least"));
        for (at, byte) in parity.iter().enumerate().skip(3) {
            let sum = data.iter().fold(0, |sum, packet| sum ^ packet.get(at).unwrap_or(&0));
            prop_assert_eq!(*byte, sum, "byte {}", at);
        }
        for (lost, number) in (0..data.len()).zip(1..) {
            let mut others = data.clone();
            others.remove(lost);
            others.reverse();
            let mut out = Vec::new();
            restore(&parity, &others, number, &mut out).expect("all the others");
            let (body, zeros) = out[3..].split_at(data[lost].len() - 3);
            prop_assert_eq!(body, &data[lost][3..]);
            prop_assert!(zeros.iter().all(|byte| *byte == 0));
            prop_assert_eq!(Correction::decode(&out), Ok(Correction::Data(Place { number, cycle })));
            if others.pop().is_some() {
                let (wanted, found) = (data.len() - 1, others.len());
                let two = restore(&parity, &others, number, &mut Vec::new());
                prop_assert_eq!(two, Err(ParityError::Count { wanted, found }));
            }
        }
    }

    #[test]
    fn a_packet_of_another_span_restores_nothing((cycle, mut packets) in span(), other: u8) {
        prop_assume!(other != cycle && packets.len() > 1);
        let mut parity = Vec::new();
        compose(&refer(&packets), &mut parity).expect("a span");
        packets.pop();
        packets[0][2] = other;
        let mut out = Vec::new();
        let last = Span::new(packets.len() + 1).expect("14 at most").get();
        let error = restore(&parity, &refer(&packets), last, &mut out);
        prop_assert_eq!(error, Err(ParityError::Cycle { wanted: cycle, found: other }));
        prop_assert!(out.is_empty());
    }

    #[test]
    fn what_strangers_send(
        packets in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0x82), Just(0x92), Just(0x12), any::<u8>()], 0..20), 0..17),
        number: u8,
    ) {
        let data = refer(&packets);
        let mut out = Vec::new();
        prop_assert_eq!(compose(&data, &mut out).is_err(), out.is_empty());
        if let Some((parity, others)) = data.split_last() {
            let mut out = Vec::new();
            let restored = restore(parity, others, number, &mut out);
            prop_assert_eq!(out.len(), if restored.is_ok() { parity.len() } else { 0 });
        }
    }
}
