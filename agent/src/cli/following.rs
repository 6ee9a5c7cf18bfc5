//! What `--follow` of events, finished flows and the log share: the last records, then each new one as it comes.

use anyhow::anyhow;
use serde::Serialize;

use super::Options;
use super::failure::Failure;
use super::output::{Colour, Look, print, print_json};
use super::reading;
use super::units::counted;
use crate::control::{Request, Response, client, run_dir};

/// Records that are shown before the new ones, unless something else is asked for.
pub(super) const BEFORE: usize = 10;

/// Asks, and shows each answer until the gateway ends or the reader does.
pub(super) fn follow<T>(
    options: &Options,
    request: &Request,
    pick: impl Fn(Response) -> Option<T>,
    mut show: impl FnMut(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let gateway = options.gateway.as_deref();
    client::follow(&run_dir(), gateway, request, |response| {
        show(&reading::expected(response, &pick)?)
    })?;
    Err(anyhow!("the gateway has ended").into())
}

/// Prints records, each as a line of text or of JSON (NDJSON). Before them it says how many were discarded because the
/// reader was slow; `names` are the words for one and for many, such as `["line was", "lines were"]`.
pub(super) fn print_records<'a, R: Serialize + 'a>(
    options: &Options,
    look: Look,
    (missed, names): (u64, [&str; 2]),
    mut records: impl Iterator<Item = &'a R>,
    line: impl Fn(&R) -> String,
) -> Result<(), Failure> {
    if options.json {
        if missed > 0 {
            print_json(&Missed { missed }, false)?;
        }
        return records.try_for_each(|record| print_json(record, false));
    }
    let mut text = String::new();
    if missed > 0 {
        let missed = counted(missed, names[0], names[1]);
        text += &look.paint(
            &format!("-- {missed} discarded before they were read --\n"),
            Some(Colour::Yellow),
        );
    }
    text.extend(records.map(line));
    print(&text)
}

/// A line of NDJSON in between.
#[derive(Serialize)]
struct Missed {
    missed: u64,
}
