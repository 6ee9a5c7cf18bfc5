//! Why the fast path leaves a packet to the kernel stack, for a person.

use datapath_abi::outcome::StackReason;

use super::packet::Packet;

/// The reason in a sentence. `site` is the far end's, `mtu` what it takes.
pub(super) fn describe(
    reason: StackReason,
    packet: &Packet,
    site: Option<&str>,
    mtu: Option<u32>,
) -> String {
    let (source, destination) = (packet.source(), packet.destination());
    let site = site.unwrap_or("of the destination");
    match reason {
        StackReason::NoRoute => format!("no site has a route to {destination}"),
        StackReason::KernelRoute => {
            format!(
                "{destination} is the host's own, or the kernel has a more specific route to it"
            )
        }
        StackReason::NotRoutable => {
            "its source or destination is multicast, broadcast, link-local, loopback or unspecified"
                .to_owned()
        }
        StackReason::TtlExpiring => "its TTL ends here".to_owned(),
        StackReason::IpOptions => "it has IPv4 options".to_owned(),
        StackReason::ExtensionHeader => {
            "it has an extension header that a router must look at".to_owned()
        }
        StackReason::TooBig => match mtu {
            Some(mtu) => format!("{} bytes, and site {site} takes {mtu}", packet.largest),
            None => format!("{} bytes are too many for the way out", packet.largest),
        },
        StackReason::SiteDown => format!(
            "site {site} is down, or not served by the fast path: see `crossway links` for the cause"
        ),
        StackReason::NotReady => {
            "the agent has not told the programs of this interface; `crossway reload` does"
                .to_owned()
        }
        StackReason::NotToLan => {
            "the kernel's routing does not send it to a LAN of this gateway".to_owned()
        }
        StackReason::WrongSource => format!(
            "no route leads back to {source} by this interface, or it is our own address: rp_filter decides"
        ),
        StackReason::RedirectFailed => "the kernel refuses to rewrite it".to_owned(),
        StackReason::NotIp => "it is neither IPv4 nor IPv6".to_owned(),
        StackReason::NotForUs => "the frame is for another machine".to_owned(),
        StackReason::VlanTagged => "it has a VLAN tag".to_owned(),
        StackReason::Malformed => "a header contradicts itself".to_owned(),
    }
}
