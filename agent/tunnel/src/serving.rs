//! Which of a site's links carry its flows.

use super::PeerSlot;
use crossway_types::packet;

/// The links of a site, best first.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// Links of equal rank share the flows; a lower rank waits until all above it are dead.
    ranks: Vec<Vec<PeerSlot>>,
    /// Those that carry flows now.
    active: Vec<PeerSlot>,
}

impl Serving {
    /// Adds a link of which nothing is known: it shares the flows.
    pub(super) fn add(&mut self, slot: PeerSlot) {
        match self.ranks.first_mut() {
            Some(first) => first.push(slot),
            None => self.ranks.push(vec![slot]),
        }
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, slot: PeerSlot) {
        for rank in &mut self.ranks {
            rank.retain(|other| *other != slot);
        }
        self.ranks.retain(|rank| !rank.is_empty());
        self.active.retain(|other| *other != slot);
    }

    /// Takes an order.
    pub(super) fn set(&mut self, ranks: Vec<Vec<PeerSlot>>) {
        self.ranks = ranks;
    }

    /// The order.
    pub(super) fn ranks(&self) -> &[Vec<PeerSlot>] {
        &self.ranks
    }

    /// Takes an order that does not know of links that have been added since: those come last.
    pub(super) fn restore(&mut self, ranks: Vec<Vec<PeerSlot>>) {
        let new: Vec<PeerSlot> = self.ranks.iter().flatten().copied().collect();
        let known = |slot: &PeerSlot| ranks.iter().flatten().any(|other| other == slot);
        let new: Vec<PeerSlot> = new.into_iter().filter(|slot| !known(slot)).collect();
        self.ranks = ranks;
        self.ranks.push(new);
        self.ranks.retain(|rank| !rank.is_empty());
    }

    /// Chooses the eligible links of the highest rank that has any; all of the highest rank where none
    /// has, for they may be alive again before we know it.
    pub(super) fn choose(&mut self, eligible: impl Fn(PeerSlot) -> bool) {
        self.active.clear();
        for rank in &self.ranks {
            let alive = rank.iter().copied().filter(|slot| eligible(*slot));
            self.active.extend(alive);
            if !self.active.is_empty() {
                return;
            }
        }
        if let Some(first) = self.ranks.first() {
            self.active.extend_from_slice(first);
        }
    }

    /// The link of a flow, for which `hash` stands.
    #[inline]
    pub(super) fn link_of(&self, hash: impl FnOnce() -> u32) -> Option<PeerSlot> {
        match self.active.as_slice() {
            [] => None,
            [only] => Some(*only),
            several => Some(several[packet::share(hash(), several.len())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(serving: &mut Serving, alive: &[usize]) -> Vec<usize> {
        serving.choose(|slot| alive.contains(&slot.0));
        serving.active.iter().map(|slot| slot.0).collect()
    }

    #[test]
    fn the_best_rank_that_lives_carries_the_flows() {
        let mut serving = Serving::default();
        serving.set(vec![
            vec![PeerSlot(1), PeerSlot(2)],
            vec![PeerSlot(3)],
            vec![PeerSlot(4)],
        ]);
        assert_eq!(chosen(&mut serving, &[1, 2, 3, 4]), [1, 2]);
        assert_eq!(chosen(&mut serving, &[2, 3, 4]), [2]);
        assert_eq!(chosen(&mut serving, &[3, 4]), [3]);
        assert_eq!(chosen(&mut serving, &[4]), [4]);
        assert_eq!(
            chosen(&mut serving, &[]),
            [1, 2],
            "the best that may revive"
        );
        serving.remove(PeerSlot(1));
        serving.remove(PeerSlot(2));
        assert_eq!(chosen(&mut serving, &[]), [3]);
    }

    #[test]
    fn an_order_from_before_keeps_its_links_and_those_added_since_come_last() {
        let slots = |numbers: &[usize]| numbers.iter().copied().map(PeerSlot).collect::<Vec<_>>();
        let mut serving = Serving::default();
        (1..=4).for_each(|slot| serving.add(PeerSlot(slot)));
        serving.restore(vec![slots(&[3]), slots(&[]), slots(&[1])]);
        assert_eq!(serving.ranks(), [slots(&[3]), slots(&[1]), slots(&[2, 4])]);
        serving.restore(vec![slots(&[4, 2]), slots(&[1, 3])]);
        assert_eq!(serving.ranks(), [slots(&[4, 2]), slots(&[1, 3])]);
    }

    #[test]
    fn a_link_that_is_gone_carries_nothing_until_others_are_chosen() {
        let mut serving = Serving::default();
        serving.set(vec![vec![PeerSlot(1), PeerSlot(2)]]);
        assert_eq!(chosen(&mut serving, &[1, 2]), [1, 2]);
        serving.remove(PeerSlot(1));
        assert_eq!(serving.link_of(|| 0), Some(PeerSlot(2)));
        assert_eq!(serving.link_of(|| u32::MAX), Some(PeerSlot(2)));
    }

    #[test]
    fn flows_are_shared_evenly_and_each_keeps_its_link() {
        let mut serving = Serving::default();
        (0..3).for_each(|slot| serving.add(PeerSlot(slot)));
        serving.choose(|_| true);
        let mut flows = [0; 3];
        for flow in 0..3000u32 {
            let hash = flow.wrapping_mul(0x9e37_79b9);
            let slot = serving.link_of(|| hash).unwrap();
            assert_eq!(serving.link_of(|| hash), Some(slot));
            flows[slot.0] += 1;
        }
        assert!(
            flows.iter().all(|count| (900..1100).contains(count)),
            "{flows:?}"
        );
        assert_eq!(Serving::default().link_of(|| 0), None);
    }
}
