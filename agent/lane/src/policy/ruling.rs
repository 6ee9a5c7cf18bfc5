//! A rule set as the lanes go by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datapath_abi::policy::{CLOSED, HEAD_LINES, Line, NO_RULE, OPEN, Question, judge};

/// The active rules with the shadow rules, under a number that no others have had.
#[derive(Debug)]
pub struct Ruling {
    generation: u32,
    pub(super) active: RuleSet,
    pub(super) shadow: Option<RuleSet>,
}

/// An image, and the new flows that its rules have allowed.
#[derive(Debug)]
pub struct RuleSet {
    image: Arc<[Line]>,
    new_flows: Box<[AtomicU64]>,
}

impl Ruling {
    /// These images; `generation` is not zero.
    pub fn new(generation: u32, active: Arc<[Line]>, shadow: Option<Arc<[Line]>>) -> Self {
        Self {
            generation,
            active: RuleSet::new(active),
            shadow: shadow.map(RuleSet::new),
        }
    }

    /// A ruling under which everything passes.
    pub fn open() -> Self {
        Self::new(1, Arc::new([]), None)
    }

    /// Its number.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The rules that are enforced.
    pub fn active(&self) -> &RuleSet {
        &self.active
    }

    /// The rules that are only counted.
    pub fn shadow(&self) -> Option<&RuleSet> {
        self.shadow.as_ref()
    }

    /// Whether anything is to be judged by it.
    pub fn asks(&self) -> bool {
        self.active.is_closed() || self.shadow.as_ref().is_some_and(RuleSet::is_closed)
    }
}

impl RuleSet {
    fn new(image: Arc<[Line]>) -> Self {
        let rules = image.first().map_or(0, |head| head[1]);
        Self {
            image,
            new_flows: (0..rules).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether any virtual network denies what no rule allows.
    pub fn is_closed(&self) -> bool {
        let vnets = self.image.get(HEAD_LINES as usize..).unwrap_or_default();
        let count = self.image.first().map_or(0, |head| head[6] as usize);
        vnets.iter().take(count).any(|vnet| vnet[0] & CLOSED != 0)
    }

    /// The rule that allows a flow, as [`judge`] says it. Without an image all is open.
    pub(super) fn judge(&self, question: &Question<'_>) -> u32 {
        if self.image.is_empty() {
            return OPEN;
        }
        judge(&self.image[..], question)
    }

    /// A new flow was allowed by `rule`.
    pub(super) fn count(&self, rule: u32) {
        if let Some(count) = self.new_flows.get(rule as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// New flows that each rule has allowed in the lanes since it is in force.
    pub fn new_flows(&self) -> impl Iterator<Item = u64> {
        let counts = self.new_flows.iter();
        counts.map(|count| count.load(Ordering::Relaxed))
    }
}

/// Whether an answer of [`judge`] lets a flow pass.
pub(super) fn allows(rule: u32) -> bool {
    rule != NO_RULE
}
