//! One parity packet for each span of data packets: the XOR of what follows their error correction parts (§3).
//!
//! A restored packet is as long as the longest of its span: what it had less of is zeros behind it. A reader must find the end
//! in the packet itself (explicit Packet Length), or bear zeros.

use crate::msb::correction::{Correction, CorrectionError, Place};

/// Data packets in a span, 1 to 14: with 15 the parity packet's number does not fit into its 4 bits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(u8);

impl Span {
    /// What Windows Media Services use.
    pub const USUAL: Self = Self(10);
    /// The longest.
    pub const MAX: Self = Self(14);

    /// `None` unless from 1 to 14.
    pub fn new(packets: usize) -> Option<Self> {
        let packets = u8::try_from(packets).ok()?;
        (1..=Self::MAX.0)
            .contains(&packets)
            .then_some(Self(packets))
    }

    /// How many data packets.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Why no parity packet could be made, or no packet restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParityError {
    /// A packet without usable error correction part.
    #[error(transparent)]
    Correction(#[from] CorrectionError),
    /// A data packet in place of parity, or the other way round.
    #[error("a parity packet among data, or none where one should be")]
    Kind,
    /// Packets of different spans.
    #[error("cycle {found} in a span of cycle {wanted}")]
    Cycle {
        /// Of the span.
        wanted: u8,
        /// Of the packet.
        found: u8,
    },
    /// Too few or too many packets. XOR restores one loss, no more.
    #[error("{found} data packets where {wanted} are needed")]
    Count {
        /// So many are needed; for [`compose`] the most.
        wanted: usize,
        /// So many are there.
        found: usize,
    },
    /// A data packet longer than the parity of its span.
    #[error("a data packet of {bytes} bytes in a span whose parity has {parity_bytes}")]
    Longer {
        /// Size of the ASF packet.
        bytes: usize,
        /// Size of the parity packet.
        parity_bytes: usize,
    },
    /// No data packet of this span can have this number.
    #[error("no data packet {number} in a span of {span}")]
    Number {
        /// Counted from 1.
        number: u8,
        /// Data packets of the span.
        span: u8,
    },
}

/// Appends the parity packet of a span: `data` are its ASF packets in order, error correction parts included.
///
/// A last span may be shorter than the others.
///
/// # Errors
/// Not 1 to 14 packets, or one that is not a data packet of the same cycle. Nothing is appended.
pub fn compose(data: &[&[u8]], out: &mut Vec<u8>) -> Result<(), ParityError> {
    let span = Span::new(data.len()).ok_or(ParityError::Count {
        wanted: Span::MAX.0.into(),
        found: data.len(),
    })?;
    let cycle = data_place(data[0])?.cycle;
    check(data, cycle)?;
    let longest = data.iter().map(|packet| packet.len()).max().unwrap_or(0);
    let start = out.len();
    let number = span.0 + 1;
    out.extend_from_slice(&Correction::Parity(Place { number, cycle }).encode());
    out.resize(start + longest, 0);
    fold(data, &mut out[start..]);
    Ok(())
}

/// Appends data packet `number` (from 1) of a span, from its parity packet and all its other data packets in any order.
///
/// It is as long as the parity packet; the bytes the lost one did not have are zeros. With [`lost_id`] this is the whole
/// datagram but its stream id, which is that of the parity packet.
///
/// # Errors
/// Packets missing, of another span, or not what they should be. Nothing is appended.
pub fn restore(
    parity: &[u8],
    others: &[&[u8]],
    number: u8,
    out: &mut Vec<u8>,
) -> Result<(), ParityError> {
    let Correction::Parity(place) = Correction::decode(parity)? else {
        return Err(ParityError::Kind);
    };
    let span = place.number.saturating_sub(1);
    if !(1..=span).contains(&number) {
        return Err(ParityError::Number { number, span });
    }
    let wanted = usize::from(span) - 1;
    if others.len() != wanted {
        let found = others.len();
        return Err(ParityError::Count { wanted, found });
    }
    check(others, place.cycle)?;
    if let Some(longer) = others.iter().find(|packet| packet.len() > parity.len()) {
        return Err(ParityError::Longer {
            bytes: longer.len(),
            parity_bytes: parity.len(),
        });
    }
    let start = out.len();
    let cycle = place.cycle;
    out.extend_from_slice(&Correction::Data(Place { number, cycle }).encode());
    out.extend_from_slice(&parity[Correction::BYTES..]);
    fold(others, &mut out[start..]);
    Ok(())
}

/// dwPacketID of data packet `number` (from 1) of a span whose parity packet has `parity_id`; wraps as the ids do.
///
/// The other way round: the data packets of a span have the ids from that of number 1 to `parity_id`.
pub fn lost_id(parity_id: u32, span: Span, number: u8) -> u32 {
    parity_id
        .wrapping_sub(span.0.into())
        .wrapping_add(number.into())
}

fn data_place(packet: &[u8]) -> Result<Place, ParityError> {
    match Correction::decode(packet)? {
        Correction::Data(place) => Ok(place),
        Correction::None | Correction::Parity(_) => Err(ParityError::Kind),
    }
}

fn check(data: &[&[u8]], wanted: u8) -> Result<(), ParityError> {
    for packet in data {
        let found = data_place(packet)?.cycle;
        if found != wanted {
            return Err(ParityError::Cycle { wanted, found });
        }
    }
    Ok(())
}

/// XORs all packets into `sum` behind its error correction part; none is longer than it.
fn fold(packets: &[&[u8]], sum: &mut [u8]) {
    for packet in packets {
        let body = sum.iter_mut().zip(*packet).skip(Correction::BYTES);
        body.for_each(|(sum, byte)| *sum ^= byte);
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    fn parity_of(data: &[&[u8]]) -> Result<Vec<u8>, ParityError> {
        let mut out = b"before".to_vec();
        let made = compose(data, &mut out);
        assert!(out.starts_with(b"before"));
        if made.is_err() {
            assert_eq!(out, b"before");
        }
        made.map(|()| out[6..].to_vec())
    }

    #[test]
    fn a_span_of_three_by_hand() {
        let data: [&[u8]; 3] = [
            &hex!("82 11 05 01 02 03"),
            &hex!("82 21 05 10 20"),
            &hex!("82 31 05 0F FF 00 80"),
        ];
        let parity = parity_of(&data).unwrap();
        assert_eq!(parity, hex!("92 42 05 1E DD 03 80"));
        let mut out = Vec::new();
        restore(&parity, &[data[2], data[0]], 2, &mut out).unwrap();
        assert_eq!(
            out,
            hex!("82 21 05 10 20 00 00"),
            "zeros behind the shorter"
        );
        out.clear();
        restore(&parity, &data[..2], 3, &mut out).unwrap();
        assert_eq!(out, data[2]);
    }

    #[test]
    fn each_of_ten_lost_packets_is_restored() {
        let packets: Vec<Vec<u8>> = (1..=10u8)
            .map(|number| {
                let cycle = 255;
                let mut packet = Correction::Data(Place { number, cycle }).encode().to_vec();
                packet.extend((0..40 + 7 * u32::from(number)).map(|at| (at * at) as u8 ^ number));
                packet
            })
            .collect();
        let data: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let parity = parity_of(&data).unwrap();
        assert_eq!(parity[..3], hex!("92 B2 FF"));
        for lost in 0..10 {
            let mut others = data.clone();
            others.remove(lost);
            let mut out = Vec::new();
            restore(&parity, &others, lost as u8 + 1, &mut out).unwrap();
            assert_eq!(out.len(), parity.len());
            let (packet, zeros) = out.split_at(data[lost].len());
            assert_eq!(packet, data[lost]);
            assert!(zeros.iter().all(|byte| *byte == 0));
        }
        assert_eq!(
            restore(&parity, &data[2..], 1, &mut Vec::new()),
            Err(ParityError::Count {
                wanted: 9,
                found: 8
            }),
            "two losses"
        );
    }

    #[test]
    fn servers_that_number_every_packet_1_are_served() {
        let data: [&[u8]; 2] = [&hex!("82 11 00 01"), &hex!("82 11 00 02")];
        let parity = parity_of(&data).unwrap();
        let mut out = Vec::new();
        restore(&parity, &data[..1], 2, &mut out).unwrap();
        assert_eq!(out, hex!("82 21 00 02"));
    }

    #[test]
    fn a_span_of_one_is_a_copy() {
        let parity = parity_of(&[&hex!("82 11 00 AB")]).unwrap();
        assert_eq!(parity, hex!("92 22 00 AB"));
        let mut out = Vec::new();
        restore(&parity, &[], 1, &mut out).unwrap();
        assert_eq!(out, hex!("82 11 00 AB"));
    }

    #[test]
    fn ids_run_up_to_that_of_the_parity() {
        let span = Span::USUAL;
        assert_eq!(lost_id(9, span, 1), 0);
        assert_eq!(lost_id(9, span, 10), 9);
        assert_eq!(lost_id(3, span, 1), u32::MAX - 5);
        assert_eq!((Span::new(0), Span::new(15)), (None, None));
        assert_eq!(Span::new(14), Some(Span::MAX));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let data: &[u8] = &hex!("82 11 00 01");
        let alien: &[u8] = &hex!("82 21 01 01");
        let parity: &[u8] = &hex!("92 32 00 01");
        let none: &[u8] = &hex!("82 00 00 01");
        let cycle = Err(ParityError::Cycle {
            wanted: 0,
            found: 1,
        });
        assert_eq!(parity_of(&[data, alien]).map(drop), cycle);
        assert_eq!(parity_of(&[data, parity]), Err(ParityError::Kind));
        assert_eq!(parity_of(&[none]), Err(ParityError::Kind));
        let short = ParityError::Correction(CorrectionError::Short { bytes: 2 });
        assert_eq!(parity_of(&[data, &data[..2]]), Err(short));
        for found in [0, 15] {
            let count = ParityError::Count { wanted: 14, found };
            assert_eq!(parity_of(&vec![data; found]), Err(count));
        }
        let restored = |parity: &[u8], others: &[&[u8]], number| {
            let mut out = Vec::new();
            let result = restore(parity, others, number, &mut out);
            assert_eq!(result.is_err(), out.is_empty());
            result
        };
        assert_eq!(restored(parity, &[alien], 2), cycle);
        assert_eq!(restored(data, &[data], 2), Err(ParityError::Kind));
        assert_eq!(restored(parity, &[parity], 2), Err(ParityError::Kind));
        for number in [0, 3, 255] {
            let wrong = ParityError::Number { number, span: 2 };
            assert_eq!(restored(parity, &[data], number), Err(wrong));
        }
        let long: &[u8] = &hex!("82 11 00 01 02");
        let longer = ParityError::Longer {
            bytes: 5,
            parity_bytes: 4,
        };
        assert_eq!(restored(parity, &[long], 2), Err(longer));
        let empty: &[u8] = &hex!("92 02 00");
        assert_eq!(
            restored(empty, &[], 1),
            Err(ParityError::Number { number: 1, span: 0 })
        );
    }
}
