//! Reads the tables of `iptables-legacy` from the kernel: getsockopt(2) with the options of
//! linux/netfilter_ipv4/ip_tables.h. The kernel has no notes of their changes.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use crossway_sys::socket_option;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::ruleset::{Chain, IPV4, Place};
use super::xtables::{self, Info, Layout, OF_IPV4, OF_IPV6};

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`; those of IPv6 have the same numbers.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// Bytes of a table's name.
const NAME: usize = 32;
/// Where `struct ipt_get_entries` has the size and the entries.
const SIZE: usize = NAME;
const ENTRIES: usize = 40;
/// Tables that can drop what passes or take it out of tracking, with their place among others at a hook
/// (`NF_IP_PRI_*`).
const TABLES: [(&str, i32); 4] = [
    ("raw", -300),
    ("mangle", -150),
    ("filter", 0),
    ("security", 50),
];
/// A table may change while it is read.
const ATTEMPTS: usize = 3;

/// A table that somebody has made.
#[derive(Debug)]
pub(super) struct Table {
    layout: Layout,
    pub(super) name: String,
}

/// The tables of this network namespace. Asking for another would make it.
pub(super) fn tables() -> Vec<Table> {
    let mut tables = Vec::new();
    for (file, layout) in [("ip_tables_names", OF_IPV4), ("ip6_tables_names", OF_IPV6)] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        tables.extend(text.lines().map(|name| Table {
            layout,
            name: name.to_owned(),
        }));
    }
    tables
}

impl Table {
    /// Its chains; none where it can neither drop what passes nor take it out of tracking.
    pub(super) fn chains(&self) -> io::Result<Vec<(Place, Chain)>> {
        let known = TABLES.iter().find(|(name, _)| *name == self.name);
        let Some((name, priority)) = known else {
            return Ok(Vec::new());
        };
        let (info, entries) = read(self.layout, name)?;
        let chains = xtables::chains(self.layout, name, *priority, &info, &entries);
        chains
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "entries of an unknown form"))
    }
}

/// What a table is like, and its entries.
fn read(layout: Layout, table: &str) -> io::Result<(Info, Vec<u8>)> {
    let (family, level) = if layout.family == IPV4 {
        (AddressFamily::Inet, libc::IPPROTO_IP)
    } else {
        (AddressFamily::Inet6, libc::IPPROTO_IPV6)
    };
    let socket: OwnedFd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut attempts = ATTEMPTS;
    loop {
        let mut answer = [0; Info::LENGTH];
        answer[..table.len()].copy_from_slice(table.as_bytes());
        socket_option::read(&socket, level, GET_INFO, &mut answer)?;
        let info = Info::read(&answer).ok_or(io::ErrorKind::InvalidData)?;
        let mut entries = vec![0; ENTRIES + info.size as usize];
        entries[..table.len()].copy_from_slice(table.as_bytes());
        entries[SIZE..SIZE + 4].copy_from_slice(&info.size.to_ne_bytes());
        attempts -= 1;
        match socket_option::read(&socket, level, GET_ENTRIES, &mut entries) {
            Ok(_) => return Ok((info, entries.split_off(ENTRIES))),
            // It has another size by now.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}
