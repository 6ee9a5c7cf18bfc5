//! What happens on the wire, as the agent learns it from the programs.
//!
//! ```text
//! wan-host (192.0.2.2) ──veth── wan0 [wan_guard]
//! ```

use std::net::UdpSocket;
use std::time::Duration;

use crossway_datapath::{Datapath, DatapathEvent, Events, TcAttach, Wanted};
use crossway_types::ids::LinkId;
use crossway_types::interface::XdpChoice;
use datapath_abi::outcome::DropReason;
use datapath_abi::settings::Settings;
use tokio::time::timeout;

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

fn guarded_wan() -> Datapath {
    enter_sandbox();
    veth("wan0", "wan-host");
    // Nobody here has the destination, so that the datagrams do cross the wire.
    ip("link set wan0 address 02:00:00:00:00:01");
    ip("addr add 192.0.2.2/24 dev wan-host");
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev wan-host");
    let mut datapath = Datapath::load("events", TcAttach::Auto).unwrap();
    let settings = Settings {
        listen_port: PORT,
        lanes: 1,
        ..Settings::default()
    };
    datapath.settings.set(settings).unwrap();
    let wanted = Wanted {
        wan: &[wan("wan0", XdpChoice::Generic)],
        ..Wanted::default()
    };
    datapath.attach(wanted).unwrap();
    datapath
}

async fn next_drop(events: &mut Events) -> DropReason {
    let event = timeout(Duration::from_secs(10), events.next())
        .await
        .expect("an event within ten seconds")
        .unwrap();
    match event {
        DatapathEvent::Drop { reason, .. } => reason,
        other @ DatapathEvent::NewFlow { .. } => panic!("expected a drop, found {other:?}"),
    }
}

#[test]
fn a_dropped_datagram_is_reported_and_a_known_receiver_is_let_through() {
    let mut datapath = guarded_wan();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sender = UdpSocket::bind("192.0.2.2:0").unwrap();
    let send = |message: &[u8]| sender.send_to(message, ("192.0.2.1", PORT)).unwrap();
    runtime.block_on(async {
        let mut events = datapath.take_events().unwrap().unwrap();
        assert!(datapath.take_events().unwrap().is_none(), "there is one");
        send(&[9; 40]);
        assert_eq!(next_drop(&mut events).await, DropReason::WanBadType);
        send(&KEEPALIVE);
        assert_eq!(next_drop(&mut events).await, DropReason::WanUnknownReceiver);

        datapath.sessions.insert(RECEIVER, LinkId(1)).unwrap();
        send(&KEEPALIVE);
        send(&[4; 20]);
        assert_eq!(next_drop(&mut events).await, DropReason::WanTooShort);
    });
    for (reason, tally) in datapath.tallies.drops().unwrap() {
        let expected = match reason {
            DropReason::WanBadType | DropReason::WanUnknownReceiver | DropReason::WanTooShort => 1,
            _ => 0,
        };
        assert_eq!(tally.packets, expected, "{}", reason.as_str());
    }
    datapath.detach().unwrap();
}
