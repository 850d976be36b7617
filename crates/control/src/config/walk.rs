//! The walk over one document: sections, typed values, and a fault with its place for everything that is not as it should be.
//!
//! A reader asks a [`Section`] for keys by name; what it gets back is `None` when the key is absent *or* at fault, and the fault is
//! already written down, so that readers contain no error handling and the walk never stops early. Which keys exist is
//! `schema.rs`; a reader that asks for any other key is caught by a debug assertion.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use toml_edit::{Item, Key, TableLike, Value};

use crate::nearest::nearest;

use super::fault::Fault;
use super::read::Surroundings;
use super::schema::{self, Table};

/// What the walk gathers.
pub(super) struct Walk {
    pub(super) surroundings: Surroundings,
    faults: Vec<Fault>,
    spans: BTreeMap<String, Range<usize>>,
    believes_absence: bool,
}

impl Walk {
    pub(super) fn new(surroundings: Surroundings, believes_absence: bool) -> Self {
        Self {
            surroundings,
            faults: Vec::new(),
            spans: BTreeMap::new(),
            believes_absence,
        }
    }

    pub(super) fn finish(self) -> (Vec<Fault>, BTreeMap<String, Range<usize>>) {
        (self.faults, self.spans)
    }

    pub(super) fn add(&mut self, fault: Fault) {
        if self.believes_absence || !fault.is_absence() {
            self.faults.push(fault);
        }
    }

    /// Opens the table at `entry`; its unknown keys are reported here, once.
    pub(super) fn section<'a>(&mut self, entry: Entry<'a>, schema: Table) -> Option<Section<'a>> {
        let Some(table) = entry.item.as_table_like() else {
            self.wrong_type(&entry, "a table");
            return None;
        };
        let section = Section {
            path: entry.path,
            span: entry.key_span,
            table,
            schema,
        };
        for (key, _) in table.iter().filter(|(key, _)| !schema.keys.contains(key)) {
            self.unknown(&section, key);
        }
        Some(section)
    }

    /// The key's value as it stands.
    pub(super) fn entry<'a>(&mut self, section: &Section<'a>, name: &str) -> Option<Entry<'a>> {
        debug_assert!(
            section.schema.keys.contains(&name),
            "{}.{name} is not in the schema",
            section.schema.path
        );
        let (key, item) = section.table.get_key_value(name)?;
        let entry = Entry::new(join(&section.path, name), key, item);
        self.spans
            .entry(entry.path.clone())
            .or_insert_with(|| entry.value_span());
        Some(entry)
    }

    /// As [`entry`](Self::entry), for keys that must be there; `help` shows how to write it.
    pub(super) fn required<'a>(
        &mut self,
        section: &Section<'a>,
        name: &str,
        help: &str,
    ) -> Option<Entry<'a>> {
        let entry = self.entry(section, name);
        if entry.is_none() {
            let fault = Fault::new(
                join(&section.path, name),
                Some(section.span.clone()),
                format!("the key `{name}` is missing"),
            );
            self.add(
                fault
                    .label(format!("`{name}` belongs here"))
                    .help(help)
                    .absence(),
            );
        }
        entry
    }

    /// Remembers where a table is, for faults added after the walk.
    pub(super) fn note(&mut self, path: &str, span: Range<usize>) {
        self.spans.entry(path.to_owned()).or_insert(span);
    }

    /// Where a value or table that was read stands.
    pub(super) fn span_of(&self, path: &str) -> Option<Range<usize>> {
        self.spans.get(path).cloned()
    }

    pub(super) fn text(&mut self, section: &Section<'_>, name: &str) -> Option<String> {
        let entry = self.entry(section, name)?;
        self.text_of(&entry)
    }

    pub(super) fn text_of(&mut self, entry: &Entry<'_>) -> Option<String> {
        let text = entry.item.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(entry, "a text in quotes");
        }
        text
    }

    pub(super) fn boolean(&mut self, section: &Section<'_>, name: &str) -> Option<bool> {
        let entry = self.entry(section, name)?;
        let boolean = entry.item.as_bool();
        if boolean.is_none() {
            self.wrong_type(&entry, "true or false");
        }
        boolean
    }

    /// A whole number within `range`; `unit` is only for the message (" ms", or nothing).
    pub(super) fn integer<T>(
        &mut self,
        section: &Section<'_>,
        name: &str,
        range: RangeInclusive<T>,
        unit: &str,
    ) -> Option<T>
    where
        T: Copy + fmt::Display + PartialOrd + TryFrom<i64>,
    {
        let entry = self.entry(section, name)?;
        let Some(number) = entry.item.as_integer() else {
            self.wrong_type(&entry, "a whole number");
            return None;
        };
        let value = T::try_from(number)
            .ok()
            .filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(&entry, format!("{number}"), &range, unit);
        }
        value
    }

    /// A number with or without decimals within `range`.
    pub(super) fn decimal(
        &mut self,
        section: &Section<'_>,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        let entry = self.entry(section, name)?;
        let number = entry
            .item
            .as_float()
            .or_else(|| entry.item.as_integer().map(|whole| whole as f64));
        let Some(number) = number else {
            self.wrong_type(&entry, "a number");
            return None;
        };
        if !range.contains(&number) {
            self.out_of_range(&entry, format!("{number}"), &range, "");
            return None;
        }
        Some(number)
    }

    /// A whole number in the unit itself, or a text that `read` understands, like "2 Gb/s".
    pub(super) fn amount(
        &mut self,
        section: &Section<'_>,
        name: &str,
        read: fn(&str) -> Option<u64>,
        range: RangeInclusive<u64>,
        unit: Unit,
    ) -> Option<u64> {
        let entry = self.entry(section, name)?;
        let (shown, amount) = match (entry.item.as_integer(), entry.item.as_str()) {
            (Some(number), _) => (format!("{number}"), u64::try_from(number).ok()),
            (None, Some(text)) => {
                let Some(amount) = read(text) else {
                    let fault = entry.fault(format!("`{}` is not an amount", shortened(text)));
                    self.add(fault.help(format!(
                        "a whole number ({}) or a text like \"{}\"",
                        unit.name, unit.example
                    )));
                    return None;
                };
                (text.to_owned(), Some(amount))
            }
            (None, None) => {
                self.wrong_type(
                    &entry,
                    &format!(
                        "a whole number ({}) or a text like \"{}\"",
                        unit.name, unit.example
                    ),
                );
                return None;
            }
        };
        let amount = amount.filter(|amount| range.contains(amount));
        if amount.is_none() {
            self.out_of_range(&entry, shown, &range, &format!(" {}", unit.name));
        }
        amount
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        entry: &Entry<'_>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let word = self.text_of(entry)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let names = choices.iter().map(|(name, _)| *name);
        let allowed = names
            .clone()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let slip = nearest(&word, names)
            .map(|name| format!("; did you mean \"{name}\"?"))
            .unwrap_or_default();
        self.add(
            entry
                .fault(format!("`{}` is not one of the choices", shortened(&word)))
                .help(format!("allowed: {allowed}{slip}")),
        );
        None
    }

    /// The texts of a list with their places; elements that are no texts are reported and left out.
    pub(super) fn texts<'a>(&mut self, entry: &Entry<'a>) -> Option<Vec<(String, Range<usize>)>> {
        let Some(list) = entry.item.as_array() else {
            self.wrong_type(entry, "a list of texts, [\"…\", \"…\"]");
            return None;
        };
        let mut texts = Vec::new();
        for value in list {
            let span = value.span().unwrap_or_else(|| entry.value_span());
            match value.as_str() {
                Some(text) => texts.push((text.to_owned(), span)),
                None => {
                    let fault = Fault::new(
                        entry.path.clone(),
                        Some(span),
                        format!("this is {}, not a text in quotes", value_kind(value)),
                    );
                    self.add(fault.help("every element of the list stands in double quotes"));
                }
            }
        }
        Some(texts)
    }

    pub(super) fn wrong_type(&mut self, entry: &Entry<'_>, wanted: &str) {
        let found = match entry.item {
            Item::Value(value) => value_kind(value),
            Item::Table(_) => "a table",
            Item::ArrayOfTables(_) => "a list of tables",
            Item::None => "nothing",
        };
        self.add(
            entry
                .fault(format!("this is {found}"))
                .help(format!("wanted: {wanted}")),
        );
    }

    fn out_of_range<T: fmt::Display>(
        &mut self,
        entry: &Entry<'_>,
        shown: String,
        range: &RangeInclusive<T>,
        unit: &str,
    ) {
        let fault = entry.fault(format!("{shown} is out of range"));
        self.add(fault.help(format!(
            "allowed: {} to {}{unit}",
            range.start(),
            range.end()
        )));
    }

    fn unknown(&mut self, section: &Section<'_>, key: &str) {
        let span = section
            .table
            .key(key)
            .and_then(Key::span)
            .unwrap_or_else(|| section.span.clone());
        let fault = Fault::new(join(&section.path, key), Some(span), "this key is unknown");
        let allowed = section.schema.keys.join(", ");
        let help = match nearest(key, section.schema.keys.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`? Allowed here: {allowed}"),
            None => match schema::homes_of(key).collect::<Vec<_>>().as_slice() {
                [] => format!("allowed here: {allowed}"),
                homes => format!(
                    "`{key}` belongs in {}. Allowed here: {allowed}",
                    listed(homes)
                ),
            },
        };
        self.add(fault.help(help));
    }
}

/// A table of the file with the keys it may have.
pub(super) struct Section<'a> {
    /// Full path, `channels.news`; empty at the top.
    pub(super) path: String,
    /// Where its name stands.
    pub(super) span: Range<usize>,
    pub(super) table: &'a dyn TableLike,
    schema: Table,
}

/// A key that is there, with its value.
pub(super) struct Entry<'a> {
    pub(super) path: String,
    pub(super) key_span: Range<usize>,
    pub(super) item: &'a Item,
}

impl<'a> Entry<'a> {
    pub(super) fn new(path: String, key: &Key, item: &'a Item) -> Self {
        let key_span = key.span().or_else(|| item.span()).unwrap_or(0..0);
        Self {
            path,
            key_span,
            item,
        }
    }

    /// A fault that underlines the value.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.path.clone(), Some(self.value_span()), message)
    }

    /// The value; for a table with its own header, the name in the header.
    pub(super) fn value_span(&self) -> Range<usize> {
        match self.item {
            Item::Value(value) if !is_dotted(value) => {
                value.span().unwrap_or_else(|| self.key_span.clone())
            }
            _ => self.key_span.clone(),
        }
    }
}

/// The units an amount may be written in.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
}

/// `a.b` with the quotes that TOML needs around odd names.
pub(super) fn join(path: &str, key: &str) -> String {
    let is_bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let key = if is_bare {
        key.to_owned()
    } else {
        format!("\"{}\"", key.escape_debug())
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// Operator's text for a message: escaped, at most 60 characters.
pub(super) fn shortened(text: &str) -> String {
    const LETTERS_MAX: usize = 60;
    let escaped: String = text.escape_debug().take(LETTERS_MAX + 1).collect();
    if escaped.chars().count() <= LETTERS_MAX {
        escaped
    } else {
        escaped.chars().take(LETTERS_MAX - 1).chain(['…']).collect()
    }
}

fn is_dotted(value: &Value) -> bool {
    value
        .as_inline_table()
        .is_some_and(|table| table.is_dotted())
}

fn listed(homes: &[&str]) -> String {
    let named = homes.iter().map(|home| {
        if home.is_empty() {
            "the top of the file".to_owned()
        } else {
            format!("[{home}]")
        }
    });
    named.collect::<Vec<_>>().join(" or ")
}

fn value_kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with decimals",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}
