//! Whether the tunnel's own datagrams pass the host's firewall. Of what is forwarded the running gateway warns itself.

use super::finding;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::Facts;
use crate::host::firewall::{Blocked, WrittenWith};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let datagrams = &facts.host.datagrams;
    let port = port(facts);
    let only_we_dial = only_we_dial(facts);
    let into = datagrams
        .in_by
        .iter()
        .map(|(wan, blocked)| input(wan, blocked, &port, only_we_dial));
    let out = datagrams
        .out_by
        .iter()
        .map(|(wan, blocked)| output(wan, blocked, &port));
    let forward = facts.host.forward.iter().map(|text| {
        let (what, mend) = text.rsplit_once("; ").unwrap_or((text, ""));
        let why = "a gateway that is started will warn of it".to_owned();
        let problem = Severity::Problem;
        let texts = [what.to_owned(), why, mend.to_owned()];
        finding("firewall-forward", problem, "FORWARD", texts)
    });
    into.chain(out).chain(forward).collect()
}

fn input(wan: &str, blocked: &Blocked, port: &str, only_we_dial: bool) -> Finding {
    let chain = &blocked.chain;
    let mend = mend(blocked, wan, port, true);
    if !blocked.only_first {
        let what = format!("the chain {chain} drops UDP to port {port} on {wan}");
        let why = "nothing of any far gateway is heard".to_owned();
        let problem = Severity::Problem;
        return finding("firewall-input", problem, chain, [what, why, mend]);
    }
    let what =
        format!("the chain {chain} drops UDP to port {port} on {wan} unless this gateway began");
    let (severity, why) = if only_we_dial {
        let why = "far gateways cannot dial this one; it has to dial them";
        (Severity::Note, why)
    } else {
        let why = "a far gateway without an endpoint here has to dial this one, and cannot";
        (Severity::Problem, why)
    };
    finding(
        "firewall-input",
        severity,
        chain,
        [what, why.to_owned(), mend],
    )
}

fn output(wan: &str, blocked: &Blocked, port: &str) -> Finding {
    let chain = &blocked.chain;
    let what = format!("the chain {chain} drops UDP from port {port} out of {wan}");
    let why = "nothing is sent to the far gateways".to_owned();
    let mend = mend(blocked, wan, port, false);
    let problem = Severity::Problem;
    finding("firewall-output", problem, chain, [what, why, mend])
}

fn mend(blocked: &Blocked, wan: &str, port: &str, into: bool) -> String {
    let Blocked { chain, .. } = blocked;
    match (&blocked.written_with, into) {
        (WrittenWith::Nft, true) => {
            format!("nft insert rule {chain} iifname \"{wan}\" udp dport {port} accept")
        }
        (WrittenWith::Nft, false) => {
            format!("nft insert rule {chain} oifname \"{wan}\" udp sport {port} accept")
        }
        (
            WrittenWith::Iptables {
                program,
                table,
                chain,
            },
            into,
        ) => {
            let way = if into {
                format!("-i {wan} -p udp --dport {port}")
            } else {
                format!("-o {wan} -p udp --sport {port}")
            };
            format!("{program} -t {table} -I {chain} {way} -j ACCEPT")
        }
    }
}

/// The port that is listened on, as far as it is known.
fn port(facts: &Facts) -> String {
    let of_status = facts.running.as_ref().map(|running| &running.status.listen);
    let of_status = of_status.and_then(|listen| listen.rsplit_once(':'));
    if let Some((_, port)) = of_status {
        return port.to_owned();
    }
    match &facts.config {
        Some(Ok(accepted)) => accepted.config.gateway.listen.port().to_string(),
        _ => "51820".to_owned(),
    }
}

/// Whether every far gateway has an endpoint, so that this one dials them all.
fn only_we_dial(facts: &Facts) -> bool {
    let Some(Ok(accepted)) = &facts.config else {
        return true;
    };
    let gateways = accepted.config.sites.iter().flat_map(|site| &site.gateways);
    let mut links = gateways.flat_map(|gateway| &gateway.links);
    links.all(|link| !link.endpoints.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_keeps_others_from_dialling_is_a_note() {
        let blocked = |only_first| Blocked {
            chain: "inet filter input".to_owned(),
            only_first,
            written_with: WrittenWith::Nft,
        };
        let all = input("wan0", &blocked(false), "51820", true);
        assert_eq!(all.severity, Severity::Problem);
        assert_eq!(
            all.mend,
            "nft insert rule inet filter input iifname \"wan0\" udp dport 51820 accept"
        );
        let first = input("wan0", &blocked(true), "51820", true);
        assert_eq!(first.severity, Severity::Note);
        let first = input("wan0", &blocked(true), "51820", false);
        assert_eq!(first.severity, Severity::Problem);
    }

    #[test]
    fn the_mend_for_the_older_iptables_is_in_its_own_words() {
        let blocked = Blocked {
            chain: "filter OUTPUT (IPv4)".to_owned(),
            only_first: false,
            written_with: WrittenWith::Iptables {
                program: "iptables-legacy",
                table: "filter".to_owned(),
                chain: "OUTPUT".to_owned(),
            },
        };
        assert_eq!(
            mend(&blocked, "wan0", "51820", false),
            "iptables-legacy -t filter -I OUTPUT -o wan0 -p udp --sport 51820 -j ACCEPT"
        );
    }
}
