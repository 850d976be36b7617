//! Encoders that push over HTTP (`docs/protocol/wmsp.md` §20, §22).

mod digest;

pub use digest::{DigestWords, digest_response, ha1};

/// The realm in challenges, and in the hashes that answer them.
pub const REALM: &str = "funnel";
