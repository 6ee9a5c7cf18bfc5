//! Rules: words of addresses and ports, and images that may be broken in any place.

use crossway::policy::source::{Entry, List};
use crossway::policy::{Network, Policy, SiteNetwork, Source};
use datapath_abi::headers::{Family, Ports};
use datapath_abi::policy::{LINE_WORDS, Line, MAX_RULES, NO_RULE, OPEN, Opener, Question, judge};

use super::feed::{Feed, Script};

/// Questions of one image.
const QUESTIONS: usize = 16;
/// Bytes of a line.
const LINE: usize = LINE_WORDS * size_of::<u32>();

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() {
        0 => broken(&mut feed),
        1 => edited(&mut feed),
        _ => words(data),
    }
}

/// Any lines at all.
fn broken(feed: &mut Feed<'_>) {
    let questions = feed.chunk();
    let lines: Vec<Line> = feed.rest().chunks(LINE).map(line).collect();
    ask(&lines, &mut Feed::new(questions));
}

/// Of a right image, some lines are replaced.
fn edited(feed: &mut Feed<'_>) {
    let questions = feed.chunk();
    let mut lines = image().to_vec();
    while !feed.is_empty() {
        let at = usize::from(feed.u16()) % lines.len();
        lines[at] = line(feed.bytes(LINE));
    }
    ask(&lines, &mut Feed::new(questions));
}

fn line(bytes: &[u8]) -> Line {
    let mut feed = Feed::new(bytes);
    std::array::from_fn(|_| feed.u32())
}

fn ask(lines: &[Line], feed: &mut Feed<'_>) {
    for _ in 0..QUESTIONS {
        let question = Question {
            vnet: feed.of(&[0, 1, u32::MAX]),
            family: feed.of(&[Family::V4, Family::V6]),
            source: &std::array::from_fn(|_| feed.u32()),
            destination: &std::array::from_fn(|_| feed.u32()),
            protocol: feed.u8(),
            ports: feed.bool().then(|| Ports::of_word(feed.u32())),
            opener: feed.of(&[Opener::Sender, Opener::Receiver, Opener::Either]),
        };
        let rule = judge(lines, &question);
        let is_rule = (rule as usize) < MAX_RULES;
        assert!(is_rule || rule == NO_RULE || rule == OPEN, "{rule}");
    }
}

/// Lines of text as words: of addresses, of ports, and of names for both.
fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let lines: Vec<String> = text.lines().take(64).map(str::to_owned).collect();
    let of = |kind: usize| -> Vec<String> { lines.iter().skip(kind).step_by(4).cloned().collect() };
    let lists = |kind| {
        let words = of(kind);
        let lists = words.iter().enumerate().map(|(index, name)| List {
            name: name.clone(),
            words: words.iter().skip(index).cloned().collect(),
        });
        lists.collect()
    };
    let entry = Entry {
        name: lines.first().cloned(),
        from: of(0),
        to: of(1),
        ports: Some(of(2)),
    };
    let source = Source {
        objects: lists(3),
        ports: lists(2),
        allow: vec![entry.clone()],
        never: vec![entry.clone()],
        expect: vec![entry],
        ..Source::default()
    };
    match Policy::new(source, &network()) {
        // What is allowed is also what must never be.
        Ok(_) => panic!("a rule and its opposite"),
        Err(faults) => {
            assert!(faults.iter().any(|fault| !fault.is_warning));
            for fault in faults {
                let told = format!("{}{}", fault.problem, fault.mend);
                assert!(
                    !told.contains('\n') && !fault.problem.is_empty(),
                    "{told:?}"
                );
            }
        }
    }
}

fn network() -> Network {
    let site = |name: &str, routes: &[&str]| SiteNetwork {
        name: name.to_owned(),
        tags: vec!["ci".to_owned()],
        routes: routes
            .iter()
            .filter_map(|route| route.parse().ok())
            .collect(),
    };
    Network {
        sites: vec![
            site("paris", &["10.2.0.0/24", "2001:db8:2::/48"]),
            site("rome", &["10.0.0.0/8"]),
        ],
        own: vec![[10, 255, 0, 1].into()],
    }
}

fn image() -> std::sync::Arc<[Line]> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let rule = |from, to, ports| Entry {
        name: None,
        from: words(from),
        to: words(to),
        ports: Some(words(ports)),
    };
    let source = Source {
        allow: vec![
            rule(&["lan"], &["paris"], &["tcp/443", "icmp"]),
            rule(&["rome"], &["2001:db8:2::5", "10.2.0.7"], &["ad-core"]),
        ],
        ..Source::default()
    };
    let policy = Policy::new(source, &network()).map(|(policy, _)| policy);
    policy.unwrap_or_default().image()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let question = [0_u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 2, 0, 7];
    let flat: Vec<u8> = image()
        .iter()
        .flatten()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let begin = |kind| Script::default().u8(kind).chunk(&question);
    vec![
        begin(0).bytes(&flat).end(),
        begin(1).end(),
        begin(1).u16(0).bytes(&[0xff; LINE]).end(),
        begin(1).u16(4).bytes(&[3, 0, 0, 0]).end(),
        "lan\nparis\ntcp/443\nservers".into(),
        "any\n10.2.0.0/24\nudp/5060-5061\nx\ntag:ci\nrome\nad-core\ny\n::/0".into(),
    ]
}
