//! When the agent takes a flow out of the table, and why.

use std::time::Duration;

use datapath_abi::flow::{FlowCounters, FlowKey};

const IPPROTO_TCP: u8 = 6;
const TCP_FIN: u8 = 0x01;
const TCP_RST: u8 = 0x04;

/// How full the table may be before flows are removed sooner, and where no silence is borne any more; between, the limits
/// shrink evenly (as with `adaptive.start` and `adaptive.end` of OpenBSD's pf). So the agent, which keeps the totals,
/// makes room before the kernel does, which keeps nothing. The rest is for what comes until the next step.
const PRESSURE_FROM: f64 = 0.625;
const PRESSURE_TO: f64 = 0.875;

/// After which silence a flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleLimits {
    /// For TCP connections that were reset, or closed from both sides.
    pub closed: Duration,
    /// For everything else.
    pub other: Duration,
    /// As `other`, while the table fills up: at most that.
    pub pressed: Duration,
}

impl Default for IdleLimits {
    fn default() -> Self {
        Self {
            closed: Duration::from_mins(1),
            other: Duration::from_mins(5),
            pressed: Duration::from_mins(5),
        }
    }
}

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowEnd {
    /// Silence.
    Idle,
    /// TCP was reset, or closed from both sides.
    Closed,
    /// The table was filling up, and this one had been silent for long.
    Pressure,
}

impl IdleLimits {
    /// These limits in a table that is `fill` full, from 0 to 1.
    pub(super) fn pressed_by(&self, fill: f64) -> Self {
        let left = ((PRESSURE_TO - fill) / (PRESSURE_TO - PRESSURE_FROM)).clamp(0.0, 1.0);
        Self {
            closed: self.closed.mul_f64(left),
            pressed: self.pressed.mul_f64(left),
            ..*self
        }
    }

    /// Why a flow is to be removed at `now_ns`, if it is.
    pub(super) fn end(
        &self,
        key: &FlowKey,
        counters: &FlowCounters,
        now_ns: u64,
    ) -> Option<FlowEnd> {
        // A packet may have come after the caller looked at the clock.
        let silence = u128::from(now_ns.saturating_sub(counters.last_seen_ns));
        let over = |limit: Duration| silence > limit.as_nanos();
        if key.protocol == IPPROTO_TCP && is_closed(counters) && over(self.closed) {
            return Some(FlowEnd::Closed);
        }
        if over(self.other) {
            return Some(FlowEnd::Idle);
        }
        over(self.pressed).then_some(FlowEnd::Pressure)
    }
}

fn is_closed(counters: &FlowCounters) -> bool {
    let (to, from) = (counters.tcp_flags_to_site, counters.tcp_flags_from_site);
    (to | from) & TCP_RST != 0 || to & from & TCP_FIN != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn end_after(
        limits: &IdleLimits,
        seconds: u64,
        protocol: u8,
        (to_site, from_site): (u8, u8),
    ) -> Option<FlowEnd> {
        let key = FlowKey {
            protocol,
            ..FlowKey::default()
        };
        let counters = FlowCounters {
            last_seen_ns: 1000 * SECOND,
            tcp_flags_to_site: to_site,
            tcp_flags_from_site: from_site,
            ..FlowCounters::default()
        };
        limits.end(&key, &counters, (1000 + seconds) * SECOND)
    }

    #[test]
    fn a_closed_connection_goes_after_a_minute_and_others_after_five() {
        let end =
            |seconds, protocol, flags| end_after(&IdleLimits::default(), seconds, protocol, flags);
        let (fin, rst) = (TCP_FIN, TCP_RST);
        assert_eq!(end(60, IPPROTO_TCP, (fin, fin)), None);
        assert_eq!(end(61, IPPROTO_TCP, (fin, fin)), Some(FlowEnd::Closed));
        assert_eq!(end(61, IPPROTO_TCP, (0, rst)), Some(FlowEnd::Closed));
        assert_eq!(end(61, IPPROTO_TCP, (fin, 0)), None);
        assert_eq!(end(300, IPPROTO_TCP, (0x12, 0x12)), None);
        assert_eq!(end(301, IPPROTO_TCP, (0x12, 0x12)), Some(FlowEnd::Idle));
        assert_eq!(end(61, 17, (rst, fin)), None);
    }

    #[test]
    fn a_table_that_fills_up_gives_flows_less_time() {
        let usual = IdleLimits::default();
        assert_eq!(usual.pressed_by(0.0), usual);
        assert_eq!(usual.pressed_by(0.625), usual);
        let half = usual.pressed_by(0.75);
        assert_eq!(end_after(&half, 149, 17, (0, 0)), None);
        assert_eq!(end_after(&half, 151, 17, (0, 0)), Some(FlowEnd::Pressure));
        assert_eq!(end_after(&half, 301, 17, (0, 0)), Some(FlowEnd::Idle));
        let closed = (TCP_FIN, TCP_FIN);
        assert_eq!(end_after(&half, 31, 6, closed), Some(FlowEnd::Closed));
        let full = usual.pressed_by(1.5);
        assert_eq!(end_after(&full, 1, 17, (0, 0)), Some(FlowEnd::Pressure));
        assert_eq!(end_after(&full, 0, 17, (0, 0)), None);
    }

    #[test]
    fn a_packet_later_than_the_clock_is_not_idle() {
        let counters = FlowCounters {
            last_seen_ns: u64::MAX,
            ..FlowCounters::default()
        };
        let limits = IdleLimits::default();
        assert_eq!(limits.end(&FlowKey::default(), &counters, 1), None);
    }
}
