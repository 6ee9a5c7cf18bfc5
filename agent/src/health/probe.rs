//! Asks each target, one task for each. A probe leaves by the target's LAN interface and from its
//! address, whatever the routes say: a way round over the WAN proves nothing of the LAN.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Answer, Outcome, echo};
use crate::config::{HealthKind, HealthTarget};

/// The tasks that probe. Dropped, they end.
#[derive(Debug)]
pub struct Probers {
    running: Vec<(HealthTarget, TaskGuard)>,
    outcomes: mpsc::Sender<Outcome>,
}

#[derive(Debug)]
struct TaskGuard(JoinHandle<()>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Probers {
    /// None yet; what they find comes out of the other end of `outcomes`.
    pub fn new(outcomes: mpsc::Sender<Outcome>) -> Self {
        Self {
            running: Vec::new(),
            outcomes,
        }
    }

    /// Probes these targets and no others; those that stay are not disturbed. Call it in a tokio
    /// runtime on the thread whose network namespace is meant.
    pub fn set_targets(&mut self, wanted: &[HealthTarget]) {
        self.running.retain(|(target, _)| wanted.contains(target));
        for target in wanted {
            if self.running.iter().all(|(other, _)| other != target) {
                let task = tokio::spawn(run(target.clone(), self.outcomes.clone()));
                self.running.push((target.clone(), TaskGuard(task)));
            }
        }
    }
}

/// Probes until nobody listens. A probe that takes long delays the next: there is one at a time.
async fn run(target: HealthTarget, outcomes: mpsc::Sender<Outcome>) {
    let mut tick = interval(target.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let answer = probe(&target).await;
        let target = target.clone();
        if outcomes.send(Outcome { target, answer }).await.is_err() {
            return;
        }
    }
}

async fn probe(target: &HealthTarget) -> Answer {
    let asked = async {
        match target.kind {
            HealthKind::Icmp => echo::ask(target.address, &target.interface).await,
            HealthKind::Tcp(port) => {
                connect((target.address, port).into(), &target.interface).await
            }
        }
    };
    match timeout(target.timeout, asked).await {
        Ok(Ok(())) => Answer::Yes,
        Ok(Err(error)) => answer_of(&error),
        Err(_) => Answer::No(format!(
            "no answer within {} ms",
            target.timeout.as_millis()
        )),
    }
}

async fn connect(target: SocketAddr, interface: &str) -> io::Result<()> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.connect(target).await.map(drop)
}

/// What the kernel refuses says nothing of the target.
fn answer_of(error: &io::Error) -> Answer {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Answer::Unknown(format!(
            "it cannot be probed ({error}): give the agent CAP_NET_RAW, or include its group in net.ipv4.ping_group_range"
        )),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EAFNOSUPPORT) => {
            Answer::Unknown(format!("it cannot be probed: {error}"))
        }
        Some(libc::ENODEV) => Answer::No("its LAN interface does not exist".to_owned()),
        _ => Answer::No(error.to_string()),
    }
}
