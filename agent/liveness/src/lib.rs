//! Whether the far end of a link is alive, and what the path to it takes: state machines that take bytes and the time,
//! and return bytes to send and changes of state. They know no socket and no clock.

pub mod bfd;
pub mod echo;
pub mod path_mtu;
pub mod settings;
pub mod threshold;
pub mod vrrp;
