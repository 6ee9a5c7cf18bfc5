//! The built program as a user runs it: output, exit codes, and the field names of `--json`.
//!
//! Reading commands ask a real control server in this process.

mod cli {
    pub(crate) mod answers;
    mod files;
    pub(crate) mod place;
    mod reading;
    mod shells;
    mod usage;
}

use cli::{answers, place};
