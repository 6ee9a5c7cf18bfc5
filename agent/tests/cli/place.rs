//! A folder in which commands run, and control sockets are served.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use crossway::control::{ControlRequest, Request, Response, Server, Streams};
use crossway::journal::Journal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::answers;

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder for sockets and files, in which commands run.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("crossway-cli-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossway"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env("CROSSWAY_RUN_DIR", &self.0);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that takes no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    pub(crate) fn start(&self, gateway: &str) -> Running {
        self.start_with(gateway, answers::answer)
    }

    /// Serves the control socket of `gateway`; it answers when this returns.
    pub(crate) fn start_with(&self, gateway: &str, answer: fn(&Request) -> Response) -> Running {
        let socket = self.0.join(format!("{gateway}.sock"));
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, is_bound) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let server = Server::bind(&socket).unwrap();
                bound.send(()).unwrap();
                let (gateway, mut requests) = mpsc::channel::<ControlRequest>(1);
                let journal = watch::Sender::new(Journal::default());
                let (finished, log) = (watch::Sender::default(), watch::Sender::default());
                let streams = Streams {
                    journal: journal.subscribe(),
                    finished: finished.subscribe(),
                    log: log.subscribe(),
                };
                journal.send_modify(answers::fill);
                let answering = async {
                    while let Some(asked) = requests.recv().await {
                        let _ = asked.reply.send(answer(&asked.request));
                    }
                };
                tokio::select! {
                    () = server.serve(gateway, streams) => {}
                    () = answering => {}
                    _ = stopped => {}
                }
            });
        });
        is_bound.recv().unwrap();
        Running {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A served control socket, gone at the end.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))));
    }
}
