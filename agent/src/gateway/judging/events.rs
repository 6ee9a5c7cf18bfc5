//! Events of denied flows: few of many, for anybody can cause them. Pure.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use datapath_abi::address;
use datapath_abi::headers::Headers;

use crate::control::message::EventKind;
use crate::journal::Change;

/// Flows that are told of within [`PERIOD`], each once.
const MOST: usize = 10;
const PERIOD: Duration = Duration::from_mins(1);

/// What was told of late.
#[derive(Debug, Default)]
pub(in crate::gateway) struct DeniedEvents {
    began: Option<Instant>,
    told: HashSet<Flow>,
    /// Packets that were told of by no event.
    omitted: u64,
}

/// Who wanted what of whom. Without the sender's port: whoever tries again takes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    port: u16,
}

impl DeniedEvents {
    /// The event of a denied packet with this head, if there is to be one.
    pub(in crate::gateway) fn change(&mut self, head: &[u8], now: Instant) -> Option<Change> {
        let flow = Flow::of(head)?;
        if self.began.is_none_or(|began| now >= began + PERIOD) {
            self.began = Some(now);
            self.told.clear();
        }
        let known = self.told.contains(&flow);
        if known || self.told.len() >= MOST {
            self.omitted += u64::from(!known);
            return None;
        }
        self.told.insert(flow);
        let omitted = match std::mem::take(&mut self.omitted) {
            0 => String::new(),
            packets => format!("; {packets} packets of other flows were not told of"),
        };
        Some(Change {
            kind: EventKind::Denied,
            subject: flow.source.to_string(),
            from: None,
            to: flow.target(),
            cause: format!("no rule of the policy allows it{omitted}"),
        })
    }
}

impl Flow {
    fn of(head: &[u8]) -> Option<Self> {
        // The packet is longer than its head.
        let headers = Headers::read_bare(head, u32::MAX).ok()?;
        let [source, destination] = [headers.source, headers.destination]
            .map(|end| Ipv6Addr::from(address::to_bytes(end)).to_canonical());
        Some(Self {
            source,
            destination,
            protocol: headers.protocol,
            port: headers.ports.destination(),
        })
    }

    fn target(&self) -> String {
        let Self {
            destination, port, ..
        } = self;
        match (self.protocol, destination) {
            (1 | 58, _) => format!("{destination} icmp"),
            (6, _) => format!("{destination} tcp/{port}"),
            (17, _) => format!("{destination} udp/{port}"),
            (protocol, _) => format!("{destination} protocol {protocol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crossway_types::packet::sample::Sample;

    use super::*;
    use crate::clock;

    fn head(port: u16) -> Vec<u8> {
        let sample = Sample {
            source: "10.1.0.5".parse().unwrap(),
            destination: "10.2.0.9".parse().unwrap(),
            protocol: 6,
            source_port: 40_000,
            destination_port: port,
            size: Some(1400),
            dont_fragment: true,
            ttl: 60,
            fragment: None,
            options: false,
        };
        let mut packet = sample.packet().unwrap();
        packet.truncate(128);
        packet
    }

    #[test]
    fn each_flow_is_told_of_once_a_minute_and_never_too_many() {
        let (mut events, now) = (DeniedEvents::default(), clock::now());
        let first = events.change(&head(443), now).unwrap();
        assert_eq!(
            (first.subject.as_str(), first.to.as_str()),
            ("10.1.0.5", "10.2.0.9 tcp/443")
        );
        assert_eq!(events.change(&head(443), now), None);
        let told = (1..=100).filter(|port| events.change(&head(*port), now).is_some());
        assert_eq!(told.count(), MOST - 1);
        let later = events.change(&head(443), now + PERIOD).unwrap();
        assert!(
            later.cause.contains("; 91 packets of other flows"),
            "{}",
            later.cause
        );
        assert_eq!(events.change(&[0x45; 9], now), None);
    }
}
