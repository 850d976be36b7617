//! The two UDP specials: resend requests of clients (section 4.4) and packet-pair packets (section 4.5).

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::codec::{Reader, Truncated, Writer};
use crate::mms::header::DataHeader;

/// RequestPacketListResend: the only datagram a client sends.
///
/// ```text
/// | signature 0xBEEFF00D 4 | client id 4 | source id 2 | count 2 | sequence numbers 4 × count |
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResendRequest<'a> {
    /// `nCubs` of ReportFunnelInfo.
    pub client_id: u32,
    /// Low 16 bits of openFileId.
    pub source_id: u16,
    /// 32-bit sequence numbers, 1 to 32 of them.
    pub sequences: &'a [U32],
}

/// Why a datagram is not a resend request. All of them are ignored silently.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResendError {
    /// Shorter than its fields.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// Not 0xBEEFF00D.
    #[error("signature 0x{0:08X}")]
    Signature(u32),
    /// Not 1…32, or not what the length says.
    #[error("{count} sequence numbers in {bytes} bytes")]
    Count {
        /// `wNumPackets`.
        count: u16,
        /// Bytes behind it.
        bytes: usize,
    },
}

impl<'a> ResendRequest<'a> {
    /// First dword.
    pub const SIGNATURE: u32 = 0xBEEF_F00D;
    /// Most sequence numbers in one request.
    pub const SEQUENCES_MAX: u16 = 32;

    /// Reads a datagram; its length must be exactly 12 + 4 × count.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, ResendError> {
        let mut reader = Reader::new(datagram, 0);
        let signature = reader.field("Signature")?;
        if signature != Self::SIGNATURE {
            return Err(ResendError::Signature(signature));
        }
        let client_id = reader.field("dwClientId")?;
        let source_id = reader.field("wSourceId")?;
        let count: u16 = reader.field("wNumPackets")?;
        let rest = reader.rest();
        let fault = ResendError::Count {
            count,
            bytes: rest.len(),
        };
        if !(1..=Self::SEQUENCES_MAX).contains(&count) {
            return Err(fault);
        }
        let sequences =
            <[U32]>::ref_from_bytes_with_elems(rest, count.into()).map_err(|_| fault)?;
        Ok(Self {
            client_id,
            source_id,
            sequences,
        })
    }

    /// Appends the datagram.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.field(Self::SIGNATURE);
        out.field(self.client_id);
        out.field(self.source_id);
        out.field(u16::try_from(self.sequences.len()).unwrap_or(u16::MAX));
        for sequence in self.sequences {
            out.field(sequence.get());
        }
    }
}

/// Random bytes behind [`pair_header`]: datagrams of 1,472 bytes.
pub const PAIR_PAYLOAD_BYTES: usize = 1464;

/// Header of the first (`index` 0) or second packet-pair datagram.
pub fn pair_header(index: u8) -> DataHeader {
    DataHeader::new(
        0xF0F0_F000 + u32::from(index),
        DataHeader::INCARNATION_STREAM_CHANGE,
        0x10,
        PAIR_PAYLOAD_BYTES,
    )
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use zerocopy::IntoBytes;

    use super::*;

    const REQUEST: [u8; 20] = hex!("0D F0 EF BE 34 12 ED 5E 01 00 02 00 11 00 00 00 13 00 00 00"); // section 14

    #[test]
    fn resend_request_of_section_14() {
        let request = ResendRequest::decode(&REQUEST).unwrap();
        assert_eq!((request.client_id, request.source_id), (0x5EED_1234, 1));
        assert_eq!(request.sequences, [U32::new(17), U32::new(19)]);
        let mut out = Vec::new();
        request.encode(&mut Writer::new(&mut out));
        assert_eq!(out, REQUEST);
    }

    #[test]
    fn damaged_requests_are_told_apart() {
        assert_eq!(
            ResendRequest::decode(&REQUEST[..19]),
            Err(ResendError::Count { count: 2, bytes: 7 })
        );
        assert!(matches!(
            ResendRequest::decode(&REQUEST[..9]),
            Err(ResendError::Truncated(_))
        ));
        assert_eq!(
            ResendRequest::decode(&[0; 16]),
            Err(ResendError::Signature(0))
        );
        for count in [0u16, 33, 0xFFFF] {
            let mut bytes = REQUEST[..12].to_vec();
            bytes[10..12].copy_from_slice(&count.to_le_bytes());
            bytes.resize(12 + 4 * usize::from(count), 0);
            assert!(
                matches!(
                    ResendRequest::decode(&bytes),
                    Err(ResendError::Count { .. })
                ),
                "{count}"
            );
        }
    }

    #[test]
    fn pair_packet_of_section_14() {
        assert_eq!(pair_header(0).as_bytes(), hex!("00 F0 F0 F0 FF 10 C0 05"));
        assert_eq!(pair_header(1).as_bytes(), hex!("01 F0 F0 F0 FF 10 C0 05"));
    }
}
