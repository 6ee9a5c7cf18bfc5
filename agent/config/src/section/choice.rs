//! Keys whose value is one of a few words.

use super::{At, Section};
use crate::diagnostic::shown;

/// What a key may say, and what a file is told that says something else.
pub(crate) struct Choice<T: 'static> {
    /// A right value, as it stands in a file.
    pub(crate) example: &'static str,
    pub(crate) all: &'static [T],
    /// The word of each.
    pub(crate) word: fn(T) -> &'static str,
    /// What another word is: `not a known policy`.
    pub(crate) is: &'static str,
    pub(crate) mend: &'static str,
}

impl Section<'_> {
    /// What the word at `key` stands for; an error if it is none of them.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choice: &Choice<T>) -> Option<At<T>> {
        let found = self.string(key, choice.example)?;
        let mut all = choice.all.iter().copied();
        let chosen = all.find(|it| (choice.word)(*it) == found.value);
        if chosen.is_none() {
            let problem = format!("{} is {}", shown(found.value), choice.is);
            self.error(key, found.offset, problem, choice.mend);
        }
        chosen.map(|value| found.map(|_| value))
    }
}
