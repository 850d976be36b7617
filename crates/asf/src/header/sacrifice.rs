//! What a header for the wire leaves out: always, and when it would be too long for the small players.
//!
//! Order: `docs/protocol/asf.md` §10. Objects that describe streams or content protection are never in it.

use crate::bytes::{u16_at, utf16};
use crate::guid::{self, Guid};

/// One step of making the header shorter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sacrifice {
    /// The pictures of the Extended Content Description.
    Picture,
    /// Objects of one kind.
    Object((Guid, &'static str)),
    /// Texts longer than 128 characters.
    LongTexts,
}

impl Sacrifice {
    /// What is left out whole.
    pub(super) fn object(&self) -> Option<&(Guid, &'static str)> {
        match self {
            Sacrifice::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// Free bytes, signatures of what was rewritten, and promises of an index that a live stream has not.
pub(super) const ALWAYS_LEFT_OUT: [(Guid, &str); 6] = [
    (guid::PADDING, "Padding"),
    (guid::DIGITAL_SIGNATURE, "Digital Signature"),
    (guid::INDEX_PARAMETERS, "Index Parameters"),
    (
        guid::MEDIA_OBJECT_INDEX_PARAMETERS,
        "Media Object Index Parameters",
    ),
    (guid::TIMECODE_INDEX_PARAMETERS, "Timecode Index Parameters"),
    (guid::INDEX_PLACEHOLDER, "Index Placeholder"),
];

/// What goes when the header is too long for the small players, first things first (§10; the last five are ours).
pub(super) const SACRIFICES: [Sacrifice; 9] = [
    Sacrifice::Picture,
    Sacrifice::Object((guid::MARKER, "Marker")),
    Sacrifice::Object((guid::SCRIPT_COMMAND, "Script Command")),
    Sacrifice::Object((guid::METADATA_LIBRARY, "Metadata Library")),
    Sacrifice::Object((guid::CONTENT_BRANDING, "Content Branding")),
    Sacrifice::Object((
        guid::EXTENDED_CONTENT_DESCRIPTION,
        "Extended Content Description",
    )),
    Sacrifice::LongTexts,
    Sacrifice::Object((guid::CODEC_LIST, "Codec List")),
    Sacrifice::Object((guid::METADATA, "Metadata")),
];

/// An Extended Content Description without its pictures (§3.9); unchanged where it is malformed.
pub(super) fn without_pictures(object: &[u8]) -> (Vec<u8>, bool) {
    let mut out = object[..26.min(object.len())].to_vec();
    let (mut at, mut kept, mut found) = (26, 0u16, false);
    let mut entries = || -> Option<()> {
        for _ in 0..u16_at(object, 24)? {
            let name_bytes = usize::from(u16_at(object, at)?).next_multiple_of(2);
            let value_bytes = usize::from(u16_at(object, at + 2 + name_bytes + 2)?);
            let end = at + 2 + name_bytes + 4 + value_bytes;
            let entry = object.get(at..end)?;
            if utf16(&entry[2..2 + name_bytes]) == "WM/Picture" {
                found = true;
            } else {
                kept += 1;
                out.extend_from_slice(entry);
            }
            at = end;
        }
        Some(())
    };
    if entries().is_none() || !found {
        return (object.to_vec(), false);
    }
    let size = out.len() as u64;
    out[16..24].copy_from_slice(&size.to_le_bytes());
    out[24..26].copy_from_slice(&kept.to_le_bytes());
    (out, true)
}
