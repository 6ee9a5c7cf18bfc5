//! What the history is told, each second and at each change, and where it is kept over restarts of the agent: in a file
//! of the run folder, which is gone after a boot.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossway_sys::{clock, whole_file};

use super::Gateway;
use super::links::LinkStatus;
use super::plan::PlannedSite;
use super::states::States;
use crate::control::message::{
    EventKind, FinishedRecord, HistoryReply, HistoryRequest, LinkState, Response, SeriesKind,
    SiteState, Traffic,
};
use crate::control::run_dir;
use crate::history::{Counters, History, Look, Moment, State};
use crate::journal::Change;

/// How often it is written down: so much a killed agent leaves untold. A history that takes all its room is written in
/// some milliseconds.
const WRITTEN_EVERY: Duration = Duration::from_mins(1);
/// The number of this boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MIB: u64 = 1 << 20;

/// The history, and when it was written down.
#[derive(Debug)]
pub(super) struct KeptHistory {
    history: History,
    file: PathBuf,
    boot: String,
    written: Option<Instant>,
}

impl KeptHistory {
    /// One that begins, of the gateway called `gateway`.
    pub(super) fn new(gateway: &str, mib: u32) -> Self {
        Self {
            history: History::new(mib),
            file: run_dir().join(format!("{gateway}.history")),
            boot: std::fs::read_to_string(BOOT_ID).unwrap_or_default(),
            written: None,
        }
    }

    /// Goes on where the agent before ended, if that has left its history.
    pub(super) fn go_on(&mut self, handed_over: bool) {
        if !self.history.is_on() {
            return;
        }
        // One cell is written in less than it takes in memory; the names, outages and flows have a mebibyte.
        let longest = (self.history.room_mib() + 1) * MIB;
        let read = match whole_file::read(&self.file, longest) {
            Ok(bytes) => self
                .history
                .go_on(&bytes, &self.boot, handed_over, moment())
                .map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = read {
            tracing::info!(file = %self.file.display(), error, "the history begins anew");
        }
    }

    /// Writes it down, for the next agent.
    pub(super) fn write(&self) {
        let written = if self.history.is_on() {
            whole_file::write(&self.file, &self.history.export(&self.boot))
        } else {
            remove(&self.file)
        };
        if let Err(error) = written {
            tracing::debug!(file = %self.file.display(), %error, "the history is not written down");
        }
    }

    fn write_if_due(&mut self, now: Instant) {
        let due = |written: Instant| now >= written + WRITTEN_EVERY;
        if self.written.is_none_or(due) {
            self.written = Some(now);
            self.write();
        }
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A link as the history is told of it.
struct LinkLook {
    name: String,
    site: String,
    state: State,
    counters: Counters,
}

impl Gateway {
    /// To be called each second.
    pub(super) fn follow_history(&mut self, now: Instant) {
        let moment = moment();
        let wanted = self.desired.config.gateway.history_mib;
        self.history.history.set_room(wanted);
        if wanted > 0 {
            let links = self.links_for_history();
            let drops = self.history.history.wants_drops(moment);
            let drops = drops.then(|| self.dropped_by_reason()).flatten();
            let warnings = self.all_warnings();
            let (plan, states) = (&self.desired.plan, &self.states);
            let sites = plan.sites.iter().map(|site| {
                let traffic = self.rates.traffic(&self.forwarding, site.id);
                look_at_site(site, states, traffic)
            });
            let looks = sites.chain(links.iter().map(|link| Look {
                kind: SeriesKind::Link,
                name: &link.name,
                site: &link.site,
                state: link.state,
                counters: link.counters,
            }));
            let history = &mut self.history.history;
            history.look(moment, looks, drops);
            history.on_warnings(&warnings, moment);
        }
        self.history.write_if_due(now);
    }

    /// A change of state, which may be shorter than a second.
    pub(super) fn tell_history(&mut self, change: &Change) {
        let Some((kind, state)) = state_of(change) else {
            return;
        };
        let of = (kind, change.subject.as_str());
        let history = &mut self.history.history;
        history.on_change(of, state, &change.cause, moment());
    }

    /// Conversations that have ended.
    pub(super) fn tell_history_of_flows(&mut self, records: &[FinishedRecord]) {
        self.history.history.on_finished(records, moment());
    }

    pub(super) fn history_reply(&mut self, wanted: &HistoryRequest) -> Response {
        let history = &self.history.history;
        if !history.is_on() {
            return Response::error(
                "this gateway keeps no history: write history_mib = 8 in [gateway], and reload",
            );
        }
        if let Some(site) = &wanted.site
            && !self.has_site(site)
            && !history.knows(site)
        {
            return self.no_site(site);
        }
        Response::History(Box::new(HistoryReply {
            gateway: self.desired.config.gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_milliseconds: self.process.started_since_epoch.as_millis() as u64,
            ..history.answer(wanted, moment())
        }))
    }

    fn links_for_history(&self) -> Vec<LinkLook> {
        let mut links = self.forwarding.links.by_site();
        let sites = self.desired.plan.sites.iter();
        let of_sites = sites.filter_map(|site| links.remove(&site.id));
        of_sites.flatten().map(look_of).collect()
    }

    /// Packets of each reason since the start, by its number.
    fn dropped_by_reason(&self) -> Option<Vec<u64>> {
        let drops = self.drops().ok()?.drops;
        Some(drops.iter().map(|drop| drop.packets).collect())
    }
}

fn look_at_site<'a>(site: &'a PlannedSite, states: &States, traffic: Traffic) -> Look<'a> {
    let name = site.config.name.as_str();
    let seen = states.site(site.id);
    let state = match seen.map(|seen| seen.state) {
        // It has not been reached yet, and may be soon.
        None => State::Connecting,
        Some(SiteState::Down) if !states.is_down(site) => State::Connecting,
        Some(state) => state.into(),
    };
    Look {
        kind: SeriesKind::Site,
        name,
        site: name,
        state,
        counters: Counters {
            to_site_bytes: traffic.to_site_bytes,
            from_site_bytes: traffic.from_site_bytes,
            ..Counters::default()
        },
    }
}

fn look_of(link: &LinkStatus) -> LinkLook {
    let peer = link.peer.as_ref();
    LinkLook {
        name: link.subject(),
        site: link.planned.site_name.clone(),
        state: link.state.into(),
        counters: peer.map_or_else(Counters::default, |peer| Counters {
            to_site_bytes: peer.sent_bytes,
            from_site_bytes: peer.received_bytes,
            received: peer.arrivals.received,
            missing: peer.arrivals.missing(),
            round_trip: peer.round_trip,
        }),
    }
}

/// What a change is to the history, if it is anything.
fn state_of(change: &Change) -> Option<(SeriesKind, State)> {
    let of_site = [SiteState::Active, SiteState::Degraded, SiteState::Down];
    let of_link = [
        LinkState::Up,
        LinkState::Connecting,
        LinkState::Down,
        LinkState::Drained,
    ];
    match change.kind {
        EventKind::Site => {
            let mut states = of_site.into_iter();
            let state = states.find(|state| state.as_str() == change.to)?;
            Some((SeriesKind::Site, state.into()))
        }
        EventKind::Link => {
            let mut states = of_link.into_iter();
            let state = states.find(|state| state.as_str() == change.to)?;
            Some((SeriesKind::Link, state.into()))
        }
        _ => None,
    }
}

fn moment() -> Moment {
    Moment {
        boot_ms: clock::since_boot().as_millis() as u64,
        wall_ms: clock::since_epoch().as_millis() as u64,
    }
}
