//! The first three bytes of an ASF packet on a group: its place in a span of error correction (§3).

/// Error correction part of an ASF packet.
///
/// ```text
/// | flags 1: present 0x80, length type 0x60, opaque 0x10, length 0x0F | number << 4 + type 1 | cycle 1 |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Correction {
    /// Belongs to no span.
    None,
    /// A data packet. Servers may write 1 as the number of each (§3).
    Data(Place),
    /// The parity packet behind the data packets of its span, with its size + 1 as number.
    Parity(Place),
}

/// Place in a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Counted from 1, 4 bits.
    pub number: u8,
    /// The same for all packets of a span, +1 for each span, wraps.
    pub cycle: u8,
}

/// Why the start of an ASF packet is no error correction part of MSB.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CorrectionError {
    /// Fewer than three bytes.
    #[error("an ASF packet of {bytes} bytes has no error correction part")]
    Short {
        /// How many.
        bytes: usize,
    },
    /// Neither 0x82 nor 0x92.
    #[error("error correction flags 0x{0:02X}")]
    Flags(u8),
    /// The type is not that of the flags.
    #[error("error correction type {kind} with flags 0x{flags:02X}")]
    Kind {
        /// First byte.
        flags: u8,
        /// Low nibble of the second.
        kind: u8,
    },
}

impl Correction {
    /// Bytes it takes.
    pub const BYTES: usize = 3;

    /// Reads it from the start of an ASF packet.
    ///
    /// # Errors
    /// There is none, or one that is not of MSB.
    pub fn decode(asf: &[u8]) -> Result<Self, CorrectionError> {
        let [flags, second, cycle] = *asf
            .first_chunk::<{ Self::BYTES }>()
            .ok_or(CorrectionError::Short { bytes: asf.len() })?;
        let place = Place {
            number: second >> 4,
            cycle,
        };
        match (flags, second & 0xF) {
            (DATA_FLAGS, NO_SPAN) => Ok(Self::None),
            (DATA_FLAGS, DATA) => Ok(Self::Data(place)),
            (PARITY_FLAGS, PARITY) => Ok(Self::Parity(place)),
            (DATA_FLAGS | PARITY_FLAGS, kind) => Err(CorrectionError::Kind { flags, kind }),
            _ => Err(CorrectionError::Flags(flags)),
        }
    }

    /// Its bytes. Only the low 4 bits of a number are written.
    pub fn encode(self) -> [u8; Self::BYTES] {
        match self {
            Self::None => [DATA_FLAGS, 0, 0],
            Self::Data(place) => [DATA_FLAGS, place.number << 4 | DATA, place.cycle],
            Self::Parity(place) => [PARITY_FLAGS, place.number << 4 | PARITY, place.cycle],
        }
    }
}

const DATA_FLAGS: u8 = 0x82;
/// With the bit "opaque data present".
const PARITY_FLAGS: u8 = 0x92;
const NO_SPAN: u8 = 0;
const DATA: u8 = 1;
const PARITY: u8 = 2;

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn the_three_kinds_of_section_3() {
        let place = |number, cycle| Place { number, cycle };
        for (bytes, correction) in [
            (hex!("82 00 00"), Correction::None),
            (hex!("82 11 00"), Correction::Data(place(1, 0))),
            (hex!("82 A1 FF"), Correction::Data(place(10, 255))),
            (hex!("92 B2 FF"), Correction::Parity(place(11, 255))),
            (hex!("92 F2 07"), Correction::Parity(place(15, 7))),
        ] {
            assert_eq!(Correction::decode(&bytes), Ok(correction));
            assert_eq!(correction.encode(), bytes);
        }
    }

    #[test]
    fn every_start_is_one_of_them_or_an_error() {
        for start in 0..=0xFFFF_u16 {
            let [flags, second] = start.to_be_bytes();
            let bytes = [flags, second, 9, 0];
            match Correction::decode(&bytes) {
                // Without a span the number and the cycle mean nothing.
                Ok(Correction::None) => assert_eq!((flags, second & 0xF), (0x82, 0)),
                Ok(correction) => assert_eq!(correction.encode(), bytes[..3]),
                Err(CorrectionError::Flags(told)) => {
                    assert!(told == flags && flags != 0x82 && flags != 0x92);
                }
                Err(CorrectionError::Kind { kind, .. }) => assert_eq!(kind, second & 0xF),
                Err(error) => panic!("{error}"),
            }
        }
        for bytes in 0..3 {
            let error = Correction::decode(&[0x82, 0, 0][..bytes]);
            assert_eq!(error, Err(CorrectionError::Short { bytes }));
        }
    }
}
