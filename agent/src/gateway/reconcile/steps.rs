//! What each step does. [`take_step`](super::super::Gateway) calls nothing else.

mod fast_path;
mod host;
mod lan;
mod links;
