//! Where a capture sits: in front of the agent's programs, by a link or a filter of its own.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail};
use aya::Ebpf;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use datapath_abi::maps;

use super::guard::{self, Guard};
use crate::attach::clsact;
use crate::attachment::{Hook, Mode};
use crossway_sys::interface;

/// A place in front of one of the agent's programs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapturePoint {
    /// Whose program it is in front of: one of TC.
    pub hook: Hook,
    /// How that is attached, and so the capture too.
    pub mode: Mode,
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub index: u32,
}

/// A place that could not be had, and why.
pub type LostPoint = (CapturePoint, anyhow::Error);

/// The places of one capture. Dropped, they are free.
pub(super) struct Points {
    attached: HashMap<CapturePoint, SchedClassifierLink>,
    /// Behind the links: it looks for what they have left.
    guard: Option<Guard>,
}

impl Points {
    pub(super) fn new() -> Self {
        Self {
            attached: HashMap::new(),
            guard: None,
        }
    }

    pub(super) fn attach(
        &mut self,
        programs: &mut Ebpf,
        wanted: &[CapturePoint],
    ) -> Vec<LostPoint> {
        self.attached.retain(|point, _| wanted.contains(point));
        let mut lost = Vec::new();
        for point in wanted {
            if self.attached.contains_key(point) {
                continue;
            }
            match self.attach_one(programs, point) {
                Ok(link) => {
                    self.attached.insert(point.clone(), link);
                }
                // It has just gone, and is no longer wanted the next time.
                Err(_) if interface::index(&point.interface).ok() != Some(point.index) => {}
                Err(error) => lost.push((point.clone(), error)),
            }
        }
        lost
    }

    fn attach_one(
        &mut self,
        programs: &mut Ebpf,
        point: &CapturePoint,
    ) -> Result<SchedClassifierLink> {
        let (name, direction) = program(point.hook)?;
        let options = match point.mode {
            Mode::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Mode::Clsact => {
                let guard = match &mut self.guard {
                    Some(guard) => guard,
                    none => none.insert(Guard::start()?),
                };
                // Told first: there is no moment at which the filter is nobody's.
                guard.watch(point.index, direction)?;
                TcAttachOptions::Netlink(NlOptions {
                    priority: guard::PRIORITY,
                    handle: guard::handle(std::process::id()),
                    classid: None,
                })
            }
            mode => bail!(
                "{} is not attached by TC ({})",
                point.interface,
                mode.as_str()
            ),
        };
        let program = programs
            .program_mut(name)
            .ok_or_else(|| anyhow!("the eBPF object has no program {name}"))?;
        let program: &mut SchedClassifier = program.try_into()?;
        let id = program
            .attach_with_options(&point.interface, direction, options)
            .with_context(|| {
                format!(
                    "attach {name} to {} by {}",
                    point.interface,
                    point.mode.as_str()
                )
            })?;
        Ok(program.take_link(id)?)
    }
}

/// The program that captures in front of that of a hook, and its direction.
fn program(hook: Hook) -> Result<(&'static str, TcAttachType)> {
    let name = match hook {
        Hook::LanIngress => maps::CAPTURE_LAN,
        Hook::TunEgress => maps::CAPTURE_EGRESS,
        Hook::TunIngress => maps::CAPTURE_TUN,
        Hook::WanGuard => bail!("no TC program sits at {}", hook.program()),
    };
    let direction = hook.direction().context("no hook of TC")?;
    Ok((name, direction))
}

const _: () = assert!(guard::PRIORITY < clsact::PRIORITY);
