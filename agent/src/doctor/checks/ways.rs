//! The ways to the far gateways: whether there is a route, and how large a packet may be on it.

use super::{MOST, finding};
use crate::control::message::{Finding, Link, PathMtuState, Severity};
use crate::doctor::facts::{Facts, Measured, Way};
use crate::host::tunnel_mtu::{OVERHEAD, OVERHEAD_IPV4};

/// What IPv6 inside the tunnel needs (RFC 8200, 5).
const LEAST_FOR_IPV6: u32 = 1280;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let without = facts.ways.iter().filter(|way| is_lost(way)).map(lost);
    let narrow = facts.ways.iter().filter_map(narrow);
    let running = facts.running.as_ref();
    let ipv6 = running.is_some_and(|running| {
        let sites = running.status.sites.iter();
        let mut routes = sites.flat_map(|site| &site.routes);
        routes.any(|route| route.contains(':'))
    });
    let links = running.map(|running| running.links.as_slice());
    let probed = links.unwrap_or_default().iter();
    let probed = probed.filter_map(|link| probed_way(link, ipv6));
    let found = without.take(MOST).chain(narrow.take(MOST));
    found.chain(probed.take(MOST)).collect()
}

/// What the probes of a link say: a path that is too narrow for IPv6 inside, or that has become narrower in silence.
fn probed_way(link: &Link, ipv6: bool) -> Option<Finding> {
    let path = link.path_mtu.as_ref()?;
    let known = matches!(path.state, PathMtuState::Found | PathMtuState::Searching);
    let name = match &link.link {
        Some(name) => format!("{}/{}/{name}", link.site, link.gateway),
        None => format!("{}/{}", link.site, link.gateway),
    };
    let mtu = u32::from(path.mtu_bytes);
    if ipv6 && path.state == PathMtuState::Found && mtu < LEAST_FOR_IPV6 {
        let what = format!(
            "link {name}: its path takes packets of {mtu} bytes, and IPv6 inside needs 1280"
        );
        let why = "larger packets of IPv6 are sent all the same, and are lost where the path drops fragments";
        let mend = "have the provider carry 1360 bytes, or use another way";
        let texts = [what, why.to_owned(), mend.to_owned()];
        return Some(finding("path-mtu", Severity::Problem, &name, texts));
    }
    if known && path.black_holes > 0 {
        let times = path.black_holes;
        let what = format!(
            "link {name}: its path began to drop large packets in silence, {times} times so far"
        );
        let why = format!("packets are held to {mtu} bytes now; more is tried from time to time");
        let mend = "none is needed; `crossway events` says when it was".to_owned();
        return Some(finding(
            "path-mtu",
            Severity::Note,
            &name,
            [what, why, mend],
        ));
    }
    None
}

fn is_lost(way: &Way) -> bool {
    !way.bound && way.leaves_by.is_none()
}

fn lost(way: &Way) -> Finding {
    let address = way.endpoint.ip();
    let what = format!("link {}: there is no route to {address}", way.link);
    let why = "nothing can be sent to the far gateway".to_owned();
    let mend = format!("`ip route get {address}`, then ip route add {address} via ROUTER");
    finding(
        "endpoint-route",
        Severity::Problem,
        &way.link,
        [what, why, mend],
    )
}

fn narrow(way: &Way) -> Option<Finding> {
    let Measured {
        mtu,
        fragments_pass,
    } = way.measured?;
    if mtu >= way.largest {
        return None;
    }
    let address = way.endpoint.ip();
    let what = format!(
        "link {}: the way to {address} takes packets of {mtu} bytes, and full datagrams of the tunnel have {}",
        way.link, way.largest
    );
    let (severity, why) = if fragments_pass {
        let why = "each of them is fragmented on its way, which costs speed, and is lost with any fragment";
        (Severity::Slow, why)
    } else {
        let why = "they are lost: small packets pass, and large ones hang";
        (Severity::Problem, why)
    };
    let overhead = if address.is_ipv4() {
        OVERHEAD_IPV4
    } else {
        OVERHEAD
    };
    let fits = mtu.saturating_sub(overhead);
    let mend = if fits >= LEAST_FOR_IPV6 {
        format!("path_mtu = \"auto\" or mtu = {fits} in [gateway], at both ends, then a reload")
    } else {
        format!(
            "mtu = {fits} in [gateway] at both ends, then a reload; with IPv6 inside the tunnel it cannot be below \
             {LEAST_FOR_IPV6}"
        )
    };
    Some(finding(
        "path-mtu",
        severity,
        &way.link,
        [what, why.to_owned(), mend],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(measured: Option<Measured>) -> Way {
        Way {
            link: "paris/paris-1".to_owned(),
            endpoint: "203.0.113.7:51820".parse().unwrap(),
            bound: false,
            leaves_by: Some("eth0".to_owned()),
            largest: 1480,
            measured,
        }
    }

    #[test]
    fn a_narrow_way_says_which_mtu_fits() {
        let narrow_way = |mtu, fragments_pass| {
            narrow(&way(Some(Measured {
                mtu,
                fragments_pass,
            })))
        };
        let found = narrow_way(1400, true).unwrap();
        assert_eq!(found.severity, Severity::Slow);
        assert!(found.mend.contains("mtu = 1340 in"), "{found:?}");
        let found = narrow_way(1300, false).unwrap();
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.mend.contains("below 1280"), "{found:?}");
        assert_eq!(narrow_way(1480, false), None);
        assert_eq!(narrow(&way(None)), None);
    }

    #[test]
    fn a_missing_route_is_not_told_of_a_link_that_is_bound_to_an_interface() {
        let none = Way {
            leaves_by: None,
            ..way(None)
        };
        assert!(is_lost(&none));
        assert!(!is_lost(&Way {
            bound: true,
            ..none
        }));
        assert!(!is_lost(&way(None)));
    }
}
