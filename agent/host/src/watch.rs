//! Tells that the host's links, addresses, routes or settings have changed.

pub(crate) mod filter;
mod interest;
mod note;

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

use super::error::HostError;
pub use interest::Interest;

/// What is told (linux/rtnetlink.h): links, addresses, routes, nexthop objects, policy rules, and the settings of
/// `net.ipv4.conf` and `net.ipv6.conf` that the kernel has notes for (forwarding, rp_filter, …).
const GROUPS: [u32; 10] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    RTNLGRP_NEXTHOP,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_NETCONF,
];
/// Linux 5.3; older kernels have no such objects and no notes of them.
const RTNLGRP_NEXTHOP: u32 = 32;

/// Bytes of receive buffer asked for: a routing daemon writes thousands of routes at once. What does not fit is
/// told as a change of everything.
const RECEIVE_BUFFER: i32 = 1 << 20;
/// Bytes of one read; the kernel's notes of links, the longest, take about two thousand.
const LONGEST: usize = 32 * 1024;
/// Reads in a row before others have their turn.
const MOST_READS: usize = 256;

/// What has changed since the last look. Who gets it reads the host anew: the notes are no log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Interfaces came, went, or changed state or MTU.
    pub links: bool,
    /// Addresses came, went, or changed state, or interfaces have other settings.
    pub addresses: bool,
    /// Routes that are of [`Interest`], or policy rules, came, went or were replaced.
    pub routes: bool,
}

/// A subscription to the kernel's notes on this network namespace.
pub struct Watch {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
    interest: SharedInterest,
}

/// Which routes are worth a look at the host: whoever knows says it here.
#[derive(Clone, Debug, Default)]
pub struct SharedInterest(Arc<Mutex<Option<Interest>>>);

impl Watch {
    /// Subscribes. Whatever changes from here on is told, so read the host after this. Not told is
    /// what the netlink socket with the port `own` does, [`super::Host::route_port`]: it may be a million notes.
    pub fn start(own: u32) -> Result<Self, HostError> {
        Self::open(own).map_err(|error| HostError::Netlink {
            what: "to watch links, addresses, routes and settings".to_owned(),
            error,
        })
    }

    fn open(own: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        filter::ignore(socket.as_fd(), own)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            match socket.add_membership(group) {
                // An older kernel.
                Err(error) if group == RTNLGRP_NEXTHOP => {
                    tracing::debug!(%error, "nexthop objects");
                }
                other => other?,
            }
        }
        // SAFETY: a `Socket` gives the same open descriptor as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(LONGEST),
            interest: SharedInterest::default(),
        })
    }

    /// Where to say which routes are of interest. Until then, all are.
    pub fn interest(&self) -> SharedInterest {
        self.interest.clone()
    }

    /// Waits for a change and takes all that are waiting with it. Bursts are the rule (an interface
    /// that comes up tells a dozen), so wait a little before acting on it. Safe to cancel.
    pub async fn changed(&mut self) -> Result<Changes, HostError> {
        loop {
            let read = self.socket.readable().await;
            let changes = read.and_then(|mut ready| {
                let read = take(ready.get_inner(), &mut self.buffer, &self.interest);
                if matches!(read, Ok((_, true))) {
                    ready.clear_ready();
                }
                read
            });
            match changes {
                Ok((changes, _)) if changes == Changes::default() => {}
                Ok((changes, _)) => return Ok(changes),
                Err(error) => {
                    return Err(HostError::Netlink {
                        what: "to keep watching links, addresses, routes and settings".to_owned(),
                        error,
                    });
                }
            }
        }
    }
}

/// What the waiting notes tell, and whether none waits any more.
fn take(
    socket: &Socket,
    buffer: &mut Vec<u8>,
    interest: &SharedInterest,
) -> io::Result<(Changes, bool)> {
    let mut changes = Changes::default();
    let interest = interest.lock();
    for _ in 0..MOST_READS {
        buffer.clear();
        match socket.recv(buffer, libc::MSG_DONTWAIT) {
            Ok(_) => note::read(buffer, |note| changes.take(note, interest.as_ref())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((changes, true)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The buffer ran over: anything may have changed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changes = Changes::ALL,
            Err(error) => return Err(error),
        }
    }
    Ok((changes, false))
}

impl SharedInterest {
    /// From now on only routes that concern this are told.
    pub fn set(&self, interest: Interest) {
        *self.lock() = Some(interest);
    }

    /// Changes what is there, if anything is.
    pub fn change(&self, change: impl FnOnce(&mut Interest)) {
        if let Some(interest) = &mut *self.lock() {
            change(interest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Interest>> {
        // Each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    const ALL: Self = Self {
        links: true,
        addresses: true,
        routes: true,
    };

    fn take(&mut self, note: note::Note, interest: Option<&Interest>) {
        match note {
            note::Note::Link => self.links = true,
            note::Note::Address | note::Note::Settings => self.addresses = true,
            note::Note::Route(Some(prefix)) => {
                self.routes |= interest.is_none_or(|interest| interest.concerns(&prefix));
            }
            note::Note::Route(None) | note::Note::Rule => self.routes = true,
            note::Note::Overrun => *self = Self::ALL,
        }
    }
}
