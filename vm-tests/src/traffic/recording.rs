//! Every packet of a wire, as numbers: tcpdump into a file, which is read back here.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::process::ProcessGuard;
use crate::topology::Topology;

const LIMIT: Duration = Duration::from_secs(5);
/// Of a pcap file and of a packet in it (draft-ietf-opsawg-pcap).
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const ETHERNET_HEADER: usize = 14;

/// A running tcpdump that keeps the first bytes of every IP packet. Dropped, it is gone.
///
/// To see what the wire carries, the interface must not join packets: see [`Recording::start`].
#[derive(Debug)]
pub struct Recording {
    process: ProcessGuard,
    file: PathBuf,
}

/// An IP packet of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where from.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// Protocol of the IPv4 header, or next header of the IPv6 header.
    pub protocol: u8,
    /// Length of the IP packet.
    pub bytes: u64,
    /// The packet from its IP header on; its end may be cut off.
    pub content: Vec<u8>,
}

impl Packet {
    /// Receiver index and counter of a data message in IPv4 (WireGuard whitepaper, 5.4.6).
    pub fn data_message(&self) -> Option<(u32, u64)> {
        /// Behind the IPv4 and the UDP header.
        const UDP_PAYLOAD: usize = 28;
        const DATA_MESSAGE: [u8; 4] = [4, 0, 0, 0];
        let message = self.content.get(UDP_PAYLOAD..)?;
        let is_udp = self.protocol == 17;
        if !is_udp || message.first_chunk() != Some(&DATA_MESSAGE) {
            return None;
        }
        let receiver = u32::from_le_bytes(*message.get(4..)?.first_chunk()?);
        let counter = u64::from_le_bytes(*message.get(8..)?.first_chunk()?);
        Some((receiver, counter))
    }
}

impl Recording {
    /// Switches GRO of the (Ethernet) interface off, starts recording, and returns when it is ready for packets.
    pub fn start(topology: &Topology, netns: &Netns, interface: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        netns.run(&format!("ethtool -K {interface} gro off"))?;
        let file = topology
            .directory()
            .join(format!("recording-{number}.pcap"));
        let log = file.with_extension("txt");
        let path = file.display().to_string();
        // A large buffer, so that a slow disk loses nothing; as root, for the directory is root's.
        let words = "-n -U --immediate-mode -B 16384 -s 128 -Z root -i";
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.extend([interface, "-w", &path, "ip or ip6"]);
        let mut process = netns.spawn("tcpdump", "tcpdump", &words, &log)?;
        process.wait_until("listen", LIMIT, || {
            let text = fs::read_to_string(&log).ok()?;
            text.contains("listening on").then_some(())
        })?;
        Ok(Self { process, file })
    }

    /// The packets so far.
    pub fn packets(&self) -> Result<Vec<Packet>> {
        read(&self.file)
    }

    /// Ends it, and returns all that it saw; an error if the kernel could not give it every packet.
    pub fn finish(mut self) -> Result<Vec<Packet>> {
        self.process.terminate(LIMIT)?;
        let remarks = self.process.output();
        ensure!(
            remarks.contains("\n0 packets dropped by kernel"),
            "the recording is not whole: {remarks}"
        );
        read(&self.file)
    }
}

/// Reads a pcap file of Ethernet frames in this machine's byte order, as tcpdump writes it. A packet
/// that is not wholly written yet ends it.
fn read(file: &Path) -> Result<Vec<Packet>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut rest = bytes.get(FILE_HEADER..).unwrap_or_default();
    let mut packets = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<PACKET_HEADER>() {
        let kept = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let Some((frame, after)) = after.split_at_checked(kept as usize) else {
            break;
        };
        let packet = frame.get(ETHERNET_HEADER..).and_then(Packet::parse);
        packets.push(packet.context("a frame without an IP header")?);
        rest = after;
    }
    Ok(packets)
}

impl Packet {
    fn parse(content: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            Some(u16::from_be_bytes([
                *content.get(at)?,
                *content.get(at + 1)?,
            ]))
        };
        let (source, destination, protocol, bytes): (IpAddr, IpAddr, u8, u64) =
            match content.first()? >> 4 {
                4 => {
                    let address = |at: usize| content.get(at..)?.first_chunk::<4>().copied();
                    (
                        Ipv4Addr::from(address(12)?).into(),
                        Ipv4Addr::from(address(16)?).into(),
                        *content.get(9)?,
                        word(2)?.into(),
                    )
                }
                6 => {
                    let address = |at: usize| content.get(at..)?.first_chunk::<16>().copied();
                    (
                        Ipv6Addr::from(address(8)?).into(),
                        Ipv6Addr::from(address(24)?).into(),
                        *content.get(6)?,
                        40 + u64::from(word(4)?),
                    )
                }
                _ => return None,
            };
        Some(Self {
            source,
            destination,
            protocol,
            bytes,
            content: content.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_whole_packet() {
        let mut v4 = [0; 20];
        (v4[0], v4[3], v4[9], v4[12]) = (0x45, 84, 1, 10);
        let packet = Packet::parse(&v4).unwrap();
        assert_eq!((packet.protocol, packet.bytes), (1, 84));
        assert_eq!(packet.source, IpAddr::from([10, 0, 0, 0]));
        let mut v6 = [0; 40];
        (v6[0], v6[5], v6[6], v6[39]) = (0x60, 64, 58, 1);
        let packet = Packet::parse(&v6).unwrap();
        assert_eq!((packet.protocol, packet.bytes), (58, 104));
        assert_eq!(packet.destination, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(Packet::parse(&v6[..39]), None);
    }
}
