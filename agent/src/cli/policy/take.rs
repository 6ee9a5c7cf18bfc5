//! Whether a gateway has taken what a file says: asked for, and told as far as it is known.

use std::fs;
use std::path::Path;

use super::super::failure::Failure;
use super::super::{Options, reading, reload};
use crate::control::client::{self, ClientError};
use crate::control::message::{Outcome, Status};
use crate::control::{Request, Response, run_dir};

/// About the lines of what is found in a text that its file does not have, or no more.
pub(super) const LINES_OF_NEW: &str = "the lines are those of the new text";

/// What became of a reload.
pub(super) enum Taken {
    /// The file is in force, and this came of telling it.
    Yes(Result<(), Failure>),
    /// Nothing of it is.
    Refused(Failure),
    /// It may be or not: why that is not known.
    Unknown(String),
}

/// What is known of the file that a gateway reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// It is ours.
    OfThis,
    /// Its name leads nowhere from here.
    OfUnknown,
}

impl Reader {
    /// Asks the gateway that the options name for its file.
    ///
    /// # Errors
    /// It reads another one than `file`, which is canonical, or it does not answer.
    pub(super) fn of(options: &Options, file: &Path) -> Result<Self, Failure> {
        let pick = |response| match response {
            Response::Status(status) => Some(status),
            _ => None,
        };
        let status = reading::ask(options, &Request::Status, pick)?;
        Self::by(&status, file)
    }

    fn by(status: &Status, file: &Path) -> Result<Self, Failure> {
        // Where it was started with a relative path; an absolute one stays as it is.
        let folder = format!("/proc/{}/cwd", status.pid);
        match fs::canonicalize(Path::new(&folder).join(&status.config_file)) {
            Ok(read) if read == file => Ok(Self::OfThis),
            Ok(read) => Err(Failure::Wrong(format!(
                "gateway {} does not read {}: it reads another file, {}",
                status.gateway,
                file.display(),
                read.display()
            ))),
            Err(_) => Ok(Self::OfUnknown),
        }
    }
}

/// Has the gateway read its file, and tells what came of it.
pub(super) fn reload(options: &Options, reader: Reader) -> Taken {
    let answer = client::ask(&run_dir(), options.gateway.as_deref(), &Request::Reload);
    taken(answer, reader, options.json)
}

fn taken(answer: Result<Response, ClientError>, reader: Reader, json: bool) -> Taken {
    let reloaded = match answer {
        Ok(Response::Reload(reloaded)) => reloaded,
        Ok(_) => return Taken::Unknown("another kind of answer came".to_owned()),
        // It was never asked, or has not understood.
        Err(
            error @ (ClientError::NotRunning { .. }
            | ClientError::NoneRuns(_)
            | ClientError::SeveralRun(_)
            | ClientError::Denied(_)
            | ClientError::Wrong(_)),
        ) => return Taken::Refused(error.into()),
        // Also one whose server has lost patience with it: it may still be at it.
        Err(error @ (ClientError::Io(..) | ClientError::Answer(_) | ClientError::Refused(_))) => {
            return Taken::Unknown(error.to_string());
        }
    };
    match (reloaded.outcome, reader) {
        // Somebody else's reload may have been faster.
        (Outcome::Applied, _) | (Outcome::Unchanged, Reader::OfThis) => {
            Taken::Yes(reload::tell_outcome(&reloaded, json))
        }
        (Outcome::Unchanged, Reader::OfUnknown) => Taken::Unknown(
            "it found no change, and its file has a name that leads nowhere from here".to_owned(),
        ),
        (Outcome::Rejected | Outcome::Failed, _) => {
            let told = reload::tell_outcome(&reloaded, json);
            if !reloaded.errors.is_empty() {
                eprintln!("crossway: {LINES_OF_NEW}");
            }
            Taken::Refused(told.err().unwrap_or(Failure::FailedAndTold))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::control::message::Reload;

    fn of(outcome: Outcome, reader: Reader) -> Taken {
        let reload = Reload {
            outcome,
            ..Reload::default()
        };
        taken(Ok(Response::Reload(reload)), reader, true)
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_taken() {
        use Outcome::{Applied, Failed, Rejected, Unchanged};
        use Reader::{OfThis, OfUnknown};
        for reader in [OfThis, OfUnknown] {
            assert!(matches!(of(Applied, reader), Taken::Yes(Ok(()))));
            for outcome in [Rejected, Failed] {
                assert!(matches!(of(outcome, reader), Taken::Refused(_)));
            }
        }
        assert!(
            matches!(of(Unchanged, OfThis), Taken::Yes(Ok(()))),
            "somebody else has had it taken"
        );
        assert!(matches!(of(Unchanged, OfUnknown), Taken::Unknown(_)));

        let late = ClientError::Io("socket".into(), io::ErrorKind::WouldBlock.into());
        let patience = ClientError::Refused("the gateway did not answer for 60 s".to_owned());
        for lost in [late, patience, ClientError::Answer("{".to_owned())] {
            assert!(matches!(taken(Err(lost), OfThis, true), Taken::Unknown(_)));
        }
        let gone = ClientError::NoneRuns("folder".into());
        assert!(matches!(taken(Err(gone), OfThis, true), Taken::Refused(_)));
    }

    #[test]
    fn a_gateway_of_another_file_is_told_from_one_whose_file_is_not_to_be_found() {
        let this = fs::canonicalize("Cargo.toml").unwrap();
        let status = |config_file: &str| Status {
            pid: std::process::id(),
            config_file: config_file.to_owned(),
            ..Status::default()
        };
        for same in ["Cargo.toml", "src/../Cargo.toml", this.to_str().unwrap()] {
            let reader = Reader::by(&status(same), &this).unwrap();
            assert_eq!(reader, Reader::OfThis, "{same}");
        }
        let reader = Reader::by(&status("/nowhere/a.toml"), &this).unwrap();
        assert_eq!(reader, Reader::OfUnknown);
        let other = Reader::by(&status("/proc/self/cmdline"), &this);
        assert!(matches!(other, Err(Failure::Wrong(_))));
    }
}
