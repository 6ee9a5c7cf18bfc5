//! The command line's end of the control socket: blocking, one question, one answer, or with
//! [`follow`] as many answers as come.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::config::nearest::nearest;

use super::{Request, Response, admission, gateway_of, socket_in};

/// Longer than the gateway takes for anything, so that its own words arrive.
const PATIENCE: Duration = Duration::from_secs(75);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No gateway of this name runs.
    #[error(
        "no running gateway named {gateway}: {}start it with `crossway run --config FILE`",
        running(gateway, others)
    )]
    NotRunning {
        /// Name that was asked for.
        gateway: String,
        /// Names of those that do run.
        others: Vec<String>,
    },
    /// No gateway was named, and none runs.
    #[error("no running gateway (no socket in {0}): start one with `crossway run --config FILE`")]
    NoneRuns(PathBuf),
    /// No gateway was named, and several run.
    #[error(
        "several gateways run here ({}): choose one with --gateway {}",
        .0.join(", "),
        .0.first().map_or("NAME", String::as_str)
    )]
    SeveralRun(Vec<String>),
    /// The socket may not be opened by this user.
    #[error("this user may not open {0}: {mend}", mend = admission::mend(.0))]
    Denied(PathBuf),
    /// The connection failed.
    #[error("{0} does not answer: {1}")]
    Io(PathBuf, io::Error),
    /// The answer is none that this program knows: versions that do not fit.
    #[error(
        "cannot parse the gateway's answer ({0}): use the same version of crossway as the gateway"
    )]
    Answer(String),
    /// The gateway says why it does not answer.
    #[error("{0}")]
    Refused(String),
    /// The gateway says what is wrong with the question.
    #[error("{0}")]
    Wrong(String),
}

impl ClientError {
    /// Whether the command line should have said something else.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::SeveralRun(_) | Self::Wrong(_))
    }
}

fn running(gateway: &str, others: &[String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let known = others.iter().map(String::as_str);
    let meant = match nearest(gateway, known) {
        Some(near) => format!("did you mean {near}? "),
        None => String::new(),
    };
    format!("{meant}running here: {}; ", others.join(", "))
}

/// Asks the gateway named `gateway`, or without a name the only one that runs, by its socket in
/// `folder`.
///
/// # Errors
/// There is no such gateway, or it gave no answer; [`Response::Error`] is an error here.
pub fn ask(
    folder: &Path,
    gateway: Option<&str>,
    request: &Request,
) -> Result<Response, ClientError> {
    let (path, stream) = connect(folder, gateway)?;
    let line = exchange(stream, request).map_err(|error| ClientError::Io(path, error))?;
    response_in(&line)
}

/// As [`ask`], and hands every further answer to `on_response`, until that or the gateway ends it.
///
/// # Errors
/// As [`ask`], and those of `on_response`.
pub fn follow<E: From<ClientError>>(
    folder: &Path,
    gateway: Option<&str>,
    request: &Request,
    mut on_response: impl FnMut(Response) -> Result<(), E>,
) -> Result<(), E> {
    let (path, stream) = connect(folder, gateway)?;
    let failed = |error| ClientError::Io(path.clone(), error);
    send(&stream, request).map_err(failed)?;
    let mut answers = BufReader::new(&stream);
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        on_response(response_in(&line)?)?;
        // What there was to tell has been told; the next may take for ever.
        stream.set_read_timeout(None).map_err(failed)?;
    }
}

/// An answer from its line.
pub fn response_in(line: &str) -> Result<Response, ClientError> {
    match serde_json::from_str(line) {
        Ok(Response::Error { message, usage }) => Err(if usage {
            ClientError::Wrong(message)
        } else {
            ClientError::Refused(message)
        }),
        Ok(response) => Ok(response),
        Err(error) => Err(ClientError::Answer(error.to_string())),
    }
}

fn connect(folder: &Path, gateway: Option<&str>) -> Result<(PathBuf, UnixStream), ClientError> {
    let name = match gateway {
        Some(name) => name.to_owned(),
        None if hides(folder) => return Err(ClientError::Denied(folder.to_owned())),
        None => match live_gateways(folder).as_slice() {
            [] => return Err(ClientError::NoneRuns(folder.to_owned())),
            [name] => name.clone(),
            names => return Err(ClientError::SeveralRun(names.to_vec())),
        },
    };
    let path = socket_in(folder, &name);
    match UnixStream::connect(&path) {
        Ok(stream) => Ok((path, stream)),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning {
                gateway: name,
                others: live_gateways(folder),
            },
            io::ErrorKind::PermissionDenied => ClientError::Denied(path),
            _ => ClientError::Io(path, error),
        }),
    }
}

/// Whether we may not look into it.
fn hides(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Names of the gateways whose socket somebody listens on. One that we may not open counts: the
/// message about it says more than "none runs".
pub fn live_gateways(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = gateway_of(&path)?.to_owned();
            let stale = UnixStream::connect(&path)
                .is_err_and(|error| error.kind() != io::ErrorKind::PermissionDenied);
            (!stale).then_some(name)
        })
        .collect();
    names.sort();
    names
}

fn send(mut stream: &UnixStream, request: &Request) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn exchange(stream: UnixStream, request: &Request) -> io::Result<String> {
    send(&stream, request)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closed the connection",
        ));
    }
    Ok(answer)
}
