//! nftables as plain data, as far as it is understood (linux/netfilter/nf_tables.h). The tables of `iptables-legacy`
//! are told in the same words.

use std::collections::HashMap;

/// Which chain: family, table and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// `NFPROTO_*`.
    pub family: u8,
    /// Table.
    pub table: String,
    /// Chain or set.
    pub name: String,
    /// It is one of `iptables-legacy`, beside the nftables.
    pub legacy: bool,
}

/// Where the kernel enters a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// `NF_INET_*`.
    pub hook: u32,
    /// The lower comes first.
    pub priority: i32,
    /// Its policy.
    pub drops: bool,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where the kernel enters it, if it does.
    pub base: Option<Base>,
    /// Its rules in their order.
    pub rules: Vec<Vec<Expression>>,
}

/// All chains and the sets that rules about connections look into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The chains.
    pub chains: HashMap<Place, Chain>,
    /// The sets.
    pub sets: HashMap<Place, Vec<Element>>,
}

/// An element of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its key; in a set of intervals, a bound.
    pub key: Vec<u8>,
    /// The interval ended in front of it.
    pub ends: bool,
    /// What a verdict map says.
    pub verdict: Option<Verdict>,
}

/// The element that a value is.
pub fn find<'a>(elements: &'a [Element], value: &[u8]) -> Option<&'a Element> {
    if elements.iter().all(|element| !element.ends) {
        return elements
            .iter()
            .find(|element| value.starts_with(&element.key));
    }
    let bounds = elements
        .iter()
        .filter(|bound| bound.key.as_slice() <= value);
    // Where one interval ends and the next begins, it has begun.
    let last = bounds.max_by_key(|bound| (&bound.key, !bound.ends));
    last.filter(|bound| !bound.ends)
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Index of the interface of arrival.
    In,
    /// Index of the interface that it leaves by.
    Out,
    /// Name of the first.
    InName,
    /// Name of the second.
    OutName,
    /// State of the connection.
    State,
    /// Something of the IP header: a rule may be for sites.
    Address,
    /// Protocol behind the IP header.
    Protocol,
    /// Port it comes from.
    SourcePort,
    /// Port it goes to.
    DestinationPort,
    /// Anything else.
    Other,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes this hook's chain.
    Accept,
    /// It ends.
    Drop,
    /// Another chain, and then on.
    Jump(String),
    /// Another chain.
    Goto(String),
    /// Back to where it was called.
    Return,
}

/// A step of a rule. Registers are numbered from 0, in units of 4 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads into a register.
    Load(u32, Field),
    /// A register and a mask, exclusive or something.
    Mask(u32, u32, Vec<u8>, Vec<u8>),
    /// Goes on if a register begins so; or if it does not.
    Compare(u32, bool, Vec<u8>),
    /// Goes on if a register is in a set, or is not; a verdict map decides.
    Lookup {
        /// The register.
        from: u32,
        /// The set.
        set: String,
        /// Whether it is a verdict map.
        decides: bool,
        /// Goes on if it is not in it.
        inverted: bool,
    },
    /// `-m conntrack --ctstate` of iptables: these bits, or none of them.
    States(u32, bool),
    /// Decides.
    Decide(Verdict),
    /// Takes the packet out of connection tracking.
    Notrack,
    /// Translates an address of what passes.
    Translate,
    /// Changes nothing of all that.
    Nothing,
    /// Not understood: the rule may match.
    Unknown,
}

impl Ruleset {
    /// Whether a rule translates addresses.
    pub fn translates(&self) -> bool {
        let rules = self.chains.values().flat_map(|chain| &chain.rules);
        rules.flatten().any(|step| *step == Expression::Translate)
    }

    /// The chains that the kernel enters at a hook of IP forwarding, in its order.
    pub fn at_hook(&self, hook: u32) -> Vec<(&Place, &Chain, &Base)> {
        let mut chains: Vec<_> = self
            .chains
            .iter()
            .filter(|(place, _)| matches!(place.family, INET | IPV4 | IPV6))
            .filter_map(|(place, chain)| Some((place, chain, chain.base.as_ref()?)))
            .filter(|(_, _, base)| base.hook == hook && base.kind == "filter")
            .collect();
        chains.sort_by_key(|(place, _, base)| {
            let Place {
                family,
                table,
                name,
                legacy,
            } = place;
            (base.priority, legacy, family, table, name)
        });
        chains
    }
}

/// `NFPROTO_*` of linux/netfilter.h.
pub const INET: u8 = 1;
/// IPv4 alone.
pub const IPV4: u8 = 2;
/// IPv6 alone.
pub const IPV6: u8 = 10;
/// `NF_INET_PRE_ROUTING`.
pub const PREROUTING: u32 = 0;
/// `NF_INET_LOCAL_IN`.
pub const INPUT: u32 = 1;
/// `NF_INET_FORWARD`.
pub const FORWARD: u32 = 2;
/// `NF_INET_LOCAL_OUT`.
pub const OUTPUT: u32 = 3;
