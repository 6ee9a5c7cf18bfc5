//! Where packets are seen.

use std::collections::{BTreeSet, HashMap};

use vm_tests::packet_socket::{Buffers, PacketSocket};
use vm_tests::traffic::wire::ETHERNET;

use super::lab::Lab;
use super::packets::{self, Ends};

/// A place where a packet is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    /// In the TUN of gateway a, on its way to the far site.
    Tunnel,
    /// At host b.
    FarHost,
    /// Out of ext0.
    Elsewhere,
    /// Back on the LAN that it came from.
    Back,
}

/// What was seen of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The packet itself.
    pub(crate) at: BTreeSet<Spot>,
    /// ICMP errors about it at host a.
    pub(crate) errors: Vec<(u8, u8)>,
}

/// The places, and what was seen at each.
pub(crate) struct Watch {
    places: Vec<(PacketSocket, usize, Spot)>,
    host: PacketSocket,
    expected: HashMap<u16, Ends>,
    seen: HashMap<u16, Seen>,
    buffers: Buffers,
}

impl Watch {
    pub(crate) fn start(lab: &Lab) -> Self {
        let [a, b] = [&lab.topology.sites[0], &lab.topology.sites[1]];
        let tun = lab.gateways[0].status().unwrap().tun.name;
        let observer = |netns, name| PacketSocket::observer(netns, name).unwrap();
        Self {
            places: vec![
                (observer(&a.gateway, &tun), 0, Spot::Tunnel),
                (observer(&a.gateway, "ext0"), ETHERNET, Spot::Elsewhere),
                (
                    PacketSocket::receiver(&b.host, "eth0").unwrap(),
                    ETHERNET,
                    Spot::FarHost,
                ),
            ],
            host: PacketSocket::receiver(&a.host, "eth0").unwrap(),
            expected: HashMap::new(),
            seen: HashMap::new(),
            buffers: Buffers::default(),
        }
    }

    /// A packet between these ends has this number.
    pub(crate) fn expect(&mut self, number: u16, ends: Ends) {
        self.expected.insert(number, ends);
    }

    /// What was seen of it.
    pub(crate) fn of(&self, number: u16) -> Seen {
        self.seen.get(&number).cloned().unwrap_or_default()
    }

    /// Takes in what has come.
    pub(crate) fn turn(&mut self) {
        let (expected, seen) = (&self.expected, &mut self.seen);
        for (socket, start, spot) in &self.places {
            let mut take = |frame: &[u8]| {
                let packet = frame.get(*start..).unwrap_or_default();
                if let Some((number, ends, None)) = packets::number_of(packet)
                    && expected.get(&number) == Some(&ends)
                {
                    seen.entry(number).or_default().at.insert(*spot);
                }
            };
            while socket.receive(&mut self.buffers, &mut take).unwrap() > 0 {}
            assert_eq!(socket.lost().unwrap(), 0, "frames that were not seen");
        }
        let mut take = |frame: &[u8]| {
            let packet = frame.get(ETHERNET..).unwrap_or_default();
            let Some((number, ends, error)) = packets::number_of(packet) else {
                return;
            };
            if expected.get(&number) != Some(&ends) {
                return;
            }
            let seen = seen.entry(number).or_default();
            match error {
                Some(error) if !seen.errors.contains(&error) => seen.errors.push(error),
                Some(_) => {}
                None => {
                    seen.at.insert(Spot::Back);
                }
            }
        };
        while self.host.receive(&mut self.buffers, &mut take).unwrap() > 0 {}
    }
}
