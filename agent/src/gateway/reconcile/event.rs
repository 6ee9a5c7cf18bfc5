//! What becomes due by what happens. Pure.

use super::step::{Dirty, Step};

/// Something has happened that the gateway must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing is as it should be yet.
    Started,
    /// The lanes run as they should; all else is as the agent before wanted it.
    TakenOver,
    /// Another configuration is wanted.
    Reloaded {
        /// Whether the lanes need other routes.
        routes: bool,
    },
    /// An interface has come, gone, or changed its state.
    InterfaceChanged,
    /// The host has changed, and has been quiet since.
    HostSettled,
    /// Something is known of links that may change who carries the flows.
    LinksChanged,
    /// The LAN has died or come back, or another gateway serves it.
    LanChanged,
    /// The time has come for something that the links wait for.
    LinksDue,
    /// A second has passed.
    Tick,
}

/// What follows the links, whatever has changed them.
const FOLLOW_LINKS: Dirty = Dirty::of(&[Step::Ranks, Step::States]);

impl Event {
    /// The steps that it makes due.
    pub const fn dirty(self) -> Dirty {
        match self {
            // No other agent's program steers.
            Self::Started | Self::Reloaded { routes: true } => {
                Dirty::ALL.without(Dirty::of(&[Step::Steering]))
            }
            // The lanes have their routes. How the LAN is served was told by the agent before, and is judged
            // when the virtual routers run: before that, all would look like the standby's.
            Self::TakenOver => Dirty::ALL.without(Dirty::of(&[Step::LaneRoutes, Step::Service])),
            // The lanes' routes cost a copy of all.
            Self::Reloaded { routes: false } => {
                Dirty::ALL.without(Dirty::of(&[Step::Steering, Step::LaneRoutes]))
            }
            // At once: a carrier that is lost is not waited for.
            Self::InterfaceChanged => Dirty::of(&[Step::Wans, Step::Interfaces]),
            Self::HostSettled => Dirty::of(&[
                Step::Tunnel,
                Step::Sources,
                Step::Interfaces,
                Step::Host,
                Step::KernelRoutes,
                Step::Routers,
                Step::FastPathRoutes,
                Step::InterfaceRoles,
                Step::Programs,
                Step::Judges,
            ]),
            Self::LinksChanged => Dirty::of(&[Step::Ranks, Step::States, Step::Dials]),
            // What links speak from is known a second later at the most.
            Self::Tick => Dirty::of(&[Step::Sources, Step::Ranks, Step::States, Step::Dials]),
            Self::LanChanged => Dirty::of(&[Step::Service]),
            Self::LinksDue => FOLLOW_LINKS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_does_everything_but_what_a_take_over_needs() {
        let dirty = Event::Started.dirty();
        assert!(!dirty.contains(Step::Steering));
        assert_eq!(dirty | Step::Steering, Dirty::ALL);
    }

    #[test]
    fn a_take_over_leaves_lanes_and_service_as_they_were() {
        let dirty = Event::TakenOver.dirty();
        assert!(!dirty.meets(Step::LaneRoutes | Step::Service));
        assert!(dirty.contains(Step::Steering) && dirty.contains(Step::Routers));
    }

    #[test]
    fn a_reload_touches_the_lanes_routes_only_where_routes_differ() {
        let of = |routes| Event::Reloaded { routes }.dirty();
        assert!(of(true).contains(Step::LaneRoutes));
        assert_eq!(of(false) | Step::LaneRoutes, of(true));
    }

    #[test]
    fn a_lost_carrier_is_followed_without_a_look_at_the_whole_host() {
        let dirty = Event::InterfaceChanged.dirty();
        assert!(dirty.contains(Step::Wans) && !dirty.meets(Step::Host | Step::KernelRoutes));
        assert!(Event::HostSettled.dirty().contains(Step::Host));
    }

    #[test]
    fn a_tick_brings_nothing_forward_that_waits_to_be_tried_again() {
        // What it makes due can fail only with a lane, which ends the agent, or costs a question to the kernel.
        let harmless = Step::Ranks | Step::States;
        assert_eq!(
            Event::Tick
                .dirty()
                .without(harmless | Step::Dials | Step::Sources),
            Dirty::NONE
        );
        assert_eq!(Event::LinksDue.dirty(), harmless);
    }
}
