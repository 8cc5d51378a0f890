//! Strict reading of TOML: every value keeps its line, a wrong value is a [`Fault`] and reading
//! goes on, and an unknown field is a fault too.

use std::collections::BTreeSet;
use std::ops::{Deref, Range};

use toml::de::{DeTable, DeValue};

use super::Fault;

/// A value and the line on which it stands (from 1).
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) line: usize,
    pub(crate) value: T,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The faults found while reading, and where lines begin.
pub(crate) struct Faults {
    line_starts: Vec<usize>,
    found: Vec<Fault>,
}

impl Faults {
    pub(crate) fn new(text: &str) -> Self {
        let after_breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(place, _)| place + 1);
        Faults {
            line_starts: std::iter::once(0).chain(after_breaks).collect(),
            found: Vec::new(),
        }
    }

    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts
            .partition_point(|start| *start <= span.start)
            .max(1)
    }

    pub(crate) fn push(
        &mut self,
        line: usize,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.found.push(Fault {
            line,
            what: what.into(),
            instead: instead.into(),
        });
    }

    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.found.sort();
        self.found.dedup();
        self.found
    }
}

/// A type that a TOML value can be read as.
pub(crate) trait TomlField: Sized {
    /// What to write instead of a wrong or missing one, after `field = `.
    const EXAMPLE: &'static str;

    /// Reads the value, or says what is wrong with it ("is not …").
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

impl TomlField for bool {
    const EXAMPLE: &'static str = "true or false";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| wrong_type(value, "true or false"))
    }
}

impl TomlField for u64 {
    const EXAMPLE: &'static str = "a whole number";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let integer = value
            .as_integer()
            .ok_or_else(|| wrong_type(value, "a whole number"))?;
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| i64::try_from(*number).is_ok())
            .ok_or_else(|| "is not a number from 0 to 9223372036854775807".into())
    }
}

/// "is a table, not a text".
pub(crate) fn wrong_type(value: &DeValue<'_>, wanted: &str) -> String {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("is {found}, not {wanted}")
}

/// A table being read: hands out its fields by name and remembers which were asked for.
pub(crate) struct TomlTable<'t, 'i> {
    /// How a fault calls it: ``sector `health` ``.
    called: String,
    /// The line of its header.
    pub(crate) line: usize,
    fields: &'t DeTable<'i>,
    known: BTreeSet<&'static str>,
}

impl<'t, 'i> TomlTable<'t, 'i> {
    pub(crate) fn new(called: impl Into<String>, line: usize, fields: &'t DeTable<'i>) -> Self {
        TomlTable {
            called: called.into(),
            line,
            fields,
            known: BTreeSet::new(),
        }
    }

    /// How faults call this table.
    pub(crate) fn called(&self) -> &str {
        &self.called
    }

    /// Whether the field is there, right or wrong.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The line of the field, or of the table that lacks it.
    pub(super) fn line_of(&self, name: &str, faults: &Faults) -> usize {
        self.fields
            .get(name)
            .map_or(self.line, |value| faults.line(&value.span()))
    }

    fn get(&mut self, name: &'static str, faults: &Faults) -> Option<(usize, &'t DeValue<'i>)> {
        self.known.insert(name);
        self.fields
            .get(name)
            .map(|value| (faults.line(&value.span()), value.get_ref()))
    }

    /// A field that must be there.
    pub(crate) fn required<T: TomlField>(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Option<At<T>> {
        if !self.fields.contains_key(name) {
            self.missing(name, T::EXAMPLE, faults);
        }
        self.optional(name, faults)
    }

    /// A field that may be there.
    pub(crate) fn optional<T: TomlField>(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Option<At<T>> {
        let (line, value) = self.get(name, faults)?;
        match T::read(value) {
            Ok(value) => Some(At { line, value }),
            Err(what) => {
                faults.push(
                    line,
                    format!("{}: `{name}` {what}", self.called),
                    format!("{name} = {}", T::EXAMPLE),
                );
                None
            }
        }
    }

    /// A field that may be there and stands for `default` when it is not.
    pub(crate) fn or<T: TomlField>(
        &mut self,
        name: &'static str,
        default: T,
        faults: &mut Faults,
    ) -> Option<At<T>> {
        if self.fields.contains_key(name) {
            self.optional(name, faults)
        } else {
            self.known.insert(name);
            Some(At {
                line: self.line,
                value: default,
            })
        }
    }

    /// A list; absent is empty. Each wrong element is a fault of its own.
    pub(crate) fn list<T: TomlField>(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Vec<At<T>> {
        let Some((line, value)) = self.get(name, faults) else {
            return Vec::new();
        };
        let instead = || format!("{name} = [{}, …]", T::EXAMPLE);
        let Some(elements) = value.as_array() else {
            faults.push(
                line,
                format!("{}: `{name}` {}", self.called, wrong_type(value, "a list")),
                instead(),
            );
            return Vec::new();
        };
        let mut list = Vec::new();
        for element in elements {
            let line = faults.line(&element.span());
            match T::read(element.get_ref()) {
                Ok(value) => list.push(At { line, value }),
                Err(what) => {
                    faults.push(
                        line,
                        format!("{}: an element of `{name}` {what}", self.called),
                        instead(),
                    );
                }
            }
        }
        list
    }

    /// A table inside this one.
    pub(crate) fn table(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Option<TomlTable<'t, 'i>> {
        let (line, value) = self.get(name, faults)?;
        let called = format!("{}: `{name}`", self.called);
        match value.as_table() {
            Some(fields) => Some(TomlTable::new(called, line, fields)),
            None => {
                faults.push(
                    line,
                    format!("{called} {}", wrong_type(value, "a table")),
                    format!("{name} = {{ … }}"),
                );
                None
            }
        }
    }

    /// The tables of `[[name]]`, each called by its `key` (its id or name) where it has one;
    /// without the field there are none.
    pub(crate) fn tables(
        &mut self,
        name: &'static str,
        key: &str,
        faults: &mut Faults,
    ) -> Vec<TomlTable<'t, 'i>> {
        let Some((line, value)) = self.get(name, faults) else {
            return Vec::new();
        };
        let within = if self.called.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.called)
        };
        let mut wrong = |line, value: &DeValue<'_>| {
            let what = format!("{within}`{name}` {}", wrong_type(value, "a table"));
            faults.push(line, what, format!("[[{name}]] and its fields below"));
        };
        let Some(elements) = value.as_array() else {
            wrong(line, value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in elements {
            match element.get_ref().as_table() {
                Some(fields) => tables.push((element.span(), fields)),
                None => wrong(line, element.get_ref()),
            }
        }
        let called =
            |fields: &DeTable<'_>| match fields.get(key).and_then(|id| id.get_ref().as_str()) {
                Some(id) => format!("{within}{name} `{}`", shown(id)),
                None => format!("{within}{name}"),
            };
        tables
            .into_iter()
            .map(|(span, fields)| TomlTable::new(called(fields), faults.line(&span), fields))
            .collect()
    }

    /// A fault: the field is not there.
    pub(crate) fn missing(&self, name: &str, example: &str, faults: &mut Faults) {
        let called = if self.called.is_empty() {
            "the file"
        } else {
            &self.called
        };
        faults.push(
            self.line,
            format!("{called} has no `{name}`"),
            format!("{name} = {example}"),
        );
    }

    /// Every field that was not asked for is a fault.
    pub(crate) fn finish(self, faults: &mut Faults) {
        for name in self.fields.keys() {
            if self.known.contains(name.get_ref().as_ref()) {
                continue;
            }
            let name_shown = shown(name.get_ref());
            let within = if self.called.is_empty() {
                String::new()
            } else {
                format!("{}: ", self.called)
            };
            let instead = match nearest(name.get_ref(), &self.known) {
                Some(meant) => format!("{meant} = …"),
                None => {
                    let known: Vec<&str> = self.known.iter().copied().collect();
                    format!("nothing, or one of: {}", known.join(", "))
                }
            };
            let line = faults.line(&name.span());
            faults.push(
                line,
                format!("{within}unknown field `{name_shown}`"),
                instead,
            );
        }
    }
}

/// A text from the file, short and printable, for a fault.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// The known name that was probably meant.
fn nearest(name: &str, known: &BTreeSet<&'static str>) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let name = plain(name);
    known
        .iter()
        .copied()
        .map(|known| (distance(&name, known), known))
        .filter(|(far, _)| *far <= 2)
        .min()
        .map(|(_, k)| k)
}

/// Edits between two names (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let replace = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
