//! keepalived as the mate: the other implementation of VRRP on the same LAN.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::process::ProcessGuard;
use vm_tests::shared_lan::{FAR, SharedLan, VIRTUAL};
use vm_tests::{traffic, wait};

use super::{
    MACS, UP, address, neighbours, plans, routers, states, wait_for_priority, wait_for_state,
};

#[test]
fn keepalived_is_the_mate_of_either_role() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(100), None]).unwrap();
    let _b = Crossway::start(&lan.topology, &plans[2]).unwrap();
    let mut a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    wait_for_priority(&a);
    let mate = &lan.topology.site("c").gateway;

    // As the backup of a lower priority it leaves us the LAN, and takes it at once when we stop.
    let mut backup = Keepalived::start(&lan, 50);
    backup.waits_for("Entering BACKUP STATE", 2);
    wait::pace(Duration::from_secs(1));
    assert_eq!(states(&a), ["master", "master"], "{}", backup.log());
    assert!(!has_virtual_address(mate));
    assert_eq!(neighbours(lan.host()), MACS);
    assert!(a.stop().unwrap().success());
    backup.waits_for("Entering MASTER STATE", 2);
    assert!(has_virtual_address(mate));
    assert_eq!(neighbours(lan.host()), MACS, "{}", backup.log());

    // We come back with the higher priority, and it gives way.
    a.start_again().unwrap();
    wait_for_state(&a, "master");
    backup.waits_for("Entering BACKUP STATE", 4);
    assert_eq!(neighbours(lan.host()), MACS);
    backup.stop();

    // As a master of higher priority it is obeyed; when it stops, we take over.
    let mut master = Keepalived::start(&lan, 200);
    master.waits_for("Entering MASTER STATE", 2);
    wait_for_state(&a, "backup");
    let router = &routers(&a)[0];
    assert_eq!(
        router.master_address,
        Some("10.1.0.2".parse().unwrap()),
        "{router:?}"
    );
    assert_eq!(router.master_priority, Some(200), "{router:?}");
    assert_eq!(router.warnings.len(), 0, "{router:?}");
    assert_eq!(neighbours(lan.host()), MACS, "{}", master.log());
    master.stop();
    wait_for_state(&a, "master");
    let why = &routers(&a)[0].why;
    assert!(why.contains("stopped and released"), "{why}");
    for far in FAR {
        traffic::wait_for_ping(lan.host(), address(far), UP).unwrap();
    }
}

#[test]
fn a_mate_with_version_2_or_other_addresses_is_named_by_status() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(100), None]).unwrap();
    let a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    let config = KEEPALIVED
        .replace("vrrp_version 3", "vrrp_version 2")
        .replace("advert_int 0.2", "advert_int 1")
        .replace("PRIORITY", "200")
        .replace(VIRTUAL[2], "2001:db8:1::253");
    let mate = Keepalived::start_with(&lan, &config);
    wait::until("the warnings", UP, || {
        let warnings = a.status().unwrap().warnings.join("\n");
        let version = warnings.contains("VRRP version 2: set the other router to version 3");
        let addresses = warnings.contains("advertises other addresses");
        (version && addresses).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}\n{}", a.log(), mate.log()));
}

/// Both families with virtual MACs, as a hand-made gateway would have them.
const KEEPALIVED: &str = "
global_defs {
    vrrp_version 3
}
vrrp_instance v4 {
    state BACKUP
    interface lan0
    use_vmac ka4
    virtual_router_id 51
    priority PRIORITY
    advert_int 0.2
    virtual_ipaddress {
        10.1.0.254
    }
}
vrrp_instance v6 {
    state BACKUP
    interface lan0
    use_vmac ka6
    virtual_router_id 51
    priority PRIORITY
    advert_int 0.2
    virtual_ipaddress {
        fe80::254/64
        2001:db8:1::254
    }
}
";

/// keepalived on gateway c.
struct Keepalived(ProcessGuard);

impl Keepalived {
    fn start(lan: &SharedLan, priority: u8) -> Self {
        Self::start_with(lan, &KEEPALIVED.replace("PRIORITY", &priority.to_string()))
    }

    fn start_with(lan: &SharedLan, config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| {
            let directory = lan.topology.directory();
            directory.join(format!("keepalived-{number}.{kind}"))
        };
        std::fs::write(file("conf"), config).unwrap();
        let words = |kind| file(kind).display().to_string();
        let (config, pid, child) = (words("conf"), words("pid"), words("child"));
        let arguments = [
            "-n", "-l", "-D", "-P", "-f", &config, "-p", &pid, "-r", &child,
        ];
        let gateway = &lan.topology.site("c").gateway;
        // Its notes on use_vmac leave it to the user: else all its interfaces answer for what is on the
        // virtual MAC, and ask for hosts in its name.
        for (setting, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let key = format!("net/ipv4/conf/all/{setting}");
            gateway.set_sysctl(&key, value).unwrap();
        }
        let log = file("log");
        let process = gateway.spawn("keepalived", "keepalived", &arguments, &log);
        Self(process.unwrap())
    }

    /// Until so many lines of its log hold `words`.
    fn waits_for(&mut self, words: &str, times: usize) {
        let log = self.0.output();
        let result = wait::until(words, UP, || {
            let log = self.0.output();
            (log.matches(words).count() >= times).then_some(())
        });
        result.unwrap_or_else(|error| panic!("{error}: {log}\nnow: {}", self.log()));
    }

    fn log(&self) -> String {
        self.0.output()
    }

    fn stop(mut self) {
        self.0.terminate(UP).unwrap();
    }
}

fn has_virtual_address(netns: &Netns) -> bool {
    netns.ip("address").unwrap().contains("inet 10.1.0.254/")
}
