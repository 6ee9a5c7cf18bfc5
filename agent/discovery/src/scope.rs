//! Where services are looked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crossway_types::prefix::Prefix;

/// The private ranges, and what the configuration adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    networks: Vec<Prefix>,
}

impl Scope {
    /// The private ranges and `networks`.
    pub fn with(networks: &[Prefix]) -> Self {
        Self {
            networks: networks.to_vec(),
        }
    }

    /// Whether a service at this address is of interest.
    pub fn contains(&self, address: IpAddr) -> bool {
        let private = match address {
            IpAddr::V4(address) => is_rfc1918(address),
            IpAddr::V6(address) => is_rfc4193(address),
        };
        private || self.networks.iter().any(|it| it.contains(address))
    }
}

/// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16.
fn is_rfc1918(address: Ipv4Addr) -> bool {
    address.is_private()
}

/// fc00::/7.
fn is_rfc4193(address: Ipv6Addr) -> bool {
    address.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_ranges_and_configured_networks_are_of_interest_and_nothing_else() {
        let added = ["100.64.0.0/10", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let scope = Scope::with(&added);
        for (address, inside) in [
            ("10.255.255.255", true),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.168.1.1", true),
            ("192.169.0.0", false),
            ("100.64.0.1", true),
            ("8.8.8.8", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("fe00::1", false),
            ("fe80::1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(
                scope.contains(address.parse().unwrap()),
                inside,
                "{address}"
            );
        }
        let without = Scope::default();
        assert!(!without.contains("100.64.0.1".parse().unwrap()));
    }
}
