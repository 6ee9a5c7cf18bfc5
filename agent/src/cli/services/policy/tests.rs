use std::str::FromStr;

use toml_edit::DocumentMut;

use super::*;
use crate::control::ServiceFilter;
use crate::control::message::{ReviewState, ServiceGroup, ServiceName};

fn service(name: &str, from: &[&str], group: Option<&str>) -> Service {
    let ServiceName {
        address,
        port,
        protocol,
    } = name.parse().unwrap();
    let protocol_number = protocol.unwrap();
    let sites = from.iter().filter(|it| **it != "lan");
    Service {
        vnet: "default".to_owned(),
        address,
        real: None,
        port,
        protocol: crate::control::protocol::name(protocol_number),
        protocol_number,
        site: None,
        state: ReviewState::Approved,
        group: group.map(str::to_owned),
        note: String::new(),
        changed_unix_milliseconds: None,
        changed_by: String::new(),
        clients: 1,
        clients_exact: true,
        clients_here: from.contains(&"lan"),
        client_sites: sites.map(|it| (*it).to_owned()).collect(),
        client_sites_complete: true,
        flows: 1,
        to_service_bytes: 1,
        from_service_bytes: 1,
        first_seen_unix_milliseconds: 0,
        last_seen_unix_milliseconds: 0,
        guessed: false,
    }
}

/// Every (from, address, port) that the rules of a text let in.
fn allowed(text: &str) -> BTreeSet<(String, String, String)> {
    let document = DocumentMut::from_str(text).unwrap();
    let Some(rules) = document.get("allow") else {
        return BTreeSet::new();
    };
    let list = |rule: &toml_edit::Table, key| -> Vec<String> {
        let values = rule[key].as_array().unwrap().iter();
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    let mut allowed = BTreeSet::new();
    for rule in rules.as_array_of_tables().unwrap() {
        for from in list(rule, "from") {
            for to in list(rule, "to") {
                for port in list(rule, "ports") {
                    allowed.insert((from.clone(), to.clone(), port));
                }
            }
        }
    }
    allowed
}

#[test]
fn a_policy_lets_in_what_was_seen_and_nothing_else() {
    let services = [
        service("10.2.0.10:443/tcp", &["lan"], None),
        service("10.2.0.10:53/udp", &["lan"], None),
        service("10.2.0.11:443/tcp", &["lan"], None),
        service("10.2.0.12:443/tcp", &["lan"], None),
        service("10.2.0.12:53/udp", &["lan", "rome"], None),
        service("[fd00::1]:22/tcp", &["paris", "rome"], Some("erp")),
        service("10.1.0.9/gre", &["paris"], Some("erp")),
    ];
    let expected: BTreeSet<_> = services
        .iter()
        .flat_map(|service| {
            let (name, port) = (service.protocol.clone(), service.port);
            let port = if port == 0 {
                name
            } else {
                format!("{name}/{port}")
            };
            from(service)
                .into_iter()
                .map(move |from| (from, service.address.to_string(), port.clone()))
        })
        .collect();
    let reply = ServicesReply {
        services: services.to_vec(),
        ..ServicesReply::default()
    };
    let text = text(&reply);
    assert_eq!(allowed(&text), expected, "{text}");
}

#[test]
fn the_text_is_toml_whatever_people_have_noted() {
    let noted = Service {
        note: "quote \" and [[allow]] \u{2028} from = [\"any\"]".to_owned(),
        guessed: true,
        client_sites_complete: false,
        ..service("10.2.0.10:443/tcp", &["lan", "paris"], Some("erp"))
    };
    let reply = ServicesReply {
        services: vec![noted],
        groups: vec![ServiceGroup {
            name: "erp".to_owned(),
            note: "SAP".to_owned(),
            services: 1,
        }],
        filter: ServiceFilter {
            state: Some(ReviewState::Approved),
            ..ServiceFilter::default()
        },
        ..ServicesReply::default()
    };
    let text = text(&reply);
    let rule = &text[text.find("[[allow]]\n# group").unwrap()..];
    assert_eq!(
        rule,
        "[[allow]]\n\
         # group erp: SAP\n\
         # 10.2.0.10:443/tcp in lan: clients 1, 1 flow, last seen 1970-01-01T00:00:00Z; a guess by its port; quote \" \
         and [[allow]] \u{2028} from = [\"any\"]\n\
         from = [\"any\"]\n\
         to = [\"10.2.0.10\"]\n\
         ports = [\"tcp/443\"]\n"
    );
    let only = ("any", "10.2.0.10", "tcp/443");
    let only = (only.0.to_owned(), only.1.to_owned(), only.2.to_owned());
    assert_eq!(allowed(&text), BTreeSet::from([only]));
    assert!(text.contains("# 1 service: --state approved\n"), "{text}");
    assert!(allowed(&super::text(&ServicesReply::default())).is_empty());
}
