//! The programs, loaded into a network namespace of the test's own, and their maps.

#[path = "harness/context.rs"]
mod context;
#[path = "harness/namespace.rs"]
mod namespace;
#[path = "harness/tables.rs"]
mod tables;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, Map},
    programs::{ProgramError, ProgramInfo, SchedClassifier, SocketFilter, TcAttachType, Xdp},
};
use datapath_abi::{
    ABI_VERSION,
    explanation::{Decision, Explanation},
    flow::{FlowCounters, FlowKey4},
    maps,
    settings::Settings,
    user::{Interfaces, RuleSets, Sessions},
};

pub(crate) use self::context::Context;
use self::namespace::{enter_new_namespace, run_tool};
pub(crate) use self::namespace::{ifindex, ip, lay_lan};

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
    pub(crate) rules: RuleSets,
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
        let mut rules = RuleSets::new(take(&mut ebpf, maps::POLICY));
        rules.set(maps::ACTIVE_RULES, &[]).unwrap();
        Self {
            ebpf,
            interfaces: interfaces.unwrap(),
            sessions: sessions.unwrap(),
            rules,
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

    /// What the explaining program beside a TC program says of a packet.
    pub(crate) fn explain(
        &mut self,
        program: &str,
        packet: &[u8],
        context: Context,
    ) -> (Decision, Explanation) {
        let explaining = match program {
            maps::LAN_INGRESS => maps::EXPLAIN_LAN,
            maps::TUN_EGRESS => maps::EXPLAIN_EGRESS,
            maps::TUN_INGRESS => maps::EXPLAIN_TUN,
            other => panic!("nothing explains {other}"),
        };
        let run = self.tc(explaining, packet, context);
        assert_eq!(run.verdict, TC_TO_STACK, "it leaves every packet alone");
        assert_eq!(run.frame, packet, "it changes nothing");
        let answer: Array<_, Explanation> = self.map(maps::EXPLAINED);
        let answer = answer.get(&0, 0).unwrap();
        (Decision::ALL[answer.verdict as usize], answer)
    }

    /// The queue of the TUN that `tun_steer` chooses.
    pub(crate) fn steer(&mut self, packet: &[u8], context: Context) -> u32 {
        let context_in = context.to_bytes();
        let program = self.socket_filter(maps::TUN_STEER);
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
            maps::TUN_STEER | maps::CAPTURE_WAN => self.socket_filter(name).info(),
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

    /// A socket filter, loaded.
    fn socket_filter(&mut self, name: &str) -> &mut SocketFilter {
        let program: &mut SocketFilter = program(&mut self.ebpf, name);
        if program.fd().is_err() {
            verify(name, || program.load());
        }
        program
    }
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> M {
    let map = ebpf.take_map(name).expect("the map is there");
    M::try_from(map).ok().expect("the map has this type")
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

/// The start of a frame, for messages.
pub(crate) fn hex(frame: &[u8]) -> String {
    format!(
        "{} bytes {:02x?}",
        frame.len(),
        &frame[..frame.len().min(80)]
    )
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
