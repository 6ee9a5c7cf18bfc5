//! What keeps the host from forwarding: sysctls and firewalls.

use vm_tests::topology::Family;

use super::{Fault, HEALTHY};
use crate::doctor::lab::{Lab, Place};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "sysctls that cannot be written",
        check: "forwarding",
        about: "net.ipv4.conf.lan0.forwarding",
        also: &["not-in-force", "host"],
        prepare: |lab| lab.wrapper = &["unshare", "--mount"],
        plant: |lab| {
            // For the agent alone, which would set it back.
            let pid = lab.gateway().pid().unwrap();
            for line in [
                "mount --bind /proc/sys /proc/sys",
                "mount -o remount,bind,ro /proc/sys",
            ] {
                let line = format!("nsenter --mount --target {pid} {line}");
                lab.netns().run(&line).unwrap();
            }
            let forwarding = "net/ipv4/conf/lan0/forwarding";
            lab.netns().set_sysctl(forwarding, "0").unwrap();
        },
        needs: &["file"],
        breaks: &["traffic", "sysctls"],
        ..HEALTHY
    },
    Fault {
        name: "the strict reverse path check",
        check: "rp-filter",
        about: "lan0",
        plant: |lab| {
            let near = lab.near();
            near.gateway
                .set_sysctl("net/ipv4/conf/lan0/rp_filter", "1")
                .unwrap();
            near.host.ip("address add 192.0.2.99/32 dev eth0").unwrap();
            // The gateway would not even answer ARP to that address.
            near.host
                .set_sysctl("net/ipv4/conf/eth0/arp_announce", "2")
                .unwrap();
            let to = lab.far().host_address(Family::V4).to_string();
            let words = ["ping", "-q", "-i", "0.1", "-I", "192.0.2.99", &to];
            lab.keep("ping", Place::NearHost, &words);
        },
        // What leads nowhere is refused before its source is looked at.
        needs: &["file", "lan", "link", "sysctls", "routes of hosts"],
        ..HEALTHY
    },
    Fault {
        name: "a FORWARD chain that drops",
        check: "firewall-forward",
        about: "inet one forward",
        plant: |lab| chain(lab, "one", "forward", "forward", "iifname lan0 drop"),
        breaks: &["stack"],
        ..HEALTHY
    },
    Fault {
        name: "a FORWARD chain that drops what is invalid",
        check: "firewall-forward",
        about: "inet two forward",
        plant: |lab| chain(lab, "two", "forward", "forward", "ct state invalid drop"),
        needs: &["fast"],
        ..HEALTHY
    },
    Fault {
        name: "an INPUT chain that drops",
        check: "firewall-input",
        about: "inet three input",
        also: &["link-down"],
        plant: |lab| chain(lab, "three", "input", "input", "udp dport 51820 drop"),
        needs: &["file"],
        breaks: &["link", "heard"],
        ..HEALTHY
    },
    Fault {
        name: "an OUTPUT chain that drops",
        check: "firewall-output",
        about: "inet four output",
        also: &["link-down"],
        plant: |lab| {
            chain(
                lab,
                "four",
                "output",
                "output",
                "oifname wan0 meta l4proto udp drop",
            );
        },
        needs: &["file"],
        breaks: &["link"],
        ..HEALTHY
    },
    Fault {
        name: "a rule of the older iptables in FORWARD",
        check: "firewall-forward",
        about: "filter FORWARD (IPv4)",
        plant: |lab| {
            let netns = lab.netns();
            netns.run("iptables-legacy -N inner").unwrap();
            netns
                .run("iptables-legacy -A FORWARD ! -i wan0 -j inner")
                .unwrap();
            netns
                .run("iptables-legacy -A inner -i lan+ -j DROP")
                .unwrap();
        },
        breaks: &["stack"],
        ..HEALTHY
    },
    Fault {
        name: "the policy of the older iptables",
        check: "firewall-input",
        about: "filter INPUT (IPv4)",
        also: &["link-down"],
        plant: |lab| {
            let netns = lab.netns();
            netns
                .run("iptables-legacy -A INPUT -p tcp -j ACCEPT")
                .unwrap();
            netns
                .run("iptables-legacy -A INPUT -p icmp -j ACCEPT")
                .unwrap();
            netns.run("iptables-legacy -P INPUT DROP").unwrap();
        },
        needs: &["file"],
        breaks: &["link", "heard"],
        ..HEALTHY
    },
];

/// A chain of nftables at a hook of IP, with one rule.
fn chain(lab: &mut Lab, table: &str, name: &str, hook: &str, rule: &str) {
    let netns = lab.netns();
    for line in [
        format!("nft add table inet {table}"),
        format!("nft add chain inet {table} {name} {{ type filter hook {hook} priority 0 ; }}"),
        format!("nft add rule inet {table} {name} {rule}"),
    ] {
        netns.run(&line).unwrap();
    }
}
