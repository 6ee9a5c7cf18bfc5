//! Traffic between namespaces, and what the far end saw of it.

mod capture;
mod iperf3;
mod ping;
mod steady;
mod tcp;
mod udp;

pub use capture::{Capture, LinkCounters};
pub use iperf3::{Iperf3, Iperf3Report};
pub use ping::{PingReport, ping, wait_for_ping};
pub use steady::{Replies, SteadyPing, SteadyTcp};
pub use tcp::{TcpReport, tcp_transfer};
pub use udp::{UdpEcho, UdpEchoReport, udp_echo};
