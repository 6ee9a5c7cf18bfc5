//! `crossway drain`, `undrain`, `prefer`, `unprefer` and `promote`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::failure::Failure;
use super::{Options, complete, links, reading};
use crate::control::message::LinkOrder;
use crate::control::{Request, Response};

/// Which links are meant.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// SITE, SITE/GATEWAY or SITE/GATEWAY/LINK, as `crossway links` shows them
    #[arg(value_name = "LINK", add = ArgValueCandidates::new(complete::links))]
    target: String,
}

/// Has an order carried out, and shows the links that were meant.
pub(super) fn order(options: &Options, target: &Target, order: LinkOrder) -> Result<(), Failure> {
    let request = Request::OrderLinks {
        target: target.target.clone(),
        order,
    };
    let pick = |response| match response {
        Response::Links(reply) => Some(reply),
        _ => None,
    };
    reading::show(options, &request, pick, links::text)
}
