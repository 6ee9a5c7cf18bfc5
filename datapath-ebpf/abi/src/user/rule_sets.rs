//! The images of the policy: each in a map of its own, exchanged as a whole.

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

    /// Makes this the image of a set, [`crate::maps::ACTIVE_RULES`] or [`crate::maps::SHADOW_RULES`]; no lines are the
    /// open image. A program that runs sees the old one or the new one. When this returns, none sees the old one any
    /// more (the kernel waits for them, `maybe_wait_bpf_programs` in kernel/bpf/syscall.c). Takes a microsecond for
    /// each line.
    pub fn set(&mut self, set: u32, lines: &[Line]) -> Result<(), MapError> {
        let lines = or_open(lines);
        let mut image = Array::create(lines.len() as u32, INNER_MAP)?;
        for (index, line) in (0..).zip(lines) {
            image.set(index, line, 0)?;
        }
        self.map.set(set, &image, 0)
    }

    /// Whether these lines are the image of a set.
    pub fn is(&self, set: u32, lines: &[Line]) -> Result<bool, MapError> {
        let lines = or_open(lines);
        let image = match self.map.get(&set, 0) {
            Ok(image) => image,
            Err(MapError::KeyNotFound) => return Ok(false),
            Err(error) => return Err(error),
        };
        if image.len() as usize != lines.len() {
            return Ok(false);
        }
        for (index, line) in (0..).zip(lines) {
            if image.get(&index, 0)? != *line {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn or_open(lines: &[Line]) -> &[Line] {
    if lines.is_empty() { &OPEN_IMAGE } else { lines }
}
