//! The host's nftables beside us (`iptables-nft` included), and the tables of the older iptables: whether a FORWARD chain
//! would drop what the kernel stack must carry, whether the tunnel's own datagrams may come and go, and whether addresses
//! are translated. Read from the kernel; `nft` need not be installed.
//!
//! The fast path passes netfilter by. What it leaves to the stack does not, and of a connection of which the fast path
//! carries the rest, conntrack has seen a part: it may be called invalid. [`walk`] follows packets through the chains
//! that they would meet. What it does not understand it takes as the administrator would wish it: a rule that may
//! accept a site's addresses does, and one that may drop does not.

mod legacy;
mod netlink;
pub mod ruleset;
mod walk;

use std::fs;
use std::io;
use std::path::Path;

use crossway_types::ids::IfIndex;

use self::netlink::NetfilterSocket;
use self::ruleset::Ruleset;
use self::ruleset::{INPUT, OUTPUT};
use self::walk::Kind;
pub use self::walk::{Blocked, Passage, Ports};
use super::error::HostError;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Chains that drop what they should not, each with the mend.
    pub warnings: Vec<String>,
    /// Something translates addresses of what passes.
    pub nat: bool,
}

/// An interface as rules name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub index: IfIndex,
}

/// Where the tunnel's own datagrams end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Those that come to the listening port, by the interface that they come by.
    pub in_by: Vec<(String, Blocked)>,
    /// Those that leave, by the interface that they leave by.
    pub out_by: Vec<(String, Blocked)>,
}

/// The rules of this network namespace, read again only when they have changed.
#[derive(Debug, Default)]
pub struct Watched {
    generation: Option<u32>,
    rules: Ruleset,
    legacy: Ruleset,
}

impl Watched {
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
        // What of the older iptables cannot be read keeps nobody from judging the rest.
        let _ = self.read_legacy();
        self.read_nftables()?;
        let nat = self.rules.translates() || legacy::tables().iter().any(|table| table == "nat");
        let mut warnings = Vec::new();
        for lan in lans {
            for (from, to) in [(lan, tun), (tun, lan)] {
                let passage = Passage {
                    from: Some(from),
                    to: Some(to),
                    ports: None,
                };
                for (rules, kind) in self.of_each_kind() {
                    for found in walk::judge(rules, kind, passage, fast_path) {
                        if !warnings.contains(&found) {
                            warnings.push(found);
                        }
                    }
                }
            }
        }
        Ok(Firewall { warnings, nat })
    }

    /// Where datagrams of the tunnel end that come or leave by these WANs, with the UDP port that is listened on.
    ///
    /// # Errors
    /// The kernel does not tell its rules.
    pub fn look_at_datagrams(&mut self, wans: &[Named], port: u16) -> Result<Datagrams, HostError> {
        self.read_legacy()?;
        self.read_nftables()?;
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
            for (rules, kind) in self.of_each_kind() {
                let named = |blocked| (wan.name.clone(), blocked);
                let of_input = walk::blocked(rules, kind, INPUT, incoming);
                found.in_by.extend(of_input.map(named));
                let of_output = walk::blocked(rules, kind, OUTPUT, leaving);
                found.out_by.extend(of_output.map(named));
            }
        }
        Ok(found)
    }

    fn of_each_kind(&self) -> [(&Ruleset, Kind); 2] {
        [(&self.rules, Kind::Nftables), (&self.legacy, Kind::Legacy)]
    }

    fn read_legacy(&mut self) -> Result<(), HostError> {
        self.legacy = Ruleset::default();
        self.legacy = legacy::rules().map_err(|error| HostError::Netlink {
            what: "to read the host's iptables".to_owned(),
            error,
        })?;
        Ok(())
    }

    fn read_nftables(&mut self) -> Result<(), HostError> {
        self.read_changed().map_err(|error| HostError::Netlink {
            what: "to read the host's nftables".to_owned(),
            error,
        })
    }

    fn read_changed(&mut self) -> io::Result<()> {
        if !has_nftables() {
            self.generation = None;
            self.rules = Ruleset::default();
            return Ok(());
        }
        let mut socket = NetfilterSocket::open()?;
        let generation = socket.generation()?;
        if self.generation != Some(generation) {
            self.rules = socket.rules()?;
            self.generation = Some(generation);
        }
        Ok(())
    }
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
