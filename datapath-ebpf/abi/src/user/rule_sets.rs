//! The images of the policy: each in a map of its own, exchanged as a whole.

use std::vec::Vec;

use aya::maps::{Array, ArrayOfMaps, MapData, MapError};

use crate::policy::{Line, OPEN_IMAGE};

/// The map [`crate::maps::POLICY`].
pub struct RuleSets {
    map: ArrayOfMaps<MapData, Array<MapData, Line>>,
}

/// `BPF_F_INNER_MAP` (linux/bpf.h): the map may have another size than the one that it takes the place of.
const INNER_MAP: u32 = 1 << 12;

impl RuleSets {
    /// Of the map.
    pub fn new(map: ArrayOfMaps<MapData, Array<MapData, Line>>) -> Self {
        Self { map }
    }

    /// Makes this the image of a set, [`crate::maps::ACTIVE_RULES`] or [`crate::maps::SHADOW_RULES`]; no lines are the open
    /// image. A program that runs sees the old one or the new one. When this returns, none sees the old one any more (the
    /// kernel waits for them, `maybe_wait_bpf_programs` in kernel/bpf/syscall.c). Takes a microsecond for each line.
    pub fn set(&mut self, set: u32, lines: &[Line]) -> Result<(), MapError> {
        let lines = if lines.is_empty() {
            OPEN_IMAGE.as_slice()
        } else {
            lines
        };
        let mut image = Array::create(lines.len() as u32, INNER_MAP)?;
        for (index, line) in (0..).zip(lines) {
            image.set(index, line, 0)?;
        }
        self.map.set(set, &image, 0)
    }

    /// The lines of a set; none if it was never set.
    pub fn get(&self, set: u32) -> Result<Vec<Line>, MapError> {
        match self.map.get(&set, 0) {
            Ok(image) => (0..image.len()).map(|line| image.get(&line, 0)).collect(),
            Err(MapError::KeyNotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
