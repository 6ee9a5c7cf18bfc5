//! What the reading commands share: ask, then print text or JSON, once or again and again.

use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;

use super::failure::Failure;
use super::output::{Look, print, print_json, redraw};
use super::{Options, Watch};
use crate::control::{Request, Response, client, run_dir};

/// Asks the gateway that the options name. `pick` takes the expected kind out of the answer.
pub(super) fn ask<T>(
    options: &Options,
    request: &Request,
    pick: impl FnOnce(Response) -> Option<T>,
) -> Result<T, Failure> {
    let response = client::ask(&run_dir(), options.gateway.as_deref(), request)?;
    expected(response, pick)
}

/// What `pick` takes out of an answer; another kind is an error.
pub(super) fn expected<T>(
    response: Response,
    pick: impl FnOnce(Response) -> Option<T>,
) -> Result<T, Failure> {
    pick(response).ok_or_else(|| {
        anyhow!(
            "unexpected answer from the gateway: use the same version of crossway as the gateway"
        )
        .into()
    })
}

/// Asks and prints the answer.
pub(super) fn show<T: Serialize>(
    options: &Options,
    request: &Request,
    pick: impl FnOnce(Response) -> Option<T>,
    text: impl FnOnce(&T, Look) -> String,
) -> Result<(), Failure> {
    let answer = ask(options, request, pick)?;
    if options.json {
        print_json(&answer, true)
    } else {
        print(&text(&answer, Look::of_stdout(options)))
    }
}

/// As [`show`], and again at the pace of `--watch`: a fresh screen each time, or a line of JSON.
pub(super) fn watch<T: Serialize>(
    options: &Options,
    watch: Watch,
    request: &Request,
    pick: impl Fn(Response) -> Option<T>,
    text: impl Fn(&T, Look) -> String,
) -> Result<(), Failure> {
    watch_with(options, watch, || ask(options, request, &pick), text)
}

/// As [`watch`], of what is asked for in more than one question.
pub(super) fn watch_with<T: Serialize>(
    options: &Options,
    watch: Watch,
    ask: impl Fn() -> Result<T, Failure>,
    text: impl Fn(&T, Look) -> String,
) -> Result<(), Failure> {
    let Some(seconds) = watch.watch else {
        let answer = ask()?;
        return if options.json {
            print_json(&answer, true)
        } else {
            print(&text(&answer, Look::of_stdout(options)))
        };
    };
    loop {
        let answer = ask()?;
        if options.json {
            print_json(&answer, false)?;
        } else {
            redraw(&text(&answer, Look::of_stdout(options)))?;
        }
        std::thread::sleep(Duration::from_secs(seconds));
    }
}
