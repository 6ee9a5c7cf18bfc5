//! Which end of a flow is a service, and whether that has answered.
//!
//! - **TCP whose beginning was seen**: the end that the first SYN went to, if it has sent a SYN of its own. A reset is no
//!   answer.
//! - **Everything else** (UDP and its like, GRE, ESP; TCP that had rested, or was carried elsewhere before): where packets
//!   go both ways, the end that the catalogue knows already; of UDP and its like else the end that was spoken to first.
//! - **Where neither is known** the port decides, and the service is marked as guessed.
//!
//! ICMP and IGMP have no services, and fragments behind the first no ports.

use crossway_types::packet::tcp_flags::{ACK, SYN};
use crossway_types::protocol::{ICMP, ICMPV6, TCP, has_ports};
use datapath_abi::flow::{FlowCounters, FlowKey, OpenedBy};

const IGMP: u8 = 2;

/// Ports below are given by IANA to services of the system (RFC 6335, 6).
const SYSTEM_PORTS_END: u16 = 1024;
/// Ports from here on are those that Linux gives to clients, unless told otherwise (`ip_local_port_range`).
const CLIENT_PORTS_BEGIN: u16 = 32_768;

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On this gateway's side.
    Local,
    /// On the far site's side.
    Remote,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

/// Why an end is taken for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was spoken to first.
    Spoken,
    /// The catalogue has it.
    Known,
    /// Its port is more like that of a service.
    Port,
}

/// What a flow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This end is a service, and has answered.
    Service(Side, Reason),
    /// This end was spoken to, and has not answered, or nobody knows which; then it is `None`.
    Unanswered(Option<Side>),
    /// No service, or no telling which end it is.
    Nothing,
}

/// Judges a flow; `known` says whether the catalogue has a service at this end.
pub fn judge(key: &FlowKey, counters: &FlowCounters, known: impl Fn(Side) -> bool) -> Verdict {
    if matches!(key.protocol, ICMP | IGMP | ICMPV6) {
        return Verdict::Nothing;
    }
    let ports = [key.local_port, key.remote_port].map(u16::from_be_bytes);
    if has_ports(key.protocol) && ports.contains(&0) {
        return Verdict::Nothing;
    }
    let opener = opener_of(counters);
    if key.protocol != TCP {
        let answered = counters.to_site_packets > 0 && counters.from_site_packets > 0;
        if !answered {
            return Verdict::Unanswered(opener.map(Side::other));
        }
        return by_known(known)
            .or_else(|| opener.map(|opener| Verdict::Service(opener.other(), Reason::Spoken)))
            .unwrap_or_else(|| by_ports(ports));
    }
    let flags = |side| match side {
        Side::Local => counters.tcp_flags_to_site,
        Side::Remote => counters.tcp_flags_from_site,
    };
    if let Some(opener) = opener
        && flags(opener) & SYN != 0
    {
        let server = opener.other();
        return if flags(server) & SYN != 0 {
            Verdict::Service(server, Reason::Spoken)
        } else {
            Verdict::Unanswered(Some(server))
        };
    }
    // A reset that answers a segment of nobody's connection has no ACK; one that answers a SYN has.
    let both = flags(Side::Local) & flags(Side::Remote);
    let either = flags(Side::Local) | flags(Side::Remote);
    let answered = both & ACK != 0 && (either & SYN == 0 || both & SYN != 0);
    if !answered {
        return Verdict::Unanswered(None);
    }
    by_known(known).unwrap_or_else(|| by_ports(ports))
}

fn opener_of(counters: &FlowCounters) -> Option<Side> {
    match counters.opened_by {
        by if by == OpenedBy::Local as u8 => Some(Side::Local),
        by if by == OpenedBy::Remote as u8 => Some(Side::Remote),
        _ => None,
    }
}

/// The one end that the catalogue has.
fn by_known(known: impl Fn(Side) -> bool) -> Option<Verdict> {
    let side = match (known(Side::Local), known(Side::Remote)) {
        (true, false) => Side::Local,
        (false, true) => Side::Remote,
        _ => return None,
    };
    Some(Verdict::Service(side, Reason::Known))
}

fn by_ports([local, remote]: [u16; 2]) -> Verdict {
    let rank = |port: u16| match port {
        0..SYSTEM_PORTS_END => 0,
        SYSTEM_PORTS_END..CLIENT_PORTS_BEGIN => 1,
        _ => 2,
    };
    match rank(local).cmp(&rank(remote)) {
        std::cmp::Ordering::Less => Verdict::Service(Side::Local, Reason::Port),
        std::cmp::Ordering::Greater => Verdict::Service(Side::Remote, Reason::Port),
        std::cmp::Ordering::Equal => Verdict::Nothing,
    }
}

#[cfg(test)]
mod tests;
