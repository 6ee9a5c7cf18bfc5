//! Crossway's agent: joins sites over WireGuard.
//!
//! A packet's way out: LAN interface, `lan_ingress` (eBPF), TUN, [`io::tun`], [`lane`], [`tunnel`],
//! [`io::udp`], WAN. The way in is the same backwards, with `tun_ingress` (eBPF) at its end.
//!
//! Control: [`config`] says what is wanted, [`gateway`] makes it so through [`host`] (rtnetlink and
//! sysctls), [`datapath`] (eBPF programs and maps) and [`lane`] (commands), and [`control`] answers
//! the command line ([`cli`]).

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod datapath;
pub mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod handover;
pub mod health;
pub mod host;
pub mod ids;
mod interface;
pub mod io;
pub mod journal;
pub mod keys;
pub mod lane;
pub mod liveness;
mod memory;
pub mod packet;
pub mod posture;
pub mod prefix;
pub mod replica;
pub mod routes;
mod service;
mod socket_option;
pub mod tunnel;
pub mod vrrp;
