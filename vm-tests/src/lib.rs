//! Sites in network namespaces, with real gateways and real traffic: what the namespace tests, the
//! lab (`cargo xtask run`) and the bench stand on.
//!
//! A test reads: build a [`topology`], make the [`plan`] of its gateways, start them as
//! [`gateways`] (Crossway or a stock WireGuard), send [`traffic`], [`wait`] for what must come.
//! Everything that is started is a guard: dropped, it is gone, also after a panic. Declare
//! gateways after their topology, so that they stop before their namespaces vanish.
//!
//! All of it needs root.

/// What a running gateway answers.
pub use crossway_api::message as api;
pub use crossway_api::protocol;

pub mod capturing;
pub mod chromium;
pub mod cleanup;
pub mod clocks;
pub mod config;
pub mod crossway;
pub mod engine;
pub mod failover;
pub mod frr;
pub mod gateways;
pub mod guest;
pub mod host_state;
pub mod keepalived;
pub mod kernel;
pub mod kernel_pair;
pub mod keys;
pub mod netns;
pub mod packet_socket;
pub mod pair;
pub mod peers;
pub mod plan;
pub mod process;
pub mod prometheus;
pub mod shared_lan;
pub mod soak;
pub mod stateful_firewall;
pub mod sys;
pub mod topology;
pub mod traffic;
pub mod vitals;
pub mod wait;
pub mod weather;
