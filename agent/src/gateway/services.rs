//! The catalogue of services: what it is to be, and who asks and orders.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::Gateway;
use super::warnings::Source;
use crate::control::message::{EventKind, ServiceOrder, ServicesOrder, ServicesRequest};
use crate::control::{Asker, Response};
use crate::discovery::Ordered;
use crate::journal::Change;
use crossway_discovery::keeper::Settings;
use crossway_types::mapping::Mapping;

/// A number of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Gateway {
    /// Has the catalogue that the configuration wants.
    pub(super) fn configure_discovery(&mut self) {
        let config = &self.desired.config;
        let flow_table = self.forwarding.datapath.as_ref().map(|datapath| {
            let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
            format!("{}/{}", boot.trim(), datapath.flows.id())
        });
        let wanted = config.discovery.as_ref();
        let blind = wanted.is_some() && flow_table.is_none();
        let settings = wanted.map(|wanted| Settings {
            database: wanted.database_of(&config.gateway.name),
            bound: wanted.services as usize,
            networks: wanted.networks.clone(),
            flow_table,
        });
        self.discovery.configure(settings);
        let mut warnings = self.discovery.warnings();
        if blind {
            let warning = "the catalogue of services learns nothing: it looks into the flow table of the eBPF programs, \
                           and the fast path is off";
            warnings.push(warning.to_owned());
        }
        self.warnings.replace(Source::Discovery, warnings);
    }

    pub(super) fn ask_services(&self, request: ServicesRequest, reply: oneshot::Sender<Response>) {
        if let Some(site) = &request.filter.site
            && !self.has_site(site)
        {
            let _ = reply.send(self.no_site(site));
            return;
        }
        self.discovery.ask(request, self.maps_by_name(), reply);
    }

    /// The mappings of each site that has any.
    fn maps_by_name(&self) -> HashMap<String, Vec<Mapping>> {
        let sites = self.desired.config.sites.iter();
        let mapped = sites.filter(|site| !site.maps.is_empty());
        mapped
            .map(|site| (site.name.clone(), site.maps.clone()))
            .collect()
    }

    pub(super) fn order_services(
        &self,
        order: ServicesOrder,
        asker: Asker,
        reply: oneshot::Sender<Response>,
    ) {
        self.discovery.order(order, asker.to_string(), reply);
    }

    /// An order was carried out, or refused.
    pub(super) fn on_services_ordered(&mut self, ordered: Ordered) {
        let response = match ordered.outcome {
            Err(why) => Response::error(why),
            Ok(outcome) => {
                self.record(Change {
                    kind: EventKind::Order,
                    subject: subject_of(&ordered.order),
                    from: None,
                    to: describe(&ordered.order.order),
                    cause: format!("by the command line ({})", ordered.by),
                });
                Response::ServicesOrdered(outcome)
            }
        };
        // The asker may have gone.
        let _ = ordered.reply.send(response);
    }
}

fn subject_of(order: &ServicesOrder) -> String {
    match (order.targets.as_slice(), &order.order) {
        ([], ServiceOrder::Group { name, .. } | ServiceOrder::Ungroup { name }) => name.clone(),
        (targets, _) => targets.join(" "),
    }
}

fn describe(order: &ServiceOrder) -> String {
    match order {
        ServiceOrder::Decide { state } => format!("service {}", state.as_str()),
        ServiceOrder::Note { .. } => "service noted".to_owned(),
        ServiceOrder::Forget => "service forgotten".to_owned(),
        ServiceOrder::Group { name, .. } => format!("services in group {name}"),
        ServiceOrder::Ungroup { name } => format!("services out of group {name}"),
    }
}
