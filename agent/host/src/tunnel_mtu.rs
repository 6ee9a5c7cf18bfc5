//! The MTU inside the tunnel. Pure.

use thiserror::Error;

/// Bytes around an inner packet at worst: IPv6 40, UDP 8, WireGuard's transport message 32 (type
/// and reserved 4, receiver 4, counter 8, tag 16).
pub const OVERHEAD: u32 = 80;
/// The same over IPv4 (20 bytes instead of 40).
pub const OVERHEAD_IPV4: u32 = 60;
/// Smallest MTU that IPv6 works with (RFC 8200, 5).
const MIN_IPV6: u32 = 1280;
/// Smallest datagram that every IPv4 host takes (RFC 791, 3.1).
const MIN_IPV4: u32 = 576;
/// Largest IPv4 packet, and largest MTU of a TUN.
const MAX: u32 = 65_535;

/// A WAN interface's MTU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WanMtu {
    /// Interface name.
    pub interface: String,
    /// Bytes.
    pub mtu: u32,
}

/// The MTU chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelMtu {
    /// Bytes.
    pub mtu: u16,
    /// How it came about, for logs and `status`.
    pub reason: String,
    /// What a person should know about it.
    pub warning: Option<String>,
}

/// An `mtu` of the configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("gateway.mtu = {wanted} {why}: {mend}")]
pub struct MtuError {
    wanted: u16,
    why: String,
    mend: String,
}

/// What a tunnel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// IPv6 goes through it.
    pub ipv6: bool,
    /// Each link is held to what its own path takes: the largest WAN decides. Else the smallest one does.
    pub each_link: bool,
}

/// Chooses the MTU: `wanted` if it works, else what fits the WAN that decides.
pub fn choose(wans: &[WanMtu], needs: Needs, wanted: Option<u16>) -> Result<TunnelMtu, MtuError> {
    let Needs { ipv6, each_link } = needs;
    let decides = if each_link {
        wans.iter().max_by_key(|wan| wan.mtu)
    } else {
        wans.iter().min_by_key(|wan| wan.mtu)
    };
    if let Some(wanted) = wanted {
        return check(wanted, decides, ipv6);
    }
    let Some(wan) = decides else {
        return Ok(TunnelMtu {
            mtu: 1420,
            reason: format!("no WAN interface is there yet; 1500 less {OVERHEAD}"),
            warning: None,
        });
    };
    let (min, word) = minimum(ipv6);
    let fits = wan.mtu.min(MAX).saturating_sub(OVERHEAD);
    let WanMtu { interface, mtu } = wan;
    if fits >= min {
        return Ok(TunnelMtu {
            mtu: fits as u16,
            reason: format!(
                "WAN {interface} has {mtu}; less {OVERHEAD} for IPv6, UDP and WireGuard"
            ),
            warning: None,
        });
    }
    Ok(TunnelMtu {
        mtu: min as u16,
        reason: format!("the least that {word} works with; WAN {interface} has {mtu}"),
        warning: Some(format!(
            "WAN {interface} has an MTU of {mtu}, and {word} inside the tunnel needs {}: the \
             largest tunnel packets will be fragmented; raise the MTU of {interface} if its \
             network allows",
            min + OVERHEAD
        )),
    })
}

/// What a link over a WAN of this MTU is taken to carry until its path is known, and the most that may be tried: within
/// `tunnel`, the MTU of the tunnel, which a person has chosen or not.
pub fn of_link(wan: u32, tunnel: u16, chosen: bool) -> (u16, u16) {
    let over = |overhead: u32| {
        let fits = wan.saturating_sub(overhead).clamp(MIN_IPV4, MAX);
        tunnel.min(fits as u16)
    };
    let most = over(OVERHEAD_IPV4);
    (if chosen { most } else { over(OVERHEAD) }, most)
}

fn check(wanted: u16, decides: Option<&WanMtu>, ipv6: bool) -> Result<TunnelMtu, MtuError> {
    let (min, word) = minimum(ipv6);
    if u32::from(wanted) < min {
        return Err(MtuError {
            wanted,
            why: format!("is too small for {word}"),
            mend: format!("write {min} or more, or leave it out"),
        });
    }
    let mut warning = None;
    if let Some(WanMtu { interface, mtu }) = decides {
        let over_ipv4 = mtu.saturating_sub(OVERHEAD_IPV4).max(min);
        let over_ipv6 = mtu.saturating_sub(OVERHEAD);
        if u32::from(wanted) > over_ipv4 {
            return Err(MtuError {
                wanted,
                why: format!("does not fit WAN {interface}, whose MTU is {mtu}"),
                mend: format!("write {over_ipv4} or less, or leave it out for {over_ipv6}"),
            });
        }
        if u32::from(wanted) > over_ipv6 {
            warning = Some(format!(
                "gateway.mtu = {wanted} fits WAN {interface} over IPv4 only: tunnel packets to \
                 IPv6 endpoints will be fragmented; write {over_ipv6} if there are any"
            ));
        }
    }
    Ok(TunnelMtu {
        mtu: wanted,
        reason: "set by gateway.mtu".to_owned(),
        warning,
    })
}

fn minimum(ipv6: bool) -> (u32, &'static str) {
    if ipv6 {
        (MIN_IPV6, "IPv6")
    } else {
        (MIN_IPV4, "IPv4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wan(mtu: u32) -> WanMtu {
        WanMtu {
            interface: format!("eth{mtu}"),
            mtu,
        }
    }

    fn needs(ipv6: bool) -> Needs {
        Needs {
            ipv6,
            each_link: false,
        }
    }

    #[test]
    fn the_smallest_wan_decides_or_the_largest_where_each_link_has_its_own() {
        for (wans, ipv6, smallest, largest) in [
            (vec![wan(1500)], true, 1420, 1420),
            (vec![wan(1500), wan(1400)], true, 1320, 1420),
            (vec![wan(1500), wan(9000)], true, 1420, 8920),
            (vec![wan(9000)], false, 8920, 8920),
            (vec![wan(65_536)], true, 65_455, 65_455),
            (vec![wan(1300)], false, 1220, 1220),
            (vec![], true, 1420, 1420),
        ] {
            for (each_link, expected) in [(false, smallest), (true, largest)] {
                let needs = Needs { ipv6, each_link };
                let chosen = choose(&wans, needs, None).unwrap();
                assert_eq!((chosen.mtu, chosen.warning), (expected, None), "{wans:?}");
            }
        }
    }

    #[test]
    fn a_link_has_what_its_own_wan_leaves() {
        assert_eq!(of_link(1500, 8920, false), (1420, 1440));
        assert_eq!(of_link(1400, 1420, false), (1320, 1340));
        assert_eq!(of_link(9000, 8920, false), (8920, 8920));
        assert_eq!(of_link(1500, 1440, true), (1440, 1440));
        assert_eq!(of_link(1500, 1300, true), (1300, 1300));
        assert_eq!(of_link(68, 1420, false), (576, 576));
        assert_eq!(of_link(65_536, 65_455, false), (65_455, 65_455));
    }

    #[test]
    fn ipv6_inside_keeps_its_minimum_and_a_warning_says_what_it_costs() {
        let chosen = choose(&[wan(1300)], needs(true), None).unwrap();
        assert_eq!(chosen.mtu, 1280);
        let warning = chosen.warning.unwrap();
        assert!(warning.contains("needs 1360"), "{warning}");
    }

    #[test]
    fn a_configured_mtu_is_checked() {
        let wans = [wan(1500)];
        let choose = |ipv6, wanted| choose(&wans, needs(ipv6), Some(wanted));
        assert_eq!(choose(true, 1400).unwrap().warning, None);
        assert!(choose(true, 1440).unwrap().warning.is_some());
        let text = |ipv6, wanted| choose(ipv6, wanted).unwrap_err().to_string();
        assert_eq!(
            text(true, 1441),
            "gateway.mtu = 1441 does not fit WAN eth1500, whose MTU is 1500: write 1440 or less, \
             or leave it out for 1420"
        );
        assert_eq!(
            text(true, 1200),
            "gateway.mtu = 1200 is too small for IPv6: write 1280 or more, or leave it out"
        );
        assert_eq!(
            text(false, 500),
            "gateway.mtu = 500 is too small for IPv4: write 576 or more, or leave it out"
        );
    }
}
