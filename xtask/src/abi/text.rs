//! The boundary as text: one line for each constant, struct, field and enum value.

use std::fmt::Write as _;
use std::mem::offset_of;

use datapath_abi::fault::{FAULT_INTERVAL_NS, FaultKind, PROGRAMS};
use datapath_abi::flow::{
    FLOW_STAT_COUNT, FlowCounters, FlowKey, FlowKey4, FlowStat, FlowVerdict, OpenedBy,
};
use datapath_abi::local::{LocalKey, VlanKey};
use datapath_abi::outcome::{DropReason, StackReason, Tally};
use datapath_abi::policy::{self, Denied, RuleFlows};
use datapath_abi::route::{Route, RouteKey4, RouteKey6, SITE_KERNEL, VNET_BITS};
use datapath_abi::settings::{
    ALSO_WAN, COUNTED_MARK, COUNTED_MARK_MASK, DEFAULT_VNET, Interface, InterfaceSlot, NAT, Role,
    SOFTWARE_GSO, STRICT_SOURCES, Settings,
};
use datapath_abi::site::{MAX_LANES, Site, SiteCounters, SiteState};
use datapath_abi::{ABI_VERSION, maps};

const HEADING: &str = "version ";

/// Size of a struct, and offset and size of each field. A field that is not listed does not compile.
macro_rules! layout {
    ($text:ident, $type:ident { $($field:ident),+ $(,)? }) => {{
        let $type { $($field),+ } = $type::default();
        let _ = writeln!($text, "struct {} {}", stringify!($type), size_of::<$type>());
        $(
            let _ = writeln!(
                $text, "  {} at {} size {}",
                stringify!($field), offset_of!($type, $field), size_of_val(&$field)
            );
        )+
    }};
}

/// Values of an enum. A variant that is not listed does not compile.
macro_rules! values {
    ($text:ident, $type:ident { $($variant:ident),+ $(,)? }) => {{
        let _ = |value: $type| match value { $($type::$variant)|+ => () };
        let _ = writeln!($text, "enum {} {}", stringify!($type), size_of::<$type>());
        $( let _ = writeln!($text, "  {} = {}", stringify!($variant), $type::$variant as u32); )+
    }};
}

macro_rules! constants {
    ($text:ident, $($path:expr),+ $(,)?) => {
        $( let _ = writeln!($text, "const {} = {}", stringify!($path), $path); )+
    };
}

/// The text of the code that this program was built with.
pub(super) fn generate() -> String {
    let mut text = format!("{HEADING}{ABI_VERSION}\n");
    write_constants(&mut text);
    write_structs(&mut text);
    write_policy(&mut text);
    write_enums(&mut text);
    text
}

/// The version that a text was recorded for.
pub(super) fn version(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix(HEADING)
}

fn write_constants(text: &mut String) {
    for name in maps::ALL {
        let _ = writeln!(text, "map {name}");
    }
    let _ = writeln!(text, "log {}", maps::LOG);
    for name in [
        maps::LAN_INGRESS,
        maps::TUN_EGRESS,
        maps::TUN_INGRESS,
        maps::TUN_STEER,
        maps::WAN_GUARD,
    ] {
        let _ = writeln!(text, "program {name}");
    }
    constants!(
        text,
        maps::MAX_ROUTES,
        maps::ROUTE_ENTRIES,
        maps::MAX_SITES,
        maps::DEFAULT_FLOWS,
        maps::MAX_SESSIONS,
        maps::SESSION_WORDS,
        maps::MAX_INTERFACES,
        maps::INTERFACE_SLOT_COUNT,
        maps::MAX_LOCAL_ADDRESSES,
        FAULT_INTERVAL_NS,
        PROGRAMS,
        FLOW_STAT_COUNT,
        VNET_BITS,
        SITE_KERNEL,
        COUNTED_MARK,
        COUNTED_MARK_MASK,
        SOFTWARE_GSO,
        STRICT_SOURCES,
        ALSO_WAN,
        NAT,
        MAX_LANES,
        DEFAULT_VNET,
        maps::ACTIVE_RULES,
        maps::SHADOW_RULES,
        maps::RULE_SETS,
        maps::DENIED_FLOWS,
        policy::MAGIC,
        policy::LINE_WORDS,
        policy::MAX_RULES,
        policy::NODE_ENTRIES,
        policy::LEAF,
        policy::HEAD_LINES,
        policy::CLOSED,
        policy::NO_RULE16,
        policy::OPEN16,
        policy::RULE_SLOTS,
    );
}

fn write_structs(text: &mut String) {
    layout!(text, RouteKey4 { vnet, address });
    layout!(text, RouteKey6 { vnet, address });
    layout!(text, Route { site, route });
    layout!(
        text,
        Site {
            state,
            queue_mask,
            mtu,
            lanes
        }
    );
    layout!(
        text,
        SiteCounters {
            to_site_packets,
            to_site_bytes,
            from_site_packets,
            from_site_bytes,
        }
    );
    layout!(
        text,
        FlowKey {
            vnet,
            local,
            remote,
            local_port,
            remote_port,
            protocol,
            family,
            fragments,
            reserved,
        }
    );
    layout!(
        text,
        FlowKey4 {
            vnet,
            local,
            remote,
            local_port,
            remote_port,
            protocol,
            fragments,
            reserved,
        }
    );
    layout!(
        text,
        FlowCounters {
            to_site_packets,
            to_site_bytes,
            from_site_packets,
            from_site_bytes,
            first_seen_ns,
            last_seen_ns,
            site,
            route_generation,
            tcp_flags_to_site,
            tcp_flags_from_site,
            verdict,
            opened_by,
            source_check,
            rule,
            shadow_rule,
            reserved,
        }
    );
    layout!(text, Tally { packets, bytes });
    layout!(
        text,
        Settings {
            abi_version,
            tun_ifindex,
            listen_port,
            lanes,
            route_generation,
            flags,
            answers_from4,
            answers_from6
        }
    );
    layout!(
        text,
        Interface {
            role,
            vnet,
            mtu,
            flags
        }
    );
    layout!(text, InterfaceSlot { ifindex, interface });
    layout!(text, LocalKey { address });
    layout!(text, VlanKey { ifindex, id });
}

fn write_policy(text: &mut String) {
    layout!(
        text,
        Denied {
            first_seen_ns,
            last_seen_ns,
            packets,
            bytes,
            site,
            shadow_rule,
            opened_by,
            reserved,
        }
    );
    layout!(text, RuleFlows { active, shadow });
}

fn write_enums(text: &mut String) {
    values!(
        text,
        FlowVerdict {
            Accept,
            ShadowDenied
        }
    );
    values!(
        text,
        OpenedBy {
            Unknown,
            Local,
            Remote
        }
    );
    values!(
        text,
        FlowStat {
            Inserted,
            InsertFailed
        }
    );
    values!(text, SiteState { Absent, Up, Down });
    values!(text, Role { Lan, Wan, Tun });
    values!(
        text,
        FaultKind {
            NoSettings,
            NoRole,
            NoSite,
            NotRewritten,
            FlowRefused
        }
    );
    let _ = writeln!(text, "enum DropReason {}", size_of::<DropReason>());
    for reason in DropReason::ALL {
        let _ = writeln!(text, "  {} = {}", reason.as_str(), reason.index());
    }
    let _ = writeln!(text, "enum StackReason {}", size_of::<StackReason>());
    for reason in StackReason::ALL {
        let _ = writeln!(text, "  {} = {}", reason.as_str(), reason.index());
    }
}
