//! `crossway top`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::wait;

use crate::DEADLINE;

/// `crossway top` on a terminal of script(1), 80 columns and 24 lines.
struct Terminal {
    script: Child,
    log: PathBuf,
    pid: PathBuf,
}

impl Terminal {
    fn start(pair: &Pair, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (log, pid) = (folder.join("typescript"), folder.join("pid"));
        let command = format!(
            "stty rows 24 cols 80; echo $$ > {}; exec {} --gateway {} top",
            pid.display(),
            vm_tests::crossway::binary().display(),
            pair.a.name()
        );
        let script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &command])
            .arg(&log)
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { script, log, pid }
    }

    fn shown(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_for(&self, word: &str) {
        wait::until(&format!("{word} on the terminal"), DEADLINE, || {
            self.shown().contains(word).then_some(())
        })
        .unwrap();
    }

    fn press(&mut self, key: u8) {
        let keys = self.script.stdin.as_mut().unwrap();
        keys.write_all(&[key]).and_then(|()| keys.flush()).unwrap();
    }

    /// The program has ended well and left the terminal as it was: main screen, cursor shown.
    fn ends_cleanly(&mut self) {
        let ended = wait::until("top to end", DEADLINE, || self.script.try_wait().unwrap());
        assert!(ended.unwrap().success(), "{}", self.shown());
        let shown = self.shown();
        for (on, off) in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h")] {
            let (on, off) = (shown.rfind(on).unwrap(), shown.rfind(off).unwrap());
            assert!(on < off, "{shown:?}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.script.kill());
        drop(self.script.wait());
    }
}

#[test]
fn top_shows_a_running_gateway_and_leaves_the_terminal_as_it_was() {
    let folder = std::env::temp_dir().join(format!("crossway-top-{}", std::process::id()));
    let pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let mut terminal = Terminal::start(&pair, &folder.join("keys"));
    for word in ["SITE", "Active", "DROPPED", "PROTO", "icmp", "10.2.0.10"] {
        terminal.wait_for(word);
    }
    // Only cells that change are drawn: a word on an empty line comes in one piece, its spaces do not come.
    terminal.press(b'?');
    terminal.wait_for("this");
    terminal.press(b'x');
    terminal.press(b'q');
    terminal.ends_cleanly();

    let mut terminal = Terminal::start(&pair, &folder.join("signal"));
    terminal.wait_for("PROTO");
    let pid = std::fs::read_to_string(&terminal.pid).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    terminal.ends_cleanly();
    drop(ping);

    // Where nobody looks, it says what else there is.
    let (code, said) = pair.a.failing_command(&["top"]).unwrap();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("needs a terminal") && said.contains("crossway flows"),
        "{said}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
