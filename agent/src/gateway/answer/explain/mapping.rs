//! Which addresses a packet has inside of the tunnel, where this gateway maps them.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::packet::Packet;
use super::story::Story;
use crate::gateway::Gateway;
use crate::gateway::plan::PlannedSite;
use crossway_types::mapping;

impl Gateway {
    /// Of a packet to a site; its source there, if this gateway maps it.
    pub(super) fn tell_mapping(
        &self,
        packet: &Packet,
        site: &PlannedSite,
        story: &mut Story,
    ) -> Option<IpAddr> {
        let (source, destination) = (packet.source(), packet.destination());
        let mut own = self.desired.plan.own_maps.iter();
        let as_source = own.find_map(|map| map.to_shown(source));
        let as_destination = mapping::real_of(&site.config.maps, destination);
        story.answer.mapped_source = as_source.or(story.answer.mapped_source);
        story.answer.mapped_destination = as_destination.or(story.answer.mapped_destination);
        let changes = [
            as_source.map(|to| format!("source {source} becomes {to}")),
            as_destination.map(|to| format!("destination {destination} becomes {to}")),
        ];
        let changes: Vec<String> = changes.into_iter().flatten().collect();
        if !changes.is_empty() {
            story.step(
                "map",
                &format!("{}, inside of the tunnel", changes.join(", ")),
            );
        }
        as_source
    }

    /// Of a packet from a site, in words.
    pub(super) fn tell_mapping_back(
        &self,
        packet: &Packet,
        site: &PlannedSite,
        story: &mut Story,
    ) -> String {
        let (source, destination) = (packet.source(), packet.destination());
        let mut what = String::new();
        let real = mapping::real_of(&site.config.maps, source);
        if let Some(real) = real {
            let _ = write!(what, ", and stands for {real} there");
        }
        let mut own = self.desired.plan.own_maps.iter();
        let shown = own.find_map(|map| map.to_shown(destination));
        if let Some(shown) = shown {
            let _ = write!(
                what,
                "; the site sends to {shown}, which stands for {destination}"
            );
        }
        (story.answer.mapped_source, story.answer.mapped_destination) = (real, shown);
        what
    }
}
