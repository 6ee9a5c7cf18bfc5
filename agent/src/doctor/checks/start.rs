//! What a gateway that does not run would meet at its start.

use super::finding;
use crate::config::Config;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::{Facts, StartFacts};
use crate::host::apply;

/// Below it the programs do not load.
const FAST_PATH_SINCE: (u32, u32) = (5, 12);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(start) = &facts.host.start else {
        return Vec::new();
    };
    let mut findings = of_host(start);
    if let Some(Ok(accepted)) = &facts.config {
        findings.extend(interfaces(facts, &accepted.config));
    }
    findings
}

fn of_host(start: &StartFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |check, severity, subject: &str, what: String, why: &str, mend: String| {
        findings.push(finding(
            check,
            severity,
            subject,
            [what, why.to_owned(), mend],
        ));
    };
    for refusal in &start.refusals {
        let (what, mend) = refusal.rsplit_once(": ").unwrap_or((refusal, ""));
        let why = "the gateway refuses to start";
        add(
            "start",
            Severity::Problem,
            "start",
            what.to_owned(),
            why,
            mend.to_owned(),
        );
    }
    for (name, error) in &start.unresolved {
        let what = format!("{name} does not resolve: {error}");
        let why = "a link without an address of its far gateway cannot come up";
        let mend = format!(
            "`getent ahosts {name}`; correct the name or /etc/resolv.conf, or write the address"
        );
        add("names", Severity::Problem, name, what, why, mend);
    }
    for (port, error) in &start.ports {
        let what = format!("UDP port {port} cannot be listened on: {error}");
        let mend = format!(
            "`ss -ulnp sport = :{port}` shows who has it; stop that, or write another port in `listen`"
        );
        let why = "the gateway will not start";
        add(
            "port",
            Severity::Problem,
            &port.to_string(),
            what,
            why,
            mend,
        );
    }
    if !start.tun_device {
        let what = "there is no /dev/net/tun".to_owned();
        let why = "the gateway will not start";
        let mend = "modprobe tun; give a container the device".to_owned();
        add(
            "tun-device",
            Severity::Problem,
            "/dev/net/tun",
            what,
            why,
            mend,
        );
    }
    if !start.sysctls_writable {
        let what = "/proc/sys cannot be written".to_owned();
        let why = "the gateway cannot switch forwarding on";
        let mend = "run as root, outside of a container or with net.ipv4.conf.*.forwarding set from outside".to_owned();
        add(
            "forwarding",
            Severity::Problem,
            "/proc/sys",
            what,
            why,
            mend,
        );
    }
    if let Some(kernel) = start.kernel.filter(|kernel| *kernel < FAST_PATH_SINCE) {
        let what = format!("the kernel is {}.{}", kernel.0, kernel.1);
        let why = "the fast path needs 5.12: the kernel stack will forward, more slowly";
        add(
            "kernel",
            Severity::Slow,
            "kernel",
            what,
            why,
            "a newer kernel".to_owned(),
        );
    }
    findings
}

fn interfaces(facts: &Facts, config: &Config) -> Vec<Finding> {
    let present = &facts.host.interfaces;
    let lan = config.gateway.lan.iter().map(|lan| ("LAN", &lan.interface));
    let wan = config.gateway.wan.iter().map(|wan| ("WAN", &wan.interface));
    let idle = lan.chain(wan).filter_map(|(role, name)| {
        let found = present.iter().find(|interface| interface.name == *name);
        let text = match found {
            None => apply::absent(role, name, present),
            Some(interface) => apply::why_idle(role, interface)?,
        };
        let (what, mend) = text.split_once(": ").unwrap_or((&text, ""));
        let why = "nothing goes by it".to_owned();
        let texts = [what.to_owned(), why, mend.to_owned()];
        Some(finding("host", Severity::Problem, name, texts))
    });
    idle.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_keeps_a_gateway_from_starting_is_told_at_once() {
        let healthy = StartFacts {
            kernel: Some((6, 12)),
            tun_device: true,
            sysctls_writable: true,
            ..StartFacts::default()
        };
        assert!(of_host(&healthy).is_empty());
        let ill = StartFacts {
            kernel: Some((5, 10)),
            ports: vec![(51820, "in use".to_owned())],
            unresolved: vec![("paris.example".to_owned(), "no such name".to_owned())],
            ..StartFacts::default()
        };
        let found = of_host(&ill);
        let words: Vec<&str> = found.iter().map(|found| found.check.as_str()).collect();
        assert_eq!(
            words,
            ["names", "port", "tun-device", "forwarding", "kernel"]
        );
    }
}
