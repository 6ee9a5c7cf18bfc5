//! `crossway version`.

use std::fmt::Write;

use serde::Serialize;

use super::Options;
use super::failure::Failure;
use super::output::{print, print_json};
use crate::control::client::{ClientError, ask};
use crate::control::message::Version;
use crate::control::{Request, Response, run_dir};

/// This program, and the gateway that runs.
#[derive(Serialize)]
struct Versions {
    version: &'static str,
    abi_version: u32,
    profile: &'static str,
    architecture: &'static str,
    running: Option<Version>,
}

/// Shows this program's version, and that of the running gateway if there is just one or it is named.
pub(super) fn version(options: &Options) -> Result<(), Failure> {
    let asked = ask(&run_dir(), options.gateway.as_deref(), &Request::Version);
    let running = match asked {
        Ok(Response::Version(version)) => Some(version),
        Err(error @ ClientError::NotRunning { .. }) => return Err(error.into()),
        _ => None,
    };
    let versions = Versions {
        version: env!("CARGO_PKG_VERSION"),
        abi_version: datapath_abi::ABI_VERSION,
        profile: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        architecture: std::env::consts::ARCH,
        running,
    };
    if options.json {
        return print_json(&versions, true);
    }
    let mut text = format!(
        "crossway {} (abi {}, {} build, {})\n",
        versions.version, versions.abi_version, versions.profile, versions.architecture
    );
    if let Some(running) = &versions.running {
        let _ = writeln!(
            text,
            "running: {} with crossway {} (abi {})",
            running.gateway, running.version, running.abi_version
        );
    }
    print(&text)
}
