//! Configuration files: any text gives a configuration or says what is wrong with it, and where.

use std::path::Path;

use super::feed::{Feed, Script};
use crossway::config::{Config, Diagnostic};
use crossway::gateway::plan::Numbers;
use crossway::routes::RouteTable;

const FILE: &str = "/etc/crossway/berlin-1.toml";
/// A file with something of everything.
const WHOLE: &str = include_str!("config/whole.toml");

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let bytes = match feed.u8() {
        b'~' => edited(&mut feed),
        _ => data.to_vec(),
    };
    if let Ok(text) = std::str::from_utf8(&bytes) {
        read(text);
    }
}

/// A whole file with pieces of it replaced, so that few bytes reach far.
fn edited(feed: &mut Feed<'_>) -> Vec<u8> {
    let mut text = WHOLE.as_bytes().to_vec();
    while !feed.is_empty() && text.len() < 1 << 16 {
        let at = usize::from(feed.u16()) % (text.len() + 1);
        let cut = usize::from(feed.u8());
        let end = text.len().min(at + cut);
        let length = feed.u8();
        let with = feed.bytes(length.into()).to_vec();
        text.splice(at..end, with);
    }
    text
}

fn read(text: &str) {
    let check = |found: &Diagnostic| {
        if let Some((line, column)) = found.position {
            // A file that ends with a line break has an empty line behind it.
            let line = text.split('\n').nth(line - 1).expect("the line is there");
            assert!((1..=line.chars().count() + 1).contains(&column), "{found}");
        }
        let told = found.to_string();
        assert!(!told.contains('\n'), "one finding is one line: {told:?}");
        assert!(!found.problem.is_empty());
    };
    match Config::parse(text, Path::new(FILE)) {
        Ok(accepted) => {
            accepted.warnings.iter().for_each(check);
            plan(&accepted.config);
        }
        Err(rejected) => {
            assert!(!rejected.errors.is_empty(), "a refusal has a reason");
            rejected
                .errors
                .iter()
                .chain(&rejected.warnings)
                .for_each(check);
            assert_eq!(rejected.to_string().lines().count(), rejected.errors.len());
        }
    }
}

/// What is accepted can be carried out.
fn plan(config: &Config) {
    let gateway = &config.gateway;
    assert!(gateway.tun_name().len() <= 15);
    let lanes = gateway.lanes_to_run(&config.sites, 4);
    assert!((1..=crossway::config::MAX_LANES).contains(&lanes));
    let mut numbers = Numbers::default();
    let plan = numbers.plan(config, lanes);
    let again = numbers.plan(config, lanes);
    assert!(
        plan.difference(&again).is_empty(),
        "a reload of the same changes nothing"
    );
    let routes = plan.routes().map(|(_, prefix, site)| (prefix, site));
    let table = RouteTable::new(routes);
    for (_, prefix, _) in plan.routes() {
        assert!(table.site_of(prefix.address()).is_some());
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let packaged = [
        include_str!("../../packaging/example-berlin.toml"),
        include_str!("../../packaging/example-paris.toml"),
    ];
    let mut seeds: Vec<Vec<u8>> = packaged.map(Vec::from).into();
    seeds.push(WHOLE.into());
    let edit = |at: &str, with: &str| {
        let at = WHOLE.find(at).unwrap_or_default() as u16;
        let script = Script::default().u8(b'~').u16(at).u8(0);
        script.u8(with.len() as u8).bytes(with.as_bytes()).end()
    };
    seeds.push(edit("name", ""));
    seeds.push(edit("\"10.2.", "\"10.2.0.1/16\", "));
    seeds.push(edit("[[site]]", "[[site]]\nname = \"x\"\n"));
    seeds.push(edit("endpoints", "é = [1, {a.b = 2}]\n"));
    seeds
}
