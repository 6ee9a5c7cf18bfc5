//! The word for every outcome, the same in eBPF, in the counters, in the command line and in `--json`.

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

/// An outcome enum: index, number and word of each variant in one list.
macro_rules! outcomes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
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

            /// The index into the counter array.
            pub const fn index(self) -> u32 {
                self as u32
            }
        }
    };
}

outcomes! {
    /// Why a packet was dropped. Those named `wan-…` are counted by `wan_guard`, the others by the agent.
    DropReason {
        /// Shorter than the shortest WireGuard message.
        WanTooShort = "wan-too-short",
        /// The first byte is no WireGuard message type.
        WanBadType = "wan-bad-type",
        /// One of the three reserved bytes is not zero.
        WanReservedBits = "wan-reserved-bits",
        /// The length does not fit the message type.
        WanBadLength = "wan-bad-length",
        /// The receiver index is none of ours.
        WanUnknownReceiver = "wan-unknown-receiver",
        /// No WireGuard message (seen by the agent, where `wan_guard` is not attached).
        NotWireGuard = "not-wireguard",
        /// The first message authentication code (mac1) of a handshake message is wrong.
        BadMac = "bad-mac",
        /// Too many handshakes: answered with a cookie reply.
        CookieDemanded = "cookie-demanded",
        /// A handshake initiation from a public key that is not configured.
        UnknownPeer = "unknown-peer",
        /// A handshake message that does not decrypt, is stale, follows another too soon or answers
        /// nothing.
        HandshakeInvalid = "handshake-invalid",
        /// A data message for a session that we do not have (any more).
        NoSession = "no-session",
        /// A data message whose counter was seen before or is too old.
        Replayed = "replayed",
        /// A data message that does not authenticate.
        AuthenticationFailed = "authentication-failed",
        /// A decrypted packet that is no whole IPv4 or IPv6 packet.
        InnerMalformed = "inner-malformed",
        /// A decrypted packet whose source is not in the routes of the site that sent it.
        SourceNotInSite = "source-not-in-site",
        /// A packet in the TUN for which no site has a route.
        NoRoute = "no-route",
        /// The site's gateway has no known endpoint yet.
        NoEndpoint = "no-endpoint",
        /// No session yet, and the queue that waits for the handshake was full.
        HandshakeQueueFull = "handshake-queue-full",
        /// The packet waited for a handshake that was given up after 90 s.
        HandshakeTimedOut = "handshake-timed-out",
        /// A packet read from the TUN that is no IPv4 or IPv6 packet or has an impossible offload header.
        TunMalformed = "tun-malformed",
        /// The kernel refused a datagram for the WAN.
        SendFailed = "send-failed",
        /// The kernel refused a packet for the TUN.
        TunWriteFailed = "tun-write-failed",
        /// Flows for a replica of this gateway to which there was no session.
        ReplicaUnreachable = "replica-unreachable",
        /// Flows for or from a replica that came faster than they could be sent or taken in.
        ReplicaQueueFull = "replica-queue-full",
        /// A datagram from a replica that is of another version or makes no sense.
        ReplicaMalformed = "replica-malformed",
        /// Flows from a replica whose site this gateway does not have.
        ReplicaUnknownSite = "replica-unknown-site",
        /// Too many handshakes at once: beyond the cookies that are given out in a second, or with a cookie but
        /// beyond what one source, or all together, may have.
        HandshakeRateLimited = "handshake-rate-limited",
        /// A BFD control packet from a far gateway that makes no sense or is for no session with it.
        LivenessInvalid = "liveness-invalid",
        /// The packet waited for a handshake with a peer that was taken out of the configuration.
        PeerRemoved = "peer-removed",
    }
}

outcomes! {
    /// Why a program left a packet to the kernel stack. Not a drop: the stack forwards it, answers it, or
    /// drops it by its own rules.
    StackReason {
        /// Neither IPv4 nor IPv6 (ARP among them).
        NotIp = "not-ip",
        /// The frame is for another machine, or a broadcast or multicast frame.
        NotForUs = "not-for-us",
        /// A VLAN tag with an id other than 0: the kernel's VLAN interface takes it.
        VlanTagged = "vlan-tagged",
        /// Truncated, or a header that contradicts itself.
        Malformed = "malformed",
        /// No site has a route to the destination.
        NoRoute = "no-route",
        /// Our own or a connected address, or a more specific route of the kernel's.
        KernelRoute = "kernel-route",
        /// Multicast, broadcast, link-local, loopback or unspecified source or destination.
        NotRoutable = "not-routable",
        /// TTL or hop limit of 1 or 0: the stack answers with Time Exceeded.
        TtlExpiring = "ttl-expiring",
        /// IPv4 options.
        IpOptions = "ip-options",
        /// An IPv6 extension header that a router must look at, or more of them than are walked.
        ExtensionHeader = "extension-header",
        /// Larger than the tunnel or the LAN takes: the stack fragments or answers Too Big.
        TooBig = "too-big",
        /// The site is not served by the fast path.
        SiteDown = "site-down",
        /// The agent has not finished its settings, or the interface has no role.
        NotReady = "not-ready",
        /// The kernel's routing does not send it to one of our LAN interfaces.
        NotToLan = "not-to-lan",
        /// The neighbour's link-layer address is not known yet: the stack resolves it.
        NoNeighbour = "no-neighbour",
        /// A super-packet for a LAN interface that leaves segmenting to the kernel. The stack takes the
        /// TUN's ownership off it; redirected as it is, the kernel would hand that to the last segment,
        /// which then overtakes the others where the receiver is on this machine (a container, a test).
        SoftwareGso = "software-gso",
        /// The packet could not be rewritten or redirected.
        RedirectFailed = "redirect-failed",
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
}
