//! The tokens of `Pragma` fields (§4), read as forgivingly as real players need it.

use super::SwitchEntry;

/// The tokens of all `Pragma` fields of a head, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pragmas(Vec<(String, Option<String>)>);

impl Pragmas {
    /// Takes the values of all fields apart; anything is accepted.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut tokens = Vec::new();
        for value in values {
            let mut rest = value.trim_start();
            while !rest.is_empty() {
                let (token, behind) = split_token(rest);
                let (name, value) = match token.split_once('=') {
                    Some((name, value)) => (name, Some(unquoted(value))),
                    None => (token, None),
                };
                if !name.trim().is_empty() {
                    tokens.push((name.trim().to_owned(), value));
                }
                rest = behind.trim_start();
            }
        }
        Self(tokens)
    }

    /// Whether there is such a token, in any capitalisation, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of the first such token, without quotes.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next().flatten()
    }

    /// The digits at the start of the value; what follows them is ignored.
    pub fn number(&self, name: &str) -> Option<u32> {
        let text = self.text(name)?;
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text.get(..end)?.parse().ok()
    }

    /// Whether the value is a number other than 0.
    pub fn is_set(&self, name: &str) -> bool {
        self.number(name).is_some_and(|number| number != 0)
    }

    /// The number of the session that the server gave.
    pub fn client_id(&self) -> Option<u32> {
        self.number("client-id")
    }

    /// The player's GUID as it writes it, without braces; it may be malformed.
    pub fn client_guid(&self) -> Option<&str> {
        let guid = self.text("xClientGUID")?;
        Some(guid.trim_matches(['{', '}']))
    }

    /// Every entry of every `stream-switch-entry`.
    pub fn switch_entries(&self) -> impl Iterator<Item = SwitchEntry> {
        self.all("stream-switch-entry")
            .flatten()
            .flat_map(SwitchEntry::parse_list)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_deref())
    }
}

/// The first token and what follows its comma. A comma inside of quotes is no end, and `log-line` has none at all.
fn split_token(text: &str) -> (&str, &str) {
    let is_log = text
        .get(..LOG_LINE.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(LOG_LINE));
    if is_log {
        return (text, "");
    }
    let mut is_quoted = false;
    let end = text.find(|c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    }
}

const LOG_LINE: &str = "log-line=";

fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = value
        .strip_prefix('"')
        .map(|inner| inner.strip_suffix('"').unwrap_or(inner));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn tokens_of_ffmpeg_with_its_missing_line_end() {
        let pragmas = Pragmas::parse([
            "no-cache,rate=1.000000,request-context=2",
            "xPlayStrm=1",
            "xClientGUID={c77e7400-738a-11d2-9add-0020af0a3278}",
            "stream-switch-count=2",
            "stream-switch-entry=ffff:1:0 ffff:2:0 ",
            "no-cache,rate=1.000000,stream-time=0Connection: Close",
        ]);
        assert!(pragmas.has("NO-CACHE") && pragmas.is_set("xplaystrm"));
        assert_eq!(pragmas.number("stream-time"), Some(0));
        assert_eq!(pragmas.number("rate"), Some(1));
        assert_eq!(pragmas.number("no-cache"), None);
        assert_eq!(
            pragmas.client_guid(),
            Some("c77e7400-738a-11d2-9add-0020af0a3278")
        );
        assert_eq!(pragmas.switch_entries().count(), 2);
        assert!(
            pragmas
                .switch_entries()
                .all(|entry| entry.level == Level::All)
        );
    }

    #[test]
    fn quotes_hold_commas_and_a_log_line_holds_everything() {
        let pragmas = Pragmas::parse([
            "no-cache, client-id=3077113431, features=\"broadcast,playlist\", timeout=60000",
            "log-line=0.0.0.0 2026-01-01 a,b \"c\"",
            "features=\"\",,=,x=\"y",
        ]);
        assert_eq!(pragmas.client_id(), Some(3_077_113_431));
        assert_eq!(pragmas.text("features"), Some("broadcast,playlist"));
        assert_eq!(pragmas.number("timeout"), Some(60_000));
        assert_eq!(
            pragmas.text("log-line"),
            Some("0.0.0.0 2026-01-01 a,b \"c\"")
        );
        assert_eq!(pragmas.text("x"), Some("y"));
    }

    #[test]
    fn a_number_out_of_range_is_none() {
        let pragmas = Pragmas::parse(["client-id=4294967296, xPlayStrm=0, version11-enabled=11"]);
        assert_eq!(pragmas.client_id(), None);
        assert!(!pragmas.is_set("xPlayStrm") && pragmas.is_set("version11-enabled"));
    }
}
