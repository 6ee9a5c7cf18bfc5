//! Traffic between namespaces, and what the far end saw of it.

mod capture;
mod exchange;
mod flood;
pub mod handshake;
mod iperf3;
mod junk;
mod numbered;
mod ping;
mod probes;
mod raw;
mod recording;
mod segments;
mod steady;
mod tcp;
mod trace;
mod udp;
pub mod wire;

pub use capture::{Capture, LinkCounters};
pub use exchange::{exchange, exchange_both_ways, exchange_mapped};
pub use flood::Flood;
pub use iperf3::{Iperf3, Iperf3Report};
pub use junk::junk;
pub use numbered::{Numbered, NumberedReport};
pub use ping::{PingReport, ping, replies_in, round_trips, wait_for_ping};
pub use probes::{Probes, WayReport};
pub use raw::RawSocket;
pub use recording::{Packet, Recording};
pub use segments::{HostSegments, Segments};
pub use steady::{Progress, Replies, SteadyPing, SteadyTcp};
pub(crate) use tcp::{Noise, hasher};
pub use tcp::{TcpReport, deliver, take, tcp_transfer, tcp_transfer_to};
pub use trace::{Probe, hops_in, mtr, traceroute};
pub use udp::{UdpEcho, UdpEchoReport, udp_echo};
