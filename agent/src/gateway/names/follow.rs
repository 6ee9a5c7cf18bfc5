//! The gateway takes what names lead to, remembers it, and tells what is wrong with names.

use std::time::Instant;

use super::{Answer, memory};
use crate::gateway::Gateway;
use crate::gateway::reconcile::Event;
use crate::gateway::warnings::Source;

/// Names that are told of one by one.
const MOST_TOLD: usize = 3;

impl Gateway {
    pub(in crate::gateway) fn on_names(&mut self, answers: Vec<Answer>, now: Instant) {
        self.forwarding.links.on_names(answers, now);
        self.mark(Event::LinksChanged);
    }

    /// Remembers what has become known of names, and warns of those that keep links down.
    pub(in crate::gateway) fn follow_names(&mut self, now: Instant) {
        let mut warnings = warnings(&self.forwarding.links.names_in_trouble(now));
        warnings.extend(self.remember_names());
        self.warnings.replace(Source::Names, warnings);
    }

    /// Writes the names' addresses to their file, where they have changed; what keeps them from being remembered.
    pub(in crate::gateway) fn remember_names(&mut self) -> Option<String> {
        let names = self.forwarding.links.resolved.poll_memory()?;
        let file = memory::path_of(&self.desired.config.gateway.name);
        let written = memory::write(&file, names);
        written.err().map(|error| {
            format!(
                "the addresses of names are not remembered for the next start: {}: {error}",
                file.display()
            )
        })
    }
}

fn warnings(troubled: &[(&str, &str)]) -> Vec<String> {
    let told = |(host, why): &(&str, &str)| {
        format!(
            "{host} does not resolve: {why}; a link that needs it tries the last good addresses, and asks again"
        )
    };
    match troubled {
        [.., (host, why)] if troubled.len() > MOST_TOLD => vec![format!(
            "many names do not resolve, such as {host}: {why}; links that need them try the last good addresses, and \
             ask again"
        )],
        few => few.iter().map(told).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_told_of_one_by_one_and_many_at_once() {
        let troubled: Vec<_> = ["a", "b", "c", "d"].map(|host| (host, "no")).to_vec();
        assert_eq!(warnings(&[]), [""; 0]);
        let few = warnings(&troubled[..3]);
        assert_eq!(few.len(), 3);
        assert!(few[1].starts_with("b does not resolve: no"), "{few:?}");
        let many = warnings(&troubled);
        assert_eq!(many.len(), 1);
        assert!(many[0].contains("many names do not resolve, such as d: no"));
    }
}
