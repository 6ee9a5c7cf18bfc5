//! Cuts a super-packet from the TUN into the wire packets that it stands for.
//!
//! The headers of a segment are written in front of its payload, over the tail of the segment
//! before it, which has been sealed by then: no payload byte moves.

use super::virtio::{GsoType, Header, NEEDS_CSUM};
use crossway_types::checksum;

/// The packet contradicts its offload header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Longest IP and transport header together: IPv6 with extension headers and a full TCP header.
const MAX_HEADERS: usize = 256;

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// Calls `emit` with each wire packet in order, checksums complete. `packet` is scratch afterwards.
///
/// # Errors
/// [`Malformed`] before anything was emitted.
pub fn for_each_packet(
    header: &Header,
    packet: &mut [u8],
    mut emit: impl FnMut(&mut [u8]),
) -> Result<(), Malformed> {
    if header.gso == GsoType::None {
        if header.flags & NEEDS_CSUM != 0 {
            finish_checksum(header, packet)?;
        }
        emit(packet);
        return Ok(());
    }
    let layout = Layout::of(header, packet)?;
    let mut template = [0; MAX_HEADERS];
    template[..layout.headers].copy_from_slice(&packet[..layout.headers]);
    let template = &template[..layout.headers];

    let payload = packet.len() - layout.headers;
    let mut offset = 0;
    let mut index = 0u16;
    while offset < payload || index == 0 {
        let size = layout.segment.min(payload - offset);
        let segment = &mut packet[offset..offset + layout.headers + size];
        segment[..layout.headers].copy_from_slice(template);
        layout.adapt(segment, index, offset, offset + size == payload);
        emit(segment);
        offset += size;
        index = index.wrapping_add(1);
    }
    Ok(())
}

fn finish_checksum(header: &Header, packet: &mut [u8]) -> Result<(), Malformed> {
    let start = usize::from(header.csum_start);
    let at = start + usize::from(header.csum_offset);
    if at + 2 > packet.len() {
        return Err(Malformed);
    }
    // The field holds the pseudo header's sum and is part of what is summed.
    let sum = checksum::finish(0, &packet[start..]);
    // Zero would mean "no checksum" to UDP (RFC 768); its other form is right for TCP as well.
    let sum = if sum == 0 { 0xffff } else { sum };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Where things are in a super-packet.
struct Layout {
    ipv4: bool,
    tcp: bool,
    /// Offset of the transport header.
    transport: usize,
    /// Bytes of all headers.
    headers: usize,
    /// Payload bytes of a full segment.
    segment: usize,
}

impl Layout {
    fn of(header: &Header, packet: &[u8]) -> Result<Self, Malformed> {
        let ipv4 = match packet.first().map(|byte| byte >> 4) {
            Some(4) => true,
            Some(6) => false,
            _ => return Err(Malformed),
        };
        let tcp = match header.gso {
            GsoType::Tcp4 if ipv4 => true,
            GsoType::Tcp6 if !ipv4 => true,
            GsoType::UdpL4 => false,
            _ => return Err(Malformed),
        };
        let transport = usize::from(header.csum_start);
        let shortest = if ipv4 { 20 } else { 40 };
        let room = if tcp { 20 } else { 8 };
        if transport < shortest || transport + room > packet.len() || header.gso_size == 0 {
            return Err(Malformed);
        }
        let headers = transport
            + if tcp {
                usize::from(packet[transport + 12] >> 4) * 4
            } else {
                8
            };
        if headers < transport + room || headers > packet.len() || headers > MAX_HEADERS {
            return Err(Malformed);
        }
        Ok(Self {
            ipv4,
            tcp,
            transport,
            headers,
            segment: usize::from(header.gso_size),
        })
    }

    /// Makes the copied headers those of segment `index`, whose payload starts at `offset`.
    fn adapt(&self, segment: &mut [u8], index: u16, offset: usize, last: bool) {
        let length = segment.len() as u16;
        if self.ipv4 {
            segment[2..4].copy_from_slice(&length.to_be_bytes());
            let id = u16::from_be_bytes([segment[4], segment[5]]).wrapping_add(index);
            segment[4..6].copy_from_slice(&id.to_be_bytes());
            segment[10..12].fill(0);
            let header = usize::from(segment[0] & 0xf) * 4;
            let sum = checksum::finish(0, &segment[..header.min(self.transport)]);
            segment[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            segment[4..6].copy_from_slice(&(length - 40).to_be_bytes());
        }
        if self.tcp {
            self.adapt_tcp(segment, index, offset, last);
        } else {
            let at = self.transport + 4;
            let length = (segment.len() - self.transport) as u16;
            segment[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        self.sum_transport(segment);
    }

    fn adapt_tcp(&self, segment: &mut [u8], index: u16, offset: usize, last: bool) {
        let tcp = &mut segment[self.transport..];
        let sequence =
            u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(offset as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !last {
            tcp[13] &= !(TCP_FIN | TCP_PSH);
        }
        if index > 0 {
            tcp[13] &= !TCP_CWR;
        }
    }

    fn sum_transport(&self, segment: &mut [u8]) {
        let (protocol, field) = if self.tcp {
            (6, self.transport + 16)
        } else {
            (17, self.transport + 6)
        };
        segment[field..field + 2].fill(0);
        let addresses = if self.ipv4 { 12..20 } else { 8..40 };
        let length = segment.len() - self.transport;
        let pseudo = checksum::pseudo_header(&segment[addresses], protocol, length);
        let mut sum = checksum::finish(pseudo, &segment[self.transport..]);
        if sum == 0 && !self.tcp {
            sum = 0xffff;
        }
        segment[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
