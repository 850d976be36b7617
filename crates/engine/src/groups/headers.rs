//! The ASF headers a group's packets may refer to, and the number of each.
//!
//! The newest comes first, since simple receivers take the first for the only one. Old ones stay for a while, under their
//! numbers, for packets on their way; a header that returns (a show that begins anew) keeps its number, too.

use funnel_wire::nsc::{
    FORMAT_BYTES_MAX, FORMATS_BYTES_MAX, Format, FormatError, FormatId, Formats,
};

/// Headers announced at a time.
const KEPT: usize = 3;
// And a newer one, before the oldest goes.
const _: () = assert!((KEPT + 1) * FORMAT_BYTES_MAX <= FORMATS_BYTES_MAX);

/// The list with `header` as its first, and the number of it.
pub(super) fn with_newest(
    known: Option<&Formats>,
    header: &[u8],
) -> Result<(Formats, FormatId), FormatError> {
    let Some(known) = known else {
        let formats = Formats::new(header, None)?;
        let id = formats.iter().map(Format::id).next();
        return Ok((formats, id.expect("begun with one")));
    };
    // All of the known ones, so that the number is none of theirs.
    let mut all = known.clone();
    let id = all.add(header, None)?;
    let newest = all.get(id).expect("just added").clone();
    let mut formats = Formats::of(newest);
    for older in known
        .iter()
        .filter(|format| format.id() != id)
        .take(KEPT - 1)
    {
        formats.push(older.clone())?;
    }
    Ok((formats, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An envelope of a header with one byte in it.
    fn header(inside: u8) -> Vec<u8> {
        let guid = 0x6CCE_6200_AA00_D9A6_11CF_668E_75B2_2630_u128;
        let mut bytes = guid.to_le_bytes().to_vec();
        bytes.extend(25_u64.to_le_bytes());
        bytes.push(inside);
        bytes.resize(75, 0xD0);
        bytes
    }

    #[test]
    fn the_newest_is_first_and_three_are_kept() {
        let mut formats = None;
        let mut ids = Vec::new();
        for inside in 0..6 {
            let (now, id) = with_newest(formats.as_ref(), &header(inside)).expect("a header");
            assert_eq!(now.iter().map(Format::id).next(), Some(id));
            ids.push(id);
            formats = Some(now);
        }
        let kept: Vec<_> = formats.iter().flatten().map(Format::id).collect();
        assert_eq!(kept, [ids[5], ids[4], ids[3]]);
    }

    #[test]
    fn large_headers_make_room_too() {
        let mut formats = None;
        for inside in 0..6 {
            let mut large = header(inside);
            let bytes = (FORMAT_BYTES_MAX - 50) as u64;
            large[16..24].copy_from_slice(&bytes.to_le_bytes());
            large.resize(FORMAT_BYTES_MAX, 0xD0);
            let (now, id) = with_newest(formats.as_ref(), &large).expect("a header");
            assert_eq!(now.iter().map(Format::id).next(), Some(id));
            formats = Some(now);
        }
    }

    #[test]
    fn a_header_that_returns_keeps_its_number() {
        let (formats, one) = with_newest(None, &header(1)).expect("a header");
        let (formats, two) = with_newest(Some(&formats), &header(2)).expect("a header");
        let (formats, again) = with_newest(Some(&formats), &header(1)).expect("a header");
        assert_eq!(again, one);
        let order: Vec<_> = formats.iter().map(Format::id).collect();
        assert_eq!(order, [one, two]);
        assert!(with_newest(Some(&formats), b"no header").is_err());
    }
}
