//! What the kernel's IP forwarding does with a packet that has a route, and with one that has none: the order of
//! `ip_forward` (net/ipv4/ip_forward.c) and `ip6_forward` (net/ipv6/ip6_output.c). Pure.

use std::net::IpAddr;

use crate::control::message::ExplainRequest;

/// IPv6 crosses every link in packets of this size (RFC 8200, 5).
pub(super) const LEAST_MTU6: u32 = 1280;

/// What becomes of a packet in forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes out, whole.
    Goes,
    /// It goes out in fragments.
    GoesInFragments,
    /// It ends, and its sender is told so by this ICMP error, because of that.
    Answered(&'static str, String),
    /// It ends, because of that.
    Dropped(String),
}

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Largest packet that it takes, bytes.
    pub(super) mtu: u32,
    /// It is the interface by which the packet came.
    pub(super) is_input: bool,
}

/// Of a packet of which the largest on the wire has `largest` bytes.
pub(super) fn forward(request: &ExplainRequest, largest: u32, output: Output) -> Fate {
    let limit = if request.source.is_ipv4() {
        "TTL"
    } else {
        "hop limit"
    };
    if request.ttl <= 1 {
        let why = format!("its {limit} of {} ends here", request.ttl);
        return Fate::Answered("time-exceeded", why);
    }
    // Where it goes back on its link, the kernel sends a redirect and looks at no scope.
    if let IpAddr::V6(source) = request.source
        && !output.is_input
    {
        if source.is_unspecified() {
            return Fate::Dropped("a router forwards nothing from ::".to_owned());
        }
        if source.is_unicast_link_local() {
            let why = format!("{source} is valid on its link only");
            return Fate::Answered("beyond-scope", why);
        }
    }
    let mtu = if request.source.is_ipv4() {
        output.mtu
    } else {
        output.mtu.max(LEAST_MTU6)
    };
    if largest <= mtu {
        return Fate::Goes;
    }
    let why = format!("{largest} bytes, and the way out takes {mtu}");
    match (request.source.is_ipv4(), request.dont_fragment) {
        (false, _) => Fate::Answered("packet-too-big", why),
        (true, true) => Fate::Answered("fragmentation-needed", why + ", and DF is set"),
        (true, false) => Fate::GoesInFragments,
    }
}

/// Of a packet of IPv6 that the kernel drops in front of any routing (`ip6_rcv_core`, net/ipv6/ip6_input.c): why. IPv4's
/// are told by the routing itself.
pub(super) fn refuse_at_input(request: &ExplainRequest) -> Option<String> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (request.source, request.destination)
    else {
        return None;
    };
    if source.is_multicast() {
        return Some(format!("{source} is multicast, which is no source"));
    }
    if source.is_loopback() || destination.is_loopback() {
        return Some("::1 never comes from outside".to_owned());
    }
    let scope = destination.segments()[0] & 0xf;
    if destination.is_multicast() && scope <= 1 {
        return Some(format!("{destination} never leaves its host"));
    }
    None
}

/// Of a packet for which the kernel's routing has an error (errno(3)) instead of a way.
pub(super) fn refuse(request: &ExplainRequest, errno: i32) -> Fate {
    let (source, destination) = (request.source, request.destination);
    let ipv4 = source.is_ipv4();
    match errno {
        libc::EXDEV => Fate::Dropped(format!(
            "rp_filter: the routes do not lead back to {source} by this interface"
        )),
        libc::EHOSTUNREACH if ipv4 => Fate::Answered(
            "host-unreachable",
            format!("no route to {destination}, or an unreachable one"),
        ),
        libc::ENETUNREACH if ipv4 => {
            Fate::Answered("net-unreachable", format!("no route to {destination}"))
        }
        libc::EHOSTUNREACH | libc::ENETUNREACH => Fate::Answered(
            "no-route",
            format!("no route to {destination}, or an unreachable one"),
        ),
        libc::EACCES => Fate::Answered(
            "administratively-prohibited",
            format!("a prohibit route holds {destination}"),
        ),
        libc::EINVAL => Fate::Dropped(format!(
            "a blackhole route holds {destination}, or {source} or {destination} is one that never comes from outside (a \
             martian: an own, loopback, multicast or unspecified address)"
        )),
        other => Fate::Dropped(format!(
            "the kernel's routing refuses it: {}",
            std::io::Error::from_raw_os_error(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: &str, destination: &str) -> ExplainRequest {
        serde_json::from_value(serde_json::json!({
            "source": source, "destination": destination, "protocol": 17,
        }))
        .unwrap()
    }

    fn out(mtu: u32) -> Output {
        Output {
            mtu,
            is_input: false,
        }
    }

    #[test]
    fn the_ttl_comes_before_the_size() {
        let mut it = request("10.1.0.10", "10.2.0.10");
        it.dont_fragment = true;
        let is = |fate: Fate, answer| matches!(fate, Fate::Answered(it, _) if it == answer);
        assert!(is(forward(&it, 1500, out(1420)), "fragmentation-needed"));
        assert_eq!(forward(&it, 1420, out(1420)), Fate::Goes);
        it.ttl = 1;
        assert!(is(forward(&it, 1500, out(1420)), "time-exceeded"));
        it.ttl = 2;
        it.dont_fragment = false;
        assert_eq!(forward(&it, 1421, out(1420)), Fate::GoesInFragments);
    }

    #[test]
    fn ipv6_is_never_cut_and_its_scopes_are_kept() {
        let is = |fate: Fate, answer| matches!(fate, Fate::Answered(it, _) if it == answer);
        let it = request("2001:db8:1::10", "2001:db8:2::10");
        assert!(is(forward(&it, 1500, out(1420)), "packet-too-big"));
        assert_eq!(forward(&it, 1280, out(1200)), Fate::Goes);
        let local = request("fe80::1", "2001:db8:2::10");
        assert!(is(forward(&local, 100, out(1420)), "beyond-scope"));
        let back = Output {
            mtu: 1500,
            is_input: true,
        };
        assert_eq!(forward(&local, 100, back), Fate::Goes);
        let nobody = request("::", "2001:db8:2::10");
        assert!(matches!(forward(&nobody, 100, out(1420)), Fate::Dropped(_)));
        for (source, destination) in [
            ("ff02::1", "2001:db8:2::10"),
            ("::1", "2001:db8:2::10"),
            ("2001:db8:1::10", "::1"),
            ("2001:db8:1::10", "ff01::1"),
        ] {
            assert!(refuse_at_input(&request(source, destination)).is_some());
        }
        assert_eq!(refuse_at_input(&it), None);
        assert_eq!(refuse_at_input(&request("224.0.0.1", "10.2.0.10")), None);
    }

    #[test]
    fn each_error_of_the_routing_has_its_answer() {
        let four = request("10.1.0.10", "10.2.0.10");
        let six = request("2001:db8:1::10", "2001:db8:2::10");
        let answer = |request, errno| match refuse(request, errno) {
            Fate::Answered(answer, _) => Some(answer),
            _ => None,
        };
        assert_eq!(answer(&four, libc::EHOSTUNREACH), Some("host-unreachable"));
        assert_eq!(answer(&four, libc::ENETUNREACH), Some("net-unreachable"));
        assert_eq!(answer(&six, libc::ENETUNREACH), Some("no-route"));
        for request in [&four, &six] {
            assert_eq!(
                answer(request, libc::EACCES),
                Some("administratively-prohibited")
            );
            for errno in [libc::EXDEV, libc::EINVAL, libc::EPERM] {
                assert_eq!(answer(request, errno), None);
            }
        }
    }
}
