//! `cargo xtask`: everything that is done with this repository, one command each.

use std::process::ExitCode;

use anyhow::Result;

mod abi;
mod audit;
mod bench;
mod blast;
mod build;
mod check;
mod clean;
mod cli;
mod cmd;
#[cfg(test)]
mod documents;
mod environment;
mod fresh;
mod fuzz;
mod lab;
mod layers;
mod private_apt;
mod run;
mod setup;
mod soak;
mod span;
mod step;
mod test;
mod times;
mod vm_test;

use cli::Task;

fn main() -> ExitCode {
    match environment::extend_search_path().and_then(|()| dispatch(cli::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> Result<()> {
    match task {
        Task::Lab(options) => run::lab(options),
        Task::LabAsRoot(options) => lab::run(options),
        Task::Gateway(words) => run::gateway(&words),
        Task::Build => build::task(),
        Task::Test(filter, browser) => test::run(filter.as_deref(), browser),
        Task::Soak(options) => soak::task(options),
        Task::SoakAsRoot(options) => soak::run(options),
        Task::VmTest(request) => vm_test::run(&request),
        Task::Fuzz(options) => fuzz::run(options),
        Task::Check => check::run(),
        Task::Audit => audit::run(),
        Task::Bench(words) => bench::run(&words),
        Task::Blast(options) => blast::run(options),
        Task::Abi(write) => abi::run(write),
        Task::Setup(purpose) => setup::run(purpose),
        Task::Fresh(options) => fresh::run(&options),
        Task::FreshInside(options) => fresh::inside(&options),
        Task::CleanLab => clean::run(),
    }
}
