//! Its flows: those that live, and those that are over.

use crossway::control::message::{
    EndReason, EvictedFlows, FinishedFlow, FinishedRecord, Flow, FlowEnd, FlowPolicy, FlowVerdict,
    FlowsReply, FlowsRequest, RealEnds,
};
use crossway::export::recent::Recent;

/// Three flows, filtered, sorted and cut as a gateway does it.
pub(super) fn flows(request: &FlowsRequest) -> FlowsReply {
    let all = [
        flow(
            6,
            ("10.1.0.2", 40_000),
            ("10.2.0.9", 443),
            "paris",
            1_400_000_000,
        ),
        flow(
            58,
            ("2001:db8:1::2", 7),
            ("2001:db8:2::9", 7),
            "paris",
            6_400,
        ),
        flow(47, ("10.1.0.2", 0), ("10.3.0.9", 0), "rome", 999),
    ];
    let wanted = |flow: &Flow| request.filter.matches(&flow.view());
    let mut flows: Vec<Flow> = all.into_iter().filter(wanted).collect();
    let matched = flows.len() as u64;
    request.sort.keep_top(&mut flows, request.top);
    FlowsReply {
        flows,
        matched,
        present: 3,
        capacity: 262_144,
        evicted: 2,
        evicted_packets: 10,
        evicted_bytes: 14_000,
        removed_idle: 5,
        filter: request.filter.clone(),
        next: None,
    }
}

/// Two flows that are over, and what the kernel evicted.
pub(super) fn finished() -> Recent {
    let record = |end, protocol: u8, packets| {
        FinishedRecord::Flow(Box::new(FinishedFlow {
            end,
            protocol: crossway::control::protocol::name(protocol),
            protocol_number: protocol,
            local: "10.1.0.2".parse().unwrap(),
            local_port: 40_000,
            remote: "10.2.0.9".parse().unwrap(),
            remote_port: 443,
            site: "paris".to_owned(),
            links: vec!["paris-1".to_owned()],
            vnet: "default".to_owned(),
            to_site_packets: packets,
            to_site_bytes: 1_400 * packets,
            from_site_packets: 1,
            from_site_bytes: 60,
            first_seen_unix_milliseconds: 1_800_000_000_000,
            last_seen_unix_milliseconds: 1_800_000_075_250,
            tcp_flags: if protocol == 6 {
                "SAF/SAF".to_owned()
            } else {
                String::new()
            },
            policy: policy(protocol),
        }))
    };
    let mut recent = Recent::default();
    recent.extend(&[
        record(EndReason::Closed, 6, 1_000),
        record(EndReason::Pressure, 17, 2),
        FinishedRecord::Evicted(EvictedFlows {
            unix_milliseconds: 1_800_000_080_000,
            flows: 3,
            packets: 40,
            bytes: 56_000,
        }),
    ]);
    recent
}

fn flow(protocol: u8, local: (&str, u16), remote: (&str, u16), site: &str, bytes: u64) -> Flow {
    let tcp = protocol == 6;
    Flow {
        protocol: crossway::control::protocol::name(protocol),
        protocol_number: protocol,
        local: local.0.parse().unwrap(),
        local_port: local.1,
        remote: remote.0.parse().unwrap(),
        remote_port: remote.1,
        site: site.to_owned(),
        vnet: "default".to_owned(),
        to_site_packets: bytes / 1_400 + 1,
        to_site_bytes: bytes,
        from_site_packets: 3,
        from_site_bytes: 252,
        to_site_bytes_per_second: if tcp { 12_500_000 } else { 0 },
        from_site_bytes_per_second: 0,
        age_seconds: 75,
        idle_seconds: 0,
        tcp_flags: if tcp {
            "SAP/SA".to_owned()
        } else {
            String::new()
        },
        seen_here: true,
        policy: policy(protocol),
        real: RealEnds::default(),
    }
}

/// A rule lets TCP and GRE pass, and the shadow rules would not; they would let ICMP pass, which is denied.
fn policy(protocol: u8) -> FlowPolicy {
    let allowed = matches!(protocol, 6 | 47);
    let (verdict, shadow) = if allowed {
        (FlowVerdict::Allowed, FlowVerdict::Denied)
    } else {
        (FlowVerdict::Denied, FlowVerdict::Allowed)
    };
    FlowPolicy {
        verdict,
        rule: allowed.then(|| "erp".to_owned()),
        shadow_verdict: Some(shadow),
        shadow_rule: (!allowed).then(|| "shadow #2".to_owned()),
        opened_by: (protocol != 47).then_some(FlowEnd::Local),
    }
}
