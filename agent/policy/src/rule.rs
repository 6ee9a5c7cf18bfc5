//! Rules as they are shown, and as sets.

use super::source::{Entry, Table};

/// Name of the implicit rule for what the gateway itself opens.
pub(crate) const IMPLICIT: &str = "gateway";

/// A rule that has been understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, or `allow #1` by its place in the file.
    pub name: String,
    /// Who may open flows by it, in the words of the file.
    pub from: Vec<String>,
    /// To whom.
    pub to: Vec<String>,
    /// For what; `None` for anything.
    pub ports: Option<Vec<String>>,
    /// Whether it is in no file: what this gateway itself opens always passes here.
    pub is_implicit: bool,
}

impl Rule {
    pub(crate) fn new(table: Table, number: usize, entry: &Entry) -> Self {
        Self {
            name: name(table, number, entry),
            from: entry.from.clone(),
            to: entry.to.clone(),
            ports: entry.ports.clone(),
            is_implicit: false,
        }
    }

    pub(crate) fn implicit() -> Self {
        Self {
            name: IMPLICIT.to_owned(),
            from: vec!["gateway".to_owned()],
            to: vec!["any".to_owned()],
            ports: None,
            is_implicit: true,
        }
    }
}

/// The name of an entry, or its place in the file.
pub(crate) fn name(table: Table, number: usize, entry: &Entry) -> String {
    let place = || format!("{} #{}", table.as_str(), number + 1);
    entry.name.clone().unwrap_or_else(place)
}

/// A rule by the numbers of its sets: of addresses in [`super::sets::Sets`], of ports in
/// [`super::ports::Services`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Understood {
    /// Sorted, each once.
    pub(crate) from: Vec<u32>,
    pub(crate) to: Vec<u32>,
    pub(crate) ports: u32,
}
