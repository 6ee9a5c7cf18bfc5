//! A peer on its way from one agent to the next.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Instant;

use datapath_abi::outcome::Tally;
use zeroize::Zeroizing;

use super::{Peer, PeerSpec};
use crate::arrivals::Arrivals;
use crate::session::Local;
use crate::transmit::Endpoint;
use crossway_types::codec::{Damaged, Reader, Writer};
use crossway_types::ids::LinkId;
use crossway_types::keys::SecretKey;

/// As it is mixed in: all zeroes where there is none (whitepaper 5.4).
fn preshared_or_none(spec: &PeerSpec) -> &[u8; 32] {
    let key = spec.preshared_key.as_ref();
    key.map_or(&[0; 32], SecretKey::as_bytes)
}

impl Peer {
    /// For the agent that takes over; returns the packets that stay behind.
    pub(crate) fn export(&self, to: &mut Writer) -> Tally {
        to.u32(self.spec.link.0);
        to.u32(self.spec.receiver_index);
        to.bytes(&self.spec.public_key);
        to.bytes(preshared_or_none(&self.spec));
        to.option(self.endpoint, write_endpoint);
        for count in [
            self.sent_packets,
            self.sent_bytes,
            self.received_packets,
            self.received_bytes,
        ] {
            to.u64(count);
        }
        to.option(self.dialled, write_remote);
        to.option(self.spec.interface, |to, index| to.u32(index.get()));
        to.bool(self.benched);
        to.option(self.bfd.as_ref(), |to, bfd| {
            to.part(|to| bfd.export(to));
        });
        self.session.export(to)
    }

    /// What came, how often the session was renewed and what is known of the path, for the agent that takes over: beside [`Self::export`], whose
    /// form older agents know.
    pub(crate) fn export_counts(&self, to: &mut Writer) {
        self.session.arrivals().export(to);
        to.u64(self.session.handshakes());
        to.option(self.path.known(), |to, path| {
            to.part(|to| path.export(to));
        });
    }

    /// What [`Self::export_counts`] wrote.
    pub(crate) fn import_counts(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let arrivals = Arrivals::import(from)?;
        self.session.continue_counting(arrivals, from.u64()?);
        // An agent before this rule knows of no path.
        let known = if from.is_empty() {
            None
        } else {
            from.option(Reader::part)?
        };
        match known {
            Some(mut known) => self
                .on_path(|path| path.import(&mut known))
                .unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// What [`Self::export`] wrote, as the peer that `spec` describes now, and whether its session goes on. `None`
    /// where that is not the same peer, or its keys have changed: then it needs a new session.
    pub(crate) fn import(
        from: &mut Reader<'_>,
        spec: &PeerSpec,
        local: &Local,
        now: Instant,
    ) -> Result<Option<(Self, bool)>, Damaged> {
        let (receiver_index, public_key) = (from.u32()?, from.array()?);
        let preshared_key = Zeroizing::new(from.array()?);
        if receiver_index != spec.receiver_index
            || public_key != spec.public_key
            || *preshared_key != *preshared_or_none(spec)
        {
            return Ok(None);
        }
        let mut peer = Self::new(spec.clone(), local, now);
        peer.endpoint = from.option(read_endpoint)?.or(peer.endpoint);
        for count in [
            &mut peer.sent_packets,
            &mut peer.sent_bytes,
            &mut peer.received_packets,
            &mut peer.received_bytes,
        ] {
            *count = from.u64()?;
        }
        peer.dialled = from.option(read_remote)?;
        let index = from.option(Reader::u32)?;
        peer.spec.interface = index.and_then(NonZeroU32::new);
        peer.benched = from.bool()?;
        let told = from.option(Reader::part)?;
        if let (Some(bfd), Some(mut told)) = (&mut peer.bfd, told) {
            bfd.import(&mut told)?;
        }
        let goes_on = peer.session.import(from)?;
        Ok(Some((peer, goes_on)))
    }
}

/// Which link the record behind it is of.
pub(crate) fn read_link(from: &mut Reader<'_>) -> Result<LinkId, Damaged> {
    from.u32().map(LinkId)
}

fn write_endpoint(to: &mut Writer, endpoint: Endpoint) {
    write_remote(to, endpoint.remote);
    to.option(endpoint.local, write_ip);
    to.option(endpoint.interface, |to, index| to.u32(index.get()));
}

fn read_endpoint(from: &mut Reader<'_>) -> Result<Endpoint, Damaged> {
    Ok(Endpoint {
        remote: read_remote(from)?,
        local: from.option(read_ip)?,
        interface: from.option(Reader::u32)?.and_then(NonZeroU32::new),
    })
}

fn write_remote(to: &mut Writer, remote: SocketAddr) {
    write_ip(to, remote.ip());
    to.u16(remote.port());
    let scope = match remote {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(remote) => remote.scope_id(),
    };
    to.u32(scope);
}

fn read_remote(from: &mut Reader<'_>) -> Result<SocketAddr, Damaged> {
    let mut remote = SocketAddr::new(read_ip(from)?, from.u16()?);
    let scope = from.u32()?;
    if let SocketAddr::V6(remote) = &mut remote {
        remote.set_scope_id(scope);
    }
    Ok(remote)
}

fn write_ip(to: &mut Writer, address: IpAddr) {
    to.bool(address.is_ipv4());
    match address {
        IpAddr::V4(address) => to.bytes(&address.octets()),
        IpAddr::V6(address) => to.bytes(&address.octets()),
    }
}

fn read_ip(from: &mut Reader<'_>) -> Result<IpAddr, Damaged> {
    if from.bool()? {
        from.array::<4>().map(IpAddr::from)
    } else {
        from.array::<16>().map(IpAddr::from)
    }
}
