//! Basic and Digest (RFC 7617, RFC 2617 with MD5), the parts that either side of a login needs.

/// MD5 of `user:realm:password`, all that a server has to know of a password for Digest.
pub fn ha1(user: &str, realm: &str, password: &str) -> [u8; 16] {
    md5::compute(format!("{user}:{realm}:{password}")).0
}

/// What tells one request's Digest from another's.
#[derive(Clone, Copy, Debug)]
pub struct DigestWords<'a> {
    /// The server's.
    pub nonce: &'a str,
    /// Counts the requests with this nonce, 8 hexadecimal digits; and the client's nonce. `None` without `qop=auth`.
    pub count: Option<(&'a str, &'a str)>,
}

/// The `response` of a request as it must be.
pub fn digest_response(ha1: [u8; 16], method: &str, uri: &str, words: DigestWords<'_>) -> String {
    let hex = |bytes: [u8; 16]| format!("{:032x}", u128::from_be_bytes(bytes));
    let ha1 = hex(ha1);
    let ha2 = hex(md5::compute(format!("{method}:{uri}")).0);
    let DigestWords { nonce, count } = words;
    let all = match count {
        Some((count, client_nonce)) => format!("{ha1}:{nonce}:{count}:{client_nonce}:auth:{ha2}"),
        None => format!("{ha1}:{nonce}:{ha2}"),
    };
    hex(md5::compute(all).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 2617 §3.5 and RFC 2069 §2.4 (with its erratum).
    #[test]
    fn examples_of_the_rfcs() {
        let words = DigestWords {
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            count: Some(("00000001", "0a4f113b")),
        };
        let alice = ha1("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(
            digest_response(alice, "GET", "/dir/index.html", words),
            "6629fae49393a05397450978507c4ef1"
        );
        let old = DigestWords {
            count: None,
            ..words
        };
        assert_eq!(
            digest_response(
                ha1("Mufasa", "testrealm@host.com", "CircleOfLife"),
                "GET",
                "/dir/index.html",
                old
            ),
            "1949323746fe6a43ef61f9606e7febea"
        );
    }
}
