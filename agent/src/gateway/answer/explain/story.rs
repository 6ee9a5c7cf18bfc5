//! The answer, as it is told step by step.

use super::packet::Packet;
use super::place::Place;
use crate::control::message::{Explained, ExplainedStep};

/// An answer in the making.
pub(super) struct Story {
    pub(super) answer: Explained,
}

impl Story {
    pub(super) fn of(packet: &Packet, place: &Place) -> Self {
        Self {
            answer: Explained {
                packet: packet.describe(),
                from: place.as_str().to_owned(),
                input: place.interface().map(|interface| interface.name.clone()),
                ..Explained::default()
            },
        }
    }

    /// Tells what happens at a place.
    pub(super) fn step(&mut self, at: &str, what: &str) {
        self.answer.steps.push(ExplainedStep {
            at: at.to_owned(),
            what: what.to_owned(),
        });
    }

    pub(super) fn finish(self) -> Explained {
        self.answer
    }
}
