//! `cargo xtask`: everything that is done with this repository, one command each.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod abi;
mod audit;
mod bench;
mod blast;
mod build;
mod check;
mod clean;
mod cmd;
mod environment;
mod fuzz;
mod lab;
mod private_apt;
mod run;
mod setup;
mod soak;
mod step;
mod test;
mod vm_test;

/// A command: its name, its arguments, what it does, and the function that does it.
type Task = (
    &'static str,
    &'static str,
    &'static str,
    fn(&[String]) -> Result<()>,
);

#[rustfmt::skip]
const TASKS: &[Task] = &[
    ("run", "[--for 10s]", "two sites in a lab of their own, with a live status until Ctrl-C", run::run),
    ("run", "-- --config FILE", "the connector on this gateway; all behind `--` goes to `crossway run`", run::run),
    ("lab", "--scenario NAME", "wan-cut, gateway-kill, flap or split-brain, played in a lab with spare paths or gateways", run::lab),
    ("build", "", "the eBPF object and target/release/crossway", build::task),
    ("test", "[FILTER]", "the pure, verdict and namespace rings", test::run),
    ("soak", "[--for 30m] [--seed N]", "everything at once for a long time: every packet accounted for, nothing leaks", soak::task),
    ("vm-test", "[--quick | --long | --only TEST] [KERNEL…]", "the guest ring: real kernels in virtual machines", vm_test::run),
    ("fuzz", "[TARGET…] [--for 10m]", "hostile bytes for every parser of what comes from outside; `--keep` adds to the corpus", fuzz::run),
    ("vm-test", "--bench [KERNEL…]", "the bench in a virtual machine, beside the kernel's WireGuard", vm_test::run),
    ("check", "", "formatting, clippy, documentation and the ABI", check::run),
    ("audit", "", "the lock file: licences, sources, withdrawn versions, known vulnerabilities", audit::run),
    ("bench", "[--quick] [--help]", "against plain forwarding and other tunnels", bench::run),
    ("bench", "micro", "the parts of the fast path one by one", bench::run),
    ("bench", "scale", "routes replaced, thousands of sites, a million flows, floods of junk and of handshakes", bench::run),
    ("bench", "failover [--quick]", "how long traffic stops where a path or a gateway fails", bench::run),
    ("bench", "to HOST", "from this host to another, through one's own gateways", bench::run),
    ("bench", "compare A.json B.json", "what got worse beyond the noise", bench::run),
    ("blast", "[--count 10m] [--seed N]", "malformed packets against a live pair, each of them counted", blast::run),
    ("abi", "[--write]", "show, or record, the boundary between eBPF and agent", abi::run),
    ("setup", "[build|lab|test|vm|bench]", "install what is missing; the other commands do it for themselves", setup::run),
    ("clean-lab", "", "remove what a killed lab or test left", clean::run),
];

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<()> {
    environment::extend_search_path()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (name, arguments) = match words.split_first() {
        Some((name, arguments)) if !["help", "-h", "--help"].contains(&name.as_str()) => {
            (name, arguments)
        }
        _ => {
            print_help();
            return Ok(());
        }
    };
    // Not for people: `run` and `soak` become root by them.
    if name == lab::TASK {
        return lab::run(arguments);
    }
    if name == soak::TASK {
        return soak::run(arguments);
    }
    match TASKS.iter().find(|(task, ..)| task == name) {
        Some((.., run)) => run(arguments),
        None => bail!("there is no command {name:?}: `cargo xtask help` lists them"),
    }
}

fn print_help() {
    println!("cargo xtask COMMAND\n");
    for (name, arguments, about, _) in TASKS {
        println!("  {:<27} {about}", format!("{name} {arguments}"));
    }
    println!("  {:<27} this list", "help");
}
