//! The `crossway` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossway::cli::main()
}
