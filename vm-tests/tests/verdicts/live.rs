//! The same programs, attached: what BPF_PROG_TEST_RUN cannot show. Redirects that arrive, tags that the
//! kernel holds outside of the frame, frames shorter than it lets a test be, and the mark between programs.
//!
//! ```text
//! host0 ══ lan0 10.1.0.1/24 (lan_ingress)   tun0 (tun_ingress, tun_egress; the test reads and writes it)
//! ```

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use datapath_abi::{
    fault::FaultKind,
    flow::FlowStat,
    maps,
    outcome::StackReason::{self, IpOptions, KernelRoute, Malformed, NotToLan, VlanTagged},
    route::SITE_KERNEL,
    settings::Role,
    site::SiteState,
};

use crate::{
    case::assert_routed,
    frame::{ETHERNET, PROVIDER_VLAN, Packet, VLAN},
    harness::{Datapath, hex, ifindex, ip, settings},
};

const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
const DEADLINE: Duration = Duration::from_secs(5);

/// A gateway with a wire to one host, and the far end of its TUN.
struct Gateway {
    datapath: Datapath,
    host: OwnedFd,
    tun: File,
}

impl Gateway {
    fn start() -> Self {
        let mut datapath = Datapath::load();
        let tun = open_tun();
        for command in [
            "link set lo up",
            "link set tun0 mtu 1420 up",
            "link add lan0 address 02:00:00:00:00:01 type veth peer name host0 address 02:00:00:00:00:05",
            "link set lan0 up",
            "link set host0 up",
            "addr add 10.1.0.1/24 dev lan0",
            "neigh add 10.1.0.5 lladdr 02:00:00:00:00:05 dev lan0 nud permanent",
            "route add 10.2.0.0/16 dev tun0",
            "route add 10.3.0.0/16 dev tun0",
        ] {
            ip(command);
        }
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the sysctl is writable");
        let (tun_index, lan_index) = (ifindex("tun0"), ifindex("lan0"));
        datapath.set_settings(settings(tun_index));
        datapath.set_interface(tun_index, Role::Tun, 0, 1420);
        datapath.set_interface(lan_index, Role::Lan, 0, 1500);
        datapath.set_site(2, SiteState::Up, 1420);
        datapath.set_site(3, SiteState::Up, 1420);
        datapath.add_route(0, "10.2.0.0/16", 2);
        datapath.add_route(0, "10.3.0.0/16", 3);
        datapath.add_route(0, "10.2.0.66/32", SITE_KERNEL);
        datapath.attach(
            maps::LAN_INGRESS,
            "lan0",
            aya::programs::TcAttachType::Ingress,
        );
        datapath.attach(
            maps::TUN_INGRESS,
            "tun0",
            aya::programs::TcAttachType::Ingress,
        );
        datapath.attach(
            maps::TUN_EGRESS,
            "tun0",
            aya::programs::TcAttachType::Egress,
        );
        let host = open_packet_socket("host0");
        Self {
            datapath,
            host,
            tun,
        }
    }

    /// Sends a frame from the host.
    fn send(&self, frame: &[u8]) {
        // SAFETY: the buffer is as long as said.
        let sent =
            unsafe { libc::send(self.host.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let error = io::Error::last_os_error();
        assert_eq!(sent, frame.len() as isize, "{error}: {}", hex(frame));
    }

    /// The next packet in the tunnel with this last byte.
    fn receive_from_tun(&mut self, last: u8) -> Vec<u8> {
        let tun = &mut self.tun;
        receive(last, tun.as_raw_fd(), |buffer| tun.read(buffer))
    }

    /// The next packet in the tunnel of this length.
    fn receive_whole_from_tun(&mut self, length: usize) -> Vec<u8> {
        let tun = &mut self.tun;
        receive_where(
            |packet| packet.len() == length,
            tun.as_raw_fd(),
            |buffer| tun.read(buffer),
        )
    }

    /// The next frame at the host with this last byte.
    fn receive_at_host(&self, last: u8) -> Vec<u8> {
        let fd = self.host.as_raw_fd();
        receive(last, fd, |buffer| {
            // SAFETY: the buffer is as long as said.
            let length = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            usize::try_from(length).map_err(|_| io::Error::last_os_error())
        })
    }

    /// Waits until this many packets were left to the stack for a reason.
    fn wait_for(&self, reason: StackReason, packets: u64) {
        let deadline = Deadline::start();
        while self.datapath.to_stack(reason).packets < packets {
            assert!(
                !deadline.left().is_zero(),
                "{} of {packets} packets left to the stack for {reason:?}",
                self.datapath.to_stack(reason).packets
            );
            std::thread::yield_now();
        }
        assert_eq!(
            self.datapath.to_stack(reason).packets,
            packets,
            "{reason:?}"
        );
    }
}

/// A packet to the site whose last byte tells it from others.
fn packet(last: u8) -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9").udp(1000, 53, &[0, last])
}

fn framed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&GATEWAY_MAC);
    frame[6..12].copy_from_slice(&HOST_MAC);
    frame
}

#[test]
fn a_packet_from_the_lan_arrives_in_the_tunnel_and_is_counted_once() {
    let mut gateway = Gateway::start();
    gateway.send(&framed(packet(1).frame()));
    let received = gateway.receive_from_tun(1);
    assert_routed("fast path", &packet(1).bare(), &received);
    let counters = gateway.datapath.site_counters(2);
    assert_eq!((counters.to_site_packets, counters.to_site_bytes), (1, 30));
}

#[test]
fn what_the_stack_forwards_is_the_same_and_counted_once() {
    let mut gateway = Gateway::start();
    let optional = packet(2).options(&[1, 1, 1, 1]);
    gateway.send(&framed(optional.frame()));
    let received = gateway.receive_from_tun(2);
    assert_eq!(received[8], 63, "TTL");
    assert_eq!(gateway.datapath.to_stack(IpOptions).packets, 1);
    let counters = gateway.datapath.site_counters(2);
    assert_eq!((counters.to_site_packets, counters.to_site_bytes), (1, 34));

    let kernels = Packet::new("10.1.0.5", "10.2.0.66").udp(1, 2, &[0, 3]);
    gateway.send(&framed(kernels.frame()));
    assert_routed("slow path", &kernels.bare(), &gateway.receive_from_tun(3));
    assert_eq!(gateway.datapath.to_stack(KernelRoute).packets, 1);
    assert_eq!(
        gateway.datapath.site_counters(2).to_site_packets,
        1,
        "not this site's"
    );
}

#[test]
fn priority_tags_do_not_reach_the_tunnel_and_vlans_are_left_alone() {
    let mut gateway = Gateway::start();
    gateway.send(&framed(packet(1).tagged(&[(VLAN, 0xe000)])));
    assert_routed("tag", &packet(1).bare(), &gateway.receive_from_tun(1));
    gateway.send(&framed(
        packet(2).tagged(&[(PROVIDER_VLAN, 0), (VLAN, 0x6000)]),
    ));
    assert_routed("tags", &packet(2).bare(), &gateway.receive_from_tun(2));
    gateway.send(&framed(packet(3).tagged(&[(VLAN, 100)])));
    gateway.wait_for(VlanTagged, 1);
    gateway.send(&framed(packet(3).tagged(&[(VLAN, 0), (VLAN, 100)])));
    gateway.wait_for(VlanTagged, 2);
    assert_eq!(gateway.datapath.site_counters(2).to_site_packets, 2);
}

#[test]
fn a_frame_cut_within_its_ip_header_goes_to_the_stack() {
    let gateway = Gateway::start();
    let v6 = Packet::new("2001:db8:1::5", "2001:db8:2::9").udp(1, 2, b"x");
    let mut sent = 0;
    for frame in [framed(packet(1).frame()), framed(v6.frame())] {
        for length in ETHERNET + 1..frame.len() {
            gateway.send(&frame[..length]);
            sent += 1;
            gateway.wait_for(Malformed, sent);
        }
    }
}

#[test]
fn a_packet_out_of_the_tunnel_arrives_at_the_neighbour() {
    let mut gateway = Gateway::start();
    let answer = Packet::new("10.2.0.9", "10.1.0.5").udp(53, 1000, &[0, 4]);
    gateway.tun.write_all(&answer.bare()).unwrap();
    let frame = gateway.receive_at_host(4);
    assert_eq!(frame[..6], HOST_MAC);
    assert_eq!(frame[6..12], GATEWAY_MAC);
    assert_eq!(frame[12..14], [8, 0]);
    assert_routed("fast path", &answer.bare(), &frame[ETHERNET..]);
    let counters = gateway.datapath.site_counters(2);
    assert_eq!(
        (counters.from_site_packets, counters.from_site_bytes),
        (1, 30)
    );
    assert_eq!(gateway.datapath.to_stack(NotToLan).packets, 0);
}

#[test]
fn a_packet_between_two_sites_is_counted_for_both() {
    let mut gateway = Gateway::start();
    let transit = Packet::new("10.2.0.9", "10.3.0.9").udp(53, 1000, &[0, 5]);
    gateway.tun.write_all(&transit.bare()).unwrap();
    assert_routed("hub", &transit.bare(), &gateway.receive_from_tun(5));
    // Not of every reason: the host's own multicast is left to the stack as well.
    assert_eq!(gateway.datapath.to_stack(NotToLan).packets, 0);
    let (from, to) = (
        gateway.datapath.site_counters(2),
        gateway.datapath.site_counters(3),
    );
    assert_eq!((from.from_site_packets, from.to_site_packets), (1, 0));
    assert_eq!((to.from_site_packets, to.to_site_packets), (0, 1));
}

#[test]
fn headers_outside_of_the_linear_part_are_read_and_changed_all_the_same() {
    let mut gateway = Gateway::start();
    // What it is told of the header's length is what it makes linear: of a frame larger than a page.
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut tap = open_tun_device(b"tap0", flags);
    ip("link set tap0 address 02:00:00:00:00:07 mtu 9000 up");
    ip("link set tun0 mtu 9000");
    let index = ifindex("tap0");
    gateway.datapath.set_interface(index, Role::Lan, 0, 9000);
    gateway.datapath.set_site(2, SiteState::Up, 9000);
    gateway.datapath.add_route(0, "2001:db8:2::/48", 2);
    gateway.datapath.attach(
        maps::LAN_INGRESS,
        "tap0",
        aya::programs::TcAttachType::Ingress,
    );
    let mut payload = vec![0; 4000];
    payload[3999] = 6;
    for packet in [
        Packet::new("10.1.0.5", "10.2.0.9").udp(1000, 53, &payload),
        Packet::new("2001:db8:1::5", "2001:db8:2::9").udp(1000, 53, &payload),
    ] {
        for linear in [ETHERNET, ETHERNET + 20, ETHERNET + 24] {
            let mut frame = packet.frame();
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
            let mut offload = [0; 10];
            offload[2..4].copy_from_slice(&(linear as u16).to_ne_bytes());
            tap.write_all(&[&offload[..], &frame].concat()).unwrap();
            let sent = gateway.receive_whole_from_tun(packet.bare().len());
            assert_routed("not linear", &packet.bare(), &sent);
        }
    }
    let counters = gateway.datapath.site_counters(2);
    assert_eq!(counters.to_site_packets, 6);
    assert_eq!(gateway.datapath.flow_stat(FlowStat::Inserted), 2);
}

/// Reads until a packet ends in `last`: the kernel sends packets of its own, too.
fn receive(last: u8, fd: i32, read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Vec<u8> {
    // The kernel's own packets end in other bytes or are of IPv6 (multicast).
    let is_ipv4 = |packet: &[u8]| packet[0] >> 4 == 4 || packet[12..14] == [8, 0];
    receive_where(
        |packet| is_ipv4(packet) && packet.last() == Some(&last),
        fd,
        read,
    )
}

fn receive_where(
    is_it: impl Fn(&[u8]) -> bool,
    fd: i32,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> Vec<u8> {
    let deadline = Deadline::start();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure, as said.
        let ready = unsafe { libc::poll(&raw mut poll, 1, deadline.left().as_millis() as i32) };
        assert!(ready > 0, "no such packet within {DEADLINE:?}");
        let length = read(&mut buffer).expect("a packet can be read");
        if is_it(&buffer[..length]) {
            return buffer[..length].to_vec();
        }
    }
}

/// When a test gives up waiting.
struct Deadline(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "a test waits for the kernel, in real time"
)]
impl Deadline {
    fn start() -> Self {
        Self(Instant::now() + DEADLINE)
    }

    fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

fn open_tun() -> File {
    open_tun_device(b"tun0", libc::IFF_TUN | libc::IFF_NO_PI)
}

fn open_tun_device(name: &[u8], flags: libc::c_int) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .expect("/dev/net/tun opens");
    // SAFETY: a C structure of integers and a union of them; zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request is of the type that this ioctl takes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    file
}

/// A packet socket on an interface, that does not see what is sent there.
fn open_packet_socket(interface: &str) -> OwnedFd {
    let protocol = (libc::ETH_P_IP as u16).to_be();
    // SAFETY: makes a new descriptor, owned from here on.
    let socket = unsafe {
        let fd = libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            i32::from(protocol),
        );
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: a C structure of integers; zeroes are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = ifindex(interface) as i32;
    // SAFETY: the address is of the size said.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    socket
}

/// The kernel puts no link-layer header in front of more than 16 KiB in one piece (BPF_SKB_MAX_LEN).
#[test]
fn a_packet_that_the_kernel_does_not_let_be_changed_is_told_and_goes_by_the_stack() {
    const LENGTH: usize = 17_000;
    let mut gateway = Gateway::start();
    let mtu = LENGTH as u32 + 1000;
    for name in ["tun0", "lan0", "host0"] {
        ip(&format!("link set {name} mtu {mtu}"));
    }
    let lan = ifindex("lan0");
    gateway.datapath.set_interface(lan, Role::Lan, 0, mtu);
    let large = Packet::new("10.2.0.9", "10.1.0.5").udp(53, 1000, &vec![9; LENGTH - 28]);
    gateway.tun.write_all(&large.bare()).unwrap();
    gateway.wait_for(StackReason::RedirectFailed, 1);
    // As it came: the stack has taken its hop, too, and none was taken before.
    assert_routed(
        "stack",
        &large.bare(),
        &gateway.receive_at_host(9)[ETHERNET..],
    );
    let said = gateway.datapath.take_log();
    let kind = (FaultKind::NotRewritten as u32).to_ne_bytes();
    let holds = |record: &[u8], bytes: &[u8]| record.windows(bytes.len()).any(|it| it == bytes);
    let program = maps::TUN_INGRESS.as_bytes();
    assert_eq!(said.len(), 1);
    assert!(
        holds(&said[0], program) && holds(&said[0], &kind),
        "{said:02x?}"
    );
}
