//! Handing over to another agent; see [`handover`](crate::handover) for the order of what is said.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Gateway;
use super::handover::{Answer, Ask, GatewayExport, Header, Offer, Word};
use crate::control::Server;
use crate::control::server::SharedSocket;
use crate::handover::STATE_VERSION;
use crate::handover::priority::Priority;
use crate::handover::socket::{self, Channel, PeerProcess};
use crate::lane::ParkedLane;
use crate::{clock, systemd};
use crossway_sys::netns;
use crossway_types::codec::Writer;

/// How long the other agent may take to ask, once it has begun to.
const ASK_LIMIT: Duration = Duration::from_millis(500);
/// Pause after `accept` failed, which is for want of file descriptors: at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long it may plan with our numbers, a million routes among it. Our lanes run meanwhile.
const PLAN_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to make lanes of what it got. Nothing is carried meanwhile.
const TAKE_LIMIT: Duration = Duration::from_millis(500);
/// How long our lanes may take to say that they are well.
const HEALTH_LIMIT: Duration = Duration::from_secs(1);

/// Takes connections at the door. An agent connects before it prepares itself, and is let in when it says
/// something.
pub(super) async fn attend(door: Server, asked: mpsc::Sender<UnixStream>) {
    while !asked.is_closed() {
        match door.accept().await {
            Ok(successor) => {
                let asked = asked.clone();
                tokio::spawn(async move {
                    if has_spoken(&successor).await.unwrap_or(false) {
                        // The gateway has stopped if nobody takes it.
                        let _ = asked.send(successor).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no agent can take over");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits until the other end says something; `false` if it goes instead.
async fn has_spoken(stream: &UnixStream) -> io::Result<bool> {
    loop {
        stream.readable().await?;
        // Readiness may be a false alarm.
        match stream.try_io(Interest::READABLE, || socket::peek(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            peeked => return peeked,
        }
    }
}

impl Gateway {
    /// Another agent asks for the gateway.
    pub(super) async fn hand_over_and_log(&mut self, successor: UnixStream, now: Instant) {
        match self.hand_over(successor, now).await {
            Ok(next) => {
                self.process.handed_over = true;
                tracing::info!(pid = next.pid, "handed over to another agent");
                systemd::succeeded_by(next.pid);
            }
            Err(error) => tracing::warn!("not handed over, this agent goes on: {error:#}"),
        }
    }

    /// Blocks the control task for the time of the hand-over. After an error all is as it was.
    async fn hand_over(&mut self, successor: UnixStream, now: Instant) -> Result<PeerProcess> {
        let mut channel = Channel::new(successor.into_std()?)?;
        ensure!(
            channel.is_ours()?,
            "a process of another user asked to take over"
        );
        channel.patience(ASK_LIMIT)?;
        let ask: Ask = channel
            .receive()
            .context("the other agent closed the connection without asking")?;
        if let Err(error) = self.may_hand_over(&ask, now).await {
            let why = format!("{error:#}");
            channel.send(&Answer::Refused { why })?;
            return Err(error);
        }
        channel.send(&Answer::Offer(Offer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state_version: STATE_VERSION,
            numbers: self.desired.numbers.export(),
        }))?;
        channel.patience(PLAN_LIMIT)?;
        let word: Word = channel
            .receive()
            .context("the other agent closed the connection before taking over")?;
        ensure!(word == Word::Go, "the other agent said {word:?}");

        let urgent = Priority::urgent();
        let asked_ns = clock::monotonic_ns();
        let parked = self.forwarding.lanes.park()?;
        let understood = ask.state_version == STATE_VERSION;
        let given = self
            .send_lanes(&mut channel, parked.lanes(), asked_ns, understood)
            .and_then(|()| was_taken(&mut channel));
        if let Err(error) = given {
            parked.resume()?;
            return Err(error);
        }
        // From here on the lanes are another agent's, and nothing here is more urgent than they are.
        drop(urgent);
        parked.leave();
        self.process.sockets.iter().for_each(SharedSocket::leave);
        self.exporter.leave();
        let mut export = self.export();
        export.virtual_routers = self.lan.vrrp.leave().await;
        // It has all that it cannot do without.
        let _ = channel.send(&export);
        Ok(channel.peer()?)
    }

    /// Whether this agent is well, and the other where it can go on.
    async fn may_hand_over(&mut self, ask: &Ask, now: Instant) -> Result<()> {
        let own = netns::cookie();
        if own.is_some() && ask.network_namespace.is_some() && own != ask.network_namespace {
            bail!("the other agent is in another network namespace: start it in that of this one");
        }
        let answered = timeout(HEALTH_LIMIT, self.forwarding.lanes.refresh()).await;
        let peers = answered.context("the lanes do not answer")??;
        self.forwarding.links.on_snapshot(peers, now);
        Ok(())
    }

    fn send_lanes(
        &self,
        channel: &mut Channel,
        parked: &[ParkedLane],
        asked_ns: u64,
        understood: bool,
    ) -> Result<()> {
        channel.patience(TAKE_LIMIT)?;
        let now = clock::now();
        let mut state = Writer::new(now);
        let state_ns = clock::monotonic_ns();
        if understood {
            for lane in parked {
                state.part(|to| lane.export(now, to));
            }
        }
        let first = parked.iter().map(ParkedLane::since).min().unwrap_or(now);
        let waited = now.saturating_duration_since(first).as_nanos() as u64;
        channel.send(&Header {
            asked_ns,
            parked_ns: state_ns - waited,
            state_ns,
            lanes: parked.iter().map(|lane| lane.tell_off(now)).collect(),
            metrics: self.exporter.told(),
        })?;
        let listeners = self.process.sockets.iter().map(SharedSocket::listener);
        let mut descriptors: Vec<BorrowedFd<'_>> = listeners.collect();
        descriptors.extend(parked.iter().flat_map(ParkedLane::descriptors));
        // Behind those of the lanes, where an agent that knows of no metrics does not look.
        descriptors.extend(self.exporter.listener());
        channel.send_descriptors(&descriptors)?;
        channel.send_bytes(&state.finish())?;
        Ok(())
    }

    fn export(&self) -> GatewayExport {
        self.history.write();
        let now = clock::now();
        let uptime = now.saturating_duration_since(self.process.started);
        GatewayExport {
            uptime_ms: uptime.as_millis() as u64,
            started_since_epoch_ms: self.process.started_since_epoch.as_millis() as u64,
            service: self.forwarding.service,
            links: self.forwarding.links.export(now),
            events: self.journal.borrow().last(None).events,
            virtual_routers: Vec::new(),
            flows: self
                .forwarding
                .datapath
                .as_ref()
                .map(|datapath| datapath.flows.account().clone()),
        }
    }
}

/// Whether the other agent has taken the lanes. If it has not by the limit, it cannot any more.
fn was_taken(channel: &mut Channel) -> Result<()> {
    let word: Word = match channel.receive() {
        Ok(word) => word,
        Err(error) => {
            let bytes = channel.shut()?;
            let bytes = bytes
                .ok_or(error)
                .context("the other agent did not take the lanes")?;
            serde_json::from_slice(&bytes)?
        }
    };
    ensure!(word == Word::Taken, "the other agent said {word:?}");
    Ok(())
}
