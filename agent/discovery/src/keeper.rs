//! The thread of the catalogue: takes what the walk through the flow table shows, answers, and writes what has changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crossway_api::message::{ServicesOrder, ServicesOrdered, ServicesReply, ServicesRequest};
use crossway_sys::clock;
use crossway_types::prefix::Prefix;

use crate::catalogue::{Batch, Catalogue, Running};
use crate::scope::Scope;
use crate::store::{self, Store, StoreError};
use crate::trouble::Trouble;

/// From one writing to the next, at least.
const SAVE_EACH: Duration = Duration::from_secs(10);
/// Writing takes a twentieth of the time at most.
const PAUSE_BEHIND_SAVE: u32 = 19;
/// From one attempt to open to the next, while the agent before has the database, and while something else is wrong.
const RETRY_BUSY: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(5);
/// How long those who ask wait for the database to be opened: an agent before this one writes its last words to it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last words wait for it.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// So many that ask may wait; their connections are few anyway.
const MOST_WAITING: usize = 64;

/// Where an answer goes, or why there is none.
pub type AnswerTo<T> = Box<dyn FnOnce(Result<T, String>) + Send>;

/// What the thread is told.
pub enum Message {
    /// A step of the walk through the flow table.
    Batch(Batch),
    /// Steps were left out.
    Missed,
    /// Somebody asks.
    Ask(ServicesRequest, AnswerTo<ServicesReply>),
    /// Somebody (named) orders.
    Order(ServicesOrder, String, AnswerTo<ServicesOrdered>),
}

/// What the catalogue is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it is kept.
    pub database: PathBuf,
    /// Services that it takes.
    pub bound: usize,
    /// Where services are looked for beside the private ranges.
    pub networks: Vec<Prefix>,
    /// What tells this flow table from every other there ever was; `None` where there is none.
    pub flow_table: Option<String>,
}

/// The catalogue and where it is kept.
pub struct Keeper {
    settings: Settings,
    catalogue: Catalogue,
    store: Option<Store>,
    /// What was kept is in the catalogue.
    loaded: bool,
    trouble: Arc<Trouble>,
    /// When to try to open, or to write.
    due: Instant,
    /// What was written last beside services.
    written: Option<(Running, Running)>,
    /// Why it is not open, for those who ask.
    why: String,
    /// Until when it may well be opened, so that those who ask wait: an agent before this one may have it.
    hope: Option<Instant>,
    waiting: Vec<Message>,
}

impl Keeper {
    /// Opens nothing yet.
    pub fn new(settings: Settings, trouble: Arc<Trouble>) -> Self {
        let scope = Scope::with(&settings.networks);
        let now = clock::now();
        Self {
            catalogue: Catalogue::new(scope, settings.bound),
            settings,
            store: None,
            loaded: false,
            trouble,
            due: now,
            written: None,
            why: "it is not open yet".to_owned(),
            hope: Some(now + PATIENCE),
            waiting: Vec::new(),
        }
    }

    /// Until the other end of `inbox` is dropped; then the last is written.
    pub fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            self.do_what_is_due(clock::now());
            let wait = self.due.saturating_duration_since(clock::now());
            match inbox.recv_timeout(wait) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    fn do_what_is_due(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        if self
            .store
            .as_ref()
            .is_some_and(|store| !store.is_in_place())
        {
            tracing::warn!(file = %self.settings.database.display(), "the catalogue of services is gone: it is written anew");
            self.store = None;
        }
        if self.store.is_none() {
            self.open(now);
        } else {
            self.save();
        }
        if !self.is_to_be_opened(now) {
            for message in std::mem::take(&mut self.waiting) {
                self.answer(message);
            }
        }
    }

    /// Whether who asks does better to wait.
    fn is_to_be_opened(&self, now: Instant) -> bool {
        self.store.is_none() && self.hope.is_some_and(|until| now < until)
    }

    fn open(&mut self, now: Instant) {
        match self.try_to_open() {
            Ok(()) => {
                self.trouble.set_store(None);
                self.due = now;
                self.save();
            }
            Err(error) => {
                self.why = error.to_string();
                self.hope.take_if(|until| !error.is_busy() || now >= *until);
                self.due = now + RETRY_BUSY;
                if self.hope.is_none() {
                    self.due = now + RETRY;
                    self.trouble.set_store(Some(self.cannot_be_kept(&error)));
                }
            }
        }
    }

    fn try_to_open(&mut self) -> Result<(), StoreError> {
        let now = clock::since_epoch().as_millis() as u64;
        let table = self.settings.flow_table.as_deref();
        let mut store = Store::open(&self.settings.database, now)?;
        if self.loaded {
            // What the file has is older than what is here.
            self.catalogue.mark_everything();
        } else {
            let (opened, kept) = store.load_or_begin_anew(table, now)?;
            store = opened;
            self.catalogue.go_on_from(kept);
            self.loaded = true;
        }
        self.tell_set_aside(&store);
        self.store = Some(store);
        Ok(())
    }

    fn save(&mut self) {
        let start = clock::now();
        let result = self.write_changes();
        let took = clock::now().saturating_duration_since(start);
        self.due = start + took + SAVE_EACH.max(took * PAUSE_BEHIND_SAVE);
        let full = self.catalogue.is_full();
        self.trouble.set_full(full.then_some(self.settings.bound));
        match result {
            Ok(()) => self.trouble.set_store(None),
            Err(error) if error.is_busy() => {
                // Somebody looks inside; a second later they have seen it.
                self.due = start + took + RETRY;
                self.trouble.set_store(Some(self.cannot_be_kept(&error)));
            }
            Err(error) => self.trouble.set_store(Some(self.cannot_be_kept(&error))),
        }
    }

    /// Writes what has changed; into a new file where the old one is found to be damaged.
    fn write_changes(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let changes = self.catalogue.changes();
        let others = Some((changes.unanswered, changes.not_entered));
        let nothing = changes.services.is_empty()
            && changes.forgotten.is_empty()
            && changes.groups.is_none()
            && self.written == others;
        if nothing {
            return Ok(());
        }
        let table = self.settings.flow_table.as_deref();
        match store.save(&changes, table) {
            Err(error) if store::is_damage(&error) => {
                tracing::warn!(%error, "the catalogue of services is damaged: it is written anew");
                self.catalogue.mark_everything();
                let now = clock::since_epoch().as_millis() as u64;
                if let Some(store) = self.store.take() {
                    let new = store.replace_damaged(&self.catalogue.changes(), table, now)?;
                    self.tell_set_aside(&new);
                    self.store = Some(new);
                }
            }
            saved => saved?,
        }
        self.catalogue.on_written();
        self.written = others;
        Ok(())
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Batch(batch) => self.catalogue.take(&batch),
            Message::Missed => self.catalogue.miss(),
            asked => {
                if self.is_to_be_opened(clock::now()) && self.waiting.len() < MOST_WAITING {
                    self.waiting.push(asked);
                } else {
                    self.answer(asked);
                }
            }
        }
    }

    fn answer(&mut self, message: Message) {
        match message {
            Message::Ask(request, answer) => {
                let reply = self.catalogue.answer(&request);
                let reply = reply.map(|reply| ServicesReply {
                    database: self.settings.database.display().to_string(),
                    kept: self.store.is_some(),
                    ..reply
                });
                answer(reply.map_err(|refused| refused.0));
            }
            Message::Order(order, by, answer) => answer(self.order(&order, &by)),
            Message::Batch(_) | Message::Missed => {}
        }
    }

    /// Carries out an order, and keeps what came of it before that is told.
    fn order(&mut self, order: &ServicesOrder, by: &str) -> Result<ServicesOrdered, String> {
        if self.store.is_none() {
            return Err(self.not_changed(&self.why));
        }
        let now = clock::since_epoch().as_millis() as u64;
        let ordered = self.catalogue.order(order, (by, now));
        let (ordered, undo) = ordered.map_err(|refused| refused.0)?;
        match self.write_changes() {
            Ok(()) => Ok(ordered),
            Err(error) => {
                self.catalogue.undo(undo);
                Err(self.not_changed(&error.to_string()))
            }
        }
    }

    /// The last words.
    fn close(mut self) {
        let end = clock::now() + LAST_PATIENCE;
        while self.store.is_none() && clock::now() < end {
            self.open(clock::now());
            if self.store.is_none() {
                std::thread::sleep(RETRY_BUSY);
            }
        }
        for message in std::mem::take(&mut self.waiting) {
            self.answer(message);
        }
        if self.store.is_none() {
            tracing::warn!(
                "the last of the catalogue of services is not kept: {}",
                self.why
            );
            return;
        }
        self.save();
    }

    fn not_changed(&self, why: &str) -> String {
        let database = self.settings.database.display();
        format!("nothing was changed: it cannot be kept in {database}: {why}")
    }

    fn cannot_be_kept(&self, error: &StoreError) -> String {
        let mend = match error {
            StoreError::Io(_) | StoreError::Sqlite(_) => {
                ": its folder must be there, belong to the agent's user and have room; `database` of [discovery] names \
                 another"
            }
            StoreError::InUse | StoreError::Newer(_) | StoreError::Foreign => "",
        };
        format!(
            "the catalogue of services cannot be kept in {}, and what it learns is lost when the agent ends: {error}{mend}",
            self.settings.database.display()
        )
    }

    fn tell_set_aside(&self, store: &Store) {
        if let Some(aside) = store.set_aside() {
            let text = format!(
                "the catalogue of services in {} was damaged, and another was begun: the damaged file is {}: `sqlite3 {} \
                 .recover` shows what is left of it, and removing it ends this warning",
                self.settings.database.display(),
                aside.display(),
                aside.display()
            );
            self.trouble.set_damaged(text, aside.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
