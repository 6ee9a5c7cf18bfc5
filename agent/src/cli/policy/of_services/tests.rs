use std::path::Path;

use datapath_abi::address;
use datapath_abi::headers::{Family, Ports};
use datapath_abi::policy::{Line, NO_RULE, Opener, Question, judge};

use super::*;
use crate::config::Config;
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

/// A gateway with two sites; its own side is the rest.
const FILE: &str = "\
[gateway]
name = \"berlin-1\"
private_key_file = \"berlin-1.key\"
listen = \"[::]:51820\"
[[gateway.lan]]
interface = \"lan0\"
[[gateway.wan]]
interface = \"wan0\"
[[site]]
name = \"paris\"
routes = [\"10.2.0.0/16\", \"fd02::/16\"]
[[site.gateway]]
name = \"paris-1\"
public_key = \"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\"
[[site]]
name = \"rome\"
routes = [\"10.3.0.0/16\", \"fd03::/16\"]
[[site.gateway]]
name = \"rome-1\"
public_key = \"5oSDk2Teq+STwKvFnBUE+8alNMmEZvgWXBMgz4E5LCg=\"
";
const SITES: [&str; 2] = ["paris", "rome"];

/// A host in each of the places, which is no service.
const HOSTS: [(&str, [&str; 2]); 3] = [
    ("lan", ["10.1.0.77", "fd01::77"]),
    ("paris", ["10.2.0.77", "fd02::77"]),
    ("rome", ["10.3.0.77", "fd03::77"]),
];

/// The rules in a configuration file, as a gateway judges by them.
fn image(text: &str) -> std::sync::Arc<[Line]> {
    let text = format!("{FILE}{text}");
    let accepted = Config::parse(&text, Path::new("/etc/crossway/berlin-1.toml"));
    accepted
        .unwrap_or_else(|wrong| panic!("{wrong}\n{text}"))
        .config
        .policy
        .image()
}

fn passes(image: &[Line], [from, to]: [IpAddr; 2], (protocol, port): (u8, u16)) -> bool {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let [source, destination] = [from, to].map(|it| address::from_bytes(bytes(it)));
    let ports = if port == 0 {
        0
    } else {
        40_000_u32 << 16 | u32::from(port)
    };
    let rule = judge(
        image,
        &Question {
            vnet: 0,
            family: if from.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            },
            source: &source,
            destination: &destination,
            protocol,
            ports: Some(Ports::of_word(ports.to_be())),
            opener: Opener::Sender,
        },
    );
    rule != NO_RULE
}

#[test]
fn the_rules_pass_what_was_seen_and_none_of_its_neighbours() {
    let services = [
        service("10.2.0.10:443/tcp", &["lan"], None),
        service("10.2.0.10:53/udp", &["lan"], None),
        service("10.2.0.11:443/tcp", &["lan"], None),
        service("10.2.0.12:443/tcp", &["lan"], None),
        service("10.2.0.12:53/udp", &["lan", "rome"], None),
        service("[fd01::1]:22/tcp", &["paris", "rome"], Some("erp")),
        service("10.1.0.9/gre", &["paris"], Some("erp")),
        service("10.1.0.9/89", &["rome"], Some("erp")),
        service("10.3.0.9:3868/sctp", &["lan", "paris"], None),
    ];
    let reply = ServicesReply {
        services: services.to_vec(),
        ..ServicesReply::default()
    };
    let image = image(&text(&reply, &SITES, RuleSet::Active));
    let is_seen = |place: &str, to, by| {
        services.iter().any(|service| {
            from(service, &SITES).contains(&place.to_owned())
                && service.address == to
                && (service.protocol_number, service.port) == by
        })
    };
    let (mut passed, mut denied) = (0, 0);
    for service in &services {
        let after = |step| match service.address {
            IpAddr::V4(address) => {
                IpAddr::from(std::net::Ipv4Addr::from_bits(address.to_bits() + step))
            }
            IpAddr::V6(address) => IpAddr::from(std::net::Ipv6Addr::from_bits(
                address.to_bits() + u128::from(step),
            )),
        };
        for other in &services {
            for port in [other.port, other.port + 1, other.port.saturating_sub(1)] {
                for to in [0, 1, 2].map(after) {
                    for (place, hosts) in HOSTS {
                        let host: IpAddr = hosts[usize::from(to.is_ipv6())].parse().unwrap();
                        let by = (other.protocol_number, port);
                        // Where a protocol has no ports, there is no other port.
                        let by = if other.port == 0 { (by.0, 0) } else { by };
                        let seen = is_seen(place, to, by);
                        assert_eq!(
                            passes(&image, [host, to], by),
                            seen,
                            "{place} to {to} {by:?}"
                        );
                        // Who answers may not open.
                        assert!(!passes(&image, [to, host], by), "{to} to {place} {by:?}");
                        passed += usize::from(seen);
                        denied += usize::from(!seen);
                    }
                }
            }
        }
    }
    assert!(
        passed >= services.len() && denied > 10 * passed,
        "{passed} {denied}"
    );
}

#[test]
fn a_site_that_is_gone_is_in_no_rule() {
    let reply = ServicesReply {
        services: vec![
            service("10.2.0.10:443/tcp", &["oslo", "rome"], None),
            service("10.2.0.11:443/tcp", &["oslo"], None),
        ],
        ..ServicesReply::default()
    };
    let text = text(&reply, &SITES, RuleSet::Shadow);
    assert!(
        text.contains("\n[[shadow]]\n") && !text.contains("[[allow]]\n"),
        "{text}"
    );
    assert!(
        text.contains("from = [\"rome\"]\nto = [\"10.2.0.10\"]\n"),
        "{text}"
    );
    assert!(text.contains("# No rule"), "{text}");
    assert_eq!(text.matches("from = ").count(), 1, "{text}");
    image(&text);
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
    let text = text(&reply, &SITES, RuleSet::Active);
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
    image(&text);
    assert!(text.contains("# 1 service: --state approved\n"), "{text}");
    let none = super::text(&ServicesReply::default(), &SITES, RuleSet::Active);
    assert!(!none.contains("\n[["), "{none}");
}
