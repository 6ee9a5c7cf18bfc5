//! All virtual routers of a gateway, on a thread of their own.
//!
//! The control task may spend a second on a million routes; an advertisement that is late by three
//! intervals makes the mate take over. So nothing here waits for the control task: what it wants
//! comes by a channel, how things stand is left where it can look.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::instance::{self, Instance};
use super::router::State;
use super::status::{Event, Key, Setup, Status};
use super::track::Health;
use crate::posture::capabilities::{Part, settle_thread};

/// Goes before the lanes where both want the CPU (setpriority(2)): its work is some microseconds.
const NICE: libc::c_int = -10;
/// A stop waits for the mate at most an interval; the rest is for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// A handle to the thread. Dropped without [`Service::stop`], the virtual routers stop in their own time.
#[derive(Debug)]
pub struct Service {
    commands: mpsc::UnboundedSender<Command>,
    seen: Seen,
}

/// How each virtual router stands.
type Seen = Arc<Mutex<BTreeMap<Key, watch::Receiver<Status>>>>;

#[derive(Debug)]
enum Command {
    /// What is wanted, and which of it begins as master.
    Set(Vec<Setup>, Vec<Key>),
    Health(Health),
    /// Only these go on.
    Keep(Vec<Key>, oneshot::Sender<()>),
    Leave(oneshot::Sender<Vec<Key>>),
}

impl Service {
    /// Starts the thread, in the network namespace of this one; changes of state go to `events`.
    pub fn start(events: mpsc::UnboundedSender<Event>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let seen = Seen::default();
        let shared = Arc::clone(&seen);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("vrrp".to_owned())
            .spawn(move || {
                go_before_others();
                settle_thread(Part::Vrrp);
                runtime.block_on(serve(receiver, events, shared));
            })?;
        Ok(Self { commands, seen })
    }

    /// Makes these the virtual routers: new ones start, others go on with what changed, the rest stops.
    pub fn set(&self, wanted: Vec<Setup>) {
        self.resume(wanted, Vec::new());
    }

    /// As [`Self::set`]; those of `masters` that are new go on as master at once: [`Self::leave`] of an
    /// agent before us named them a moment ago, and their devices are up still.
    pub fn resume(&self, wanted: Vec<Setup>, masters: Vec<Key>) {
        self.tell(Command::Set(wanted, masters));
    }

    /// Ends without a word to the mate and leaves the devices as they are, for an agent that goes on at
    /// once; returns the virtual routers that are master.
    pub async fn leave(self) -> Vec<Key> {
        let (done, wait) = oneshot::channel();
        self.tell(Command::Leave(done));
        wait.await.unwrap_or_default()
    }

    /// Says how many of the sites can be reached.
    pub fn set_health(&self, health: Health) {
        self.tell(Command::Health(health));
    }

    /// How each virtual router stands.
    pub fn statuses(&self) -> Vec<Status> {
        let seen = lock(&self.seen);
        seen.values()
            .map(|status| status.borrow().clone())
            .collect()
    }

    /// Hands every virtual router over to its mate; dropped after that, the thread ends.
    pub async fn stop(self) {
        self.keep(Vec::new()).await;
    }

    /// Hands every virtual router but these over to its mate, and returns when their devices are down.
    pub async fn keep(&self, kept: Vec<Key>) {
        let (done, wait) = oneshot::channel();
        self.tell(Command::Keep(kept, done));
        // Closed without a word: the thread has ended already.
        let _ = wait.await;
    }

    fn tell(&self, command: Command) {
        // The thread ends when this handle goes, or at a hand-over.
        let _ = self.commands.send(command);
    }
}

fn lock(seen: &Seen) -> std::sync::MutexGuard<'_, BTreeMap<Key, watch::Receiver<Status>>> {
    // Nobody panics between two states of the map.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn go_before_others() {
    // SAFETY: the call takes no pointer; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if result < 0 {
        let error = io::Error::last_os_error();
        tracing::debug!("could not raise the priority of the VRRP thread: {error}");
    }
}

/// A running instance.
struct Running {
    commands: mpsc::UnboundedSender<instance::Command>,
    task: JoinHandle<()>,
}

async fn serve(
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event>,
    seen: Seen,
) {
    let handle = match rtnetlink::new_connection() {
        Ok((connection, handle, _)) => {
            tokio::spawn(connection);
            handle
        }
        Err(error) => {
            tracing::error!("cannot open a netlink socket, so VRRP stays off: {error}");
            return;
        }
    };
    let mut running: BTreeMap<Key, Running> = BTreeMap::new();
    let mut health = Health::default();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Set(wanted, masters) => {
                let kept: Vec<Key> = wanted.iter().map(|setup| setup.key.clone()).collect();
                stop_others(&mut running, &kept, &seen).await;
                for setup in wanted {
                    if let Some(instance) = running.get(&setup.key) {
                        let _ = instance.commands.send(instance::Command::Set(setup));
                        continue;
                    }
                    let key = setup.key.clone();
                    let resume = masters.contains(&key);
                    let (handle, events) = (handle.clone(), events.clone());
                    let (instance, status) = Instance::new(setup, health, resume, handle, events);
                    running.insert(key.clone(), Running::start(instance));
                    lock(&seen).insert(key, status);
                }
            }
            Command::Health(new) => {
                health = new;
                for instance in running.values() {
                    let _ = instance.commands.send(instance::Command::Health(new));
                }
            }
            Command::Leave(done) => {
                let _ = done.send(leave(running, &seen).await);
                return;
            }
            Command::Keep(kept, done) => {
                stop_others(&mut running, &kept, &seen).await;
                let _ = done.send(());
            }
        }
    }
    stop_others(&mut running, &[], &seen).await;
}

impl Running {
    fn start(instance: Instance) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let task = tokio::spawn(instance.run(receiver));
        Self { commands, task }
    }
}

async fn leave(running: BTreeMap<Key, Running>, seen: &Seen) -> Vec<Key> {
    for (_, instance) in running {
        let _ = instance.commands.send(instance::Command::Leave);
        // An error says that it has ended already.
        let _ = tokio::time::timeout(STOP_LIMIT, instance.task).await;
    }
    let seen = lock(seen);
    let masters = seen
        .iter()
        .filter(|(_, status)| status.borrow().state == State::Master);
    masters.map(|(key, _)| key.clone()).collect()
}

/// Stops all but these, at the same time, and waits for them.
async fn stop_others(running: &mut BTreeMap<Key, Running>, kept: &[Key], seen: &Seen) {
    let unwanted = |key: &Key| !kept.contains(key);
    let stopped: Vec<_> = running.extract_if(.., |key, _| unwanted(key)).collect();
    for (key, instance) in &stopped {
        let _ = instance.commands.send(instance::Command::Stop);
        lock(seen).remove(key);
    }
    for (key, instance) in stopped {
        if tokio::time::timeout(STOP_LIMIT, instance.task)
            .await
            .is_err()
        {
            tracing::warn!(
                interface = key.interface,
                id = key.id,
                "VRRP did not stop in time"
            );
        }
    }
}
