//! One gateway's status as text. The field names are those of `crossway ... --json`; one that is
//! missing is shown as `-`, so that a status of any version can be read.

use std::fmt::Write as _;

use serde_json::Value;
use vm_tests::crossway;

use super::table::{bytes, columns, rate, text};

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
    let status = crossway::query(gateway, &["status"])?;
    let flows = crossway::query(gateway, &["flows", "--top", FLOWS])?;
    let drops = crossway::query(gateway, &["drops"])?;
    Ok([
        heading(gateway, &status),
        sites(&status),
        links(&status),
        top_flows(&flows),
        counts("dropped", &drops["drops"]),
        counts("left to the kernel stack", &drops["to_stack"]),
        "\n".to_owned(),
    ]
    .concat())
}

fn heading(gateway: &str, status: &Value) -> String {
    let fast_path = match status["fast_path"].as_bool() {
        Some(true) => "eBPF",
        Some(false) => "kernel stack",
        None => "-",
    };
    let mut page = format!(
        "== {gateway}   TUN {} MTU {}   fast path: {fast_path}   memory: {}\n",
        text(&status["tun"], "name"),
        text(&status["tun"], "mtu_bytes"),
        bytes(status, "memory_rss_bytes"),
    );
    for warning in rows(&status["warnings"]) {
        let _ = writeln!(page, "  warning: {}", warning.as_str().unwrap_or_default());
    }
    page
}

fn sites(status: &Value) -> String {
    let lines = rows(&status["sites"]).iter().map(|site| {
        vec![
            text(site, "name"),
            text(site, "state"),
            rate(site, "to_site_bytes_per_second"),
            rate(site, "from_site_bytes_per_second"),
            bytes(site, "to_site_bytes"),
            bytes(site, "from_site_bytes"),
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

fn links(status: &Value) -> String {
    let links = rows(&status["sites"])
        .iter()
        .flat_map(|site| rows(&site["links"]));
    let lines = links.map(|link| {
        vec![
            text(link, "gateway"),
            text(link, "state"),
            text(link, "endpoint"),
            text(link, "last_handshake_seconds") + " s ago",
            bytes(link, "tx_bytes"),
            bytes(link, "rx_bytes"),
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

fn top_flows(flows: &Value) -> String {
    let lines = rows(&flows["flows"]).iter().map(|flow| {
        vec![
            text(flow, "protocol"),
            end(flow, "local"),
            end(flow, "remote"),
            rate(flow, "to_site_bytes_per_second"),
            rate(flow, "from_site_bytes_per_second"),
            bytes(flow, "to_site_bytes"),
            bytes(flow, "from_site_bytes"),
            text(flow, "age_seconds") + " s",
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

/// Address and port of one end of a flow.
fn end(flow: &Value, side: &str) -> String {
    let address = text(flow, side);
    let port = text(flow, &format!("{side}_port"));
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// Reasons that happened, on one line.
fn counts(title: &str, reasons: &Value) -> String {
    let happened: Vec<String> = rows(reasons)
        .iter()
        .filter(|reason| reason["packets"].as_u64() != Some(0))
        .map(|reason| format!("{} {}", text(reason, "reason"), text(reason, "packets")))
        .collect();
    let list = if happened.is_empty() {
        "nothing".to_owned()
    } else {
        happened.join(", ")
    };
    format!("  {title}: {list}\n")
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_reasons_that_happened_are_shown() {
        let drops = json!([
            {"reason": "wan-bad-type", "packets": 3, "bytes": 99},
            {"reason": "no-route", "packets": 0, "bytes": 0},
        ]);
        assert_eq!(counts("dropped", &drops), "  dropped: wan-bad-type 3\n");
        assert_eq!(counts("dropped", &Value::Null), "  dropped: nothing\n");
    }

    #[test]
    fn a_status_without_a_known_field_is_still_a_page() {
        let status = json!({"sites": [{"name": "b", "links": [{}]}]});
        let page = heading("gw", &status) + &sites(&status) + &links(&status);
        assert!(page.contains("  b "), "{page}");
    }
}
