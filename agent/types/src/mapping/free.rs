//! Prefixes that nobody uses, to be proposed where two sites have the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix::{Prefix, PrefixIndex};

/// Networks for private use (RFC 1918), then that of carriers (RFC 6598). The first is begun where few begin, and each has
/// room for the second.
const POOLS: [(Ipv4Addr, u8, u32); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8, 101 << 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12, 0),
    (Ipv4Addr::new(192, 168, 0, 0), 16, 0),
    (Ipv4Addr::new(100, 64, 0, 0), 10, 0),
];
/// A proposal begins here where there is room, so that `10.101.0.0/24` and `10.102.0.0/24` stand for two sites.
const ROUND: u8 = 16;
/// Tries in a pool, or of random prefixes: more than a file has that somebody wrote by hand.
const MOST_TRIES: u32 = 4096;

/// Finds prefixes that overlap none of those in use.
#[derive(Debug)]
pub struct FreePrefixes {
    used: PrefixIndex<()>,
    /// Proposed already.
    proposed: Vec<Prefix>,
}

impl FreePrefixes {
    /// Besides these.
    pub fn besides(used: impl IntoIterator<Item = Prefix>) -> Self {
        Self {
            used: PrefixIndex::new(used.into_iter().map(|prefix| (prefix, ()))),
            proposed: Vec::new(),
        }
    }

    /// One that may stand for `prefix`, and is not proposed again; `None` if all private networks of its size are used.
    pub fn propose(&mut self, prefix: Prefix) -> Option<Prefix> {
        let found = match prefix.address() {
            IpAddr::V4(_) => POOLS.iter().find_map(|pool| {
                let mut candidates = in_pool(*pool, prefix.length());
                candidates.find(|candidate| self.is_free(candidate))
            }),
            IpAddr::V6(_) => unique_local(prefix).find(|candidate| self.is_free(candidate)),
        };
        self.proposed.extend(found);
        found
    }

    fn is_free(&self, candidate: &Prefix) -> bool {
        let mut proposed = self.proposed.iter();
        self.used.longest_cover(candidate).is_none()
            && self.used.inside(*candidate).next().is_none()
            && !proposed.any(|other| other.covers(candidate) || candidate.covers(other))
    }
}

/// Networks of `length` bits in a pool: first those that begin at round numbers, then all.
fn in_pool((base, bits, start): (Ipv4Addr, u8, u32), length: u8) -> impl Iterator<Item = Prefix> {
    let size = 1_u32 << (32 - u32::from(bits));
    // Of a longer network than the pool there is none.
    let steps = (length >= bits).then(|| [length.min(ROUND).max(bits), length]);
    let steps = steps.into_iter().flatten();
    let candidates = steps.flat_map(move |length| {
        let step = 32 - u32::from(length);
        let count = (size >> step).min(MOST_TRIES);
        let first = (start >> step) << step;
        (0..count).map(move |number| first.wrapping_add(number << step) % size)
    });
    candidates.map(move |offset| {
        let address = Ipv4Addr::from_bits(base.to_bits() + offset);
        Prefix::containing(address.into(), length)
    })
}

/// Networks with a random number (RFC 4193, 3.2), which is the same at each run.
fn unique_local(prefix: Prefix) -> impl Iterator<Item = Prefix> {
    let seed = prefix.to_string();
    let fits = prefix.length() >= 8;
    (0..MOST_TRIES).filter(move |_| fits).map(move |number| {
        let hash = seed.bytes().chain(number.to_be_bytes());
        // FNV-1a.
        let hash = hash.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let global_id = u128::from(hash >> 24);
        let address = (0xfd << 120) | (global_id << 80);
        Prefix::containing(Ipv6Addr::from_bits(address).into(), prefix.length())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_proposal_overlaps_nothing_that_is_used_or_was_proposed() {
        let used = ["10.0.0.0/24", "10.102.7.0/28", "10.103.0.0/16"].map(prefix);
        let mut free = FreePrefixes::besides(used);
        let mut next = |text: &str| free.propose(prefix(text)).map(|found| found.to_string());
        assert_eq!(next("10.0.0.0/24").as_deref(), Some("10.101.0.0/24"));
        assert_eq!(next("10.0.0.0/24").as_deref(), Some("10.102.0.0/24"));
        assert_eq!(next("10.0.0.0/24").as_deref(), Some("10.104.0.0/24"));
        assert_eq!(next("10.0.0.0/16").as_deref(), Some("10.105.0.0/16"));
        assert_eq!(next("10.0.0.0/12").as_deref(), Some("10.112.0.0/12"));
        assert_eq!(next("10.0.0.9/32").as_deref(), Some("10.106.0.0/32"));
        assert_eq!(next("10.0.0.0/8"), None);
        assert_eq!(next("0.0.0.0/0"), None);
    }

    #[test]
    fn a_full_network_is_left_for_the_next_one() {
        let mut free = FreePrefixes::besides(["10.0.0.0/8", "172.16.0.0/16"].map(prefix));
        let mut next = |text: &str| free.propose(prefix(text)).map(|found| found.to_string());
        assert_eq!(next("10.0.0.0/24").as_deref(), Some("172.17.0.0/24"));
        assert_eq!(next("10.0.0.0/10").as_deref(), Some("100.64.0.0/10"));
        assert_eq!(next("10.0.0.0/10"), None);
    }

    #[test]
    fn prefixes_of_ipv6_get_unique_local_ones_of_their_length() {
        let mut free = FreePrefixes::besides([]);
        for text in [
            "2001:db8::/48",
            "2001:db8::/64",
            "fd00::/8",
            "2001:db8::/32",
        ] {
            let found = free.propose(prefix(text));
            if text == "fd00::/8" {
                assert_eq!(found, None, "a part of it has been proposed");
                continue;
            }
            let found = found.unwrap();
            assert_eq!(found.length(), prefix(text).length());
            assert!(prefix("fd00::/8").covers(&found), "{found}");
        }
    }
}
