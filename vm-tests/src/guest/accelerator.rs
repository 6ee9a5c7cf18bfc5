//! Who runs a guest's instructions: the processor itself (KVM) where that works, else QEMU (TCG).

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Machine;

/// A kernel that KVM really runs is up in a second or two; one that hangs would take for ever.
const PROBE_LIMIT: Duration = Duration::from_secs(12);
/// Changes with every start of the host, and with it perhaps what its processor can do.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Who runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU, one by one: correct, and ten to thirty times slower.
    Tcg,
}

impl Accelerator {
    /// Tries whether KVM boots `machine`. What was found is kept in `directory` until the host starts anew.
    pub fn probe(machine: &Machine, directory: &Path) -> Result<Self> {
        let kept = directory.join("accelerator");
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let boot = boot.trim();
        for choice in [Self::Kvm, Self::Tcg] {
            if fs::read_to_string(&kept).is_ok_and(|text| text == format!("{boot} {choice}\n")) {
                return Ok(choice);
            }
        }
        let choice = if Self::kvm_boots(machine, directory) {
            Self::Kvm
        } else {
            Self::Tcg
        };
        fs::write(&kept, format!("{boot} {choice}\n"))?;
        Ok(choice)
    }

    fn kvm_boots(machine: &Machine, directory: &Path) -> bool {
        if fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return false;
        }
        let machine = Machine {
            accelerator: Self::Kvm,
            cards: Vec::new(),
            ..machine.clone()
        };
        let guest = machine.boot_within("kvm-probe", directory, PROBE_LIMIT);
        guest.is_ok_and(|guest| guest.power_off().is_ok())
    }

    /// Whether figures of speed say little: every instruction is emulated.
    pub fn is_emulated(self) -> bool {
        self == Self::Tcg
    }

    /// QEMU's words for it.
    pub(super) fn words(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // One thread for all CPUs: where each has its own, kernels from 6.12 on meet half-patched code of themselves
            // (an int3 that nobody set, out of a static key).
            // QEMU 7.2 emulates cmpxchg16b so that kernels from 6.12 on die of it in kmalloc, and a fifth level of page
            // tables only costs time.
            Self::Tcg => [
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max,cx16=off,la57=off",
            ],
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulated CPU",
        })
    }
}
