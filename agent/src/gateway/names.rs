//! What the names of endpoints lead to, as far as it is known now. Nobody waits for a name: who needs one takes
//! the last good answer, and asks for a better one ([`Names::ask`]), which comes when it comes.
//!
//! [`lookups`] has the threads that ask the host's resolver; [`memory`] keeps the answers over restarts of the
//! agent. This file is pure: questions go out by [`Names::poll_questions`], answers come in by
//! [`Names::on_answer`].

mod follow;
pub mod lookups;
pub mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A name is looked up again no sooner than after this: several links may have it. Each asks when it is dialled.
pub const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// After so long without an answer people are told.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Addresses that are kept of one name; a pool of public servers has hundreds.
const MOST_ADDRESSES: usize = 16;

/// The names that are known.
#[derive(Debug, Default)]
pub struct Names {
    by_host: BTreeMap<String, Name>,
    questions: Vec<Question>,
    /// Whether what is to be remembered has changed.
    changed: bool,
}

/// One name.
#[derive(Debug, Default)]
struct Name {
    /// Where it leads, without a port.
    addresses: Vec<SocketAddr>,
    /// Whether the far gateway was reached at the first of them.
    reached: bool,
    /// When it was asked for last.
    asked: Option<Instant>,
    /// Whether no answer has come since.
    waits: bool,
    /// Why the last answer was none.
    failure: Option<String>,
}

/// A name to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name.
    pub host: String,
    /// The last time nobody could answer: it may keep a thread busy for long.
    pub doubtful: bool,
}

/// What has come of a [`Question`].
#[derive(Debug)]
pub struct Answer {
    /// The name.
    pub host: String,
    /// All its addresses, or why there are none.
    pub addresses: Result<Vec<SocketAddr>, String>,
}

impl Names {
    /// Where a name leads, without a port: best first, none while that is not known.
    pub fn addresses(&self, host: &str) -> &[SocketAddr] {
        self.by_host.get(host).map_or(&[], |name| &name.addresses)
    }

    /// Wants a name looked up, unless that was just done.
    pub fn ask(&mut self, host: &str, now: Instant) {
        let name = self.by_host.entry(host.to_owned()).or_default();
        let lately = |asked: Instant| now < asked + ASKED_AGAIN_AFTER;
        if name.waits || name.asked.is_some_and(lately) {
            return;
        }
        name.asked = Some(now);
        name.waits = true;
        self.questions.push(Question {
            host: host.to_owned(),
            doubtful: name.failure.is_some(),
        });
    }

    /// Whether the answer to come, or the last one, is of `since` or later.
    pub fn is_of(&self, host: &str, since: Instant) -> bool {
        let asked_since = |asked: Instant| asked >= since;
        let name = self.by_host.get(host);
        name.is_some_and(|name| name.waits || name.asked.is_some_and(asked_since))
    }

    /// What is to be looked up.
    pub fn poll_questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Takes an answer; whether the name leads elsewhere by it. Without one, the last good one stays.
    pub fn on_answer(&mut self, answer: Answer) -> bool {
        let Some(name) = self.by_host.get_mut(&answer.host) else {
            return false;
        };
        name.waits = false;
        let mut found = match answer.addresses {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => {
                name.failure = Some("it has no address".to_owned());
                return false;
            }
            Err(why) => {
                name.failure = Some(why);
                return false;
            }
        };
        name.failure = None;
        without_repetition(&mut found);
        // Many name servers answer in another order each time.
        let set = |addresses: &[SocketAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
        if set(&found) == set(&name.addresses) {
            return false;
        }
        let good = name.addresses.first().copied().filter(|_| name.reached);
        // Stable, so that what the resolver prefers stays in front of the rest.
        found.sort_by_key(|address| Some(*address) != good);
        name.reached = found.first().copied() == good;
        name.addresses = found;
        self.changed = true;
        true
    }

    /// The far gateway has answered from this address: it is the first to be tried from now on.
    pub fn on_reached(&mut self, host: &str, at: IpAddr) {
        let Some(name) = self.by_host.get_mut(host) else {
            return;
        };
        let mut addresses = name.addresses.iter();
        if let Some(place) = addresses.position(|known| known.ip() == at) {
            name.reached = true;
            name.addresses[..=place].rotate_right(1);
            self.changed |= place > 0;
        }
    }

    /// Why a name is not known as it should be; `None` if it is, or may be in a moment.
    pub fn trouble(&self, host: &str, now: Instant) -> Option<&str> {
        let name = self.by_host.get(host)?;
        let late = name.waits && name.asked.is_some_and(|at| now >= at + ANSWERS_WITHIN);
        let failure = name.failure.as_deref();
        failure.or_else(|| late.then_some("no name server has answered yet"))
    }

    /// Forgets the names that `wanted` does not have.
    pub fn keep(&mut self, wanted: &BTreeSet<&str>) {
        let before = self.by_host.len();
        self.by_host
            .retain(|host, _| wanted.contains(host.as_str()));
        self.changed |= self.by_host.len() != before;
    }

    /// Takes what was remembered of names, but for those that are known by now.
    pub fn remember(&mut self, remembered: BTreeMap<String, Vec<SocketAddr>>) {
        for (host, mut addresses) in remembered {
            without_repetition(&mut addresses);
            let name = self.by_host.entry(host).or_default();
            if name.addresses.is_empty() {
                name.addresses = addresses;
                name.reached = true;
            }
        }
    }

    /// All answers, if they are others than at the last call.
    pub fn poll_memory(&mut self) -> Option<BTreeMap<String, Vec<SocketAddr>>> {
        std::mem::take(&mut self.changed).then(|| {
            let known = self.by_host.iter();
            let known = known.filter(|(_, name)| !name.addresses.is_empty());
            known
                .map(|(host, name)| (host.clone(), name.addresses.clone()))
                .collect()
        })
    }
}

/// Each address once, where it comes first, without a port.
fn without_repetition(addresses: &mut Vec<SocketAddr>) {
    let mut seen = BTreeSet::new();
    for address in &mut *addresses {
        address.set_port(0);
    }
    addresses.retain(|address| seen.insert(*address));
    addresses.truncate(MOST_ADDRESSES);
}

#[cfg(test)]
mod tests;
