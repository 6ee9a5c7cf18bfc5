//! Lists of strings in which every fault counts.

use toml_edit::{Array, Item, Value};

use super::{At, Section, offset_of};
use crate::diagnostic::shown;

/// A name, where it stands, and its words if they have no fault.
pub(crate) type NamedList<'d> = (&'d str, usize, Option<Vec<At<&'d str>>>);

impl<'d> Section<'d> {
    /// As [`Self::strings`], and an error if the list is empty. `None` if it is not there or has a
    /// fault.
    pub(crate) fn words(&self, key: &'static str, example: &str) -> Option<Vec<At<&'d str>>> {
        let list = self.typed(key, "a list", &format!("[{example}]"), Item::as_array)?;
        self.whole_list(key, list, example)
    }

    /// The lists of strings of a table whose keys are names that the file chooses.
    pub(crate) fn named_lists(&self, example: &str) -> Vec<NamedList<'d>> {
        self.is_open.set(true);
        let lists = self.table.iter().map(|(name, item)| {
            let offset = self.key_offset(name).or_else(|| offset_of(item));
            let offset = offset.unwrap_or(self.offset);
            let shown = shown(name);
            let Some(list) = item.as_array() else {
                let problem = self.expected("a list", item);
                self.error(&shown, offset, problem, format!("write [{example}]"));
                return (name, offset, None);
            };
            let offset_of_list = offset_of(item).unwrap_or(offset);
            let list = At {
                value: list,
                offset: offset_of_list,
            };
            (name, offset, self.whole_list(&shown, list, example))
        });
        lists.collect()
    }

    fn whole_list(
        &self,
        key: &str,
        list: At<&'d Array>,
        example: &str,
    ) -> Option<Vec<At<&'d str>>> {
        if list.value.is_empty() {
            let mend = format!("write [{example}], or take it out");
            self.error(key, list.offset, "the list is empty", mend);
            return None;
        }
        self.each_string(key, list, example).into_iter().collect()
    }

    /// The values of a list; `None` for each that is no string.
    pub(super) fn each_string(
        &self,
        key: &str,
        list: At<&'d Array>,
        example: &str,
    ) -> Vec<Option<At<&'d str>>> {
        let read = |value: &'d Value| {
            let offset = value.span().map_or(list.offset, |span| span.start);
            let text = value.as_str();
            if text.is_none() {
                let problem = self
                    .report
                    .expected("a string", value.type_name(), value.span());
                self.error(key, offset, problem, format!("write {example}"));
            }
            text.map(|value| At { value, offset })
        };
        list.value.iter().map(read).collect()
    }
}
