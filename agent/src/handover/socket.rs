//! The socket of a hand-over: frames in order, descriptors beside them (SCM_RIGHTS, unix(7)).
//!
//! All calls block, with a deadline: during a hand-over an agent has nothing else to do.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crossway_sys::socket_option;

/// Longest frame: ten thousand links with four sessions each.
const MAX_FRAME: u64 = 64 << 20;
/// Descriptors of one message (SCM_MAX_FD of the kernel is 253).
pub const MAX_DESCRIPTORS: usize = 250;
/// Bytes of the socket's buffer, so that a state of a few hundred links is written without waiting.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// Longest frame that is sent in one write.
const ONE_WRITE: usize = 4096;
/// Words of a control buffer for so many descriptors.
const CONTROL_WORDS: usize = (MAX_DESCRIPTORS * size_of::<libc::c_int>() + 64) / size_of::<u64>();

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
        let mut peer = libc::ucred {
            pid: 0,
            uid: 0,
            gid: 0,
        };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `peer` and `length` are valid and writable for the call, and `length` says how many
        // bytes `peer` has.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(PeerProcess {
            pid: peer.pid,
            uid: peer.uid,
        })
    }

    /// Whether the other end is a process of our own user.
    pub fn is_ours(&self) -> io::Result<bool> {
        // SAFETY: the call takes nothing and always succeeds.
        let own = unsafe { libc::geteuid() };
        Ok(self.peer()?.uid == own)
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
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: `byte` is writable for the call, and as long as said.
    let peeked = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    if peeked < 0 {
        return Err(io::Error::last_os_error());
    }
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
    let numbers: Vec<libc::c_int> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control = [0_u64; CONTROL_WORDS];
    let mut vector = vector(bytes.as_ptr(), bytes.len());
    let mut header = header(&mut vector);
    let payload = size_of_val(numbers.as_slice());
    if payload > 0 {
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: the macros only compute.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(payload as u32) } as usize;
        // SAFETY: the control buffer is zeroed, aligned for `cmsghdr`, and longer than CMSG_SPACE of
        // the most descriptors, so that the first header and its data lie within it.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(payload as u32) as usize;
            std::ptr::copy_nonoverlapping(
                numbers.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(first),
                payload,
            );
        }
    }
    // SAFETY: all that `header` points to lives until the call returns.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    match sent {
        sent if sent < 0 => Err(io::Error::last_os_error()),
        sent if sent as usize == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Receives exactly `bytes`, which were sent in one call, and the descriptors beside them.
fn receive_with_descriptors(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut vector = vector(bytes.as_ptr(), bytes.len());
    let mut header = header(&mut vector);
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_WAITALL;
    // SAFETY: all that `header` points to is writable and lives until the call returns; `bytes` is
    // borrowed exclusively.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has written whole control messages within `msg_controllen`; each descriptor of
    // SCM_RIGHTS is new in this process, and nobody else knows it.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const header);
        while !next.is_null() {
            if ((*next).cmsg_level, (*next).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let payload = (*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let mut numbers = vec![0; payload / size_of::<libc::c_int>()];
                let to = numbers.as_mut_ptr().cast::<u8>();
                std::ptr::copy_nonoverlapping(libc::CMSG_DATA(next), to, payload);
                let owned = |number: libc::c_int| OwnedFd::from_raw_fd(number);
                descriptors.extend(numbers.into_iter().map(owned));
            }
            next = libc::CMSG_NXTHDR(&raw const header, next);
        }
    }
    if received as usize != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::other("descriptors were cut off"));
    }
    Ok(descriptors)
}

fn vector(bytes: *const u8, length: usize) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.cast_mut().cast(),
        iov_len: length,
    }
}

fn header(vector: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header
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
        assert!(peek(&b.0).unwrap(), "nothing was taken");
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
    }
}
