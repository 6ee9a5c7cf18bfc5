//! Rules between `[[gateway.replica]]` and the rest of the file.

use std::net::IpAddr;

use super::Unique;
use crate::Endpoint;
use crate::diagnostic::Report;
use crate::gateway::GatewayDraft;

/// Checks the replicas. Names, keys and families of addresses are checked with those of the sites.
pub(super) fn check(report: &Report<'_>, gateway: &GatewayDraft) {
    let mut seen = Unique::default();
    for replica in &gateway.replicas {
        for (link, endpoint) in replica.endpoints() {
            let place = link.place_of_endpoint();
            seen.take(
                report,
                endpoint.value.to_string(),
                endpoint,
                &place,
                "the endpoint of another replica",
                "each replica has an address of its own on the LAN",
            );
            if is_own(gateway, &endpoint.value) {
                report.error(
                    endpoint.offset,
                    place,
                    format!("{} is this gateway itself", endpoint.value),
                    "write the replica's own address on the LAN, not the one that both share",
                );
            }
        }
    }
}

/// Whether an endpoint is known to be ours by the file alone.
fn is_own(gateway: &GatewayDraft, endpoint: &Endpoint) -> bool {
    let (Endpoint::Address(address), Some(listen)) = (endpoint, &gateway.listen) else {
        return false;
    };
    let own: &[IpAddr] = &[listen.value.ip()];
    let tunnel = gateway.tunnel_addresses.iter();
    let mut own = own.iter().copied().chain(tunnel.map(|at| at.value.address));
    address.ip().is_loopback() || own.any(|own| own == address.ip())
}
