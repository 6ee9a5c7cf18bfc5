use super::super::virtual_mac::WantedVirtualMac;
use super::*;
use crossway_types::ids::IfIndex;

const TUN: &str = "cw-a";

/// A host with a LAN, a WAN that takes router advertisements, and the TUN.
fn host(force_forwarding: bool) -> Facts {
    let interfaces = ["all", "default", "lan", "wan", TUN].map(str::to_owned);
    let values = relevant(&interfaces, &interfaces).filter_map(|key| {
        let value = match key.name {
            Name::ForceForwarding if !force_forwarding => return None,
            Name::AcceptRa | Name::SendRedirects | Name::AcceptRedirects => "1",
            _ => "0",
        };
        Some((key, value.to_owned()))
    });
    Facts {
        values: values.collect(),
    }
}

fn need(lan: &[String]) -> Need<'_> {
    Need {
        tun: TUN,
        lan,
        wan: &[],
        bound: &[],
        ipv6: false,
        virtual_macs: &[],
    }
}

fn shown(changes: &[SysctlChange]) -> Vec<String> {
    let mut shown: Vec<_> = changes
        .iter()
        .map(|change| format!("{}={}", change.key, change.set))
        .collect();
    shown.sort();
    shown
}

#[test]
fn ipv4_needs_only_the_lans_and_the_tun() {
    let lan = ["lan".to_owned()];
    let plan = plan(need(&lan), &host(true));
    let expected = [
        "net.ipv4.conf.cw-a.forwarding=1",
        "net.ipv4.conf.lan.forwarding=1",
        "net.ipv6.conf.cw-a.addr_gen_mode=1",
    ];
    let mut shown = shown(&plan.lasting);
    shown.retain(|line| !line.contains("redirects"));
    assert_eq!(shown, expected);
    assert!(plan.meanwhile.is_empty());
}

#[test]
fn what_is_as_wanted_is_not_touched() {
    let lan = ["lan".to_owned()];
    let mut facts = host(true);
    let key = Key::ipv4("lan", Name::Forwarding);
    facts.values.insert(key, "1".to_owned());
    let plan = plan(need(&lan), &facts);
    assert!(!shown(&plan.lasting).contains(&"net.ipv4.conf.lan.forwarding=1".to_owned()));
}

#[test]
fn a_strict_reverse_path_check_becomes_loose_on_a_wan_with_links_of_its_own() {
    let mut facts = host(true);
    let wan = ["wan".to_owned()];
    let line = "net.ipv4.conf.wan.rp_filter=2".to_owned();
    let bound = || Need {
        bound: &wan,
        ..need(&[])
    };
    assert!(!shown(&plan(bound(), &facts).lasting).contains(&line));
    facts
        .values
        .insert(Key::ipv4("wan", Name::RpFilter), "1".to_owned());
    assert!(shown(&plan(bound(), &facts).lasting).contains(&line));
    assert!(!shown(&plan(need(&[]), &facts).lasting).contains(&line));
}

#[test]
fn a_strict_reverse_path_check_becomes_loose_on_the_tun() {
    let mut facts = host(true);
    let key = Key::ipv4("all", Name::RpFilter);
    facts.values.insert(key.clone(), "1".to_owned());
    let line = "net.ipv4.conf.cw-a.rp_filter=2".to_owned();
    assert!(shown(&plan(need(&[]), &facts).lasting).contains(&line));
    facts.values.insert(key, "2".to_owned());
    assert!(!shown(&plan(need(&[]), &facts).lasting).contains(&line));
}

#[test]
fn redirects_are_taken_from_nobody_and_other_interfaces_keep_theirs() {
    let mut facts = host(true);
    let default = Key::ipv4("default", Name::AcceptRedirects);
    facts.values.insert(default, "0".to_owned());
    let (lan, wan) = (["lan".to_owned()], ["wan".to_owned()]);
    let need = Need {
        wan: &wan,
        ..need(&lan)
    };
    let mut lines = shown(&plan(need, &facts).lasting);
    lines.retain(|line| line.contains("accept_redirects"));
    let expected = [
        "net.ipv4.conf.all.accept_redirects=0",
        "net.ipv4.conf.cw-a.accept_redirects=0",
        // It was on because of `all`.
        "net.ipv4.conf.default.accept_redirects=1",
        "net.ipv4.conf.lan.accept_redirects=0",
        "net.ipv4.conf.wan.accept_redirects=0",
        "net.ipv6.conf.cw-a.accept_redirects=0",
        "net.ipv6.conf.lan.accept_redirects=0",
        "net.ipv6.conf.wan.accept_redirects=0",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn no_redirects_leave_by_the_tunnel_and_other_interfaces_keep_theirs() {
    let mut facts = host(true);
    let wan = Key::ipv4("wan", Name::SendRedirects);
    facts.values.insert(wan, "0".to_owned());
    let plan = plan(need(&[]), &facts);
    let redirects: Vec<_> = shown(&plan.lasting)
        .into_iter()
        .filter(|line| line.contains("send_redirects"))
        .collect();
    let expected = [
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.cw-a.send_redirects=0",
        "net.ipv4.conf.wan.send_redirects=1",
    ];
    assert_eq!(redirects, expected);
}

#[test]
fn ipv6_is_forwarded_on_single_interfaces_where_the_kernel_can() {
    let lan = ["lan".to_owned()];
    let need = Need {
        ipv6: true,
        ..need(&lan)
    };
    let plan = plan(need, &host(true));
    let lines = shown(&plan.lasting);
    for line in [
        "net.ipv6.conf.lan.forwarding=1",
        "net.ipv6.conf.lan.force_forwarding=1",
        "net.ipv6.conf.lan.accept_ra=2",
        "net.ipv6.conf.cw-a.forwarding=1",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("ipv6.conf.all.")));
    assert!(!lines.iter().any(|line| line.contains(".wan.")));
    assert_eq!(shown(&plan.meanwhile), ["net.ipv6.conf.wan.accept_ra=2"]);
}

#[test]
fn an_older_kernel_forwards_ipv6_everywhere_and_every_value_is_remembered() {
    let lan = ["lan".to_owned()];
    let need = Need {
        ipv6: true,
        ..need(&lan)
    };
    let mut facts = host(false);
    let wan = Key::ipv6("wan", Name::Forwarding);
    facts.values.insert(wan, "1".to_owned());
    let plan = plan(need, &facts);
    let lines = shown(&plan.lasting);
    for interface in ["all", "default", "lan", "wan", TUN] {
        let line = format!("net.ipv6.conf.{interface}.forwarding=1");
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
    let lan = "net.ipv6.conf.lan.accept_ra=2".to_owned();
    let wan = "net.ipv6.conf.wan.accept_ra=2".to_owned();
    assert!(lines.contains(&lan));
    assert!(!lines.contains(&wan), "a router took none before either");
    assert!(plan.meanwhile.is_empty());
}

#[test]
fn only_the_device_with_the_virtual_mac_answers_for_the_virtual_addresses() {
    let lan = ["lan".to_owned()];
    let [of_ipv4, of_ipv6] =
        [address::Family::Ipv4, address::Family::Ipv6].map(|family| VirtualMac {
            wanted: WantedVirtualMac {
                lan: "lan".to_owned(),
                family,
                id: 51,
            },
            name: format!("vr{}", &family.as_str()[2..]),
            index: IfIndex(9),
            lan_index: IfIndex(2),
        });
    let devices = [of_ipv4, of_ipv6];
    let interfaces = ["all", "default", "lan", "wan", TUN, "vrv4", "vrv6"].map(str::to_owned);
    let values = relevant(&interfaces, &interfaces).map(|key| (key, "0".to_owned()));
    let mut facts = Facts {
        values: values.collect(),
    };
    let need = Need {
        ipv6: true,
        virtual_macs: &devices,
        ..need(&lan)
    };
    let lines = shown(&plan(need, &facts).lasting);
    for line in [
        "net.ipv4.conf.lan.arp_announce=2",
        "net.ipv4.conf.lan.arp_ignore=1",
        "net.ipv4.conf.vrv4.arp_ignore=1",
        "net.ipv4.conf.vrv4.forwarding=1",
        "net.ipv4.conf.vrv6.arp_ignore=8",
        "net.ipv6.conf.vrv6.force_forwarding=1",
        "net.ipv6.conf.vrv6.forwarding=1",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
    let of_wan = lines.iter().filter(|line| line.contains(".wan."));
    assert_eq!(of_wan.count(), 0, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("rp_filter")));

    let strict = Key::ipv4("all", Name::RpFilter);
    facts.values.insert(strict, "1".to_owned());
    let lines = shown(&plan(need, &facts).lasting);
    assert!(lines.contains(&"net.ipv4.conf.vrv4.rp_filter=2".to_owned()));
}
