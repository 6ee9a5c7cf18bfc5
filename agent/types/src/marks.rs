//! The marks of an IP header, class of service (DSCP, RFC 2474) and congestion (ECN, RFC 3168), between an inner packet
//! and the datagram that carries it.
//!
//! Congestion marks cross in both directions, whatever the class does (RFC 6040, normal mode): the datagram is as
//! capable of ECN as the packet in it, and a router that marks it instead of dropping it is heard by the inner
//! connection.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `dscp = "pipe" | "uniform"`: how the class of inner packets shows outside (RFC 2983, 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DscpModel {
    /// Not at all: every datagram is of class 0, and inner packets keep their own. As WireGuard does it: who watches
    /// the line does not see which packets are speech, and none overtakes others of its session.
    #[default]
    Pipe,
    /// A datagram has the class of its packet, and the packet takes over what has become of it on the way.
    Uniform,
}

impl DscpModel {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pipe, Self::Uniform];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Uniform => "uniform",
        }
    }
}

impl fmt::Display for DscpModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The congestion bits of a type of service or traffic class.
const ECN: u8 = 0b11;
/// Not capable of ECN.
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;
const DSCP: u8 = !ECN;

/// A packet that is not capable of ECN, in a datagram that met congestion: the mark stands for a drop that the inner
/// connection would not hear of otherwise (RFC 6040, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congested;

/// Type of service or traffic class of a packet; 0 for what has none.
#[inline]
pub fn of(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 4 => *second,
        [first, second, ..] if first >> 4 == 6 => (first << 4) | (second >> 4),
        _ => 0,
    }
}

/// The marks of the datagram for a packet with the marks `inner`.
#[inline]
pub fn outer_of(inner: u8, model: DscpModel) -> u8 {
    match model {
        DscpModel::Pipe => inner & ECN,
        DscpModel::Uniform => inner,
    }
}

/// Gives `packet` what has become of the marks of the datagram that carried it.
///
/// # Errors
/// The packet must be dropped.
#[inline]
pub fn decapsulate(packet: &mut [u8], outer: u8, model: DscpModel) -> Result<(), Congested> {
    if outer == 0 {
        return Ok(());
    }
    let before = of(packet);
    let after = combined(before, outer, model)?;
    if after != before {
        set(packet, before, after);
    }
    Ok(())
}

/// The marks of a packet that had `inner` in a datagram that arrived with `outer` (RFC 6040, figure 4).
fn combined(inner: u8, outer: u8, model: DscpModel) -> Result<u8, Congested> {
    let ecn = match (inner & ECN, outer & ECN) {
        (NOT_ECT, CE) => return Err(Congested),
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (_, ECT_1) => ECT_1,
        (own, _) => own,
    };
    let dscp = match (model, outer & DSCP) {
        // A provider that clears the class, or a far end that does not show it, takes nothing away.
        (DscpModel::Pipe, _) | (_, 0) => inner & DSCP,
        (DscpModel::Uniform, of_way) => of_way,
    };
    Ok(dscp | ecn)
}

#[cold]
fn set(packet: &mut [u8], before: u8, after: u8) {
    if packet[0] >> 4 == 6 {
        packet[0] = 0x60 | (after >> 4);
        packet[1] = (after << 4) | (packet[1] & 0x0f);
        return;
    }
    packet[1] = after;
    // RFC 1624, equation 3: a wrong sum stays wrong. `decapsulate` may have less than a header before it.
    if let Some(field) = packet.get_mut(10..12) {
        let sum = u16::from_be_bytes([field[0], field[1]]);
        let sum = u32::from(!sum) + u32::from(!u16::from(before)) + u32::from(after);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        field.copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
