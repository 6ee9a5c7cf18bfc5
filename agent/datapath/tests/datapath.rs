//! The data path's user side against the running kernel: loading, attaching, taking over, stopping,
//! and every map. Needs root; each test has namespaces of its own.

#[path = "datapath/flows.rs"]
mod flows;
#[path = "datapath/lifecycle.rs"]
mod lifecycle;
#[path = "datapath/log.rs"]
mod log;
#[path = "datapath/maps.rs"]
mod maps;
#[path = "datapath/policy.rs"]
mod policy;
#[path = "datapath/routes.rs"]
mod routes;
#[path = "datapath/support.rs"]
mod support;
#[path = "datapath/tc.rs"]
mod tc;
#[path = "datapath/xdp.rs"]
mod xdp;
