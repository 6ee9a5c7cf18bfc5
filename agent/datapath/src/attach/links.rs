//! Attaching by BPF links, which are pinned: tcx (kernel 6.6) and XDP (kernel 5.9).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, SchedClassifier, Xdp, XdpMode};

use super::Place;
use crate::sys::link::detach_pinned;

/// Has the tcx link pinned at `pin` run our program: the link that is there, or a new one.
pub(super) fn ensure_tcx(programs: &mut Ebpf, place: &Place, pin: &Path) -> Result<()> {
    let program = classifier(programs, place)?;
    if let Some(link) = pinned(pin)
        && let Ok(link) = SchedClassifierLink::try_from(link)
        && let Ok(id) = program.attach_to_link(link)
    {
        // The pin keeps the link; ours may go.
        drop(FdLink::try_from(program.take_link(id)?)?);
        return Ok(());
    }
    let direction = place.hook.direction().context("no hook of TC")?;
    remove_stale(pin)?;
    let order = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(&place.interface, direction, order)?;
    let link = FdLink::try_from(program.take_link(id)?)?;
    link.pin(pin)
        .with_context(|| format!("pin the link at {}", pin.display()))?;
    Ok(())
}

/// The same for XDP; the mode of a link that is there stays, as its place says it.
pub(super) fn ensure_xdp(
    programs: &mut Ebpf,
    place: &Place,
    pin: &Path,
    mode: XdpMode,
) -> Result<()> {
    let program: &mut Xdp = program(programs, place)?.try_into()?;
    if let Some(link) = pinned(pin)
        && let Ok(link) = XdpLink::try_from(link)
        && let Ok(id) = program.attach_to_link(link)
    {
        drop(FdLink::try_from(program.take_link(id)?)?);
        return Ok(());
    }
    remove_stale(pin)?;
    let id = program.attach_to_if_index(place.index, mode)?;
    // Without a link (kernels before 5.9) there is nothing to pin, and dropping it detaches it.
    let link = FdLink::try_from(program.take_link(id)?)
        .context("the kernel has no XDP links: expected 5.9 or later")?;
    link.pin(pin)
        .with_context(|| format!("pin the link at {}", pin.display()))?;
    Ok(())
}

pub(super) fn classifier<'a>(
    programs: &'a mut Ebpf,
    place: &Place,
) -> Result<&'a mut SchedClassifier> {
    Ok(program(programs, place)?.try_into()?)
}

fn program<'a>(programs: &'a mut Ebpf, place: &Place) -> Result<&'a mut aya::programs::Program> {
    let name = place.hook.program();
    programs
        .program_mut(name)
        .ok_or_else(|| anyhow!("the eBPF object has no program {name}"))
}

fn pinned(pin: &Path) -> Option<FdLink> {
    // An error says that there is none, or that it is no link.
    PinnedLink::from_pin(pin).ok().map(FdLink::from)
}

/// Removes a link that cannot be taken over: its interface is gone, or it is of another kind.
fn remove_stale(pin: &Path) -> Result<()> {
    if pin.exists() {
        // An error says that the interface is gone, and the program with it.
        let _ = detach_pinned(pin);
        fs::remove_file(pin).with_context(|| format!("remove the stale pin {}", pin.display()))?;
    }
    Ok(())
}
