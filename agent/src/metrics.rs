//! The gateway's numbers for Prometheus, as OpenMetrics text over HTTP. Off unless the file has `[metrics]`.
//!
//! ```text
//!   reader ── TCP, TLS or Unix socket ──▶ thread "metrics" ── asks for a Reading ──▶ control loop
//!                request.rs, tls.rs        server.rs           exposition.rs writes it as text
//! ```
//! What strangers send is parsed on a thread of its own that holds no capability ([`server`]); the control loop is
//! asked for a [`Reading`] four times a second at most, however many read. The control side opens the [`door`], so
//! that a port or a file that cannot be had is told where a person looks, and hands it to the next agent.
//!
//! The number of time series is bounded by the configuration: they are of sites, links, lanes, offloads, maps, virtual
//! routers and health targets that the file names, and of reasons that the program knows. None is of a flow, an
//! address, or anything else that a packet says.

mod door;
mod exporter;
mod exposition;
mod request;
mod server;
mod tls;

pub use door::Told;
pub use exporter::{Asked, Exporter};
pub use exposition::{MapUse, Reading, classic, text};
pub use request::{Answer, Form, LARGEST_HEAD, answer_to};
