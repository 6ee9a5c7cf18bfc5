//! The command line: every command, its words and its help.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use crate::setup::Purpose;
use crate::vm_test::{self, Which};
use crate::{blast, fresh, fuzz, lab, soak, span};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Lab(lab::Options),
    /// `crossway run` with these words.
    Gateway(Vec<String>),
    Build,
    /// The tests whose name holds this, and whether a browser is installed for those that need one.
    Test(Option<String>, bool),
    Soak(soak::Options),
    VmTest(vm_test::Request),
    Fuzz(fuzz::Options),
    Check,
    Audit,
    /// The bench's own words.
    Bench(Vec<String>),
    Blast(blast::Options),
    /// Whether the text is recorded.
    Abi(bool),
    Setup(Purpose),
    Fresh(fresh::Options),
    CleanLab,
    LabAsRoot(lab::Options),
    SoakAsRoot(soak::Options),
    FreshInside(fresh::Options),
}

/// Reads the words behind `cargo xtask`. Wrong ones end this process with code 2, a question for help with 0.
pub(crate) fn parse() -> Task {
    let mut words: Vec<_> = std::env::args_os().collect();
    // What stands before the commands in messages and help.
    words[0] = "cargo xtask".into();
    task(&command().get_matches_from(words))
}

/// Every command, for the pages that name some.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = String> {
    let command = command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|task| task.get_name().to_owned())
        .collect();
    names.into_iter()
}

#[rustfmt::skip]
fn command() -> Command {
    let agent = Arg::new("agent")
        .long("agent")
        .value_parser(value_parser!(PathBuf));
    Command::new("cargo xtask")
        .bin_name("cargo xtask")
        .about("Everything that is done with this repository. Commands install what they need.")
        .after_help("`cargo xtask help COMMAND` tells what a command takes.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(120)
        .subcommands([
            Command::new("run")
                .about("Two sites in a lab of their own, with a live status until Ctrl-C; or the connector on this gateway")
                .override_usage("cargo xtask run [--for 10s]\n       cargo xtask run -- --config FILE")
                .args(lab_words())
                .arg(Arg::new("gateway").last(true).num_args(1..).value_name("WORDS").help("goes to `crossway run`")),
            Command::new("lab").about("As run; --scenario plays a failure in a lab with spare paths or gateways, or rules that come into force").args(lab_words()),
            Command::new("build").about("The eBPF object and target/release/crossway"),
            Command::new("test")
                .about("The pure, verdict and namespace rings of tests")
                .arg(Arg::new("filter").help("only tests whose name holds it"))
                .arg(flag("with-browser", "install Chromium, which looks at a report; 400 MB")),
            Command::new("soak")
                .about("Everything at once for a long time: every packet accounted for, nothing leaks")
                .args(soak_words()),
            Command::new("vm-test")
                .about("The guest ring: real kernels in virtual machines; --bench measures in one")
                .args([
                    flag("quick", "every program loads, traffic passes"),
                    flag("long", "also most of the namespace ring"),
                    Arg::new("only").long("only").value_name("TEST").help("one file of tests"),
                    flag("bench", "the bench instead of tests, beside the kernel's WireGuard"),
                    Arg::new("kernels").num_args(0..).value_name("KERNEL").value_parser(vm_test::kernel)
                        .help("by name; without, all, and of --quick and --bench the most common one"),
                ])
                .group(ArgGroup::new("which").args(["quick", "long", "only", "bench"])),
            Command::new("fuzz")
                .about("Hostile bytes for every parser of what comes from outside")
                .args([
                    time("for", "10m", "for each target").value_parser(span::parse_some),
                    flag("keep", "add what was found to the committed corpus"),
                    Arg::new("targets").num_args(0..).value_name("TARGET").help("without, all"),
                ]),
            Command::new("check").about("Formatting, length of lines, clippy, documentation and the ABI"),
            Command::new("audit").about("The lock file: licences, sources, withdrawn versions, known vulnerabilities"),
            Command::new("bench")
                .about("Against plain forwarding and other tunnels; also micro, scale, failover, to HOST, compare A B")
                .disable_help_flag(true)
                .arg(Arg::new("words").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)
                    .help("the bench's own: `cargo xtask bench --help` lists them")),
            Command::new("blast")
                .about("Malformed packets against a live pair, each of them counted")
                .args([
                    Arg::new("count").long("count").value_name("N").default_value("10m").value_parser(blast::number)
                        .help("such as 500k or 10m"),
                    seed(),
                ]),
            Command::new("abi")
                .about("Shows, or records, the boundary between eBPF and agent")
                .arg(flag("write", "record it")),
            Command::new("setup")
                .about("Installs what is missing; the other commands do it for themselves")
                .arg(Arg::new("purpose").default_value("test").value_parser(Purpose::from_name)
                    .help("build, lab, test, vm or bench")),
            Command::new("fresh")
                .about("The README's two commands on a bare Debian, in a folder: what they install and how long they take")
                .args(fresh_words()),
            Command::new("clean-lab").about("Removes what a killed lab or test left"),
            // Not for people: commands start themselves by them, as root or in namespaces.
            Command::new(lab::TASK).hide(true).args(lab_words()).arg(agent),
            Command::new(soak::TASK).hide(true).args(soak_words()),
            Command::new(fresh::TASK).hide(true).args(fresh_words()),
        ])
}

fn task(matches: &ArgMatches) -> Task {
    let (name, words) = matches.subcommand().expect("clap asks for one");
    match name {
        "run" => match all_of(words, "gateway") {
            gateway if gateway.is_empty() => Task::Lab(lab_options(words)),
            gateway => Task::Gateway(gateway),
        },
        "lab" => Task::Lab(lab_options(words)),
        lab::TASK => Task::LabAsRoot(lab::Options {
            agent: words.get_one("agent").cloned(),
            ..lab_options(words)
        }),
        "build" => Task::Build,
        "test" => Task::Test(
            words.get_one("filter").cloned(),
            words.get_flag("with-browser"),
        ),
        "soak" => Task::Soak(soak_options(words)),
        soak::TASK => Task::SoakAsRoot(soak_options(words)),
        "vm-test" => Task::VmTest(vm_test::Request::new(
            which(words),
            words.get_flag("bench"),
            all_of(words, "kernels"),
        )),
        "fuzz" => Task::Fuzz(fuzz::Options {
            targets: all_of(words, "targets"),
            duration: one_of(words, "for"),
            keep: words.get_flag("keep"),
        }),
        "check" => Task::Check,
        "audit" => Task::Audit,
        "bench" => Task::Bench(all_of(words, "words")),
        "blast" => Task::Blast(blast::Options {
            count: one_of(words, "count"),
            seed: words.get_one("seed").copied(),
        }),
        "abi" => Task::Abi(words.get_flag("write")),
        "setup" => Task::Setup(one_of(words, "purpose")),
        "fresh" => Task::Fresh(fresh_options(words)),
        fresh::TASK => Task::FreshInside(fresh_options(words)),
        "clean-lab" => Task::CleanLab,
        other => unreachable!("{other} is in no list"),
    }
}

fn lab_words() -> [Arg; 2] {
    [
        Arg::new("for")
            .long("for")
            .value_name("TIME")
            .value_parser(span::parse)
            .help("such as 10s: ends by itself"),
        Arg::new("scenario")
            .long("scenario")
            .value_name("NAME")
            .value_parser(lab::Scenario::from_name)
            .help("wan-cut, gateway-kill, flap, split-brain, policy or overlap"),
    ]
}

fn lab_options(words: &ArgMatches) -> lab::Options {
    lab::Options {
        scenario: words.get_one("scenario").copied(),
        duration: words.get_one("for").copied(),
        agent: None,
    }
}

fn soak_words() -> [Arg; 2] {
    [time("for", "5m", "how long"), seed()]
}

fn soak_options(words: &ArgMatches) -> soak::Options {
    soak::Options {
        duration: one_of(words, "for"),
        seed: words.get_one("seed").copied(),
    }
}

fn fresh_words() -> [Arg; 1] {
    let only = Arg::new("only").value_parser(["run", "test"]);
    [only.help("this one of the two commands; without, both")]
}

fn fresh_options(words: &ArgMatches) -> fresh::Options {
    fresh::Options {
        only: words.get_one("only").cloned(),
    }
}

fn which(words: &ArgMatches) -> Which {
    if words.get_flag("quick") {
        return Which::Quick;
    }
    if words.get_flag("long") {
        return Which::Long;
    }
    let only = words.get_one("only").cloned();
    only.map_or(Which::Usual, Which::Only)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn time(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("TIME")
        .default_value(default)
        .value_parser(span::parse)
        .help(help)
}

fn seed() -> Arg {
    Arg::new("seed")
        .long("seed")
        .value_name("N")
        .value_parser(value_parser!(u64))
        .help("the same again")
}

/// A value that has a default.
fn one_of<T: Clone + Send + Sync + 'static>(words: &ArgMatches, name: &str) -> T {
    words.get_one::<T>(name).cloned().expect("it has a default")
}

fn all_of<T: Clone + Send + Sync + 'static>(words: &ArgMatches, name: &str) -> Vec<T> {
    words
        .get_many(name)
        .map(|values| values.cloned().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
