//! The catalogue of services: what real servers and clients on both sides leave in it, what outlives what, and that
//! nothing is sent for it.
//!
//! ```text
//!  host a ── [gateway a] ═══ WAN ═══ [gateway b] ── host b
//! ```

#[path = "services/talk.rs"]
mod talk;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vm_tests::api::{ReviewState, Service, ServicesReply};
use vm_tests::config::Discovery;
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::traffic::{self, Capture};
use vm_tests::{process, wait};

use talk::{DNS, ERP, at, serve, talk, talk_udp};

const DEADLINE: Duration = Duration::from_secs(20);
/// Where the two catalogues are. Dropped, it is gone.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = format!("crossway-services-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o755).create(&folder).unwrap();
        Self(folder)
    }

    fn database(&self, gateway: &str) -> PathBuf {
        self.0.join(format!("{gateway}.services.db"))
    }

    /// A pair of gateways that both have a catalogue.
    fn pair(&self) -> Pair {
        let databases = ["a", "b"].map(|gateway| self.database(gateway));
        Pair::start(|plans| {
            for (plan, database) in plans.iter_mut().zip(databases) {
                plan.configure(move |config| {
                    config.discovery = Some(Discovery {
                        database: Some(database.clone()),
                        ..Discovery::default()
                    });
                });
            }
        })
        .unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn services(gateway: &Crossway) -> Vec<Service> {
    let reply: ServicesReply = gateway.ask(&["services"]).unwrap();
    assert!(reply.kept, "{reply:?}");
    reply.services
}

/// What is told of a service, without times.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    name: String,
    site: Option<String>,
    from: (bool, Vec<String>),
    clients: u64,
    flows: u64,
    bytes: (u64, u64),
    state: ReviewState,
}

fn told(gateway: &Crossway) -> Vec<Told> {
    let all = services(gateway).into_iter().map(|service| Told {
        name: service.name().to_string(),
        site: service.site,
        from: (service.clients_here, service.client_sites),
        clients: service.clients,
        flows: service.flows,
        bytes: (service.to_service_bytes, service.from_service_bytes),
        state: service.state,
    });
    all.collect()
}

fn wait_until(gateway: &Crossway, what: &str, wanted: impl Fn(&[Told]) -> bool) -> Vec<Told> {
    let mut last = Vec::new();
    let waited = wait::until(what, DEADLINE, || {
        last = told(gateway);
        wanted(&last).then_some(())
    });
    assert!(waited.is_ok(), "{what}: {last:#?}");
    last
}

/// Bytes of the flows of a port: to the site, and from it.
fn carried(gateway: &Crossway, port: u16) -> (u64, u64) {
    let port = port.to_string();
    let flows = gateway.flows(&["--port", &port, "--top", "0"]).unwrap();
    flows.iter().fold((0, 0), |sum, (flow, _)| {
        (sum.0 + flow.to_site_bytes, sum.1 + flow.from_site_bytes)
    })
}

/// What [`talk`] leaves, in order: no echo, and no public address.
const NAMES: [&str; 3] = [
    "10.1.0.10:2222/tcp",
    "10.2.0.10:5353/udp",
    "10.2.0.10:8443/tcp",
];

#[test]
fn services_are_found_from_both_sides_and_outlive_reload_hand_over_kill_and_restart() {
    let folder = Folder::new("life");
    let mut pair = folder.pair();
    serve(&pair);
    talk(&pair);
    check_what_is_found(&pair);
    let decided = decide(&pair);
    let same = |told: &[Told]| *told == *decided;
    let file = folder.database("a");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // Whatever happens to the agent, nothing is lost and nothing counts twice.
    pair.a.upgrade().unwrap();
    pair.a.take_back().unwrap();
    wait_until(&pair.a, "the same after a hand-over", same);
    pair.a.kill_and_restart(Duration::from_millis(200)).unwrap();
    wait_until(&pair.a, "the same after a kill", same);
    pair.a.command(&["reload"]).unwrap();
    wait_until(&pair.a, "the same after a reload", same);
    assert!(pair.a.stop().unwrap().success());
    pair.a.start_again().unwrap();
    wait_until(
        &pair.a,
        "the same after a restart, whose flow table is another",
        same,
    );
    pair.wait_until_up().unwrap();
    talk(&pair);
    let doubled = wait_until(&pair.a, "more to be counted", |told| {
        told.iter().map(|it| it.flows).eq([2, 10, 10])
    });
    assert_eq!(doubled[1].bytes, (10 * 33, 10 * 33));
    assert_eq!(
        doubled.iter().map(|it| it.clients).collect::<Vec<_>>(),
        [1, 5, 5]
    );
}

fn check_what_is_found(pair: &Pair) {
    let all = wait_until(&pair.a, "a to know all", |told| {
        let found = told.iter().map(|it| it.name.as_str());
        found.eq(NAMES) && told.iter().map(|it| it.flows).eq([1, 5, 5])
    });
    let in_b = Some("b".to_owned());
    let (git, erp) = (&all[0], &all[2]);
    assert_eq!(
        (erp.clients, &erp.site, &erp.from),
        (5, &in_b, &(true, Vec::new()))
    );
    assert_eq!((git.clients, &git.site), (1, &None));
    assert_eq!(git.from, (false, vec!["b".to_owned()]));
    let known = services(&pair.a);
    assert!(
        known.iter().all(|it| it.clients_exact && !it.guessed),
        "{known:?}"
    );

    // The bytes are those of the flows, and the far gateway has counted the same from its side.
    let settled = |told: &[Told], gateway: &Crossway| {
        let public = carried(gateway, ERP).0 > 0;
        let dns = carried(gateway, DNS);
        let dns = if gateway.name() == pair.a.name() {
            dns
        } else {
            (dns.1, dns.0)
        };
        public && told.len() == 3 && told[1].bytes == dns
    };
    let of_a = wait_until(&pair.a, "its flows' bytes", |told| settled(told, &pair.a));
    let of_b = wait_until(&pair.b, "b's flows' bytes", |told| settled(told, &pair.b));
    assert_eq!(
        of_a[1].bytes,
        (5 * 33, 5 * 33),
        "5 bytes behind 28 of IP and UDP"
    );
    wait::until("both to have counted the same", DEADLINE, || {
        let bytes = |gateway| {
            told(gateway)
                .into_iter()
                .map(|it| it.bytes)
                .collect::<Vec<_>>()
        };
        (bytes(&pair.a) == bytes(&pair.b)).then_some(())
    })
    .unwrap();
    assert_eq!(
        (&of_b[2].site, &of_b[2].from),
        (&None, &(false, vec!["a".to_owned()]))
    );
}

/// Decides about all services; how they are told then.
fn decide(pair: &Pair) -> Vec<Told> {
    let order = |words: &[&str]| pair.a.command(&[&["services"], words].concat()).unwrap();
    let shown = order(&[
        "group",
        "erp",
        NAMES[2],
        NAMES[1],
        "--note",
        "for accounting",
    ]);
    assert!(
        shown.starts_with("group erp: 2 services: for accounting\n"),
        "{shown}"
    );
    order(&["approve", "erp"]);
    order(&["unapprove", "10.1.0.10:2222"]);
    let refused = pair
        .a
        .failing_command(&["services", "approve", "10.2.0.10:8444/tcp"])
        .unwrap();
    let meant = "10.2.0.10:8444/tcp is no service of the catalogue, and no group: did you mean 10.2.0.10:8443/tcp?";
    assert_eq!(
        (refused.0, refused.1.contains(meant)),
        (1, true),
        "{}",
        refused.1
    );
    let events = pair.a.command(&["events"]).unwrap();
    assert!(events.contains("service approved"), "{events}");
    let states = [
        ReviewState::Unapproved,
        ReviewState::Approved,
        ReviewState::Approved,
    ];
    let decided = wait_until(&pair.a, "decisions", |told| {
        told.iter().map(|it| it.state).eq(states)
    });

    let policy = order(&["export", "--format", "policy"]);
    let rule = "from = [\"lan\"]\nto = [\"10.2.0.10\"]\nports = [\"tcp/8443\", \"udp/5353\"]\n";
    assert!(
        policy.contains(rule) && !policy.contains("2222"),
        "{policy}"
    );
    decided
}

#[test]
fn the_file_says_which_addresses_are_of_interest_and_whether_there_is_a_catalogue() {
    let folder = Folder::new("scope");
    let mut pair = folder.pair();
    let file = folder.database("a");
    serve(&pair);
    talk(&pair);
    wait_until(&pair.a, "a to know all that is private", |told| {
        told.iter().map(|it| it.name.as_str()).eq(NAMES)
    });

    // Public addresses are of interest where the file says so.
    let database = file.clone();
    pair.plans[0].configure(move |config| {
        config.discovery = Some(Discovery {
            database: Some(database.clone()),
            networks: vec!["2001:db8::/32".parse().unwrap()],
            ..Discovery::default()
        });
    });
    pair.a.write_config(&pair.plans[0]).unwrap();
    let said = pair.a.command(&["reload"]).unwrap();
    assert!(said.contains("discovery of services"), "{said}");
    let all = wait_until(&pair.a, "the public one", |told| told.len() == 4);
    assert!(all[3].name.ends_with("]:8443/tcp"), "{all:#?}");
    assert_eq!(all[1].flows, 5);

    // And none where it says nothing: what was kept stays.
    pair.plans[0].configure(|config| config.discovery = None);
    pair.a.write_config(&pair.plans[0]).unwrap();
    pair.a.command(&["reload"]).unwrap();
    let (code, said) = pair.a.failing_command(&["services"]).unwrap();
    assert!(
        code == 1 && said.contains("write [discovery] into the configuration file"),
        "{said}"
    );
    assert!(file.exists());
}

#[test]
fn a_scan_of_a_thousand_closed_ports_enters_nothing() {
    let folder = Folder::new("scan");
    let pair = folder.pair();
    let far = pair.far(Family::V4);
    let scanned = pair.site_a().host.enter(|| {
        let refused = (1..=1000).filter(|port| {
            let error = TcpStream::connect_timeout(&at(far, *port), DEADLINE).unwrap_err();
            error.kind() == std::io::ErrorKind::ConnectionRefused
        });
        refused.count()
    });
    assert_eq!(scanned.unwrap(), 1000);
    for gateway in [&pair.a, &pair.b] {
        let reply = wait::until("the scan to be counted", DEADLINE, || {
            let reply: ServicesReply = gateway.ask(&["services"]).unwrap();
            (reply.unanswered_flows >= 1000).then_some(reply)
        })
        .unwrap();
        assert_eq!(
            (reply.present, reply.unanswered_flows),
            (0, 1000),
            "{reply:?}"
        );
    }
}

#[test]
fn nothing_is_sent_for_the_catalogue() {
    let folder = Folder::new("silent");
    let pair = folder.pair();
    serve(&pair);
    talk(&pair);
    for gateway in [&pair.a, &pair.b] {
        wait_until(gateway, "both to know all", |told| told.len() == 3);
    }
    let capture = |on: &Netns, interface, filter| {
        Capture::start(&pair.topology, on, interface, filter).unwrap()
    };
    // Neighbours and multicast groups are told of now and then, whatever runs. The tunnel has its keepalive and BFD.
    let lan = "tcp or udp or icmp";
    let wan = "(tcp or udp or icmp) and not udp port 51820";
    let captures = [
        capture(&pair.site_a().host, "eth0", lan),
        capture(&pair.site_b().host, "eth0", lan),
        capture(&pair.site_a().gateway, "wan0", wan),
        capture(&pair.site_b().gateway, "wan0", wan),
    ];
    // Passes go on, and people look and decide.
    for _ in 0..6 {
        for gateway in [&pair.a, &pair.b] {
            gateway
                .command(&["services", "review", "10.2.0.10:8443/tcp"])
                .unwrap();
            gateway
                .command(&["services", "show", "10.2.0.10:8443/tcp"])
                .unwrap();
        }
        wait::pace(Duration::from_secs(1));
    }
    for capture in captures {
        assert_eq!(capture.finish().unwrap(), Vec::<String>::new());
    }
    // The captures see what there is.
    let sees = capture(&pair.site_b().host, "eth0", lan);
    let near = pair.site_a().host_address(Family::V4);
    talk_udp(&pair.site_a().host, near, at(pair.far(Family::V4), DNS));
    sees.wait_for(2, DEADLINE).unwrap();
}

/// A file system of its own. Dropped, it is gone.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(folder: &'a Path, kib: u32) -> Self {
        let size = format!("size={kib}k,mode=755");
        let mut command = Command::new("mount");
        process::run(
            command
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(folder),
        )
        .unwrap();
        Self(folder)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(process::run(
            Command::new("umount").arg("--lazy").arg(self.0),
        ));
    }
}

fn warnings(gateway: &Crossway) -> Vec<String> {
    let status = gateway.status().unwrap();
    let warned = status
        .warned
        .into_iter()
        .filter(|it| it.source == "discovery");
    warned.map(|it| it.text).collect()
}

fn wait_for_warning(gateway: &Crossway, words: &str) {
    let wanted = format!("the warning {words:?}");
    let waited = wait::until(&wanted, DEADLINE, || {
        warnings(gateway)
            .iter()
            .any(|it| it.contains(words))
            .then_some(())
    });
    assert!(waited.is_ok(), "{:?}\n{}", warnings(gateway), gateway.log());
}

#[test]
fn a_full_disk_and_a_damaged_file_are_warnings_and_the_gateway_goes_on() {
    let folder = Folder::new("trouble");
    let disk = Small::mount(&folder.0, 256);
    let mut pair = folder.pair();
    serve(&pair);
    talk(&pair);
    wait_until(&pair.a, "a to know all", |told| told.len() == 3);
    let approve = ["services", "approve", "10.2.0.10:8443/tcp"];
    let note = |text: &str| {
        let words = ["services", "note", "10.2.0.10:8443/tcp", text];
        pair.a.failing_command(&words)
    };
    pair.a.command(&approve).unwrap();

    // Full: an order that cannot be kept is refused, and nothing else happens.
    let filler = folder.0.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    drop(file);
    let (code, said) = note(&"x".repeat(900)).unwrap();
    assert!(
        code == 1 && said.contains("nothing was changed: it cannot be kept in"),
        "{said}"
    );
    assert!(said.contains("full"), "{said}");
    talk(&pair);
    wait_for_warning(&pair.a, "have room");
    traffic::wait_for_ping(&pair.site_a().host, pair.far(Family::V4), DEADLINE).unwrap();
    let all = services(&pair.a);
    assert!(all.iter().all(|it| it.note.is_empty()), "{all:?}");
    std::fs::remove_file(&filler).unwrap();
    wait::until("the warning to end", DEADLINE, || {
        warnings(&pair.a).is_empty().then_some(())
    })
    .unwrap();
    pair.a
        .command(&["services", "note", "10.2.0.10:8443/tcp", "web"])
        .unwrap();

    // Damaged: it is put aside, and the gateway starts.
    assert!(pair.a.stop().unwrap().success());
    let database = folder.database("a");
    std::fs::write(&database, [7; 8192]).unwrap();
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    wait_for_warning(&pair.a, "was damaged, and another was begun");
    let names = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|it| it.unwrap().file_name());
    let names: Vec<String> = names.map(|it| it.to_string_lossy().into_owned()).collect();
    let is_it =
        |name: &&String| name.starts_with("a.services.db.damaged-") && !name.ends_with("-journal");
    let aside = names.iter().find(is_it);
    let aside = folder.0.join(aside.expect("the damaged file"));
    assert_eq!(std::fs::read(&aside).unwrap(), [7; 8192]);
    std::fs::remove_file(aside).unwrap();
    talk(&pair);
    wait_until(&pair.a, "it to be filled anew", |told| told.len() == 3);
    assert_eq!(warnings(&pair.a), Vec::<String>::new());
    drop(pair);
    drop(disk);
}
