//! The packet that is asked about.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use datapath_abi::headers::Headers;

use super::story::Story;
use crate::control::message::{End, ExplainRequest, WhichFragment};
use crate::control::protocol;
use crossway_types::packet::{TCP, UDP};

/// Segments of a super-packet whose size is not asked for.
const SEGMENTS: usize = 2;

/// A packet, and what is read of it.
pub(super) struct Packet {
    pub(super) request: ExplainRequest,
    pub(super) bytes: Vec<u8>,
    pub(super) headers: Headers,
    /// Of a super-packet the payload of a segment; 0 if it is none.
    pub(super) segment_size: u32,
    /// Bytes of the largest IP packet that it is on the wire.
    pub(super) largest: u32,
}

impl Packet {
    /// Makes it.
    pub(super) fn of(request: &ExplainRequest) -> Result<Self> {
        let mut sample = request.sample();
        let segment_size = usize::from(request.segment_size.unwrap_or(0));
        if segment_size > 0 {
            let whole = request.fragment.is_none() && matches!(request.protocol, TCP | UDP);
            ensure!(
                whole,
                "only TCP and UDP are joined to super-packets, and no fragments of them: leave the segment size out"
            );
            if sample.size.is_none() {
                let headers = sample.packet()?.len();
                sample.size = Some(headers + SEGMENTS * segment_size);
            }
        } else if request.segment_size.is_some() {
            bail!("a segment has at least 1 byte of payload");
        }
        let bytes = sample.packet()?;
        let headers = Headers::read_bare(&bytes[..], bytes.len() as u32)
            .map_err(|reason| anyhow::anyhow!("{}", reason.as_str()))
            .context("the packet that was made cannot be read")?;
        let length = headers.ip_length;
        let largest = match segment_size as u32 {
            0 => length,
            size => (headers.header_length + size).min(length),
        };
        Ok(Self {
            request: request.clone(),
            bytes,
            headers,
            segment_size: segment_size as u32,
            largest,
        })
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.request.source.is_ipv4()
    }

    pub(super) fn source(&self) -> IpAddr {
        self.request.source
    }

    pub(super) fn destination(&self) -> IpAddr {
        self.request.destination
    }

    pub(super) fn ports(&self) -> (u16, u16) {
        let ports = self.headers.ports;
        (ports.source(), ports.destination())
    }

    /// The packet in words.
    pub(super) fn describe(&self) -> String {
        let request = &self.request;
        let (source, destination) = (request.source, request.destination);
        let name = protocol::name(request.protocol);
        let ends = match (self.ports(), request.protocol) {
            ((0, 0), _) => format!("{name} {source} to {destination}"),
            ((id, _), 1 | 58) => format!("{name} echo {id} {source} to {destination}"),
            ((from, to), _) if self.is_ipv4() => {
                format!("{name} {source}:{from} to {destination}:{to}")
            }
            ((from, to), _) => format!("{name} [{source}]:{from} to [{destination}]:{to}"),
        };
        let mut words = vec![ends, format!("{} bytes", self.bytes.len())];
        if self.segment_size > 0 {
            words.push(format!("segments of {}", self.segment_size));
        }
        let limit = if self.is_ipv4() { "TTL" } else { "hop limit" };
        words.push(format!("{limit} {}", request.ttl));
        if request.dont_fragment && self.is_ipv4() {
            words.push("DF".to_owned());
        }
        match request.fragment {
            Some(WhichFragment::First) => words.push("the first fragment".to_owned()),
            Some(WhichFragment::Later) => words.push("a later fragment".to_owned()),
            None => {}
        }
        if request.options {
            let options = if self.is_ipv4() {
                "IPv4 options"
            } else {
                "a hop-by-hop header"
            };
            words.push(options.to_owned());
        }
        words.join(", ")
    }

    /// Ends the packet, of which its sender is told if an ICMP error may be sent about it at all (RFC 1122, 3.2.2; RFC
    /// 4443, 2.4).
    pub(super) fn tell_sender(&self, story: &mut Story, answer: &str) {
        if self.may_be_answered() {
            story.answer.end = End::Answered;
            story.answer.answer = Some(answer.to_owned());
        } else {
            story.answer.end = End::Dropped;
            story.step(
                "kernel",
                "its sender is not told: no ICMP error is sent about such a packet",
            );
        }
    }

    fn may_be_answered(&self) -> bool {
        match self.request.source {
            IpAddr::V4(source) => {
                let is_host = !(source.is_unspecified()
                    || source.is_multicast()
                    || source.is_broadcast()
                    || source.is_loopback());
                is_host && self.request.fragment != Some(WhichFragment::Later)
            }
            IpAddr::V6(source) => !(source.is_unspecified() || source.is_multicast()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ExplainRequest {
        serde_json::from_value(serde_json::json!({
            "source": "10.1.0.10", "destination": "10.2.0.10", "protocol": 6,
            "source_port": 40000, "destination_port": 443,
        }))
        .unwrap()
    }

    #[test]
    fn a_packet_is_told_in_words() {
        let packet = Packet::of(&request()).unwrap();
        assert_eq!(
            packet.describe(),
            "tcp 10.1.0.10:40000 to 10.2.0.10:443, 40 bytes, TTL 64"
        );
        let odd = ExplainRequest {
            protocol: 17,
            fragment: Some(WhichFragment::Later),
            options: true,
            dont_fragment: true,
            size: Some(1500),
            ..request()
        };
        assert_eq!(
            Packet::of(&odd).unwrap().describe(),
            "udp 10.1.0.10 to 10.2.0.10, 1500 bytes, TTL 64, DF, a later fragment, IPv4 options"
        );
    }

    #[test]
    fn a_super_packet_is_as_large_as_its_segments() {
        let joined = ExplainRequest {
            segment_size: Some(1380),
            ..request()
        };
        let packet = Packet::of(&joined).unwrap();
        assert_eq!((packet.bytes.len(), packet.largest), (2800, 1420));
        let refused = |request: ExplainRequest| Packet::of(&request).err().unwrap().to_string();
        let icmp = ExplainRequest {
            protocol: 1,
            ..joined.clone()
        };
        assert!(refused(icmp).contains("only TCP and UDP"));
        let none = ExplainRequest {
            segment_size: Some(0),
            ..joined
        };
        assert!(refused(none).contains("at least 1 byte"));
    }
}
