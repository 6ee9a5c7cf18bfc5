//! One gateway's status as text.

use std::fmt::Write as _;

use vm_tests::api::{DropsReply, Flow, FlowsReply, Link, Site, Status};
use vm_tests::{crossway, protocol};

use super::table::{bytes, columns, rate};

/// Flows shown, those with the most traffic.
const FLOWS: &str = "5";

/// Sites, links, flows and drops of a gateway.
pub(super) fn of(gateway: &str) -> String {
    match ask(gateway) {
        Ok(page) => page,
        Err(error) => format!("== {gateway} does not answer: {error:#}\n\n"),
    }
}

fn ask(gateway: &str) -> anyhow::Result<String> {
    let status: Status = crossway::ask(gateway, &["status"])?;
    let flows: FlowsReply = crossway::ask(gateway, &["flows", "--top", FLOWS])?;
    let DropsReply { drops, to_stack } = crossway::ask(gateway, &["drops"])?;
    let dropped = drops.iter().map(|count| (&count.reason, count.packets));
    let to_stack = to_stack.iter().map(|count| (&count.reason, count.packets));
    Ok([
        heading(gateway, &status),
        sites(&status.sites),
        links(status.sites.iter().flat_map(|site| &site.links)),
        top_flows(&flows),
        counts("dropped", dropped),
        counts("left to the kernel stack", to_stack),
        "\n".to_owned(),
    ]
    .concat())
}

fn heading(gateway: &str, status: &Status) -> String {
    let fast_path = if status.fast_path {
        "eBPF"
    } else {
        "kernel stack"
    };
    let mut page = format!(
        "== {gateway}   TUN {} MTU {}   fast path: {fast_path}   memory: {}\n",
        status.tun.name,
        status.tun.mtu_bytes,
        bytes(status.memory_rss_bytes),
    );
    for warning in &status.warnings {
        let _ = writeln!(page, "  warning: {warning}");
    }
    page
}

fn sites(sites: &[Site]) -> String {
    let lines = sites.iter().map(|site| {
        vec![
            site.name.clone(),
            site.state.as_str().to_owned(),
            rate(site.traffic.to_site_bytes_per_second),
            rate(site.traffic.from_site_bytes_per_second),
            bytes(site.traffic.to_site_bytes),
            bytes(site.traffic.from_site_bytes),
        ]
    });
    columns(
        &[
            "site",
            "state",
            "rate to",
            "rate from",
            "total to",
            "total from",
        ],
        &lines.collect::<Vec<_>>(),
    )
}

fn links<'a>(links: impl Iterator<Item = &'a Link>) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let lines = links.map(|link| {
        let age = link.last_handshake_seconds;
        vec![
            link.gateway.clone(),
            link.state.as_str().to_owned(),
            or_dash(link.endpoint.clone()),
            or_dash(age.map(|seconds| format!("{seconds} s ago"))),
            bytes(link.tx_bytes),
            bytes(link.rx_bytes),
        ]
    });
    columns(
        &[
            "link to",
            "state",
            "endpoint",
            "handshake",
            "sent",
            "received",
        ],
        &lines.collect::<Vec<_>>(),
    )
}

fn top_flows(reply: &FlowsReply) -> String {
    let end = |flow: &Flow, address, port| protocol::end(flow.protocol_number, address, port);
    let lines = reply.flows.iter().map(|flow| {
        vec![
            flow.protocol.clone(),
            end(flow, flow.local, flow.local_port),
            end(flow, flow.remote, flow.remote_port),
            rate(flow.to_site_bytes_per_second),
            rate(flow.from_site_bytes_per_second),
            bytes(flow.to_site_bytes),
            bytes(flow.from_site_bytes),
            format!("{} s", flow.age_seconds),
        ]
    });
    columns(
        &[
            "flow",
            "here",
            "there",
            "rate to",
            "rate from",
            "total to",
            "total from",
            "age",
        ],
        &lines.collect::<Vec<_>>(),
    )
}

/// Reasons that happened, on one line.
fn counts<'a>(title: &str, reasons: impl Iterator<Item = (&'a String, u64)>) -> String {
    let happened: Vec<String> = reasons
        .filter(|(_, packets)| *packets > 0)
        .map(|(reason, packets)| format!("{reason} {packets}"))
        .collect();
    let list = if happened.is_empty() {
        "nothing".to_owned()
    } else {
        happened.join(", ")
    };
    format!("  {title}: {list}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_that_happened_are_shown() {
        let names = ["wan-bad-type".to_owned(), "no-route".to_owned()];
        let drops = || names.iter().zip([3, 0]);
        assert_eq!(counts("dropped", drops()), "  dropped: wan-bad-type 3\n");
        assert_eq!(counts("dropped", drops().skip(1)), "  dropped: nothing\n");
    }
}
