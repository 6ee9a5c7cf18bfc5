//! Attaching by a filter of the clsact qdisc, for kernels before 6.6.
//!
//! A filter has no link: it stays when the agent dies, and is found again by its priority and handle.

pub mod netlink;

use std::fs;
use std::mem;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{ProgramError, TcAttachType};
use tracing::info;

use super::links::classifier;
use crate::attachment::Place;
use crate::pins::{Pins, remove_directory};
use crossway_sys::interface;

/// Priority of our filters: in front of what `tc` gives by default (49152), behind what people number by hand.
pub(crate) const PRIORITY: u16 = 0xb000;

/// Has a filter at `place` run our program: the one that is there, or a new one.
pub(super) fn ensure(programs: &mut Ebpf, place: &Place, pins: &Pins, gateway: &str) -> Result<()> {
    ensure_qdisc(place, pins)?;
    let direction = direction(place)?;
    let handle = handle(gateway);
    let program = classifier(programs, place)?;
    let filter = TcAttachOptions::Netlink(NlOptions {
        priority: PRIORITY,
        handle,
        classid: None,
    });
    let id = match program.attach_with_options(&place.interface, direction, filter) {
        Err(error) if errno(&error) == Some(libc::EEXIST) => {
            let left =
                SchedClassifierLink::attached(&place.interface, direction, PRIORITY, handle, None)?;
            program.attach_to_link(left)?
        }
        result => result?,
    };
    // Dropping it would remove the filter, which has to outlive us.
    mem::forget(program.take_link(id)?);
    let mark = pins.link(place);
    if !mark.exists() {
        fs::create_dir(&mark).with_context(|| format!("make the mark {}", mark.display()))?;
    }
    Ok(())
}

/// Removes the filter at `place`, and the qdisc with the last one if it is ours and nobody else uses it.
pub(super) fn detach(place: &Place, pins: &Pins, gateway: &str) -> Result<()> {
    // Without the interface there is no filter either.
    if let Ok(name) = interface::name(place.index) {
        let filter = SchedClassifierLink::attached(
            &name,
            direction(place)?,
            PRIORITY,
            handle(gateway),
            None,
        )?;
        // Somebody may have removed it, or the qdisc with it.
        drop(filter);
    }
    remove_directory(&pins.link(place))?;
    let others = pins.places()?;
    if others
        .iter()
        .all(|other| other.index != place.index || other.mode != place.mode)
    {
        remove_qdisc(place, pins)?;
    }
    Ok(())
}

/// Whether our filters are on both sides of the interface.
pub(super) fn are_attached(place: &Place, gateway: &str) -> Result<bool> {
    let handle = handle_word(gateway);
    let sides = netlink::sides_with(place.index, PRIORITY, handle);
    let sides = sides.with_context(|| format!("to look at the filters of {}", place.interface))?;
    Ok(sides == [true; 2])
}

fn ensure_qdisc(place: &Place, pins: &Pins) -> Result<()> {
    match tc::qdisc_add_clsact(&place.interface) {
        Ok(()) => {
            let mark = pins.qdisc(place.index, &place.interface);
            fs::create_dir(&mark).with_context(|| format!("make the mark {}", mark.display()))
        }
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(error) => Err(error).context("add the clsact qdisc"),
    }
}

fn remove_qdisc(place: &Place, pins: &Pins) -> Result<()> {
    let mark = pins.qdisc(place.index, &place.interface);
    if !mark.exists() {
        return Ok(());
    }
    if interface::index(&place.interface).is_ok_and(|index| index == place.index) {
        if netlink::has_filters(place.index)? {
            info!(
                interface = place.interface,
                "left the clsact qdisc, it has filters that are not ours"
            );
        } else {
            netlink::delete_clsact(place.index).context("delete the clsact qdisc")?;
        }
    }
    remove_directory(&mark)?;
    Ok(())
}

fn direction(place: &Place) -> Result<TcAttachType> {
    place.hook.direction().context("no hook of TC")
}

/// The handle that tells our filters from those of another gateway on the same interface: FNV-1a
/// of the gateway's name, never zero, which would mean any.
fn handle(gateway: &str) -> TcHandle {
    TcHandle::from(handle_word(gateway))
}

fn handle_word(gateway: &str) -> u32 {
    let hash = gateway.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::TcError(TcError::NetlinkError(error)) | ProgramError::NetlinkError(error) => {
            error.raw_os_error()
        }
        _ => None,
    }
}
