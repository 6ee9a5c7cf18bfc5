//! The link layer of a frame: Ethernet with up to two VLAN tags.

use datapath_abi::{
    headers::Family,
    outcome::StackReason,
    packet::{Packet, Slot},
};
use network_types::{
    eth::{EthHdr, EtherType},
    vlan::VlanHdr,
};

use crate::{
    asm::forget,
    packet::Frame,
    skb::{Filtered, Skb},
};

const IPV4: u16 = EtherType::Ipv4 as u16;
const IPV6: u16 = EtherType::Ipv6 as u16;
const VLAN: u16 = EtherType::Ieee8021q as u16;
const PROVIDER_VLAN: u16 = EtherType::Ieee8021ad as u16;
/// Bits of a tag (TCI) that are the VLAN id; the rest is priority (IEEE 802.1Q, 9.6).
const VLAN_ID: u16 = 0xfff;

/// What lies in front of the IP header.
pub(crate) struct Link {
    pub(crate) family: Family,
    /// Where the IP header starts, in bytes from the start of the frame.
    pub(crate) ip_offset: usize,
    /// VLAN tags, the one that the kernel holds outside of the frame included.
    pub(crate) tags: u32,
    /// The VLAN: the one id other than 0 in the tags, 0 if there is none, or [`NESTED`].
    pub(crate) vlan: u32,
}

/// [`Link::vlan`] of a frame with two VLAN ids.
pub(crate) const NESTED: u32 = 0xffff;

impl Link {
    /// Of a frame at TC ingress, where the kernel has read the Ethernet type and holds the outer tag.
    #[inline(always)]
    pub(crate) fn of_skb(skb: &Skb) -> Result<Self, StackReason> {
        let (tags, vlan) = match skb.vlan_tag() {
            Some(tag) => (1, u32::from(tag & VLAN_ID)),
            None => (0, 0),
        };
        let mut link = walk_tags(skb, skb.protocol(), tags, vlan)?;
        if link.tags > 0 {
            blur(&mut link, skb);
        }
        Ok(link)
    }

    /// Of a frame of Ethernet as a socket filter sees it.
    #[inline(always)]
    pub(crate) fn of_filtered(frame: &Filtered<'_>) -> Result<Self, StackReason> {
        let mut slot = Slot::<EthHdr>::new();
        let ethernet = frame.read(0, &mut slot).ok_or(StackReason::Malformed)?;
        walk_tags(frame, ethernet.ether_type, 0, 0)
    }

    /// Of a frame at XDP.
    #[inline(always)]
    pub(crate) fn of_frame(frame: &Frame) -> Result<Self, StackReason> {
        let mut slot = Slot::<EthHdr>::new();
        let ethernet = frame.read(0, &mut slot).ok_or(StackReason::Malformed)?;
        walk_tags(frame, ethernet.ether_type, 0, 0)
    }
}

/// Frames with tags are rare and of many kinds: the verifier walks what follows once for all of them.
#[inline(always)]
fn blur(link: &mut Link, skb: &Skb) {
    let word = link.ip_offset as u32 | link.tags << 8 | link.vlan << 16;
    let word = forget(word, 0xffff_031f, skb.length());
    link.ip_offset = (word & 0x1f) as usize;
    link.tags = word >> 8 & 3;
    link.vlan = word >> 16;
}

#[inline(always)]
fn walk_tags(
    packet: &impl Packet,
    mut protocol: u16,
    mut tags: u32,
    mut vlan: u32,
) -> Result<Link, StackReason> {
    let mut ip_offset = EthHdr::LEN;
    // At most two tags, so a third look is at what they hold.
    for _ in 0..3 {
        let family = match protocol {
            IPV4 => Family::V4,
            IPV6 => Family::V6,
            VLAN | PROVIDER_VLAN if tags < 2 => {
                let mut slot = Slot::<VlanHdr>::new();
                let tag = packet
                    .read(ip_offset, &mut slot)
                    .ok_or(StackReason::Malformed)?;
                vlan = match (vlan, u32::from(tag.vid())) {
                    (known, 0) => known,
                    (0, id) => id,
                    _ => NESTED,
                };
                protocol = tag.ether_type;
                ip_offset += VlanHdr::LEN;
                tags += 1;
                continue;
            }
            _ => break,
        };
        return Ok(Link {
            family,
            ip_offset,
            tags,
            vlan,
        });
    }
    Err(StackReason::NotIp)
}
