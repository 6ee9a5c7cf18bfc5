//! Frames on the WAN: judges datagrams for our UDP ports at our addresses by their WireGuard header, and nothing else.

use datapath_abi::{
    address,
    headers::{self, Family, Upper},
    outcome::{DropReason, StackReason},
    packet::{Packet as _, Slot},
    settings::{NAT, Settings},
};
use network_types::{
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    fault::Fault,
    link::Link,
    maps,
    packet::Frame,
    verdict::Verdict,
    wireguard::{self, HEAD},
};

/// Where the destination address lies in either header.
const DESTINATION4: usize = 16;
const DESTINATION6: usize = 24;
/// Bytes of a UDP header.
const UDP_HEADER: u32 = UdpHdr::LEN as u32;

/// Drops junk; what is not a whole datagram for one of our ports is none of our business. Reads maps and
/// frame, changes nothing.
#[inline(always)]
pub(crate) fn decide(frame: &Frame) -> Verdict<()> {
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    let Some(datagram) = find_datagram(frame, settings)? else {
        return Ok(());
    };
    match judge_datagram(frame, &datagram) {
        // Whose it is is asked for junk alone: good messages are most of what comes.
        Err(reason) if is_ours(frame, &datagram, settings, reason) => Err(reason.into()),
        _ => Ok(()),
    }
}

/// Whether what looks like junk for us is for us, and not for a host behind us that has a WireGuard of its own.
#[inline(always)]
fn is_ours(frame: &Frame, datagram: &Datagram, settings: &Settings, reason: DropReason) -> bool {
    // The answer to a host whose address we translate comes to ours; what WireGuard it is for, it alone knows.
    if settings.flags & NAT != 0 && matches!(reason, DropReason::WanUnknownReceiver) {
        return false;
    }
    let link = &datagram.link;
    if link.vlan != 0 && !maps::is_wan_vlan(frame.ifindex(), link.vlan) {
        return false;
    }
    let destination = match link.family {
        Family::V4 => {
            let mut slot = Slot::<[u8; 4]>::new();
            let bytes = frame.read(link.ip_offset + DESTINATION4, &mut slot);
            bytes.map(|bytes| address::mapped(*bytes))
        }
        Family::V6 => {
            let mut slot = Slot::<[u8; 16]>::new();
            let bytes = frame.read(link.ip_offset + DESTINATION6, &mut slot);
            bytes.map(|bytes| address::from_bytes(*bytes))
        }
    };
    destination.is_some_and(|destination| maps::is_local(&destination))
}

/// A UDP datagram for one of our ports, at whatever address.
struct Datagram {
    link: Link,
    /// Where its payload starts, in bytes from the start of the frame.
    payload: usize,
    /// Bytes of header and payload, by its header.
    length: u32,
}

#[inline(always)]
fn judge_datagram(frame: &Frame, datagram: &Datagram) -> Result<(), DropReason> {
    let length = datagram.length.saturating_sub(UDP_HEADER);
    if length < wireguard::SHORTEST_MESSAGE {
        return Err(DropReason::WanTooShort);
    }
    if datagram.payload as u32 + length > frame.length() {
        return Err(DropReason::WanBadLength);
    }
    let mut slot = Slot::<[u8; HEAD]>::new();
    let head = frame
        .read(datagram.payload, &mut slot)
        .ok_or(DropReason::WanBadLength)?;
    match wireguard::judge(head, length)? {
        Some(receiver) if !maps::has_session(receiver >> 8) => Err(DropReason::WanUnknownReceiver),
        _ => Ok(()),
    }
}

#[inline(always)]
fn find_datagram(frame: &Frame, settings: &Settings) -> Result<Option<Datagram>, StackReason> {
    let link = Link::of_frame(frame)?;
    let upper = find_upper(frame, &link)?;
    if upper.protocol != IpProto::Udp as u8 || upper.fragment {
        return Ok(None);
    }
    let mut slot = Slot::<UdpHdr>::new();
    let udp = frame
        .read(upper.offset, &mut slot)
        .ok_or(StackReason::Malformed)?;
    let lane = u16::from_be_bytes(udp.dst).wrapping_sub(settings.listen_port);
    Ok((lane < settings.lanes).then(|| Datagram {
        link,
        payload: upper.offset + UdpHdr::LEN,
        length: u32::from(u16::from_be_bytes(udp.len)),
    }))
}

#[inline(always)]
fn find_upper(frame: &Frame, link: &Link) -> Result<Upper, StackReason> {
    match link.family {
        Family::V4 => {
            let mut slot = Slot::<Ipv4Hdr>::new();
            let header = frame.read(link.ip_offset, &mut slot);
            headers::upper_of_ipv4(header.ok_or(StackReason::Malformed)?, link.ip_offset)
        }
        Family::V6 => {
            let mut slot = Slot::<Ipv6Hdr>::new();
            let header = frame.read(link.ip_offset, &mut slot);
            let header = header.ok_or(StackReason::Malformed)?;
            headers::upper_of_ipv6(frame, header, link.ip_offset)
        }
    }
}
