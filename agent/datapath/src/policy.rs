//! The policy: the images of its rules, and what the programs have judged by them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuValues, RingBuf};
use datapath_abi::flow::FlowKey;
use datapath_abi::maps;
use datapath_abi::policy::{
    Denied, Line, NO_RULE16, OPEN16, RULE_SLOTS, Refused, RuleFlows, rule_slot,
};
use datapath_abi::user::{RuleSets, removed};
use tokio::io::unix::AsyncFd;

use super::settings::SharedSettings;
use super::sys::ring;
use super::take;

/// Which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSet {
    /// Those that are enforced.
    Active,
    /// Those that are only judged and counted.
    Shadow,
}

impl RuleSet {
    fn slot(self) -> u32 {
        match self {
            Self::Active => maps::ACTIVE_RULES,
            Self::Shadow => maps::SHADOW_RULES,
        }
    }

    fn of(self, flows: &mut RuleFlows) -> &mut u64 {
        match self {
            Self::Active => &mut flows.active,
            Self::Shadow => &mut flows.shadow,
        }
    }
}

/// Counts of new flows by what their rules said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Of each rule.
    pub rules: Vec<RuleFlows>,
    /// That no rule allows.
    pub no_rule: RuleFlows,
    /// Of open vnets.
    pub open: RuleFlows,
}

/// The maps POLICY, DENIED and POLICY_RULES.
///
/// Without an image nothing is allowed: before the programs have one, they drop what they judge. An agent that takes
/// over finds the images of the agent before in force, and sets its own.
pub struct Policy {
    sets: RuleSets,
    settings: SharedSettings,
    denied: HashMap<MapData, FlowKey, Denied>,
    rules: PerCpuArray<MapData, RuleFlows>,
    /// By slot.
    in_force: [InForce; maps::RULE_SETS],
}

impl Policy {
    pub(super) fn new(programs: &mut Ebpf, settings: SharedSettings) -> Result<Self> {
        Ok(Self {
            sets: RuleSets::new(take(programs, maps::POLICY)?),
            settings,
            denied: take(programs, maps::DENIED)?,
            rules: take(programs, maps::POLICY_RULES)?,
            in_force: [InForce::Found; maps::RULE_SETS],
        })
    }

    /// Makes these lines the image of a rule set; none are open for all. If they are not yet, every flow is then judged
    /// again with its next packet (one that stays allowed loses none), and new flows of the set are counted from zero.
    /// Takes about a microsecond for each line. After an error either image may be in force, until one is set.
    pub fn set(&mut self, set: RuleSet, lines: &[Line]) -> Result<()> {
        let slot = set.slot();
        let hash = hash_of(lines);
        let is_there = || self.sets.is(slot, lines).unwrap_or(false);
        let work = self.in_force[slot as usize].begin(hash, is_there);
        if work == Work::Whole {
            self.sets.set(slot, lines).context(maps::POLICY)?;
        }
        if work != Work::Nothing {
            // The image first: see `flow.rs` of the programs.
            self.settings.raise_route_generation()?;
        }
        if work == Work::Whole {
            self.forget_counts(set)?;
        }
        self.in_force[slot as usize] = InForce::Set(hash);
        Ok(())
    }

    /// The new flows of the first so many rules, and of no rule.
    pub fn counts(&self, rules: usize) -> Result<RuleCounts> {
        let read = |slot| -> Result<RuleFlows> {
            let each = self.rules.get(&slot, 0).context(maps::POLICY_RULES)?;
            let sum = |of: fn(&RuleFlows) -> u64| each.iter().map(of).sum();
            Ok(RuleFlows {
                active: sum(|flows| flows.active),
                shadow: sum(|flows| flows.shadow),
            })
        };
        let last = rules.min(datapath_abi::policy::MAX_RULES) as u32;
        Ok(RuleCounts {
            rules: (0..last).map(read).collect::<Result<_>>()?,
            no_rule: read(rule_slot(NO_RULE16))?,
            open: read(rule_slot(OPEN16))?,
        })
    }

    /// The flows that were denied last, at most [`maps::DENIED_FLOWS`], in no order.
    pub fn denied(&self) -> Result<Vec<(FlowKey, Denied)>> {
        let mut denied = Vec::new();
        for entry in &self.denied {
            match entry {
                Ok(entry) => denied.push(entry),
                // It gave way to another while we read.
                Err(aya::maps::MapError::KeyNotFound) => {}
                Err(error) => return Err(error).context(maps::DENIED),
            }
        }
        Ok(denied)
    }

    /// Takes a denied flow off the list; whether it was there.
    pub fn forget_denied(&mut self, key: &FlowKey) -> Result<bool> {
        removed(self.denied.remove(key)).context(maps::DENIED)
    }

    fn forget_counts(&mut self, set: RuleSet) -> Result<()> {
        for slot in 0..RULE_SLOTS as u32 {
            let each = self.rules.get(&slot, 0).context(maps::POLICY_RULES)?;
            let mut each = each.to_vec();
            let mut counted = false;
            for flows in &mut each {
                counted |= std::mem::take(set.of(flows)) != 0;
            }
            if counted {
                let each = PerCpuValues::try_from(each)?;
                self.rules.set(slot, each, 0).context(maps::POLICY_RULES)?;
            }
        }
        Ok(())
    }
}

/// The image of a rule set, as far as this agent knows. By a hash of what it has set: once it has
/// dropped its privileges, it cannot read what is in force, and an image may be too large to be kept
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InForce {
    /// That of the agent before, at the start.
    Found,
    /// One was begun and not finished: it may be in force or not, and flows be judged by it or not.
    Unknown,
    /// What has this hash.
    Set(u64),
}

/// What puts an image in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// It is.
    Nothing,
    /// Having flows judged again: an agent that was killed may not have come to that.
    Judging,
    /// The image, then judging flows again, then counting from zero.
    Whole,
}

impl InForce {
    /// What is to be done for an image. Until it is done, nobody knows what is in force.
    fn begin(&mut self, hash: u64, is_there: impl FnOnce() -> bool) -> Work {
        match std::mem::replace(self, Self::Unknown) {
            Self::Set(known) if known == hash => Work::Nothing,
            Self::Found if is_there() => Work::Judging,
            Self::Found | Self::Unknown | Self::Set(_) => Work::Whole,
        }
    }
}

fn hash_of(lines: &[Line]) -> u64 {
    let mut hasher = DefaultHasher::new();
    lines.hash(&mut hasher);
    hasher.finish()
}

/// Packets that the programs have denied, few of many: for answers to them, and events. Belongs to one load of the
/// programs, as [`super::ProgramLog`].
pub struct RefusedPackets {
    ring: AsyncFd<RingBuf<MapData>>,
}

/// Records that are read in one go.
const BATCH: usize = 64;

impl RefusedPackets {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let ring = take(programs, maps::REFUSED)?;
        let ring = ring::watch_records(ring).context("wait for packets that were denied")?;
        Ok(Self { ring })
    }

    /// Waits for packets, and hands over those that have come, but no more than a batch. May be cancelled while it
    /// waits.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self, mut on_packet: impl FnMut(&Refused)) -> io::Result<()> {
        let mut ready = self.ring.readable_mut().await?;
        let ring = ready.get_inner_mut();
        for _ in 0..BATCH {
            let Some(record) = ring.next() else {
                ready.clear_ready();
                return Ok(());
            };
            if let Some(refused) = Refused::of_record(&record) {
                on_packet(&refused);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_the_image_of_before_is_set_again() {
        let mut in_force = InForce::Set(1);
        assert_eq!(in_force.begin(1, || true), Work::Nothing);
        in_force = InForce::Set(1);
        // This one is begun and fails.
        assert_eq!(in_force.begin(2, || true), Work::Whole);
        assert_eq!(in_force.begin(1, || true), Work::Whole);
        assert_eq!(in_force.begin(1, || true), Work::Whole);
    }

    #[test]
    fn an_image_that_was_found_stays_and_has_flows_judged_again() {
        let mut in_force = InForce::Found;
        assert_eq!(in_force.begin(1, || true), Work::Judging);
        // That has failed.
        assert_eq!(in_force.begin(1, || true), Work::Whole);
        in_force = InForce::Found;
        assert_eq!(in_force.begin(1, || false), Work::Whole);
    }
}
