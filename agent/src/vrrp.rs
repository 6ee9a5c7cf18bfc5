//! VRRPv3 (RFC 5798): several gateways on one LAN are one virtual router to its hosts.
//!
//! [`packet`] is the advertisement on the wire, [`router`] the state machine of one virtual router
//! (no clock, no socket), [`announce`] what the hosts and switches are told when the master changes,
//! [`socket`] how frames come and go. [`instance`] runs one virtual router with its sockets and its device,
//! [`service`] all of them on a thread of their own, so that nothing the control task does delays an
//! advertisement.
//!
//! IPv4 and IPv6 are two virtual routers, also where they share an id (RFC 5798, 5.2.3).

mod hear;
mod instance;
mod probe;
pub mod service;
pub mod socket;
pub mod status;

pub use crossway_liveness::vrrp::{announce, frame, packet, router, track};
