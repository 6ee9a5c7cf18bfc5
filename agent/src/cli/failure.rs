//! How a command ends when it does not succeed.

use std::io;
use std::process::ExitCode;

use crate::control::client::ClientError;

/// Exit code: it was tried and did not work.
const FAILED: u8 = 1;
/// Exit code: the command line or the configuration is wrong.
const WRONG: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was tried and did not work.
    Failed(anyhow::Error),
    /// The command line or the configuration is wrong.
    Wrong(String),
    /// As [`Self::Failed`], and what there is to say was said.
    FailedAndTold,
    /// As [`Self::Wrong`], and what there is to say was said.
    WrongAndTold,
    /// The reader of our output has seen enough, as `head` does.
    ReaderGone,
}

impl Failure {
    /// Says on standard error what is left to say, and gives the exit code.
    pub(super) fn tell(self) -> ExitCode {
        match self {
            Self::Failed(error) => {
                eprintln!("crossway: {error:#}");
                FAILED.into()
            }
            Self::Wrong(message) => {
                eprintln!("crossway: {message}");
                WRONG.into()
            }
            Self::FailedAndTold => FAILED.into(),
            Self::WrongAndTold => WRONG.into(),
            Self::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if error.is_usage() {
            Self::Wrong(error.to_string())
        } else {
            Self::Failed(error.into())
        }
    }
}

impl From<io::Error> for Failure {
    /// For errors of standard output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::Failed(anyhow::Error::new(error).context("cannot write the output"))
        }
    }
}
