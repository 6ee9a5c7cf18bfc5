//! What the agent before has sent.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use zeroize::Zeroizing;

use crate::clock;
use crate::config::Config;
use crate::control::{Server, socket_path};
use crate::gateway::handover::Header;
use crate::gateway::parts::Sockets;
use crate::gateway::start::{address_of, bind, tun_failure};
use crate::handover;
use crate::handover::socket::Channel;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::metrics::Told;
use crate::tunnel::Imported;
use crossway_types::codec::{Damaged, Reader};

/// What the agent before has sent.
pub(super) struct Received {
    header: Header,
    /// Of the control socket and of the door.
    listeners: Option<[OwnedFd; 2]>,
    /// Of each lane.
    descriptors: Vec<[OwnedFd; 2]>,
    /// Of the metrics.
    metrics: Option<OwnedFd>,
    state: Zeroizing<Vec<u8>>,
}

impl Received {
    pub(super) fn receive(channel: &mut Channel) -> Result<Self> {
        let header: Header = channel
            .receive()
            .context("the running agent goes on by itself")?;
        let mut descriptors = channel.receive_descriptors()?.into_iter();
        let mut pair = || Some([descriptors.next()?, descriptors.next()?]);
        let listeners = Some(pair().context("no control socket came")?);
        let lanes = std::iter::from_fn(&mut pair).take(header.lanes.len());
        let lanes = lanes.collect();
        let metrics = descriptors.next().filter(|_| header.metrics.is_some());
        Ok(Self {
            header,
            listeners,
            descriptors: lanes,
            metrics,
            state: channel.receive_bytes()?,
        })
    }

    /// The queue and the socket of each lane: those that came, as far as they are what the file wants.
    pub(super) fn pairs(
        &mut self,
        config: &Config,
        count: u16,
    ) -> Result<Vec<(TunQueue, UdpSocket)>> {
        let name = config.gateway.tun_name();
        let came = std::mem::take(&mut self.descriptors).into_iter();
        let mut came = came.zip(&self.header.lanes);
        let mut pairs = Vec::new();
        for lane in 0..count {
            let wanted = address_of(config.gateway.listen, lane)?;
            let (queue, socket) = match came.next() {
                Some(([udp, queue], off)) => {
                    let socket = UdpSocket::taken_over(udp, off)?;
                    let fits = socket.local_address()? == wanted;
                    (TunQueue::taken_over(queue, off), fits.then_some(socket))
                }
                None => (
                    TunQueue::open(&name).with_context(|| tun_failure(&name))?,
                    None,
                ),
            };
            let socket = match socket {
                Some(socket) => socket,
                None => bind(config.gateway.listen, lane)?,
            };
            pairs.push((queue, socket));
        }
        Ok(pairs)
    }

    /// The state of each lane, none from an agent of another version.
    pub(super) fn lanes(&self, now: Instant) -> impl Iterator<Item = Result<Reader<'_>, Damaged>> {
        let passed = clock::monotonic_ns().saturating_sub(self.header.state_ns);
        let written = now.checked_sub(Duration::from_nanos(passed)).unwrap_or(now);
        let mut state = Reader::new(&self.state, written);
        std::iter::from_fn(move || (!state.is_empty()).then(|| state.part()))
    }

    pub(super) fn sockets(&mut self, config: &Config) -> Result<Sockets> {
        let name = &config.gateway.name;
        let [control, door] = self.listeners.take().context("no control socket came")?;
        let control = Server::taken_over(control, &socket_path(name));
        let door = Server::taken_over(door, &handover::socket_path(name));
        match (control, door) {
            (Ok(control), Ok(door)) => Ok(Sockets { control, door }),
            // Somebody has removed the files.
            _ => Sockets::bind(&config.gateway),
        }
    }

    /// Where the metrics were read, and its socket.
    pub(super) fn metrics(&mut self) -> Option<(Told, OwnedFd)> {
        self.header.metrics.take().zip(self.metrics.take())
    }

    /// Drops what held keys and is not needed any more.
    pub(super) fn forget_state(&mut self) {
        self.state = Zeroizing::default();
    }

    /// Logs how long no packet was carried, and what took the time.
    pub(super) fn log_gap(&self, received: Instant, filled: Instant, imported: &Imported) {
        let (now, now_ns) = (clock::now(), clock::monotonic_ns());
        let header = &self.header;
        let since = |then: u64| now_ns.saturating_sub(then) / 1000;
        let ago = |then: Instant| (now - then).as_micros() as u64;
        tracing::info!(
            gap_us = since(header.parked_ns),
            stopping_us = since(header.asked_ns).saturating_sub(since(header.state_ns)),
            carrying_us = since(header.state_ns).saturating_sub(ago(received)),
            filling_us = ago(received) - ago(filled),
            starting_us = ago(filled),
            state_bytes = self.state.len(),
            sessions = imported.sessions,
            handshakes = imported.anew,
            "took over from the agent before"
        );
    }
}
