//! Switches a feature of the LAN's devices on, and off again at the end.
//!
//! With `rx-udp-gro-forwarding` (Linux 5.12) the kernel joins datagrams of a flow that are to be
//! forwarded, as it joins TCP segments without being asked; `lan_ingress` and the TUN then see one
//! super-packet for many, and each is cut again before it leaves.

use std::io;

use super::Report;
use super::state::{FeatureChange, StateFile};
use crossway_sys::interface::feature;

const UDP_GRO_FORWARDING: &str = "rx-udp-gro-forwarding";

/// Has the feature on where it can be on `lan`, and puts it back where it was switched on and is no
/// longer wanted. Remembers before it changes. A device that refuses is left as it is: packets pass
/// all the same.
pub(super) fn reconcile(file: &mut StateFile, lan: &[String], report: &mut Report) {
    let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut file.state.features)
        .into_iter()
        .partition(|change| lan.contains(&change.interface));
    // One that was switched on may be off again: another device may have the name now.
    let off: Vec<_> = lan
        .iter()
        .filter(|lan| is_on(lan) == Some(false))
        .map(|lan| FeatureChange {
            interface: lan.clone(),
            feature: UDP_GRO_FORWARDING.to_owned(),
        })
        .collect();
    let is_new = |change: &&FeatureChange| !kept.contains(change);
    let missing: Vec<_> = off.iter().filter(is_new).cloned().collect();
    file.state.features = [kept.as_slice(), &missing, &dropped].concat();
    if !missing.is_empty() || !dropped.is_empty() {
        file.save();
    }
    for change in &off {
        report.add(
            change,
            feature::set(&change.interface, &change.feature, true),
            "on",
        );
    }
    for change in &dropped {
        // Off already: somebody else did it.
        if let Ok(Some(true)) = feature::get(&change.interface, &change.feature) {
            report.add(
                change,
                feature::set(&change.interface, &change.feature, false),
                "off",
            );
        }
    }
    file.state.features = [kept, missing].concat();
    if !dropped.is_empty() {
        file.save();
    }
}

/// Whether it is on; `None` where it cannot be told.
pub(super) fn is_on(interface: &str) -> Option<bool> {
    feature::get(interface, UDP_GRO_FORWARDING).ok().flatten()
}

/// A line for logs and `status`.
pub(super) fn describe(change: &FeatureChange) -> String {
    let FeatureChange { interface, feature } = change;
    let now = match is_on(interface) {
        Some(false) => ", but it is off now",
        _ => "",
    };
    format!(
        "{interface}: {feature} off -> on (datagrams of a flow are forwarded in one piece){now}"
    )
}

impl Report {
    fn add(&mut self, change: &FeatureChange, outcome: io::Result<bool>, to: &str) {
        let FeatureChange { interface, feature } = change;
        match outcome {
            Ok(_) => self.changed(format!("{interface}: {feature} {to}")),
            Err(error) => self.warnings.push(format!(
                "{interface}: {feature} could not be switched {to} ({error}); try `ethtool -K \
                 {interface} {feature} {to}`"
            )),
        }
    }
}
