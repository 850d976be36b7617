//! The one loop over a container of ASF objects (`docs/protocol/asf.md` §1): by size, never by count.

use crate::bytes::{guid_at, slice_at, u32_at, u64_at};
use crate::guid::Guid;
use crate::header::HeaderError;

/// Bytes of a Header Extension Object before its children.
pub(super) const EXTENSION_HEAD_BYTES: usize = 46;

/// One object of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child<'a> {
    pub(crate) id: Guid,
    /// The whole object, GUID and size included.
    pub(crate) object: &'a [u8],
}

/// The objects of `container` from offset `at` to its end; stops after the first malformed one.
pub(crate) fn children(container: &[u8], at: usize) -> Children<'_> {
    Children { container, at }
}

/// Iterator of [`children`].
pub(crate) struct Children<'a> {
    container: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<Child<'a>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let room = self
            .container
            .len()
            .checked_sub(at)
            .filter(|&room| room > 0)?;
        self.at = self.container.len();
        let size = u64_at(self.container, at + 16).unwrap_or(0);
        let malformed = HeaderError::ObjectSize { at, size, room };
        let child = usize::try_from(size)
            .ok()
            .filter(|&size| size >= 24)
            .and_then(|size| slice_at(self.container, at, size))
            .and_then(|object| {
                Some(Child {
                    id: guid_at(object, 0)?,
                    object,
                })
            });
        Some(match child {
            Some(child) => {
                self.at = at + child.object.len();
                Ok(child)
            }
            None => Err(malformed),
        })
    }
}

/// Where the children of a Header Extension Object end: the smaller of its data length and its size (§3.3).
pub(super) fn extension_end(object: &[u8]) -> Result<usize, HeaderError> {
    let short = HeaderError::ObjectTooShort {
        object: "Header Extension",
        size: object.len(),
    };
    let declared = u32_at(object, 42).ok_or(short)? as usize;
    Ok(object
        .len()
        .min(EXTENSION_HEAD_BYTES.saturating_add(declared)))
}
