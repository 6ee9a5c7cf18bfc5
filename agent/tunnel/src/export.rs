//! All peers of a lane on their way from one agent to the next.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use datapath_abi::outcome::Tally;

use super::peer::{Peer, PeerSpec, read_link};
use super::{PeerSlot, Tunnel};
use crossway_types::codec::{Damaged, Reader, Writer};
use crossway_types::ids::{LinkId, SiteId};

/// By so much the calendar goes on at a hand-over: more than what a timestamp does not tell, so that
/// the first handshake of the next agent is later than the last of this one to the far side, too.
const CALENDAR_STEP: Duration = Duration::from_millis(17);

/// How many peers came over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// With all that their session was.
    pub sessions: usize,
    /// New ones, and those that need a new session.
    pub anew: usize,
}

impl Tunnel {
    /// For the agent that takes over; returns the packets that stay behind. From now on this tunnel
    /// must seal nothing, unless the other agent is known to have thrown the bytes away.
    pub fn export(&self, now: Instant, to: &mut Writer) -> Tally {
        to.bytes(&self.local.identity.public_key());
        to.duration(self.local.calendar.since_epoch(now));
        let mut waiting = Tally::default();
        to.u32(self.peers.iter().flatten().count() as u32);
        for peer in self.peers.iter().flatten() {
            to.part(|to| waiting += peer.export(to));
        }
        self.export_ranks(to);
        // In order, so that the same state is the same bytes.
        let mut keys: Vec<_> = self.by_key.keys().collect();
        keys.sort_unstable();
        to.u32(keys.len() as u32);
        for key in keys {
            to.bytes(key);
            self.initiations.export(key, to);
        }
        to.u32(self.peers.iter().flatten().count() as u32);
        for peer in self.peers.iter().flatten() {
            to.u32(peer.link().0);
            to.part(|to| peer.export_counts(to));
        }
        waiting
    }

    /// Packets that wait for a session.
    pub fn waiting(&self) -> Tally {
        let waiting = self.peers.iter().flatten().map(Peer::waiting);
        waiting.fold(Tally::default(), |sum, tally| Tally {
            packets: sum.packets + tally.packets,
            bytes: sum.bytes + tally.bytes,
        })
    }

    /// Adds the peers of `specs`, each with the session that `from` has of it, if any. None is dialled.
    pub fn import(
        &mut self,
        from: &mut Reader<'_>,
        specs: &[PeerSpec],
        now: Instant,
    ) -> Result<Imported, Damaged> {
        let records = self.read_records(from, now)?;
        let mut imported = Imported::default();
        for spec in specs {
            let known = records.get(&spec.link).cloned();
            // What cannot be read of one peer is no reason to give up the others.
            let known =
                known.and_then(|mut from| Peer::import(&mut from, spec, &self.local, now).ok()?);
            let (peer, goes_on) =
                known.unwrap_or_else(|| (Peer::new(spec.clone(), &self.local, now), false));
            if goes_on {
                imported.sessions += 1;
            } else {
                imported.anew += 1;
            }
            self.insert(peer, now);
        }
        self.import_ranks(from)?;
        self.import_initiations(from)?;
        self.import_counts(from)?;
        Ok(imported)
    }

    /// Which links carry the flows of each site.
    fn export_ranks(&self, to: &mut Writer) {
        to.u32(self.by_site.len() as u32);
        for serving in &self.by_site {
            to.u32(serving.ranks().len() as u32);
            for rank in serving.ranks() {
                let links = rank.iter().filter_map(|slot| self.peers[slot.0].as_ref());
                let links: Vec<LinkId> = links.map(Peer::link).collect();
                to.u32(links.len() as u32);
                for link in links {
                    to.u32(link.0);
                }
            }
        }
    }

    /// Takes the ranks of the links that are still of their site, until control has ranked them anew.
    fn import_ranks(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for site in 0..from.u32()? {
            let mut ranks = Vec::new();
            for _ in 0..from.u32()? {
                let links = (0..from.u32()?).map(|_| from.u32().map(LinkId));
                ranks.push(links.collect::<Result<Vec<_>, _>>()?);
            }
            let slots = ranks.iter().map(|rank| {
                let slots = rank
                    .iter()
                    .filter_map(|link| self.by_link.get(link).copied());
                slots
                    .filter(|slot| self.site_of(*slot) == Some(SiteId(site)))
                    .collect()
            });
            let slots: Vec<Vec<PeerSlot>> = slots.collect();
            if let Some(serving) = self.by_site.get_mut(site as usize) {
                serving.restore(slots);
                self.choose(SiteId(site));
            }
        }
        Ok(())
    }

    /// Takes what was taken of initiations, which an agent before this rule does not tell.
    fn import_initiations(&self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let keys = if from.is_empty() { 0 } else { from.u32()? };
        for _ in 0..keys {
            self.initiations.import(from.array()?, from)?;
        }
        Ok(())
    }

    /// Goes on counting what comes, which an agent before this count does not tell.
    fn import_counts(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let peers = if from.is_empty() { 0 } else { from.u32()? };
        for _ in 0..peers {
            let (link, mut counts) = (LinkId(from.u32()?), from.part()?);
            let slot = self.by_link.get(&link).copied();
            if let Some(peer) = slot.and_then(|slot| self.peers[slot.0].as_mut()) {
                peer.import_counts(&mut counts)?;
            }
        }
        Ok(())
    }

    fn site_of(&self, slot: PeerSlot) -> Option<SiteId> {
        self.peers[slot.0].as_ref().and_then(Peer::site)
    }

    /// The records by link; none if they are of another key pair of ours.
    fn read_records<'a>(
        &mut self,
        from: &mut Reader<'a>,
        now: Instant,
    ) -> Result<HashMap<LinkId, Reader<'a>>, Damaged> {
        let public_key: [u8; 32] = from.array()?;
        let since_epoch = from.duration()? + CALENDAR_STEP;
        let ours = public_key == self.local.identity.public_key();
        if ours {
            self.local.calendar.adjust(now, since_epoch);
        }
        let mut records = HashMap::new();
        for _ in 0..from.u32()? {
            let mut record = from.part()?;
            let link = read_link(&mut record)?;
            if ours {
                records.insert(link, record);
            }
        }
        Ok(records)
    }
}
