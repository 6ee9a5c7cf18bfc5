//! What people decide about services: states, groups, notes.

use std::collections::{BTreeMap, BTreeSet};

use crossway_api::message::{
    MOST_TARGETS, ServiceGroup, ServiceName, ServiceOrder, ServicesOrder, ServicesOrdered,
};
use crossway_config::nearest::did_you_mean;
use thiserror::Error;

use super::{Catalogue, Entry, Review, ServiceKey};

/// Groups of a catalogue.
const MOST_GROUPS: usize = 1024;
const LONGEST_NAME: usize = 64;
/// Of a note, in characters.
const LONGEST_NOTE: usize = 1000;

/// Why an order was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What was before an order, for one that cannot be kept.
#[derive(Debug)]
pub struct Undo {
    reviews: Vec<(ServiceKey, Review)>,
    forgotten: Vec<(ServiceKey, Entry)>,
    groups: BTreeMap<String, String>,
}

impl Catalogue {
    /// Carries out an order; by whom, and when in milliseconds since the epoch.
    ///
    /// # Errors
    /// What it names is not there, or cannot be.
    pub fn order(
        &mut self,
        wanted: &ServicesOrder,
        (by, now): (&str, u64),
    ) -> Result<(ServicesOrdered, Undo), Refused> {
        let keys = self.named(&wanted.targets)?;
        let group = match &wanted.order {
            ServiceOrder::Group { name, note } => {
                self.check_group(name, note.as_deref())?;
                Some(name.clone())
            }
            ServiceOrder::Ungroup { name } => {
                self.known_group(name)?;
                Some(name.clone())
            }
            ServiceOrder::Note { text } => {
                check_note(text)?;
                None
            }
            ServiceOrder::Decide { .. } | ServiceOrder::Forget => None,
        };
        if keys.is_empty() && group.is_none() {
            return Err(Refused(
                "no service is named, or only groups without any".to_owned(),
            ));
        }
        let mut undo = Undo {
            reviews: Vec::new(),
            forgotten: Vec::new(),
            groups: self.groups.clone(),
        };
        let services = if wanted.order == ServiceOrder::Forget {
            self.forget(&keys, &mut undo)
        } else {
            self.change(&keys, &wanted.order, (by, now), &mut undo)
        };
        let ordered = ServicesOrdered {
            services,
            group: group.and_then(|name| self.describe_group(&name)),
        };
        Ok((ordered, undo))
    }

    /// Takes an order back.
    pub fn undo(&mut self, undo: Undo) {
        for (key, review) in undo.reviews {
            if let Some(entry) = self.services.get_mut(&key) {
                entry.review = review;
            }
        }
        let forgotten: BTreeSet<_> = undo.forgotten.iter().map(|(key, _)| *key).collect();
        self.forgotten.retain(|key| !forgotten.contains(key));
        self.services.extend(undo.forgotten);
        self.groups = undo.groups;
    }

    fn forget(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
        undo: &mut Undo,
    ) -> Vec<crossway_api::message::Service> {
        let mut services = Vec::new();
        for key in keys {
            if let Some(entry) = self.services.remove(key) {
                services.push(entry.describe(key));
                undo.forgotten.push((*key, entry));
                self.forgotten.push(*key);
            }
        }
        services
    }

    fn change(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
        order: &ServiceOrder,
        (by, now): (&str, u64),
        undo: &mut Undo,
    ) -> Vec<crossway_api::message::Service> {
        let mut meant = keys.clone();
        match order {
            ServiceOrder::Group { name, note } => {
                let own = self.groups.entry(name.clone()).or_default();
                if let Some(note) = note {
                    own.clone_from(note);
                }
                self.groups_changed = true;
            }
            ServiceOrder::Ungroup { name } if keys.is_empty() => {
                meant.extend(self.keys_of_group(name));
                self.groups.remove(name);
                self.groups_changed = true;
            }
            _ => {}
        }
        let mut services = Vec::new();
        for key in &meant {
            let Some(entry) = self.services.get_mut(key) else {
                continue;
            };
            let before = entry.review.clone();
            match order {
                ServiceOrder::Decide { state } => entry.review.state = *state,
                ServiceOrder::Note { text } => entry.review.note.clone_from(text),
                ServiceOrder::Group { name, .. } => entry.review.group = Some(name.clone()),
                ServiceOrder::Ungroup { name } => {
                    entry.review.group.take_if(|own| own == name);
                }
                ServiceOrder::Forget => {}
            }
            if entry.review != before {
                entry.review.changed = Some((now, by.to_owned()));
                entry.since.changed = true;
                undo.reviews.push((*key, before));
            }
            services.push(entry.describe(key));
        }
        services
    }

    /// The services that are named, by themselves or by their group.
    pub(super) fn named(&self, targets: &[String]) -> Result<BTreeSet<ServiceKey>, Refused> {
        if targets.len() > MOST_TARGETS {
            let more = format!(
                "more than {MOST_TARGETS} names: put the services into a group, and name that"
            );
            return Err(Refused(more));
        }
        let mut keys = BTreeSet::new();
        for target in targets {
            if let Ok(name) = target.parse::<ServiceName>() {
                keys.insert(self.one_service(target, name)?);
            } else if self.groups.contains_key(target) {
                keys.extend(self.keys_of_group(target));
            } else {
                return Err(self.nothing_of_this_name(target));
            }
        }
        Ok(keys)
    }

    fn one_service(&self, target: &str, name: ServiceName) -> Result<ServiceKey, Refused> {
        let is_meant = |key: &&ServiceKey| {
            key.address == name.address
                && key.port == name.port
                && name.protocol.is_none_or(|number| number == key.protocol)
        };
        let mut meant: Vec<ServiceKey> = self.services.keys().filter(is_meant).copied().collect();
        meant.sort();
        match meant.as_slice() {
            [] => Err(self.nothing_of_this_name(target)),
            [only] => Ok(*only),
            several => {
                let names: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(Refused(format!(
                    "{target} may be {}: write which",
                    names.join(" or ")
                )))
            }
        }
    }

    fn nothing_of_this_name(&self, target: &str) -> Refused {
        let services: Vec<String> = self.services.keys().map(ToString::to_string).collect();
        let groups = self.groups.keys().map(String::as_str);
        let known = services.iter().map(String::as_str).chain(groups);
        let meant = did_you_mean(target, known);
        let mend = if meant.is_empty() {
            ": `crossway services` lists them, as ADDRESS:PORT/PROTOCOL"
        } else {
            ""
        };
        Refused(format!(
            "{target} is no service of the catalogue, and no group{meant}{mend}"
        ))
    }

    fn keys_of_group(&self, name: &str) -> Vec<ServiceKey> {
        let services = self.services.iter();
        let of_group = services.filter(|(_, entry)| entry.review.group.as_deref() == Some(name));
        of_group.map(|(key, _)| *key).collect()
    }

    /// A group as it is told; `None` if it is not there.
    pub(super) fn describe_group(&self, name: &str) -> Option<ServiceGroup> {
        Some(ServiceGroup {
            name: name.to_owned(),
            note: self.groups.get(name)?.clone(),
            services: self.keys_of_group(name).len() as u64,
        })
    }

    /// Refuses the name of a group that is not there.
    pub(super) fn known_group(&self, name: &str) -> Result<(), Refused> {
        if self.groups.contains_key(name) {
            return Ok(());
        }
        let meant = did_you_mean(name, self.groups.keys().map(String::as_str));
        let mend = if meant.is_empty() {
            ": `crossway services group NAME` makes one"
        } else {
            ""
        };
        Err(Refused(format!(
            "there is no group {name} here{meant}{mend}"
        )))
    }

    fn check_group(&self, name: &str, note: Option<&str>) -> Result<(), Refused> {
        check_note(note.unwrap_or_default())?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain);
        if !fits || name.parse::<ServiceName>().is_ok() {
            return Err(Refused(format!(
                "{name:?} cannot be the name of a group: write 1 to {LONGEST_NAME} letters, digits, `-`, `_`, `.`, \
                 and no address"
            )));
        }
        if self.groups.len() >= MOST_GROUPS && !self.groups.contains_key(name) {
            return Err(Refused(format!(
                "there are {MOST_GROUPS} groups: `crossway services group NAME --remove` takes one away"
            )));
        }
        Ok(())
    }
}

fn check_note(text: &str) -> Result<(), Refused> {
    if text.chars().count() > LONGEST_NOTE || text.chars().any(char::is_control) {
        return Err(Refused(format!(
            "a note has at most {LONGEST_NOTE} characters, all on one line"
        )));
    }
    Ok(())
}
