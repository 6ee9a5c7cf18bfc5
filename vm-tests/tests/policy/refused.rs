//! Answers to denied packets, where the file wants them.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use vm_tests::topology::{Family, Site};
use vm_tests::wait;

use crate::scene::{RULES, SOON, Scene, Way};
use crate::talk::{LIMIT, SHORT, connect, listen, udp};

const REJECT: &str = "denied = \"reject\"";

#[test]
fn whoever_is_denied_is_told_at_once() {
    for way in Way::ALL {
        let scene = Scene::with(way, REJECT, RULES, None);
        let [a, b] = scene.ends();
        for family in Family::ALL {
            // From the LAN, and out of the tunnel.
            for (from, to) in [(a, b), (b, a)] {
                let closed = listen(to, family, 8001);
                let error = connect(from, &closed, LIMIT).unwrap_err();
                let what = format!("{way:?} {family:?} from {}", from.name);
                assert_eq!(
                    error.kind(),
                    ErrorKind::ConnectionRefused,
                    "{what}: {error}"
                );
                let error = refused(from, to, family);
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::HostUnreachable | ErrorKind::PermissionDenied
                    ),
                    "{what}: {error}"
                );
            }
        }
        scene.set_rules("", RULES);
        let closed = listen(b, Family::V4, 8001);
        let error = connect(a, &closed, SHORT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{way:?}");
    }
}

/// What the sender of a datagram is told.
fn refused(from: &Site, to: &Site, family: Family) -> std::io::Error {
    let (socket, target): (UdpSocket, UdpSocket) = (udp(from, family, 0), udp(to, family, 8002));
    socket.connect(target.local_addr().unwrap()).unwrap();
    socket.send(b"may I?").unwrap();
    socket.recv(&mut [0; 8]).unwrap_err()
}

#[test]
fn there_are_no_more_answers_than_a_hundred_a_second() {
    for way in Way::ALL {
        let scene = Scene::with(way, REJECT, RULES, None);
        let [a, b] = scene.ends();
        let (from, to) = (udp(a, Family::V4, 9000), udp(b, Family::V4, 8001));
        let target = to.local_addr().unwrap();
        let start = wait::now();
        let seen = scene.denied_on_the_way_to(a, 1500, || {
            for number in 0..2000 {
                // The error is that of an earlier one.
                let _ = from.send_to(b"again", target);
                if number % 20 == 0 {
                    wait::pace(Duration::from_millis(2));
                }
            }
        });
        let seconds = start.elapsed().as_secs() + 2;
        let answers = crate::scene::of(&seen, 1, None) as u64;
        assert!(
            answers > 0 && answers <= 100 * seconds,
            "{way:?}: {answers} in {seconds} s"
        );
    }
}

#[test]
fn denied_flows_are_events_and_the_reason_of_drops() {
    for way in Way::ALL {
        let scene = Scene::start(way, RULES);
        let [a, b] = scene.ends();
        let closed = listen(b, Family::V4, 8001);
        connect(a, &closed, SHORT).unwrap_err();
        let told = wait::try_until("an event", SOON, || {
            let events = scene.first().command(&["events"])?;
            Ok(events
                .lines()
                .find(|line| line.contains("denied"))
                .map(str::to_owned))
        })
        .unwrap();
        assert!(
            told.contains("10.1.0.10") && told.contains("10.2.0.10 tcp/8001"),
            "{told}"
        );
        assert!(scene.denied() > 0);
        let status = scene.first().command(&["status"]).unwrap();
        assert!(status.contains("closed: "), "{status}");
    }
}
