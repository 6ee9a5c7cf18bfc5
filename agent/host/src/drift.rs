//! What others may change without a note of the kernel's: sysctls and device features are looked at now and then.

use std::collections::HashMap;

use super::kept_features;
use super::sysctl::Key;
use super::{Host, Wanted};

/// What was there when the host was last made as wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Every sysctl that has to do with what is wanted, whether it had to be changed or not.
    sysctls: Vec<(Key, Option<String>)>,
    /// The LANs' devices, and whether their feature was on.
    features: Vec<(String, Option<bool>)>,
}

impl Seen {
    /// As it is now. What is `held` has just been set: if it is another value already, somebody has changed it since.
    pub(super) fn look(sysctls: Vec<Key>, mut held: HashMap<Key, String>, wanted: &Wanted) -> Self {
        let value = |key: Key| {
            let value = held.remove(&key).or_else(|| key.read().ok().flatten());
            (key, value)
        };
        let feature = |lan: &String| (lan.clone(), kept_features::is_on(lan));
        Self {
            sysctls: sysctls.into_iter().map(value).collect(),
            features: wanted.lan.iter().map(feature).collect(),
        }
    }

    fn is_now(&self) -> bool {
        let mut sysctls = self.sysctls.iter();
        let mut features = self.features.iter();
        sysctls.all(|(key, value)| key.read().ok().flatten() == *value)
            && features.all(|(lan, value)| kept_features::is_on(lan) == *value)
    }
}

impl Host {
    /// Whether something that has no note of the kernel's has changed since the last [`Host::apply`]: call that
    /// again then. What cannot be set is no change: it is as it was.
    pub fn has_drifted(&self) -> bool {
        !self.seen.is_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysctl::{Family, Name};

    #[test]
    fn what_is_changed_between_the_setting_and_the_look_is_a_drift() {
        let key = Key {
            family: Family::Ipv4,
            interface: "lo".to_owned(),
            name: Name::Forwarding,
        };
        let now = key.read().unwrap().unwrap();
        let seen = |held: HashMap<Key, String>| {
            Seen::look(vec![key.clone()], held, &Wanted::default()).is_now()
        };
        assert!(seen(HashMap::new()));
        assert!(seen(HashMap::from([(key.clone(), now.clone())])));
        assert!(!seen(HashMap::from([(key.clone(), format!("{now}0"))])));
    }
}
