//! The command line: what `crossway` takes and prints.
//!
//! Each subcommand has its own file. Commands that read ask the running gateway over its control
//! socket and print a table, or with `--json` the reply as it is. Exit codes: 0 done, 1 failed, 2 wrong
//! usage or configuration.

mod capture;
mod check;
mod complete;
mod doctor;
mod drops;
mod events;
mod explain;
mod failure;
mod flows;
mod following;
mod keys;
mod links;
mod log;
mod man;
mod orders;
mod output;
mod policy;
mod reading;
mod reload;
mod report;
mod routes;
mod run;
mod services;
mod sites;
mod status;
mod table;
mod top;
mod units;
mod version;
mod vrrp;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::engine::ArgValueCandidates;

use self::failure::Failure;
use crate::control::message::LinkOrder;
use crate::datapath::capture::guard;

/// Joins sites over WireGuard.
#[derive(Debug, Parser)]
#[command(name = "crossway", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\n\
    Control sockets are in /run/crossway, or in the folder that CROSSWAY_RUN_DIR names.";

/// What every command takes.
#[derive(Args, Debug)]
struct Options {
    /// Which running gateway to ask; not needed where only one runs
    #[arg(long, global = true, value_name = "NAME", add = ArgValueCandidates::new(complete::gateways))]
    gateway: Option<String>,
    /// Print JSON with stable field names
    #[arg(long, global = true)]
    json: bool,
    /// Show every column, also where they do not fit the terminal
    #[arg(long, global = true)]
    wide: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway that a file describes, until SIGTERM or Ctrl-C
    Run {
        /// Configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Take over from the agent that runs this gateway, if there is one: sessions and flows continue
        #[arg(long)]
        take_over: bool,
    },
    /// Report everything that is wrong with a configuration file
    Check {
        /// Configuration file (TOML)
        file: PathBuf,
    },
    /// Print a configuration file as it is understood: without comments and defaults
    Show {
        /// Configuration file (TOML)
        file: PathBuf,
    },
    /// Print a new private key
    Keygen,
    /// Read a private key from standard input and print its public key
    Pubkey,
    /// Show the whole gateway: sites, traffic, programs, offloads, warnings
    Status(Watch),
    /// Show the sites: state, traffic, routes
    Sites(Watch),
    /// Show the links: endpoint, handshake, traffic
    Links(Watch),
    /// Show routes, ask for one, or find those that cover each other
    #[command(subcommand)]
    Routes(routes::Routes),
    /// Show the conversations through the gateway
    Flows(flows::Flows),
    /// Show the services that were seen behind the gateways, and decide about them
    Services(services::Services),
    /// Show who may reach what, try other rules, and put them in force
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Watch sites, links, drops and conversations live, on a terminal
    Top,
    /// Show what was dropped and why
    Drops(Watch),
    /// Show which way a packet would go and why, step by step; nothing is sent
    Explain(explain::Explain),
    /// Write packets of chosen flows to a pcapng file, inside and outside of the tunnel
    Capture(capture::Capture),
    /// Look for what is in the way of packets, and say what mends it
    Doctor(doctor::Doctor),
    /// Take links out of service: flows leave them both ways, and nothing is lost
    Drain(orders::Target),
    /// Put links back into service
    Undrain(orders::Target),
    /// Rank links above all others while they are up
    Prefer(orders::Target),
    /// Rank links by their priority again
    Unprefer(orders::Target),
    /// Have links carry the flows at once, until they go down
    Promote(orders::Target),
    /// Show what has changed: links, sites, reloads, interfaces, each with its time and cause
    Events(events::Events),
    /// Show what the agent says in its log, or set what is logged
    Log(log::Log),
    /// Report the last hours: what was out, rates, loss, round trips; as a page with --html
    Report(report::ReportOptions),
    /// Read the configuration file again and apply what changed
    Reload,
    /// Show versions, also of the running gateway
    Version,
    /// Print the script by which a shell completes commands, and names of the running gateway
    Completion {
        /// The shell
        shell: complete::Shell,
    },
    /// Remove the filters that a capture has left
    #[command(hide = true, name = guard::COMMAND)]
    CaptureGuard {
        /// Number of the process that captures
        process: u32,
    },
    /// Write the manual pages, for packages
    #[command(hide = true)]
    Man {
        /// Folder for the pages
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Show again and again.
#[derive(Args, Clone, Copy, Debug)]
struct Watch {
    /// Show again every so many seconds, until Ctrl-C [default: 2]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    watch: Option<u64>,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    complete::answer_shell();
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn dispatch(cli: &Cli) -> Result<(), Failure> {
    let options = &cli.options;
    match &cli.command {
        Command::Run { config, take_over } => run::run(config, *take_over),
        Command::Check { file } => check::check(options, file),
        Command::Show { file } => check::show(file),
        Command::Keygen => keys::keygen(),
        Command::Pubkey => keys::pubkey(),
        Command::Status(watch) => status::status(options, *watch),
        Command::Sites(watch) => sites::sites(options, *watch),
        Command::Links(watch) => links::links(options, *watch),
        Command::Routes(routes) => routes::routes(options, routes),
        Command::Flows(flows) => flows::flows(options, flows),
        Command::Services(services) => services::services(options, services),
        Command::Policy(policy) => policy::policy(options, policy),
        Command::Top => top::top(options),
        Command::Drops(watch) => drops::drops(options, *watch),
        Command::Explain(packet) => explain::explain(options, packet),
        Command::Capture(wanted) => capture::capture(options, wanted),
        Command::CaptureGuard { process } => capture::serve_guard(*process),
        Command::Doctor(doctor) => doctor::doctor(options, doctor),
        Command::Drain(target) => orders::order(options, target, LinkOrder::Drain),
        Command::Undrain(target) => orders::order(options, target, LinkOrder::Undrain),
        Command::Prefer(target) => orders::order(options, target, LinkOrder::Prefer),
        Command::Unprefer(target) => orders::order(options, target, LinkOrder::Unprefer),
        Command::Promote(target) => orders::order(options, target, LinkOrder::Promote),
        Command::Events(events) => events::events(options, events),
        Command::Log(log) => log::log(options, log),
        Command::Report(wanted) => report::report(options, wanted),
        Command::Reload => reload::reload(options),
        Command::Version => version::version(options),
        Command::Completion { shell } => complete::completion(*shell),
        Command::Man { out } => man::man(out),
    }
}
