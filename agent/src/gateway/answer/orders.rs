//! Orders: about links (promote, prefer, drain, and back), and about what is logged.

use std::time::Instant;

use crate::config::nearest::did_you_mean;
use crate::control::message::{EventKind, LinkOrder, LinksReply, LogFilter};
use crate::control::{Asker, Response, refusal};
use crate::gateway::Gateway;
use crate::gateway::reconcile::Event;
use crate::ids::LinkId;
use crate::journal::Change;

impl Gateway {
    /// Logs what `wanted` says from now on, if it says anything; what is logged then.
    pub(super) fn log_filter(&mut self, wanted: Option<&str>, asker: Asker) -> Response {
        let log = &self.process.log;
        let before = log.filter();
        if let Some(wanted) = wanted {
            if let Err(error) = log.set_filter(wanted) {
                return refusal(&error);
            }
            self.record(Change {
                kind: EventKind::Order,
                subject: "log".to_owned(),
                from: Some(before),
                to: log.filter(),
                cause: format!("by the command line ({asker})"),
            });
        }
        Response::LogFilter(LogFilter {
            filter: self.process.log.filter(),
        })
    }

    /// Carries out an order; the links that it named, as they are then.
    pub(super) async fn order_links(
        &mut self,
        target: &str,
        order: LinkOrder,
        asker: Asker,
        now: Instant,
    ) -> Response {
        let links = &mut self.forwarding.links;
        let ids = links.named(target);
        if ids.is_empty() {
            let names = links.names();
            let sites = self.desired.plan.sites.iter();
            let sites = sites.map(|site| site.config.name.as_str());
            let known = names.iter().map(String::as_str).chain(sites);
            return Response::usage(format!(
                "{target:?} is no link of this gateway{} (name a site, or one of {})",
                did_you_mean(target, known),
                names.join(", ")
            ));
        }
        if order == LinkOrder::Promote {
            links.promote(&ids);
        }
        for id in &ids {
            links.order(*id, order, now);
        }
        self.record(Change {
            kind: EventKind::Order,
            subject: target.to_owned(),
            from: None,
            to: format!("{} ordered", order.as_str()),
            cause: format!("by the command line ({asker})"),
        });
        self.mark(Event::LinksDue);
        self.reconcile(now).await;
        if let Err(error) = self.forwarding.lanes.ended() {
            return refusal(&error);
        }
        let links = self.sites(now).into_iter().flat_map(|site| site.links);
        Response::Links(LinksReply {
            links: links
                .filter(|link| ids.contains(&LinkId(link.id)))
                .collect(),
        })
    }
}
