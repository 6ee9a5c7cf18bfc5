//! The catalogue of services: somewhere in the private ranges that hosts on the other side of the tunnel were answered.
//!
//! All of it comes from the flow table, which the eBPF programs fill anyway: nothing is sent, and no packet waits. [`side`]
//! says which end of a flow is a service, [`catalogue`] counts, [`store`] keeps it in SQLite, and [`keeper`] does the
//! three on a thread of its own. The caller hands over what its walk through the table shows.

#![warn(missing_docs)]

pub mod catalogue;
pub mod clients;
pub mod keeper;
pub mod scope;
pub mod side;
pub mod store;
#[cfg(test)]
mod test_folder;
pub mod trouble;
