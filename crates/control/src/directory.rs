//! Finds a channel by the path a player sent.
//!
//! Players disagree about escaping: mplayer, libmms and xine percent-decode a URL's path before they send it, ffmpeg and VLC send it
//! raw; some send a leading slash, some the query string (`docs/protocol/mmsp.md` §5.8). So a path is looked up as it came and
//! decoded, exactly and then with ASCII case ignored. Built once at start, read by every shard; a lookup allocates only when it
//! has something to decode or to fold.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use crate::nearest::nearest;

/// Names and what they stand for.
#[derive(Clone, Debug)]
pub struct Directory<T> {
    entries: Vec<(String, T)>,
    by_name: HashMap<String, usize>,
    by_folded_name: HashMap<String, usize>,
}

impl<T> Directory<T> {
    /// Keeps the order of `entries`.
    ///
    /// # Errors
    /// Two names that differ at most in ASCII case; a loaded configuration has none.
    pub fn new(entries: impl IntoIterator<Item = (String, T)>) -> Result<Self, NameTaken> {
        let entries: Vec<_> = entries.into_iter().collect();
        let mut by_name = HashMap::new();
        let mut by_folded_name = HashMap::new();
        for (index, (name, _)) in entries.iter().enumerate() {
            by_name.insert(name.clone(), index);
            if by_folded_name
                .insert(name.to_ascii_lowercase(), index)
                .is_some()
            {
                return Err(NameTaken(name.clone()));
            }
        }
        Ok(Self {
            entries,
            by_name,
            by_folded_name,
        })
    }

    /// The channel a player means by `path`: one leading `/` and everything from the first `?` do not count.
    pub fn find(&self, path: &str) -> Option<Found<'_, T>> {
        let path = without_query(path);
        let decoded = percent_decode_str(path).decode_utf8().ok();
        let (received, decoded) = (without_slash(path), decoded.as_deref().map(without_slash));
        let spellings = || std::iter::once(received).chain(decoded);
        let exact = spellings().find_map(|name| self.by_name.get(name));
        let index = exact.or_else(|| {
            spellings().find_map(|name| self.by_folded_name.get(&name.to_ascii_lowercase()))
        })?;
        let (name, value) = &self.entries[*index];
        Some(Found { name, value })
    }

    /// For the log, after [`find`](Self::find) found nothing: the name that `path` misses by a typing slip.
    pub fn nearest(&self, path: &str) -> Option<&str> {
        let path = without_query(path);
        let name = percent_decode_str(path)
            .decode_utf8()
            .unwrap_or(Cow::Borrowed(path));
        nearest(without_slash(&name), self.names())
    }

    /// Every name, in the order given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Every entry, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// Count of names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No names at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What [`Directory::find`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found<'a, T> {
    /// As configured, whatever spelling the player used.
    pub name: &'a str,
    /// What stands under it.
    pub value: &'a T,
}

/// A second channel of the same name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("two channels are called `{0}`, or differ only in the case of letters")]
pub struct NameTaken(pub String);

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn without_slash(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn directory() -> Directory<u32> {
        let names = ["demo", "News", "a b é", "100", "über"];
        Directory::new(names.into_iter().map(str::to_owned).zip(0..)).expect("names differ")
    }

    fn found(path: &str) -> Option<&'static str> {
        let names = ["demo", "News", "a b é", "100", "über"];
        directory()
            .find(path)
            .map(|found| names[*found.value as usize])
    }

    #[test]
    fn takes_every_spelling_real_players_send() {
        // mmsp.md §5.8: decoded by mplayer, libmms and xine; raw from ffmpeg and VLC; VLC without the query.
        assert_eq!(found("a b é?x=1"), Some("a b é"));
        assert_eq!(found("a%20b%20%C3%A9?x=1"), Some("a b é"));
        assert_eq!(found("a%20b%20%c3%a9"), Some("a b é"));
        assert_eq!(found("demo?WMCache=0&WMBitrate=100?x"), Some("demo"));
        assert_eq!(found("/demo"), Some("demo"));
        assert_eq!(found("%2Fdemo"), Some("demo"));
    }

    #[test]
    fn ignores_ascii_case_after_trying_the_exact_name() {
        assert_eq!(found("DEMO"), Some("demo"));
        assert_eq!(found("/nEWS?"), Some("News"));
        assert_eq!(found("A%20B%20%C3%A9"), Some("a b é"));
        assert_eq!(found("ÜBER"), None, "only ASCII letters have a case here");
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in [
            "",
            "/",
            "?",
            "//demo",
            "demo/",
            "demo%00",
            "%FF",
            "100%",
            "x".repeat(5000).as_str(),
        ] {
            assert_eq!(found(path), None, "{path:?}");
        }
    }

    #[test]
    fn names_the_slip() {
        assert_eq!(directory().nearest("/dmeo?x"), Some("demo"));
        assert_eq!(directory().nearest("new"), Some("News"));
        assert_eq!(directory().nearest("something"), None);
    }

    #[test]
    fn refuses_names_that_differ_only_in_case() {
        let pairs = [("News".to_owned(), 1), ("nEWS".to_owned(), 2)];
        assert_eq!(
            Directory::new(pairs).err(),
            Some(NameTaken("nEWS".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn every_allowed_name_is_found_raw_and_encoded(name in "[^/?%\\x00-\\x1f\\x7f]{1,40}", query in "[ -~]{0,20}") {
            let directory = Directory::new([(name.clone(), ())]).expect("one name");
            let encoded: String = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).collect();
            for path in [name.clone(), format!("/{name}?{query}"), encoded.clone(), format!("/{encoded}?{query}")] {
                prop_assert_eq!(directory.find(&path).map(|found| found.name), Some(name.as_str()));
            }
        }

        #[test]
        fn no_path_is_too_odd(path in ".{0,300}") {
            let directory = directory();
            directory.find(&path);
            directory.nearest(&path);
        }
    }
}
