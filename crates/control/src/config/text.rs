//! TOML text ↔ documents, with recovery: a file with broken syntax is still checked where it is sound.
//!
//! toml_edit stops at the first error, so each broken statement is painted over with spaces (places stay what they were) and the
//! text is parsed again, until it is clean or [`ROUNDS_MAX`] is reached. A table given twice is not lost: its section becomes a
//! document of its own. The split into statements is a guess by lines, good enough for files that people write; it decides
//! only how much is painted over, never what a value is.

use std::ops::Range;

use toml_edit::{Document, Item, Key, TableLike, TomlError};

use super::fault::Fault;
use super::walk::join;

/// A configuration text, as far as it could be parsed.
pub(super) struct Source {
    documents: Vec<Document<String>>,
    faults: Vec<Fault>,
}

impl Source {
    pub(super) fn parse(text: &str) -> Self {
        let mut rest = text.to_owned();
        let mut twice = Vec::new();
        let mut broken = Vec::new();
        let mut sections = Vec::new();
        let mut document = Document::parse(String::new()).expect("an empty text is TOML");
        for _ in 0..ROUNDS_MAX {
            let error = match Document::parse(rest.clone()) {
                Ok(whole) => {
                    document = whole;
                    break;
                }
                Err(error) => error,
            };
            let statements = statements(&rest);
            let place = error.span().unwrap_or(0..0);
            let Some(index) = statement_at(&statements, &place) else {
                broken.push(syntax_fault(&error, place));
                break;
            };
            let statement = &statements[index];
            let mut gone = statement.range.clone();
            if statement.is_header {
                gone.end = statements[index + 1..]
                    .iter()
                    .find(|next| next.is_header)
                    .map_or(rest.len(), |next| next.range.start);
            }
            if error.message() == "duplicate key" {
                if statement.is_header {
                    sections.push(painted(&rest, 0..gone.start, gone.end..rest.len()));
                }
                twice.push(Twice {
                    path: key_path(&rest, &statements, index, &place),
                    place,
                });
            } else {
                broken.push(syntax_fault(&error, widened(&rest, place, statement)));
            }
            let sound = painted(&rest, gone, 0..0);
            if sound == rest {
                // Only bare carriage returns are left: painting them would move line ends.
                break;
            }
            rest = sound;
        }
        let mut faults = broken;
        faults.extend(
            twice
                .into_iter()
                .map(|twice| twice.into_fault(&document, text)),
        );
        let extra = sections
            .into_iter()
            .filter_map(|section| Document::parse(section).ok());
        Self {
            documents: std::iter::once(document).chain(extra).collect(),
            faults,
        }
    }

    /// Nothing was painted over: what is absent is really absent.
    pub(super) fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// The sound part of the file first, then each section that repeats a table.
    pub(super) fn documents(&self) -> &[Document<String>] {
        &self.documents
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}

/// A file with more broken statements than this is not a configuration.
const ROUNDS_MAX: usize = 50;

/// `text` with two ranges made spaces, line ends kept.
fn painted(text: &str, first: Range<usize>, second: Range<usize>) -> String {
    let paint = |(at, byte): (usize, u8)| {
        let inside = first.contains(&at) || second.contains(&at);
        if inside && byte != b'\n' && byte != b'\r' {
            b' '
        } else {
            byte
        }
    };
    let bytes = text.bytes().enumerate().map(paint).collect();
    String::from_utf8(bytes).expect("ranges end where statements do, at line ends")
}

fn syntax_fault(error: &TomlError, place: Range<usize>) -> Fault {
    let (message, expected) = error
        .message()
        .split_once(", expected ")
        .unwrap_or((error.message(), ""));
    let fault = Fault::new("", Some(place), format!("not valid TOML: {message}"));
    match expected {
        "" | "nothing" => fault
            .help("texts stand in double quotes, lists in [ ], tables in { } or under a [header]"),
        expected => fault.help(format!("expected {expected}")),
    }
}

/// The parser points between two letters, or behind the statement, where something is missing: show the line of the statement instead.
fn widened(text: &str, place: Range<usize>, statement: &Statement) -> Range<usize> {
    if !place.is_empty() && statement.range.contains(&place.start) {
        return place;
    }
    let start = statement.range.start;
    let line = text[start..].lines().next().unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    start + indent..start + line.trim_end().len()
}

/// A key or header that stands in the file a second time.
struct Twice {
    path: Vec<String>,
    place: Range<usize>,
}

impl Twice {
    fn into_fault(self, document: &Document<String>, text: &str) -> Fault {
        let key = self
            .path
            .iter()
            .fold(String::new(), |path, key| join(&path, key));
        let message = match self.path.as_slice() {
            [top, name] if top == "channels" => format!("two channels are called `{name}`"),
            _ => format!("`{}` is given twice", &text[self.place.clone()]),
        };
        let fault = Fault::new(key, Some(self.place), message)
            .label("the second one")
            .help("keep one of the two, or rename one");
        match first_place(document.as_table(), &self.path) {
            Some(first) => fault.other(first, "the first one"),
            None => fault,
        }
    }
}

fn first_place(table: &dyn TableLike, path: &[String]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, item) = table.get_key_value(first)?;
    if rest.is_empty() {
        return key.span();
    }
    first_place(Item::as_table_like(item)?, rest)
}

/// Full path of the repeated key at `place`, as far as it can be told: section header, then the statement's own key.
fn key_path(
    text: &str,
    statements: &[Statement],
    index: usize,
    place: &Range<usize>,
) -> Vec<String> {
    let statement = &statements[index];
    let own = &text[statement.range.start..place.end];
    let keys = |text: &str| Key::parse(text.trim().trim_matches(['[', ']'])).unwrap_or_default();
    let header = statements[..index]
        .iter()
        .rev()
        .find(|earlier| earlier.is_header && !statement.is_header);
    let header = header
        .map(|header| {
            keys(
                text[header.range.clone()]
                    .split('#')
                    .next()
                    .unwrap_or_default(),
            )
        })
        .unwrap_or_default();
    // In `a = { k = 1, k = 2 }` the repeated key is not the statement's own: name only what the parser points at.
    let own = if own.contains('=') {
        keys(&text[place.clone()])
    } else {
        keys(own)
    };
    header
        .iter()
        .chain(&own)
        .map(|key| key.get().to_owned())
        .collect()
}

/// A guess at one `key = value` or `[header]`, whole lines.
struct Statement {
    range: Range<usize>,
    is_header: bool,
    /// Ends with a bracket still open.
    is_open: bool,
}

/// The statement to blame for an error at `place`.
fn statement_at(statements: &[Statement], place: &Range<usize>) -> Option<usize> {
    let at = |statement: &Statement| statement.range.start <= place.start;
    let index = statements.partition_point(at).checked_sub(1)?;
    // While a bracket is open, the parser takes everything after it for a part of the same value.
    let open = statements[..index]
        .iter()
        .position(|statement| statement.is_open);
    Some(open.unwrap_or(index))
}

fn statements(text: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let trimmed = line.trim_start();
        let unindented = trimmed.len() == line.len();
        let is_header = trimmed.starts_with('[') && (depth == 0 || unindented);
        let begins = is_header || depth == 0 || (unindented && looks_like_key(trimmed));
        match statements.last_mut() {
            _ if trimmed.is_empty() || trimmed.starts_with('#') => continue,
            Some(open) if !begins => open.range.end = range.end,
            _ => {
                depth = 0;
                statements.push(Statement {
                    range,
                    is_header,
                    is_open: false,
                });
            }
        }
        depth = if is_header {
            0
        } else {
            (depth + bracket_balance(line)).max(0)
        };
        if let Some(last) = statements.last_mut() {
            last.is_open = depth > 0;
        }
    }
    statements
}

fn looks_like_key(line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else {
        return false;
    };
    Key::parse(key.trim()).is_ok()
}

/// Brackets opened less brackets closed, outside of strings and comments.
fn bracket_balance(line: &str) -> i32 {
    let mut quote = None;
    let mut escaped = false;
    let mut balance = 0;
    for letter in line.chars() {
        match (quote, letter) {
            (Some('"'), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#') => break,
            (None, '[' | '{') => balance += 1,
            (None, ']' | '}') => balance -= 1,
            (None, _) => {}
        }
    }
    balance
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Full paths of the values that survived, inline tables counting as one value.
    fn keys_left(text: &str) -> Vec<String> {
        fn gather(table: &toml_edit::Table, path: &str, keys: &mut Vec<String>) {
            for (key, item) in table {
                let path = join(path, key);
                match item {
                    Item::Table(table) => gather(table, &path, keys),
                    _ => keys.push(path),
                }
            }
        }
        let mut keys = Vec::new();
        Source::parse(text)
            .documents
            .iter()
            .for_each(|document| gather(document, "", &mut keys));
        keys
    }

    fn underlined(text: &str) -> Vec<String> {
        let mut faults = Source::parse(text).into_faults();
        faults.sort_by_key(|fault| fault.span().map(|span| span.start));
        let span = |fault: &Fault| fault.span().expect("syntax faults have places");
        faults
            .iter()
            .map(|fault| text[span(fault)].to_owned())
            .collect()
    }

    #[test]
    fn a_sound_text_is_whole() {
        assert!(Source::parse("[a]\nb = 1\n").is_whole());
    }

    #[test]
    fn every_broken_statement_is_found_and_the_rest_kept() {
        let text = "a = \"open\nb = 2\nc 3\nd = [1,\n  2\ne = 5\n[f\ng = 1\n[h]\ni = 1\n";
        assert_eq!(underlined(text), ["a = \"open", "c 3", "d = [1,", "[f"]);
        assert_eq!(keys_left(text), ["b", "e", "h.i"]);
    }

    #[test]
    fn a_table_given_twice_is_read_twice() {
        let text = "[t]\na = 1\n[t]\nb = 2\n[u]\nc = 3\n";
        assert_eq!(underlined(text), ["t"]);
        assert_eq!(keys_left(text), ["t.a", "u.c", "t.b"]);
    }

    #[test]
    fn a_key_given_twice_keeps_the_first() {
        let text = "[t]\na = 1\na = 2\nb = { k = 1, k = 2 }\n";
        assert_eq!(underlined(text), ["a", "k"]);
        assert_eq!(keys_left(text), ["t.a"]);
    }

    #[test]
    fn both_places_of_a_channel_are_shown() {
        let faults = Source::parse("[channels.\"a b\"]\n[channels.\"a b\"]\n").into_faults();
        assert_eq!(
            faults[0].to_string(),
            "channels.\"a b\": two channels are called `a b`"
        );
    }

    #[test]
    fn anything_at_all_ends() {
        for text in [
            "[",
            "]",
            "\"",
            "'''",
            "= = =",
            "[[[[",
            "{",
            "a = {\n{\n{",
            "\u{feff}",
            "é = ü\nö\n",
            "[a]\r\nb\r\n",
        ] {
            Source::parse(text);
        }
    }
}
