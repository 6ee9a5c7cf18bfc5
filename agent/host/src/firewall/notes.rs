//! Tells that the host's nftables have changed. There are no such notes of `iptables-legacy`.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::has_nftables;
use super::netlink::NEW_GENERATION;
use crate::watch::filter;

/// `NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink_compat.h.
const GROUP: u32 = 7;
/// How often it is looked whether the kernel has nftables by now: subscribing would load the module.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Bytes of one note of a new generation: three numbers and the name of the process.
const LONGEST: usize = 4096;

/// A subscription to the kernel's notes of this network namespace's nftables. Of each transaction one is taken, however
/// many rules it changes.
pub struct Notes {
    socket: Option<AsyncFd<Socket>>,
    look: Interval,
    note: Vec<u8>,
}

impl Notes {
    /// Subscribes, inside a tokio runtime.
    pub fn start() -> Self {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket: None,
            look,
            note: Vec::with_capacity(LONGEST),
        }
    }

    /// Waits for a change, and takes all notes that wait. Where nobody waits, the kernel keeps some and drops the rest,
    /// which is told as a change: a storm of changes costs what its looks cost. Safe to cancel.
    pub async fn changed(&mut self) {
        loop {
            let Some(socket) = &self.socket else {
                self.look.tick().await;
                self.subscribe();
                continue;
            };
            let read = socket.readable().await.and_then(|mut ready| {
                let read = drain(ready.get_inner(), &mut self.note);
                ready.clear_ready();
                read
            });
            match read {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the kernel's notes of nftables cannot be read; subscribing again");
                    self.socket = None;
                }
            }
        }
    }

    fn subscribe(&mut self) {
        if !has_nftables() {
            return;
        }
        match open() {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                tracing::debug!(%error, "no notes of nftables: looked at every few seconds");
            }
        }
    }
}

fn open() -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    filter::only(socket.as_fd(), NEW_GENERATION)?;
    socket.set_non_blocking(true)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(GROUP)?;
    // SAFETY: a `Socket` gives the same open descriptor as long as it lives.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Takes what waits; whether anything did, or was lost.
fn drain(socket: &Socket, note: &mut Vec<u8>) -> io::Result<bool> {
    let mut any = false;
    loop {
        note.clear();
        match socket.recv(note, libc::MSG_DONTWAIT) {
            Ok(_) => any = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => any = true,
            Err(error) => return Err(error),
        }
    }
}
