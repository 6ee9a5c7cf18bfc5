//! `crossway policy suggest`.

use clap::Args;

use super::super::failure::Failure;
use super::super::output::print;
use super::super::{Options, reading, services};
use super::of_services;
use crate::control::message::{
    ReviewState, RuleSet, ServicesReply, ServicesRequest, Site, SitesReply,
};
use crate::control::{Request, Response};

/// Of which traffic.
#[derive(Args, Debug)]
#[command(
    after_help = "Services that somebody has marked as unapproved are left out. Examples:\n  \
                  crossway policy suggest --from-services --shadow >>/etc/crossway/berlin-1.toml\n  \
                  crossway policy suggest --from-services --site paris --state approved"
)]
pub(in crate::cli) struct Suggest {
    /// Of the services in the catalogue, with the sites that their clients are in
    #[arg(long, required = true)]
    from_services: bool,
    /// Write shadow rules, to be tried out first
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    filter: services::Filter,
}

/// Prints rules.
pub(in crate::cli) fn suggest(options: &Options, wanted: &Suggest) -> Result<(), Failure> {
    let filter = wanted.filter.as_asked();
    let any_state = filter.state.is_none();
    let request = Request::Services(ServicesRequest {
        filter,
        ..ServicesRequest::default()
    });
    let mut reply = reading::ask(options, &request, services::pick)?;
    if any_state {
        reply
            .services
            .retain(|service| service.state != ReviewState::Unapproved);
    }
    let set = if wanted.shadow {
        RuleSet::Shadow
    } else {
        RuleSet::Active
    };
    print(&of_gateway(options, &reply, set)?)
}

/// The rules for services, by the names of the sites that the gateway has now.
pub(in crate::cli) fn of_gateway(
    options: &Options,
    reply: &ServicesReply,
    set: RuleSet,
) -> Result<String, Failure> {
    let pick = |response| match response {
        Response::Sites(SitesReply { sites }) => Some(sites),
        _ => None,
    };
    let sites: Vec<Site> = reading::ask(options, &Request::Sites, pick)?;
    let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    Ok(of_services::text(reply, &names, set))
}
