//! What the programs say, in the agent's log.
//!
//! ```text
//! wan-host (192.0.2.2) ──veth── wan0 [wan_guard]
//! ```

use std::fmt;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossway_datapath::{Datapath, TcAttach, Wanted};
use crossway_types::ids::LinkId;
use crossway_types::interface::XdpChoice;
use datapath_abi::ABI_VERSION;
use datapath_abi::maps;
use datapath_abi::outcome::DropReason;
use datapath_abi::settings::Settings;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::support::*;

const PORT: u16 = 51820;
/// A data message that carries nothing.
const KEEPALIVE: [u8; 32] = {
    let mut message = [0; 32];
    message[0] = 4;
    message[5] = 0x12;
    message
};
const RECEIVER: u32 = 0x1200;

fn guarded_wan(gateway: &str) -> Datapath {
    enter_sandbox();
    veth("wan0", "wan-host");
    // Nobody here has the destination, so that the datagrams do cross the wire.
    ip("link set wan0 address 02:00:00:00:00:01");
    ip("addr add 192.0.2.2/24 dev wan-host");
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev wan-host");
    let mut datapath = load_datapath(gateway, TcAttach::Auto).unwrap();
    let settings = Settings {
        listen_port: PORT,
        lanes: 1,
        ..Settings::default()
    };
    datapath.settings.set(settings).unwrap();
    // To the program it is an address of the host.
    let ours = "192.0.2.1/32".parse().unwrap();
    datapath.local.set_addresses([ours]).unwrap();
    let wanted = Wanted {
        wan: &[wan("wan0", XdpChoice::Generic)],
        ..Wanted::default()
    };
    datapath.attach(wanted).unwrap();
    datapath
}

fn send(message: &[u8]) {
    let sender = UdpSocket::bind("192.0.2.2:0").unwrap();
    sender.send_to(message, ("192.0.2.1", PORT)).unwrap();
}

/// How many were dropped for these reasons, once there is one more than before.
fn dropped(datapath: &Datapath) -> u64 {
    let tallies = datapath.tallies.drops().unwrap();
    tallies.iter().map(|(_, tally)| tally.packets).sum()
}

#[test]
fn a_dropped_datagram_is_counted_and_a_known_receiver_is_let_through() {
    let mut datapath = guarded_wan("drops");
    send(&[9; 40]);
    send(&KEEPALIVE);
    datapath.sessions.insert(RECEIVER, LinkId(1)).unwrap();
    send(&KEEPALIVE);
    send(&[4; 20]);
    assert_eq!(
        dropped(&datapath),
        3,
        "generic XDP judges as the sender sends"
    );
    // Also after another agent has taken over, for which it is no address of the host any more.
    drop(datapath);
    let mut datapath = load_datapath("drops", TcAttach::Auto).unwrap();
    datapath.local.set_addresses([]).unwrap();
    send(&[9; 40]);
    assert_eq!(dropped(&datapath), 3, "for somebody else");
    for (reason, tally) in datapath.tallies.drops().unwrap() {
        let expected = match reason {
            DropReason::WanBadType | DropReason::WanUnknownReceiver | DropReason::WanTooShort => 1,
            _ => 0,
        };
        assert_eq!(tally.packets, expected, "{}", reason.as_str());
    }
    datapath.detach().unwrap();
}

#[test]
fn what_a_program_says_is_in_the_log_with_its_name_and_each_load_has_its_own_ring() {
    let mut first = guarded_wan("log");
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(lines.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut old_log = first.take_log().unwrap();
        // Takes over, as a new agent does: the maps are the same, the programs and their ring are new.
        let mut next = load_datapath("log", TcAttach::Auto).unwrap();
        assert!(next.took_over());
        let mut log = next.take_log().unwrap();
        let wanted = Wanted {
            wan: &[wan("wan0", XdpChoice::Generic)],
            ..Wanted::default()
        };
        next.attach(wanted).unwrap();
        spoil_version(&next);
        send(&KEEPALIVE);
        let deadline = Duration::from_secs(10);
        let said = timeout(deadline, log.follow()).await;
        said.expect("something within ten seconds").unwrap();
        let from_the_old = timeout(Duration::from_millis(1), old_log.follow()).await;
        assert!(from_the_old.is_err(), "its programs are attached nowhere");
        next.detach().unwrap();
    });
    drop(guard);
    let lines = lines.0.lock().unwrap();
    let line = lines.iter().find(|line| line.contains("no settings"));
    let line = line.unwrap_or_else(|| panic!("{lines:?}"));
    assert!(line.contains("program=\"wan_guard\""), "{line}");
    assert!(line.starts_with("WARN"), "{line}");
}

/// As an agent of another version would leave them.
fn spoil_version(datapath: &Datapath) {
    let path = datapath.pin_directory().join(maps::SETTINGS);
    let map = aya::maps::Map::from_map_data(aya::maps::MapData::from_pin(path).unwrap()).unwrap();
    let mut map = aya::maps::Array::<_, Settings>::try_from(map).unwrap();
    let settings = Settings {
        abi_version: ABI_VERSION + 1,
        ..map.get(&0, 0).unwrap()
    };
    map.set(0, settings, 0).unwrap();
}

/// Keeps each event as a line: level and fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        let _ = write!(self.0, " {field}={value:?}");
    }
}
