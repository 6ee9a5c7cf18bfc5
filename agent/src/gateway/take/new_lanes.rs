//! The lanes that go on with what those of the agent before have carried.

use std::io;
use std::sync::Arc;

use anyhow::Result;

use super::received::Received;
use crate::clock;
use crate::gateway::desired::Desired;
use crate::gateway::forwarding::spec_of;
use crate::gateway::judging::LanePolicy;
use crate::gateway::lanes::HeldTo;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::lane::{EmptyLane, LaneHandle, ParkedLane, ToControl};
use crate::routes::RouteTable;
use crate::tunnel::initiations::Initiations;
use crate::tunnel::noise::Identity;
use crate::tunnel::{Imported, PeerSpec};
use crossway_types::codec::Damaged;

/// The new lanes, as far as they can be made while the old ones still run.
pub(super) struct NewLanes {
    empty: Vec<EmptyLane>,
    /// The peers of each lane.
    specs: Vec<Vec<PeerSpec>>,
}

impl NewLanes {
    pub(super) fn of(
        desired: &Desired,
        lanes: u16,
        identity: &Identity,
        held_to: &HeldTo,
        to_control: &ToControl,
    ) -> Result<Self> {
        let Desired { config, plan, .. } = desired;
        let mut specs = vec![Vec::new(); lanes.into()];
        for link in &plan.links {
            specs[usize::from(link.lane)].push(spec_of(link, config)?);
        }
        let routes = plan.routes().map(|(_, prefix, site)| (prefix, site));
        let routes = Arc::new(RouteTable::new(routes).with_maps(plan.maps()));
        let initiations = Arc::<Initiations>::default();
        let empty = (0..lanes).map(|_| {
            let (identity, to_control) = (identity.clone(), to_control.clone());
            let initiations = Arc::clone(&initiations);
            let mut lane = EmptyLane::new(identity, initiations, held_to.mtu.into(), to_control);
            // Timestamps of handshakes are not before this.
            lane.begin_calendar(held_to.calendar_begins);
            lane.set_dscp(held_to.dscp);
            lane.set_routes(Arc::clone(&routes));
            let LanePolicy { flows, ruling } = held_to.policy.clone();
            lane.set_policy(flows, ruling);
            lane
        });
        Ok(Self {
            empty: empty.collect(),
            specs,
        })
    }

    /// Makes the lanes, one on each pair, with their sessions. They do not run yet.
    pub(super) fn make(
        self,
        pairs: Vec<(TunQueue, UdpSocket)>,
        received: &Received,
    ) -> Result<(Vec<(ParkedLane, LaneHandle)>, Imported)> {
        let empty = self.empty.into_iter().zip(pairs);
        let made = empty.map(|(lane, (queue, socket))| lane.on(queue, socket));
        let mut made = made.collect::<io::Result<Vec<_>>>()?;
        let imported = fill(&mut made, &self.specs, received);
        Ok((made, imported))
    }
}

/// Gives the lanes their peers with their sessions.
fn fill(
    made: &mut [(ParkedLane, LaneHandle)],
    specs: &[Vec<PeerSpec>],
    received: &Received,
) -> Imported {
    let (mut sum, now) = (Imported::default(), clock::now());
    let mut states = received.lanes(now);
    for ((lane, _), specs) in made.iter_mut().zip(specs) {
        let imported = match states.next() {
            Some(state) => state.and_then(|mut state| lane.import(&mut state, specs, now)),
            None => Err(Damaged),
        };
        let imported = imported.unwrap_or_else(|Damaged| {
            lane.add_peers(specs, now);
            Imported {
                sessions: 0,
                anew: specs.len(),
            }
        });
        sum.sessions += imported.sessions;
        sum.anew += imported.anew;
    }
    if let Some((first, _)) = made.first_mut() {
        for mut state in states.flatten() {
            // Only a count: what cannot be read of it is not worth more.
            let _ = first.import_drops_of(&mut state);
        }
    }
    sum
}
