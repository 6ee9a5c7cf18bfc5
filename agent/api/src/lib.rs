//! What is asked of a running gateway and what it answers, as one JSON request and one JSON reply on a line.
//! Field names are the stable names of `--json`.

#![warn(missing_docs)]

mod as_text;
pub mod filter;
pub mod message;
pub mod overlaps;
pub mod protocol;
#[cfg(test)]
mod schemas;
pub mod service_filter;
