//! Two sites whose first gateway the doctor looks at.

use std::process::{Command, Stdio};
use std::time::Duration;

use vm_tests::api::{DoctorReport, LinkState};
use vm_tests::config::Config;
use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::process::ProcessGuard;
use vm_tests::topology::{Builder, Family, Site, Topology, Wan};
use vm_tests::wait;

use super::faults::Fault;

const LIMIT: Duration = Duration::from_secs(20);

/// Where a command runs.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    NearHost,
    FarHost,
}

/// The lab. The first gateway is the patient.
pub(crate) struct Lab {
    // Processes end before their namespaces go.
    background: Vec<ProcessGuard>,
    gateways: Vec<Crossway>,
    pub(crate) plans: Vec<GatewayPlan>,
    /// Words before the patient's command.
    pub(crate) wrapper: &'static [&'static str],
    pub(crate) topology: Topology,
}

impl Lab {
    /// With what faults change before the start. Links are up, but for those that a fault keeps down.
    pub(crate) fn start(faults: &[&Fault]) -> Self {
        let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
        // The cables of a topology are without, so that every packet shows as it is on a wire.
        let patient = &topology.sites[0].gateway;
        patient.run("ethtool -K lan0 tso on").unwrap();
        patient
            .run("ethtool -K wan0 tx-udp-segmentation on")
            .unwrap();
        let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        let mut lab = Self {
            background: Vec::new(),
            gateways: Vec::new(),
            plans,
            wrapper: &[],
            topology,
        };
        for fault in faults {
            (fault.prepare)(&mut lab);
        }
        for (index, plan) in lab.plans.iter().enumerate() {
            let mut gateway = Crossway::prepare(&lab.topology, plan).unwrap();
            if index == 0 {
                gateway.set_wrapper(lab.wrapper);
            }
            gateway.start_again().unwrap();
            lab.gateways.push(gateway);
        }
        if faults.iter().all(|fault| fault.link_comes_up) {
            wait::until("the link", LIMIT, || {
                let links = lab.gateways[0].links().ok()?;
                let up = links.iter().all(|link| link.state == LinkState::Up);
                up.then_some(())
            })
            .unwrap();
        }
        lab
    }

    /// The patient.
    pub(crate) fn gateway(&mut self) -> &mut Crossway {
        &mut self.gateways[0]
    }

    /// The far gateway.
    pub(crate) fn far_gateway(&mut self) -> &mut Crossway {
        &mut self.gateways[1]
    }

    /// The patient's namespace.
    pub(crate) fn netns(&self) -> &Netns {
        &self.topology.sites[0].gateway
    }

    pub(crate) fn near(&self) -> &Site {
        &self.topology.sites[0]
    }

    pub(crate) fn far(&self) -> &Site {
        &self.topology.sites[1]
    }

    /// Name of the patient's TUN.
    pub(crate) fn tun(&self) -> String {
        self.gateways[0].status().unwrap().tun.name
    }

    /// Changes the patient's file; nobody is told.
    pub(crate) fn change(&mut self, change: impl Fn(&mut Config) + Send + Sync + 'static) {
        self.plans[0].configure(change);
        let plan = self.plans[0].clone();
        self.gateways[0].write_config(&plan).unwrap();
    }

    /// Keeps a command running on a host.
    pub(crate) fn keep(&mut self, name: &str, place: Place, words: &[&str]) {
        let netns = match place {
            Place::NearHost => &self.near().host,
            Place::FarHost => &self.far().host,
        };
        let log = self.topology.directory().join(format!("{name}.log"));
        let (program, words) = words.split_first().unwrap();
        let guard = netns.spawn(name, program, words, &log).unwrap();
        self.background.push(guard);
    }

    /// What the doctor says of the patient, with its exit code.
    pub(crate) fn examine(&self) -> (i32, DoctorReport) {
        let name = self.gateways[0].name();
        let (code, report) = examine(self.netns(), &["--gateway", name, "doctor"]);
        (code, report.expect("a report"))
    }
}

/// Runs the doctor in a namespace; the report if it gave one.
pub(crate) fn examine(netns: &Netns, words: &[&str]) -> (i32, Option<DoctorReport>) {
    let mut command: Command = netns.command(crossway::binary().to_str().unwrap());
    let output = command
        .args(words)
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code().expect("an exit code");
    let report = serde_json::from_str(&text).ok();
    if report.is_none() {
        println!("note: {}", String::from_utf8_lossy(&output.stderr));
    }
    (code, report)
}
