//! The hand-over of a running gateway from one agent to the next.

pub mod codec;
