//! How a server says that load tests are welcome: a word in the `VersionInfo` every viewer gets at connecting.
//!
//! No player shows or acts on it (`docs/protocol/mmsp.md` §5.2). A load test against a server that does not say it, or from
//! elsewhere, is an attack; so the word is the operator's to give.

/// The word, one of those separated by spaces in the product text (`funnel/0.1.0 load-test`).
pub const LOAD_TEST_TOKEN: &str = "load-test";

/// Whether a server that calls itself `product` welcomes load tests.
pub fn allows_load_test(product: &str) -> bool {
    product
        .split_whitespace()
        .any(|word| word == LOAD_TEST_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_counts() {
        for product in ["funnel/0.1.0 load-test", "load-test", "a\tload-test b"] {
            assert!(allows_load_test(product), "{product}");
        }
        for product in [
            "",
            "funnel/0.1.0",
            "no-load-test",
            "load-tests",
            "Load-Test",
        ] {
            assert!(!allows_load_test(product), "{product}");
        }
    }
}
