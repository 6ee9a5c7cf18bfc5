//! Who may talk with the agent, and who may change what it pins.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::pair::Pair;
use vm_tests::{sys, wait};

use super::NOBODY;

/// A group of every Debian.
const USERS: u32 = 100;

#[test]
fn a_user_outside_the_group_is_refused_with_the_mend_and_a_member_asks_and_orders() {
    let pair = Pair::start(|plans| {
        plans[0].configure(|config| config.gateway.control_group = Some("users".to_owned()));
    });
    let pair = pair.unwrap();
    let cli = Cli::for_everybody();
    let socket = Path::new("/run/crossway").join(format!("{}.sock", pair.a.name()));
    let found = fs::metadata(&socket).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    assert_eq!((found.uid(), found.gid()), (0, USERS));
    let door = fs::metadata(socket.with_extension("handover")).unwrap();
    assert_eq!((door.permissions().mode() & 0o7777, door.uid()), (0o600, 0));
    let folder = fs::metadata("/run/crossway").unwrap();
    assert_eq!(
        folder.permissions().mode() & 0o022,
        0,
        "nobody else writes there"
    );

    let target = "b";
    for words in [vec!["status"], vec!["drain", target], vec!["reload"]] {
        let refused = cli.run(&pair.a, NOBODY, &words);
        assert_eq!(refused.status.code(), Some(1), "{words:?}: {refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let mend = "join the group users: usermod --append --groups users nobody, and log in again";
        assert!(said.contains(mend), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let served = cli.run(&pair.a, USERS, &["status", "--json"]);
    assert!(served.status.success(), "{served:?}");
    let ordered = cli.run(&pair.a, USERS, &["prefer", target]);
    assert!(ordered.status.success(), "{ordered:?}");
    let events = pair.a.command(&["events"]).unwrap();
    assert!(events.contains(&format!("uid {NOBODY}, pid ")), "{events}");

    // A member with many connections that say nothing, and as many that say too little.
    let idle = hold(&socket, USERS, 200);
    for _ in 0..3 {
        let begin = wait::now();
        pair.a.command(&["drain", target]).unwrap();
        pair.a.command(&["undrain", target]).unwrap();
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
    }
    drop(idle);

    // The gateway without the key admits the group `crossway` where it exists, and here root only.
    let refused = cli.run(&pair.b, USERS, &["status"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn a_group_that_does_not_exist_is_refused_with_the_mend() {
    let mut pair = Pair::start(|_| ()).unwrap();
    assert!(pair.a.stop().unwrap().success());
    let group = "no-such-group";
    pair.plans[0].configure(|config| config.gateway.control_group = Some(group.to_owned()));
    pair.a.write_config(&pair.plans[0]).unwrap();
    let (code, said) = pair.a.refused().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("groupadd --system no-such-group"), "{said}");
}

#[test]
fn pins_are_roots_alone_and_those_that_others_could_change_are_refused() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let mut restart_after = |script: &str| {
        assert!(pair.a.stop().unwrap().success());
        let script = format!("umount -l /sys/fs/bpf; {script} exec \"$@\"");
        pair.a
            .set_wrapper(&["unshare", "--mount", "sh", "-ec", &script, "sh"]);
        pair.a.start_again().unwrap();
        pair.wait_until_up().unwrap();
        let root = format!("/proc/{}/root/sys/fs/bpf", pair.a.pid().unwrap());
        (
            pair.a.status().unwrap(),
            fs::metadata(root).unwrap().mode() & 0o777,
        )
    };
    let (status, mode) = restart_after("");
    assert!(status.fast_path, "{:?}", status.warnings);
    assert_eq!(mode, 0o700);

    for (folder, expected) in [
        (
            "mkdir /sys/fs/bpf/crossway; chown 65534 /sys/fs/bpf/crossway;",
            "belongs to uid 65534",
        ),
        (
            "mkdir -m 0777 /sys/fs/bpf/crossway;",
            "every user may write to it",
        ),
        (
            "ln -s /sys/fs/bpf /sys/fs/bpf/crossway;",
            "is a symbolic link",
        ),
    ] {
        let script = format!("mount -t bpf bpf /sys/fs/bpf; umask 0; {folder}");
        let (status, _) = restart_after(&script);
        assert!(!status.fast_path);
        let warnings = status.warnings.concat();
        let place = "/sys/fs/bpf/crossway";
        assert!(
            warnings.contains(place) && warnings.contains(expected),
            "{warnings}"
        );
    }
}

/// The program where every user may run it.
struct Cli(PathBuf);

impl Cli {
    fn for_everybody() -> Self {
        let folder = std::env::temp_dir().join(format!("crossway-cli-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(crossway::binary(), folder.join("crossway")).unwrap();
        for path in [&folder, &folder.join("crossway")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    /// As user nobody, of one group.
    fn run(&self, agent: &Crossway, group: u32, words: &[&str]) -> Output {
        let mut command = Command::new(self.0.join("crossway"));
        command.args(["--gateway", agent.name()]).args(words);
        command.uid(NOBODY).gid(group).current_dir("/");
        command.output().unwrap()
    }
}

impl Drop for Cli {
    fn drop(&mut self) {
        // Only a copy of the program.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Connections of user nobody, of one group: half of them say nothing, half begin to say something.
fn hold(socket: &Path, group: u32, connections: usize) -> Vec<UnixStream> {
    let held = sys::as_user(NOBODY, group, || {
        let numbers = 0..connections;
        let held = numbers.map(|at| {
            let mut stream = UnixStream::connect(socket)?;
            // It may have been told to go.
            let _ = stream.write_all(&b"{"[..at % 2]);
            Ok(stream)
        });
        held.collect::<io::Result<Vec<_>>>()
    });
    held.unwrap().unwrap()
}
