//! The faults that are planted.

mod forwarding;
mod setup;
mod speed;
mod ways;

use super::lab::Lab;
use vm_tests::api::DoctorReport;

/// A fault.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The check that must find it.
    pub(crate) check: &'static str,
    /// What the finding is about, or a part of that.
    pub(crate) about: &'static str,
    /// Other checks that find something of it.
    pub(crate) also: &'static [&'static str],
    /// Changes the lab before the start.
    pub(crate) prepare: fn(&mut Lab),
    /// Plants it in the running lab.
    pub(crate) plant: fn(&mut Lab),
    pub(crate) link_comes_up: bool,
    /// What has to be whole for it to show.
    pub(crate) needs: &'static [&'static str],
    /// What it breaks.
    pub(crate) breaks: &'static [&'static str],
}

impl Fault {
    /// Whether the doctor has named it.
    pub(crate) fn is_in(&self, report: &DoctorReport) -> bool {
        let mut findings = report.findings.iter();
        findings.any(|finding| finding.check == self.check && finding.subject.contains(self.about))
    }

    pub(crate) fn checks(&self) -> impl Iterator<Item = &'static str> {
        [self.check].into_iter().chain(self.also.iter().copied())
    }

    /// Whether both can show at once.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        let hides =
            |one: &Self, other: &Self| one.breaks.iter().any(|part| other.needs.contains(part));
        !hides(self, other) && !hides(other, self)
    }
}

const NOTHING: fn(&mut Lab) = |_| {};

const HEALTHY: Fault = Fault {
    name: "",
    check: "",
    about: "",
    also: &[],
    prepare: NOTHING,
    plant: NOTHING,
    link_comes_up: true,
    needs: &[],
    breaks: &[],
};

/// A conversation shows in the flow table.
const FLOWS: &[&str] = &["link", "traffic", "fast", "flows", "lan", "routes of hosts"];

/// All of them.
pub(crate) fn all() -> Vec<&'static Fault> {
    let all = [
        forwarding::FAULTS,
        speed::FAULTS,
        ways::FAULTS,
        setup::FAULTS,
    ];
    all.into_iter().flatten().collect()
}
