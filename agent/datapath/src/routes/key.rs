//! Prefixes as keys of the tries.

use std::net::IpAddr;

use super::{Key, RouteKey4, RouteKey6};
use crossway_types::ids::VnetId;
use crossway_types::prefix::Prefix;
use datapath_abi::route::VNET_BITS;

/// A prefix of a virtual network, as the trie of its family takes it.
pub(super) enum TrieKey {
    V4(Key<RouteKey4>),
    V6(Key<RouteKey6>),
}

impl TrieKey {
    pub(super) fn new(vnet: VnetId, prefix: Prefix) -> Self {
        let length = VNET_BITS + u32::from(prefix.length());
        let vnet = vnet.0.to_be_bytes();
        match prefix.address() {
            IpAddr::V4(address) => {
                let address = address.octets();
                Self::V4(Key::new(length, RouteKey4 { vnet, address }))
            }
            IpAddr::V6(address) => {
                let address = address.octets();
                Self::V6(Key::new(length, RouteKey6 { vnet, address }))
            }
        }
    }
}

pub(super) fn read4(key: &Key<RouteKey4>) -> (VnetId, Prefix) {
    let RouteKey4 { vnet, address } = key.data();
    read(vnet, address.into(), key.prefix_len())
}

pub(super) fn read6(key: &Key<RouteKey6>) -> (VnetId, Prefix) {
    let RouteKey6 { vnet, address } = key.data();
    read(vnet, address.into(), key.prefix_len())
}

fn read(vnet: [u8; 4], address: IpAddr, length: u32) -> (VnetId, Prefix) {
    let length = length.saturating_sub(VNET_BITS) as u8;
    (
        VnetId(u32::from_be_bytes(vnet)),
        Prefix::containing(address, length),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_the_prefix_it_was_made_of() {
        for text in [
            "0.0.0.0/0",
            "10.2.0.0/15",
            "192.0.2.1/32",
            "::/0",
            "2001:db8::/33",
        ] {
            let route = (VnetId(0x0102_0304), text.parse().unwrap());
            let back = match TrieKey::new(route.0, route.1) {
                TrieKey::V4(key) => read4(&key),
                TrieKey::V6(key) => read6(&key),
            };
            assert_eq!(back, route);
        }
    }

    #[test]
    fn the_vnet_leads_the_key_and_counts_in_its_length() {
        let TrieKey::V4(key) = TrieKey::new(VnetId(1), "10.0.0.0/8".parse().unwrap()) else {
            panic!("an IPv4 prefix");
        };
        assert_eq!(key.prefix_len(), 40);
        assert_eq!(key.data().vnet, [0, 0, 0, 1]);
        assert_eq!(key.data().address, [10, 0, 0, 0]);
    }
}
