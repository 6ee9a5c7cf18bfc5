//! Per-interface sysctls of the network namespace this thread is in, by typed keys.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};

use super::error::HostError;

/// A sysctl `net.<family>.conf.<interface>.<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Which stack.
    pub family: Family,
    /// Interface name, `all` or `default`.
    pub interface: String,
    /// Which setting.
    pub name: Name,
}

/// A stack of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// The settings that Crossway reads or sets (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// Whether packets that come in by the interface are forwarded. IPv6 also looks at `all`.
    Forwarding,
    /// IPv6 since 6.17: forward what comes in by this interface, whatever `all` says.
    ForceForwarding,
    /// IPv6: 1 takes router advertisements unless forwarding, 2 takes them always.
    AcceptRa,
    /// IPv6: 0 and 3 make a link-local address, 1 makes none, 2 makes a private one.
    AddrGenMode,
    /// IPv6: no IPv6 on the interface.
    DisableIpv6,
    /// Take ICMP redirects from neighbours.
    AcceptRedirects,
    /// IPv4 reverse path check: 1 strict, 2 loose; the greater of `all` and the interface counts.
    RpFilter,
    /// IPv4: send ICMP redirects; on if `all` or the interface has it on.
    SendRedirects,
    /// IPv4: which ARP requests are answered: 0 for any address of the host, 1 for those of the
    /// interface, 8 for none; the greater of `all` and the interface counts.
    ArpIgnore,
    /// IPv4: whose address ARP requests come from: 0 the packet's, 2 the interface's; the greater of
    /// `all` and the interface counts.
    ArpAnnounce,
    /// IPv6: duplicate address detection, which keeps an address from use for a second.
    AcceptDad,
}

impl Key {
    /// `net.ipv4.conf.<interface>.<name>`.
    pub fn ipv4(interface: &str, name: Name) -> Self {
        Self::new(Family::Ipv4, interface, name)
    }

    /// `net.ipv6.conf.<interface>.<name>`.
    pub fn ipv6(interface: &str, name: Name) -> Self {
        Self::new(Family::Ipv6, interface, name)
    }

    fn new(family: Family, interface: &str, name: Name) -> Self {
        Self {
            family,
            interface: interface.to_owned(),
            name,
        }
    }

    /// Whether packets would not pass without it. Where another cannot be set, that is a warning.
    pub fn is_needed(&self) -> bool {
        matches!(
            self.name,
            Name::Forwarding | Name::ForceForwarding | Name::DisableIpv6
        )
    }

    /// Its value; `None` where the interface or, on this kernel, the setting does not exist.
    pub fn read(&self) -> Result<Option<String>, HostError> {
        let path = self.path();
        match fs::read_to_string(&path) {
            Ok(value) => Ok(Some(value.trim_end().to_owned())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(HostError::file("read", path, error)),
        }
    }

    /// Sets it. Whether it was there to be set.
    pub fn write(&self, value: &str) -> Result<bool, HostError> {
        let path = self.path();
        // Without O_CREAT: procfs would answer EACCES to a missing file instead of ENOENT.
        let file = fs::OpenOptions::new().write(true).open(&path);
        match file.and_then(|mut file| file.write_all(value.as_bytes())) {
            Ok(()) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(HostError::file("write", path, error)),
        }
    }

    fn path(&self) -> PathBuf {
        self.family
            .directory()
            .join(&self.interface)
            .join(self.name.file())
    }
}

/// Whether the kernel asks that the sources of an interface are reached by it: the greater of its `rp_filter` and that
/// of `all` counts, and 2 is less strict than 1.
pub fn is_strict(interface: &str) -> bool {
    let value = |interface| {
        let value = Key::ipv4(interface, Name::RpFilter).read().ok().flatten();
        value.and_then(|value| value.parse::<u8>().ok())
    };
    value(interface).max(value("all")) == Some(1)
}

impl Family {
    /// Interfaces that have settings of this family, `all` and `default` among them; none where the
    /// kernel runs without the family.
    pub fn interfaces(self) -> Result<Vec<String>, HostError> {
        let directory = self.directory();
        let failed = |error| HostError::file("list", directory, error);
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(failed)
    }

    fn directory(self) -> &'static Path {
        Path::new(match self {
            Self::Ipv4 => "/proc/sys/net/ipv4/conf",
            Self::Ipv6 => "/proc/sys/net/ipv6/conf",
        })
    }
}

impl Name {
    fn file(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::ForceForwarding => "force_forwarding",
            Self::AcceptRa => "accept_ra",
            Self::AddrGenMode => "addr_gen_mode",
            Self::DisableIpv6 => "disable_ipv6",
            Self::AcceptRedirects => "accept_redirects",
            Self::RpFilter => "rp_filter",
            Self::SendRedirects => "send_redirects",
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::AcceptDad => "accept_dad",
        }
    }
}

impl fmt::Display for Key {
    /// As sysctl(8) takes it: dots of an interface name are written as slashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let interface = self.interface.replace('.', "/");
        write!(f, "net.{family}.conf.{interface}.{}", self.name.file())
    }
}

/// The kernel answers ENODEV to a file of an interface that is just going.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_as_sysctl_takes_it() {
        let key = Key::ipv6("eth0.100", Name::AcceptRa);
        assert_eq!(key.to_string(), "net.ipv6.conf.eth0/100.accept_ra");
        assert!(key.path().ends_with("ipv6/conf/eth0.100/accept_ra"));
    }

    #[test]
    fn a_missing_interface_has_no_settings() {
        let key = Key::ipv4("nosuch0", Name::Forwarding);
        assert_eq!(key.read().unwrap(), None);
        assert!(!key.write("1").unwrap());
    }
}
