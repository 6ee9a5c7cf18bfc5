//! What is asked and answered. The field names are a contract: they are the names of `--json`, and
//! other programs rely on them. New fields may come; none goes or changes its meaning.
//!
//! Every number says its unit in its name. Packets and bytes are wire packets and inner IP bytes of
//! the tunnel unless a field says otherwise. `to_site` is away from this gateway, `from_site` towards it.

mod capture;
mod doctor;
mod events;
mod explain;
mod finished;
mod flows;
mod history;
mod log;
mod policy;
mod services;
mod sites;
mod status;
mod vrrp;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::capture::{CaptureEnd, CaptureSummary};
pub use self::doctor::{DoctorReport, Finding, NotChecked, Severity};
pub use self::events::{Event, EventKind, EventsReply, EventsRequest};
pub use self::explain::{End, ExplainRequest, Explained, ExplainedStep, FastPath, WhichFragment};
pub use self::finished::{
    EndReason, EvictedFlows, FinishedFlow, FinishedRecord, FinishedReply, FinishedRequest,
    WallClock,
};
pub use self::flows::{Flow, FlowsReply, FlowsRequest, MAX_PAGE, RealEnds};
pub use self::history::{
    ClockStep, DropSeries, HistoryReply, HistoryRequest, Outage, Report, Series, SeriesKind,
    WarningSpan,
};
pub use self::log::{LogFilter, LogLevel, LogLine, LogReply, LogRequest};
pub use self::policy::{
    FlowEnd, FlowPolicy, FlowVerdict, PolicyDiff, PolicyDifference, PolicyReply, PolicyRequest,
    PolicyRule, PolicyVnet, RuleSet,
};
pub use self::services::{
    MOST_TARGETS, ReviewState, Service, ServiceGroup, ServiceName, ServiceOrder, ServicesOrder,
    ServicesOrdered, ServicesReply, ServicesRequest,
};
pub use self::sites::{
    Link, LinkOrder, LinkState, LinksReply, MappedPrefix, Messages, Overlap, OverlapsReply,
    PathMtu, PathMtuState, ReplicaFlows, Route, RouteAnswer, RouteKind, RoutesReply, Site,
    SiteState, SitesReply, WatchedBy,
};
pub use self::status::{
    Attachment, DropCount, DropSite, DropsReply, Health, HealthTarget, Offload, Outcome,
    PolicyState, Posture, Reload, StackCount, Status, ThreadPosture, Traffic, Tun, Version,
    Warning,
};
pub use self::vrrp::VirtualRouter;

/// A question to the gateway; on the wire `{"command":"status"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// The whole gateway: answered by [`Response::Status`].
    Status,
    /// [`Response::Sites`].
    Sites,
    /// [`Response::Links`].
    Links,
    /// All routes: [`Response::Routes`].
    Routes,
    /// Where packets to `address` go, from the same tables as the data path: [`Response::Route`].
    RouteGet {
        /// Destination.
        address: IpAddr,
    },
    /// Prefixes that cover each other: [`Response::Overlaps`].
    RoutesOverlaps,
    /// The flow table: [`Response::Flows`].
    Flows(FlowsRequest),
    /// Flows that are over: [`Response::FinishedFlows`], once, or again and again until the reader goes.
    FinishedFlows(FinishedRequest),
    /// Services that were seen in the flow table: [`Response::Services`].
    Services(ServicesRequest),
    /// Decide about services, or group them: [`Response::ServicesOrdered`].
    OrderServices(ServicesOrder),
    /// The rules, and what they have allowed: [`Response::Policy`].
    Policy(PolicyRequest),
    /// [`Response::Drops`].
    Drops,
    /// What would become of a packet: [`Response::Explain`].
    Explain(ExplainRequest),
    /// Change which links carry flows: answered by [`Response::Links`] with those that were meant.
    OrderLinks {
        /// `site`, `site/gateway` or `site/gateway/link`.
        target: String,
        /// What is to be done with them.
        order: LinkOrder,
    },
    /// What has changed: [`Response::Events`], once, or again and again until the reader goes.
    Events(EventsRequest),
    /// What was measured over the last hours, a page of it: [`Response::History`].
    History(HistoryRequest),
    /// What the agent has said: [`Response::Log`], once, or again and again until the reader goes.
    Log(LogRequest),
    /// What is logged: [`Response::LogFilter`].
    LogFilter {
        /// From now on, until the agent ends; null asks only.
        filter: Option<String>,
    },
    /// Read the configuration file again and apply what changed: [`Response::Reload`].
    Reload,
    /// [`Response::Version`].
    Version,
}

/// The answer; on the wire the payload's fields with `"reply":"status"` in front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Sites`].
    Sites(SitesReply),
    /// To [`Request::Links`].
    Links(LinksReply),
    /// To [`Request::Routes`].
    Routes(RoutesReply),
    /// To [`Request::RouteGet`].
    Route(RouteAnswer),
    /// To [`Request::RoutesOverlaps`].
    Overlaps(OverlapsReply),
    /// To [`Request::Flows`].
    Flows(FlowsReply),
    /// To [`Request::FinishedFlows`].
    FinishedFlows(FinishedReply),
    /// To [`Request::Services`].
    Services(ServicesReply),
    /// To [`Request::OrderServices`].
    ServicesOrdered(ServicesOrdered),
    /// To [`Request::Policy`].
    Policy(PolicyReply),
    /// To [`Request::Drops`].
    Drops(DropsReply),
    /// To [`Request::Explain`].
    Explain(Box<Explained>),
    /// To [`Request::Events`].
    Events(EventsReply),
    /// To [`Request::History`].
    History(Box<HistoryReply>),
    /// To [`Request::Log`].
    Log(LogReply),
    /// To [`Request::LogFilter`].
    LogFilter(LogFilter),
    /// To [`Request::Reload`].
    Reload(Reload),
    /// To [`Request::Version`].
    Version(Version),
    /// To anything that could not be answered.
    Error {
        /// What was expected, what was found, and the mend.
        message: String,
        /// What was asked for is wrong, and no gateway would answer it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        usage: bool,
    },
}

impl Response {
    /// An answer that says why there is none.
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error {
            message: message.into(),
            usage: false,
        }
    }

    /// An answer that says what is wrong with the question.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Error {
            message: message.into(),
            usage: true,
        }
    }
}
