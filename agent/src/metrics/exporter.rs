//! The control side: opens and closes the door as the configuration says.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};

use super::door::{self, Door, Told};
use super::exposition::Reading;
use super::server;
use super::tls::Material;
use crate::config::{Metrics, MetricsDoor};
use crate::posture::Part;
use crate::posture::capabilities::settle_thread;

/// Where the gateway's loop is asked for a reading.
pub type Asked = mpsc::Sender<oneshot::Sender<Reading>>;

/// The metrics' door, as far as it is wanted and open.
#[derive(Debug)]
pub struct Exporter {
    asked: Asked,
    running: Option<Running>,
}

struct Running {
    config: Metrics,
    material: Option<Material>,
    door: Door,
    thread: Thread,
}

/// The thread that answers; it ends before this is gone, and its socket with it.
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::warn!("the thread of the metrics panicked");
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the key.
        f.debug_struct("Running")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Exporter {
    /// Closed; readings are asked for at `asked`.
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            running: None,
        }
    }

    /// Opens the door that is wanted, or closes it; says whether anything has changed. Certificates are read again: a
    /// renewed one is a change. After an error all is as it was, unless that cannot be had back either.
    ///
    /// # Errors
    /// Why it cannot be so, with the mend.
    pub fn set(&mut self, wanted: Option<&Metrics>) -> Result<bool> {
        let Some(wanted) = wanted else {
            return Ok(self.running.take().is_some());
        };
        let material = material_of(wanted)?;
        let same_place = match &self.running {
            Some(running) if running.config == *wanted && running.material == material => {
                return Ok(false);
            }
            Some(running) => same_place(&running.config.door, &wanted.door),
            None => false,
        };
        // What is wrong with it is known before anything ends.
        let acceptor = acceptor_of(wanted, material.as_ref())?;
        let before = self.running.take();
        let door = match (before, same_place) {
            (Some(Running { door, thread, .. }), true) => {
                drop(thread);
                door
            }
            (Some(before), false) => {
                // The new address may cover the one before.
                let (config, material) = (before.config.clone(), material_of(&before.config).ok());
                drop(before);
                match Door::open(&wanted.door) {
                    Ok(door) => door,
                    Err(error) => {
                        if let Some(material) = material
                            && let Ok(door) = Door::open(&config.door)
                            && let Ok(acceptor) = acceptor_of(&config, material.as_ref())
                            && let Ok(running) = self.start(config, material, acceptor, door)
                        {
                            self.running = Some(running);
                        }
                        return Err(error);
                    }
                }
            }
            (None, _) => Door::open(&wanted.door)?,
        };
        self.running = Some(self.start(wanted.clone(), material, acceptor, door)?);
        Ok(true)
    }

    /// Goes on with a door that an agent before us has opened where `wanted` wants it. Else it is closed, and
    /// [`Self::set`] opens another.
    pub fn take_over(&mut self, wanted: &Metrics, told: &Told, listener: OwnedFd) -> Result<()> {
        if door::wanted(&wanted.door) != *told {
            return Ok(());
        }
        let material = material_of(wanted)?;
        let acceptor = acceptor_of(wanted, material.as_ref())?;
        let door = Door::taken_over(&wanted.door, listener)?;
        self.running = Some(self.start(wanted.clone(), material, acceptor, door)?);
        Ok(())
    }

    /// Where the door is that can be handed over.
    pub fn told(&self) -> Option<Told> {
        let running = self.running.as_ref()?;
        Some(door::wanted(&running.config.door))
    }

    /// Its listening socket.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.door.as_fd())
    }

    /// Another agent has it now: no more connections are taken here.
    pub fn leave(&mut self) {
        if let Some(running) = self.running.take() {
            running.door.leave();
        }
    }

    fn start(
        &self,
        config: Metrics,
        material: Option<Material>,
        acceptor: Option<tokio_rustls::TlsAcceptor>,
        door: Door,
    ) -> Result<Running> {
        let listener = door.listener().context("the metrics' address")?;
        let (stop, stopped) = oneshot::channel();
        let asked = self.asked.clone();
        let serve = move |runtime: tokio::runtime::Runtime| {
            let served = runtime.block_on(server::serve(listener, acceptor, asked, stopped));
            if let Err(error) = served {
                tracing::warn!(%error, "metrics can no longer be read");
            }
        };
        let handle = start_thread(serve).context("to start the thread of the metrics")?;
        Ok(Running {
            config,
            material,
            door,
            thread: Thread {
                stop: Some(stop),
                handle: Some(handle),
            },
        })
    }
}

/// It gives up all privileges before it sees the first byte.
fn start_thread(
    serve: impl FnOnce(tokio::runtime::Runtime) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = thread::Builder::new().name("metrics".to_owned());
    thread.spawn(move || {
        settle_thread(Part::Metrics);
        serve(runtime);
    })
}

fn material_of(config: &Metrics) -> Result<Option<Material>> {
    match &config.door {
        MetricsDoor::Address { tls: Some(tls), .. } => Material::read(tls).map(Some),
        _ => Ok(None),
    }
}

fn acceptor_of(
    config: &Metrics,
    material: Option<&Material>,
) -> Result<Option<tokio_rustls::TlsAcceptor>> {
    match (&config.door, material) {
        (MetricsDoor::Address { tls: Some(tls), .. }, Some(material)) => {
            material.acceptor(tls).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether the socket that is open can go on.
fn same_place(running: &MetricsDoor, wanted: &MetricsDoor) -> bool {
    match (running, wanted) {
        (MetricsDoor::Address { .. }, MetricsDoor::Address { .. }) => {
            door::wanted(running) == door::wanted(wanted)
        }
        // Its group may be another.
        _ => running == wanted,
    }
}
