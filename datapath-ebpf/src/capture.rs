//! Capturing: a copy of each wanted packet for `crossway capture`, with what the fast path does with it. These programs
//! sit in front of the others while somebody captures. Their decision is that of the others' `decide`, on the same
//! packet and the same maps, a moment earlier.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns, maps::ring_buf::RingBufEntry};
use datapath_abi::{
    address,
    capture::{ANY, CaptureFilter, Captured, EndKey, LinkLayer, MOST_KEPT, Place, TAGGED},
    explanation::{HEADERS, TARGET},
    headers::Headers,
    packet::{Packet as _, Slot},
    settings::Settings,
};
use network_types::ip::IpProto;

use crate::{
    explain::Page,
    link::Link,
    maps, route,
    skb::{Filtered, Skb},
    wireguard,
};

/// A packet in the ring. The kernel gives room in sizes that the verifier knows, so there are a few: for what is cut
/// short, for wire packets, and for super-packets.
#[repr(C)]
struct Record<const N: usize> {
    head: Captured,
    bytes: [u8; N],
}

const SHORT: usize = 256;
const WIRE: usize = 2048;
const SUPER: usize = MOST_KEPT as usize;

/// A blank page for the explanation of the packet at hand.
#[inline(always)]
pub(crate) fn page() -> Option<Page<true>> {
    let noted = maps::capturing()?;
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    Some(unsafe { Page::blank(&raw mut (*noted).explanation) })
}

/// Puts the packet at hand into the ring, if it is wanted by what the page says of it. A global function: the verifier
/// walks it once, not once for each decision.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn hand_over(context: *mut __sk_buff, place: u32) -> u32 {
    let skb = Skb::of(context);
    let (Some(noted), Some(filter)) = (maps::capturing(), maps::capture_filter()) else {
        return 0;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let noted = unsafe { &mut *noted };
    let way = if place == Place::OutOfTunnel as u32 {
        Place::OutOfTunnel.way()
    } else {
        Place::Lan.way()
    };
    let way_fits = filter.way == ANY || filter.way == way as u32;
    if !way_fits || read_addresses(&skb, noted).is_none() || !wants(filter, noted) {
        return 0;
    }
    noted.link = ANY;
    noted.payload = 0;
    noted.network = 0;
    // A queue is noted where the TUN has set it.
    noted.queue = if place == Place::OutOfTunnel as u32 {
        skb.queue()
    } else {
        0
    };
    keep(&skb, noted, place, filter.snap);
    1
}

/// Notes the addresses of a packet whose headers could be read. Here, and not where they are read first: that program
/// has no room to keep them.
#[inline(always)]
fn read_addresses(skb: &Skb, noted: &mut Captured) -> Option<()> {
    let packet = &noted.explanation;
    if packet.noted & HEADERS == 0 {
        return None;
    }
    let offset = packet.ip_offset();
    if packet.is_ipv4() {
        let mut addresses = [0; 2];
        skb.load(offset + 12, &mut addresses).ok()?;
        noted.source = address::mapped(addresses[0].to_ne_bytes());
        noted.destination = address::mapped(addresses[1].to_ne_bytes());
    } else {
        skb.load(offset + 8, &mut noted.source).ok()?;
        skb.load(offset + 24, &mut noted.destination).ok()?;
    }
    Some(())
}

/// Whether a packet is wanted, whichever way it goes.
#[inline(always)]
fn wants(filter: &CaptureFilter, noted: &Captured) -> bool {
    let packet = &noted.explanation;
    let is = |wanted: u32, found: u32| wanted == ANY || wanted == found;
    let [source_port, destination_port] = packet.ports();
    let knows_site = packet.noted & TARGET != 0;
    if !is(filter.protocol, packet.protocol())
        || !(is(filter.port, source_port.into()) || is(filter.port, destination_port.into()))
        || (filter.site != ANY && !(knows_site && packet.target == filter.site))
        || (filter.only_sites != 0 && !(knows_site && route::is_site(packet.target)))
    {
        return false;
    }
    let (source, destination) = (&noted.source, &noted.destination);
    let [one, other] = &filter.ends;
    let between = (one.contains(source) && other.contains(destination))
        || (other.contains(source) && one.contains(destination));
    between && filter.source.contains(source) && filter.destination.contains(destination)
}

/// A datagram of the tunnel, if it is one of a wanted link.
#[inline(always)]
pub(crate) fn outer(skb: &Skb) {
    let Some((settings, filter)) = maps::settings().zip(maps::capture_filter()) else {
        return;
    };
    let Some(datagram) = find(skb, settings) else {
        return;
    };
    if filter.way != ANY && filter.way != datagram.place().way() as u32 {
        return;
    }
    let Some((link, noted)) = datagram.link().zip(maps::capturing()) else {
        return;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let noted = unsafe { &mut *noted };
    // SAFETY: as above.
    let _blank = unsafe { Page::<true>::blank(&raw mut noted.explanation) };
    noted.link = link;
    noted.payload = datagram.payload;
    noted.network = datagram.headers.ip_offset as u32;
    noted.queue = 0;
    // A super-packet is taken apart by who reads it, who needs all of it.
    let snap = if skb.gso_size() == 0 {
        filter.snap
    } else {
        MOST_KEPT
    };
    keep(skb, noted, datagram.place() as u32, snap);
}

/// A datagram at one of our ports.
struct Datagram<'a> {
    packet: Filtered<'a>,
    headers: Headers,
    sent: bool,
    payload: u32,
}

#[inline(always)]
fn find<'a>(skb: &'a Skb, settings: &Settings) -> Option<Datagram<'a>> {
    let packet = Filtered(skb);
    let length = skb.length();
    let headers = match maps::capture_wan(skb.ifindex())? {
        layer if layer == LinkLayer::Ethernet as u32 => {
            let link = Link::of_filtered(&packet).ok()?;
            let rest = length.saturating_sub(link.ip_offset as u32);
            Headers::read(&packet, link.family, link.ip_offset, rest).ok()?
        }
        _ => Headers::read_bare(&packet, length).ok()?,
    };
    let sent = skb.is_sent();
    let own_port = if sent {
        headers.ports.source()
    } else {
        headers.ports.destination()
    };
    let is_ours = headers.protocol == IpProto::Udp as u8
        && own_port.wrapping_sub(settings.listen_port) < settings.lanes;
    is_ours.then(|| Datagram {
        payload: headers.ip_offset as u32 + headers.header_length,
        packet,
        headers,
        sent,
    })
}

impl Datagram<'_> {
    #[inline(always)]
    fn place(&self) -> Place {
        if self.sent {
            Place::Sent
        } else {
            Place::Received
        }
    }

    /// Its link, if that is wanted: by the session that it names for us, or by its ends.
    #[inline(always)]
    fn link(&self) -> Option<u32> {
        self.receiver()
            .and_then(|index| maps::capture_link_of(index >> 8))
            .or_else(|| self.link_by_ends())
    }

    /// Of one that has come: the receiver index, which is one of ours.
    #[inline(always)]
    fn receiver(&self) -> Option<u32> {
        if self.sent {
            return None;
        }
        let mut slot = Slot::<[u8; wireguard::HEAD]>::new();
        let head = self.packet.read(self.payload as usize, &mut slot)?;
        let length = self.headers.ip_length - self.headers.header_length;
        wireguard::judge(head, length).ok()?
    }

    #[inline(always)]
    fn link_by_ends(&self) -> Option<u32> {
        let headers = &self.headers;
        let [local, remote] = [
            (&headers.source, headers.ports.source()),
            (&headers.destination, headers.ports.destination()),
        ];
        let [local, remote] = if self.sent {
            [local, remote]
        } else {
            [remote, local]
        };
        let mut ends = EndKey {
            remote: *remote.0,
            local: *local.0,
            remote_port: remote.1.into(),
            local_port: local.1.into(),
        };
        if let Some(link) = maps::capture_link_between(&ends) {
            return Some(link);
        }
        ends.local = [0; 4];
        maps::capture_link_between(&ends)
    }
}

/// Puts a packet into the ring, at most `snap` bytes of it.
#[inline(always)]
fn keep(skb: &Skb, noted: &mut Captured, place: u32, snap: u32) {
    maps::count_captured(false);
    // SAFETY: the helper has no precondition.
    noted.time_ns = unsafe { bpf_ktime_get_ns() };
    noted.place = place;
    noted.ifindex = skb.ifindex();
    noted.length = skb.length();
    noted.gso_size = skb.gso_size();
    noted.vlan = skb.vlan_tag().map_or(0, |tag| TAGGED | u32::from(tag));
    let kept = noted.length.min(snap).min(MOST_KEPT);
    noted.kept = kept;
    let written = if kept <= SHORT as u32 {
        write(skb, noted, maps::captured::<Record<SHORT>>())
    } else if kept <= WIRE as u32 {
        write(skb, noted, maps::captured::<Record<WIRE>>())
    } else {
        write(skb, noted, maps::captured::<Record<SUPER>>())
    };
    if written.is_none() {
        maps::count_captured(true);
    }
}

#[inline(always)]
fn write<const N: usize>(
    skb: &Skb,
    noted: &Captured,
    room: Option<RingBufEntry<Record<N>>>,
) -> Option<()> {
    let mut room = room?;
    let record: *mut Record<N> = MaybeUninit::as_mut_ptr(&mut room);
    // SAFETY: the room has the size of the record and is this run's until it is submitted; both ends are aligned for
    // words, which the structure is made of.
    let loaded = unsafe {
        let (to, from) = (record.cast::<u64>(), (&raw const *noted).cast::<u64>());
        for word in 0..size_of::<Captured>() / 8 {
            to.add(word).write_volatile(from.add(word).read_volatile());
        }
        skb.load_bytes((&raw mut (*record).bytes).cast(), noted.kept, N)
    };
    if loaded.is_err() {
        room.discard(0);
        return None;
    }
    room.submit(0);
    Some(())
}
