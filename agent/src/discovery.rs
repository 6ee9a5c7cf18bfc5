//! The catalogue of services, as the gateway's loop sees it: a thread that takes what the walk through the flow table
//! shows ([`crossway_discovery`]). The loop hands over and never waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossway_discovery::catalogue::{Batch, Flow};
use crossway_discovery::keeper::{Keeper, Message, Settings};
use crossway_discovery::trouble::Trouble;
use crossway_sys::clock;
use crossway_types::mapping::{Mapping, real_of};
use datapath_abi::flow::{FlowCounters, FlowKey, NOT_SEEN_HERE};
use tokio::sync::{mpsc, oneshot};

use crate::control::Response;
use crate::control::message::{
    ServicesOrder, ServicesOrdered, ServicesReply, ServicesRequest, WallClock,
};
use crate::posture::capabilities::{Part, settle_thread};

/// Messages that may wait, among them a step of the walk in each second: at most 28 MB each, in a table that fills up.
const WAITING: usize = 4;
/// Ended flows that are kept while the thread has no room, some 7 MB.
const MOST_UNSENT: usize = 1 << 16;
/// How long the last words may take when the gateway ends.
const LAST_WORDS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// What became of an order.
pub struct Ordered {
    /// What was wanted.
    pub order: ServicesOrder,
    /// Who wanted it.
    pub by: String,
    /// Its answer.
    pub outcome: Result<ServicesOrdered, String>,
    /// Where that goes.
    pub reply: oneshot::Sender<Response>,
}

/// The thread, while the configuration wants a catalogue.
pub struct Discovery {
    settings: Option<Settings>,
    running: Option<Running>,
    /// Flows that ended, and that the thread had no room for.
    unsent: Vec<Flow>,
    ordered: mpsc::UnboundedSender<Ordered>,
}

struct Running {
    inbox: SyncSender<Message>,
    thread: JoinHandle<()>,
    trouble: Arc<Trouble>,
    /// A step of the walk was left out since the last that was not.
    missed: bool,
}

impl Discovery {
    /// None yet. What becomes of orders is told to `ordered`.
    pub fn new(ordered: mpsc::UnboundedSender<Ordered>) -> Self {
        Self {
            settings: None,
            running: None,
            unsent: Vec::new(),
            ordered,
        }
    }

    /// Has a catalogue of this kind from now on, or none.
    pub fn configure(&mut self, settings: Option<Settings>) {
        if self.settings == settings {
            return;
        }
        // What it was given before, it still writes; the next one waits for it.
        self.running = None;
        self.unsent.clear();
        self.settings.clone_from(&settings);
        let Some(settings) = settings else {
            return;
        };
        let (inbox, messages) = sync_channel(WAITING);
        let trouble = Arc::new(Trouble::default());
        let keeper = Keeper::new(settings, Arc::clone(&trouble));
        let thread = std::thread::Builder::new()
            .name("services".to_owned())
            .spawn(move || {
                settle_thread(Part::Discovery);
                keeper.run(&messages);
            });
        match thread {
            Ok(thread) => {
                self.running = Some(Running {
                    inbox,
                    thread,
                    trouble,
                    missed: false,
                });
            }
            Err(error) => tracing::warn!(%error, "no service is entered into the catalogue"),
        }
    }

    /// Whether there is a catalogue.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the catalogue may learn from a flow: it is of this gateway, and no echo.
    pub fn wants(key: &FlowKey, counters: &FlowCounters) -> bool {
        counters.route_generation != NOT_SEEN_HERE && !matches!(key.protocol, 1 | 58)
    }

    /// Hands over a step of the walk. Where the thread has no room, living flows are left out until the next pass, and
    /// ended ones wait.
    pub fn push(&mut self, mut batch: Batch) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.missed {
            match running.inbox.try_send(Message::Missed) {
                Ok(()) => running.missed = false,
                Err(_) => return self.keep_unsent(batch.ended),
            }
        }
        if !self.unsent.is_empty() {
            let waited = std::mem::take(&mut self.unsent);
            batch.ended.splice(0..0, waited);
        }
        match running.inbox.try_send(Message::Batch(batch)) {
            Ok(()) => {}
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                running.missed = true;
                if let Message::Batch(batch) = message {
                    self.keep_unsent(batch.ended);
                }
            }
        }
    }

    fn keep_unsent(&mut self, flows: Vec<Flow>) {
        let room = MOST_UNSENT.saturating_sub(self.unsent.len());
        if let Some(running) = &self.running {
            running.trouble.lost(flows.len().saturating_sub(room));
        }
        self.unsent.extend(flows.into_iter().take(room));
    }

    /// As [`Self::push`], and waits for room: when the gateway ends, all its flows are over at once.
    pub fn push_waiting(&mut self, mut batch: Batch, end: Instant) {
        let Some(running) = &self.running else {
            return;
        };
        batch.ended.splice(0..0, std::mem::take(&mut self.unsent));
        let mut message = Message::Batch(batch);
        loop {
            match running.inbox.try_send(message) {
                Err(TrySendError::Full(back)) if clock::now() < end => message = back,
                Err(_) => {
                    tracing::warn!("the last flows are not counted in the catalogue of services");
                    return;
                }
                Ok(()) => return,
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks for services; `maps` says what the addresses of sites stand for.
    pub fn ask(
        &self,
        request: ServicesRequest,
        maps: HashMap<String, Vec<Mapping>>,
        reply: oneshot::Sender<Response>,
    ) {
        let answer = move |outcome: Result<ServicesReply, String>| {
            let outcome = outcome.map(|mut found| {
                for service in &mut found.services {
                    let maps = service.site.as_ref().and_then(|site| maps.get(site));
                    service.real = maps.and_then(|maps| real_of(maps, service.address));
                }
                found
            });
            // The asker may have gone.
            let _ = reply.send(outcome.map_or_else(Response::error, Response::Services));
        };
        match self.room() {
            Ok(inbox) => send(inbox, Message::Ask(request, Box::new(answer))),
            Err(why) => answer(Err(why)),
        }
    }

    /// Gives an order, whose outcome is told.
    pub fn order(&self, order: ServicesOrder, by: String, reply: oneshot::Sender<Response>) {
        let inbox = match self.room() {
            Ok(inbox) => inbox,
            Err(why) => {
                let _ = reply.send(Response::error(why));
                return;
            }
        };
        let ordered = self.ordered.clone();
        let wanted = (order.clone(), by.clone());
        let answer = move |outcome| {
            let (order, by) = wanted;
            // The gateway may have stopped.
            let _ = ordered.send(Ordered {
                order,
                by,
                outcome,
                reply,
            });
        };
        send(inbox, Message::Order(order, by, Box::new(answer)));
    }

    fn room(&self) -> Result<&SyncSender<Message>, String> {
        let running = self.running.as_ref().ok_or_else(|| {
            "no catalogue of services is kept: write [discovery] into the configuration file, then `crossway reload`"
                .to_owned()
        })?;
        Ok(&running.inbox)
    }

    /// What a person should look at.
    pub fn warnings(&self) -> Vec<String> {
        let running = self.running.as_ref();
        running.map_or_else(Vec::new, |running| running.trouble.warnings())
    }

    /// When the last words must be said.
    pub fn end_of_last_words() -> Instant {
        clock::now() + LAST_WORDS
    }

    /// Waits until all that was handed over is kept, but not for long.
    pub fn finish(&mut self) {
        let Some(Running { inbox, thread, .. }) = self.running.take() else {
            return;
        };
        drop(inbox);
        let end = Self::end_of_last_words();
        while !thread.is_finished() {
            if clock::now() >= end {
                tracing::warn!("the last of the catalogue of services could not be kept in time");
                return;
            }
            std::thread::sleep(POLL);
        }
        drop(thread.join());
    }
}

/// Sends what is to be answered, or answers it.
fn send(inbox: &SyncSender<Message>, message: Message) {
    let why = || {
        "the catalogue of services does not keep up: ask again; is the disk of its database slow?"
            .to_owned()
    };
    let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) = inbox.try_send(message)
    else {
        return;
    };
    match back {
        Message::Ask(_, answer) => answer(Err(why())),
        Message::Order(_, _, answer) => answer(Err(why())),
        Message::Batch(_) | Message::Missed => {}
    }
}

/// A step of the walk that has met these flows; `sites` has the names of all sites.
pub fn batch<'a>(
    (living, ended): (Vec<Flow>, Vec<Flow>),
    (pass_began, pass_ended): (bool, bool),
    sites: impl Iterator<Item = (u32, &'a str)>,
) -> Batch {
    let flows = living.iter().chain(&ended);
    let met: HashSet<u32> = flows.map(|(_, counters)| counters.site).collect();
    let sites = sites.filter(|(site, _)| met.contains(site));
    Batch {
        sites: sites.map(|(site, name)| (site, name.to_owned())).collect(),
        living,
        ended,
        pass_began,
        pass_ended,
        clock: WallClock {
            now_ns: clock::monotonic_ns(),
            unix_milliseconds: clock::since_epoch().as_millis() as u64,
        },
    }
}
