//! What the kernel tells of devices (NETLINK_KOBJECT_UEVENT), of which one thing matters here: that this virtual machine
//! was restored from a snapshot or cloned (Linux 6.10 and newer, on hypervisors that have a VM generation id).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};

/// The kernel's own notes; those of udev are in another group.
const KERNEL_GROUP: u32 = 1;
/// The port of the kernel: any other sender is a process.
const KERNEL_PORT: u32 = 0;
/// The longest note (UEVENT_BUFFER_SIZE) and its head.
const LONGEST: usize = 4096;
/// drivers/virt/vmgenid.c
const NEW_GENERATION: &[u8] = b"NEW_VMGENID=1";

/// A socket that the kernel's notes come to.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Opens it. It needs no privilege and does not block.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        // The kernel chooses the port.
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self(socket))
    }

    /// Takes the next note; whether it says that the machine is a copy.
    ///
    /// # Errors
    /// "Would block" where none waits, and ENOBUFS where some were lost.
    pub fn take(&self) -> io::Result<bool> {
        let mut note = [0; LONGEST];
        let (length, from) = recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), &mut note)?;
        let port = from.map_or(u32::MAX, |from| from.pid());
        Ok(tells_of_a_copy(port, &note[..length]))
    }
}

impl AsRawFd for Uevents {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether a note from this port says that the machine is a copy. It is a head and strings, each ended by a zero.
fn tells_of_a_copy(port: u32, note: &[u8]) -> bool {
    port == KERNEL_PORT
        && note
            .split(|byte| *byte == 0)
            .any(|line| line == NEW_GENERATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux sends it.
    const COPY: &[u8] = b"change@/devices/LNXSYSTM:00/LNXSYBUS:00/PNP0A03:00/QEMUVGID:00\0ACTION=change\0\
        DEVPATH=/devices/LNXSYSTM:00/LNXSYBUS:00/PNP0A03:00/QEMUVGID:00\0SUBSYSTEM=acpi\0NEW_VMGENID=1\0\
        DRIVER=vmgenid\0MODALIAS=acpi:QEMUVGID:VM_GEN_COUNTER:\0SEQNUM=1234\0";

    #[test]
    fn the_kernels_note_of_a_copy_is_known_and_nobody_elses() {
        assert!(tells_of_a_copy(KERNEL_PORT, COPY));
        assert!(!tells_of_a_copy(4711, COPY), "a process says so");
        let others: [&[u8]; 4] = [
            b"",
            b"add@/devices/virtual/net/NEW_VMGENID=1x\0ACTION=add\0SEQNUM=7\0",
            b"change@/devices/x\0ACTION=change\0NEW_VMGENID=0\0",
            b"change@/devices/x\0X=NEW_VMGENID=1\0",
        ];
        for note in others {
            assert!(!tells_of_a_copy(KERNEL_PORT, note));
        }
        let mut lines = COPY.windows(NEW_GENERATION.len());
        let at = lines.position(|line| line == NEW_GENERATION).unwrap();
        for length in 0..at + NEW_GENERATION.len() {
            assert!(!tells_of_a_copy(KERNEL_PORT, &COPY[..length]), "{length}");
        }
    }

    #[test]
    fn a_socket_without_a_note_does_not_block() {
        let uevents = Uevents::open().unwrap();
        // Other tests may make devices meanwhile: none of them is a copy of this machine.
        let error = loop {
            match uevents.take() {
                Ok(copied) => assert!(!copied),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
