//! `flows --finished` and `log`: what is kept of what has been, also of sites that are no more.

use crate::config::nearest::did_you_mean;
use crate::control::message::{FinishedRequest, LogRequest, Response};
use crate::gateway::Gateway;

impl Gateway {
    /// Flows that are over.
    pub(super) fn finished_flows(&self, wanted: &FinishedRequest) -> Response {
        let recent = self.finished.borrow();
        let site = wanted.site.as_deref();
        match site.filter(|site| !self.has_site(site) && !recent.has_site(site)) {
            Some(unknown) => self.no_site(unknown),
            None => Response::FinishedFlows(recent.last(wanted.last)),
        }
    }

    /// What the agent has said.
    pub(super) fn log(&self, wanted: &LogRequest) -> Response {
        let log = self.process.log.subscribe();
        let ring = log.borrow();
        let site = wanted.site.as_deref();
        match site.filter(|site| !self.has_site(site) && !ring.has_site(site)) {
            Some(unknown) => self.no_site(unknown),
            None => Response::Log(ring.last(wanted)),
        }
    }

    pub(in crate::gateway) fn has_site(&self, name: &str) -> bool {
        let mut sites = self.desired.plan.sites.iter();
        sites.any(|site| site.config.name == name)
    }

    /// Says that there is no site of this name.
    pub(in crate::gateway) fn no_site(&self, name: &str) -> Response {
        let sites = self.desired.plan.sites.iter();
        let meant = did_you_mean(name, sites.map(|site| site.config.name.as_str()));
        let mend = if meant.is_empty() {
            ": `crossway sites` lists them"
        } else {
            &meant
        };
        Response::usage(format!("there is no site {name} here{mend}"))
    }
}
