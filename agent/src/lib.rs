//! Crossway's agent: joins sites over WireGuard.
//!
//! A packet's way out: LAN interface, `lan_ingress` (eBPF), TUN, [`lane::io::tun`], [`lane`], [`tunnel`],
//! [`lane::io::udp`], WAN. The way in is the same backwards, with `tun_ingress` (eBPF) at its end.
//!
//! Control: [`config`] says what is wanted, [`gateway`] makes it so through [`host`] (rtnetlink and
//! sysctls), [`datapath`] (eBPF programs and maps) and [`lane`] (commands), and [`control`] answers
//! the command line ([`cli`]).
//!
//! The layers below are crates of their own, under the names that they have here.

pub mod capture;
pub mod cli;
pub mod control;
pub mod discovery;
pub mod disk;
pub mod doctor;
pub mod export;
pub mod gateway;
pub mod handover;
pub mod health;
pub mod history;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod posture;
mod systemd;
pub mod vrrp;

pub use crossway_config as config;
pub use crossway_datapath as datapath;
pub use crossway_host as host;
pub use crossway_lane as lane;
pub use crossway_lane::io;
pub use crossway_liveness as liveness;
pub use crossway_policy as policy;
pub use crossway_sys::clock;
pub use crossway_tunnel as tunnel;
pub use crossway_types::{engine, ids, keys, packet, prefix, routes};
