//! The words of `from`, `to` and `[objects]`.

use std::collections::HashMap;

use crossway_types::nearest::nearest;
use crossway_types::prefix::{Prefix, PrefixError};
use crossway_types::shown::shown;

use super::network::{Network, Owner};
use super::source::List;

/// A problem and its mend.
pub(crate) type Problem = (String, String);

/// Words that are no names.
pub(crate) const RESERVED: [&str; 3] = ["any", "lan", "gateway"];
const TAG: &str = "tag:";

/// What a word stands for.
pub(crate) enum Word {
    Any,
    Gateway,
    Owners(Vec<Owner>),
    Prefix(Prefix),
    /// The object with this number.
    Object(usize),
}

/// The names that words may use.
pub(crate) struct Names<'a> {
    objects: HashMap<&'a str, usize>,
    sites: HashMap<&'a str, Owner>,
    tags: HashMap<&'a str, Vec<Owner>>,
    has_addresses: bool,
}

impl<'a> Names<'a> {
    pub(crate) fn new(objects: &'a [List], network: &'a Network) -> Self {
        let mut names = Self {
            objects: objects
                .iter()
                .zip(0..)
                .map(|(object, number)| (object.name.as_str(), number))
                .collect(),
            sites: HashMap::new(),
            tags: HashMap::new(),
            has_addresses: !network.own.is_empty(),
        };
        for (site, number) in network.sites.iter().zip(0..) {
            let owner = Owner::Site(number);
            names.sites.insert(&site.name, owner);
            for tag in &site.tags {
                names.tags.entry(tag).or_default().push(owner);
            }
        }
        names
    }

    pub(crate) fn is_site(&self, name: &str) -> bool {
        self.sites.contains_key(name)
    }

    /// Understands a word.
    pub(crate) fn read(&self, word: &str) -> Result<Word, Problem> {
        if RESERVED.contains(&word) {
            return self.reserved(word);
        }
        if let Some(tag) = word.strip_prefix(TAG) {
            let sites = self.tags.get(tag).cloned();
            return sites.map(Word::Owners).ok_or_else(|| self.no_tag(tag));
        }
        let prefix = match word.parse::<Prefix>() {
            Ok(prefix) => return Ok(Word::Prefix(prefix)),
            Err(error) => error,
        };
        if let Some(site) = self.sites.get(word) {
            return Ok(Word::Owners(vec![*site]));
        }
        if let Some(object) = self.objects.get(word) {
            return Ok(Word::Object(*object));
        }
        Err(self.unknown(word, &prefix))
    }

    fn reserved(&self, word: &str) -> Result<Word, Problem> {
        if self.is_site(word) {
            let problem = format!("{word} is both a site and a word of its own");
            return Err((problem, "rename the site".to_owned()));
        }
        match word {
            "lan" => Ok(Word::Owners(vec![Owner::Lan])),
            "gateway" if self.has_addresses => Ok(Word::Gateway),
            "gateway" => Err((
                "this gateway has no address in the tunnel".to_owned(),
                "write tunnel_addresses in [gateway]".to_owned(),
            )),
            _ => Ok(Word::Any),
        }
    }

    fn no_tag(&self, tag: &str) -> Problem {
        let near = nearest(tag, self.tags.keys().copied());
        let mend = match near {
            Some(near) => format!("did you mean tag:{near}?"),
            None => "write tags = [\"ci\"] at the sites that are meant".to_owned(),
        };
        (format!("no site has the tag {}", shown(tag)), mend)
    }

    fn unknown(&self, word: &str, error: &PrefixError) -> Problem {
        let is_number = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/');
        let problem = match error {
            PrefixError::Address(_) => format!("{} is no site, object or address", shown(word)),
            PrefixError::Length { max, .. } if word.chars().all(is_number) => {
                let mend = format!("write a number from 0 to {max} behind the slash");
                return (format!("{} has no usable prefix length", shown(word)), mend);
            }
            PrefixError::Length { .. } => format!("{} is no prefix", shown(word)),
            PrefixError::HostBits { meant, .. } => {
                let problem = format!("{} has host bits set", shown(word));
                return (problem, format!("did you mean {meant}?"));
            }
        };
        let tags = self.tags.keys().map(|tag| (format!("{TAG}{tag}"), ()));
        let tags: Vec<String> = tags.map(|(tag, ())| tag).collect();
        let known = RESERVED.into_iter();
        let known = known.chain(self.sites.keys().copied());
        let known = known.chain(self.objects.keys().copied());
        let mut known: Vec<&str> = known.chain(tags.iter().map(String::as_str)).collect();
        // Of names that are as near as others the first is told, always the same.
        known.sort_unstable();
        let mend = match nearest(word, known) {
            Some(near) => format!("did you mean {near}?"),
            None => "write any, lan, gateway, the name of a site, tag:NAME, an object or a prefix \
                     such as 10.2.0.0/24"
                .to_owned(),
        };
        (problem, mend)
    }
}
