//! The ASF headers of an announcement, and the numbers by which packets refer to them.

use crate::nsc::text::Text;
use crate::nsc::{FORMAT_BYTES_MAX, FORMATS_BYTES_MAX, FORMATS_MAX};

/// Number of an ASF header: 11 bits, unique in a file (§2, §7).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FormatId(u16);

impl FormatId {
    /// The highest one.
    pub const MAX: Self = Self(0x7FF);

    /// `None` above [`FormatId::MAX`].
    pub fn new(id: u16) -> Option<Self> {
        (id <= Self::MAX.0).then_some(Self(id))
    }

    /// The low 11 bits, as packets carry them.
    pub fn of_stream_id(stream_id: u16) -> Self {
        Self(stream_id & Self::MAX.0)
    }

    /// The number, 0 to 0x7FF.
    pub fn get(self) -> u16 {
        self.0
    }

    /// The number this header gets unless another has it already: CRC-32 & 0x7FF (§7).
    fn suggested(header: &[u8]) -> Self {
        Self::of_stream_id((crc32fast::hash(header) & u32::from(Self::MAX.0)) as u16)
    }

    fn next(self) -> Self {
        Self::of_stream_id(self.0 + 1)
    }
}

/// One ASF header with its number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Format {
    id: FormatId,
    header: Box<[u8]>,
    description: Option<Text>,
}

/// Why bytes cannot be a format.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Does not begin with the GUID of the Header Object.
    #[error("{bytes} bytes that are no ASF header")]
    NotAsf {
        /// How many.
        bytes: usize,
    },
    /// Shorter than Header Object and the first 50 bytes of the Data Object.
    #[error(
        "the ASF header has {found} bytes, and should have {wanted} with the first 50 of the data object"
    )]
    Short {
        /// Size of the Header Object plus 50.
        wanted: u64,
        /// Bytes there.
        found: usize,
    },
    /// Longer than [`FORMAT_BYTES_MAX`].
    #[error("an ASF header of {bytes} bytes; {FORMAT_BYTES_MAX} are allowed")]
    Long {
        /// How many.
        bytes: u64,
    },
    /// Another header has this number.
    #[error("format ID {} is used twice", .0.get())]
    IdTaken(FormatId),
    /// More than [`FORMATS_MAX`], or more than [`FORMATS_BYTES_MAX`] bytes.
    #[error("more than {FORMATS_MAX} ASF headers, or than {FORMATS_BYTES_MAX} bytes of them")]
    TooMany,
}

impl Format {
    /// Takes the Header Object and the first 50 bytes of the Data Object from the start of `bytes`.
    ///
    /// Only the envelope is checked: the GUID and the size. What is inside is for an ASF parser.
    ///
    /// # Errors
    /// No ASF header, an incomplete one, or one beyond [`FORMAT_BYTES_MAX`].
    pub fn new(id: FormatId, bytes: &[u8], description: Option<Text>) -> Result<Self, FormatError> {
        let wanted = wire_size(bytes)?;
        if wanted > FORMAT_BYTES_MAX as u64 {
            return Err(FormatError::Long { bytes: wanted });
        }
        let header = usize::try_from(wanted)
            .ok()
            .and_then(|size| bytes.get(..size))
            .ok_or(FormatError::Short {
                wanted,
                found: bytes.len(),
            })?;
        Ok(Self {
            id,
            header: header.into(),
            description,
        })
    }

    /// Low 11 bits of the stream id of its packets.
    pub fn id(&self) -> FormatId {
        self.id
    }

    /// Header Object and the first 50 bytes of the Data Object.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Text for people.
    pub fn description(&self) -> Option<&Text> {
        self.description.as_ref()
    }
}

/// Size of the Header Object plus 50.
fn wire_size(bytes: &[u8]) -> Result<u64, FormatError> {
    let fault = FormatError::NotAsf { bytes: bytes.len() };
    let head = bytes.get(..24).ok_or(fault)?;
    let (guid, size) = head.split_at(16);
    if guid != HEADER_OBJECT {
        return Err(fault);
    }
    let size = size.try_into().map(u64::from_le_bytes).map_err(|_| fault)?;
    if size < head.len() as u64 {
        return Err(fault);
    }
    Ok(size.saturating_add(DATA_HEAD_BYTES))
}

/// ASF_Header_Object, as its bytes lie in a file.
const HEADER_OBJECT: [u8; 16] = [
    0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11, 0xA6, 0xD9, 0x00, 0xAA, 0x00, 0x62, 0xCE, 0x6C,
];
/// Bytes of the Data Object in a format (§7).
const DATA_HEAD_BYTES: u64 = 50;

/// The formats of an announcement: 1 to [`FORMATS_MAX`], no number twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Formats {
    list: Vec<Format>,
    bytes: usize,
}

impl Formats {
    /// Begins with one.
    ///
    /// # Errors
    /// As [`Format::new`].
    pub fn new(header: &[u8], description: Option<Text>) -> Result<Self, FormatError> {
        Format::new(FormatId::suggested(header), header, description).map(Self::of)
    }

    /// Begins with one that has its number already.
    pub fn of(first: Format) -> Self {
        Self {
            bytes: first.header.len(),
            list: vec![first],
        }
    }

    /// Adds a header unless it is there already; either way, its number.
    ///
    /// # Errors
    /// As [`Format::new`], and too many of them.
    pub fn add(
        &mut self,
        header: &[u8],
        description: Option<Text>,
    ) -> Result<FormatId, FormatError> {
        let mut format = Format::new(FormatId::suggested(header), header, description)?;
        if let Some(known) = self.list.iter().find(|known| known.header == format.header) {
            return Ok(known.id);
        }
        while self.get(format.id).is_some() {
            format.id = format.id.next();
        }
        let id = format.id;
        self.push(format)?;
        Ok(id)
    }

    /// Adds one that has its number already.
    ///
    /// # Errors
    /// The number is taken, or there are too many.
    pub fn push(&mut self, format: Format) -> Result<(), FormatError> {
        if self.get(format.id).is_some() {
            return Err(FormatError::IdTaken(format.id));
        }
        let bytes = self.bytes + format.header.len();
        if self.list.len() == FORMATS_MAX || bytes > FORMATS_BYTES_MAX {
            return Err(FormatError::TooMany);
        }
        self.bytes = bytes;
        self.list.push(format);
        Ok(())
    }

    /// The format a packet's stream id names; `None`: packets to be ignored (§6).
    pub fn get(&self, id: FormatId) -> Option<&Format> {
        self.list.iter().find(|format| format.id == id)
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Format> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Formats {
    type Item = &'a Format;
    type IntoIter = std::slice::Iter<'a, Format>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As much of an ASF header as this module looks at: `inside` bytes between its size and the Data Object.
    pub(crate) fn header(inside: &[u8]) -> Vec<u8> {
        let size = 24 + inside.len() as u64;
        [&HEADER_OBJECT[..], &size.to_le_bytes(), inside, &[0xD0; 50]].concat()
    }

    #[test]
    fn equal_headers_are_listed_once_and_collisions_get_another_number() {
        let first = header(b"one");
        let mut formats = Formats::new(&first, None).unwrap();
        let id = formats.iter().next().unwrap().id();
        assert_eq!(formats.add(&first, None), Ok(id));
        assert_eq!(formats.iter().len(), 1);
        // Somebody else took the number the second header would get.
        let second = header(b"two");
        let wanted = FormatId::suggested(&second);
        formats
            .push(Format::new(wanted, &header(b"three"), None).unwrap())
            .unwrap();
        assert_eq!(formats.add(&second, None), Ok(wanted.next()));
        assert_eq!(formats.get(wanted.next()).unwrap().header(), second);
        assert_eq!(
            formats.push(Format::new(id, &second, None).unwrap()),
            Err(FormatError::IdTaken(id))
        );
        assert_eq!(FormatId::MAX.next().get(), 0);
        assert_eq!(FormatId::new(0x800), None);
        assert_eq!(FormatId::of_stream_id(0xFFFF), FormatId::MAX);
    }

    #[test]
    fn the_envelope_is_checked_at_every_length() {
        let id = FormatId::MAX;
        let whole = header(b"inside");
        for cut in 0..whole.len() {
            let error = Format::new(id, &whole[..cut], None).unwrap_err();
            if cut < 24 {
                assert_eq!(error, FormatError::NotAsf { bytes: cut });
            } else {
                assert_eq!(
                    error,
                    FormatError::Short {
                        wanted: 80,
                        found: cut
                    }
                );
            }
        }
        let longer = [&whole[..], b"packets"].concat();
        assert_eq!(Format::new(id, &longer, None).unwrap().header(), whole);
        let mut huge = whole;
        huge[16..24].fill(0xFF);
        assert_eq!(
            Format::new(id, &huge, None),
            Err(FormatError::Long { bytes: u64::MAX })
        );
    }

    #[test]
    fn formats_have_ceilings() {
        let mut formats = Formats::new(&header(b""), None).unwrap();
        for number in 1..FORMATS_MAX {
            formats.add(&header(&number.to_le_bytes()), None).unwrap();
        }
        assert_eq!(formats.add(&header(b"x"), None), Err(FormatError::TooMany));

        let large = |fill: u8| header(&vec![fill; FORMAT_BYTES_MAX - 74]);
        let mut formats = Formats::new(&large(0), None).unwrap();
        let fits = FORMATS_BYTES_MAX / FORMAT_BYTES_MAX;
        for fill in 1..fits as u8 {
            formats.add(&large(fill), None).unwrap();
        }
        assert_eq!(formats.add(&large(99), None), Err(FormatError::TooMany));
        assert!(matches!(
            Formats::new(&header(&vec![0; FORMAT_BYTES_MAX - 73]), None),
            Err(FormatError::Long { .. })
        ));
    }
}
