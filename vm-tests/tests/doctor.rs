//! `crossway doctor` names faults that are planted, each alone and two at once, and finds none in a healthy lab.
//!
//! ```text
//!   host a ── gateway a with the faults ── router ── gateway b ── host b
//! ```
//!
//! Of the pairs a few are tried; all of them, which takes half an hour, with `CROSSWAY_DOCTOR_PAIRS=all`, or a number of
//! them. `CROSSWAY_DOCTOR_SEED=N` chooses others, and `CROSSWAY_DOCTOR_FAULT=NAME` tries one fault alone.

mod doctor {
    pub(crate) mod faults;
    pub(crate) mod lab;
}

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use doctor::faults::{self, Fault};
use doctor::lab::{Lab, examine};
use vm_tests::api::{DoctorReport, Finding, Severity};
use vm_tests::crossway;
use vm_tests::wait;

/// The doctor takes a second or two, and a link that loses its far end half a minute to be down.
const LIMIT: Duration = Duration::from_mins(1);
/// Pairs of a usual run.
const PAIRS: usize = 6;

#[test]
fn a_healthy_gateway_has_nothing() {
    let lab = Lab::start(&[]);
    let (code, report) = lab.examine();
    assert!(
        report.running && report.not_checked.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        (code, words(&own(&report))),
        (0, BTreeSet::new()),
        "{report:?}"
    );
}

#[test]
fn each_fault_is_named() {
    let only = env::var("CROSSWAY_DOCTOR_FAULT").unwrap_or_default();
    let all = faults::all().into_iter();
    let wanted = all.filter(|fault| fault.name.contains(&only));
    all_named(wanted.map(|fault| vec![fault]));
}

#[test]
fn two_faults_at_once_are_both_named() {
    let seed = env::var("CROSSWAY_DOCTOR_SEED").unwrap_or_else(|_| "1".to_owned());
    let seed: u64 = seed.parse().unwrap();
    let mut pairs = Vec::new();
    let all = faults::all();
    for (index, one) in all.iter().copied().enumerate() {
        let others = all[index + 1..].iter().copied();
        pairs.extend(
            others
                .filter(|other| one.goes_with(other))
                .map(|other| (one, other)),
        );
    }
    pairs.shuffle(&mut StdRng::seed_from_u64(seed));
    let wanted = match env::var("CROSSWAY_DOCTOR_PAIRS") {
        Ok(all) if all == "all" => pairs.len(),
        Ok(number) => number.parse().unwrap(),
        Err(_) => PAIRS,
    };
    let pairs = pairs.into_iter().take(wanted);
    all_named(pairs.map(|(one, other)| vec![one, other]));
}

/// Tries each in a lab of its own, two at a time, for a lab waits more than it works. Fails for all that went wrong at
/// once.
fn all_named<'a>(labs: impl Iterator<Item = Vec<&'a Fault>> + Send) {
    let (labs, failed) = (Mutex::new(labs), Mutex::new(Vec::new()));
    let work = || {
        // The lock is let go before the lab starts.
        let next = || labs.lock().unwrap().next();
        while let Some(faults) = next() {
            if let Err(error) = named(&faults) {
                failed.lock().unwrap().push(error);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Plants faults in a lab of their own. The doctor must name each of them and nothing else that matters.
fn named(faults: &[&Fault]) -> Result<(), String> {
    let what = faults.iter().map(|fault| fault.name);
    let what = what.collect::<Vec<_>>().join(" and ");
    let start = wait::now();
    let mut lab = Lab::start(faults);
    for fault in faults {
        (fault.plant)(&mut lab);
    }
    let mut last = None;
    let found = wait::until(&format!("{what} to be named"), LIMIT, || {
        let (code, report) = lab.examine();
        let all = faults.iter().all(|fault| fault.is_in(&report));
        last = Some((code, report));
        all.then_some(())
    });
    let (code, report) = last.expect("a report");
    found.map_err(|error| format!("{error:#}: {report:#?}"))?;
    println!("note: {what}: {:.1} s", start.elapsed().as_secs_f64());
    let expected: BTreeSet<String> = faults
        .iter()
        .flat_map(|fault| fault.checks())
        .map(str::to_owned)
        .collect();
    let ill = own(&report).into_iter();
    let ill: Vec<Finding> = ill
        .filter(|finding| finding.severity != Severity::Note)
        .collect();
    let words = words(&ill);
    let strange: Vec<&String> = words.difference(&expected).collect();
    if !strange.is_empty() {
        return Err(format!("{what}: {strange:?} beside it in {report:#?}"));
    }
    if code != i32::from(!ill.is_empty()) {
        return Err(format!("{what}: exit code {code} with {report:#?}"));
    }
    let is_whole = |finding: &Finding| {
        let texts = [&finding.what, &finding.why, &finding.mend, &finding.subject];
        texts.iter().all(|text| !text.is_empty())
    };
    match report.findings.iter().find(|finding| !is_whole(finding)) {
        Some(finding) => Err(format!("{what}: {finding:?} does not say all")),
        None => Ok(()),
    }
}

/// What is found, but for what this machine has by itself: nothing need keep its clock right.
fn own(report: &DoctorReport) -> Vec<Finding> {
    let findings = report.findings.iter();
    let own = findings.filter(|finding| finding.check != "clock-unsynchronised");
    own.cloned().collect()
}

fn words(findings: &[Finding]) -> BTreeSet<String> {
    findings
        .iter()
        .map(|finding| finding.check.clone())
        .collect()
}

#[test]
fn a_gateway_that_does_not_run_is_looked_at_by_its_file() {
    let mut lab = Lab::start(&[]);
    lab.gateway().stop().unwrap();
    let file = lab.gateway().config().to_owned();
    let look = |lab: &Lab| examine(lab.netns(), &["doctor", "--config", file.to_str().unwrap()]);
    let (code, report) = look(&lab);
    let report = report.unwrap();
    assert!(!report.running);
    assert_eq!(
        (code, words(&own(&report))),
        (0, BTreeSet::new()),
        "{report:?}"
    );

    let netns = lab.netns();
    let port = netns
        .enter(|| UdpSocket::bind("[::]:51820").unwrap())
        .unwrap();
    netns.ip("link set lan0 down").unwrap();
    netns.run("nft add table inet beside").unwrap();
    for chain in [
        "nft add chain inet beside forward { type filter hook forward priority 0 ; policy drop ; }",
        "nft add chain inet beside input { type filter hook input priority 0 ; policy drop ; }",
    ] {
        netns.run(chain).unwrap();
    }
    lab.change(|config| {
        config.gateway.wan.push(vm_tests::config::Wan::new("ppp0"));
    });
    let (code, report) = look(&lab);
    let report = report.unwrap();
    let expected = ["firewall-forward", "firewall-input", "host", "port"];
    assert_eq!(code, 1);
    assert_eq!(
        words(&own(&report)),
        expected.map(str::to_owned).into(),
        "{report:#?}"
    );
    let idle = report
        .findings
        .iter()
        .filter(|finding| finding.check == "host");
    let mut idle: Vec<&str> = idle.map(|finding| finding.subject.as_str()).collect();
    idle.sort_unstable();
    assert_eq!(idle, ["lan0", "ppp0"]);
    drop(port);
}

#[test]
fn without_a_gateway_or_a_file_that_can_be_read_the_command_line_is_wrong() {
    let mut lab = Lab::start(&[]);
    // Not its namespace.
    let output = Command::new(crossway::binary())
        .args(["--gateway", lab.gateway().name(), "doctor"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another network namespace"), "{said}");

    lab.gateway().stop().unwrap();
    let name = lab.gateway().name().to_owned();
    let (code, report) = examine(lab.netns(), &["--gateway", &name, "doctor"]);
    assert_eq!((code, report.is_none()), (2, true));
    let file = lab.gateway().config().to_owned();
    fs::write(&file, "[gateway]\nnme = \"a\"\n").unwrap();
    let (code, report) = examine(lab.netns(), &["doctor", "--config", file.to_str().unwrap()]);
    assert_eq!((code, report.is_none()), (2, true));
}
