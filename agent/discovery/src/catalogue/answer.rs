//! What is told of the catalogue.

use crossway_api::message::{ServiceGroup, ServicesReply, ServicesRequest};

use super::orders::Refused;
use super::{Catalogue, ServiceKey};

impl Catalogue {
    /// The services that are asked for. Whether and where they are kept is for the caller to say.
    ///
    /// # Errors
    /// A service, group or site that is named is not there.
    pub fn answer(&self, request: &ServicesRequest) -> Result<ServicesReply, Refused> {
        if let Some(group) = &request.filter.group {
            self.known_group(group)?;
        }
        let named = self.named(&request.targets)?;
        let wanted = |key: &ServiceKey| request.targets.is_empty() || named.contains(key);
        let services = self.services.iter().filter(|(key, _)| wanted(key));
        let described = services.map(|(key, entry)| entry.describe(key));
        let mut services: Vec<_> = described
            .filter(|service| request.filter.matches(service))
            .collect();
        let matched = services.len() as u64;
        request.sort.keep_top(&mut services, request.top);
        Ok(ServicesReply {
            services,
            matched,
            present: self.services.len() as u64,
            capacity: self.bound as u64,
            unanswered_flows: self.unanswered.total().flows,
            not_entered_flows: self.not_entered.total().flows,
            groups: self.describe_groups(),
            database: String::new(),
            kept: false,
            filter: request.filter.clone(),
        })
    }

    fn describe_groups(&self) -> Vec<ServiceGroup> {
        let mut groups: Vec<_> = self
            .groups
            .iter()
            .map(|(name, note)| ServiceGroup {
                name: name.clone(),
                note: note.clone(),
                services: 0,
            })
            .collect();
        for entry in self.services.values() {
            let of = entry.review.group.as_ref();
            let place =
                of.and_then(|name| groups.binary_search_by(|group| group.name.cmp(name)).ok());
            if let Some(place) = place {
                groups[place].services += 1;
            }
        }
        groups
    }
}
