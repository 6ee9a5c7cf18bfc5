//! The systemd unit: how exposed it is, by systemd's own measure.

use std::path::Path;
use std::process::Command;

/// What `systemd-analyze security` of systemd 252 says of it, in tenths; the README tells it. What is left:
/// it runs as root on the host's network, with NET_ADMIN, NET_RAW, BPF and CHOWN, and sets sysctls.
const EXPOSURE_TENTHS: u32 = 28;

#[test]
fn the_units_exposure_is_as_stated() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/crossway@.service");
    let analyzed = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .output();
    let Ok(output) = analyzed else {
        eprintln!("skipped: there is no systemd-analyze here (Debian package systemd)");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // Before systemd 250 it knows no --offline.
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let (_, exposure) = said.rsplit_once("Overall exposure level").unwrap();
    let number = exposure
        .split(": ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let tenths: u32 = number.unwrap().replace('.', "").parse().unwrap();
    assert!(tenths <= EXPOSURE_TENTHS, "{said}");
}
