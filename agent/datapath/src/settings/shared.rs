//! The one entry of SETTINGS. Two write it: the generation of the routes is theirs, the rest the agent's
//! settings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, MapData};
use datapath_abi::maps;
use datapath_abi::settings::Settings;

use super::super::take;

/// A handle to it.
#[derive(Clone)]
pub(crate) struct SharedSettings(Arc<Mutex<Array<MapData, Settings>>>);

impl SharedSettings {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let map = take(programs, maps::SETTINGS)?;
        Ok(Self(Arc::new(Mutex::new(map))))
    }

    /// Makes every flow that remembers its site look for it again. To be called behind each change of the
    /// routes and before nothing else depends on it: the programs read the generation first and look up
    /// the route after, so what they remember under the new number is of the new routes.
    pub(crate) fn raise_route_generation(&self) -> Result<()> {
        self.change(|present| Settings {
            route_generation: present.route_generation.wrapping_add(1),
            ..present
        })
    }

    pub(super) fn get(&self) -> Result<Settings> {
        self.lock().get(&0, 0).context(maps::SETTINGS)
    }

    /// Replaces it, in one write.
    pub(super) fn change(&self, change: impl FnOnce(Settings) -> Settings) -> Result<()> {
        let mut map = self.lock();
        let present = map.get(&0, 0).context(maps::SETTINGS)?;
        map.set(0, change(present), 0).context(maps::SETTINGS)
    }

    fn lock(&self) -> MutexGuard<'_, Array<MapData, Settings>> {
        // The entry is in the kernel: nobody can leave it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
