//! The path MTU of one direction of a link: how large an inner packet may be that the far end gets. Packetization layer
//! path MTU discovery (RFC 8899) with probes of its own, since WireGuard acknowledges nothing.
//!
//! ```text
//!  Unanswered ── an answer ──► Searching ── the limit is known ──► Found ── raise timer ──► Searching
//!       ▲                          ▲                                │
//!       └── a new session, and     └────── black hole ──────────────┘  large packets flow, and a probe of
//!           silent for long                                            their size is lost four times
//! ```
//!
//! A size counts as lost only where small probes that were sent beside it came through: a dead path, or one that loses
//! everything for a while, is no narrow one. Nothing that a router says in ICMP is believed or needed.
//!
//! What comes may be late, twice, or made up by a hostile far end. That one can only harm its own traffic: it can have
//! no size taken for good that was not asked for.

mod export;
pub mod packet;
mod report;
mod search;
mod sent;
mod trial;

use std::time::{Duration, Instant};

use packet::{Ends, Kind, Message, SHORTEST};
pub use report::{Bounds, Report, State};
use search::{BASE, LEAST, Search};
use sent::Sent;
use trial::{PATIENCE, Trial};

/// Packets beyond this are large: that they pass is confirmed while there are any.
const LARGE: u16 = 1000;
/// Between two confirmations while large packets flow. With the tries of one, what hangs in a black hole hangs for
/// less than two seconds, and TCP sends again after 1.4 s and 3 s.
const CONFIRM: Duration = Duration::from_millis(500);
/// From a search to the next try of more: the first, and the longest, to which it doubles (PMTU_RAISE_TIMER of RFC 8899,
/// 5.1.1).
const RAISE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));
/// Small probes to a far end that has answered none, after each new session.
const GREETINGS: u8 = 3;
/// A far end that has not answered for so long when it begins a new session may be another program now.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// The path of one link, seen from here.
#[derive(Clone, Debug)]
pub struct PathMtu {
    ends: Ends,
    bounds: Bounds,
    /// What packets are held to.
    mtu: u16,
    /// That size has passed, and nothing has said otherwise since.
    proven: bool,
    /// The far end answers.
    answers: bool,
    /// When it did last.
    heard: Option<Instant>,
    far_mtu: Option<u16>,
    /// What the far end was told last of ours.
    told: u16,
    /// Small probes that may still be sent to a far end that does not answer.
    greetings: u8,
    search: Option<Search>,
    trial: Option<Trial>,
    /// A large packet was sent since the last confirmation.
    large: bool,
    confirmed: Instant,
    raise_at: Instant,
    raise_after: Duration,
    /// When the next probe is due, if any.
    next: Option<Instant>,
    sent: Sent,
    round_trip: Option<Duration>,
    black_holes: u64,
    probes: u64,
}

impl PathMtu {
    /// A path of which nothing is known. `seed` makes the numbers of its probes others than those of other paths.
    pub fn new(ends: Ends, bounds: Bounds, seed: u32, now: Instant) -> Self {
        Self {
            ends,
            bounds,
            mtu: bounds.assumed,
            proven: false,
            answers: false,
            heard: None,
            far_mtu: None,
            told: bounds.assumed,
            greetings: 0,
            search: None,
            trial: None,
            large: false,
            confirmed: now,
            raise_at: now,
            raise_after: RAISE.0,
            next: None,
            sent: Sent::new(seed),
            round_trip: None,
            black_holes: 0,
            probes: 0,
        }
    }

    /// Largest inner packet to be sent.
    #[inline]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// A packet beyond this is to be told of by [`Self::on_large`], or is too big.
    #[inline]
    pub fn gate(&self) -> u16 {
        let watches = self.bounds.probes && self.proven && !self.large;
        if watches {
            self.mtu.min(LARGE)
        } else {
            self.mtu
        }
    }

    /// What is known now.
    pub fn report(&self) -> Report {
        // Whether it takes more by now is asked from time to time, and what is found counts meanwhile.
        let searches = self.search.is_some_and(|search| !search.raises());
        let state = match (self.bounds.probes, self.answers) {
            (false, _) => State::Fixed,
            (true, false) => State::Unanswered,
            (true, true) if searches => State::Searching,
            (true, true) => State::Found,
        };
        Report {
            mtu: self.mtu,
            state,
            far_mtu: self.far_mtu,
            black_holes: self.black_holes,
            probes: self.probes,
        }
    }

    /// When [`Self::poll_probe`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Takes other bounds.
    pub fn set_bounds(&mut self, bounds: Bounds, now: Instant) {
        let before = std::mem::replace(&mut self.bounds, bounds);
        if before == bounds && (bounds.probes || self.mtu == bounds.assumed) {
            return;
        }
        if !(bounds.probes && self.answers && self.proven) || self.mtu > bounds.most {
            self.mtu = bounds.assumed.min(bounds.most);
            self.proven = false;
        }
        (self.search, self.trial) = (None, None);
        match (bounds.probes, self.answers) {
            (false, _) => self.next = None,
            (true, false) => self.greet(now),
            (true, true) => self.look_again(now),
        }
    }

    /// The path may be another: it is looked at anew.
    pub fn on_moved(&mut self, now: Instant) {
        if self.bounds.probes && self.answers {
            self.look_again(now);
        }
    }

    /// There is a new WireGuard session.
    pub fn on_session(&mut self, now: Instant) {
        if !self.bounds.probes {
            return;
        }
        let heard = self.heard.filter(|heard| now < *heard + FORGOTTEN_AFTER);
        // Who had nothing to answer is not forgotten.
        if self.answers && heard.is_none() && self.trial.is_some_and(Trial::is_unheard) {
            self.forget();
        }
        if !self.answers {
            self.greet(now);
        }
    }

    /// A large packet is being sent: that such packets pass is to be confirmed from time to time.
    pub fn on_large(&mut self, now: Instant) {
        if !self.large && self.bounds.probes && self.proven {
            self.large = true;
            self.plan(now);
        }
    }

    /// The probe that is due, as an inner packet; to be asked until there is none.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Vec<u8>> {
        let beside = self.trial.is_some_and(|trial| trial.beside_due);
        if !beside && self.next.is_none_or(|next| now < next) {
            return None;
        }
        if !self.answers {
            return self.poll_greeting(now);
        }
        if let Some(trial) = self.trial
            && trial.has_failed()
        {
            self.trial = None;
            self.on_failed(trial, now);
        }
        if self.trial.is_none() && !self.begin_trial(now) {
            let tells = self.told != self.mtu;
            let probe = tells.then(|| self.probe(SHORTEST, now));
            self.plan(now);
            return probe;
        }
        self.poll_trial(now)
    }

    /// Takes a message of the far end: the answer to it, if it is a probe.
    pub fn handle_message(&mut self, message: &Message, now: Instant) -> Option<Vec<u8>> {
        self.far_mtu = (message.mtu > 0).then_some(message.mtu);
        match message.kind {
            Kind::Probe => {
                // It knows probes: now it is worth asking.
                if self.bounds.probes && !self.answers {
                    self.greet(now);
                }
                let answer = Message {
                    kind: Kind::Answer,
                    mtu: self.mtu,
                    ..*message
                };
                Some(answer.encode(&self.ends))
            }
            Kind::Answer => {
                self.on_answer(message, now);
                None
            }
        }
    }

    /// Reads an inner packet for which [`packet::is_ours`] holds.
    pub fn decode(&self, inner: &[u8]) -> Option<Message> {
        Message::decode(inner, &self.ends)
    }

    fn on_answer(&mut self, answer: &Message, now: Instant) {
        let Some((size, sent_at)) = self.sent.take(answer.id) else {
            return;
        };
        if size != answer.size || !self.bounds.probes {
            return;
        }
        self.heard = Some(now);
        self.on_round_trip(now.saturating_duration_since(sent_at));
        if !self.answers {
            self.answers = true;
            self.look_again(now);
            return;
        }
        let Some(trial) = &mut self.trial else { return };
        if size == trial.size {
            let trial = *trial;
            self.trial = None;
            self.on_passed(trial, now);
        } else if size == SHORTEST {
            trial.signs_of_life = trial.signs_of_life.saturating_add(1);
        }
    }

    fn on_passed(&mut self, trial: Trial, now: Instant) {
        if trial.size >= self.mtu {
            self.mtu = trial.size;
            self.proven = true;
            self.confirmed = now;
            self.large = false;
        }
        if !trial.confirms
            && let Some(search) = &mut self.search
        {
            search.on_passed(trial.size);
            self.end_search(now);
        }
        self.plan(now);
    }

    fn on_failed(&mut self, trial: Trial, now: Instant) {
        if trial.confirms {
            self.black_holes += 1;
            self.raise_after = RAISE.0;
            self.search = Some(Search::below(trial.size, self.bounds.most));
        } else if let Some(search) = &mut self.search {
            search.on_failed(trial.size);
        }
        let Some(search) = self.search else { return };
        if self.mtu >= search.bad {
            let fallback = if BASE < search.bad { BASE } else { LEAST };
            self.mtu = fallback.max(search.good);
            self.proven = false;
            self.large = false;
        }
        self.end_search(now);
    }

    /// Ends a search that knows the limit.
    fn end_search(&mut self, now: Instant) {
        let Some(search) = self.search.filter(|search| search.candidate().is_none()) else {
            return;
        };
        self.search = None;
        if self.mtu != search.good || !self.proven {
            self.mtu = search.good;
            self.proven = true;
            self.confirmed = now;
        }
        self.raise_at = now + self.raise_after;
        self.raise_after = (self.raise_after * 2).min(RAISE.1);
    }

    /// The first trial of a size that is due; whether there is one.
    fn begin_trial(&mut self, now: Instant) -> bool {
        if self.confirms_at().is_some_and(|at| at <= now) {
            self.trial = Some(Trial::new(self.mtu, true));
            return true;
        }
        if self.search.is_none() && self.raises_at().is_some_and(|at| at <= now) {
            self.search = Some(Search::above(self.mtu, self.bounds.most));
        }
        let size = self.search.and_then(Search::candidate);
        self.trial = size.map(|size| Trial::new(size, false));
        self.trial.is_some()
    }

    /// Sends the size under trial; from the second time on with a small probe beside it.
    fn poll_trial(&mut self, now: Instant) -> Option<Vec<u8>> {
        let trial = self.trial.as_mut()?;
        if std::mem::take(&mut trial.beside_due) {
            return Some(self.probe(SHORTEST, now));
        }
        trial.tries = trial.tries.saturating_add(1);
        trial.beside_due = trial.tries > 1;
        let wait = trial.wait(self.round_trip);
        let size = trial.size;
        self.next = Some(now + wait);
        self.probes += 1;
        Some(self.probe(size, now))
    }

    fn poll_greeting(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.greetings == 0 {
            self.next = None;
            return None;
        }
        self.greetings -= 1;
        self.next = Some(now + PATIENCE.1);
        Some(self.probe(SHORTEST, now))
    }

    fn probe(&mut self, size: u16, now: Instant) -> Vec<u8> {
        let id = self.sent.add(size, now);
        self.told = self.mtu;
        let message = Message {
            kind: Kind::Probe,
            size,
            mtu: self.mtu,
            id,
        };
        message.encode(&self.ends)
    }

    fn greet(&mut self, now: Instant) {
        self.greetings = GREETINGS;
        self.next = Some(now);
    }

    /// Looks for the limit as from nothing known, but with what is known until it is found.
    fn look_again(&mut self, now: Instant) {
        self.trial = None;
        self.raise_after = RAISE.0;
        self.search = if self.proven {
            // That it still passes is asked first.
            self.large = true;
            self.confirmed = now.checked_sub(CONFIRM).unwrap_or(now);
            Some(Search::above(self.mtu, self.bounds.most))
        } else {
            let most = self.bounds.most;
            Some(Search::below(most.saturating_add(1), most))
        };
        self.end_search(now);
        self.plan(now);
    }

    fn forget(&mut self) {
        self.answers = false;
        self.proven = false;
        (self.search, self.trial) = (None, None);
        self.mtu = self.bounds.assumed.min(self.bounds.most);
    }

    fn confirms_at(&self) -> Option<Instant> {
        (self.large && self.proven).then(|| self.confirmed + CONFIRM)
    }

    fn raises_at(&self) -> Option<Instant> {
        (self.proven && self.mtu < self.bounds.most).then_some(self.raise_at)
    }

    /// When there is something to do, while no size is under trial.
    fn plan(&mut self, now: Instant) {
        if self.trial.is_some() {
            return;
        }
        self.next = if self.search.is_some() || self.told != self.mtu {
            Some(now)
        } else {
            let due = [self.confirms_at(), self.raises_at()];
            due.into_iter().flatten().min()
        };
    }

    /// The smoothed round trip (RFC 6298, 2).
    fn on_round_trip(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(smoothed) => (smoothed * 7 + sample) / 8,
            None => sample,
        });
    }
}

#[cfg(test)]
mod tests;
