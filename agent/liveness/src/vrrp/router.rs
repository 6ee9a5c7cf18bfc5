//! The state machine of one virtual router (RFC 5798, 6.4).
//!
//! Pure: `handle_*` takes what happens and the time, [`Router::poll_action`] gives what is to be done
//! in its order, [`Router::poll_timeout`] says when to call [`Router::handle_timeout`] next.
//!
//! Beyond the RFC, all of it invisible to a mate: the master says its advertisement at once when it
//! hears a lesser one (RFC 9568, 6.4.3), so that a healed split ends with the next packet; priority and
//! interval may change while it runs; and the hosts are told three times.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::packet::Advertisement;
use super::{Interval, OWNER, RELEASE};

/// Time between the announcements of a new master, and how many follow the first
/// (RFC 4861, 10: RETRANS_TIMER and MAX_NEIGHBOR_ADVERTISEMENT).
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
const ANNOUNCEMENTS_TO_FOLLOW: u8 = 2;
/// A lesser master is answered at most this often: whoever sends a flood of them gets none back.
const ASSERT_AT_MOST: Duration = Duration::from_millis(100);
/// How long a second master is shown after it was heard last.
const RIVAL_IS_SHOWN: Duration = Duration::from_secs(10);

/// RFC 5798, 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not taking part.
    Initialize,
    /// Listening to a master.
    Backup,
    /// Forwarding for the virtual addresses.
    Master,
}

impl State {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

/// What may change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// 1 to 255; [`OWNER`] never waits.
    pub priority: u8,
    /// Time between our own advertisements.
    pub interval: Interval,
    /// Whether to take over from a master of lower priority that works.
    pub preempt: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement with this priority.
    Advertise(u8),
    /// Bring the virtual MAC up with its addresses.
    Take,
    /// Tell hosts and switches where the addresses are.
    Announce,
    /// Take the virtual MAC down.
    Give,
    /// Report it.
    Report(Change),
    /// Report that another is master too: the LAN was or is split.
    ReportRival(Heard),
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why.
    pub why: Why,
}

/// Why a state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It begins to take part, and waits for a master to show.
    Started,
    /// It begins, and has the highest priority there is.
    Owner,
    /// The agent before this one was master until a moment ago, and has handed over to it.
    HandedOver,
    /// No advertisement for so long, from the master there was, if there was one.
    Silence(Duration, Option<IpAddr>),
    /// The master said that it stops.
    Released(IpAddr),
    /// The master has a lower priority than we.
    Preempted(IpAddr, u8),
    /// Another master goes before us: it has this priority, or the same as we and the higher address.
    Outranked(IpAddr, u8),
    /// It takes part no longer.
    Stopped(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |span: &Duration| span.as_millis() as f64 / 1000.0;
        match self {
            Self::Started => f.write_str("listening for a master"),
            Self::Owner => f.write_str("priority 255 is master at once"),
            Self::HandedOver => f.write_str("the previous agent was master and handed over"),
            Self::Silence(span, Some(master)) => {
                let span = seconds(span);
                write!(f, "no advertisement from {master} for {span} s")
            }
            Self::Silence(span, None) => {
                write!(f, "no master was heard for {} s", seconds(span))
            }
            Self::Released(master) => write!(f, "{master} stopped and released the addresses"),
            Self::Preempted(master, priority) => {
                write!(f, "master {master} has the lower priority {priority}")
            }
            Self::Outranked(master, priority) => {
                write!(
                    f,
                    "master {master} with priority {priority} takes precedence"
                )
            }
            Self::Stopped(why) => f.write_str(why),
        }
    }
}

/// The last advertisement of another router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its primary address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// Its interval.
    pub interval: Interval,
    /// When.
    pub at: Instant,
}

impl Heard {
    /// Whether it is still a master as far as one can tell: three of its intervals have not passed.
    pub fn is_master(&self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(self.at);
        self.priority != RELEASE && silence < self.interval.duration() * 3
    }

    /// Whether it is worth a word as a second master, or was until a moment ago.
    pub fn is_rival(&self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(self.at);
        silence < RIVAL_IS_SHOWN.max(self.interval.duration() * 3)
    }
}

/// One virtual router.
#[derive(Debug)]
pub struct Router {
    settings: Settings,
    /// Our primary address: the tie-breaker of equal priorities.
    local: IpAddr,
    state: State,
    timer: Timer,
    announce_again: Option<(Instant, u8)>,
    asserted: Option<Instant>,
    heard: Option<Heard>,
    /// Heard while we are master.
    rival: Option<Heard>,
    /// Since when we are master, if we are.
    master_since: Option<Instant>,
    actions: VecDeque<Action>,
}

/// A timer, by what it waits for and from when it counts. The span follows from the settings, so that a
/// change of these changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// None runs.
    Off,
    /// Adver_Timer.
    Advertise { since: Instant },
    /// Master_Down_Timer, at the interval of the master.
    MasterDown { since: Instant, interval: Interval },
    /// Master_Down_Timer behind a master that stopped: Skew_Time.
    Skew { since: Instant, interval: Interval },
}

impl Router {
    /// In state Initialize; [`Self::start`] it.
    pub fn new(settings: Settings, local: IpAddr) -> Self {
        Self {
            settings,
            local,
            state: State::Initialize,
            timer: Timer::Off,
            announce_again: None,
            asserted: None,
            heard: None,
            rival: None,
            master_since: None,
            actions: VecDeque::new(),
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The last advertisement that another router sent.
    pub fn heard(&self) -> Option<&Heard> {
        self.heard.as_ref()
    }

    /// While we are master: another that said so too, and was heard lately.
    pub fn rival(&self) -> Option<&Heard> {
        self.rival.as_ref()
    }

    /// Begins to take part, with this primary address (6.4.1).
    pub fn start(&mut self, now: Instant, local: IpAddr) {
        if self.state != State::Initialize {
            return;
        }
        self.local = local;
        self.heard = None;
        if self.settings.priority == OWNER {
            self.become_master(now, Why::Owner);
        } else {
            self.become_backup(now, self.settings.interval, Why::Started);
        }
    }

    /// Goes on as the master that an agent before us was, whose device is up still.
    pub fn resume(&mut self, now: Instant, local: IpAddr) {
        if self.state == State::Initialize {
            self.local = local;
            self.become_master(now, Why::HandedOver);
        }
    }

    /// Takes part no longer; a master says so, for its mate to take over at once.
    pub fn stop(&mut self, why: impl Into<String>) {
        match self.state {
            State::Initialize => return,
            State::Backup => {}
            State::Master => {
                self.push(Action::Advertise(RELEASE));
                self.push(Action::Give);
            }
        }
        self.timer = Timer::Off;
        self.announce_again = None;
        self.change(State::Initialize, Why::Stopped(why.into()));
    }

    /// Takes other settings. A master tells its new priority at once.
    pub fn set(&mut self, now: Instant, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        if self.state == State::Master {
            self.advertise(now);
        }
    }

    /// Takes another primary address, which the next advertisement comes from.
    pub fn set_local(&mut self, local: IpAddr) {
        self.local = local;
    }

    /// Takes an advertisement of this virtual router from another one's primary address.
    pub fn handle_advertisement(
        &mut self,
        now: Instant,
        from: IpAddr,
        advertisement: &Advertisement,
    ) {
        if from == self.local || self.state == State::Initialize {
            return;
        }
        let heard = Heard {
            address: from,
            priority: advertisement.priority,
            interval: advertisement.interval,
            at: now,
        };
        match self.state {
            State::Initialize => {}
            State::Backup => self.hear_as_backup(heard),
            State::Master => self.hear_as_master(heard),
        }
        self.heard = Some(heard);
    }

    /// 6.4.2, (420) and following.
    fn hear_as_backup(&mut self, heard: Heard) {
        let Heard { interval, at, .. } = heard;
        let preempts = self.settings.preempt || self.settings.priority == OWNER;
        if heard.priority == RELEASE {
            // At the pace of the master so far: what a leaving one says of it is void.
            let interval = self.master_interval().unwrap_or(interval);
            self.timer = Timer::Skew {
                since: at,
                interval,
            };
        } else if !preempts || heard.priority >= self.settings.priority {
            self.timer = Timer::MasterDown {
                since: at,
                interval,
            };
        }
    }

    /// 6.4.3, (705) and following.
    fn hear_as_master(&mut self, heard: Heard) {
        let goes_before = heard.priority > self.settings.priority
            || heard.priority == self.settings.priority && heard.address > self.local;
        if heard.priority == RELEASE {
            self.advertise(heard.at);
        } else if goes_before {
            self.push(Action::Give);
            self.announce_again = None;
            let why = Why::Outranked(heard.address, heard.priority);
            self.become_backup(heard.at, heard.interval, why);
        } else {
            self.note_rival(heard);
            self.assert_mastery(heard.at);
        }
    }

    /// One whose last advertisement crossed our first is none.
    fn note_rival(&mut self, heard: Heard) {
        let crossed = self.master_since.is_some_and(|since| {
            heard.at.saturating_duration_since(since) < heard.interval.duration()
        });
        if crossed {
            return;
        }
        let before = self.rival.replace(heard);
        if before.is_none_or(|before| !before.is_rival(heard.at)) {
            self.push(Action::ReportRival(heard));
        }
    }

    /// The lesser master, and switches that learned the MAC at its port, hear from us.
    fn assert_mastery(&mut self, now: Instant) {
        let due = self
            .asserted
            .is_none_or(|last| now.saturating_duration_since(last) >= ASSERT_AT_MOST);
        if due {
            self.asserted = Some(now);
            self.push(Action::Advertise(self.settings.priority));
        }
        self.announce_again.get_or_insert((now + ANNOUNCE_AGAIN, 1));
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let again = self.announce_again.map(|(at, _)| at);
        [self.timer_due(), again].into_iter().flatten().min()
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((at, left)) = self.announce_again
            && now >= at
        {
            self.push(Action::Announce);
            self.announce_again = (left > 1).then(|| (now + ANNOUNCE_AGAIN, left - 1));
        }
        let Some(due) = self.timer_due().filter(|due| now >= *due) else {
            return;
        };
        match self.timer {
            Timer::Off => {}
            Timer::Advertise { .. } => {
                // Not later each time by the delay of the last; but what was missed is not made up for.
                let late = now.saturating_duration_since(due);
                let kept = late < self.settings.interval.duration();
                self.advertise(if kept { due } else { now });
            }
            Timer::MasterDown { since, .. } | Timer::Skew { since, .. } => {
                let why = self.why_take_over(now, since);
                self.become_master(now, why);
            }
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Skew_Time at the master's interval (6.1): routers of higher priority wait less.
    fn skew(&self, interval: Interval) -> Duration {
        interval.duration() * (256 - u32::from(self.settings.priority)) / 256
    }

    fn timer_due(&self) -> Option<Instant> {
        Some(match self.timer {
            Timer::Off => return None,
            Timer::Advertise { since } => since + self.settings.interval.duration(),
            Timer::MasterDown { since, interval } => {
                since + interval.duration() * 3 + self.skew(interval)
            }
            Timer::Skew { since, interval } => since + self.skew(interval),
        })
    }

    /// Master_Adver_Interval, in Backup.
    fn master_interval(&self) -> Option<Interval> {
        match self.timer {
            Timer::MasterDown { interval, .. } | Timer::Skew { interval, .. } => Some(interval),
            Timer::Off | Timer::Advertise { .. } => None,
        }
    }

    fn why_take_over(&self, now: Instant, since: Instant) -> Why {
        match &self.heard {
            Some(heard) if heard.priority == RELEASE => Why::Released(heard.address),
            // Heard, but the timer ran on.
            Some(heard) if heard.at > since => Why::Preempted(heard.address, heard.priority),
            heard => {
                let silence = now.saturating_duration_since(since);
                Why::Silence(silence, heard.map(|heard| heard.address))
            }
        }
    }

    fn become_master(&mut self, now: Instant, why: Why) {
        // Before the master there is learns of it: no moment is without one that forwards.
        self.push(Action::Take);
        self.master_since = Some(now);
        self.advertise(now);
        self.push(Action::Announce);
        self.announce_again = Some((now + ANNOUNCE_AGAIN, ANNOUNCEMENTS_TO_FOLLOW));
        self.change(State::Master, why);
    }

    fn become_backup(&mut self, now: Instant, interval: Interval, why: Why) {
        self.timer = Timer::MasterDown {
            since: now,
            interval,
        };
        self.change(State::Backup, why);
    }

    fn advertise(&mut self, since: Instant) {
        self.push(Action::Advertise(self.settings.priority));
        self.timer = Timer::Advertise { since };
    }

    fn change(&mut self, to: State, why: Why) {
        let from = std::mem::replace(&mut self.state, to);
        if from == State::Master {
            (self.rival, self.master_since) = (None, None);
        }
        self.push(Action::Report(Change { from, to, why }));
    }

    fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}

#[cfg(test)]
mod tests;
