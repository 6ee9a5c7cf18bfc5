//! The steps by which a gateway becomes what it should be, and the one order in which they are taken. Pure.
//!
//! The order is that of the variants of [`Step`], and these are its reasons:
//!
//! - The policy comes before all that a packet could go by.
//! - A packet never meets a step whose next is missing: links, then the lanes' routes, then SITES, then the
//!   kernel's routes, then those of the fast path, then the programs at their hooks.
//! - A link knows its interface before it is dialled, and flows have left it before its far end is told
//!   that it is drained. What needs netlink comes after what moves flows.
//! - The programs learn that a site is down before the kernel's route to it is swapped: they leave its packets
//!   to the kernel.
//! - A number that goes to another site starts to count at zero: it is forgotten before SITES is written. A number
//!   that nobody has any more loses its routes first.
//! - A site that came up raises the priority of virtual routers, and hosts come to us at once: its routes are there by
//!   then. A site that went down lowers it with the states: the sooner hosts go to the mate, the better.
//! - Virtual routers leave before the host takes their devices away, and come once the host has made them. They
//!   do not wait for the fast path: at a hand-over the mate must not miss three advertisements, and a million
//!   routes take longer. Until then the kernel forwards.

use std::ops::{BitOr, BitOrAssign};

/// A step. A smaller one is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Hands over the virtual routers that the file does not name any more.
    FormerRouters,
    /// The policy, in programs and lanes.
    Policy,
    /// Index and MTU of the tunnel device; the lanes learn the MTU.
    Tunnel,
    /// The receiver indices that `wan_guard` lets through.
    Sessions,
    /// The lanes' peers.
    Links,
    /// Carriers, indices and MTUs of the WAN interfaces, by which links live and leave.
    Wans,
    /// The addresses that links speak from, where the way to a far gateway has moved to another uplink.
    Sources,
    /// How this gateway serves its LAN.
    Service,
    /// Which links carry the flows, and what far ends are told.
    Ranks,
    /// Changes of links and sites for the journal, and which sites are down; virtual routers are told of that.
    States,
    /// The lanes' routes.
    LaneRoutes,
    /// Counters of numbers that other sites have now.
    ReusedSites,
    /// The map SITES.
    Sites,
    /// Dials the links whose turn it is.
    Dials,
    /// Changes of interfaces, for the journal and the health of the LAN.
    Interfaces,
    /// The targets whose answers tell whether the LAN is alive.
    HealthTargets,
    /// TUN, addresses, sysctls, devices of virtual routers, and the kernel's routes.
    Host,
    /// The kernel's routes alone.
    KernelRoutes,
    /// Tells the virtual routers that more sites can be reached.
    Reached,
    /// Starts, changes and stops virtual routers.
    Routers,
    /// The maps ROUTES4 and ROUTES6.
    FastPathRoutes,
    /// Counters of numbers that no site has any more.
    FreeSites,
    /// Which interface has which role for the programs.
    InterfaceRoles,
    /// The programs at their hooks.
    Programs,
    /// Whether these judge by the policy, or the lanes.
    Judges,
    /// Which program chooses the lane of a packet.
    Steering,
}

/// What is known of a step beside what it does.
pub struct Rule {
    /// The step.
    pub step: Step,
    /// What is not in order while it fails, for people.
    pub name: &'static str,
    /// It is not taken while one of these has yet to succeed.
    pub waits_for: Dirty,
    /// What it does along the way when it succeeds.
    pub covers: Dirty,
}

impl Step {
    /// In their order.
    pub const RULES: [Rule; 26] = [
        rule(Step::FormerRouters, "virtual routers that are gone"),
        rule(Step::Policy, "the policy"),
        rule(Step::Tunnel, "the tunnel device"),
        rule(Step::Sessions, "sessions of the fast path"),
        rule(Step::Links, "links"),
        rule(Step::Wans, "WAN interfaces"),
        rule(Step::Sources, "addresses that links speak from"),
        rule(Step::Service, "service of the LAN"),
        rule(Step::Ranks, "ranks of the links"),
        rule(Step::States, "states of the sites"),
        rule(Step::LaneRoutes, "routes of the lanes"),
        rule(Step::ReusedSites, "counters of new sites"),
        // A number's old counters are not a new site's.
        Rule {
            waits_for: Dirty::of(&[Step::ReusedSites]),
            ..rule(Step::Sites, "sites of the fast path")
        },
        rule(Step::Dials, "dialling"),
        rule(Step::Interfaces, "states of the interfaces"),
        rule(Step::HealthTargets, "health checks of the LAN"),
        Rule {
            covers: Dirty::of(&[Step::KernelRoutes]),
            ..rule(Step::Host, "the host")
        },
        rule(Step::KernelRoutes, "routes of the kernel"),
        Rule {
            waits_for: Dirty::of(&[Step::KernelRoutes]),
            ..rule(Step::Reached, "the priority of virtual routers")
        },
        rule(Step::Routers, "virtual routers"),
        // A route leads to a site that the programs know. It leaves out what the kernel keeps for itself, which is
        // known as soon as the kernel's routes have been read, whether or not ours could be set.
        Rule {
            waits_for: Dirty::of(&[Step::Sites]),
            ..rule(Step::FastPathRoutes, "routes of the fast path")
        },
        // No route leads to a site that the programs have forgotten.
        Rule {
            waits_for: Dirty::of(&[Step::FastPathRoutes]),
            ..rule(Step::FreeSites, "counters of sites that are gone")
        },
        rule(Step::InterfaceRoles, "interfaces of the fast path"),
        // No program carries packets that has not been told the rules.
        Rule {
            waits_for: Dirty::of(&[Step::Policy]),
            ..rule(Step::Programs, "programs of the fast path")
        },
        // Programs that were found on the tunnel device may have the rules of an agent before.
        Rule {
            waits_for: Dirty::of(&[Step::Policy, Step::Programs]),
            ..rule(Step::Judges, "who judges by the policy")
        },
        rule(Step::Steering, "choice of the lane by eBPF"),
    ];

    /// Its rule.
    pub fn rule(self) -> &'static Rule {
        &Self::RULES[self as usize]
    }
}

const fn rule(step: Step, name: &'static str) -> Rule {
    Rule {
        step,
        name,
        waits_for: Dirty::NONE,
        covers: Dirty::NONE,
    }
}

/// A set of steps that are due: what they care for may not be what it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Dirty(u32);

impl Dirty {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self((1 << Step::RULES.len()) - 1);

    /// These.
    pub const fn of(steps: &[Step]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < steps.len() {
            bits |= 1 << steps[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// All of this but those.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the step is among them.
    pub fn contains(self, step: Step) -> bool {
        self.meets(step.into())
    }

    /// Whether any step is in both.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These if `condition` holds.
    pub fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

impl From<Step> for Dirty {
    fn from(step: Step) -> Self {
        Self::of(&[step])
    }
}

impl<T: Into<Self>> BitOr<T> for Dirty {
    type Output = Self;

    fn bitor(self, other: T) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl BitOr for Step {
    type Output = Dirty;

    fn bitor(self, other: Self) -> Dirty {
        Dirty::of(&[self, other])
    }
}

impl<T: Into<Self>> BitOrAssign<T> for Dirty {
    fn bitor_assign(&mut self, other: T) {
        *self = *self | other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_step_in_its_place() {
        for (place, rule) in Step::RULES.iter().enumerate() {
            assert_eq!(rule.step as usize, place, "{:?}", rule.step);
            assert_eq!(rule.step.rule().name, rule.name);
        }
        let last = Step::Steering as usize;
        assert_eq!(last + 1, Step::RULES.len());
    }

    #[test]
    fn no_step_waits_for_itself_or_a_later_one() {
        for rule in &Step::RULES {
            let later = Step::RULES.iter().map(|other| other.step);
            for other in later.filter(|other| *other >= rule.step) {
                assert!(!rule.waits_for.contains(other), "{:?}", rule.step);
            }
        }
    }

    #[test]
    fn hosts_are_drawn_here_once_the_way_to_the_site_is_there() {
        for way in [Step::LaneRoutes, Step::Sites, Step::KernelRoutes] {
            assert!(way < Step::Reached, "{way:?}");
        }
        assert!(Step::Reached.rule().waits_for.contains(Step::KernelRoutes));
    }

    #[test]
    fn judging_is_left_to_nobody_who_has_not_been_told_the_rules() {
        let judges = Step::Judges.rule().waits_for;
        assert!(judges.contains(Step::Policy) && judges.contains(Step::Programs));
    }

    #[test]
    fn a_packet_never_meets_a_step_whose_next_is_missing() {
        let way = [
            Step::Links,
            Step::LaneRoutes,
            Step::Sites,
            Step::KernelRoutes,
            Step::FastPathRoutes,
            Step::Programs,
        ];
        assert!(way.is_sorted());
        assert!(Step::Policy < Step::Links && Step::Programs < Step::Judges);
        assert!(Step::ReusedSites < Step::Sites && Step::FastPathRoutes < Step::FreeSites);
        assert!(Step::FormerRouters < Step::Host && Step::Host < Step::Routers);
        assert!(Step::Routers < Step::FastPathRoutes && Step::Wans < Step::Dials);
    }

    #[test]
    fn sets_of_steps_are_joined_and_parted() {
        let set = Step::Links | Step::Host;
        assert!(set.contains(Step::Links) && !set.contains(Step::Sites));
        assert!(set.meets(Step::Host | Step::Sites) && !set.meets(Step::Sites.into()));
        assert_eq!(set.without(Step::Host.into()), Step::Links.into());
        assert_eq!(Dirty::ALL | set, Dirty::ALL);
        assert_eq!(set.when(false), Dirty::NONE);
    }
}
