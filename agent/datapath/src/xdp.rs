//! Where `wan_guard` may be attached, decided without touching the kernel.

use crossway_types::interface::XdpChoice;

/// Drivers that run XDP before they allocate a packet buffer and lose nothing by it for UDP: the
/// cards of servers and clouds, and the gigabit cards of small boxes.
const NATIVE_GAINS: &[&str] = &[
    "atlantic",
    "bnxt_en",
    "ena",
    "fsl_dpaa2_eth",
    "gve",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "st_gmac",
];

/// Drivers for which XDP costs more than it gains, with the reason.
const LOSES: &[(&str, &str)] = &[
    (
        "veth",
        "on veth an attached XDP program turns off the peer's segmentation offload",
    ),
    (
        "virtio_net",
        "on virtio_net an attached XDP program turns off the guest's receive offloads",
    ),
    (
        "tun",
        "a TUN or TAP device has its packets built before XDP sees them",
    ),
    (
        "bridge",
        "a bridge has no native XDP: attach to its ports instead",
    ),
    (
        "macvlan",
        "macvlan has no native XDP: attach to the interface below instead",
    ),
    (
        "802.1Q VLAN Support",
        "a VLAN interface has no native XDP: attach to the interface below instead",
    ),
    (
        "bonding",
        "a bond runs XDP on its members only in some modes",
    ),
];

/// What to do about XDP on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdpPlan {
    /// Attach nothing.
    Off {
        /// Why, for people.
        reason: String,
    },
    /// Attach in the driver.
    Native {
        /// Why, for people.
        reason: String,
    },
    /// Attach in the stack.
    Generic {
        /// Why, for people.
        reason: String,
    },
}

/// Decides for an interface whose driver calls itself `driver` (`None` if it does not say).
pub fn plan(choice: XdpChoice, driver: Option<&str>) -> XdpPlan {
    match choice {
        XdpChoice::Native => XdpPlan::Native {
            reason: "configured".to_owned(),
        },
        XdpChoice::Generic => XdpPlan::Generic {
            reason: "configured".to_owned(),
        },
        XdpChoice::Off => XdpPlan::Off {
            reason: "configured".to_owned(),
        },
        XdpChoice::Auto => automatic(driver),
    }
}

fn automatic(driver: Option<&str>) -> XdpPlan {
    let Some(driver) = driver else {
        return XdpPlan::Off {
            reason: "auto: the interface does not name its driver".to_owned(),
        };
    };
    if NATIVE_GAINS.contains(&driver) {
        return XdpPlan::Native {
            reason: format!("auto: {driver} drops junk in the driver"),
        };
    }
    let reason = match LOSES.iter().find(|(name, _)| *name == driver) {
        Some((_, reason)) => format!("auto: {reason}"),
        None => format!("auto: driver {driver} is not known to gain from native XDP"),
    };
    XdpPlan::Off { reason }
}

/// Why `driver` refuses native XDP with the error number `error`, and what to do about it, for people.
pub(super) fn mend(driver: Option<&str>, error: Option<i32>) -> &'static str {
    match (driver, error) {
        // virtnet_xdp_set() of drivers/net/virtio_net.c has one error for each of these.
        (Some("virtio_net"), Some(libc::EOPNOTSUPP)) => {
            "the hypervisor joins packets or leaves checksums to this machine, and does not let it turn that off: give the card ctrl_guest_offloads=on, or guest_csum=off and \
             guest_tso4, guest_tso6, guest_ecn and guest_ufo off as well"
        }
        (Some("virtio_net"), Some(libc::ENOMEM)) => {
            "before Linux 5.13 virtio_net needs a send queue for every CPU beside those in use: give the card one more pair of queues for each CPU (queues=, mq=on)"
        }
        (Some("virtio_net"), Some(libc::EINVAL)) => {
            "virtio_net needs an MTU that fits one of its buffers: lower the MTU"
        }
        _ => "set xdp = \"generic\" or \"off\" for this interface if its driver has none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_attaches_natively_only_where_the_driver_gains() {
        let native = plan(XdpChoice::Auto, Some("mlx5_core"));
        assert!(matches!(native, XdpPlan::Native { .. }), "{native:?}");
        for (driver, word) in [
            (Some("veth"), "peer's segmentation offload"),
            (Some("virtio_net"), "receive offloads"),
            (Some("tun"), "TUN"),
            (Some("bridge"), "ports"),
            (Some("macvlan"), "interface below"),
            (Some("802.1Q VLAN Support"), "interface below"),
            (Some("e1000e"), "e1000e is not known to gain"),
            (None, "does not name its driver"),
        ] {
            let XdpPlan::Off { reason } = plan(XdpChoice::Auto, driver) else {
                panic!("{driver:?} should stay off");
            };
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn a_configured_mode_is_taken_at_its_word_on_any_driver() {
        for driver in [None, Some("veth"), Some("ice")] {
            assert!(matches!(
                plan(XdpChoice::Native, driver),
                XdpPlan::Native { .. }
            ));
            assert!(matches!(
                plan(XdpChoice::Generic, driver),
                XdpPlan::Generic { .. }
            ));
            assert!(matches!(plan(XdpChoice::Off, driver), XdpPlan::Off { .. }));
        }
    }

    #[test]
    fn what_virtio_lacks_is_named() {
        let mend = |error| mend(Some("virtio_net"), Some(error));
        assert!(mend(libc::EOPNOTSUPP).contains("ctrl_guest_offloads=on"));
        assert!(mend(libc::ENOMEM).contains("queues"));
        assert!(mend(libc::EINVAL).contains("MTU"));
        assert!(mend(libc::EIO).contains("xdp = \"generic\""));
    }

    #[test]
    fn no_driver_both_gains_and_loses() {
        for (driver, _) in LOSES {
            assert!(!NATIVE_GAINS.contains(driver), "{driver}");
        }
    }
}
