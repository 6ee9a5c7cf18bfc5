//! What comes out anywhere, and whether somebody has sent it so.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use vm_tests::netns::Netns;
use vm_tests::packet_socket::{Buffers, PacketSocket};
use vm_tests::topology::LISTEN_PORT;
use vm_tests::traffic::wire::{self, ETHERNET};

/// Examples of what should not be that are kept.
const EXAMPLES: usize = 5;

/// Who is who.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Hosts with traffic of their own, which is checked by its content.
    pub(crate) hosts: Vec<IpAddr>,
    /// The gateways' own addresses.
    pub(crate) gateways: Vec<IpAddr>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Packets that may be delivered, each as often as it was sent.
    expected: HashMap<u64, u32>,
    /// Packets that somebody had sent so, and that a router may deliver.
    pub(crate) delivered: u64,
    /// Gateways' and hosts' own answers, such as ICMP errors.
    pub(crate) answers: u64,
    /// Packets that should not be.
    pub(crate) wrong: Vec<String>,
}

impl Seen {
    /// A packet is about to be sent.
    pub(crate) fn expect(&mut self, packet: &[u8]) {
        if let Some(digest) = digest(packet) {
            *self.expected.entry(digest).or_default() += 1;
        }
    }

    /// Forgets what was expected, for nothing of it is under way any more.
    pub(crate) fn forget(&mut self) {
        self.expected.clear();
        self.delivered = 0;
    }

    /// Judges a packet that came out at `place`.
    pub(crate) fn judge(&mut self, place: &str, packet: &[u8], known: &Known) {
        let Some((from, to)) = addresses(packet) else {
            self.blame(place, "no addresses", packet);
            return;
        };
        if known.hosts.contains(&from) && known.hosts.contains(&to) {
            return;
        }
        if let Some(left) = digest(packet).and_then(|digest| self.expected.get_mut(&digest))
            && *left > 0
        {
            *left -= 1;
            self.delivered += 1;
            if let Some(flaw) = flaw(packet) {
                self.blame(place, flaw, packet);
            }
        } else if (known.gateways.contains(&from) || known.hosts.contains(&from))
            && is_answer(packet)
        {
            self.answers += 1;
        } else {
            self.blame(place, "nobody has sent it so", packet);
        }
    }

    fn blame(&mut self, place: &str, why: &str, packet: &[u8]) {
        if self.wrong.len() < EXAMPLES {
            let shown = &packet[..packet.len().min(96)];
            self.wrong.push(format!(
                "at {place}, {why}, {} bytes: {shown:02x?}",
                packet.len()
            ));
        }
    }
}

/// Threads that watch interfaces.
pub(crate) struct Sinks {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Sinks {
    /// Watches what comes in by these interfaces.
    pub(crate) fn watch(places: &[(&Netns, &str)], known: Known) -> Result<Self> {
        let mut sockets = Vec::new();
        for (netns, interface) in places {
            let place = format!("{interface} of {}", netns.name());
            sockets.push((place, PacketSocket::receiver(netns, interface)?));
        }
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut buffers = Buffers::default();
            while !stopped.load(Ordering::Relaxed) {
                let mut any = 0;
                for (place, socket) in &sockets {
                    let mut seen = lock(&shared);
                    any += socket.receive(&mut buffers, |frame| {
                        if let Some(packet) = foreign(frame, &known) {
                            seen.judge(place, packet, &known);
                        }
                    })?;
                }
                if any == 0 {
                    thread::sleep(Duration::from_micros(500));
                }
            }
            for (place, socket) in &sockets {
                let lost = socket.lost()?;
                ensure!(lost == 0, "the capture at {place} lost {lost} frames");
            }
            Ok(())
        });
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Ends the watch, which must have been whole.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it was finished before")?;
        let watched = thread.join();
        watched.map_err(|_| anyhow!("the watch panicked"))?
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The packet of a frame, if it is neither the link's own business nor of the tunnel.
fn foreign<'a>(frame: &'a [u8], known: &Known) -> Option<&'a [u8]> {
    let kind = [*frame.get(12)?, *frame.get(13)?];
    let packet = &frame[ETHERNET..];
    let (from, to) = match kind {
        [0x08, 0x00] | [0x86, 0xdd] => addresses(packet)?,
        _ => return None,
    };
    let link_local = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
    };
    if link_local(from) || link_local(to) || is_neighbour_discovery(packet) {
        return None;
    }
    let is_tunnel = known.gateways.contains(&from) && is_from_the_listen_port(packet);
    (!is_tunnel).then_some(packet)
}

fn is_neighbour_discovery(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6
        && packet[6] == 58
        && packet[7] == 255
        && matches!(packet.get(40), Some(133..=137))
}

fn is_from_the_listen_port(packet: &[u8]) -> bool {
    let (protocol, ports) = if packet[0] >> 4 == 4 {
        (packet[9], usize::from(packet[0] & 0xf) * 4)
    } else {
        (packet[6], 40)
    };
    let source = packet.get(ports..ports + 2);
    protocol == 17 && source == Some(&LISTEN_PORT.to_be_bytes())
}

fn is_answer(packet: &[u8]) -> bool {
    let (protocol, start) = if packet[0] >> 4 == 4 {
        (packet[9], usize::from(packet[0] & 0xf) * 4)
    } else {
        (packet[6], 40)
    };
    match protocol {
        1 | 58 => true,
        // A reset.
        6 => packet.get(start + 13).is_some_and(|flags| flags & 4 != 0),
        _ => false,
    }
}

/// Source and destination of a packet.
pub(crate) fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    let v6 = |at: usize| {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    match packet.first()? >> 4 {
        4 => Some((v4(12)?, v4(16)?)),
        6 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

/// What a router must not have let through.
fn flaw(packet: &[u8]) -> Option<&'static str> {
    if packet[0] >> 4 == 6 {
        return (packet[7] == 0).then_some("no hop is left");
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    if header < 20 || header > packet.len() || !wire::header_sums_up(&packet[..header]) {
        return Some("a header that does not sum up");
    }
    (packet[8] == 0).then_some("no hop is left")
}

/// Of what stays the same on a packet's way: all that its length says but hop count, header checksum and
/// options, which routers write into. `None` for what no router may deliver.
fn digest(packet: &[u8]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    if packet.first()? >> 4 == 4 {
        let header = usize::from(packet[0] & 0xf) * 4;
        let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        if header < 20 || length < header {
            return None;
        }
        let packet = packet.get(..length)?;
        (&packet[..8], packet[9], &packet[12..20], &packet[header..]).hash(&mut hasher);
    } else {
        let length = 40 + usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
        let packet = packet.get(..length)?;
        (&packet[..7], &packet[8..]).hash(&mut hasher);
    }
    Some(hasher.finish())
}
