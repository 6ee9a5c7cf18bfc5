//! Writes what the file says of policy.

use std::fmt;

use toml_edit::Key;

use super::table::Table;
use crossway_policy::source::{Entry, List};
use crossway_policy::{Denied, Source};

/// The keys that stand in front of all sections.
pub(super) fn write_head(f: &mut fmt::Formatter<'_>, source: &Source) -> fmt::Result {
    let mut table = Table::root(f);
    if let Some(stance) = source.stance {
        table.set("policy", stance.as_str())?;
    }
    let default = Denied::default().as_str();
    table.set_unless("denied", source.denied.as_str(), default)?;
    if source.stance.is_some() || source.denied != Denied::default() {
        f.write_str("\n")?;
    }
    Ok(())
}

/// Names, rules and what is claimed of them.
pub(super) fn write_rules(f: &mut fmt::Formatter<'_>, source: &Source) -> fmt::Result {
    write_lists(f, "\n[objects]", &source.objects)?;
    write_lists(f, "\n[ports]", &source.ports)?;
    let tables = [
        ("\n[[allow]]", &source.allow),
        ("\n[[shadow]]", &source.shadow),
        ("\n[[never]]", &source.never),
        ("\n[[expect]]", &source.expect),
    ];
    for (header, entries) in tables {
        for entry in entries {
            write_entry(f, header, entry)?;
        }
    }
    Ok(())
}

fn write_lists(f: &mut fmt::Formatter<'_>, header: &'static str, lists: &[List]) -> fmt::Result {
    if lists.is_empty() {
        return Ok(());
    }
    let mut table = Table::begin(f, header)?;
    for list in lists {
        table.list(&Key::new(&list.name).to_string(), &list.words)?;
    }
    Ok(())
}

fn write_entry(f: &mut fmt::Formatter<'_>, header: &'static str, entry: &Entry) -> fmt::Result {
    let mut table = Table::begin(f, header)?;
    if let Some(name) = &entry.name {
        table.set("name", name)?;
    }
    table.list("from", &entry.from)?;
    table.list("to", &entry.to)?;
    match &entry.ports {
        Some(ports) => table.list("ports", ports),
        None => Ok(()),
    }
}
