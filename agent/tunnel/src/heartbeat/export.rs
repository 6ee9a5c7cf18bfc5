//! A heartbeat on its way from one agent to the next: the far end must notice nothing.

use std::net::IpAddr;

use super::Heartbeat;
use crossway_types::codec::{Damaged, Reader, Writer};

impl Heartbeat {
    /// For the agent that takes over.
    pub(crate) fn export(&self, to: &mut Writer) {
        for address in [self.path.local, self.path.remote] {
            to.bytes(&sixteen(address));
        }
        to.bool(self.answered);
        to.u32(self.unanswered);
        to.option(self.heard, Writer::instant);
        to.option(self.not_before, Writer::instant);
        self.session.export(to);
    }

    /// What [`Self::export`] wrote. A session between other addresses is another one: then this one
    /// begins as it is.
    pub(crate) fn import(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let (local, remote): ([u8; 16], [u8; 16]) = (from.array()?, from.array()?);
        if (local, remote) != (sixteen(self.path.local), sixteen(self.path.remote)) {
            return Ok(());
        }
        self.answered = from.bool()?;
        self.unanswered = from.u32()?;
        self.heard = from.option(Reader::instant)?;
        self.not_before = from.option(Reader::instant)?;
        self.session.import(from)
    }
}

fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
