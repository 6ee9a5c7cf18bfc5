//! Brings sysctls to a plan and back: remembers before it writes, and restores only what nobody
//! else has changed in the meantime.

use std::collections::HashMap;

use super::Report;
use super::error::HostError;
use super::state::{StateFile, SysctlChange};
use super::sysctl::{Family, Key, Name};

/// Sets what `plan` says, and restores what an earlier plan had changed and this one does not. A value that cannot be
/// set or restored leaves the others as they should be: see [`Key::is_needed`] for what becomes of it. Returns what is
/// as the plan says, whoever changes it again a moment later.
pub fn reconcile(
    file: &mut StateFile,
    plan: Vec<SysctlChange>,
    report: &mut Report,
) -> HashMap<Key, String> {
    let dropped: Vec<_> = file
        .state
        .sysctls
        .iter()
        .filter(|old| plan.iter().all(|new| new.key != old.key))
        .cloned()
        .collect();
    let unchanged = dropped.is_empty() && plan == file.state.sysctls;
    if !unchanged {
        file.state.sysctls = plan.iter().chain(&dropped).cloned().collect();
        file.save();
    }
    let held = set(&plan, report);
    if !dropped.is_empty() {
        let left = restore(&dropped, report);
        file.state.sysctls = plan.into_iter().chain(left).collect();
        file.save();
    }
    held
}

/// The value of `key` before Crossway: what is remembered, unless somebody has set it since.
pub fn original(file: &StateFile, key: &Key) -> Result<Option<String>, HostError> {
    let now = key.read()?;
    let remembered = file
        .state
        .sysctls
        .iter()
        .find(|change| change.key == *key && Some(&change.set) == now.as_ref());
    Ok(remembered.map_or(now, |change| Some(change.before.clone())))
}

fn set(plan: &[SysctlChange], report: &mut Report) -> HashMap<Key, String> {
    let mut held = HashMap::new();
    let mut plan: Vec<_> = plan.iter().collect();
    plan.sort_by_key(|change| order_of_setting(&change.key));
    for change in plan {
        let outcome = set_one(change);
        if let Ok(Some(_)) = outcome {
            held.insert(change.key.clone(), change.set.clone());
        }
        match outcome {
            Ok(Some(true)) => report.changed(describe(change)),
            Ok(Some(false) | None) => {}
            Err(error) => {
                let SysctlChange { key, set, why, .. } = change;
                let text = format!("{key} should be {set} ({why}): {error}");
                if key.is_needed() {
                    report.failures.push(text);
                } else {
                    report.warnings.push(text);
                }
            }
        }
    }
    held
}

/// Whether it was another value; `None` where it is not there.
fn set_one(change: &SysctlChange) -> Result<Option<bool>, HostError> {
    match change.key.read()? {
        Some(now) if now == change.set => Ok(Some(false)),
        Some(_) => Ok(change.key.write(&change.set)?.then_some(true)),
        None => Ok(None),
    }
}

/// Those that could not be restored.
fn restore(changes: &[SysctlChange], report: &mut Report) -> Vec<SysctlChange> {
    let mut targets = HashMap::new();
    let mut left = Vec::new();
    for change in changes {
        let now = match change.key.read() {
            Ok(Some(now)) => now,
            Ok(None) => continue,
            Err(error) => {
                report.note(Err(error));
                left.push(change.clone());
                continue;
            }
        };
        if now == change.set {
            targets.insert(&change.key, change.before.clone());
        } else {
            if now != change.before {
                report.changed(format!(
                    "{} stays at {now}: somebody has changed it since it was set to {}",
                    change.key, change.set
                ));
            }
            targets.insert(&change.key, now);
        }
    }
    let mut keys: Vec<_> = targets.keys().copied().collect();
    keys.sort_by_key(|key| order_of_restoring(key));
    for key in keys {
        match restore_one(key, &targets[key]) {
            Ok(true) => report.changed(format!("{key} restored to {}", targets[key])),
            Ok(false) => {}
            Err(error) => {
                report.note(Err(error));
                left.extend(changes.iter().find(|change| change.key == *key).cloned());
            }
        }
    }
    left
}

/// Whether it was another value. It is read again: writing `all` has changed the others.
fn restore_one(key: &Key, target: &str) -> Result<bool, HostError> {
    let now = key.read()?;
    Ok(now.is_some_and(|now| now != target) && key.write(target)?)
}

/// A line for logs and `status`.
pub fn describe(change: &SysctlChange) -> String {
    let SysctlChange {
        key,
        before,
        set,
        why,
    } = change;
    match key.read() {
        Ok(Some(now)) if now != *set => {
            format!("{key}: {before} -> {set} ({why}), but it is {now} now")
        }
        _ => format!("{key}: {before} -> {set} ({why})"),
    }
}

/// `accept_ra` goes first, because any IPv6 interface that starts to forward makes the kernel purge
/// the default routes learned from router advertisements, save where `accept_ra` is 2. Then `all`,
/// which rewrites the interfaces.
fn order_of_setting(key: &Key) -> u8 {
    match key {
        Key {
            name: Name::AcceptRa,
            ..
        } => 0,
        key if rewrites_interfaces(key) => 1,
        _ => 2,
    }
}

/// `all` first, for the same reason; `accept_ra` last, for the same reason.
fn order_of_restoring(key: &Key) -> u8 {
    match key {
        key if rewrites_interfaces(key) => 0,
        Key {
            name: Name::AcceptRa,
            ..
        } => 2,
        _ => 1,
    }
}

fn rewrites_interfaces(key: &Key) -> bool {
    key.interface == "all" && key.family == Family::Ipv6 && key.name == Name::Forwarding
}
