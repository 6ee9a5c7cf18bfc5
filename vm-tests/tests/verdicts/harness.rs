//! The programs, loaded into a network namespace of the test's own, and their maps.

use std::{
    collections::HashMap as StdHashMap,
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun as _, TestRunOptions,
    maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, RingBuf, lpm_trie::Key},
    programs::{ProgramError, ProgramInfo, SchedClassifier, SocketFilter, TcAttachType, Xdp},
};
use datapath_abi::{
    ABI_VERSION,
    flow::{FlowCounters, FlowKey, FlowKey4, FlowStat},
    local::{LocalKey, VlanKey},
    maps,
    outcome::{DropReason, StackReason, Tally},
    route::{Route, RouteKey4, RouteKey6, VNET_BITS},
    settings::{Interface, Role, Settings},
    site::{Site, SiteCounters, SiteState},
    user::{Interfaces, Sessions},
};

/// Verdicts as the kernel numbers them.
pub(crate) const TC_TO_STACK: i32 = -1;
pub(crate) const TC_DROP: i32 = 2;
pub(crate) const TC_REDIRECT: i32 = 7;
pub(crate) const XDP_DROP: i32 = 1;
pub(crate) const XDP_PASS: i32 = 2;

/// Flows that the table holds here; the real one takes tens of megabytes for each test.
pub(crate) const FLOWS: u32 = 1024;

/// Loaded programs.
pub(crate) struct Datapath {
    ebpf: Ebpf,
    interfaces: Interfaces,
    sessions: Sessions,
}

/// What a TC program is told of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// Index of the interface; 0 is the loopback device.
    pub(crate) ifindex: u32,
    pub(crate) mark: u32,
    pub(crate) gso_size: u32,
    pub(crate) gso_segs: u32,
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) verdict: i32,
    pub(crate) frame: Vec<u8>,
    pub(crate) mark: u32,
}

impl Datapath {
    /// Moves the calling thread into a new network namespace and makes the maps. A program is loaded when it is
    /// first asked for: an emulated processor takes seconds to verify one.
    pub(crate) fn load() -> Self {
        Self::load_with(EbpfLoader::new().map_max_entries(maps::FLOWS4, FLOWS))
    }

    /// As [`Self::load`], with a flow table that takes one flow of IPv4 and refuses a second one. The real one never
    /// does: it makes room (LRU).
    pub(crate) fn load_with_one_flow() -> Self {
        let pin = format!("/sys/fs/bpf/crossway-one-flow-{}", std::process::id());
        let [key, value] = [size_of::<FlowKey4>(), size_of::<FlowCounters>()];
        let words =
            format!("map create {pin} type hash key {key} value {value} entries 1 name FLOWS4");
        run_tool("bpftool", &words);
        // The loader takes what is pinned as it is.
        let loaded = Self::load_with(EbpfLoader::new().map_pin_path(maps::FLOWS4, Path::new(&pin)));
        fs::remove_file(&pin).unwrap();
        loaded
    }

    fn load_with(loader: &mut EbpfLoader<'_>) -> Self {
        enter_new_namespace();
        let mut ebpf = loader
            .map_max_entries(maps::FLOWS6, FLOWS)
            .load(&object())
            .expect("the object loads");
        let interfaces = Interfaces::new(
            take(&mut ebpf, maps::INTERFACES),
            take(&mut ebpf, maps::INTERFACE_SLOTS),
        );
        let sessions = Sessions::new(
            take(&mut ebpf, maps::SESSIONS),
            take(&mut ebpf, maps::SESSION_BITS),
        );
        Self {
            ebpf,
            interfaces: interfaces.unwrap(),
            sessions: sessions.unwrap(),
        }
    }

    /// Runs a TC program over a frame, or over a bare packet for those of the TUN: the kernel takes
    /// the first 14 bytes of either for an Ethernet header, but hands over the packet as it is.
    pub(crate) fn tc(&mut self, name: &str, frame: &[u8], context: Context) -> Run {
        let context_in = context.to_bytes();
        let mut context_out = context_in;
        let mut frame_out = vec![0; frame.len() + 256];
        let program = self.classifier(name);
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut frame_out),
                ctx_in: Some(&context_in),
                ctx_out: Some(&mut context_out),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("{name} did not run over {}: {error:?}", hex(frame)));
        frame_out.truncate(result.data_size_out as usize);
        Run {
            verdict: result.return_value as i32,
            frame: frame_out,
            mark: Context::mark_of(&context_out),
        }
    }

    /// The queue of the TUN that `tun_steer` chooses.
    pub(crate) fn steer(&mut self, packet: &[u8], context: Context) -> u32 {
        let context_in = context.to_bytes();
        let program = self.steering();
        let result = program.test_run(TestRunOptions {
            data_in: Some(packet),
            ctx_in: Some(&context_in),
            ..TestRunOptions::default()
        });
        result.expect("tun_steer runs").return_value
    }

    /// Attaches a TC program to an interface; it is detached with the end of the test.
    pub(crate) fn attach(&mut self, name: &str, interface: &str, at: TcAttachType) {
        let program = self.classifier(name);
        program
            .attach(interface, at)
            .unwrap_or_else(|error| panic!("{name} at {interface}: {error}"));
    }

    /// Runs the XDP program over a frame.
    pub(crate) fn xdp(&mut self, frame: &[u8]) -> Run {
        let mut frame_out = vec![0; frame.len() + 256];
        let program = self.guard();
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut frame_out),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("wan_guard did not run over {}: {error:?}", hex(frame)));
        frame_out.truncate(result.data_size_out as usize);
        Run {
            verdict: result.return_value as i32,
            frame: frame_out,
            mark: 0,
        }
    }

    /// Loads a program of any kind and returns what the kernel says of it.
    pub(crate) fn info(&mut self, name: &str) -> ProgramInfo {
        let info = match name {
            maps::WAN_GUARD => self.guard().info(),
            maps::TUN_STEER => self.steering().info(),
            classifier => self.classifier(classifier).info(),
        };
        info.expect("the kernel tells of a program that it has")
    }

    /// A TC program, loaded.
    fn classifier(&mut self, name: &str) -> &mut SchedClassifier {
        let program: &mut SchedClassifier = program(&mut self.ebpf, name);
        if program.fd().is_err() {
            verify(name, || program.load());
        }
        program
    }

    /// The XDP program, loaded.
    fn guard(&mut self) -> &mut Xdp {
        let program: &mut Xdp = program(&mut self.ebpf, maps::WAN_GUARD);
        if program.fd().is_err() {
            verify(maps::WAN_GUARD, || program.load());
        }
        program
    }

    /// The program that chooses a queue, loaded.
    fn steering(&mut self) -> &mut SocketFilter {
        let program: &mut SocketFilter = program(&mut self.ebpf, maps::TUN_STEER);
        if program.fd().is_err() {
            verify(maps::TUN_STEER, || program.load());
        }
        program
    }

    pub(crate) fn set_settings(&mut self, settings: Settings) {
        self.array(maps::SETTINGS).set(0, settings, 0).unwrap();
    }

    pub(crate) fn set_interface(&mut self, ifindex: u32, role: Role, vnet: u32, mtu: u32) {
        let interface = Interface {
            role: role as u32,
            vnet,
            mtu,
            flags: 0,
        };
        self.write_interface(ifindex, interface);
    }

    /// An interface is a LAN with these flags.
    pub(crate) fn set_lan_flags(&mut self, ifindex: u32, flags: u32) {
        let interface = Interface {
            role: Role::Lan as u32,
            vnet: 0,
            mtu: 1500,
            flags,
        };
        self.write_interface(ifindex, interface);
    }

    pub(crate) fn write_interface(&mut self, ifindex: u32, interface: Interface) {
        self.interfaces.add(ifindex, interface).unwrap();
    }

    pub(crate) fn set_site(&mut self, id: u32, state: SiteState, mtu: u32) {
        let site = Site {
            state: state as u32,
            queue_mask: 1,
            mtu,
            lanes: 1,
        };
        self.write_site(id, site);
    }

    pub(crate) fn write_site(&mut self, id: u32, site: Site) {
        self.array(maps::SITES).set(id, site, 0).unwrap();
    }

    pub(crate) fn add_route(&mut self, vnet: u32, prefix: &str, site: u32) {
        let route = Route { site, route: 1 };
        match route_key(vnet, prefix) {
            RouteKey::V4(key) => self.trie(maps::ROUTES4).insert(&key, route, 0),
            RouteKey::V6(key) => self.trie(maps::ROUTES6).insert(&key, route, 0),
        }
        .unwrap();
    }

    pub(crate) fn remove_route(&mut self, vnet: u32, prefix: &str) {
        match route_key(vnet, prefix) {
            RouteKey::V4(key) => self.trie(maps::ROUTES4).remove(&key),
            RouteKey::V6(key) => self.trie(maps::ROUTES6).remove(&key),
        }
        .unwrap();
    }

    pub(crate) fn add_session(&mut self, index: u32) {
        self.sessions.insert(index << 8, 7).unwrap();
    }

    /// An address that the host has, or with fewer bits a prefix of them.
    pub(crate) fn add_local(&mut self, prefix: &str) {
        let (address, length) = prefix.split_once('/').expect("address/length");
        let length: u32 = length.parse().unwrap();
        let (address, bits) = match address.parse().unwrap() {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), 96 + length),
            IpAddr::V6(address) => (address, length),
        };
        let address = address.octets();
        let map = self.ebpf.map_mut(maps::LOCAL_ADDRESSES);
        let mut trie: LpmTrie<_, LocalKey, u32> =
            LpmTrie::try_from(map.expect("the map is there")).unwrap();
        trie.insert(&Key::new(bits, LocalKey { address }), 1, 0)
            .unwrap();
    }

    /// The VLAN of this id at the loopback device, where tests let frames arrive, is a WAN.
    pub(crate) fn add_wan_vlan(&mut self, id: u32) {
        let key = VlanKey { ifindex: 1, id };
        self.hash(maps::WAN_VLANS).insert(key, 1_u32, 0).unwrap();
    }

    pub(crate) fn to_stack(&self, reason: StackReason) -> Tally {
        self.tally(maps::TO_STACK, reason.index())
    }

    pub(crate) fn drops(&self, reason: DropReason) -> Tally {
        self.tally(maps::DROPS, reason.index())
    }

    pub(crate) fn flow_stat(&self, stat: FlowStat) -> u64 {
        self.per_cpu::<u64>(maps::FLOW_STATS, stat as u32)
            .iter()
            .sum()
    }

    pub(crate) fn site_counters(&self, id: u32) -> SiteCounters {
        let mut total = SiteCounters::default();
        for counters in self.per_cpu::<SiteCounters>(maps::SITE_COUNTERS, id) {
            total.to_site_packets += counters.to_site_packets;
            total.to_site_bytes += counters.to_site_bytes;
            total.from_site_packets += counters.from_site_packets;
            total.from_site_bytes += counters.from_site_bytes;
        }
        total
    }

    pub(crate) fn flows(&self) -> StdHashMap<FlowKey, FlowCounters> {
        let v4: HashMap<_, FlowKey4, FlowCounters> = self.map(maps::FLOWS4);
        let v6: HashMap<_, FlowKey, FlowCounters> = self.map(maps::FLOWS6);
        let v4 = v4.iter().map(Result::unwrap);
        let v4 = v4.map(|(key, counters)| (FlowKey::from(key), counters));
        v4.chain(v6.iter().map(Result::unwrap)).collect()
    }

    /// Writes a flow of either family, as the agent does.
    pub(crate) fn write_flow(&mut self, key: &FlowKey, counters: &FlowCounters) {
        let written = match key.to_v4() {
            Some(key) => self.hash(maps::FLOWS4).insert(key, *counters, 0),
            None => self.hash(maps::FLOWS6).insert(*key, *counters, 0),
        };
        written.unwrap();
    }

    /// Takes what the programs said, as aya-log writes it.
    pub(crate) fn take_log(&mut self) -> Vec<Vec<u8>> {
        let map = self.ebpf.map_mut(maps::LOG).expect("the map is there");
        let mut ring = RingBuf::try_from(map).unwrap();
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            records.push(record.to_vec());
        }
        records
    }

    fn tally(&self, map: &str, index: u32) -> Tally {
        self.per_cpu::<Tally>(map, index).into_iter().sum()
    }

    fn per_cpu<V: Pod>(&self, name: &str, index: u32) -> Vec<V> {
        let array: PerCpuArray<_, V> = self.map(name);
        array.get(&index, 0).unwrap().to_vec()
    }

    fn map<'a, M>(&'a self, name: &str) -> M
    where
        M: TryFrom<&'a Map>,
    {
        let map = self.ebpf.map(name).expect("the map is there");
        M::try_from(map).ok().expect("the map has this type")
    }

    fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        Array::try_from(self.ebpf.map_mut(name).expect("the map is there")).unwrap()
    }

    fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        HashMap::try_from(self.ebpf.map_mut(name).expect("the map is there")).unwrap()
    }

    fn trie<K: Pod>(&mut self, name: &str) -> LpmTrie<&mut MapData, K, Route> {
        LpmTrie::try_from(self.ebpf.map_mut(name).expect("the map is there")).unwrap()
    }
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> M {
    let map = ebpf.take_map(name).expect("the map is there");
    M::try_from(map).ok().expect("the map has this type")
}

enum RouteKey {
    V4(Key<RouteKey4>),
    V6(Key<RouteKey6>),
}

fn route_key(vnet: u32, prefix: &str) -> RouteKey {
    let (address, length) = prefix.split_once('/').expect("address/length");
    let bits = VNET_BITS + length.parse::<u32>().unwrap();
    let vnet = vnet.to_be_bytes();
    match address.parse().unwrap() {
        IpAddr::V4(address) => {
            let address = address.octets();
            RouteKey::V4(Key::new(bits, RouteKey4 { vnet, address }))
        }
        IpAddr::V6(address) => {
            let address = address.octets();
            RouteKey::V6(Key::new(bits, RouteKey6 { vnet, address }))
        }
    }
}

/// Offsets in `struct __sk_buff` (linux/bpf.h).
const MARK: usize = 8;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const SK_BUFF: usize = 192;

impl Context {
    fn to_bytes(self) -> [u8; SK_BUFF] {
        let mut bytes = [0; SK_BUFF];
        for (offset, value) in [
            (MARK, self.mark),
            (IFINDEX, self.ifindex),
            (GSO_SEGS, self.gso_segs),
            (GSO_SIZE, self.gso_size),
        ] {
            bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    fn mark_of(bytes: &[u8; SK_BUFF]) -> u32 {
        u32::from_ne_bytes(bytes[MARK..MARK + 4].try_into().unwrap())
    }
}

/// Whether BPF_PROG_TEST_RUN takes a frame: more than an Ethernet header, and where that says IP, a whole
/// IP header. The shorter ones are sent over a real interface, in live.rs.
pub(crate) fn kernel_runs(frame: &[u8]) -> bool {
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        Some(_) => 15,
        None => return false,
    };
    frame.len() >= least
}

/// Settings with which the programs are ready: this TUN, and two lanes from port 51820 on.
pub(crate) fn settings(tun_ifindex: u32) -> Settings {
    Settings {
        abi_version: ABI_VERSION,
        tun_ifindex,
        listen_port: 51820,
        lanes: 2,
        answers_from4: [10, 1, 0, 1],
        answers_from6: *b"\x20\x01\x0d\xb8\0\x01\0\0\0\0\0\0\0\0\0\x01",
        ..Settings::default()
    }
}

/// Makes the loopback device, at which tests let frames arrive, the LAN of 10.1.0.0/16, beside a TUN whose index it
/// returns: `lan_ingress` asks the kernel's routing for the sources of IPv4.
pub(crate) fn lay_lan() -> u32 {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the sysctl is writable");
    for command in [
        "link set lo up",
        "tuntap add dev tun0 mode tun",
        "link set tun0 up",
        "route add 10.1.0.0/16 dev lo",
    ] {
        ip(command);
    }
    ifindex("tun0")
}

/// Runs `ip` in the test's namespace.
pub(crate) fn ip(arguments: &str) {
    run_tool("ip", arguments);
}

fn run_tool(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("the command {program} does not run: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The index of an interface of the test's namespace.
pub(crate) fn ifindex(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "no interface {name:?}");
    index
}

/// The start of a frame, for messages.
pub(crate) fn hex(frame: &[u8]) -> String {
    format!(
        "{} bytes {:02x?}",
        frame.len(),
        &frame[..frame.len().min(80)]
    )
}

fn enter_new_namespace() {
    // SAFETY: changes the namespace of this thread only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        result,
        0,
        "the verdict ring makes network namespaces and loads eBPF, so run it as root: {}",
        std::io::Error::last_os_error()
    );
}

/// The eBPF object: `$CROSSWAY_OBJECT`, else what `cargo xtask build` made.
fn object() -> Vec<u8> {
    let built = || {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../target/bpf/bpfel-unknown-none/release/datapath")
    };
    let path = env::var_os("CROSSWAY_OBJECT").map_or_else(built, PathBuf::from);
    fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "the eBPF object {} is missing ({error}): build it with `cargo xtask build`",
            path.display()
        )
    })
}

/// Loads a program. The verifier gives up with EAGAIN when a signal is pending (bpf_check in
/// kernel/bpf/verifier.c), such as that of another test's child; libbpf tries five times, too. What the verifier
/// says against a program is in the error, and so in the panic.
fn verify(name: &str, mut load: impl FnMut() -> Result<(), ProgramError>) {
    for _ in 0..5 {
        match load() {
            Ok(()) => return,
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) => panic!("the verifier refuses {name}: {error}"),
        }
    }
    panic!("the verifier was interrupted five times over {name}");
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut P
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    let program = ebpf.program_mut(name).expect("the program is there");
    <&mut P>::try_from(program)
        .ok()
        .expect("the program has this type")
}
