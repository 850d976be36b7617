//! Numbers made of the one unpredictable number that every session gets.

/// SplitMix64: turns the session's nonce into bytes that do not compress, and into ids.
#[derive(Debug)]
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn bytes(&mut self, size: usize) -> Vec<u8> {
        std::iter::from_fn(|| Some(self.next()))
            .flat_map(u64::to_le_bytes)
            .take(size)
            .collect()
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
