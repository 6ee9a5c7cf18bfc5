//! Sysctls that are not as the gateway needs them, and what the strict reverse path check drops.

use super::finding;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::Facts;
use crate::host::state::SysctlChange;
use crate::host::sysctl::Name;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let unmet = facts.host.unmet.iter().map(unmet);
    unmet
        .chain(reverse_path(facts))
        .chain(conntrack(facts))
        .collect()
}

fn unmet(change: &SysctlChange) -> Finding {
    let SysctlChange {
        key,
        before,
        set,
        why,
    } = change;
    let (check, severity) = match key.name {
        Name::RpFilter => ("rp-filter", Severity::Problem),
        _ if key.is_needed() => ("forwarding", Severity::Problem),
        _ => ("sysctl", Severity::Note),
    };
    let what = format!("{key} is {before}, and the gateway needs {set}");
    let mend = format!(
        "sysctl -w {key}={set}, outside of the container if the gateway runs in one, and see what sets it back"
    );
    finding(check, severity, key.to_string(), [what, why.clone(), mend])
}

fn reverse_path(facts: &Facts) -> Option<Finding> {
    let host = &facts.host;
    let first = host.strict.first()?;
    if host.reverse_path_drops == 0 {
        return None;
    }
    let what = format!(
        "the kernel has dropped {} packets while this was looked at, because the way back to their source leaves by another \
         interface; rp_filter is 1 on {}",
        host.reverse_path_drops,
        host.strict.join(", ")
    );
    let why = "hosts behind a second router of the LAN are not heard".to_owned();
    let mend = format!(
        "add the route to those hosts (`ip route add PREFIX via ROUTER dev {first}`), or sysctl -w \
         net.ipv4.conf.{first}.rp_filter=2"
    );
    Some(finding(
        "rp-filter",
        Severity::Problem,
        host.strict.join(", "),
        [what, why, mend],
    ))
}

fn conntrack(facts: &Facts) -> Option<Finding> {
    let (count, most) = facts.host.conntrack?;
    if most == 0 || count.saturating_mul(20) < most.saturating_mul(19) {
        return None;
    }
    let what = format!("conntrack follows {count} connections of {most} that it can");
    let why = "once it is full, the kernel drops what begins a connection".to_owned();
    let mend = format!("sysctl -w net.netfilter.nf_conntrack_max={}", most * 2);
    Some(finding(
        "conntrack",
        Severity::Problem,
        "nf_conntrack",
        [what, why, mend],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysctl::Key;

    #[test]
    fn forwarding_is_a_problem_and_redirects_are_a_note() {
        let change = |name| SysctlChange {
            key: Key::ipv4("lan0", name),
            before: "0".to_owned(),
            set: "1".to_owned(),
            why: "packets of this LAN are forwarded into the tunnel".to_owned(),
        };
        let found = unmet(&change(Name::Forwarding));
        assert_eq!(
            (found.check.as_str(), found.severity),
            ("forwarding", Severity::Problem)
        );
        assert!(found.mend.contains("net.ipv4.conf.lan0.forwarding=1"));
        assert_eq!(unmet(&change(Name::SendRedirects)).severity, Severity::Note);
    }

    #[test]
    fn the_reverse_path_check_is_named_only_while_it_drops() {
        let mut facts = Facts::default();
        facts.host.strict = vec!["lan0".to_owned()];
        assert_eq!(reverse_path(&facts), None);
        facts.host.reverse_path_drops = 4;
        assert!(
            reverse_path(&facts)
                .unwrap()
                .mend
                .contains("lan0.rp_filter=2")
        );
        facts.host.strict.clear();
        assert_eq!(reverse_path(&facts), None);
    }

    #[test]
    fn conntrack_is_named_when_it_is_nearly_full() {
        let mut facts = Facts::default();
        for (count, found) in [(10, false), (94, false), (95, true), (100, true)] {
            facts.host.conntrack = Some((count, 100));
            assert_eq!(conntrack(&facts).is_some(), found, "{count}");
        }
    }
}
