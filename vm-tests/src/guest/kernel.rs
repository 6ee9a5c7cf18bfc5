//! A kernel as its Debian packages unpack it, and the modules of it that a guest needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;

/// What tests, gateways and virtual machines ask a kernel for; what these depend on comes along.
const MODULES: &[&str] = &[
    // The machine.
    "virtio_pci",
    "virtio_net",
    "virtio_rng",
    // Interfaces.
    "8021q",
    "bridge",
    "dummy",
    "macvlan",
    "tun",
    "veth",
    "vrf",
    "wireguard",
    // Traffic control.
    "act_gact",
    "act_mirred",
    "act_police",
    "cls_bpf",
    "cls_flower",
    "cls_matchall",
    "cls_u32",
    "sch_fq",
    "sch_fq_codel",
    "sch_htb",
    "sch_ingress",
    "sch_netem",
    "sch_prio",
    "sch_tbf",
    // Sockets that tests look with.
    "af_packet",
    "af_packet_diag",
    "inet_diag",
    "raw_diag",
    "tcp_diag",
    "udp_diag",
    // A firewall and NAT beside us.
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_inet",
    "nft_limit",
    "nft_log",
    "nft_masq",
    "nft_nat",
    "nft_reject_inet",
    "nft_compat",
    "xt_conntrack",
    // Cryptography that WireGuard may want by name.
    "chacha20poly1305",
    "curve25519-x86_64",
    "libcurve25519",
    "libchacha20poly1305",
];

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Where its packages were unpacked.
    root: PathBuf,
    /// As `uname -r` will give it.
    pub release: String,
}

impl Kernel {
    /// Finds the kernel below `root`.
    pub fn unpacked(root: &Path) -> Result<Self> {
        let modules = modules_of(root)?;
        let release = modules.file_name().context("a kernel's folder")?;
        Ok(Self {
            root: root.to_owned(),
            release: release.to_string_lossy().into_owned(),
        })
    }

    /// Its image.
    pub fn vmlinuz(&self) -> Result<PathBuf> {
        let release = &self.release;
        let places = [
            self.root.join(format!("boot/vmlinuz-{release}")),
            self.root.join(format!("usr/lib/modules/{release}/vmlinuz")),
        ];
        let found = places.into_iter().find(|place| place.exists());
        found.with_context(|| format!("no vmlinuz below {}", self.root.display()))
    }

    /// Copies what a guest needs of the modules below `target`, unpacked, with the lists that `modprobe` reads.
    pub fn install_modules(&self, target: &Path) -> Result<()> {
        let source = modules_of(&self.root)?;
        if !source.join("modules.dep").exists() {
            self.list(&self.root, &source)?;
        }
        let folder = target.join("lib/modules").join(&self.release);
        for module in Self::needed(&source)? {
            copy_module(&source.join(&module), &folder.join(&module))?;
        }
        for list in [
            "modules.order",
            "modules.builtin",
            "modules.builtin.modinfo",
        ] {
            // Each release of Debian packs others of them, and depmod does with what there is.
            if source.join(list).exists() {
                fs::copy(source.join(list), folder.join(list))?;
            }
        }
        self.list(target, &folder)
    }

    /// Writes `modules.dep` and its kin.
    fn list(&self, root: &Path, folder: &Path) -> Result<()> {
        // Newer packages keep modules below /usr, where depmod does not look by itself.
        let base = if folder.starts_with(root.join("usr")) {
            root.join("usr")
        } else {
            root.to_owned()
        };
        process::run(
            Command::new("depmod")
                .arg("-b")
                .arg(base)
                .arg(&self.release),
        )?;
        Ok(())
    }

    /// The files of [`MODULES`] and of all that they depend on, relative to `source`.
    fn needed(source: &Path) -> Result<BTreeSet<String>> {
        let text = fs::read_to_string(source.join("modules.dep"))?;
        let dependencies = parse_dependencies(&text);
        let mut needed = BTreeSet::new();
        for wanted in MODULES {
            // One that is not there is built in, or not of this kernel: who needs it will say so.
            let found = dependencies
                .iter()
                .find(|(file, _)| name_of(file) == wanted.replace('-', "_"));
            if let Some((file, others)) = found {
                needed.insert((*file).to_owned());
                needed.extend(others.iter().map(ToString::to_string));
            }
        }
        ensure!(
            !needed.is_empty(),
            "{} has none of the modules that a guest needs",
            source.display()
        );
        Ok(needed)
    }
}

/// `…/lib/modules/RELEASE` below `root`.
fn modules_of(root: &Path) -> Result<PathBuf> {
    for folder in ["lib/modules", "usr/lib/modules"] {
        if let Some(entry) = fs::read_dir(root.join(folder)).into_iter().flatten().next() {
            return Ok(entry?.path());
        }
    }
    anyhow::bail!("no kernel's modules below {}", root.display())
}

/// From `modules.dep`: file → all files that it needs, relative to the folder.
fn parse_dependencies(text: &str) -> BTreeMap<&str, Vec<&str>> {
    text.lines()
        .filter_map(|line| {
            let (file, others) = line.split_once(':')?;
            Some((file, others.split_whitespace().collect()))
        })
        .collect()
}

/// `kernel/net/sched/sch_netem.ko.xz` → `sch_netem`.
fn name_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

/// Copies a module to a path that keeps its name: `modprobe` reads compressed ones itself.
fn copy_module(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_dependencies_gives_each_module_what_it_needs() {
        let text =
            "kernel/net/a.ko.xz: kernel/lib/b-c.ko.xz kernel/lib/d.ko.xz\nkernel/lib/d.ko.xz:\n";
        let found = parse_dependencies(text);
        assert_eq!(
            found["kernel/net/a.ko.xz"],
            ["kernel/lib/b-c.ko.xz", "kernel/lib/d.ko.xz"]
        );
        assert!(found["kernel/lib/d.ko.xz"].is_empty());
        assert_eq!(name_of("kernel/lib/b-c.ko.xz"), "b_c");
    }
}
