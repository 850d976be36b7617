//! What a `$M` carries (§7): numbers of the playlist entry, and lists that describe its content.

use std::fmt::Write as _;

use super::Pragmas;

/// The content of `$M`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metadata {
    /// Number of the entry, from 1.
    pub playlist_gen_id: u32,
    /// 0 for stored content, else the live source within the playlist.
    pub broadcast_id: u32,
    /// Overrides the features of the response's head.
    pub features: String,
    /// One per language.
    pub descriptions: Vec<Description>,
}

/// Facts about the content, in one language.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Description {
    /// Such as `en-US`; may be empty.
    pub language: String,
    /// The facts.
    pub items: Vec<Item>,
}

/// A fact.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// Such as `WMS_CONTENT_DESCRIPTION_ROLE`.
    pub name: String,
    /// VARTYPE of the value.
    pub kind: u16,
    /// As text.
    pub value: String,
}

impl Item {
    /// VARTYPE of text.
    pub const TEXT: u16 = 31;
}

impl Metadata {
    /// The bytes for [`encode_fragments`](super::encode_fragments).
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "playlist-gen-id={}, broadcast-id={}, features=\"{}\"\0",
            self.playlist_gen_id, self.broadcast_id, self.features
        );
        for description in &self.descriptions {
            write_item(LANGUAGE, Item::TEXT, &description.language, &mut text);
            for item in &description.items {
                text.push(',');
                write_item(&item.name, item.kind, &item.value, &mut text);
            }
            text.push_str("\r\n");
        }
        text.into_bytes()
    }

    /// Reads the content of all fragments. What comes behind damage is left out.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut parts = bytes.splitn(2, |byte| *byte == 0);
        let tokens = String::from_utf8_lossy(parts.next().unwrap_or_default());
        let tokens = Pragmas::parse([tokens.as_ref()]);
        Self {
            playlist_gen_id: tokens.number("playlist-gen-id").unwrap_or_default(),
            broadcast_id: tokens.number("broadcast-id").unwrap_or_default(),
            features: tokens.text("features").unwrap_or_default().to_owned(),
            descriptions: descriptions(parts.next().unwrap_or_default()),
        }
    }
}

/// The name of the first item of a description.
const LANGUAGE: &str = "language";

fn write_item(name: &str, kind: u16, value: &str, text: &mut String) {
    let _ = write!(text, "{},{name},{kind},{},{value}", name.len(), value.len()); // memory never fails
}

fn descriptions(mut rest: &[u8]) -> Vec<Description> {
    let mut descriptions = Vec::new();
    while let Some(item) = take_item(&mut rest) {
        match descriptions.last_mut() {
            _ if item.name.eq_ignore_ascii_case(LANGUAGE) => descriptions.push(Description {
                language: item.value,
                items: Vec::new(),
            }),
            Some(Description { items, .. }) => items.push(item),
            None => {} // no description without its language
        }
        rest = rest
            .strip_prefix(b",")
            .or(rest.strip_prefix(b"\r\n"))
            .unwrap_or_default();
    }
    descriptions
}

fn take_item(rest: &mut &[u8]) -> Option<Item> {
    let name_bytes = take_number(rest)?;
    // The grammar of the specification says 7 where the word has 8 letters (§27).
    let is_language = name_bytes == 7 && rest.starts_with(LANGUAGE.as_bytes());
    let name = take_text(rest, if is_language { 8 } else { name_bytes })?;
    *rest = rest.strip_prefix(b",")?;
    let kind = u16::try_from(take_number(rest)?).ok()?;
    let value_bytes = take_number(rest)?;
    let value = take_text(rest, value_bytes)?;
    Some(Item { name, kind, value })
}

/// Digits and the comma behind them.
fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let end = rest.iter().position(|byte| *byte == b',')?;
    let digits = str::from_utf8(rest.get(..end)?).ok()?;
    *rest = rest.get(end + 1..)?;
    digits.parse().ok()
}

fn take_text(rest: &mut &[u8], bytes: usize) -> Option<String> {
    let text = str::from_utf8(rest.get(..bytes)?).ok()?.to_owned();
    *rest = rest.get(bytes..)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            playlist_gen_id: 1,
            broadcast_id: 2,
            features: "broadcast,playlist".into(),
            descriptions: vec![
                Description {
                    language: "en-US".into(),
                    items: vec![Item {
                        name: "WMS_CONTENT_DESCRIPTION_ROLE".into(),
                        kind: Item::TEXT,
                        value: "a,b\r\nü".into(),
                    }],
                },
                Description::default(),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = metadata().encode();
        let text = "playlist-gen-id=1, broadcast-id=2, features=\"broadcast,playlist\"\0\
            8,language,31,5,en-US,28,WMS_CONTENT_DESCRIPTION_ROLE,31,7,a,b\r\nü\r\n8,language,31,0,\r\n";
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        assert_eq!(Metadata::parse(&bytes), metadata());
    }

    #[test]
    fn the_language_of_the_printed_grammar_is_understood() {
        let read = Metadata::parse(b"playlist-gen-id=9\x007,language,31,2,de,1,x,3,1,5\r\n");
        assert_eq!(read.playlist_gen_id, 9);
        assert_eq!(
            (
                read.descriptions[0].language.as_str(),
                read.descriptions[0].items.len()
            ),
            ("de", 1)
        );
    }

    #[test]
    fn what_comes_behind_damage_is_left_out() {
        let bytes = metadata().encode();
        for size in 0..bytes.len() {
            let read = Metadata::parse(&bytes[..size]);
            assert!(read.descriptions.len() <= 2);
        }
        let lying = Metadata::parse(b"\x008,language,31,2,de,99999999999999999999999,x,1,1,1\r\n");
        assert_eq!(lying.descriptions[0].items, []);
    }
}
