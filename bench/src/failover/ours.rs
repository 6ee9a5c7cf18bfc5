//! Crossway on all gateways of a row.

use std::process::Command;

use anyhow::Result;
use vm_tests::crossway;
use vm_tests::failover::{Gateways, Settings};
use vm_tests::process;

use super::{Bfd, Joined};

pub(super) fn version() -> Result<String> {
    let text = process::run(Command::new(crossway::binary()).arg("version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What a row does not say otherwise.
pub(super) fn settings(bfd: Bfd) -> Settings {
    Settings {
        interval_ms: bfd.interval_ms,
        multiplier: bfd.multiplier,
        ..Settings::default()
    }
}

impl Joined for Gateways {
    fn ready(&self) -> Result<()> {
        self.wait_until_ready()
    }

    fn carrier(&self) -> Result<String> {
        Ok(self.carriers()?.join(","))
    }

    fn drain(&self) -> Result<()> {
        self.order_first("drain")
    }

    fn undrain(&self) -> Result<()> {
        self.order_first("undrain")
    }
}
