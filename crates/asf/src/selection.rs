//! Which streams a viewer gets, and how much of each: two bit masks, cheap to copy, compare and hash.
//!
//! Levels: `docs/protocol/asf.md` §12.2, MS-MMSP 2.2.4.28 (`wThinningLevel`).

/// How much of a stream is sent.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Thinning {
    /// Every object (wire value 0).
    #[default]
    All,
    /// Only objects with the key-frame bit (wire value 1).
    KeyFramesOnly,
    /// Nothing (wire value 2).
    Off,
}

/// A level for each of the stream numbers 1…127.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Selection {
    all: u128,
    key_frames: u128,
}

impl Selection {
    /// Every stream in full.
    pub const ALL: Selection = Selection {
        all: u128::MAX,
        key_frames: 0,
    };
    /// Nothing at all.
    pub const NONE: Selection = Selection {
        all: 0,
        key_frames: 0,
    };

    /// Sets one stream's level; numbers above 127 are ignored.
    pub fn set(&mut self, stream: u8, level: Thinning) {
        let bit = stream_bit(stream);
        self.all &= !bit;
        self.key_frames &= !bit;
        match level {
            Thinning::All => self.all |= bit,
            Thinning::KeyFramesOnly => self.key_frames |= bit,
            Thinning::Off => {}
        }
    }

    /// One stream's level.
    pub fn level(&self, stream: u8) -> Thinning {
        let bit = stream_bit(stream);
        if self.all & bit != 0 {
            Thinning::All
        } else if self.key_frames & bit != 0 {
            Thinning::KeyFramesOnly
        } else {
            Thinning::Off
        }
    }

    /// True when every stream of `mask` is selected in full: nothing would be filtered.
    pub fn covers(&self, mask: u128) -> bool {
        mask & !self.all == 0
    }

    /// Bit n is set when stream n is sent, in full or thinned.
    pub fn streams(&self) -> u128 {
        self.all | self.key_frames
    }

    /// The same selection with every stream outside `mask` off: equal wishes compare equal.
    pub fn within(&self, mask: u128) -> Selection {
        Selection {
            all: self.all & mask,
            key_frames: self.key_frames & mask,
        }
    }
}

impl Default for Selection {
    fn default() -> Self {
        Selection::ALL
    }
}

/// Bit of a stream number in a mask; none for numbers ASF cannot express.
pub(crate) fn stream_bit(stream: u8) -> u128 {
    1u128.checked_shl(u32::from(stream)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_independent() {
        let mut selection = Selection::NONE;
        selection.set(1, Thinning::All);
        selection.set(2, Thinning::KeyFramesOnly);
        selection.set(200, Thinning::All);
        assert_eq!(selection.level(1), Thinning::All);
        assert_eq!(selection.level(2), Thinning::KeyFramesOnly);
        assert_eq!(selection.level(3), Thinning::Off);
        assert_eq!(selection.streams(), 0b110);
        assert!(selection.covers(0b10) && !selection.covers(0b110));
        selection.set(2, Thinning::Off);
        assert_eq!(selection.streams(), 0b10);
        assert_eq!(Selection::ALL.within(0b10), selection.within(0b10));
    }
}
