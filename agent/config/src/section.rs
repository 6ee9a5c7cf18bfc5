//! One TOML table as the readers see it: typed values with their place in the file. What has the
//! wrong type or an unknown name is reported here, once.
//!
//! A key is known because a reader asks for it. So a reader asks for all its keys, whatever it finds, and
//! those that a file may be told of in the order of the documentation.

mod choice;
mod lists;

use std::cell::{Cell, RefCell};

use toml_edit::{Item, TableLike, Value};

pub(super) use self::choice::Choice;
use super::diagnostic::{Report, shown};
use super::nearest::nearest;

/// A value and the byte offset at which it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

impl<T> At<T> {
    pub(super) fn into_value(self) -> T {
        self.value
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            offset: self.offset,
        }
    }
}

/// A table, the name under which messages speak of it, and where its header stands. Dropped, it reports
/// the keys that nobody asked for.
pub(super) struct Section<'d> {
    pub(super) report: &'d Report<'d>,
    pub(super) place: String,
    pub(super) offset: usize,
    table: &'d dyn TableLike,
    /// The keys that were asked for, in the order of the first time.
    asked: RefCell<Vec<&'static str>>,
    /// Whether its keys are names that the file chooses.
    is_open: Cell<bool>,
}

impl<'d> Section<'d> {
    pub(super) fn new(
        report: &'d Report<'d>,
        place: impl Into<String>,
        offset: usize,
        table: &'d dyn TableLike,
    ) -> Self {
        Self {
            report,
            place: place.into(),
            offset,
            table,
            asked: RefCell::default(),
            is_open: Cell::new(false),
        }
    }

    /// `place, key`: how messages speak of a key.
    pub(super) fn place_of(&self, key: &str) -> String {
        if self.place.is_empty() {
            key.to_owned()
        } else {
            format!("{}, {key}", self.place)
        }
    }

    /// Reports an error about the value of `key`.
    pub(super) fn error(
        &self,
        key: &str,
        offset: usize,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.report.error(offset, self.place_of(key), problem, mend);
    }

    /// `expected a string, found the integer 10`.
    pub(super) fn expected(&self, kind: &str, found: &Item) -> String {
        self.report.expected(kind, found.type_name(), found.span())
    }

    /// Reports that `key` is not there.
    pub(super) fn missing(&self, key: &str, mend: impl Into<String>) {
        let problem = format!("{key} is missing");
        self.report
            .error(self.offset, self.place.clone(), problem, mend);
    }

    /// Whether `key` is there, of whatever type.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.note(key);
        self.table.contains_key(key)
    }

    /// A string; `example` is what a right value looks like.
    pub(super) fn string(&self, key: &'static str, example: &str) -> Option<At<&'d str>> {
        self.typed(key, "a string", example, Item::as_str)
    }

    /// As [`Self::string`], and an error if it is not there.
    pub(super) fn required_string(&self, key: &'static str, example: &str) -> Option<At<&'d str>> {
        if !self.has(key) {
            self.missing(key, format!("write {key} = {example}"));
        }
        self.string(key, example)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &'static str) -> Option<At<bool>> {
        self.typed(key, "true or false", "true", Item::as_bool)
    }

    /// A number within `range`.
    pub(super) fn number(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
        example: &str,
    ) -> Option<At<i64>> {
        let found = self.typed(key, "a number", example, Item::as_integer)?;
        if !range.contains(&found.value) {
            let (low, high) = (range.start(), range.end());
            self.error(
                key,
                found.offset,
                format!("{} is out of range", found.value),
                format!("write a number from {low} to {high}, such as {example}"),
            );
            return None;
        }
        Some(found)
    }

    /// Whatever stands at `key`, for keys of several types.
    pub(super) fn item(&self, key: &'static str) -> Option<At<&'d Item>> {
        self.note(key);
        let item = self.table.get(key)?;
        let offset = offset_of(item).or_else(|| self.key_offset(key));
        Some(At {
            value: item,
            offset: offset.unwrap_or(self.offset),
        })
    }

    /// A list of strings; empty if it is not there.
    pub(super) fn strings(&self, key: &'static str, example: &str) -> Vec<At<&'d str>> {
        let Some(list) = self.typed(key, "a list", &format!("[{example}]"), Item::as_array) else {
            return Vec::new();
        };
        let words = self.each_string(key, list, example);
        words.into_iter().flatten().collect()
    }

    /// The tables of `[[path]]`; `name` tells them apart in messages.
    pub(super) fn tables(
        &self,
        key: &'static str,
        path: &str,
        name: impl Fn(&dyn TableLike, usize) -> String,
    ) -> Vec<Section<'d>> {
        let Some(found) = self.item(key) else {
            return Vec::new();
        };
        let tables: Option<Vec<(&'d dyn TableLike, Option<usize>)>> = match found.value {
            Item::ArrayOfTables(tables) => Some(
                tables
                    .iter()
                    .map(|table| {
                        let offset = table.span().map(|span| span.start);
                        (table as &dyn TableLike, offset)
                    })
                    .collect(),
            ),
            // The inline form: `lan = [{ interface = "eth1" }]`.
            Item::Value(Value::Array(values)) => values
                .iter()
                .map(|value| {
                    let offset = value.span().map(|span| span.start);
                    let table = value.as_inline_table()?;
                    Some((table as &dyn TableLike, offset))
                })
                .collect(),
            _ => None,
        };
        let Some(tables) = tables else {
            let problem = self.expected("a list of tables", found.value);
            self.error(key, found.offset, problem, format!("write [[{path}]]"));
            return Vec::new();
        };
        tables
            .into_iter()
            .enumerate()
            .map(|(index, (table, offset))| {
                let place = name(table, index);
                Section::new(self.report, place, offset.unwrap_or(found.offset), table)
            })
            .collect()
    }

    /// The table at `key`, of either form; `example` is what a right value looks like.
    pub(super) fn table(&self, key: &'static str, example: &str) -> Option<Section<'d>> {
        let found = self.typed(key, "a table", example, Item::as_table_like)?;
        let place = self.place_of(key);
        Some(Section::new(self.report, place, found.offset, found.value))
    }

    fn typed<T>(
        &self,
        key: &'static str,
        kind: &str,
        example: &str,
        read: impl Fn(&'d Item) -> Option<T>,
    ) -> Option<At<T>> {
        let found = self.item(key)?;
        let value = read(found.value);
        if value.is_none() {
            let problem = self.expected(kind, found.value);
            self.error(
                key,
                found.offset,
                problem,
                format!("write {key} = {example}"),
            );
        }
        value.map(|value| At {
            value,
            offset: found.offset,
        })
    }

    fn note(&self, key: &'static str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
    }

    fn key_offset(&self, key: &str) -> Option<usize> {
        self.table.key(key)?.span().map(|span| span.start)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let known = self.asked.take();
        if self.is_open.get() {
            return;
        }
        for (name, item) in self.table.iter() {
            if known.contains(&name) {
                continue;
            }
            let offset = self.key_offset(name).or_else(|| offset_of(item));
            let mend = match nearest(name, known.iter().copied()) {
                _ if name == "private_key" => {
                    "keep the key in a file of its own, mode 0600, and write private_key_file = \"PATH\""
                        .to_owned()
                }
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the known keys are {}", known.join(", ")),
            };
            self.report.error(
                offset.unwrap_or(self.offset),
                self.place.clone(),
                format!("unknown key {}", quoted(name)),
                mend,
            );
        }
    }
}

fn offset_of(item: &Item) -> Option<usize> {
    item.span().map(|span| span.start)
}

fn quoted(name: &str) -> String {
    let shown = shown(name);
    if shown.starts_with('"') {
        shown
    } else {
        format!("{shown:?}")
    }
}
