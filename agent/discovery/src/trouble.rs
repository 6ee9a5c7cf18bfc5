//! What is wrong with the catalogue, for who warns of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared between the thread and the gateway's loop.
#[derive(Debug, Default)]
pub struct Trouble {
    lost_flows: AtomicU64,
    texts: Mutex<Texts>,
}

#[derive(Debug, Default)]
struct Texts {
    /// It cannot be kept.
    store: Option<String>,
    /// A damaged file was put aside: what to say while it is there.
    damaged: Option<(String, PathBuf)>,
    /// There is no room for more than so many services.
    full: Option<usize>,
}

impl Trouble {
    /// Flows that ended were not handed over.
    pub fn lost(&self, flows: usize) {
        self.lost_flows.fetch_add(flows as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_store(&self, trouble: Option<String>) {
        self.texts().store = trouble;
    }

    pub(crate) fn set_damaged(&self, text: String, file: PathBuf) {
        self.texts().damaged = Some((text, file));
    }

    pub(crate) fn set_full(&self, services: Option<usize>) {
        self.texts().full = services;
    }

    /// What a person should look at.
    pub fn warnings(&self) -> Vec<String> {
        let texts = self.texts();
        let mut warnings: Vec<String> = texts.store.clone().into_iter().collect();
        if let Some((text, file)) = &texts.damaged
            && file.exists()
        {
            warnings.push(text.clone());
        }
        if let Some(services) = texts.full {
            warnings.push(format!(
                "the catalogue of services is full: it has {services}, and more were seen: `services` of [discovery] \
                 allows more, `crossway services forget` takes some out"
            ));
        }
        let lost = self.lost_flows.load(Ordering::Relaxed);
        if lost > 0 {
            warnings.push(format!(
                "{lost} flows that ended are not counted in the catalogue of services: it did not keep up; is the disk of \
                 its database slow?"
            ));
        }
        warnings
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
