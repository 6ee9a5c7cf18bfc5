//! The list of what each purpose needs.

use anyhow::Result;
use vm_tests::process;

use super::crates::Program;
use super::{Purpose, newest};

/// A program, where it comes from and what for.
#[derive(Debug)]
pub(crate) struct Need {
    program: &'static str,
    source: Source,
    from: Purpose,
    what_for: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Debian(&'static str),
    Crate(Program),
    /// The newest build of a Debian package, kept among this workspace's tools.
    NewestDebian(&'static str),
}

const fn program(
    program: &'static str,
    source: Source,
    from: Purpose,
    what_for: &'static str,
) -> Need {
    Need {
        program,
        source,
        from,
        what_for,
    }
}

const fn packaged(package: &'static str) -> Source {
    Source::Debian(package)
}

const fn built(name: &'static str, version: &'static str, expected: &'static str) -> Program {
    Program {
        name,
        version,
        is_tool: false,
        must_be_fast: true,
        expected,
    }
}

/// Kept among this workspace's tools.
const fn tool(name: &'static str, version: &'static str, expected: &'static str) -> Source {
    Source::Crate(Program {
        is_tool: true,
        ..built(name, version, expected)
    })
}

/// It has little to do in its own code: LLVM does the work.
const BPF_LINKER: Source = Source::Crate(Program {
    must_be_fast: false,
    ..built("bpf-linker", "0.10.3", "about a minute on two cores")
});
const BORINGTUN: Source = Source::Crate(built(
    "boringtun-cli",
    "0.7.1",
    "about a minute on two cores",
));

/// A program stands at the first purpose that needs it; see [`Purpose::includes`].
#[rustfmt::skip]
const NEEDS: &[Need] = &[
    program("bpf-linker", BPF_LINKER, Purpose::Build, "links the eBPF object"),
    program("ip", packaged("iproute2"), Purpose::Lab, "network namespaces"),
    program("nsenter", packaged("util-linux"), Purpose::Lab, "programs in namespaces"),
    program("ethtool", packaged("ethtool"), Purpose::Lab, "virtual cables that behave like wires"),
    program("ping", packaged("iputils-ping"), Purpose::Lab, "the lab's first check"),
    program("iperf3", packaged("iperf3"), Purpose::Lab, "throughput"),
    program("mtr", packaged("mtr-tiny"), Purpose::Lab, "to look at paths"),
    program("traceroute", packaged("traceroute"), Purpose::Lab, "to look at paths"),
    program("bpftool", packaged("bpftool"), Purpose::Lab, "to look into maps and programs"),
    program("tcpdump", packaged("tcpdump"), Purpose::Lab, "what the wire saw"),
    program("sysctl", packaged("procps"), Purpose::Test, "the host's settings before and after"),
    program("nft", packaged("nftables"), Purpose::Test, "a firewall and NAT beside us"),
    program("keepalived", packaged("keepalived"), Purpose::Test, "a mate of virtual routers"),
    program("vtysh", packaged("frr"), Purpose::Test, "BFD beside a stock WireGuard"),
    program("openssl", packaged("openssl"), Purpose::Test, "certificates of a metrics' address"),
    program("promtool", packaged("prometheus"), Purpose::Test, "what reads a gateway's metrics"),
    program("nfcapd", packaged("nfdump"), Purpose::Test, "a collector of IPFIX"),
    program("tshark", packaged("tshark"), Purpose::Test, "reads captures"),
    program("wg", packaged("wireguard-tools"), Purpose::Test, "sets up stock WireGuard peers"),
    program("wireguard-go", packaged("wireguard-go"), Purpose::Test, "a stock WireGuard peer"),
    program("boringtun-cli", BORINGTUN, Purpose::Test, "a stock WireGuard peer"),
    program("qemu-system-x86_64", packaged("qemu-system-x86"), Purpose::Vm, "virtual machines"),
    program("depmod", packaged("kmod"), Purpose::Vm, "the modules of other kernels"),
    program("cpio", packaged("cpio"), Purpose::Vm, "the file system of a virtual machine"),
    program("strip", packaged("binutils"), Purpose::Vm, "small programs in virtual machines"),
    program("wireguard-go-newest", Source::NewestDebian("wireguard-go"), Purpose::Bench, "a peer to be measured against"),
    program("gotatun", tool("gotatun-cli", "0.10.2", "some minutes"), Purpose::Bench, "a peer to be measured against"),
];

/// What one command needs whatever else is there: no purpose includes it.
#[rustfmt::skip]
const ALONE: &[Need] = &[
    program("cargo-fuzz", tool("cargo-fuzz", "0.13.2", "a minute"), Purpose::Build, "builds and runs the fuzz targets"),
    program("debootstrap", packaged("debootstrap"), Purpose::Build, "makes a bare Debian in a folder"),
    program("slirp4netns", packaged("slirp4netns"), Purpose::Build, "the network of a bare Debian"),
    program("chromium", packaged("chromium"), Purpose::Build, "looks at a report as a person would"),
    program("git", packaged("git"), Purpose::Build, "a copy of HEAD"),
];

/// The program of this name that one command alone needs.
pub(crate) fn alone(program: &str) -> &'static Need {
    let mut needs = ALONE.iter();
    let need = needs.find(|need| need.program == program);
    need.unwrap_or_else(|| panic!("{program} is not in the list"))
}

/// What `purpose` needs and this machine lacks.
pub(crate) fn missing(purpose: Purpose) -> Vec<&'static Need> {
    let needs = of(purpose);
    needs.filter(|need| need.is_missing()).collect()
}

fn of(purpose: Purpose) -> impl Iterator<Item = &'static Need> {
    let included = purpose.includes();
    NEEDS.iter().filter(|need| included.contains(&need.from))
}

impl Purpose {
    /// The purposes whose programs this one needs.
    fn includes(self) -> &'static [Self] {
        match self {
            Self::Build => &[Self::Build],
            Self::Lab => &[Self::Build, Self::Lab],
            Self::Test => &[Self::Build, Self::Lab, Self::Test],
            Self::Vm => &[Self::Build, Self::Lab, Self::Test, Self::Vm],
            Self::Bench => &[Self::Build, Self::Lab, Self::Test, Self::Bench],
        }
    }
}

impl Need {
    /// Whether it is nowhere in the search path.
    pub(crate) fn is_missing(&self) -> bool {
        !process::in_path(self.program)
    }

    /// The program's name.
    pub(crate) fn name(&self) -> &'static str {
        self.program
    }

    /// The Debian package, if it comes from one.
    pub(crate) fn package(&self) -> Option<&'static str> {
        match self.source {
            Source::Debian(package) => Some(package),
            _ => None,
        }
    }

    /// What cargo builds it from, if it does.
    pub(crate) fn crate_program(&self) -> Option<Program> {
        match self.source {
            Source::Crate(program) => Some(program),
            _ => None,
        }
    }

    /// Installs it, if it is no package of this system.
    pub(crate) fn install(&self) -> Result<()> {
        match self.source {
            Source::Debian(_) => Ok(()),
            Source::NewestDebian(package) => newest::install(package, self.program),
            Source::Crate(program) => program.install(),
        }
    }

    /// Where it comes from and what it is for.
    pub(crate) fn explanation(&self) -> String {
        match self.source {
            Source::Debian(package) => format!("Debian package {package}: {}", self.what_for),
            Source::Crate(Program { name, version, .. }) => {
                format!("crate {name} {version}, built by cargo: {}", self.what_for)
            }
            Source::NewestDebian(package) => format!(
                "newest build of Debian's {package}, beside the installed one: {}",
                self.what_for
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_need_all_that_the_lab_needs_and_the_lab_all_that_building_needs() {
        let names = |purpose| of(purpose).map(Need::name).collect::<Vec<_>>();
        let (build, lab, test) = (
            names(Purpose::Build),
            names(Purpose::Lab),
            names(Purpose::Test),
        );
        assert_eq!(build, ["bpf-linker"]);
        assert!(build.iter().all(|name| lab.contains(name)));
        assert!(lab.iter().all(|name| test.contains(name)));
    }
}
