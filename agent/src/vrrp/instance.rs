//! One virtual router at work: its state machine with sockets, timers and device.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rtnetlink::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::hear::hear;
use super::packet::Advertisement;
use super::router::{Action, Change, Router, Settings, State, Why};
use super::socket::{Received, Receiver, Sender};
use super::status::{Event, Key, Place, Setup, Status, What};
use super::track::{self, Health};
use super::{announce, frame, probe};
use crate::config::InterfaceAddress;
use crate::host::addresses;
use crate::host::error::HostError;
use crate::host::links;
use crate::ids::IfIndex;
use crossway_liveness::vrrp::RELEASE;
use crossway_sys::clock;
use crossway_types::address::Mac;

/// What a mate may need beyond its skew, and how long a stop waits for it at most.
const MATE_IS_BUSY: Duration = Duration::from_millis(50);
const LONGEST_STOP: Duration = Duration::from_secs(1);

/// Frames to the virtual MAC that a switch sent here before it heard of the new master, and that the
/// receive queue of another processor still holds.
const STILL_ON_THEIR_WAY: Duration = Duration::from_millis(5);

/// What an instance is told.
#[derive(Debug)]
pub(super) enum Command {
    Set(Setup),
    Health(Health),
    Stop,
    Leave,
}

/// One virtual router at work.
pub(super) struct Instance {
    router: Router,
    setup: Setup,
    health: Health,
    sockets: Option<(Receiver, Sender, Place)>,
    handle: Handle,
    /// Addresses that we put on the device, while it is up.
    held: Option<Vec<IpAddr>>,
    /// To begin as master, as the agent before us ended.
    resume: bool,
    status: watch::Sender<Status>,
    events: mpsc::UnboundedSender<Event>,
    actions: VecDeque<Action>,
}

impl Instance {
    /// A virtual router that does nothing yet; [`Self::run`] it.
    pub(super) fn new(
        setup: Setup,
        health: Health,
        resume: bool,
        handle: Handle,
        events: mpsc::UnboundedSender<Event>,
    ) -> (Self, watch::Receiver<Status>) {
        let (status, seen) = watch::channel(Status::new(setup.clone(), clock::now()));
        let settings = settings(&setup, health);
        let instance = Self {
            router: Router::new(settings, setup.key.family.group()),
            setup,
            health,
            sockets: None,
            handle,
            held: None,
            resume,
            status,
            events,
            actions: VecDeque::new(),
        };
        (instance, seen)
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        self.settle();
        self.carry_out().await;
        loop {
            let due = self.router.poll_timeout();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Set(setup)) => self.set(setup).await,
                    Some(Command::Health(health)) => self.set_health(health),
                    Some(Command::Stop) | None => return self.stop().await,
                    Some(Command::Leave) => return,
                },
                received = receive(&mut self.sockets) => match received {
                    Ok(received) => {
                        let (router, setup, status) = (&mut self.router, &self.setup, &self.status);
                        hear(router, setup, status, received);
                    }
                    Err(error) => self.lose_sockets(&error),
                },
                () = at(due) => self.router.handle_timeout(clock::now()),
            }
            self.carry_out().await;
        }
    }

    async fn set(&mut self, setup: Setup) {
        let addresses = setup.addresses != self.setup.addresses;
        if setup.place != self.setup.place {
            let moved = match (&setup.place, &self.sockets) {
                (Ok(place), Some((_, _, old))) => {
                    (place.lan, place.device) != (old.lan, old.device)
                }
                (Err(_), Some(_)) => true,
                (_, None) => false,
            };
            if moved {
                let why = match &setup.place {
                    Ok(_) => "the interface was replaced by another of its name",
                    Err(why) => why,
                };
                self.router.stop(why);
                self.carry_out().await;
                self.sockets = None;
            }
        }
        self.setup = setup;
        if addresses && self.held.is_some() {
            self.take().await;
            self.announce();
        }
        self.settle();
    }

    fn set_health(&mut self, health: Health) {
        self.health = health;
        self.settle();
    }

    /// Brings the state machine in line with the setup: started where it can run.
    fn settle(&mut self) {
        let now = clock::now();
        self.router.set(now, settings(&self.setup, self.health));
        match &self.setup.place {
            Err(why) => {
                let why = why.clone();
                self.router.stop(why.clone());
                self.status.send_modify(|status| status.why = why);
            }
            Ok(place) => {
                let place = *place;
                self.router.set_local(place.local);
                if let Some((_, _, old)) = &mut self.sockets {
                    *old = place;
                } else if let Err(error) = self.open(place) {
                    let text =
                        format!("cannot open a socket for VRRP: {error}; it needs CAP_NET_RAW");
                    self.router.stop(text.clone());
                    self.note_trouble(text);
                    return;
                }
                if std::mem::take(&mut self.resume) {
                    self.router.resume(now, place.local);
                }
                self.router.start(now, place.local);
            }
        }
    }

    fn open(&mut self, place: Place) -> io::Result<()> {
        let receiver = Receiver::open(self.setup.key.family, place.lan)?;
        self.sockets = Some((receiver, Sender::open(place.lan)?, place));
        Ok(())
    }

    fn lose_sockets(&mut self, error: &io::Error) {
        self.sockets = None;
        self.router.stop(format!("the interface is gone: {error}"));
        // The control task finds out what has become of it, and sets the setup anew.
    }

    /// Does what the state machine says, in its order, and shows how it stands then.
    async fn carry_out(&mut self) {
        while let Some(action) = self.router.poll_action() {
            self.actions.push_back(action);
        }
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Advertise(priority) => self.advertise(priority),
                Action::Take => self.take().await,
                Action::Announce => self.announce(),
                Action::Give => self.give().await,
                Action::Report(change) => self.report(change),
                Action::ReportRival(rival) => self.tell(What::Split(rival)),
            }
        }
        let (router, setup) = (&self.router, &self.setup);
        self.status.send_modify(|status| {
            status.priority = router.settings().priority;
            status.heard = router.heard().copied();
            status.rival = router.rival().copied();
            if status.setup != *setup {
                status.setup = setup.clone();
            }
        });
    }

    fn advertise(&mut self, priority: u8) {
        let Some((_, sender, place)) = &self.sockets else {
            return;
        };
        let key = &self.setup.key;
        let advertisement = Advertisement {
            id: key.id,
            priority,
            interval: self.setup.interval,
            addresses: self.setup.addresses.clone(),
        };
        let message = advertisement.encode(place.local);
        let sent = sender.send(&frame::advertisement(
            self.source(place),
            place.local,
            &message,
        ));
        self.note_sent(sent);
    }

    /// Where advertisements come from: the virtual MAC, by which switches learn where the master is (RFC 9568, 7.3). A
    /// master that reaches no site comes from its own. If it was cut off, there is another by now, and the first frame after
    /// its return would draw the hosts' packets here.
    fn source(&self, place: &Place) -> Mac {
        let Key { family, id, .. } = self.setup.key;
        let is_of_use = !self.health.reaches_nothing() || self.setup.track_weight.is_none();
        let own = place.mac.filter(|_| !is_of_use);
        own.unwrap_or_else(|| Mac::of_router(family, id))
    }

    fn announce(&mut self) {
        let Some((_, sender, _)) = &self.sockets else {
            return;
        };
        let id = self.setup.key.id;
        let mut addresses = self.setup.addresses.iter();
        let sent = addresses.try_for_each(|address| sender.send(&announce::frame(id, *address)));
        self.note_sent(sent);
    }

    fn note_sent(&mut self, sent: io::Result<()>) {
        match sent {
            Ok(()) => {}
            // A full queue: the next one may go.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) => self.note_trouble(format!("an advertisement could not be sent: {error}")),
        }
    }

    /// The device up, with exactly the addresses of the setup.
    async fn take(&mut self) {
        if let Err(error) = self.try_take().await {
            self.note_trouble(format!("the virtual MAC could not be brought up: {error}"));
        } else {
            self.status.send_modify(|status| status.trouble = None);
        }
    }

    async fn try_take(&mut self) -> Result<(), HostError> {
        let Some((_, _, place)) = &self.sockets else {
            return Ok(());
        };
        let device = place.device;
        if self.held.is_none() {
            links::set_index_up(&self.handle, device, true).await?;
        }
        let wanted = &self.setup.addresses;
        let held = self.held.get_or_insert_default();
        for address in wanted {
            if !held.contains(address) {
                addresses::add(&self.handle, device, on_device(*address)).await?;
                held.push(*address);
            }
        }
        for address in held.extract_if(.., |address| !wanted.contains(address)) {
            addresses::remove(&self.handle, device, on_device(address)).await?;
        }
        Ok(())
    }

    /// Forwards what is still on its way here, then takes the device down.
    ///
    /// An answer for a virtual address would teach the switch that the MAC is still here. So the IPv4
    /// addresses go first; those of IPv6 last, since their going is told to the LAN (MLD) while the device is up.
    async fn give(&mut self) {
        let Some((_, _, place)) = &self.sockets else {
            return;
        };
        let device = place.device;
        let held = self.held.take().unwrap_or_default();
        let (first, last): (Vec<_>, Vec<_>) = held.into_iter().partition(IpAddr::is_ipv4);
        let mut failed = self.remove_addresses(device, first).await;
        tokio::time::sleep(STILL_ON_THEIR_WAY).await;
        let down = links::set_index_up(&self.handle, device, false).await;
        failed = failed.or(down.err());
        failed = failed.or(self.remove_addresses(device, last).await);
        if let Some(error) = failed {
            self.note_trouble(format!("the virtual MAC could not be taken down: {error}"));
        }
    }

    /// All of them, and the first error.
    async fn remove_addresses(&self, device: IfIndex, addresses: Vec<IpAddr>) -> Option<HostError> {
        let mut failed = None;
        for address in addresses {
            let removed = addresses::remove(&self.handle, device, on_device(address)).await;
            failed = failed.or(removed.err());
        }
        failed
    }

    fn report(&mut self, change: Change) {
        let at = clock::now();
        self.status.send_modify(|status| {
            status.state = change.to;
            status.since = at;
            status.why = change.why.to_string();
            status.silent_mate = None;
        });
        if let (Why::Silence(_, Some(mate)), Some((_, _, place))) = (&change.why, &self.sockets) {
            self.look_for(*mate, place.lan);
        }
        self.tell(What::Changed(change));
    }

    /// Advertisements are multicast, which a LAN may drop while it carries all else: then both are master.
    /// A mate that has died altogether does not answer.
    fn look_for(&self, mate: IpAddr, lan: IfIndex) {
        let (status, events, key) = (
            self.status.clone(),
            self.events.clone(),
            self.setup.key.clone(),
        );
        tokio::spawn(async move {
            if !probe::answers(mate, lan).await {
                return;
            }
            let at = clock::now();
            status.send_modify(|status| {
                if status.state == State::Master {
                    status.silent_mate = Some((at, mate));
                }
            });
            let what = What::SilentMate(mate);
            // The gateway has stopped if nobody takes it.
            let _ = events.send(Event { key, what, at });
        });
    }

    fn tell(&self, what: What) {
        let (key, at) = (self.setup.key.clone(), clock::now());
        // The gateway has stopped if nobody takes it.
        let _ = self.events.send(Event { key, what, at });
    }

    fn note_trouble(&mut self, text: String) {
        if self.status.borrow().trouble.as_ref() != Some(&text) {
            let Key { interface, id, .. } = &self.setup.key;
            tracing::warn!(interface, id, "VRRP: {text}");
            self.status
                .send_modify(|status| status.trouble = Some(text));
        }
    }

    /// Says that it stops, and goes on forwarding until the mate has taken over, which takes it less than
    /// an interval: its skew.
    async fn stop(mut self) {
        let was_master = self.router.state() == State::Master;
        self.router.stop("the gateway stops");
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Give => {}
                other => self.actions.push_back(other),
            }
        }
        self.carry_out().await;
        if was_master {
            let limit = self.setup.interval.duration() + MATE_IS_BUSY;
            let limit = limit.min(LONGEST_STOP);
            // Without an answer there is no mate.
            let _ = tokio::time::timeout(limit, self.mate_takes_over()).await;
            self.give().await;
        }
    }

    async fn mate_takes_over(&mut self) {
        let id = self.setup.key.id;
        let group = self.setup.key.family.group();
        while let Ok(Received {
            source,
            hops,
            message,
        }) = receive(&mut self.sockets).await
        {
            let heard = Advertisement::decode(message, source, group, hops);
            if heard.is_ok_and(|heard| heard.id == id && heard.priority != RELEASE) {
                return;
            }
        }
    }
}

fn settings(setup: &Setup, health: Health) -> Settings {
    Settings {
        priority: track::priority(setup.priority, setup.track_weight, health),
        interval: setup.interval,
        preempt: setup.preempt,
    }
}

/// Without a network of its own, so that routes stay with the LAN interface. A link-local address has
/// one: an answer to a link-local host leaves by this device.
fn on_device(address: IpAddr) -> InterfaceAddress {
    let length = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(address) if address.is_unicast_link_local() => 64,
        IpAddr::V6(_) => 128,
    };
    InterfaceAddress { address, length }
}

async fn receive(sockets: &mut Option<(Receiver, Sender, Place)>) -> io::Result<Received<'_>> {
    match sockets {
        Some((receiver, ..)) => receiver.receive().await,
        None => std::future::pending().await,
    }
}

/// Waits until `time`, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
