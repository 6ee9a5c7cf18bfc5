//! The gateway's end of the control socket.
//!
//! A peer can send nonsense, nothing, or too much, and can go away at any time: each costs its own
//! connection only, and each user has room of its own ([`super::users`]). The gateway's loop sees whole requests.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::admission::Asker;
use super::follow::{self, Followers, Streams};
use super::users::{Users, Visit};
use super::{ControlRequest, Request, Response};
use crossway_sys::run_folder;

/// Longest request; a `flows` request with every filter set is a tenth of it.
pub const MAX_REQUEST_BYTES: usize = 4096;
/// Time for a peer to begin its request, and then to end it: it is one line, sent at once.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);
/// Time for a peer to take the answer, which may be a million routes.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
const NO_REQUEST: &str = "no request received: send one line of JSON";
/// Time for the gateway to answer: a reload may bring very many routes.
const GATEWAY_PATIENCE: Duration = Duration::from_mins(1);
/// Pause after `accept` failed, which is for want of file descriptors: at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Owner and group may ask; others may not.
const SOCKET_MODE: u32 = 0o660;
/// The owner only.
const PRIVATE_MODE: u32 = 0o600;

/// The bound control socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: Arc<SocketFileGuard>,
}

/// What the next agent needs to go on listening where this one does.
#[derive(Debug)]
pub struct SharedSocket {
    listener: OwnedFd,
    file: Arc<SocketFileGuard>,
}

/// Why the control socket could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another agent answers at it.
    #[error(
        "a gateway of this name is already running and answers at {0}: take over from it with \
         --take-over, stop it, or give this one another name"
    )]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("{0} exists and is not a socket: remove it")]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("cannot create the control socket {0}: {1}")]
    Io(PathBuf, io::Error),
}

impl Server {
    /// Binds the socket at `path` and makes its folder if that is missing. A socket that a dead agent
    /// left is taken over. Must be called in a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Self::bind_for(path, SOCKET_MODE)
    }

    /// As [`Self::bind`], for nobody but our own user.
    pub fn bind_private(path: &Path) -> Result<Self, BindError> {
        Self::bind_for(path, PRIVATE_MODE)
    }

    fn bind_for(path: &Path, mode: u32) -> Result<Self, BindError> {
        let failed = |error| BindError::Io(path.to_owned(), error);
        let folder = path.parent().unwrap_or(Path::new("."));
        run_folder::make(folder).map_err(failed)?;
        // Two agents that start at once: the second looks only after the first has bound.
        let lock = File::open(folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let file = SocketFileGuard::new(path).map_err(failed)?;
        set_mode(path, mode).map_err(failed)?;
        Ok(Self {
            listener,
            file: Arc::new(file),
        })
    }

    /// Lets the members of a group in, too.
    pub fn admit_group(&self, group: u32) -> Result<(), BindError> {
        let path = &self.file.path;
        std::os::unix::fs::chown(path, None, Some(group))
            .map_err(|error| BindError::Io(path.clone(), error))
    }

    /// Goes on with the listener at `path` that another agent has bound. Must be called in a tokio
    /// runtime.
    pub fn taken_over(listener: OwnedFd, path: &Path) -> io::Result<Self> {
        let listener = BlockingListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            file: Arc::new(SocketFileGuard::new(path)?),
        })
    }

    /// What can be handed over, now or later.
    pub fn share(&self) -> io::Result<SharedSocket> {
        Ok(SharedSocket {
            listener: self.listener.as_fd().try_clone_to_owned()?,
            file: Arc::clone(&self.file),
        })
    }

    /// Waits for a connection. May be cancelled at any time.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Takes connections and hands each request to `gateway`, until the other end of that is dropped.
    /// Those who follow read from `streams`. May be cancelled at any time.
    pub async fn serve(self, gateway: mpsc::Sender<ControlRequest>, streams: Streams) {
        let users = Users::new(nix::unistd::geteuid().as_raw());
        let followers = Followers::new(streams);
        loop {
            let accepted = tokio::select! {
                () = gateway.closed() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let visitor = match Visitor::meet(&users, stream) {
                        Ok(visitor) => visitor,
                        Err(error) => {
                            debug!(%error, "control connection ended early");
                            continue;
                        }
                    };
                    let (gateway, followers) = (gateway.clone(), followers.clone());
                    tokio::spawn(async move {
                        if let Err(error) = visitor.serve(&gateway, &followers).await {
                            debug!(%error, "control connection ended early");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "control socket cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl SharedSocket {
    /// The listening socket.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The socket belongs to another agent now: its file stays when this one ends.
    pub fn leave(&self) {
        self.file.left.store(true, Ordering::Relaxed);
    }
}

/// A connection that was let in.
struct Visitor {
    stream: UnixStream,
    asker: Asker,
    visit: Visit,
}

impl Visitor {
    /// Lets a connection in, or tells it why not.
    fn meet(users: &Users, stream: UnixStream) -> io::Result<Self> {
        let asker = stream.peer_cred()?;
        let asker = Asker {
            uid: asker.uid(),
            pid: asker.pid(),
        };
        match users.enter(asker.uid) {
            Ok(visit) => Ok(Self {
                stream,
                asker,
                visit,
            }),
            Err(refused) => {
                let line = line_of(&Response::error(&refused))?;
                // Nothing was sent on it yet: a line has room. Nobody is waited for.
                stream.try_write(&line)?;
                Err(io::Error::other(refused))
            }
        }
    }

    /// Answers its request, and goes on telling who has asked to follow.
    async fn serve(
        self,
        gateway: &mpsc::Sender<ControlRequest>,
        followers: &Followers,
    ) -> io::Result<()> {
        let Self {
            stream,
            asker,
            visit,
        } = self;
        // Who says nothing takes nobody's turn.
        let begun = timeout(REQUEST_PATIENCE, first_bytes(&stream)).await;
        let turn = visit.turn().await;
        let served = if let Ok(begun) = begun {
            let asked = (begun?, stream);
            answer_request(asked, asker, &visit, gateway, followers).await?
        } else {
            say(stream, &Response::error(NO_REQUEST)).await?;
            None
        };
        drop(turn);
        match served {
            // From here on it counts among the followers.
            Some(follow) => follow.run().await,
            None => Ok(()),
        }
    }
}

/// Answers one request. Who asked to follow is handed back, with what it has been told.
async fn answer_request(
    (begun, mut stream): (Vec<u8>, UnixStream),
    asker: Asker,
    visit: &Visit,
    gateway: &mpsc::Sender<ControlRequest>,
    followers: &Followers,
) -> io::Result<Option<follow::Follow>> {
    let mut place = None;
    let response = match timeout(REQUEST_PATIENCE, read_request(begun, &mut stream)).await {
        Ok(Ok(request)) => match followers.admit(&request, visit) {
            Ok(admitted) => {
                place = admitted;
                ask(gateway, request, asker).await
            }
            Err(refused) => Response::error(refused),
        },
        Ok(Err(response)) => response,
        Err(_) => Response::error(NO_REQUEST),
    };
    if let (Some(place), Some(next)) = (place, follow::next_of(&response)) {
        timeout(ANSWER_PATIENCE, stream.write_all(&line_of(&response)?)).await??;
        return Ok(Some(place.follow(stream, next)));
    }
    say(stream, &response).await?;
    Ok(None)
}

/// The last words on a connection.
async fn say(mut stream: UnixStream, response: &Response) -> io::Result<()> {
    let line = line_of(response)?;
    timeout(ANSWER_PATIENCE, stream.write_all(&line)).await??;
    timeout(ANSWER_PATIENCE, stream.shutdown()).await??;
    Ok(())
}

/// A response as it goes over the wire.
pub(super) fn line_of(response: &Response) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(response).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

/// What comes first on a connection, nothing at its end.
async fn first_bytes(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAX_REQUEST_BYTES];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads the rest of one line that has begun; what is no request becomes the answer that says so.
async fn read_request(begun: Vec<u8>, stream: &mut UnixStream) -> Result<Request, Response> {
    let mut line = begun;
    if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
        line.truncate(end + 1);
    } else if !line.is_empty() {
        let rest = (MAX_REQUEST_BYTES + 1 - line.len()) as u64;
        let mut limited = BufReader::new(stream).take(rest);
        let read = limited.read_until(b'\n', &mut line).await;
        read.map_err(|error| Response::error(format!("the request could not be read: {error}")))?;
    }
    if line.len() > MAX_REQUEST_BYTES {
        return Err(Response::error(format!(
            "the request is longer than {MAX_REQUEST_BYTES} bytes: send one line of JSON"
        )));
    }
    request_in(&line).map_err(Response::error)
}

/// A request from its line, or why it is none.
pub fn request_in(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|error| {
        let problem = format!("not a request: {error}");
        problem + ": send one line such as {\"command\":\"status\"}"
    })
}

async fn ask(gateway: &mpsc::Sender<ControlRequest>, request: Request, asker: Asker) -> Response {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        let request = ControlRequest {
            request,
            asker,
            reply,
        };
        gateway.send(request).await.ok()?;
        answer.await.ok()
    };
    match timeout(GATEWAY_PATIENCE, asked).await {
        Ok(Some(response)) => response,
        Ok(None) => Response::error("the gateway is stopping"),
        Err(_) => Response::error(format!(
            "the gateway did not answer for {} s: see its log",
            GATEWAY_PATIENCE.as_secs()
        )),
    }
}

/// By the call that a running gateway has left: the standard library's is an older one.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    Ok(fchmodat(
        AT_FDCWD,
        path,
        mode,
        FchmodatFlags::FollowSymlink,
    )?)
}

/// Removes the socket of an agent that is no more.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) => {
            use std::os::unix::fs::FileTypeExt;
            if !found.file_type().is_socket() {
                return Err(BindError::NoSocket(path.to_owned()));
            }
        }
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Removes the socket's file at the end, if it is still the same file.
#[derive(Debug)]
struct SocketFileGuard {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// It is somebody else's now.
    left: AtomicBool,
}

impl SocketFileGuard {
    fn new(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
            left: AtomicBool::new(false),
        })
    }
}

impl Drop for SocketFileGuard {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        let left = self.left.load(Ordering::Relaxed);
        if ours
            && !left
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(%error, path = %self.path.display(), "could not remove the control socket");
        }
    }
}

#[cfg(test)]
mod tests;
