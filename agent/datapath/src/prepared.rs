//! Loading beside an agent that still runs: the slow part, the verifier's, before the hand-over, and
//! what depends on the maps' content after it.

use anyhow::Result;
use aya::Ebpf;

use super::attachment::TcAttach;
use super::hold::{Hold, Holder};
use super::pins::{self, Pins};
use super::{Datapath, load_pinned};

/// Programs that are loaded for the maps of an agent that still runs. Nothing is attached or written
/// yet; dropping it changes nothing.
pub struct Prepared {
    programs: Ebpf,
    pins: Pins,
    hold: Hold,
    gateway: String,
    tc: TcAttach,
}

impl Prepared {
    /// Loads the programs. `None` where the pinned maps are of another version or shape, or there are
    /// none: then [`Datapath::load_for`] must wait until the other agent has gone.
    pub fn load_for(gateway: &str, tc: TcAttach, flows: usize) -> Result<Option<Self>> {
        pins::ensure_bpffs()?;
        let pins = Pins::new(gateway);
        pins.refuse_foreign()?;
        if !pins.exist() || pins.misfit(flows)?.is_some() {
            return Ok(None);
        }
        Ok(Some(Self {
            hold: pins.hold(Holder::Successor)?,
            programs: load_pinned(&pins, true, flows)?,
            pins,
            gateway: gateway.to_owned(),
            tc,
        }))
    }

    /// Takes the maps over as they are now; the other agent must not write them any more.
    pub fn finish(self) -> Result<Datapath> {
        let Self {
            programs,
            pins,
            hold,
            gateway,
            tc,
        } = self;
        Datapath::new(programs, pins, hold, &gateway, tc, true)
    }
}
