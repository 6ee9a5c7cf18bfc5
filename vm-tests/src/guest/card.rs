//! Network cards of guests: virtio-net, each at a tap of the host that has the frames' offloads beside
//! them (`vnet_hdr`), as clouds and hypervisors give them to gateways.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU16, Ordering};

/// A virtio network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its interface in the guest.
    pub interface: String,
    /// The tap that it is the other end of, in the namespace that QEMU runs in.
    pub tap: String,
    /// Its address.
    pub mac: Mac,
    /// Pairs of queues. The guest's driver uses as many as it has CPUs.
    pub queues: u32,
    /// What it may hand over and take.
    pub offloads: Offloads,
}

/// An Ethernet address, shown as `52:54:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// What a card offers to its driver; features of virtio-net (virtio 1.2, section 5.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "bits of the device, each on its own"
)]
pub struct Offloads {
    /// Frames to the guest may lack their checksum.
    pub guest_csum: bool,
    /// Frames to the guest may be TCP super-packets; needs `guest_csum`.
    pub guest_tso: bool,
    /// The driver may switch the two above off and on; without it they are what they are.
    pub ctrl_guest_offloads: bool,
    /// A frame to the guest may lie in several buffers.
    pub mrg_rxbuf: bool,
    /// Frames from the guest may lack their checksum, and be TCP super-packets.
    pub host_tso: bool,
}

impl Offloads {
    /// As QEMU has it by itself.
    pub const ALL: Self = Self {
        guest_csum: true,
        guest_tso: true,
        ctrl_guest_offloads: true,
        mrg_rxbuf: true,
        host_tso: true,
    };
    /// Frames as on a wire; what arrives is joined by the guest itself (GRO).
    pub const NONE: Self = Self {
        guest_csum: false,
        guest_tso: false,
        ctrl_guest_offloads: false,
        mrg_rxbuf: true,
        host_tso: false,
    };
}

impl Card {
    /// A card with all offloads and one pair of queues, an address of its own, and a tap named after `interface`.
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            tap: format!("tap-{interface}"),
            mac: Mac::unique(),
            queues: 1,
            offloads: Offloads::ALL,
        }
    }

    /// The same with other offloads.
    #[must_use]
    pub fn with_offloads(self, offloads: Offloads) -> Self {
        Self { offloads, ..self }
    }

    /// The same with more pairs of queues.
    #[must_use]
    pub fn with_queues(self, queues: u32) -> Self {
        Self { queues, ..self }
    }

    /// The words of `ip tuntap add` that make its tap.
    pub(super) fn tap_words(&self) -> String {
        let queues = if self.queues > 1 { " multi_queue" } else { "" };
        format!("tuntap add {} mode tap vnet_hdr{queues}", self.tap)
    }

    /// Words for QEMU.
    pub(super) fn words(&self) -> [String; 4] {
        let Self {
            tap, mac, queues, ..
        } = self;
        let mut netdev =
            format!("tap,id={tap},ifname={tap},script=no,downscript=no,vhost=off,vnet_hdr=on");
        let mut device = format!("virtio-net-pci,netdev={tap},mac={mac}");
        if *queues > 1 {
            let _ = write!(netdev, ",queues={queues}");
            // One interrupt for each queue, one for the configuration, one for the control queue.
            let _ = write!(device, ",mq=on,vectors={}", 2 * queues + 2);
        }
        for (name, on) in self.offloads.features() {
            let _ = write!(device, ",{name}={}", if on { "on" } else { "off" });
        }
        ["-netdev".into(), netdev, "-device".into(), device]
    }
}

impl Offloads {
    fn features(self) -> [(&'static str, bool); 11] {
        [
            ("guest_csum", self.guest_csum),
            ("guest_tso4", self.guest_tso),
            ("guest_tso6", self.guest_tso),
            ("guest_ecn", self.guest_tso),
            ("guest_ufo", self.guest_tso),
            ("ctrl_guest_offloads", self.ctrl_guest_offloads),
            ("mrg_rxbuf", self.mrg_rxbuf),
            ("csum", self.host_tso),
            ("host_tso4", self.host_tso),
            ("host_tso6", self.host_tso),
            ("host_ufo", self.host_tso),
        ]
    }
}

impl Mac {
    /// One that no other card of this process has; guests of different processes never share a wire.
    fn unique() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // The prefix of QEMU.
        Self([0x52, 0x54, 0, 0, high, low])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_several_queues_has_an_interrupt_for_each_and_a_tap_that_can_serve_them() {
        let card = Card::new("wan0")
            .with_queues(4)
            .with_offloads(Offloads::NONE);
        let [_, netdev, _, device] = card.words();
        assert!(netdev.ends_with(",queues=4"), "{netdev}");
        assert!(device.contains(",mq=on,vectors=10,"), "{device}");
        assert!(device.contains(",guest_tso4=off,"), "{device}");
        assert!(card.tap_words().ends_with("vnet_hdr multi_queue"));
    }

    #[test]
    fn an_address_is_written_as_qemu_reads_it() {
        assert_eq!(
            Mac([0x52, 0x54, 0, 0, 1, 0xff]).to_string(),
            "52:54:00:00:01:ff"
        );
    }

    #[test]
    fn no_two_cards_have_one_address() {
        assert_ne!(Card::new("lan0").mac, Card::new("lan0").mac);
    }
}
