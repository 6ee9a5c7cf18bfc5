//! `crossway drops`.

use super::failure::Failure;
use super::output::Look;
use super::table::Table;
use super::units::{bytes, count};
use super::{Options, Watch, reading};
use crate::control::message::DropsReply;
use crate::control::{Request, Response};

/// Shows what was dropped, and what the kernel stack got.
pub(super) fn drops(options: &Options, watch: Watch) -> Result<(), Failure> {
    let pick = |response| match response {
        Response::Drops(reply) => Some(reply),
        _ => None,
    };
    reading::watch(options, watch, &Request::Drops, pick, text)
}

/// Reasons that happened; `--json` lists the others with zeros.
fn text(reply: &DropsReply, look: Look) -> String {
    let mut drops = Table::new(["DROPPED", ">PACKETS", ">BYTES", "BY"]);
    for drop in reply.drops.iter().filter(|drop| drop.packets > 0) {
        drops.row([
            drop.reason.as_str().into(),
            count(drop.packets).into(),
            bytes(drop.bytes).into(),
            drop.dropped_by.as_str().into(),
        ]);
    }
    let mut to_stack = Table::new(["LEFT TO THE KERNEL", ">PACKETS", ">BYTES"]);
    for stack in reply.to_stack.iter().filter(|stack| stack.packets > 0) {
        to_stack.row([
            stack.reason.as_str().into(),
            count(stack.packets).into(),
            bytes(stack.bytes).into(),
        ]);
    }
    format!(
        "{}\n{}",
        drops.text(look, "Nothing was dropped."),
        to_stack.text(look, "Nothing was left to the kernel stack.")
    )
}
