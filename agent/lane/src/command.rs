//! What control asks of a lane, and what it answers.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use datapath_abi::outcome::{DropReason, Tally};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::drops::Drops;
use super::ticket::Asked;
use super::{ParkedLane, Swallowed};
use crate::io::offload::Offload;
use crate::io::udp::Endpoint;
use crate::policy::{Refused, Ruling};
use crossway_liveness::path_mtu::Bounds;
use crossway_liveness::settings::Liveness;
use crossway_sys::bpf_link::Attached;
use crossway_sys::poll::Waker;
use crossway_tunnel::link_bfd::LanRole;
use crossway_tunnel::{LinkChange, PeerSnapshot, PeerSpec};
use crossway_types::ids::{LinkId, SiteId};
use crossway_types::marks::DscpModel;
use crossway_types::routes::RouteTable;

/// Datagrams of replicas that may wait: what comes in a second at most, while control counts the flows of a
/// full table. 2.5 MB.
const REPLICA_QUEUE: usize = 2048;
/// Denied packets that may wait to be answered and told of.
const REFUSED_QUEUE: usize = 256;

/// A command; carried out between two batches.
#[derive(Debug)]
pub enum Command {
    /// Adds a peer, or replaces the one of the same link.
    AddPeer(Box<PeerSpec>),
    /// Forgets a peer.
    RemovePeer(LinkId),
    /// Dials a peer elsewhere.
    SetEndpoint(LinkId, Endpoint),
    /// A peer is reached by this interface; `None` leaves that to the kernel's routes.
    SetInterface(LinkId, Option<NonZeroU32>),
    /// What the path of a link is held to, and whether it is looked at.
    SetPathBounds(LinkId, Bounds),
    /// Changes how a link is monitored; probes are sent from the address.
    SetLiveness(LinkId, Box<Liveness>, Option<IpAddr>),
    /// Which links carry a site's flows, best first; those of equal rank share them.
    SetRanks(SiteId, Vec<Vec<LinkId>>),
    /// What the far end of a link is told of this gateway.
    SetLanRole(LinkId, LanRole),
    /// The path of a link is known to be dead.
    PathDown(LinkId),
    /// Sends datagrams to a replica.
    SendToReplica(LinkId, Vec<Vec<u8>>),
    /// Sends a packet of the gateway's own, which no policy judges, to whom it is for.
    SendAnswer(Vec<u8>),
    /// Replaces the routes; the old table comes back to be freed.
    SetRoutes(Arc<RouteTable>, oneshot::Sender<Arc<RouteTable>>),
    /// Judges by these rules; those of before come back to be freed.
    SetRuling(Arc<Ruling>, oneshot::Sender<Arc<Ruling>>),
    /// The programs judge as long as these are attached; `None`: the lane does.
    SetPrograms(Option<Attached>),
    /// Sets the largest inner packet of links whose path has no bounds of its own.
    SetMtu(usize),
    /// Sends nothing more under the keys of now, and begins every session anew: this machine is a copy.
    ForgetSendingKeys,
    /// Shows the classes of inner packets outside, or not.
    SetDscp(DscpModel),
    /// Asks for the state.
    Snapshot(oneshot::Sender<LaneSnapshot>),
    /// Ends the lane's thread and gives out the lane, for another agent or to be started again.
    Park(Asked<ParkedLane>),
    /// Ends the lane, once it has carried what waits in the TUN and in the socket; all that it dropped comes back.
    Stop(mpsc::Sender<Drops>),
}

/// Where a lane tells control what it does not ask for.
#[derive(Clone, Debug)]
pub struct ToControl {
    /// Changes of links, at once.
    pub changes: UnboundedSender<LinkChange>,
    /// What replicas send. It has an end: who sends faster than control takes is not waited for.
    pub replicas: tokio::sync::mpsc::Sender<FromReplica>,
    /// Packets that were denied, as many as may be told of.
    pub refused: tokio::sync::mpsc::Sender<Refused>,
}

/// The other end of a [`ToControl`].
#[derive(Debug)]
pub struct FromLanes {
    /// Changes of links.
    pub changes: UnboundedReceiver<LinkChange>,
    /// What replicas send.
    pub replicas: tokio::sync::mpsc::Receiver<FromReplica>,
    /// Packets that were denied.
    pub refused: tokio::sync::mpsc::Receiver<Refused>,
}

impl ToControl {
    /// A pair of ends.
    pub fn new() -> (Self, FromLanes) {
        let (changed, changes) = tokio::sync::mpsc::unbounded_channel();
        let (from_replicas, replicas) = tokio::sync::mpsc::channel(REPLICA_QUEUE);
        let (refuses, refused) = tokio::sync::mpsc::channel(REFUSED_QUEUE);
        let to_control = Self {
            changes: changed,
            replicas: from_replicas,
            refused: refuses,
        };
        let from_lanes = FromLanes {
            changes,
            replicas,
            refused,
        };
        (to_control, from_lanes)
    }
}

/// A datagram from a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromReplica {
    /// The link that it came over.
    pub link: LinkId,
    /// Its payload.
    pub payload: Box<[u8]>,
}

/// State of a lane at one moment.
#[derive(Clone, Debug)]
pub struct LaneSnapshot {
    /// Every peer.
    pub peers: Vec<PeerSnapshot>,
    /// Drops by reason: `drops[reason.index()]`.
    pub drops: [Tally; DropReason::COUNT],
    /// Every offload of the lane's TUN queue and socket.
    pub offloads: Vec<Offload>,
    /// Endpoints that the host's routes lead to through the tunnel.
    pub swallowed: Vec<Swallowed>,
    /// Time that the lane has worked since it was made, and not waited.
    pub busy: Duration,
}

/// The controlling end of a lane.
#[derive(Clone, Debug)]
pub struct LaneHandle {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

/// The lane has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneGone;

/// A pair of ends.
pub(super) fn channel() -> io::Result<(LaneHandle, mpsc::Receiver<Command>, Arc<Waker>)> {
    let (commands, receiver) = mpsc::channel();
    let waker = Arc::new(Waker::new()?);
    Ok((
        LaneHandle {
            commands,
            waker: Arc::clone(&waker),
        },
        receiver,
        waker,
    ))
}

impl LaneHandle {
    /// Hands a command over and wakes the lane.
    pub fn send(&self, command: Command) -> Result<(), LaneGone> {
        self.commands.send(command).map_err(|_| LaneGone)?;
        self.waker.wake();
        Ok(())
    }

    /// The state now.
    pub async fn snapshot(&self) -> Result<LaneSnapshot, LaneGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Snapshot(reply))?;
        answer.await.map_err(|_| LaneGone)
    }

    /// Has it judge by these rules, and frees the old ones here.
    pub async fn set_ruling(&self, ruling: Arc<Ruling>) -> Result<(), LaneGone> {
        let (reply, old) = oneshot::channel();
        self.send(Command::SetRuling(ruling, reply))?;
        old.await.map(drop).map_err(|_| LaneGone)
    }

    /// Replaces the routes and frees the old ones here, off the packet path.
    pub async fn set_routes(&self, routes: Arc<RouteTable>) -> Result<(), LaneGone> {
        let (reply, old) = oneshot::channel();
        self.send(Command::SetRoutes(routes, reply))?;
        old.await.map(drop).map_err(|_| LaneGone)
    }
}
