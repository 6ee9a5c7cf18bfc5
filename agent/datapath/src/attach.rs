//! Brings the attached programs in line with what is wanted.
//!
//! Every link is pinned and nothing of it is held in memory, so that a killed agent leaves all as
//! it is, and the next one gives the links its own programs without a gap.

pub(super) mod clsact;
mod links;

use std::collections::HashSet;
use std::fs;
use std::io;

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::programs::XdpMode;
use tracing::{info, warn};

use super::attachment::{Attachment, Hook, Mode, Place, TcAttach};
use super::kernel_at_least;
use super::pins::Pins;
use super::sys::link;
use super::xdp::{self, XdpPlan};
use crossway_sys::bpf_link::Attached;
use crossway_sys::interface;
use crossway_types::interface::{Lan, Wan, XdpChoice};

/// From linux/if_arp.h.
const ARPHRD_ETHER: u16 = 1;

/// Why an interface that is named carries no program.
const AWAY: &str = "the interface does not exist: its program comes with it";

/// The interfaces that shall carry programs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// LAN interfaces.
    pub lan: &'a [Lan],
    /// WAN interfaces.
    pub wan: &'a [Wan],
    /// The TUN, which must exist.
    pub tun: Option<&'a str>,
}

/// Attaches and detaches the programs of one gateway.
#[derive(Debug)]
pub(super) struct Attacher {
    pins: Pins,
    gateway: String,
    tc: TcAttach,
    /// Where this process's own programs run already.
    done: HashSet<Place>,
    attachments: Vec<Attachment>,
    refusals: Vec<String>,
}

/// What is to be attached.
struct Step {
    place: Place,
    reason: String,
}

impl Attacher {
    pub(super) fn new(pins: Pins, gateway: &str, tc: TcAttach) -> Self {
        Self {
            pins,
            gateway: gateway.to_owned(),
            tc,
            done: HashSet::new(),
            attachments: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// XDP that the configuration names and the driver refuses, with the mend, one line each.
    pub(super) fn refusals(&self) -> &[String] {
        &self.refusals
    }

    pub(super) fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Attaches what is wanted and not attached yet, and detaches everything else.
    pub(super) fn attach(&mut self, programs: &mut Ebpf, wanted: Wanted<'_>) -> Result<()> {
        let (steps, off) = self.plan(wanted)?;
        self.detach_others(&steps)?;
        self.attachments = off;
        let known = std::mem::take(&mut self.refusals);
        for step in steps {
            let attachment = self.take_step(programs, step, &known)?;
            self.attachments.push(attachment);
        }
        Ok(())
    }

    /// Detaches everything that this gateway has attached, now or in a life before.
    pub(super) fn detach_all(&mut self) -> Result<()> {
        self.detach_others(&[])?;
        self.attachments.clear();
        Ok(())
    }

    /// This agent's programs on the TUN if both are attached now, with which anybody can look whether
    /// they still are. Those of an agent before, which may know no policy, do not count.
    pub(super) fn on_tunnel(&self) -> Result<Option<Attached>> {
        let places = self.pins.places()?.into_iter();
        let on_tunnel = |place: &Place| matches!(place.hook, Hook::TunIngress | Hook::TunEgress);
        let places: Vec<Place> = places.filter(on_tunnel).collect();
        let [first, second] = places.as_slice() else {
            return Ok(None);
        };
        if !places.iter().all(|place| self.done.contains(place)) {
            return Ok(None);
        }
        let attached = if first.mode == Mode::Clsact {
            clsact::are_attached(first, &self.gateway)?.then(|| Attached::new(Vec::new()))
        } else {
            let links = [first, second].map(|place| link::open(&self.pins.link(place)));
            let links = links.into_iter().collect::<io::Result<_>>();
            Some(Attached::new(links.context("to look at the links")?))
        };
        Ok(attached.filter(Attached::are_attached))
    }

    fn detach_others(&mut self, kept: &[Step]) -> Result<()> {
        for place in self.pins.places()? {
            if kept.iter().all(|step| step.place != place) {
                self.detach(&place)?;
            }
        }
        Ok(())
    }

    /// An interface without its program is the kernel stack's, and the others keep theirs; without the TUN's there is
    /// no fast path.
    fn take_step(
        &mut self,
        programs: &mut Ebpf,
        step: Step,
        known: &[String],
    ) -> Result<Attachment> {
        let (mut mode, mut reason) = (step.place.mode, step.reason);
        if let Err(error) = self.ensure(programs, &step.place) {
            let name = &step.place.interface;
            let refusal = match step.place.hook {
                Hook::TunIngress | Hook::TunEgress => return Err(error),
                // It has just gone, which is told elsewhere and followed.
                _ if interface::index(name).ok() != Some(step.place.index) => {
                    return Ok(off(name, step.place.hook, AWAY.to_owned()));
                }
                Hook::WanGuard => format!("XDP stays off on {name}: {error:#}"),
                Hook::LanIngress => format!(
                    "the fast path is off on LAN {name}, the kernel stack forwards its packets: {error:#}"
                ),
            };
            if !known.contains(&refusal) {
                warn!("{refusal}");
            }
            self.refusals.push(refusal);
            reason = format!("{reason}, but it failed: {error:#}");
            mode = Mode::Off;
        }
        Ok(Attachment {
            interface: step.place.interface,
            hook: step.place.hook,
            mode,
            reason,
        })
    }

    fn ensure(&mut self, programs: &mut Ebpf, place: &Place) -> Result<()> {
        let pin = self.pins.link(place);
        if self.done.contains(place) && pin.exists() {
            return Ok(());
        }
        let known = pin.exists();
        match place.mode {
            Mode::Tcx => links::ensure_tcx(programs, place, &pin),
            Mode::Native => links::ensure_xdp(programs, place, &pin, XdpMode::Driver),
            Mode::Generic => links::ensure_xdp(programs, place, &pin, XdpMode::Skb),
            Mode::Clsact => clsact::ensure(programs, place, &self.pins, &self.gateway),
            Mode::Off => Ok(()),
        }
        .map_err(|error| {
            let context = failure(place, &error);
            error.context(context)
        })?;
        let done = if known { "took over" } else { "attached" };
        info!(
            interface = place.interface,
            mode = place.mode.as_str(),
            "{done} {}",
            place.hook.program()
        );
        self.done.insert(place.clone());
        Ok(())
    }

    fn detach(&mut self, place: &Place) -> Result<()> {
        let pin = self.pins.link(place);
        self.done.remove(place);
        if place.mode == Mode::Clsact {
            clsact::detach(place, &self.pins, &self.gateway)
        } else {
            // An error says that the interface is gone, and the program with it.
            let _ = link::detach_pinned(&pin);
            fs::remove_file(&pin).map_err(anyhow::Error::from)
        }
        .with_context(|| format!("detach {} from {}", place.hook.program(), place.interface))?;
        info!(
            interface = place.interface,
            "detached {}",
            place.hook.program()
        );
        Ok(())
    }

    /// The steps, and the attachments that are off from the start: an interface that the file names may be away.
    fn plan(&self, wanted: Wanted<'_>) -> Result<(Vec<Step>, Vec<Attachment>)> {
        let mut steps = Vec::new();
        let mut off = Vec::new();
        for lan in wanted.lan {
            self.plan_lan(lan, &mut steps, &mut off);
        }
        if let Some(tun) = wanted.tun {
            for hook in [Hook::TunIngress, Hook::TunEgress] {
                let index = interface::index(tun).map_err(|error| {
                    anyhow!("interface {tun}: {error}: the TUN must be in this network namespace")
                })?;
                steps.push(self.tc_step(hook, tun, index));
            }
        }
        for wan in wanted.wan {
            plan_wan(wan, &mut steps, &mut off);
        }
        Ok((steps, off))
    }

    fn plan_lan(&self, lan: &Lan, steps: &mut Vec<Step>, without: &mut Vec<Attachment>) {
        let (name, hook) = (&lan.interface, Hook::LanIngress);
        let (Ok(index), Ok(kind)) = (interface::index(name), interface::hardware_type(name)) else {
            without.push(off(name, hook, AWAY.to_owned()));
            return;
        };
        let mut step = self.tc_step(hook, name, index);
        if matches!(lan.xdp, XdpChoice::Native | XdpChoice::Generic) {
            step.reason += "; xdp has no effect here, there is no XDP program for a LAN yet";
        }
        if kind == ARPHRD_ETHER {
            steps.push(step);
        } else {
            let reason = format!(
                "not an Ethernet interface (ARPHRD type {kind}): the kernel stack forwards its packets"
            );
            without.push(off(name, hook, reason));
        }
    }

    fn tc_step(&self, hook: Hook, interface: &str, index: u32) -> Step {
        let tcx = match self.tc {
            TcAttach::Auto => kernel_at_least(6, 6),
            TcAttach::Tcx => true,
            TcAttach::Clsact => false,
        };
        let (mode, reason) = match (self.tc, tcx) {
            (TcAttach::Auto, true) => (Mode::Tcx, "kernel 6.6 or later"),
            (TcAttach::Auto, false) => (Mode::Clsact, "kernel before 6.6"),
            (_, true) => (Mode::Tcx, "asked for"),
            (_, false) => (Mode::Clsact, "asked for"),
        };
        Step {
            place: place(hook, mode, interface, index),
            reason: reason.to_owned(),
        }
    }
}

/// Detaches what a gateway left behind whose maps are not worth keeping.
pub(super) fn detach_left_behind(pins: &Pins, gateway: &str) -> Result<()> {
    Attacher::new(pins.clone(), gateway, TcAttach::Auto).detach_all()
}

fn plan_wan(wan: &Wan, steps: &mut Vec<Step>, without: &mut Vec<Attachment>) {
    let (name, hook) = (&wan.interface, Hook::WanGuard);
    let driver = match wan.xdp {
        XdpChoice::Auto => interface::driver(&wan.interface).ok(),
        _ => None,
    };
    let (mode, reason) = match xdp::plan(wan.xdp, driver.as_deref()) {
        XdpPlan::Off { reason } => {
            without.push(off(name, hook, reason));
            return;
        }
        XdpPlan::Native { reason } => (Mode::Native, reason),
        XdpPlan::Generic { reason } => (Mode::Generic, reason),
    };
    match interface::index(name) {
        Ok(index) => steps.push(Step {
            place: place(hook, mode, name, index),
            reason,
        }),
        Err(_) => without.push(off(name, hook, AWAY.to_owned())),
    }
}

fn off(interface: &str, hook: Hook, reason: String) -> Attachment {
    Attachment {
        interface: interface.to_owned(),
        hook,
        mode: Mode::Off,
        reason,
    }
}

fn place(hook: Hook, mode: Mode, name: &str, index: u32) -> Place {
    Place {
        hook,
        index,
        mode,
        interface: name.to_owned(),
    }
}

fn failure(place: &Place, error: &anyhow::Error) -> String {
    let (program, interface) = (place.hook.program(), &place.interface);
    match place.mode {
        Mode::Native => {
            let driver = interface::driver(interface).ok();
            let cause = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<io::Error>());
            let mend = xdp::mend(driver.as_deref(), cause.and_then(io::Error::raw_os_error));
            format!("attach {program} to {interface} by native XDP: {mend}")
        }
        mode => format!("attach {program} to {interface} by {}", mode.as_str()),
    }
}
