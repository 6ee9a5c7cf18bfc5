//! The judge of a lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datapath_abi::policy::{OPEN, Opener, Question};
use tokio::sync::mpsc;

use super::ruling::{Ruling, allows};
use super::seen::Seen;
use super::table::End;
use super::{Denied, Flow, FlowsOfLanes, Tables};
use crate::pace::Pace;
use crossway_sys::bpf_link::Attached;
use crossway_sys::clock;

/// Between two looks at whether the programs are still attached: a look takes a microsecond.
const LOOK_EACH: Duration = Duration::from_millis(1);
/// Denied packets that a lane tells control of in a second: more are neither answered nor told.
const TOLD_PER_SECOND: u32 = 100;
/// Bytes of a denied packet that control gets: all headers, and what an answer quotes.
pub(super) const HEAD: usize = 128;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the tunnel.
    Out,
    /// Out of the tunnel.
    In,
}

/// The head of a packet that was denied, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    head: [u8; HEAD],
    length: usize,
}

impl Refused {
    /// Of the packet.
    pub fn new(packet: &[u8]) -> Self {
        let length = packet.len().min(HEAD);
        let mut head = [0; HEAD];
        head[..length].copy_from_slice(&packet[..length]);
        Self { head, length }
    }

    /// The first bytes of the packet.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.length]
    }
}

/// Judges the packets of a lane, or leaves that to the programs.
pub(crate) struct Judge {
    /// Whether there is anything to judge here.
    active: bool,
    ruling: Arc<Ruling>,
    flows: Arc<FlowsOfLanes>,
    /// The programs judge as long as these are attached.
    programs: Option<Attached>,
    next_look: Instant,
    refused: mpsc::Sender<Refused>,
    pace: Pace,
}

/// What became of a question.
struct Judged {
    rule: u32,
    shadow_rule: u32,
}

impl Judge {
    /// One that judges itself, by nothing yet: everything passes.
    pub(crate) fn new(refused: mpsc::Sender<Refused>, now: Instant) -> Self {
        Self {
            active: false,
            ruling: Arc::new(Ruling::open()),
            flows: Arc::new(FlowsOfLanes::new(now)),
            programs: None,
            next_look: now,
            refused,
            pace: Pace::new(TOLD_PER_SECOND, now),
        }
    }

    /// Shares what is known of flows with the other lanes.
    pub(crate) fn share(&mut self, flows: Arc<FlowsOfLanes>) {
        self.flows = flows;
    }

    /// Goes by other rules from now on; gives back those of before, to be freed elsewhere.
    pub(crate) fn set_ruling(&mut self, ruling: Arc<Ruling>) -> Arc<Ruling> {
        let before = std::mem::replace(&mut self.ruling, ruling);
        self.decide();
        before
    }

    /// Leaves judging to the programs as long as they are attached, or takes it over.
    pub(crate) fn set_programs(&mut self, programs: Option<Attached>) {
        self.programs = programs;
        self.decide();
    }

    fn decide(&mut self) {
        self.active = self.ruling.asks() && self.programs.is_none();
        if self.ruling.asks() {
            // Mostly done by control before.
            self.flows.prepare();
        }
    }

    /// Looks whether the programs are still there, which somebody may have detached behind our back: then this lane judges
    /// from the next packet on.
    #[inline]
    pub(crate) fn look(&mut self, now: Instant) {
        if now >= self.next_look && self.programs.is_some() {
            self.next_look = now + LOOK_EACH;
            self.look_at_programs();
        }
    }

    fn look_at_programs(&mut self) {
        let gone = |programs: &Attached| !programs.are_attached();
        if self.ruling.asks() && self.programs.as_ref().is_some_and(gone) {
            self.set_programs(None);
        }
    }

    /// Whether a packet may go on.
    #[inline]
    pub(crate) fn admits(&mut self, packet: &[u8], way: Way, now: Instant) -> bool {
        !self.active || self.judge(packet, way, now)
    }

    fn judge(&mut self, packet: &[u8], way: Way, now: Instant) -> bool {
        let Some(tables) = self.flows.tables.get() else {
            return false;
        };
        let Some(seen) = Seen::read(packet) else {
            // Nobody can say whether a rule allows it.
            return !self.ruling.active.is_closed();
        };
        let seconds = self.flows.seconds(now);
        let opening = seen.opening();
        let judged = if opening.is_error() {
            Some(self.ask_about_error(&seen))
        } else if opening.asks_again(true) {
            // Of no flow that could be known.
            Some(self.ask(&seen.question(opening.opener())))
        } else {
            self.judge_flow(tables, &seen, seconds)
        };
        let Some(Judged { rule, shadow_rule }) = judged else {
            return true;
        };
        if allows(rule) {
            return true;
        }
        remember_denied((tables, seconds), &seen, way, (packet.len(), shadow_rule));
        if self.pace.admits(now) {
            // Where control has no room, nobody is told.
            let _ = self.refused.try_send(Refused::new(packet));
        }
        false
    }

    /// `None` for a packet of a flow that is known to be allowed.
    fn judge_flow(&self, tables: &Tables, seen: &Seen, now: u32) -> Option<Judged> {
        let (key, sender) = seen.key();
        let (opening, flags) = (seen.opening(), seen.headers.tcp_flags);
        let mut opener = opening.opener();
        let mut place = tables.allowed.place(&key);
        let generation = self.ruling.generation();
        let mut known = None;
        if let Some(entry) = place.entry().filter(|entry| !entry.is_over(now)) {
            let flow = &mut entry.value;
            // Who asks for a new connection opens it, whoever opened the one before.
            let same = !opening.asks_again(flow.opener == Some(sender));
            if same && flow.generation == generation {
                entry.last = now;
                flow.flags[sender as usize] |= flags;
                return None;
            }
            if same {
                opener = opener_of(flow.opener, sender);
                known = Some(*flow);
            }
        }
        let judged = self.ask(&seen.question(opener));
        if allows(judged.rule) {
            if known.is_none() {
                self.count(&judged);
            }
            let mut flags_of = known.map_or([0; 2], |flow| flow.flags);
            flags_of[sender as usize] |= flags;
            let flow = Flow {
                generation,
                opener: end_of(opener, sender),
                flags: flags_of,
            };
            place.set(now, flow);
        } else if known.is_some() {
            place.remove();
        }
        Some(judged)
    }

    /// Of an ICMP error: by a rule that lets its sender send it, or by what it is about.
    fn ask_about_error(&self, seen: &Seen) -> Judged {
        let itself = self.ask(&seen.question(Opener::Sender));
        match &seen.quoted {
            Some(quoted) if !allows(itself.rule) => self.ask(&quoted.question()),
            _ => itself,
        }
    }

    fn ask(&self, question: &Question<'_>) -> Judged {
        let shadow = self.ruling.shadow.as_ref();
        Judged {
            rule: self.ruling.active.judge(question),
            shadow_rule: shadow.map_or(OPEN, |shadow| shadow.judge(question)),
        }
    }

    fn count(&self, judged: &Judged) {
        self.ruling.active.count(judged.rule);
        if let Some(shadow) = &self.ruling.shadow {
            shadow.count(judged.shadow_rule);
        }
    }
}

/// Notes a packet that was denied.
fn remember_denied(
    (tables, now): (&Tables, u32),
    seen: &Seen,
    way: Way,
    (length, shadow_rule): (usize, u32),
) {
    let (key, sender) = seen.key();
    let now_ns = clock::monotonic_ns();
    let mut place = tables.denied.place(&key);
    let known = place.entry().map(|entry| entry.value);
    let local = match way {
        Way::Out => sender,
        Way::In => sender.other(),
    };
    place.set(
        now,
        Denied {
            first_ns: known.map_or(now_ns, |known| known.first_ns),
            last_ns: now_ns,
            packets: known.map_or(0, |known| known.packets) + 1,
            bytes: known.map_or(0, |known| known.bytes) + length as u64,
            local,
            sender,
            shadow_rule,
        },
    );
}

/// Who opened a flow that is known, as seen from the sender of a packet.
fn opener_of(opener: Option<End>, sender: End) -> Opener {
    match opener {
        None => Opener::Either,
        Some(end) if end == sender => Opener::Sender,
        Some(_) => Opener::Receiver,
    }
}

fn end_of(opener: Opener, sender: End) -> Option<End> {
    match opener {
        Opener::Either => None,
        Opener::Sender => Some(sender),
        Opener::Receiver => Some(sender.other()),
    }
}
