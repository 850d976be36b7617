//! Is this the one who may push? Basic (RFC 7617), and Digest (RFC 2617: MD5, `qop=auth` or none).
//!
//! A nonce is the time and a hash of it, so handing one out needs no memory and a flood of strangers displaces nobody. Only who has shown
//! the password is remembered: a nonce's counts, so that no answer is good twice.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use funnel_wire::wmsp::RequestHead;

use super::digest::{DigestWords, digest_response, ha1};
use super::{Access, REALM, Secret};

/// Judges requests.
#[derive(Debug)]
pub(super) struct Guard {
    access: Option<Access>,
    secret: [u8; 16],
    began: Instant,
    /// Nonces that were answered well, when they were made, and the highest count with them.
    used: Vec<(Duration, u32)>,
    /// Hash of name and password that were found good elsewhere.
    accepted: Option<[u8; 16]>,
}

/// What a request has to say for itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Welcome.
    Granted,
    /// Nothing, or not enough.
    Denied(Challenge),
    /// Somebody else has to look at it.
    Ask { user: String, password: String },
}

/// What a refused client has to answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Challenge {
    /// It knows the password, but the nonce is too old or was used.
    pub(super) is_stale: bool,
}

impl Guard {
    pub(super) fn new(access: Option<Access>, secret: [u8; 16], now: Instant) -> Self {
        Self {
            access,
            secret,
            began: now,
            used: Vec::new(),
            accepted: None,
        }
    }

    /// Whether anybody may push.
    pub(super) fn is_open(&self) -> bool {
        self.access.is_none()
    }

    /// Judges a request.
    pub(super) fn judge(&mut self, now: Instant, head: &RequestHead) -> Verdict {
        let denied = |is_stale| Verdict::Denied(Challenge { is_stale });
        let Some(access) = &self.access else {
            return Verdict::Granted;
        };
        let Some((scheme, words)) = head
            .fields
            .get("Authorization")
            .and_then(|value| value.split_once(' '))
        else {
            return denied(false);
        };
        if scheme.eq_ignore_ascii_case("basic") {
            let Some((user, password)) = basic(words) else {
                return denied(false);
            };
            return match access.secret {
                Secret::Digest(hash) => {
                    let is_good = same(&ha1(&user, REALM, &password), &hash);
                    if is_good && user == access.user {
                        Verdict::Granted
                    } else {
                        denied(false)
                    }
                }
                Secret::Asked if self.accepted == Some(self.hash_of(&user, &password)) => {
                    Verdict::Granted
                }
                Secret::Asked => Verdict::Ask { user, password },
            };
        }
        match access.secret {
            Secret::Digest(hash) if scheme.eq_ignore_ascii_case("digest") => {
                let user = access.user.clone();
                self.judge_digest(now, head, words, &user, hash)
            }
            _ => denied(false),
        }
    }

    /// Remembers what was found good, so that it is not asked for again.
    pub(super) fn accept(&mut self, user: &str, password: &str) {
        self.accepted = Some(self.hash_of(user, password));
    }

    /// The fields of a 401, best first.
    pub(super) fn challenges(&self, now: Instant, challenge: Challenge) -> Vec<String> {
        let mut challenges = Vec::new();
        if self
            .access
            .as_ref()
            .is_some_and(|access| access.secret != Secret::Asked)
        {
            let nonce = self.nonce(now.saturating_duration_since(self.began));
            let stale = if challenge.is_stale {
                ", stale=true"
            } else {
                ""
            };
            challenges.push(format!(
                "Digest realm=\"{REALM}\", qop=\"auth\", nonce=\"{nonce}\", algorithm=MD5{stale}"
            ));
        }
        challenges.push(format!("Basic realm=\"{REALM}\""));
        challenges
    }

    fn judge_digest(
        &mut self,
        now: Instant,
        head: &RequestHead,
        words: &str,
        user: &str,
        hash: [u8; 16],
    ) -> Verdict {
        let denied = |is_stale| Verdict::Denied(Challenge { is_stale });
        let words = Words::parse(words);
        let (Some(nonce), Some(uri), Some(response)) =
            (words.get("nonce"), words.get("uri"), words.get("response"))
        else {
            return denied(false);
        };
        let count = match (words.get("qop"), words.get("nc"), words.get("cnonce")) {
            (None, _, _) => None,
            (Some(qop), Some(count), Some(client_nonce)) if qop.eq_ignore_ascii_case("auth") => {
                Some((count, client_nonce))
            }
            _ => return denied(false),
        };
        // Without a count a nonce is good once.
        let number = count.map_or(Some(u32::MAX), |(count, _)| {
            u32::from_str_radix(count, 16).ok()
        });
        let expected = digest_response(
            hash,
            head.method.as_str(),
            uri,
            DigestWords { nonce, count },
        );
        let is_good = words.get("username") == Some(user)
            && words.get("realm").is_none_or(|realm| realm == REALM)
            && (uri == head.target || head.target.ends_with(uri) && uri.starts_with('/'))
            && same(
                expected.as_bytes(),
                response.to_ascii_lowercase().as_bytes(),
            );
        let (Some(number), true) = (number, is_good) else {
            return denied(false);
        };
        let time = now.saturating_duration_since(self.began);
        match self.made_at(nonce) {
            Some(made)
                if time.saturating_sub(made) <= NONCE_LIFE && self.is_first(made, number, time) =>
            {
                Verdict::Granted
            }
            _ => denied(true),
        }
    }

    /// Whether this count with this nonce has not been seen; remembers it.
    fn is_first(&mut self, made: Duration, count: u32, time: Duration) -> bool {
        self.used
            .retain(|(made, _)| time.saturating_sub(*made) <= NONCE_LIFE);
        match self.used.iter_mut().find(|(known, _)| *known == made) {
            Some((_, highest)) if count <= *highest => false,
            Some((_, highest)) => {
                *highest = count;
                true
            }
            None => {
                self.used.push((made, count));
                true
            }
        }
    }

    /// A nonce made at this time.
    fn nonce(&self, made: Duration) -> String {
        let made = u64::try_from(made.as_micros()).unwrap_or(u64::MAX);
        let secret = u128::from_be_bytes(self.secret);
        let seal = md5::compute(format!("{secret:032x}:{made:016x}:{secret:032x}"));
        format!("{made:016x}{seal:x}")
    }

    /// When a nonce was made; `None`: not by us.
    fn made_at(&self, nonce: &str) -> Option<Duration> {
        let made = u64::from_str_radix(nonce.get(..16)?, 16).ok()?;
        let made = Duration::from_micros(made);
        same(self.nonce(made).as_bytes(), nonce.as_bytes()).then_some(made)
    }

    fn hash_of(&self, user: &str, password: &str) -> [u8; 16] {
        let secret = u128::from_be_bytes(self.secret);
        md5::compute(format!("{secret:032x}:{user}:{password}")).0
    }
}

/// How long after its making a nonce is good: an encoder asks for it and answers at once.
const NONCE_LIFE: Duration = Duration::from_secs(300);

/// Name and password of Basic.
fn basic(words: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(words.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Compares in a time that does not depend on where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |sum, (one, other)| sum | (one ^ other))
            == 0
}

/// `name=word, name="quoted \"text\"", …`
struct Words(Vec<(String, String)>);

impl Words {
    fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        let mut rest = text;
        while let Some((name, behind)) = rest.split_once('=') {
            let name = name.trim_start_matches([',', ' ', '\t']).trim();
            let (value, behind) = match behind.trim_start().strip_prefix('"') {
                Some(quoted) => unquote(quoted),
                None => {
                    let (value, behind) = behind.split_once(',').unwrap_or((behind, ""));
                    (value.trim().to_owned(), behind)
                }
            };
            words.push((name.to_ascii_lowercase(), value));
            rest = behind;
        }
        Self(words)
    }

    /// Only what is said once.
    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        value.filter(|_| found.next().is_none())
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, &quoted[at + 1..]),
            '\\' => text.extend(letters.next().map(|(_, letter)| letter)),
            _ => text.push(letter),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    struct Desk {
        guard: Guard,
        began: Instant,
    }

    impl Desk {
        fn new(secret: Secret) -> Self {
            let access = Access {
                user: "alice".into(),
                secret,
            };
            let began = Instant::now();
            let guard = Guard::new(Some(access), [7; 16], began);
            Self { guard, began }
        }

        fn judge(&mut self, at: Duration, authorization: &str) -> Verdict {
            let head =
                format!("POST /live HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\n\r\n");
            let head = RequestHead::parse(head.as_bytes()).unwrap().unwrap().0;
            self.guard.judge(self.began + at, &head)
        }

        /// An answer to the challenge given at that time.
        fn digest(&self, made: Duration, user: &str, password: &str, nc: Option<u32>) -> String {
            let nonce = self.guard.nonce(made);
            let count = nc.map(|nc| format!("{nc:08x}"));
            let words = DigestWords {
                nonce: &nonce,
                count: count.as_deref().map(|count| (count, "c\"n")),
            };
            let response = digest_response(ha1(user, REALM, password), "POST", "/live", words);
            let counted = count.map(|nc| format!(", qop=auth, nc={nc}, cnonce=\"c\\\"n\""));
            format!(
                "Digest username=\"{user}\", realm=\"{REALM}\",nonce=\"{nonce}\", uri=\"/live\", response=\"{response}\"{}",
                counted.unwrap_or_default()
            )
        }
    }

    fn denied(is_stale: bool) -> Verdict {
        Verdict::Denied(Challenge { is_stale })
    }

    #[test]
    fn digest_lets_in_who_knows_the_password_each_count_once() {
        let mut desk = Desk::new(Secret::Digest(ha1("alice", REALM, "secret")));
        let good = |desk: &Desk, nc| desk.digest(NOW, "alice", "secret", nc);
        for (nc, verdict) in [
            (Some(1), Verdict::Granted),
            (Some(1), denied(true)),
            (Some(2), Verdict::Granted),
            (Some(1), denied(true)),
            (Some(9), Verdict::Granted),
            (None, Verdict::Granted),
            (None, denied(true)),
            (Some(10), denied(true)),
        ] {
            let answer = good(&desk, nc);
            assert_eq!(desk.judge(NOW, &answer), verdict, "{nc:?}");
        }
        let late = NOW + NONCE_LIFE + Duration::from_secs(1);
        let answer = desk.digest(NOW, "alice", "secret", Some(20));
        assert_eq!(desk.judge(late, &answer), denied(true));
    }

    #[test]
    fn digest_keeps_everybody_else_out() {
        let mut desk = Desk::new(Secret::Digest(ha1("alice", REALM, "secret")));
        let good = desk.digest(NOW, "alice", "secret", Some(1));
        let foreign_nonce = format!("{:016x}{:032x}", 1_000_000_000, 5);
        for bad in [
            desk.digest(NOW, "alice", "secre", Some(1)),
            desk.digest(NOW, "bob", "secret", Some(1)),
            good.replace("/live", "/other"),
            good.replace("00000001", "00000002"),
            good.replace("nc=00000001", "nc=+0000001"),
            good.replace("qop=auth", "qop=auth-int"),
            good.replace("username=\"alice\"", "username=\"alice\", username=\"bob\""),
            good.replace("response=\"", "response=\"0"),
            good.replace(REALM, "other"),
            "Digest".into(),
            "Digest =,=\"".into(),
            "Bearer x".into(),
            String::new(),
        ] {
            assert_eq!(desk.judge(NOW, &bad), denied(false), "{bad}");
        }
        // With a nonce that is not ours the response may be right all the same.
        let words = DigestWords {
            nonce: &foreign_nonce,
            count: None,
        };
        let response = digest_response(ha1("alice", REALM, "secret"), "POST", "/live", words);
        let foreign = format!(
            "Digest username=alice, nonce={foreign_nonce}, uri=\"/live\", response={response}"
        );
        assert_eq!(desk.judge(NOW, &foreign), denied(true));
        assert_eq!(
            desk.judge(NOW, &good),
            Verdict::Granted,
            "nothing was used up"
        );
    }

    #[test]
    fn basic_is_checked_here_or_asked_for_once() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let mut desk = Desk::new(Secret::Digest(ha1("alice", REALM, "se:cret")));
        assert_eq!(desk.judge(NOW, &basic("alice:se:cret")), Verdict::Granted);
        for bad in ["alice:se", "bob:se:cret", "alice", ""] {
            assert_eq!(desk.judge(NOW, &basic(bad)), denied(false));
        }
        assert_eq!(desk.judge(NOW, "Basic %%%"), denied(false));
        let mut desk = Desk::new(Secret::Asked);
        let asked = Verdict::Ask {
            user: "alice".into(),
            password: "secret".into(),
        };
        assert_eq!(desk.judge(NOW, &basic("alice:secret")), asked);
        assert_eq!(desk.judge(NOW, &basic("alice:secret")), asked);
        desk.guard.accept("alice", "secret");
        assert_eq!(desk.judge(NOW, &basic("alice:secret")), Verdict::Granted);
        assert!(matches!(
            desk.judge(NOW, &basic("bob:secret")),
            Verdict::Ask { .. }
        ));
        let digest = desk.digest(NOW, "alice", "secret", Some(1));
        assert_eq!(desk.judge(NOW, &digest), denied(false));
        let offered = desk.guard.challenges(desk.began, Challenge::default());
        assert_eq!(offered, ["Basic realm=\"funnel\""]);
    }
}
