//! Which capabilities a thread holds: those of the start, then those of its part.
//!
//! A capability that has been dropped does not come back: not by running a program (the bounding set has
//! shrunk, and no_new_privs is set), and not by asking.

use std::collections::HashSet;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};

use super::sys;

use Capability::{
    CAP_BPF, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE,
    CAP_NET_RAW, CAP_PERFMON, CAP_SETPCAP, CAP_SYS_ADMIN, CAP_SYS_NICE, CAP_SYS_RESOURCE,
};

/// What a start may need, as far as we have it. Dropped when the gateway forwards.
const START: &[Capability] = &[
    // As for good: see `Part`.
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    CAP_BPF,
    // The verifier spares programs the barriers against speculation only with it.
    CAP_PERFMON,
    // To mount the BPF file system where nobody has.
    CAP_SYS_ADMIN,
    // Kernels before 5.11 count maps as locked memory; and the limit of priorities is raised.
    CAP_SYS_RESOURCE,
    CAP_SYS_NICE,
    // A `listen` port below 1024.
    CAP_NET_BIND_SERVICE,
    // The control socket's group.
    CAP_CHOWN,
    // A file in the home of who tries Crossway by sudo.
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    // To shrink the bounding set.
    CAP_SETPCAP,
];

/// How a file is mended that may not be read.
pub fn mend_of_file() -> &'static str {
    if nix::unistd::Uid::effective().is_root() {
        "the running agent is root without CAP_DAC_OVERRIDE: give the file and its folders to root (chown root), like those in /etc/crossway"
    } else {
        "run this as root (sudo)"
    }
}

/// What a thread does once the gateway forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The control task: interfaces, routes, sysctls; attaches programs and writes maps; opens sockets for
    /// ICMP and VRRP.
    Control,
    /// A lane: it reads and writes descriptors that are open. This is where bytes of strangers are parsed.
    Lane,
    /// Virtual routers: raw sockets, and their devices.
    Vrrp,
    /// Blocking work of the control task: routes by the million.
    Worker,
    /// Answers those who read the metrics: it parses what strangers send, and reads what is handed to it.
    Metrics,
    /// Writes finished flows to a file and sends them.
    Export,
    /// Counts services and keeps them in a file.
    Discovery,
    /// Looks names up: the resolver parses what name servers say.
    Names,
}

impl Part {
    fn needs(self) -> &'static [Capability] {
        match self {
            Self::Control => &[CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF],
            Self::Lane | Self::Metrics | Self::Names | Self::Export | Self::Discovery => &[],
            Self::Vrrp => &[CAP_NET_ADMIN, CAP_NET_RAW],
            Self::Worker => &[CAP_NET_ADMIN],
        }
    }
}

/// Leaves the calling thread what `part` needs, as far as it has it, for good.
///
/// # Errors
/// The kernel refused.
pub fn settle(part: Part) -> io::Result<()> {
    let mut kept = part.needs().to_vec();
    // A hand-over hurries while nothing is carried. Where the limit of priorities could not be raised, which
    // takes CAP_SYS_RESOURCE, or LimitNICE= in a unit, it takes this.
    if part == Part::Control && !sys::is_any_nice_allowed() {
        kept.push(CAP_SYS_NICE);
    }
    keep(&kept).map_err(io::Error::other)
}

/// As [`settle`], for the first deed of a thread, which goes on whatever comes of it: `status` tells what
/// each thread holds.
pub fn settle_thread(part: Part) {
    if let Err(error) = settle(part) {
        tracing::warn!(%error, ?part, "a thread could not drop its capabilities");
    }
}

/// Keeps of this thread what the start may need.
pub(super) fn keep_for_start() -> Result<(), caps::errors::CapsError> {
    bound_to(START);
    keep(START)
}

/// What a program that this thread runs would get, which is nothing: it runs none. To be called before
/// there is another thread.
pub(super) fn forget_inherited() -> Result<(), caps::errors::CapsError> {
    bound_to(Part::Control.needs());
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)
}

fn keep(wanted: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let wanted: CapsHashSet = wanted.iter().copied().collect();
    let held = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = held.intersection(&wanted).copied().collect();
    // In this order: nothing may be effective or inheritable that is not permitted.
    let inheritable = caps::read(None, CapSet::Inheritable)?;
    let inheritable: HashSet<_> = inheritable.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Inheritable, &inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// Shrinks the bounding set. Without CAP_SETPCAP it stays as whoever started us has drawn it.
fn bound_to(wanted: &[Capability]) {
    let Ok(bounding) = caps::read(None, CapSet::Bounding) else {
        return;
    };
    for capability in bounding {
        if !wanted.contains(&capability)
            && let Err(error) = caps::drop(None, CapSet::Bounding, capability)
        {
            tracing::debug!(%error, "could not shrink the bounding set");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own: what is dropped is gone for the thread.
    fn settled(part: Part) -> CapsHashSet {
        let thread = std::thread::spawn(move || {
            settle(part).unwrap();
            let sets = [CapSet::Effective, CapSet::Permitted].map(|set| caps::read(None, set));
            let [effective, permitted] = sets.map(Result::unwrap);
            assert_eq!(effective, permitted);
            for lost in caps::all().difference(&permitted) {
                let raised = caps::raise(None, CapSet::Permitted, *lost);
                assert!(raised.is_err(), "{lost} came back");
            }
            permitted
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_lane_holds_nothing_and_nobody_more_than_three() {
        let own = caps::read(None, CapSet::Permitted).unwrap();
        assert_eq!(settled(Part::Lane), CapsHashSet::new());
        assert_eq!(settled(Part::Export), CapsHashSet::new());
        assert_eq!(settled(Part::Discovery), CapsHashSet::new());
        for part in [Part::Control, Part::Vrrp, Part::Worker] {
            let needs: CapsHashSet = part.needs().iter().copied().collect();
            assert!(needs.len() <= 3);
            let expected: CapsHashSet = needs.intersection(&own).copied().collect();
            let mut kept = settled(part);
            if part == Part::Control && !sys::is_any_nice_allowed() {
                kept.remove(&CAP_SYS_NICE);
            }
            assert_eq!(kept, expected, "{part:?}");
        }
        let after = caps::read(None, CapSet::Permitted).unwrap();
        assert_eq!(after, own, "each thread drops for itself");
    }

    #[test]
    fn what_goes_on_is_part_of_what_starts() {
        for part in [
            Part::Control,
            Part::Lane,
            Part::Vrrp,
            Part::Worker,
            Part::Metrics,
            Part::Names,
            Part::Export,
            Part::Discovery,
        ] {
            assert!(part.needs().iter().all(|needed| START.contains(needed)));
        }
    }
}
