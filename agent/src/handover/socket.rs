//! The socket of a hand-over: frames in order, descriptors beside them (SCM_RIGHTS, unix(7)).
//!
//! All calls block, with a deadline: during a hand-over an agent has nothing else to do.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recv, recvmsg, sendmsg,
};
use nix::unistd::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crossway_sys::socket_option;

/// Longest frame: ten thousand links with four sessions each.
const MAX_FRAME: u64 = 64 << 20;
/// The kernel's limit of descriptors in one message (net/scm.h).
const SCM_MAX_FD: usize = 253;
/// Descriptors of one message.
pub const MAX_DESCRIPTORS: usize = 250;
/// Bytes of the socket's buffer, so that a state of a few hundred links is written without waiting.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// Longest frame that is sent in one write.
const ONE_WRITE: usize = 4096;

/// One end.
#[derive(Debug)]
pub struct Channel(UnixStream);

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProcess {
    /// Its process.
    pub pid: libc::pid_t,
    /// Its user.
    pub uid: libc::uid_t,
}

impl PeerProcess {
    /// Whether it is of this user.
    pub fn is_of(&self, uid: libc::uid_t) -> bool {
        self.uid == uid
    }
}

impl Channel {
    /// A connected socket, either blocking or not.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        for (level, name) in [
            (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE),
            (libc::SOL_SOCKET, libc::SO_SNDBUF),
        ] {
            // Smaller only costs time.
            if socket_option::set(&stream, level, name, &SEND_BUFFER).is_ok() {
                break;
            }
        }
        Ok(Self(stream))
    }

    /// The process at the other end when it connected, or when it began to listen.
    pub fn peer(&self) -> io::Result<PeerProcess> {
        let peer = getsockopt(&self.0, PeerCredentials)?;
        Ok(PeerProcess {
            pid: peer.pid(),
            uid: peer.uid(),
        })
    }

    /// Whether the other end is a process of our own user.
    pub fn is_ours(&self) -> io::Result<bool> {
        Ok(self.peer()?.is_of(geteuid().as_raw()))
    }

    /// From now on each read and write may take so long.
    pub fn patience(&self, limit: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(limit))?;
        self.0.set_write_timeout(Some(limit))
    }

    /// Sends a message.
    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
        self.send_bytes(&bytes)
    }

    /// Receives a message.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let bytes = self.receive_bytes()?;
        serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = (bytes.len() as u64).to_le_bytes();
        if bytes.len() > ONE_WRITE {
            self.0.write_all(&length)?;
            return self.0.write_all(bytes);
        }
        // In one piece: it has arrived as a whole or not at all.
        let frame = Zeroizing::new([&length, bytes].concat());
        self.0.write_all(&frame)
    }

    /// Receives bytes, which are cleared when dropped.
    pub fn receive_bytes(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut length = [0; size_of::<u64>()];
        self.0.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_FRAME {
            let text = format!("a frame of {length} bytes: at most {MAX_FRAME} were expected");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = Zeroizing::new(vec![0; length as usize]);
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether a frame has arrived already, or arrives before the other end is told that nothing more is
    /// read: after this returns `false` the other end's sends fail.
    pub fn shut(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.0.shutdown(std::net::Shutdown::Read)?;
        match self.receive_bytes() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends descriptors, at most [`MAX_DESCRIPTORS`].
    pub fn send_descriptors(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_with_descriptors(&self.0, &[descriptors.len() as u8], descriptors)
    }

    /// Receives what [`Self::send_descriptors`] sent.
    pub fn receive_descriptors(&mut self) -> io::Result<Vec<OwnedFd>> {
        let mut count = [0_u8];
        let descriptors = receive_with_descriptors(&self.0, &mut count)?;
        if descriptors.len() != usize::from(count[0]) {
            let text = format!("{} descriptors of {}", descriptors.len(), count[0]);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(descriptors)
    }
}

/// Whether the other end of a socket that does not block has sent something that was not read yet;
/// `false` if it has closed it, and `WouldBlock` if it is silent.
pub fn peek(socket: &impl AsRawFd) -> io::Result<bool> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let peeked = recv(socket.as_raw_fd(), &mut [0], flags)?;
    Ok(peeked > 0)
}

/// Sends some bytes, and descriptors with the first of them, to whoever `socket` is connected with.
pub fn send_with_descriptors(
    socket: &impl AsRawFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let beside = if numbers.is_empty() { &[] } else { &rights[..] };
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        beside,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives exactly `bytes`, which were sent in one call, and the descriptors beside them.
fn receive_with_descriptors(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    // Room for the most that the kernel sends at once: none is cut off, and left open.
    let mut control = cmsg_space!([RawFd; SCM_MAX_FD]);
    let expected = bytes.len();
    let mut parts = [IoSliceMut::new(bytes)];
    let received = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL,
    )?;
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: each descriptor of SCM_RIGHTS is new in this process, and nobody else knows it.
            let owned = |number| unsafe { OwnedFd::from_raw_fd(number) };
            descriptors.extend(numbers.into_iter().map(owned));
        }
    }
    if received.bytes != expected {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::gateway::handover::Word;

    fn pair() -> [Channel; 2] {
        let (a, b) = UnixStream::pair().unwrap();
        let ends = [a, b].map(|end| Channel::new(end).unwrap());
        for end in &ends {
            end.patience(Duration::from_secs(5)).unwrap();
        }
        ends
    }

    #[test]
    fn descriptors_arrive_in_order_between_frames() {
        let [mut a, mut b] = pair();
        let (mut reading, writing) = std::io::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        a.send(&Word::Go).unwrap();
        a.send_descriptors(&[null.as_fd(), writing.as_fd()])
            .unwrap();
        a.send_bytes(b"state").unwrap();
        drop(writing);

        assert_eq!(b.receive::<Word>().unwrap(), Word::Go);
        let mut descriptors = b.receive_descriptors().unwrap();
        assert_eq!(descriptors.len(), 2);
        assert_eq!(b.receive_bytes().unwrap().as_slice(), b"state");
        let mut writing = File::from(descriptors.pop().unwrap());
        writing.write_all(b"through the other process").unwrap();
        drop(writing);
        let mut text = String::new();
        reading.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the other process");
    }

    #[test]
    fn silence_words_and_the_end_are_told_apart() {
        let [mut a, b] = pair();
        let silent = peek(&b.0).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
        a.send(&Word::Go).unwrap();
        assert!(peek(&b.0).unwrap());
        assert!(peek(&b.0).unwrap());
        let mut b = b;
        assert_eq!(b.receive::<Word>().unwrap(), Word::Go, "nothing was taken");
        drop(b);
        let [a, b] = pair();
        drop(a);
        assert!(!peek(&b.0).unwrap());
    }

    #[test]
    fn the_other_end_is_known() {
        let [a, _b] = pair();
        assert!(a.is_ours().unwrap());
        let own = libc::pid_t::try_from(std::process::id()).unwrap();
        assert_eq!(a.peer().unwrap().pid, own);
    }

    #[test]
    fn another_user_is_not_ours() {
        let ours = geteuid().as_raw();
        let [a, _b] = pair();
        assert!(a.peer().unwrap().is_of(ours));
        assert!(!a.peer().unwrap().is_of(ours + 1));
        if ours != 0 {
            return;
        }
        // Only root can be somebody else for a while: the thread that makes the pair is.
        let made = std::thread::spawn(|| {
            // SAFETY: it changes numbers of this thread alone; the C library's own call would change all threads.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1_i32, 65_534, -1_i32) };
            assert_eq!(changed, 0);
            pair()
        });
        for end in made.join().unwrap() {
            assert_eq!(end.peer().unwrap().uid, 65_534);
            assert!(!end.is_ours().unwrap());
        }
    }

    #[test]
    fn a_word_is_either_taken_or_cannot_be_sent_any_more() {
        let [mut a, mut b] = pair();
        a.send(&Word::Taken).unwrap();
        assert!(b.shut().unwrap().is_some());
        let [mut a, mut b] = pair();
        assert!(b.shut().unwrap().is_none());
        let sent = a.send(&Word::Taken).unwrap_err();
        assert_eq!(sent.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused() {
        let [mut a, mut b] = pair();
        a.0.write_all(&u64::MAX.to_le_bytes()).unwrap();
        let error = b.receive_bytes().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // Also as the last word, which is not the same as none.
        let [mut a, mut b] = pair();
        a.0.write_all(&u64::MAX.to_le_bytes()).unwrap();
        let error = b.shut().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // The longest is waited for.
        let [mut a, mut b] = pair();
        a.0.write_all(&MAX_FRAME.to_le_bytes()).unwrap();
        drop(a);
        let error = b.receive_bytes().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn as_many_descriptors_as_one_message_holds_arrive_and_one_more_is_refused() {
        let [mut a, mut b] = pair();
        let null = File::open("/dev/null").unwrap();
        let many = vec![null.as_fd(); MAX_DESCRIPTORS + 1];
        let refused = a.send_descriptors(&many).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        a.send_descriptors(&many[..MAX_DESCRIPTORS]).unwrap();
        let received = b.receive_descriptors().unwrap();
        assert_eq!(received.len(), MAX_DESCRIPTORS);
        for descriptor in received {
            // Programs that this one starts do not get it.
            let flags = nix::fcntl::fcntl(&descriptor, nix::fcntl::F_GETFD).unwrap();
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
    }
}
