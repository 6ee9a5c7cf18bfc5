//! `crossway reload`.

use super::failure::Failure;
use super::output::{print, print_json};
use super::{Options, reading};
use crate::control::message::{Outcome, Reload};
use crate::control::{Request, Response};

/// Has the gateway read its file again, and tells what came of it.
pub(super) fn reload(options: &Options) -> Result<(), Failure> {
    let reload = reading::ask(options, &Request::Reload, |response| match response {
        Response::Reload(reload) => Some(reload),
        _ => None,
    })?;
    tell_outcome(&reload, options.json)
}

/// Tells what came of it; a file that is not in force is a failure.
pub(super) fn tell_outcome(reload: &Reload, json: bool) -> Result<(), Failure> {
    if json {
        print_json(reload, true)?;
    } else {
        tell(reload)?;
    }
    match reload.outcome {
        Outcome::Applied | Outcome::Unchanged => Ok(()),
        Outcome::Rejected => Err(Failure::WrongAndTold),
        Outcome::Failed => Err(Failure::FailedAndTold),
    }
}

fn tell(reload: &Reload) -> Result<(), Failure> {
    for line in reload.warnings.iter().chain(&reload.errors) {
        eprintln!("{line}");
    }
    for change in &reload.changes {
        print(&format!("{change}\n"))?;
    }
    match reload.outcome {
        Outcome::Applied => print("The new configuration is in force.\n"),
        Outcome::Unchanged => print("Nothing changed.\n"),
        Outcome::Rejected => {
            eprintln!("crossway: the file has mistakes: the gateway keeps its configuration");
            Ok(())
        }
        Outcome::Failed => {
            eprintln!("crossway: the new configuration was not put in force");
            Ok(())
        }
    }
}
