//! The host's firewall beside us, nftables (`iptables-nft` included) and the older iptables: whether a FORWARD chain
//! would drop what the kernel stack must carry, whether the tunnel's own datagrams may come and go, and whether
//! addresses are translated. Read from the kernel; neither `nft` nor `iptables` need be installed.
//!
//! The fast path passes netfilter by. What it leaves to the stack does not, and of a connection of which the fast path
//! carries the rest, conntrack has seen a part: it may be called invalid. [`walk`] follows packets through the chains
//! that they would meet. What it does not understand it takes as the administrator would wish it: a rule that may
//! accept a site's addresses does, and one that may drop does not.

mod legacy;
mod netlink;
pub mod notes;
pub mod ruleset;
mod walk;
mod xtables;

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use crossway_types::ids::IfIndex;

use self::legacy::Table;
use self::netlink::NetfilterSocket;
use self::ruleset::{INPUT, OUTPUT, Ruleset};
pub use self::walk::{Blocked, Passage, Ports, WrittenWith};
use super::error::HostError;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Chains that drop what they should not, each with the mend.
    pub warnings: Vec<String>,
    /// Something translates addresses of what passes.
    pub nat: bool,
}

/// Where the tunnel's own datagrams end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Those that come to the listening port, by the interface that they come by.
    pub in_by: Vec<(String, Blocked)>,
    /// Those that leave, by the interface that they leave by.
    pub out_by: Vec<(String, Blocked)>,
}

/// A chain that sees a packet which the kernel stack forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardChain {
    /// Family, table and name.
    pub name: String,
    /// Whether it drops packets on this way that begin a connection; `None` where its rules are not read.
    pub drops: Option<bool>,
}

/// An interface as rules name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub index: IfIndex,
}

/// The rules of this network namespace. Those of nftables are read again only when they have changed.
#[derive(Debug, Default)]
pub struct Watched {
    reading: Reading,
    nftables: Ruleset,
}

/// Of which generation the rules are that were read last.
///
/// The kernel raises the number first, and makes the changes then (`nf_tables_commit`): who reads in between gets the
/// old rules under the new number. So the rules of a new number are read once more at the next look, and whenever the
/// kernel says that a change is done.
#[derive(Debug, Default)]
struct Reading {
    generation: Option<u32>,
    confirmed: bool,
}

impl Reading {
    /// Whether the rules that were read last are those of `generation`; if not, they are to be read now.
    fn holds(&mut self, generation: u32) -> bool {
        let known = self.generation == Some(generation);
        if known && self.confirmed {
            return true;
        }
        self.generation = Some(generation);
        self.confirmed = known;
        false
    }
}

/// What the kernel has now.
struct Rules<'a> {
    /// Of nftables and of the older iptables.
    all: Cow<'a, Ruleset>,
    /// Tables of the older iptables that cannot be read, and why.
    unread: Vec<(Table, io::Error)>,
    /// Something translates addresses.
    nat: bool,
}

impl Watched {
    /// The kernel has said that a change of the rules is done ([`notes::Notes`]).
    pub fn on_changed(&mut self) {
        self.reading = Reading::default();
    }

    /// Judges the rules as they are for packets between these LANs and the tunnel. `fast_path`: whether conntrack may
    /// see a part of a connection.
    ///
    /// # Errors
    /// The kernel does not tell its rules.
    pub fn look(
        &mut self,
        lans: &[Named],
        tun: &Named,
        fast_path: bool,
    ) -> Result<Firewall, HostError> {
        let Rules { all, unread, nat } = self.rules()?;
        let mut warnings: Vec<_> = unread
            .iter()
            .map(|(table, error)| not_judged(table, error))
            .collect();
        for lan in lans {
            for (from, to) in [(lan, tun), (tun, lan)] {
                let passage = Passage {
                    from: Some(from),
                    to: Some(to),
                    ports: None,
                };
                for found in walk::judge(&all, passage, fast_path) {
                    if !warnings.contains(&found) {
                        warnings.push(found);
                    }
                }
            }
        }
        Ok(Firewall { warnings, nat })
    }

    /// The base chains at the hook FORWARD that see packets of a family on this way, in their order.
    ///
    /// # Errors
    /// The kernel does not tell its rules.
    pub fn chains(
        &mut self,
        passage: Passage<'_>,
        ipv4: bool,
    ) -> Result<Vec<ForwardChain>, HostError> {
        let Rules { all, unread, .. } = self.rules()?;
        let known = walk::meet(&all, passage, ipv4);
        let unknown = unread.iter().map(|(table, _)| ForwardChain {
            name: format!("iptables-legacy {}", table.name),
            drops: None,
        });
        Ok(known.chain(unknown).collect())
    }

    /// Where datagrams of the tunnel end that come or leave by these WANs, with the UDP port that is listened on.
    ///
    /// # Errors
    /// The kernel does not tell its rules.
    pub fn look_at_datagrams(&mut self, wans: &[Named], port: u16) -> Result<Datagrams, HostError> {
        let Rules { all, .. } = self.rules()?;
        let mut found = Datagrams::default();
        for wan in wans {
            let incoming = Passage {
                from: Some(wan),
                to: None,
                ports: Some(Ports {
                    source: None,
                    destination: Some(port),
                }),
            };
            let leaving = Passage {
                from: None,
                to: Some(wan),
                ports: Some(Ports {
                    source: Some(port),
                    destination: None,
                }),
            };
            let named = |blocked| (wan.name.clone(), blocked);
            found
                .in_by
                .extend(walk::blocked(&all, INPUT, incoming).map(named));
            found
                .out_by
                .extend(walk::blocked(&all, OUTPUT, leaving).map(named));
        }
        Ok(found)
    }

    fn rules(&mut self) -> Result<Rules<'_>, HostError> {
        self.read().map_err(|error| HostError::Netlink {
            what: "to read the host's nftables".to_owned(),
            error,
        })?;
        let mut all = Cow::Borrowed(&self.nftables);
        let mut unread = Vec::new();
        let mut nat = all.translates();
        for table in legacy::tables() {
            nat |= table.name == "nat";
            match table.chains() {
                Ok(chains) if chains.is_empty() => {}
                Ok(chains) => all.to_mut().chains.extend(chains),
                Err(error) => unread.push((table, error)),
            }
        }
        Ok(Rules { all, unread, nat })
    }

    fn read(&mut self) -> io::Result<()> {
        if !has_nftables() {
            *self = Self::default();
            return Ok(());
        }
        let mut socket = NetfilterSocket::open()?;
        let generation = socket.generation()?;
        if self.reading.holds(generation) {
            return Ok(());
        }
        match socket.rules() {
            Ok(rules) => self.nftables = rules,
            Err(error) => {
                self.reading = Reading::default();
                return Err(error);
            }
        }
        Ok(())
    }
}

fn not_judged(table: &Table, error: &io::Error) -> String {
    format!(
        "the host has an iptables-legacy table {} that cannot be read ({error}): whether its chains drop what the fast \
         path leaves to the kernel stack is not known; look at it with iptables-legacy-save, or move its rules to \
         nftables (iptables-nft)",
        table.name
    )
}

/// Whether asking would not load a module that nobody has wanted yet.
fn has_nftables() -> bool {
    // Without modules it is built in, or it is not there and says so.
    !Path::new("/proc/modules").exists()
        || Path::new("/sys/module/nf_tables").exists()
        || is_built_in("nf_tables")
}

fn is_built_in(module: &str) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = format!("/lib/modules/{}/modules.builtin", release.trim_end());
    let list = fs::read_to_string(list).unwrap_or_default();
    let file = format!("/{module}.ko");
    list.lines().any(|line| line.ends_with(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_a_new_generation_are_read_twice_and_no_more() {
        let mut reading = Reading::default();
        let mut read = |generation| !reading.holds(generation);
        assert_eq!([7, 7, 7, 7].map(&mut read), [true, true, false, false]);
        assert_eq!([8, 9, 9, 9].map(&mut read), [true, true, true, false]);
        assert_eq!([7, 7, 7].map(&mut read), [true, true, false]);
    }
}
