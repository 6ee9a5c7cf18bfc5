//! Where packets take a slower way than they could.

use super::finding;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::Facts;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(running) = &facts.running else {
        return Vec::new();
    };
    let status = &running.status;
    let slow = Severity::Slow;
    let mut findings = Vec::new();
    let mut warned = status.warned.iter();
    // Otherwise the gateway says why itself.
    if !status.fast_path && !warned.any(|warning| warning.source == "fast-path") {
        let what = "the fast path is off: fast_path = false".to_owned();
        let why = "every packet takes the whole way through the kernel's network stack".to_owned();
        let mend = "take fast_path = false out of [gateway], and restart".to_owned();
        findings.push(finding("fast-path", slow, "fast_path", [what, why, mend]));
    }
    let generic = status.attachments.iter();
    for attachment in generic.filter(|attachment| attachment.mode == "xdp-generic") {
        let interface = &attachment.interface;
        let what = format!(
            "{} runs on {interface} in XDP's generic mode: {}",
            attachment.hook, attachment.reason
        );
        let why =
            "each packet is copied into one piece first: slower than without it, but for floods"
                .to_owned();
        let mend = format!("xdp = \"auto\" for {interface}, and a reload");
        findings.push(finding("xdp", slow, interface, [what, why, mend]));
    }
    for offload in status.offloads.iter().filter(|offload| !offload.on) {
        let what = format!("the offload {} is off: {}", offload.name, offload.why);
        let why = "packets are handled one by one instead of up to 64 KB at once".to_owned();
        let mend =
            "a kernel that has it (README of the agent, \"Kernel\"); after a failure, a restart"
                .to_owned();
        findings.push(finding("offload", slow, &offload.name, [what, why, mend]));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{Attachment, Offload, Status, Warning};
    use crate::doctor::facts::Running;

    fn found(status: Status) -> Vec<String> {
        let facts = Facts {
            running: Some(Running {
                status,
                ..Running::default()
            }),
            ..Facts::default()
        };
        let found = check(&facts).into_iter();
        found.map(|finding| finding.check).collect()
    }

    #[test]
    fn slower_ways_are_named_once() {
        let healthy = Status {
            fast_path: true,
            ..Status::default()
        };
        assert!(found(healthy.clone()).is_empty());
        assert_eq!(found(Status::default()), ["fast-path"]);
        let told = Warning {
            source: "fast-path".to_owned(),
            text: "the kernel is too old".to_owned(),
        };
        let told = Status {
            warned: vec![told],
            ..Status::default()
        };
        assert!(found(told).is_empty());
        let generic = Attachment {
            mode: "xdp-generic".to_owned(),
            ..Attachment::default()
        };
        let slow = Status {
            attachments: vec![generic, Attachment::default()],
            offloads: vec![Offload::default()],
            ..healthy
        };
        assert_eq!(found(slow), ["xdp", "offload"]);
    }
}
