//! Completion in shells: the words of the command line, and names as they are in the running gateway.
//!
//! The script of a shell runs `crossway` itself with the words so far (clap_complete's dynamic engine), so that it never
//! gets out of date.

use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;

use super::Failure;
use super::output::print;
use crate::control::message::{
    Link, LinksReply, PolicyReply, PolicyRequest, RuleSet, ServicesReply, ServicesRequest,
    SitesReply,
};
use crate::control::{Request, Response, client, run_dir};

/// Environment variable by which the script asks.
const VARIABLE: &str = "COMPLETE";
/// Nobody waits longer for a name: a gateway that hangs has none.
const PATIENCE: Duration = Duration::from_millis(500);

/// A shell.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Answers a shell that asks for completions, and ends the process then.
pub(super) fn answer_shell() {
    clap_complete::CompleteEnv::with_factory(<super::Cli as clap::CommandFactory>::command)
        .var(VARIABLE)
        .complete();
}

/// Prints the script for a shell.
pub(super) fn completion(shell: Shell) -> Result<(), Failure> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(name);
    let shell = shell.ok_or_else(|| anyhow::anyhow!("no completion for {name} is built in"))?;
    shell.write_registration(VARIABLE, "crossway", "crossway", "crossway", &mut script)?;
    print(&String::from_utf8_lossy(&script))
}

/// Gateways that run here.
pub(super) fn gateways() -> Vec<CompletionCandidate> {
    candidates(client::live_gateways(&run_dir()))
}

/// Sites of the gateway.
pub(super) fn sites() -> Vec<CompletionCandidate> {
    let names = match ask(Request::Sites) {
        Some(Response::Sites(SitesReply { sites })) => {
            sites.into_iter().map(|site| site.name).collect()
        }
        _ => Vec::new(),
    };
    candidates(names)
}

/// What orders about links may name: sites, their gateways, and paths to those.
pub(super) fn links() -> Vec<CompletionCandidate> {
    let links = match ask(Request::Links) {
        Some(Response::Links(LinksReply { links })) => links,
        _ => Vec::new(),
    };
    let mut names: Vec<String> = links.iter().flat_map(targets).collect();
    names.sort_unstable();
    names.dedup();
    candidates(names)
}

/// What orders about services may name: services and groups.
pub(super) fn services() -> Vec<CompletionCandidate> {
    let Some(reply) = ask_services() else {
        return Vec::new();
    };
    let services = reply.services.iter().map(|it| it.name().to_string());
    let groups = reply.groups.iter().map(|it| it.name.clone());
    candidates(services.chain(groups).collect())
}

/// Groups of services.
pub(super) fn service_groups() -> Vec<CompletionCandidate> {
    let reply = ask_services().unwrap_or_default();
    candidates(reply.groups.into_iter().map(|it| it.name).collect())
}

/// Rules, those that are tried out as well.
pub(super) fn rules() -> Vec<CompletionCandidate> {
    let rules = ask_policy().rules;
    candidates(rules.into_iter().map(|it| it.name).collect())
}

/// Rules that are in force.
pub(super) fn active_rules() -> Vec<CompletionCandidate> {
    let rules = ask_policy().rules.into_iter();
    let active = rules.filter(|it| it.set == RuleSet::Active);
    candidates(active.map(|it| it.name).collect())
}

fn ask_policy() -> PolicyReply {
    match ask(Request::Policy(PolicyRequest::default())) {
        Some(Response::Policy(reply)) => reply,
        _ => PolicyReply::default(),
    }
}

fn ask_services() -> Option<ServicesReply> {
    match ask(Request::Services(ServicesRequest::default()))? {
        Response::Services(reply) => Some(reply),
        _ => None,
    }
}

fn targets(link: &Link) -> Vec<String> {
    // A replica's is of no site.
    if link.site.is_empty() {
        return Vec::new();
    }
    let gateway = format!("{}/{}", link.site, link.gateway);
    let path = link.link.as_ref().map(|path| format!("{gateway}/{path}"));
    [Some(link.site.clone()), Some(gateway), path]
        .into_iter()
        .flatten()
        .collect()
}

fn candidates(names: Vec<String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Asks the gateway that the words so far name; `None` if it does not answer at once.
fn ask(request: Request) -> Option<Response> {
    let gateway = named_gateway(std::env::args_os());
    let (answered, answers) = mpsc::channel();
    thread::spawn(move || {
        // Nobody waits for it any more if it comes late.
        let _ = answered.send(client::ask(&run_dir(), gateway.as_deref(), &request));
    });
    answers.recv_timeout(PATIENCE).ok()?.ok()
}

/// What stands behind `--gateway`.
fn named_gateway(words: impl Iterator<Item = OsString>) -> Option<String> {
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let apart = words.windows(2).find(|pair| pair[0] == "--gateway");
    let apart = apart.map(|pair| pair[1].clone());
    let joined = words
        .iter()
        .find_map(|word| word.strip_prefix("--gateway="));
    apart.or_else(|| joined.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_that_of_the_words_so_far() {
        let named = |line: &str| named_gateway(line.split(' ').map(OsString::from));
        assert_eq!(named("crossway --gateway a drain").as_deref(), Some("a"));
        assert_eq!(named("crossway drain --gateway=b p").as_deref(), Some("b"));
        assert_eq!(named("crossway drain p"), None);
    }
}
