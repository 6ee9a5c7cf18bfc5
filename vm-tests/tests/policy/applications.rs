//! Applications that open more than one flow.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use vm_tests::topology::Family;

use crate::scene::{Scene, Way};
use crate::talk::{LIMIT, SHORT, ask, connect, listen, send, udp};

const FILE: usize = 200_000;

#[test]
fn ftp_passes_in_passive_mode_and_not_in_active_mode() {
    let rules = r#"
        [[allow]]
        name = "ftp"
        from = ["lan"]
        to = ["b"]
        ports = ["tcp/21", "tcp/30000-30009"]
    "#;
    for way in Way::ALL {
        let scene = Scene::start(way, rules);
        let [a, b] = scene.ends();
        let (control, data) = (listen(b, Family::V4, 21), listen(b, Family::V4, 30_001));
        thread::scope(|scope| {
            // RFC 959, as far as one file needs it.
            scope.spawn(|| {
                let (mut stream, _) = control.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                stream.write_all(b"220 ready\r\n").unwrap();
                assert_eq!(lines.next().unwrap().unwrap(), "PASV");
                // 30001 is 117 * 256 + 49.
                let reply = b"227 Entering Passive Mode (10,2,0,10,117,49)\r\n";
                stream.write_all(reply).unwrap();
                assert_eq!(lines.next().unwrap().unwrap(), "RETR file");
                let (mut to, _) = data.accept().unwrap();
                to.write_all(&vec![7; FILE]).unwrap();
                drop(to);
                stream.write_all(b"226 done\r\n").unwrap();
            });
            let mut stream = connect(a, &control, LIMIT).unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            says(&mut lines, "220");
            stream.write_all(b"PASV\r\n").unwrap();
            says(&mut lines, "227");
            stream.write_all(b"RETR file\r\n").unwrap();
            let mut from = connect(a, &data, LIMIT).unwrap();
            let mut file = Vec::new();
            from.read_to_end(&mut file).unwrap();
            assert_eq!(file.len(), FILE);
            says(&mut lines, "226");
        });
        // In active mode the server would connect to the client.
        let active = listen(a, Family::V4, 30_001);
        connect(b, &active, SHORT).unwrap_err();
    }
}

fn says(lines: &mut impl Iterator<Item = std::io::Result<String>>, code: &str) {
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with(code), "{line}");
}

#[test]
fn a_call_is_set_up_by_sip_and_its_media_go_both_ways() {
    let rules = r#"
        [ports]
        media = ["udp/16384-16400"]

        [[allow]]
        name = "call-out"
        from = ["lan"]
        to = ["b"]
        ports = ["udp/5060", "media"]

        [[allow]]
        name = "call-in"
        from = ["b"]
        to = ["lan"]
        ports = ["udp/5060", "media"]
    "#;
    for way in Way::ALL {
        let scene = Scene::start(way, rules);
        let [a, b] = scene.ends();
        let [at_a, at_b] = [a, b].map(|site| udp(site, Family::V4, 5060));
        let [media_a, media_b] = [a, b].map(|site| udp(site, Family::V4, 16_384));
        let [report_a, report_b] = [a, b].map(|site| udp(site, Family::V4, 16_385));
        for (caller, called) in [(&at_a, &at_b), (&at_b, &at_a)] {
            ask(caller, called);
        }
        // Whoever hears first speaks first.
        for (first, second) in [(&media_b, &media_a), (&report_a, &report_b)] {
            for _ in 0..50 {
                ask(first, second);
            }
        }
        let other = udp(a, Family::V4, 16_401);
        let seen = scene.denied_on_the_way_to(a, 3, || send(&media_b, &other, 3));
        assert_eq!(crate::scene::of(&seen, 17, Some(16_401)), 0);
    }
}

/// What a member of a domain needs of its controller, and what no other host may have of it.
#[test]
fn a_domains_member_reaches_its_controller_by_a_group_of_ports() {
    let rules = r#"
        [[allow]]
        name = "domain"
        from = ["lan"]
        to = ["b"]
        ports = ["ad-core"]
    "#;
    for way in Way::ALL {
        let scene = Scene::start(way, rules);
        let [a, b] = scene.ends();
        for port in [88, 389, 445] {
            let listener = listen(b, Family::V4, port);
            let _ends: [TcpStream; 2] = crate::talk::connected(a, &listener);
        }
        for port in [53, 88, 389] {
            ask(
                &udp(a, Family::V4, 50_000 + port),
                &udp(b, Family::V4, port),
            );
        }
        let closed = listen(b, Family::V4, 3389);
        connect(a, &closed, SHORT).unwrap_err();
    }
}
