//! What a person should look at, by where it comes from.

use std::collections::BTreeMap;

use crate::control::message::Warning;

/// Where a warning comes from. `status` lists them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The file.
    Config,
    /// The host's interfaces, addresses and sysctls.
    Host,
    /// Routes of others that go before those of sites.
    Routes,
    /// Names of endpoints.
    Names,
    /// Routes of sites that lead the tunnel's own packets into the tunnel.
    OwnPackets,
    /// Endpoints that cannot be reached by the interface that their link is bound to.
    Paths,
    /// Endpoints that the host's routes lead to through the tunnel.
    Swallowed,
    /// The host's nftables.
    Firewall,
    FastPath,
    /// Who judges by the policy.
    Policy,
    VirtualRouters,
    /// Where the metrics are read.
    Metrics,
    /// Where finished flows go.
    Export,
    /// The catalogue of services.
    Discovery,
    /// What this process may do.
    Posture,
    /// Steps that fail and are tried again.
    NotInForce,
    /// Targets of the LAN that cannot be probed.
    Health,
}

impl Source {
    /// The word of `--json`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Host => "host",
            Self::Routes => "routes",
            Self::Names => "names",
            Self::OwnPackets => "own-packets",
            Self::Paths => "paths",
            Self::Swallowed => "swallowed",
            Self::Firewall => "firewall",
            Self::FastPath => "fast-path",
            Self::Policy => "policy",
            Self::VirtualRouters => "virtual-routers",
            Self::Metrics => "metrics",
            Self::Export => "export",
            Self::Discovery => "discovery",
            Self::Posture => "posture",
            Self::NotInForce => "not-in-force",
            Self::Health => "health",
        }
    }

    /// A warning of it, for people.
    pub(super) fn warning(self, text: String) -> Warning {
        Warning {
            source: self.as_str().to_owned(),
            text,
        }
    }
}

/// The warnings of each source.
#[derive(Debug, Default)]
pub(super) struct Warnings(BTreeMap<Source, Vec<String>>);

impl Warnings {
    /// Takes all that a source warns of now; what is new is logged.
    pub(super) fn replace(&mut self, source: Source, warnings: Vec<String>) {
        let known = self.0.get(&source).map(Vec::as_slice).unwrap_or_default();
        for warning in warnings.iter().filter(|warning| !known.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.remember(source, warnings);
    }

    /// As [`Self::replace`], for what is logged elsewhere.
    pub(super) fn remember(&mut self, source: Source, warnings: Vec<String>) {
        self.0.insert(source, warnings);
    }

    /// Logs one more warning of a source.
    pub(super) fn add(&mut self, source: Source, warning: String) {
        tracing::warn!("{warning}");
        self.0.entry(source).or_default().push(warning);
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = Warning> {
        let sources = self.0.iter();
        sources.flat_map(|(source, texts)| texts.iter().map(|text| source.warning(text.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_replaces_its_own_warnings_and_no_others() {
        let mut warnings = Warnings::default();
        warnings.add(Source::FastPath, "XDP stays off on wan0".to_owned());
        warnings.replace(Source::Host, vec!["lan0 is down".to_owned()]);
        warnings.replace(
            Source::Config,
            vec!["the key can be read by all".to_owned()],
        );
        let all = warnings.all();
        let all: Vec<_> = all.map(|warning| (warning.source, warning.text)).collect();
        assert_eq!(
            all,
            [
                ("config", "the key can be read by all"),
                ("host", "lan0 is down"),
                ("fast-path", "XDP stays off on wan0")
            ]
            .map(|(source, text)| (source.to_owned(), text.to_owned()))
        );
        warnings.replace(Source::Host, Vec::new());
        assert_eq!(warnings.all().count(), 2);
    }
}
