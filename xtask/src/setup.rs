//! What this machine lacks: found, said, installed. What is there is not touched, and finding out takes
//! no package manager, so every command does it first.

use anyhow::{Result, bail};

use crate::environment;

mod apt;
mod crates;
mod needs;
mod newest;
pub(crate) mod toolchain;

use needs::Need;
use toolchain::Toolchain;

/// What is going to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building the eBPF object and the agent.
    Build,
    /// The lab, and the bench without peers.
    Lab,
    /// All test rings but the guests.
    Test,
    /// The guests: real kernels in virtual machines.
    Vm,
    /// The bench with every peer.
    Bench,
}

impl Purpose {
    /// By the word that users type.
    pub(crate) fn from_name(word: &str) -> Result<Self, String> {
        match word {
            "build" => Ok(Self::Build),
            "lab" => Ok(Self::Lab),
            "test" => Ok(Self::Test),
            "vm" => Ok(Self::Vm),
            "bench" => Ok(Self::Bench),
            _ => Err("expected one of build, lab, test, vm, bench".to_owned()),
        }
    }
}

/// `cargo xtask setup`.
pub(crate) fn run(purpose: Purpose) -> Result<()> {
    let toolchain = ensure(purpose)?;
    println!("Nothing is missing. eBPF toolchain: {toolchain}");
    Ok(())
}

/// Installs a program that one command alone needs, if it is missing.
pub(crate) fn ensure_tool(program: &str) -> Result<()> {
    let need = needs::alone(program);
    if need.is_missing() {
        eprintln!("This machine lacks, and this will be installed:");
        eprintln!("  {:<28} {}", need.name(), need.explanation());
        need.package()
            .map_or(Ok(()), |package| apt::install(&[package]))?;
        need.install()?;
    }
    Ok(())
}

/// Installs what `purpose` lacks and returns the toolchain for the eBPF object.
pub(crate) fn ensure(purpose: Purpose) -> Result<Toolchain> {
    let (toolchain, mut packages) = toolchain::choose()?;
    let missing = needs::missing(purpose);
    if !packages.is_empty() || !missing.is_empty() {
        announce(&toolchain, &packages, &missing);
        packages.extend(missing.iter().filter_map(|need| need.package()));
        install(&packages, &missing)?;
        if let Some(need) = needs::missing(purpose).first() {
            bail!(
                "{} was installed, but is neither in the search path nor in {} nor in {}",
                need.name(),
                environment::cargo_bin().display(),
                environment::tools().display()
            );
        }
    }
    toolchain.verified()
}

/// The first crate is built while packages come: those keep the network and the disk busy, this the cores.
fn install(packages: &[&str], missing: &[&Need]) -> Result<()> {
    let (crates, others): (Vec<&Need>, Vec<&Need>) = missing
        .iter()
        .partition(|need| need.crate_program().is_some());
    let mut programs = crates.iter().filter_map(|need| need.crate_program());
    let beside = match programs.next() {
        Some(program) if !packages.is_empty() => Some((program, program.start()?)),
        Some(program) => {
            program.install()?;
            None
        }
        None => None,
    };
    let packages = if packages.is_empty() {
        Ok(())
    } else {
        apt::install(packages)
    };
    // Waited for also where packages failed: cargo is not left running.
    if let Some((program, beside)) = beside {
        let built = program.conclude(beside.join()?);
        packages?;
        built?;
    } else {
        packages?;
    }
    programs.try_for_each(crates::Program::install)?;
    others.iter().try_for_each(|need| need.install())
}

fn announce(toolchain: &Toolchain, toolchain_packages: &[&str], missing: &[&Need]) {
    eprintln!("This machine lacks, and these will be installed:");
    for package in toolchain_packages {
        eprintln!("  {package:<28} Debian package: {}", toolchain.reason());
    }
    for need in missing {
        eprintln!("  {:<28} {}", need.name(), need.explanation());
    }
}
