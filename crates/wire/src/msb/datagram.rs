//! The two datagrams of a group, told apart by their length (§1).

use crate::codec::{Field, Reader, Truncated, Writer};
use crate::nsc::FormatId;

/// "There is something here, wait" (§4): a whole datagram, `"MSB "`.
pub const BEACON: [u8; 4] = *b"MSB ";
/// Bytes before the ASF packet.
pub const HEADER_BYTES: usize = 8;
/// Longest ASF packet wPacketSize can tell.
pub const ASF_PACKET_BYTES_MAX: usize = 0xFFFF - HEADER_BYTES;

/// wStreamID: which header, and whether the stream has changed.
///
/// Bits 11 to 14 are to be 0; they are kept as received, so that an unknown stream can be ignored by its whole id (§6).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct StreamId(pub u16);

impl StreamId {
    const TOGGLE: u16 = 0x8000;

    /// Packets of this header, before any change.
    pub fn new(format: FormatId) -> Self {
        Self(format.get())
    }

    /// Low 11 bits: the header in the `.nsc` file.
    pub fn format(self) -> FormatId {
        FormatId::of_stream_id(self.0)
    }

    /// Bit 15.
    pub fn is_toggled(self) -> bool {
        self.0 & Self::TOGGLE != 0
    }

    /// The id of the stream after this one (another entry, a loop, a new encoder), whatever its header (§5).
    pub fn after_change(self, format: FormatId) -> Self {
        Self(format.get() | !self.0 & Self::TOGGLE)
    }
}

impl Field for StreamId {
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Truncated> {
        u16::read(reader, field).map(Self)
    }

    fn write(&self, out: &mut Writer<'_>) {
        self.0.write(out);
    }
}

/// A data or parity packet, little-endian.
///
/// ```text
/// | dwPacketID 4 | wStreamID 2 | wPacketSize 2 | one ASF packet, wPacketSize - 8 bytes |
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// Counts data packets; a parity packet repeats that of the data packet before it.
    pub id: u32,
    /// Which stream.
    pub stream: StreamId,
    /// Error correction part first; padding removed by most servers.
    pub asf: &'a [u8],
}

/// One datagram of the group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Datagram<'a> {
    /// [`BEACON`].
    Beacon,
    /// See [`Packet`].
    Packet(Packet<'a>),
}

/// Why a datagram is neither; anybody may send to a group, so it is ignored and counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DatagramError {
    /// Shorter than the 8 bytes of a packet, and no beacon.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// wPacketSize is not the length of the datagram.
    #[error("wPacketSize {announced} in a datagram of {bytes} bytes")]
    Size {
        /// wPacketSize.
        announced: u16,
        /// Bytes received.
        bytes: usize,
    },
}

impl<'a> Datagram<'a> {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// It is too short, or its size is not what it says.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        if bytes == BEACON {
            return Ok(Self::Beacon);
        }
        let mut reader = Reader::new(bytes, 0);
        let id = reader.field("dwPacketID")?;
        let stream = reader.field("wStreamID")?;
        let announced: u16 = reader.field("wPacketSize")?;
        if usize::from(announced) != bytes.len() {
            return Err(DatagramError::Size {
                announced,
                bytes: bytes.len(),
            });
        }
        let asf = reader.rest();
        Ok(Self::Packet(Packet { id, stream, asf }))
    }

    /// Appends the datagram.
    ///
    /// # Errors
    /// The ASF packet is longer than [`ASF_PACKET_BYTES_MAX`]; nothing is appended.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), PacketTooLong> {
        match self {
            Self::Beacon => out.bytes(&BEACON),
            Self::Packet(packet) => {
                out.bytes(&packet.header()?);
                out.bytes(packet.asf);
            }
        }
        Ok(())
    }
}

/// An ASF packet that no datagram can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an ASF packet of {bytes} bytes; {ASF_PACKET_BYTES_MAX} fit into a datagram")]
pub struct PacketTooLong {
    /// Its size.
    pub bytes: usize,
}

impl Packet<'_> {
    /// The bytes before the ASF packet, for who sends both from where they are.
    ///
    /// # Errors
    /// The ASF packet is longer than [`ASF_PACKET_BYTES_MAX`].
    pub fn header(&self) -> Result<[u8; HEADER_BYTES], PacketTooLong> {
        let bytes = self.asf.len();
        let size = u16::try_from(bytes.saturating_add(HEADER_BYTES))
            .map_err(|_| PacketTooLong { bytes })?;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&self.id.to_le_bytes());
        header[4..6].copy_from_slice(&self.stream.0.to_le_bytes());
        header[6..].copy_from_slice(&size.to_le_bytes());
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    fn encoded(datagram: Datagram<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        datagram.encode(&mut Writer::new(&mut out)).unwrap();
        out
    }

    #[test]
    fn a_packet_of_section_2() {
        // Packet 7 of format 926, bit 15 set; first data packet of the third span (§3).
        let bytes = hex!("07 00 00 00 9E 83 0D 00 82 11 02 AA BB");
        let Ok(Datagram::Packet(packet)) = Datagram::decode(&bytes) else {
            panic!("no packet");
        };
        assert_eq!((packet.id, packet.stream.format().get()), (7, 926));
        assert!(packet.stream.is_toggled());
        assert_eq!(packet.asf, hex!("82 11 02 AA BB"));
        assert_eq!(encoded(Datagram::Packet(packet)), bytes);
    }

    #[test]
    fn a_beacon_of_section_1() {
        let bytes = hex!("4D 53 42 20");
        assert_eq!(Datagram::decode(&bytes), Ok(Datagram::Beacon));
        assert_eq!(encoded(Datagram::Beacon), bytes);
        // A packet whose number looks like one is told apart by its length.
        let bytes = hex!("4D 53 42 20 01 00 08 00");
        let packet = Packet {
            id: 0x2042_534D,
            stream: StreamId(1),
            asf: &[],
        };
        assert_eq!(Datagram::decode(&bytes), Ok(Datagram::Packet(packet)));
    }

    #[test]
    fn every_other_length_is_refused() {
        let bytes = hex!("07 00 00 00 9E 83 0D 00 82 11 02 AA BB 00");
        for cut in 0..=bytes.len() {
            let error = match Datagram::decode(&bytes[..cut]) {
                Ok(_) => {
                    assert_eq!(cut, 13);
                    continue;
                }
                Err(error) => error,
            };
            if cut < HEADER_BYTES {
                assert!(matches!(error, DatagramError::Truncated(_)), "{cut}");
            } else {
                let announced = 13;
                assert_eq!(
                    error,
                    DatagramError::Size {
                        announced,
                        bytes: cut
                    }
                );
            }
        }
        assert!(Datagram::decode(b"MSB!").is_err());
    }

    #[test]
    fn a_change_is_visible_even_with_the_same_header() {
        let (one, two) = (FormatId::new(1).unwrap(), FormatId::MAX);
        let first = StreamId::new(one);
        assert_eq!(first.0, 1);
        assert_eq!(first.after_change(one).0, 0x8001);
        assert_eq!(first.after_change(two).0, 0x87FF);
        assert_eq!(first.after_change(two).after_change(one), first);
        assert_eq!(StreamId(0x7FFF).format(), two, "bits 11 to 14 do not count");
    }

    #[test]
    fn the_longest_packet_fits_and_no_longer_one() {
        let bytes = vec![0x82; ASF_PACKET_BYTES_MAX + 1];
        let packet = |asf| {
            Datagram::Packet(Packet {
                id: 0,
                stream: StreamId(0),
                asf,
            })
        };
        let longest = encoded(packet(&bytes[1..]));
        assert_eq!(longest.len(), 0xFFFF);
        assert_eq!(Datagram::decode(&longest), Ok(packet(&bytes[1..])));
        let mut out = Vec::new();
        let error = packet(&bytes).encode(&mut Writer::new(&mut out));
        assert_eq!(
            error,
            Err(PacketTooLong {
                bytes: ASF_PACKET_BYTES_MAX + 1
            })
        );
        assert!(out.is_empty());
    }
}
