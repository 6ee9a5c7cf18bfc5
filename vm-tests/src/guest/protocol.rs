//! What a host and its guest say to each other: lines of JSON over the guest's second serial port.

use serde::{Deserialize, Serialize};

/// The port in the guest.
pub const PORT: &str = "/dev/ttyS1";

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Run a program to its end, its output sent as it comes; answered by [`Answer::Exit`].
    Run {
        /// The program and its arguments.
        words: Vec<String>,
    },
    /// Start a program and let it run, its output in a file; answered by [`Answer::Started`].
    Spawn {
        /// The program and its arguments.
        words: Vec<String>,
        /// Where its output goes.
        log: String,
    },
    /// Write a file and the folders to it; answered by [`Answer::Done`].
    Write {
        /// The file.
        path: String,
        /// All that shall be in it.
        text: String,
        /// Its permissions.
        mode: u32,
    },
    /// Switch the machine off; not answered.
    PowerOff,
}

/// From the guest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The guest takes requests.
    Ready {
        /// The kernel's release, as `uname -r` gives it.
        kernel: String,
    },
    /// A piece of what the running program wrote.
    Output(String),
    /// The program ended with this exit code, or by a signal: 128 and its number.
    Exit(i32),
    /// The program of this process id was started.
    Started(u32),
    /// The file is written.
    Done,
    /// The request could not be done.
    Failed(String),
}
