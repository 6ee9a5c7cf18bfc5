//! The word for every outcome, the same in eBPF, in the counters, in the command line and in `--json`.

use core::iter::Sum;
use core::ops::{Add, AddAssign};

use crate::pod;

/// A number of packets and their bytes (of the frame or datagram as it was seen).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl AddAssign for Tally {
    /// Wraps around, as the counters in the kernel do.
    fn add_assign(&mut self, more: Self) {
        self.packets = self.packets.wrapping_add(more.packets);
        self.bytes = self.bytes.wrapping_add(more.bytes);
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(mut self, more: Self) -> Self {
        self += more;
        self
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Add::add)
    }
}

/// Who decides for an outcome and counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The XDP program on a WAN interface.
    WanGuard,
    /// The TC program on a LAN interface.
    LanIngress,
    /// The TC program in front of the tunnel.
    TunEgress,
    /// The TC program behind the tunnel.
    TunIngress,
    /// A lane of the agent.
    Lane,
    /// The agent's control part.
    Gateway,
}

impl Owner {
    /// Whether it is an eBPF program, so that the counter is in a map.
    pub const fn is_program(self) -> bool {
        match self {
            Self::WanGuard | Self::LanIngress | Self::TunEgress | Self::TunIngress => true,
            Self::Lane | Self::Gateway => false,
        }
    }
}

/// An outcome enum: index, number, word and owners of each variant in one list.
macro_rules! outcomes {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal by $($owner:ident)|+,)+
    }) => {
        $(#[$meta])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Number of variants: the size of the counter array.
            pub const COUNT: usize = Self::ALL.len();

            /// The word users see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Who counts it; where there are several, the count is their sum.
            pub const fn owners(self) -> &'static [Owner] {
                match self { $(Self::$variant => &[$(Owner::$owner),+],)+ }
            }

            /// The index into the counter array.
            pub const fn index(self) -> u32 {
                self as u32
            }
        }
    };
}

outcomes! {
    /// Why a packet was dropped.
    DropReason {
        /// Shorter than the shortest WireGuard message.
        WanTooShort = "wan-too-short" by WanGuard,
        /// The first byte is no WireGuard message type.
        WanBadType = "wan-bad-type" by WanGuard,
        /// One of the three reserved bytes is not zero.
        WanReservedBits = "wan-reserved-bits" by WanGuard,
        /// The length does not fit the message type.
        WanBadLength = "wan-bad-length" by WanGuard,
        /// The receiver index is none of ours.
        WanUnknownReceiver = "wan-unknown-receiver" by WanGuard,
        /// No WireGuard message (seen by the agent, where `wan_guard` is not attached).
        NotWireGuard = "not-wireguard" by Lane,
        /// The first message authentication code (mac1) of a handshake message is wrong.
        BadMac = "bad-mac" by Lane,
        /// Too many handshakes: answered with a cookie reply.
        CookieDemanded = "cookie-demanded" by Lane,
        /// A handshake initiation from a public key that is not configured.
        UnknownPeer = "unknown-peer" by Lane,
        /// A handshake message that does not decrypt, is stale, follows another too soon or answers
        /// nothing.
        HandshakeInvalid = "handshake-invalid" by Lane,
        /// A data message for a session that we do not have (any more).
        NoSession = "no-session" by Lane,
        /// A data message whose counter was seen before or is too old.
        Replayed = "replayed" by Lane,
        /// A data message that does not authenticate.
        AuthenticationFailed = "authentication-failed" by Lane,
        /// A decrypted packet that is no whole IPv4 or IPv6 packet.
        InnerMalformed = "inner-malformed" by Lane,
        /// A decrypted packet whose source is not in the routes of the site that sent it.
        SourceNotInSite = "source-not-in-site" by Lane,
        /// A packet in the TUN for which no site has a route.
        NoRoute = "no-route" by Lane,
        /// The site's gateway has no known endpoint yet.
        NoEndpoint = "no-endpoint" by Lane,
        /// No session yet, and the queue that waits for the handshake was full.
        HandshakeQueueFull = "handshake-queue-full" by Lane,
        /// The packet waited for a handshake that was given up after 90 s.
        HandshakeTimedOut = "handshake-timed-out" by Lane,
        /// A packet read from the TUN that is no IPv4 or IPv6 packet or has an impossible offload header.
        TunMalformed = "tun-malformed" by Lane,
        /// The kernel refused a datagram for the WAN.
        SendFailed = "send-failed" by Lane,
        /// The kernel refused a packet for the TUN.
        TunWriteFailed = "tun-write-failed" by Lane,
        /// Flows for a replica of this gateway to which there was no session.
        ReplicaUnreachable = "replica-unreachable" by Lane,
        /// Flows for or from a replica that came faster than they could be sent or taken in.
        ReplicaQueueFull = "replica-queue-full" by Lane | Gateway,
        /// A datagram from a replica that is of another version or makes no sense.
        ReplicaMalformed = "replica-malformed" by Gateway,
        /// Flows from a replica whose site this gateway does not have.
        ReplicaUnknownSite = "replica-unknown-site" by Gateway,
        /// Too many handshakes at once: beyond the cookies that are given out in a second, or with a cookie but
        /// beyond what one source, or all together, may have.
        HandshakeRateLimited = "handshake-rate-limited" by Lane,
        /// A BFD control packet from a far gateway that makes no sense or is for no session with it.
        LivenessInvalid = "liveness-invalid" by Lane,
        /// The packet waited for a handshake with a peer that was taken out of the configuration.
        PeerRemoved = "peer-removed" by Lane,
        /// A packet out of the tunnel whose route leads back to the site that it came from: a loop. Its sender is told
        /// that the host is unreachable.
        TurnedBack = "turned-back" by TunIngress,
        /// A handshake initiation that was taken before, or whose timestamp is not after those that its sender has
        /// used: somebody repeats what was recorded, or the far gateway's clock was set back.
        HandshakeReplayed = "handshake-replayed" by Lane,
        /// A datagram for an uplink that takes less than it is given: the send buffer of that way was full.
        SendBufferFull = "send-buffer-full" by Lane,
        /// A datagram of the tunnel itself that the host's routes led into the tunnel.
        OwnDatagram = "own-datagram" by Lane,
        /// A decrypted packet that does not know ECN, in a datagram that met congestion on its way (RFC 6040 4.2).
        EcnIllegal = "ecn-illegal" by Lane,
        /// A packet for the tunnel that is larger than its link takes and could not be made smaller. Its sender is told
        /// what would fit.
        PacketTooBig = "packet-too-big" by Lane,
        /// No rule of the policy allows the flow.
        PolicyDenied = "policy-denied" by LanIngress | TunEgress | TunIngress | Lane,
    }
}

outcomes! {
    /// Why a program left a packet to the kernel stack. Not a drop: the stack forwards it, answers it, or
    /// drops it by its own rules.
    StackReason {
        /// Neither IPv4 nor IPv6 (ARP among them).
        NotIp = "not-ip" by LanIngress | TunIngress,
        /// The frame is for another machine, or a broadcast or multicast frame.
        NotForUs = "not-for-us" by LanIngress,
        /// A VLAN tag with an id other than 0: the kernel's VLAN interface takes it.
        VlanTagged = "vlan-tagged" by LanIngress,
        /// Truncated, or a header that contradicts itself.
        Malformed = "malformed" by LanIngress | TunIngress,
        /// No site has a route to the destination.
        NoRoute = "no-route" by LanIngress | TunIngress,
        /// Our own or a connected address, or a more specific route of the kernel's.
        KernelRoute = "kernel-route" by LanIngress | TunIngress,
        /// Multicast, broadcast, link-local, loopback or unspecified source or destination.
        NotRoutable = "not-routable" by LanIngress | TunIngress,
        /// TTL or hop limit of 1 or 0: the stack answers with Time Exceeded.
        TtlExpiring = "ttl-expiring" by LanIngress | TunIngress,
        /// IPv4 options.
        IpOptions = "ip-options" by LanIngress | TunIngress,
        /// An IPv6 extension header that a router must look at, or more of them than are walked.
        ExtensionHeader = "extension-header" by LanIngress | TunIngress,
        /// Larger than the tunnel or the LAN takes: the stack fragments or answers Too Big.
        TooBig = "too-big" by LanIngress | TunIngress,
        /// The site is not served by the fast path.
        SiteDown = "site-down" by LanIngress | TunIngress,
        /// The agent has not finished its settings, or the interface has no role.
        NotReady = "not-ready" by LanIngress | TunIngress,
        /// The kernel's routing does not send it to one of our LAN interfaces.
        NotToLan = "not-to-lan" by TunIngress,
        /// The kernel's routing does not lead back to an IPv4 source by this interface, or its address is our own: the
        /// stack applies `rp_filter` and drops martians.
        WrongSource = "wrong-source" by LanIngress,
        /// The packet could not be rewritten or redirected.
        RedirectFailed = "redirect-failed" by LanIngress | TunIngress,
    }
}

const _: () = assert!(size_of::<Tally>() == 16);
pod!(Tally);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_the_order_and_words_are_unique() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index() as usize, index);
            assert!(
                !DropReason::ALL[..index]
                    .iter()
                    .any(|other| other.as_str() == reason.as_str())
            );
        }
        for (index, reason) in StackReason::ALL.iter().enumerate() {
            assert_eq!(reason.index() as usize, index);
            assert!(
                !StackReason::ALL[..index]
                    .iter()
                    .any(|other| other.as_str() == reason.as_str())
            );
        }
    }

    #[test]
    fn tallies_add_up() {
        let tally = |packets, bytes| Tally { packets, bytes };
        let mut sum = tally(1, 60);
        sum += tally(2, 200);
        assert_eq!(sum + tally(3, 0), tally(6, 260));
        assert_eq!([sum, sum].into_iter().sum::<Tally>(), tally(6, 520));
        assert_eq!(tally(u64::MAX, 1) + tally(2, 1), tally(1, 2));
    }

    #[test]
    fn what_wan_guard_drops_begins_with_wan() {
        for reason in DropReason::ALL {
            let by_guard = reason.owners() == [Owner::WanGuard];
            assert_eq!(reason.as_str().starts_with("wan-"), by_guard, "{reason:?}");
        }
    }
}
