//! The priority follows what the gateway is good for: the sites that it reaches.

/// How many of the sites can be reached now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Sites with a usable link.
    pub usable: u32,
    /// All sites.
    pub all: u32,
}

impl Health {
    /// Whether there are sites, and none of them can be reached.
    pub fn reaches_nothing(self) -> bool {
        self.usable == 0 && self.all > 0
    }
}

/// The priority in force: `weight` is taken off in the share of the sites that cannot be reached,
/// rounded up, so that each of them counts. With a weight of `None`, and for the owner, it is `priority`.
pub fn priority(priority: u8, weight: Option<u8>, health: Health) -> u8 {
    let Some(weight) = weight.filter(|_| priority != super::OWNER && health.all > 0) else {
        return priority;
    };
    let (weight, all) = (u64::from(weight), u64::from(health.all));
    let missing = all - u64::from(health.usable).min(all);
    let off = (weight * missing).div_ceil(all);
    u8::try_from(u64::from(priority).saturating_sub(off))
        .unwrap_or(priority)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(usable: u32, all: u32) -> Health {
        Health { usable, all }
    }

    #[test]
    fn the_priority_falls_with_the_share_of_sites_that_are_away() {
        let full = |health| priority(150, Some(149), health);
        assert_eq!(full(at(4, 4)), 150);
        assert_eq!(full(at(3, 4)), 112);
        assert_eq!(full(at(2, 4)), 75);
        assert_eq!(full(at(0, 4)), 1);
        assert_eq!(priority(150, Some(60), at(0, 4)), 90);
    }

    #[test]
    fn who_reaches_one_site_of_many_reaches_something() {
        assert!(at(0, 4).reaches_nothing());
        assert!(!at(1, 4).reaches_nothing() && !at(0, 0).reaches_nothing());
    }

    #[test]
    fn one_of_many_sites_counts() {
        assert_eq!(priority(150, Some(20), at(9_999, 10_000)), 149);
    }

    #[test]
    fn without_sites_tracking_or_for_the_owner_nothing_is_taken_off() {
        assert_eq!(priority(150, Some(149), at(0, 0)), 150);
        assert_eq!(priority(150, None, at(0, 4)), 150);
        assert_eq!(priority(255, Some(254), at(0, 4)), 255);
    }

    #[test]
    fn it_never_becomes_0_which_says_that_a_master_stops() {
        for own in 1..=254 {
            assert!(priority(own, Some(255), at(0, 3)) >= 1);
            assert!(priority(own, Some(255), at(7, 3)) == own);
        }
    }
}
