//! Frames on the WAN: judges datagrams for our UDP ports by their WireGuard header, and nothing else.

use datapath_abi::{
    headers::{self, Family, Upper},
    outcome::{DropReason, StackReason},
    packet::{Packet as _, Slot},
    settings::Settings,
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

/// Bytes of a UDP header.
const UDP_HEADER: u32 = UdpHdr::LEN as u32;

/// Drops junk; what is not a whole datagram for one of our ports is none of our business. Reads maps and
/// frame, changes nothing.
#[inline(always)]
pub(crate) fn decide(frame: &Frame) -> Verdict<()> {
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    match find_datagram(frame, settings)? {
        Some(datagram) => Ok(judge_datagram(frame, &datagram)?),
        None => Ok(()),
    }
}

/// A UDP datagram for one of our ports.
struct Datagram {
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
