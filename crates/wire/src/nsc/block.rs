//! The encoded block of `.nsc` values (`msb-nsc.md` §8): a checksum, a key, a length and data, six bits a character.
//!
//! ```text
//! "02" | CRC 1 | Key 4, big-endian | Length 4, big-endian | data |   MSB first, the last group padded with zeros
//! ```
//!
//! Lenient where real readers are: a wrong checksum and bytes behind the data are told, not refused.

/// Bytes of EncodedDataHeader.
const HEAD_BYTES: usize = 9;
/// §8: no `=`, no line breaks.
const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz{}";
/// Six bits a character.
const PREFIX: &str = "02";
/// Two hexadecimal digits a byte; VLC reads it, nobody is known to write it.
const PREFIX_HEX: &str = "01";

/// A decoded block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// Format ID of an ASF header, else 0.
    pub key: u32,
    /// Exactly the announced bytes.
    pub data: Vec<u8>,
    /// What the writer of the file got wrong without harm.
    pub oddity: Option<Oddity>,
}

/// A deviation readers live with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Oddity {
    /// The XOR is another: edited by hand, as the specification's own sample (§8), or damaged.
    #[error("checksum 0x{found:02X} instead of 0x{wanted:02X}: edited by hand, or damaged")]
    Checksum {
        /// As in the file.
        found: u8,
        /// Of the bytes.
        wanted: u8,
    },
    /// The block goes on behind its data.
    #[error("{bytes} bytes behind the end of the encoded data")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Why characters are no block.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BlockError {
    /// Begins with neither `02` nor `01`.
    #[error("not encoded: encoded values begin with 02")]
    Prefix,
    /// A character outside the alphabet.
    #[error("character {position} is not one of the encoding")]
    Character {
        /// Counted from 1, from the start of the value.
        position: usize,
    },
    /// Ends within the 9 bytes before the data.
    #[error("the encoded value ends after {bytes} of the 9 bytes of its head")]
    Head {
        /// Whole bytes there.
        bytes: usize,
    },
    /// Ends before the announced length.
    #[error("{announced} bytes announced, {present} there")]
    Length {
        /// The field Length.
        announced: u32,
        /// Whole bytes there.
        present: usize,
    },
}

impl Block {
    /// Does this value claim to be a block?
    pub fn is_one(value: &str) -> bool {
        value.starts_with(PREFIX) || value.starts_with(PREFIX_HEX)
    }

    /// Decodes a value, prefix included. Allocates no more than the value has characters.
    ///
    /// # Errors
    /// What makes it unreadable.
    pub fn decode(value: &str) -> Result<Self, BlockError> {
        let bytes = if let Some(rest) = value.strip_prefix(PREFIX) {
            unpack(rest.as_bytes(), 6, six_bits)
        } else if let Some(rest) = value.strip_prefix(PREFIX_HEX) {
            unpack(rest.as_bytes(), 4, four_bits)
        } else {
            return Err(BlockError::Prefix);
        }?;
        let Some((head, behind)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(BlockError::Head { bytes: bytes.len() });
        };
        let [found, k0, k1, k2, k3, l0, l1, l2, l3] = *head;
        let announced = u32::from_be_bytes([l0, l1, l2, l3]);
        let data = usize::try_from(announced)
            .ok()
            .and_then(|length| behind.get(..length))
            .ok_or(BlockError::Length {
                announced,
                present: behind.len(),
            })?;
        let wanted = xor(&head[1..]) ^ xor(data);
        let trailing = behind.len() - data.len();
        let oddity = if found != wanted {
            Some(Oddity::Checksum { found, wanted })
        } else if trailing > 0 {
            Some(Oddity::Trailing { bytes: trailing })
        } else {
            None
        };
        Ok(Self {
            key: u32::from_be_bytes([k0, k1, k2, k3]),
            data: data.to_vec(),
            oddity,
        })
    }

    /// Appends key and data as one value, prefix included.
    ///
    /// # Panics
    /// On 4 GiB of data or more; every caller has its ceiling far below.
    pub fn encode(key: u32, data: &[u8], out: &mut String) {
        let length = u32::try_from(data.len()).expect("less than 4 GiB of data");
        let mut bytes = Vec::with_capacity(HEAD_BYTES + data.len());
        bytes.push(0);
        bytes.extend_from_slice(&key.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(data);
        bytes[0] = xor(&bytes);
        out.push_str(PREFIX);
        out.reserve((bytes.len() * 8).div_ceil(6));
        for triple in bytes.chunks(3) {
            let mut word = [0; 4];
            word[1..=triple.len()].copy_from_slice(triple);
            let word = u32::from_be_bytes(word);
            for group in 0..=triple.len() {
                let index = word >> (18 - 6 * group) & 0x3F;
                out.push(char::from(ALPHABET[index as usize]));
            }
        }
    }
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// Joins groups of `width` bits, most significant first; bits that fill no byte are padding.
fn unpack(
    characters: &[u8],
    width: u32,
    value: fn(u8) -> Option<u8>,
) -> Result<Vec<u8>, BlockError> {
    let mut bytes = Vec::with_capacity(characters.len() * width as usize / 8);
    let (mut bits, mut count) = (0u32, 0);
    for (index, character) in characters.iter().enumerate() {
        let group = value(*character).ok_or(BlockError::Character {
            position: PREFIX.len() + index + 1,
        })?;
        bits = bits << width | u32::from(group);
        count += width;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xFF) as u8);
        }
    }
    Ok(bytes)
}

fn six_bits(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'A'..=b'Z' => Some(character - b'A' + 10),
        b'a'..=b'z' => Some(character - b'a' + 36),
        b'{' => Some(62),
        b'}' => Some(63),
        _ => None,
    }
}

fn four_bits(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'A'..=b'F' => Some(character - b'A' + 10),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    /// §8: text, encoded, CRC.
    const VECTORS: [(&str, &str, u8); 6] = [
        ("3.0", "029G0000000008Cm0k0300000", 0x25),
        (
            "157.55.149.102",
            "0230000000000UCG0r03S0BW0r03K0BW0n03G0EG0k0340C00o0000",
            0x0C,
        ),
        (
            "239.192.48.179",
            "020G000000000UCW0p03a0BW0n03a0CW0k03G0E00k0340Dm0v0000",
            0x01,
        ),
        ("", "020W0000000002000", 0x02),
        (
            "Windows Media",
            "029m000000000SLm1f06u0P01l07S0Sm0W04q0PG1a06a0OG0000",
            0x27,
        ),
        (
            "MY_COMPUTER, bpp",
            "0200000000000YJG1P05y0Gm1F04q0K01L05G0HG1I02m0801Y0700S00000",
            0x00,
        ),
    ];

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    fn encoded(key: u32, data: &[u8]) -> String {
        let mut out = String::new();
        Block::encode(key, data, &mut out);
        out
    }

    #[test]
    fn the_vectors_of_section_8_both_ways() {
        for (text, value, crc) in VECTORS {
            let block = Block::decode(value).unwrap();
            assert_eq!(
                (block.key, block.oddity, &block.data),
                (0, None, &utf16(text)),
                "{text}"
            );
            assert_eq!(encoded(0, &utf16(text)), value, "{text}");
            let crc_there = unpack(&value.as_bytes()[2..], 6, six_bits).unwrap()[0];
            assert_eq!(crc_there, crc, "{text}");
        }
    }

    #[test]
    fn the_format_block_of_section_8_begins_with_its_key_and_length() {
        let start = unpack(b"X0000vu000EfC2QoTOvcpn6csG2g06BER7S3", 6, six_bits).unwrap();
        assert_eq!(
            start,
            hex!("84 0000039E 000003A9 3026B2758E66CF11A6D900AA0062CE6C 7703")
        );
        assert_eq!(
            Block::decode("02X0000vu000EfC2QoTOvcpn6csG2g06BER7S3"),
            Err(BlockError::Length {
                announced: 937,
                present: 18
            })
        );
    }

    #[test]
    fn the_same_block_in_hexadecimal() {
        assert_eq!(
            Block::decode("0125 00000000 00000008".replace(' ', "").as_str()),
            Err(BlockError::Length {
                announced: 8,
                present: 0
            })
        );
        let block = Block::decode(
            "012500000000000000083300 2E003000 0000"
                .replace(' ', "")
                .as_str(),
        );
        assert_eq!(block.unwrap(), Block::decode(VECTORS[0].1).unwrap());
    }

    #[test]
    fn a_wrong_checksum_is_told_and_read() {
        // §8: the specification's own sample was edited by hand.
        let sample = VECTORS[4].1.replacen("029m", "029W", 1);
        let block = Block::decode(&sample).unwrap();
        assert_eq!(block.data, utf16("Windows Media"));
        assert_eq!(
            block.oddity,
            Some(Oddity::Checksum {
                found: 0x26,
                wanted: 0x27
            })
        );
    }

    #[test]
    fn every_truncation_is_an_error_and_every_tail_is_told() {
        for (_, value, _) in VECTORS {
            for cut in 0..value.len() {
                assert!(Block::decode(&value[..cut]).is_err(), "{value} at {cut}");
            }
            let long = format!("{value}0000");
            assert!(matches!(
                Block::decode(&long).unwrap().oddity,
                Some(Oddity::Trailing { bytes: 3 })
            ));
        }
    }

    #[test]
    fn what_is_no_block_is_said_with_its_place() {
        assert_eq!(Block::decode(""), Err(BlockError::Prefix));
        assert_eq!(Block::decode("0xFF"), Err(BlockError::Prefix));
        assert_eq!(
            Block::decode("02AB-C"),
            Err(BlockError::Character { position: 5 })
        );
        assert_eq!(
            Block::decode("02A\u{e9}"),
            Err(BlockError::Character { position: 4 })
        );
        assert_eq!(Block::decode("020000"), Err(BlockError::Head { bytes: 3 }));
        assert_eq!(
            Block::decode("02000000}}}}}}"),
            Err(BlockError::Length {
                announced: u32::MAX,
                present: 0
            })
        );
    }

    #[test]
    fn all_lengths_round_trip() {
        let data: Vec<u8> = (0..=255).rev().collect();
        for length in 0..data.len() {
            let value = encoded(0x7FF, &data[..length]);
            assert_eq!(value.len(), 2 + (8 * (9 + length)).div_ceil(6), "§8");
            let block = Block::decode(&value).unwrap();
            assert_eq!(
                (block.key, &block.data[..], block.oddity),
                (0x7FF, &data[..length], None)
            );
        }
    }
}
