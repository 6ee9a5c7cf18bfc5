//! The lanes that go on with what those of the agent before have carried.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::received::Received;
use crate::clock;
use crate::gateway::desired::Desired;
use crate::gateway::forwarding::spec_of;
use crate::gateway::timestamps::start_of_calendars;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::lane::{LaneHandle, ParkedLane, ToControl};
use crate::routes::RouteTable;
use crate::tunnel::initiations::Initiations;
use crate::tunnel::noise::Identity;
use crate::tunnel::{Imported, PeerSpec};
use crossway_types::codec::Damaged;
use crossway_types::marks::DscpModel;

/// What the new lanes will have. It is made while the old ones still run.
pub(super) struct NewLanes {
    identity: Identity,
    mtu: u16,
    dscp: DscpModel,
    /// Timestamps of handshakes are not before this.
    begin: Duration,
    /// The peers of each lane.
    specs: Vec<Vec<PeerSpec>>,
    routes: Arc<RouteTable>,
}

impl NewLanes {
    pub(super) fn of(desired: &Desired, lanes: u16, identity: &Identity, mtu: u16) -> Result<Self> {
        let Desired { config, plan, .. } = desired;
        let mut specs = vec![Vec::new(); lanes.into()];
        for link in &plan.links {
            specs[usize::from(link.lane)].push(spec_of(link, config)?);
        }
        let routes = plan.routes().map(|(_, prefix, site)| (prefix, site));
        Ok(Self {
            identity: identity.clone(),
            mtu,
            dscp: config.gateway.dscp,
            begin: start_of_calendars(&config.gateway.name),
            specs,
            routes: Arc::new(RouteTable::new(routes)),
        })
    }

    /// Makes the lanes, one for each pair, with their peers, their sessions and their routes. They do not run
    /// yet.
    pub(super) fn make(
        &self,
        pairs: Vec<(TunQueue, UdpSocket)>,
        received: &Received,
        to_control: &ToControl,
    ) -> Result<(Vec<(ParkedLane, LaneHandle)>, Imported)> {
        let mut made = Vec::new();
        let initiations = Arc::<Initiations>::default();
        for (queue, socket) in pairs {
            let (identity, to_control) = (self.identity.clone(), to_control.clone());
            let mtu = self.mtu.into();
            made.push(ParkedLane::new(
                queue,
                socket,
                identity,
                Arc::clone(&initiations),
                mtu,
                to_control,
            )?);
        }
        for (lane, _) in &mut made {
            lane.begin_calendar(self.begin);
        }
        let imported = self.fill(&mut made, received);
        Ok((made, imported))
    }

    /// Gives the lanes their peers with their sessions, and their routes.
    fn fill(&self, made: &mut [(ParkedLane, LaneHandle)], received: &Received) -> Imported {
        let (mut sum, now) = (Imported::default(), clock::now());
        let mut states = received.lanes(now);
        for ((lane, _), specs) in made.iter_mut().zip(&self.specs) {
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
            lane.set_routes(Arc::clone(&self.routes));
            lane.set_dscp(self.dscp);
        }
        if let Some((first, _)) = made.first_mut() {
            for mut state in states.flatten() {
                // Only a count: what cannot be read of it is not worth more.
                let _ = first.import_drops_of(&mut state);
            }
        }
        sum
    }
}
