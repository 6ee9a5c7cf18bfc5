//! `cargo xtask vm-test`: the guest ring. The same tests that run in namespaces
//! of this machine's kernel run in virtual machines with kernels of Debian's releases, and with them those that
//! need what only such a kernel has.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use vm_tests::guest::image::Image;
use vm_tests::guest::kernel::Kernel;
use vm_tests::guest::{Accelerator, Guest, Machine};
use vm_tests::wait;

use crate::build::Agent;
use crate::setup::{self, Purpose};
use crate::{build, environment};

mod bench;
mod kernels;
mod on_host;
mod report;
mod tests;

use kernels::Choice;
use report::Report;
use tests::Test;
pub(crate) use tests::Which;

/// What one test file may take: emulated, it is the hang that this ends, not a slow test.
const TEST_LIMIT: Duration = Duration::from_mins(5);
const CPUS: u32 = 2;
/// The image lies in memory, and beside it whatever the tests start.
const MEMORY_MIB: u32 = 2048;

/// Programs of this machine that guests have: what the tests start, and what these start in turn.
const PROGRAMS: &[&str] = &[
    "bpftool",
    "cat",
    "chmod",
    "cp",
    "dmesg",
    "env",
    "ethtool",
    "grep",
    "hostname",
    "ip",
    "iperf3",
    "kill",
    "ls",
    "mkdir",
    "modprobe",
    "mount",
    "mtr",
    "mtr-packet",
    "mv",
    "nft",
    "nsenter",
    "ping",
    "prlimit",
    "ps",
    "rm",
    "setpriv",
    "sh",
    "sleep",
    "sysctl",
    "taskset",
    "tc",
    "tcpdump",
    "timeout",
    "touch",
    "traceroute",
    "umount",
    "unshare",
    "wg",
    "wireguard-go",
];

/// What programs of this workspace find in their environment, with [`emulated`] behind it.
const ENVIRONMENT: [&str; 3] = [
    "/usr/bin/env",
    "CROSSWAY_BIN=/usr/bin/crossway",
    "CROSSWAY_OBJECT=/usr/lib/datapath",
];

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    which: Which,
    /// The bench instead of tests.
    bench: bool,
    kernels: Vec<&'static Choice>,
}

impl Request {
    /// Without kernels: those that fit what is to be done.
    pub(crate) fn new(which: Which, bench: bool, kernels: Vec<&'static Choice>) -> Self {
        let one = bench || which == Which::Quick;
        let kernels = if kernels.is_empty() {
            kernels::usual(one)
        } else {
            kernels
        };
        Self {
            which,
            bench,
            kernels,
        }
    }
}

/// The kernel of this name.
pub(crate) fn kernel(name: &str) -> Result<&'static Choice> {
    kernels::by_name(name)
}

pub(crate) fn run(request: &Request) -> Result<()> {
    let toolchain = setup::ensure(Purpose::Vm)?;
    build::build(&toolchain, Agent::Release)?;
    if request.bench {
        return bench::run(&request.kernels);
    }
    let tests = tests::build(&request.which)?;
    let stage = Stage::new()?;
    vm_tests::sys::watch_stop_signals();
    let mut report = Report::default();
    for choice in &request.kernels {
        eprintln!("\n=== kernel {}: {}", choice.name, choice.note);
        let outcome = choice
            .fetch(&stage.kept)
            .and_then(|kernel| on_kernel(&kernel, &tests, &stage, choice, &mut report));
        if let Err(error) = outcome {
            eprintln!("{error:#}");
            report.broken(choice.name, &error);
        }
    }
    report.print();
    if report.failed() > 0 {
        bail!("{} failed", report.failed());
    }
    Ok(())
}

/// Runs all tests with one kernel.
fn on_kernel(
    kernel: &Kernel,
    tests: &[Test],
    stage: &Stage,
    choice: &Choice,
    report: &mut Report,
) -> Result<()> {
    let possible = tests
        .iter()
        .filter(|test| choice.has_fast_path || !test.needs_fast_path());
    let (of_several, in_one): (Vec<&Test>, Vec<&Test>) =
        possible.partition(|test| test.is_on_host());
    if !in_one.is_empty() {
        in_one_guest(kernel, &in_one, stage, choice, report)?;
    }
    if !of_several.is_empty() {
        on_host::run(kernel, &of_several, stage, choice, report)?;
    }
    Ok(())
}

/// Boots the kernel and runs tests in it.
fn in_one_guest(
    kernel: &Kernel,
    tests: &[&Test],
    stage: &Stage,
    choice: &Choice,
    report: &mut Report,
) -> Result<()> {
    let start = wait::now();
    let mut image = stage.image()?;
    for test in tests {
        let place = test.path_in_guest();
        image.file(&test.executable, place.trim_start_matches('/'))?;
    }
    let (machine, mut guest) = stage.boot(kernel, image, start)?;
    for test in tests {
        if !guest_test(&mut guest, &machine, test, choice, report)? {
            // A hang or a crash takes the machine with it: the next test gets a new one.
            guest = machine.boot("guest", &stage.kept)?;
        }
    }
    guest.power_off()
}

/// Runs one file of tests; whether the guest is still of use.
fn guest_test(
    guest: &mut Guest,
    machine: &Machine,
    test: &Test,
    choice: &Choice,
    report: &mut Report,
) -> Result<bool> {
    eprintln!("\n--- {} on {}", test.name, guest.kernel());
    let start = wait::now();
    let mut output = String::new();
    let path = test.path_in_guest();
    let emulated = emulated(machine);
    // What tests say of the kernel is for the report.
    let own = [
        &emulated,
        path.as_str(),
        "--test-threads=1",
        "--show-output",
    ];
    let words = [&ENVIRONMENT[..], &own, test.filters].concat();
    let followed = guest.follow(&words, TEST_LIMIT, |piece| {
        eprint!("{piece}");
        output.push_str(piece);
    });
    if vm_tests::sys::stop_requested() {
        bail!("interrupted");
    }
    let alive = followed.is_ok();
    if let Err(error) = &followed {
        eprintln!("{error:#}");
    }
    report.add(choice.name, test, &output, followed, start.elapsed());
    Ok(alive)
}

/// Whether figures of speed say little.
fn emulated(machine: &Machine) -> String {
    let emulated = u8::from(machine.accelerator.is_emulated());
    format!("CROSSWAY_EMULATED={emulated}")
}

/// Where guests are prepared, and what all of them have.
struct Stage {
    init: PathBuf,
    kept: PathBuf,
}

impl Stage {
    fn new() -> Result<Self> {
        let init = tests::build_init()?;
        let kept = environment::workspace().join("target/guests");
        fs::create_dir_all(&kept)?;
        Ok(Self { init, kept })
    }

    /// The initial file system with what every guest needs.
    fn image(&self) -> Result<Image> {
        let mut image = Image::create(&self.kept.join("stage"))?;
        for program in PROGRAMS {
            image.program(program)?;
        }
        image.file(&build::binary(Agent::Release), "usr/bin/crossway")?;
        image.data(&build::object_path(), "usr/lib/datapath")?;
        Ok(image)
    }

    /// Packs the image for a kernel and switches a guest on.
    fn boot(&self, kernel: &Kernel, mut image: Image, start: Instant) -> Result<(Machine, Guest)> {
        let archive = self.kept.join("image.cpio");
        image.file(&self.init, "init")?;
        image.pack(kernel, &archive)?;
        let mut machine = Machine {
            kernel: kernel.vmlinuz()?,
            image: archive,
            cpus: CPUS,
            memory_mib: MEMORY_MIB,
            accelerator: Accelerator::Tcg,
            cards: Vec::new(),
        };
        machine.accelerator = Accelerator::probe(&machine, &self.kept)?;
        let packed = wait::now();
        let guest = machine.boot("guest", &self.kept)?;
        eprintln!(
            "{} on {}, {:.1} s after {:.1} s of packing",
            guest.kernel(),
            machine.accelerator,
            packed.elapsed().as_secs_f64(),
            packed.saturating_duration_since(start).as_secs_f64()
        );
        Ok((machine, guest))
    }
}
