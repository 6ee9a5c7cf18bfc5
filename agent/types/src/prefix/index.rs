//! Many prefixes in one sorted list: which of them is there, covers another, or holds an address.

use std::net::IpAddr;

use super::Prefix;

/// Prefixes with a value each, sorted. A lookup is one binary search for each length in use, and
/// configurations use few.
#[derive(Clone, Debug)]
pub struct PrefixIndex<T> {
    entries: Vec<(Prefix, T)>,
    /// Bit `n`: some prefix has `n` bits.
    lengths: Lengths,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    v4: u64,
    /// IPv6 has 129 lengths, one more than there are bits here.
    v6: u128,
    v6_hosts: bool,
}

impl<T> PrefixIndex<T> {
    /// Takes the prefixes in any order; of equal ones all are kept.
    pub fn new(entries: impl IntoIterator<Item = (Prefix, T)>) -> Self {
        let mut entries: Vec<(Prefix, T)> = entries.into_iter().collect();
        entries.sort_by_key(|(prefix, _)| *prefix);
        let mut lengths = Lengths::default();
        for (prefix, _) in &entries {
            lengths.add(prefix);
        }
        Self { entries, lengths }
    }

    /// The value of this very prefix.
    pub fn get(&self, prefix: &Prefix) -> Option<&T> {
        let at = self.entries.partition_point(|(other, _)| other < prefix);
        let (found, value) = self.entries.get(at)?;
        (found == prefix).then_some(value)
    }

    /// The longest prefix that holds all of `prefix`, itself included.
    pub fn longest_cover(&self, prefix: &Prefix) -> Option<(Prefix, &T)> {
        let mut lengths = (0..=prefix.length()).rev();
        let address = prefix.address();
        lengths.find_map(|length| {
            if !self.lengths.has(prefix.is_ipv4(), length) {
                return None;
            }
            let cover = Prefix::containing(address, length);
            Some((cover, self.get(&cover)?))
        })
    }

    /// The longest prefix that holds `address`.
    pub fn longest_match(&self, address: IpAddr) -> Option<(Prefix, &T)> {
        self.longest_cover(&Prefix::host(address))
    }

    /// Every prefix inside `prefix`, itself included.
    pub fn inside(&self, prefix: Prefix) -> impl Iterator<Item = &(Prefix, T)> {
        // All of them stand behind each other: by address, then by length.
        let start = self.entries.partition_point(|(other, _)| *other < prefix);
        self.entries[start..]
            .iter()
            .take_while(move |(other, _)| prefix.covers(other))
    }
}

impl Lengths {
    fn add(&mut self, prefix: &Prefix) {
        match (prefix.is_ipv4(), prefix.length()) {
            (true, length) => self.v4 |= 1 << length,
            (false, 128) => self.v6_hosts = true,
            (false, length) => self.v6 |= 1 << length,
        }
    }

    fn has(self, ipv4: bool, length: u8) -> bool {
        match (ipv4, length) {
            (true, length) => self.v4 & (1 << length) != 0,
            (false, 128) => self.v6_hosts,
            (false, length) => self.v6 & (1 << length) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn index() -> PrefixIndex<u32> {
        let texts = [
            "10.2.0.0/16",
            "::/0",
            "10.2.3.4/32",
            "10.0.0.0/8",
            "2001:db8::1/128",
            "2001:db8::/32",
            "10.3.0.0/16",
        ];
        PrefixIndex::new(texts.iter().zip(0..).map(|(text, n)| (prefix(text), n)))
    }

    #[test]
    fn the_longest_of_several_covers_is_found_in_each_family() {
        let index = index();
        let found = |text: &str| index.longest_match(text.parse().unwrap());
        assert_eq!(found("10.2.3.4"), Some((prefix("10.2.3.4/32"), &2)));
        assert_eq!(found("10.2.3.5"), Some((prefix("10.2.0.0/16"), &0)));
        assert_eq!(found("10.9.0.1"), Some((prefix("10.0.0.0/8"), &3)));
        assert_eq!(found("11.0.0.1"), None);
        assert_eq!(found("2001:db8::1"), Some((prefix("2001:db8::1/128"), &4)));
        assert_eq!(found("2001:db9::1"), Some((prefix("::/0"), &1)));
        let cover = index.longest_cover(&prefix("10.2.0.0/15"));
        assert_eq!(cover, Some((prefix("10.0.0.0/8"), &3)));
        assert_eq!(index.get(&prefix("10.2.0.0/17")), None);
    }

    #[test]
    fn what_lies_inside_a_prefix_is_found_with_itself_and_nothing_else() {
        let index = index();
        let inside =
            |text: &str| -> Vec<u32> { index.inside(prefix(text)).map(|(_, n)| *n).collect() };
        assert_eq!(inside("10.0.0.0/8"), [3, 0, 2, 6]);
        assert_eq!(inside("10.2.0.0/16"), [0, 2]);
        assert!(inside("10.3.0.0/24").is_empty());
        assert_eq!(inside("0.0.0.0/0"), [3, 0, 2, 6]);
        assert_eq!(inside("2001:db8::/32"), [5, 4]);
    }
}
