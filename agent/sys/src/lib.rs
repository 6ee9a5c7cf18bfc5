//! Small safe wrappers of system calls, each in its own file: what the standard library does not offer.

pub mod bpf_link;
pub mod clock;
pub mod cmsg;
pub mod interface;
pub mod memory;
pub mod netns;
pub mod own_address;
pub mod owner;
pub mod poll;
pub mod run_folder;
pub mod socket_option;
pub mod terminal;
pub mod uevents;
pub mod whole_file;
