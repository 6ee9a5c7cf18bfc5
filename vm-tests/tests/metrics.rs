//! A gateway's metrics as those see them who read them: a real Prometheus, strangers, and the next agent.
//!
//! ```text
//!  host a ── [gateway a, Prometheus] ──────── [gateway b] ── host b
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use vm_tests::config::{Metrics, MetricsDoor};
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::prometheus::{self, Prometheus, promtool};
use vm_tests::topology::Family;
use vm_tests::{process, traffic, wait};

const LISTEN: &str = "127.0.0.1:19586";
const GET: &str =
    "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text\r\n\r\n";
const SOON: Duration = Duration::from_secs(20);

fn by_tcp() -> Metrics {
    Metrics {
        door: MetricsDoor::Address {
            listen: LISTEN.parse().unwrap(),
            tls: None,
        },
    }
}

fn pair(metrics: Metrics) -> Pair {
    Pair::start(|plans| {
        plans[0].configure(move |config| config.metrics = Some(metrics.clone()));
    })
    .unwrap()
}

/// Sends `request` and reads to the end.
fn talk(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A refusal may come before all was sent.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn connect(netns: &Netns) -> std::io::Result<TcpStream> {
    let address: SocketAddr = LISTEN.parse().unwrap();
    let stream = netns.enter(|| TcpStream::connect(address)).unwrap()?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

fn get(netns: &Netns) -> String {
    prometheus::scrape(netns, LISTEN.parse().unwrap()).unwrap()
}

/// The value of the one sample that begins so.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn prometheus_scrapes_a_gateway_and_its_queries_agree_with_the_commands() {
    let pair = pair(by_tcp());
    let netns = &pair.site_a().gateway;
    let directory = pair.topology.directory();
    let prometheus = Prometheus::start(netns, directory, LISTEN, "").unwrap();
    traffic::ping(&pair.site_a().host, pair.far(Family::V4), 20).unwrap();

    let site = pair.a.site("b").unwrap();
    wait::until("the counters to be scraped", SOON, || {
        let query = r#"crossway_site_transmit_packets_total{site="b"}"#;
        let scraped = prometheus.value(query).ok()??;
        (scraped >= site.to_site_packets as f64).then_some(())
    })
    .unwrap();
    for (query, expected) in [
        (r#"up{job="crossway"}"#, 1.0),
        (r#"crossway_site_up{site="b"}"#, 1.0),
        (r#"crossway_link_state{site="b",lane="0",state="Up"}"#, 1.0),
        (r#"crossway_link_bfd_state{site="b",state="Up"}"#, 1.0),
        (r#"count(crossway_build_info{gateway!=""})"#, 1.0),
        ("count(crossway_link_handshakes_total > 0)", 1.0),
        ("count(crossway_link_handshake_age_seconds < 180)", 1.0),
        (r#"count(crossway_offload_active{offload="udp-gso"})"#, 1.0),
        (r#"count(crossway_map_entries{map="flows"} > 0)"#, 1.0),
        ("count(rate(crossway_lane_busy_seconds_total[1m]) < 1)", 1.0),
    ] {
        wait::until(query, SOON, || {
            let value = prometheus.value(query).ok()?;
            (value == Some(expected)).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", prometheus.query(query)));
    }
    // No label comes from a packet.
    let text = get(netns);
    assert!(!text.contains(&pair.far(Family::V4).to_string()), "{text}");
    // Whoever does not ask for OpenMetrics gets what `promtool` reads.
    let classic = talk(connect(netns).unwrap(), "GET /metrics HTTP/1.1\r\n\r\n");
    let (head, classic) = classic.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let text_file = directory.join("exposition.txt");
    fs::write(&text_file, classic).unwrap();
    promtool(&["check", "metrics"], Some(&text_file)).unwrap();
}

#[test]
fn the_rules_hold_and_the_dashboard_asks_for_what_there_is() {
    let folder = prometheus::folder();
    let file = |name: &str| folder.join(name).display().to_string();
    promtool(&["check", "rules", &file("rules.yml")], None).unwrap();
    promtool(&["test", "rules", &file("rules.test.yml")], None).unwrap();
    promtool(&["check", "config", &file("prometheus.yml")], None).unwrap();

    let pair = pair(by_tcp());
    let netns = &pair.site_a().gateway;
    let answer = get(netns);
    let known: BTreeSet<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let prometheus = Prometheus::start(netns, pair.topology.directory(), LISTEN, "").unwrap();
    let dashboard = fs::read_to_string(folder.join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries: Vec<String> = queries
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .map(|query| query.replace("$__rate_interval", "1m"))
        .map(|query| query.replace("$instance", ".*").replace("$site", ".*"))
        .collect();
    assert!(queries.len() > 15, "{queries:?}");
    let rules = fs::read_to_string(folder.join("rules.yml")).unwrap();
    for query in &queries {
        prometheus.query(query).unwrap();
    }
    queries.push(rules);
    for word in queries.iter().flat_map(|query| names_in(query)) {
        let family = word.strip_suffix("_total").unwrap_or(word);
        assert!(known.contains(family), "{word} is no metric: {known:?}");
    }
}

/// Words of a query or of a file of rules that are names of our metrics.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("crossway_") || word.starts_with("process_"))
}

#[test]
fn each_message_that_is_lost_on_the_way_is_counted_and_no_other() {
    let pair = pair(by_tcp());
    let netns = &pair.site_a().gateway;
    let messages = || pair.a.links().unwrap()[0].messages;
    let before = messages();
    assert_eq!(before.missing, 0, "{before:?}");
    // Every tenth data message (type 4) that comes for the tunnel; BFD's are among them.
    for line in [
        "nft add table inet lossy",
        "nft add counter inet lossy lost",
        "nft add chain inet lossy input { type filter hook input priority 0 ; }",
        "nft add rule inet lossy input udp dport 51820 @th,64,8 4 numgen inc mod 10 0 counter name lost drop",
    ] {
        netns.run(line).unwrap();
    }
    let report = traffic::ping(&pair.site_a().host, pair.far(Family::V4), 200).unwrap();
    assert!(report.received < report.sent, "{report:?}");
    netns.run("nft flush chain inet lossy input").unwrap();
    let lost = netns.run("nft list counter inet lossy lost").unwrap();
    let (_, lost) = lost.split_once("packets ").unwrap();
    let lost: u64 = lost.split_whitespace().next().unwrap().parse().unwrap();
    assert!(lost >= u64::from(report.sent - report.received), "{lost}");
    // The message behind the last that was lost shows it.
    let known = wait::until("all that was lost to be missing", SOON, || {
        Some(messages()).filter(|messages| messages.missing >= lost)
    });
    let known = known.unwrap_or_else(|_| messages());
    assert_eq!(known.missing, lost, "{known:?}");
    assert_eq!(
        (known.reordered, known.duplicate, known.outdated),
        (0, 0, 0)
    );
    let answer = get(netns);
    let counted = |name: &str| value(&answer, &format!("crossway_link_{name}_messages_total{{"));
    let (expected, received) = (counted("expected").unwrap(), counted("received").unwrap());
    assert_eq!((expected - received) as u64, lost);
}

#[test]
fn strangers_get_nothing_else_and_cost_nobody_anything() {
    let pair = pair(by_tcp());
    let netns = &pair.site_a().gateway;
    for (request, status) in [
        (
            "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "405",
        ),
        ("GET /../etc/shadow HTTP/1.1\r\n\r\n", "404"),
        ("\u{0}\u{1}\u{2}\r\n\r\n", "400"),
    ] {
        let answer = talk(connect(netns).unwrap(), request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let endless = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(4096));
    let answer = talk(connect(netns).unwrap(), &endless);
    assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    // Those who say nothing are closed in time for the others.
    let silent: Vec<TcpStream> = (0..40).map(|_| connect(netns).unwrap()).collect();
    let answer = get(netns);
    assert!(answer.ends_with("# EOF\n"));
    drop(silent);
    let status = pair.a.status().unwrap();
    let threads = status.posture.threads;
    let metrics = threads
        .iter()
        .find(|thread| thread.name == "metrics")
        .unwrap();
    assert_eq!(metrics.capabilities, [""; 0], "{threads:?}");
}

#[test]
fn a_reload_moves_the_address_and_the_next_agent_goes_on_with_its_socket() {
    let mut pair = pair(by_tcp());
    let counted = |pair: &Pair| {
        let answer = get(&pair.site_a().gateway);
        value(&answer, "crossway_link_received_messages_total{").unwrap()
    };
    let before = counted(&pair);
    pair.a.take_over().unwrap();
    assert!(counted(&pair) >= before, "the count goes on");

    // A second program on the same port: the reload is refused, and all is as it was.
    let path: PathBuf = pair.topology.directory().join("metrics.socket");
    let mut plan = pair.plans[0].clone();
    let taken = pair
        .site_a()
        .gateway
        .enter(|| std::net::TcpListener::bind("127.0.0.1:19587"));
    let taken = taken.unwrap().unwrap();
    plan.configure(|config| {
        let listen = "127.0.0.1:19587".parse().unwrap();
        config.metrics = Some(Metrics {
            door: MetricsDoor::Address { listen, tls: None },
        });
    });
    pair.a.write_config(&plan).unwrap();
    let (code, said) = pair.a.failing_command(&["reload"]).unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("TCP 127.0.0.1:19587: is another program"),
        "{said}"
    );
    counted(&pair);
    drop(taken);

    let socket = path.clone();
    plan.configure(move |config| {
        config.metrics = Some(Metrics {
            door: MetricsDoor::Socket {
                path: socket.clone(),
                group: None,
            },
        });
    });
    pair.a.write_config(&plan).unwrap();
    pair.a.command(&["reload"]).unwrap();
    assert!(
        connect(&pair.site_a().gateway).is_err(),
        "the port is closed"
    );
    let answer = talk(UnixStream::connect(&path).unwrap(), GET);
    assert!(answer.contains("crossway_build_info{"));
    let file = path.metadata().unwrap();
    assert_eq!((file.permissions().mode() & 0o777, file.uid()), (0o660, 0));
    pair.a.take_over().unwrap();
    let answer = talk(UnixStream::connect(&path).unwrap(), GET);
    assert!(answer.contains("crossway_build_info{"));

    plan.configure(|config| config.metrics = None);
    pair.a.write_config(&plan).unwrap();
    pair.a.command(&["reload"]).unwrap();
    assert!(!path.exists());
    assert_eq!(pair.a.status().unwrap().warnings, [""; 0]);
}

/// Certificates of one authority.
struct Authority<'a> {
    directory: &'a Path,
}

impl<'a> Authority<'a> {
    fn new(directory: &'a Path) -> Self {
        let authority = Self { directory };
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt");
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A certificate for `127.0.0.1`, and its key.
    fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        fs::write(self.file("leaf.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        self.openssl(&format!("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {key} -out leaf.csr"));
        self.openssl(&format!("x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out {certificate}"));
        (self.file(&certificate), self.file(&key))
    }

    fn openssl(&self, words: &str) {
        let mut command = Command::new("openssl");
        process::run(command.current_dir(self.directory).args(words.split(' '))).unwrap();
    }
}

#[test]
fn by_tls_only_those_read_whose_certificate_is_known() {
    let pair = Pair::start(|_| ()).unwrap();
    let authority = Authority::new(pair.topology.directory());
    let (certificate_file, key_file) = authority.certify("gateway");
    let (reader, reader_key) = authority.certify("reader");
    let known = authority.file("ca.crt");
    let tls = vm_tests::config::MetricsTls {
        certificate_file,
        key_file: key_file.clone(),
        client_ca_file: Some(known.clone()),
    };
    let mut plan = pair.plans[0].clone();
    plan.configure(move |config| {
        config.metrics = Some(Metrics {
            door: MetricsDoor::Address {
                listen: LISTEN.parse().unwrap(),
                tls: Some(tls.clone()),
            },
        });
    });
    let mut pair = pair;
    pair.a.write_config(&plan).unwrap();
    fs::rename(&key_file, key_file.with_extension("away")).unwrap();
    let (_, said) = pair.a.failing_command(&["reload"]).unwrap();
    assert!(said.contains("gateway.key cannot be read"), "{said}");
    fs::rename(key_file.with_extension("away"), &key_file).unwrap();
    pair.a.command(&["reload"]).unwrap();

    let netns = &pair.site_a().gateway;
    let directory = pair.topology.directory();
    let scrape = format!(
        "    scheme: https\n    tls_config:\n      ca_file: {}\n      cert_file: {}\n      key_file: {}\n",
        known.display(),
        reader.display(),
        reader_key.display()
    );
    let prometheus = Prometheus::start(netns, directory, LISTEN, &scrape).unwrap();
    wait::until("a scrape by TLS", SOON, || {
        let up = prometheus.value(r#"up{job="crossway"}"#).ok()?;
        (up == Some(1.0)).then_some(())
    })
    .unwrap();
    drop(prometheus);
    let stranger = "    scheme: https\n    tls_config: { insecure_skip_verify: true }\n";
    let prometheus = Prometheus::start(netns, directory, LISTEN, stranger).unwrap();
    wait::until("a scrape that is refused", SOON, || {
        let up = prometheus.value(r#"up{job="crossway"}"#).ok()?;
        (up == Some(0.0)).then_some(())
    })
    .unwrap();
}
