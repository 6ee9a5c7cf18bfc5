//! The words of `ports` and `[ports]`: protocols, ports, and groups of them.

mod word;

use std::collections::HashMap;

use crossway_types::nearest::nearest;
use crossway_types::protocol;
use crossway_types::shown::shown;

use self::word::{mistaken, number_of, read_ports};
use super::circle;
use super::fault::Faults;
use super::source::{Key, List, Place, Table};
use super::spans::Spans;
use super::words::Problem;

/// Groups that need not be written down, by the services that they are for.
pub const BUILT_IN: [(&str, &[&str]); 9] = [
    // "Service overview and network port requirements for Windows", Active Directory; clients to
    // domain controllers.
    (
        "ad-core",
        &[
            "dns",
            "kerberos",
            "ntp",
            "tcp/135",
            "udp/137-138",
            "tcp/139",
            "ldap",
            "smb",
            "tcp/3268-3269",
            "tcp/9389",
            "tcp/49152-65535",
            "icmp",
        ],
    ),
    ("dns", &["tcp/53", "udp/53"]),
    // With the change of passwords.
    ("kerberos", &["tcp/88", "udp/88", "tcp/464", "udp/464"]),
    ("ldap", &["tcp/389", "udp/389", "tcp/636"]),
    ("ntp", &["udp/123"]),
    ("rdp", &["tcp/3389", "udp/3389"]),
    // Signalling only; the ports of its media are those of the phones.
    ("sip", &["tcp/5060-5061", "udp/5060"]),
    ("smb", &["tcp/445"]),
    // HTTP/3 is over UDP.
    ("web", &["tcp/80", "tcp/443", "udp/443"]),
];

/// First and last number of a set of ports: protocol, then port.
type Span = (u128, u128);
/// Every port of every protocol.
const ANY: Span = (0, 0xff_ffff);
/// Ports of a protocol.
const PORTS: u128 = 1 << 16;

/// What a word stands for.
enum Word {
    Spans(Vec<Span>),
    Group(usize),
}

/// Sets of ports, each kept once, and the groups that words may name.
pub(crate) struct Services {
    names: HashMap<String, usize>,
    groups: Vec<Spans>,
    list: Vec<Spans>,
    numbers: HashMap<Spans, u32>,
}

impl Services {
    /// Understands `[ports]`.
    pub(crate) fn new(lists: &[List], faults: &mut Faults) -> Self {
        let built_in = BUILT_IN.iter().map(|(name, words)| List {
            name: (*name).to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        });
        let all: Vec<List> = lists.iter().cloned().chain(built_in).collect();
        let mut services = Self {
            names: HashMap::new(),
            groups: vec![Spans::default(); all.len()],
            list: Vec::new(),
            numbers: HashMap::new(),
        };
        for (number, list) in all.iter().enumerate() {
            services.names.insert(list.name.clone(), number);
        }
        let words: Vec<Vec<Word>> = all
            .iter()
            .enumerate()
            .map(|(number, list)| {
                services.words(&list.words, Place::of(Table::Ports, number), faults)
            })
            .collect();
        services.look_up(&all, &words, faults);
        services
    }

    fn look_up(&mut self, all: &[List], words: &[Vec<Word>], faults: &mut Faults) {
        let groups_of = |words: &Vec<Word>| {
            let groups = words.iter().filter_map(|word| match word {
                Word::Group(group) => Some(*group),
                Word::Spans(_) => None,
            });
            groups.collect()
        };
        let references: Vec<Vec<usize>> = words.iter().map(groups_of).collect();
        let (order, circles) = circle::order(&references);
        for way in circles {
            let place = Place::of(Table::Ports, way[0]);
            let names = way.iter().map(|group| all[*group].name.as_str());
            circle_fault(place, names, faults);
        }
        for group in order {
            self.groups[group] = self.union(&words[group]);
        }
    }

    /// The number of the set of these words; without words, that of any port. A word with a fault
    /// is told.
    pub(crate) fn number(
        &mut self,
        words: Option<&[String]>,
        place: Place,
        faults: &mut Faults,
    ) -> u32 {
        let spans = match words {
            None => Spans::new([ANY]),
            Some(words) => {
                let words = self.words(words, place.key(Key::Ports), faults);
                self.union(&words)
            }
        };
        if let Some(known) = self.numbers.get(&spans) {
            return *known;
        }
        let number = self.list.len() as u32;
        self.numbers.insert(spans.clone(), number);
        self.list.push(spans);
        number
    }

    pub(crate) fn list(&self) -> &[Spans] {
        &self.list
    }

    fn union(&self, words: &[Word]) -> Spans {
        Spans::new(words.iter().flat_map(|word| match word {
            Word::Spans(spans) => spans.clone(),
            Word::Group(group) => self.groups[*group].iter().collect(),
        }))
    }

    fn words(&self, words: &[String], place: Place, faults: &mut Faults) -> Vec<Word> {
        let mut understood = Vec::with_capacity(words.len());
        for (number, word) in words.iter().enumerate() {
            match self.read(word) {
                Ok(word) => understood.push(word),
                Err((problem, mend)) => faults.error(place.word(number), problem, mend),
            }
            if let Some((problem, mend)) = mistaken(word) {
                faults.warning(place.word(number), problem, mend);
            }
        }
        understood
    }

    fn read(&self, word: &str) -> Result<Word, Problem> {
        if let Some(group) = self.names.get(word) {
            return Ok(Word::Group(*group));
        }
        if let Some((protocol, ports)) = word.split_once('/') {
            return read_ports(word, protocol, ports).map(|span| Word::Spans(vec![span]));
        }
        match word {
            "any" => Ok(Word::Spans(vec![ANY])),
            // Who writes it means that of both families.
            "icmp" => {
                let both = [protocol::ICMP, protocol::ICMPV6];
                Ok(Word::Spans(both.map(all_of).to_vec()))
            }
            _ => match number_of(word) {
                Some(protocol) => Ok(Word::Spans(vec![all_of(protocol)])),
                None => Err(self.unknown(word)),
            },
        }
    }

    fn unknown(&self, word: &str) -> Problem {
        if !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
        {
            let problem = format!("{} has no protocol", shown(word));
            return (
                problem,
                format!("write tcp/{word} or udp/{word}", word = shown(word)),
            );
        }
        let mut known: Vec<&str> = protocol::names().chain(["any"]).collect();
        known.extend(self.names.keys().map(String::as_str));
        known.sort_unstable();
        let mend = match nearest(word, known) {
            Some(near) => format!("did you mean {near}?"),
            None => "write a protocol such as gre, ports such as tcp/443 or udp/5060-5061, or a \
                     group of [ports]"
                .to_owned(),
        };
        (format!("{} is no protocol and no group", shown(word)), mend)
    }
}

/// Tells of names that come back to themselves.
pub(crate) fn circle_fault<'a>(
    place: Place,
    way: impl Iterator<Item = &'a str>,
    faults: &mut Faults,
) {
    /// A longer way is cut.
    const MOST: usize = 8;
    let names: Vec<String> = way.map(shown).collect();
    let first = &names[0];
    let mut told = names[..names.len().min(MOST)].join(" → ");
    if names.len() > MOST {
        told.push_str(" → …");
    }
    let problem = format!("{first} holds itself: {told} → {first}");
    faults.error(place, problem, "take one of the names out");
}

/// Every port of a protocol, and what of it has none.
pub(crate) fn all_of(protocol: u8) -> Span {
    let first = u128::from(protocol) * PORTS;
    (first, first + PORTS - 1)
}

/// The protocols of a set.
pub(crate) fn protocols(spans: &Spans) -> Spans {
    Spans::new(
        spans
            .iter()
            .map(|(first, last)| (first / PORTS, last / PORTS)),
    )
}

/// A port of the set that a reader knows: of TCP if there is one.
pub(crate) fn example(spans: &Spans) -> Option<String> {
    let usual = [protocol::TCP, protocol::UDP]
        .into_iter()
        .find_map(|protocol| {
            let (first, last) = all_of(protocol);
            spans.and(&Spans::new([(first + 1, last)])).first()
        });
    let number = usual.or_else(|| spans.first())?;
    let protocol = (number / PORTS) as u8;
    let name = protocol::name(protocol);
    Some(match number % PORTS {
        port if port > 0 && protocol::has_ports(protocol) => format!("{name}/{port}"),
        _ => name,
    })
}
