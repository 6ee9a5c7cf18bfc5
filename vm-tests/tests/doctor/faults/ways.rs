//! What leads elsewhere, or nowhere.

use vm_tests::keys::KeyPair;
use vm_tests::topology::Family;

use super::{FLOWS, Fault, HEALTHY};
use crate::doctor::lab::Place;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "a far gateway that has stopped",
        check: "link-down",
        about: "b/",
        plant: |lab| {
            lab.far_gateway().stop().unwrap();
        },
        // A gateway without its LAN has taken the link out of service itself.
        needs: &["lan"],
        breaks: &["link", "dialled"],
        ..HEALTHY
    },
    Fault {
        name: "a wrong public key",
        check: "keys",
        about: "unknown-peer",
        also: &["link-down"],
        prepare: |lab| lab.plans[0].peers[0].public_key = KeyPair::generate().unwrap().public,
        link_comes_up: false,
        needs: &["heard", "dialled"],
        breaks: &["link"],
        ..HEALTHY
    },
    Fault {
        name: "no route to the far gateway",
        check: "endpoint-route",
        about: "b/",
        also: &["link-down"],
        plant: |lab| {
            lab.netns().ip("route del default").unwrap();
        },
        needs: &["file", "endpoint"],
        breaks: &["link", "echo"],
        ..HEALTHY
    },
    Fault {
        name: "a host without a route back",
        check: "one-way",
        about: "10.1.0.10",
        plant: |lab| {
            // Known to the gateway as a neighbour.
            lab.near().host.run("ping -c 1 10.1.0.1").unwrap();
            lab.near().host.ip("route del default").unwrap();
            let to = lab.near().host_address(Family::V4).to_string();
            lab.keep("ask", Place::FarHost, &["ping", "-q", "-i", "0.2", &to]);
        },
        needs: FLOWS,
        breaks: &["routes of hosts"],
        ..HEALTHY
    },
    Fault {
        name: "a far host without a route back",
        check: "one-way",
        about: "10.2.0.10",
        plant: |lab| {
            lab.far().host.ip("route del default").unwrap();
            let to = lab.far().host_address(Family::V4).to_string();
            lab.keep("ask", Place::NearHost, &["ping", "-q", "-i", "0.2", &to]);
        },
        needs: FLOWS,
        breaks: &["routes of hosts"],
        ..HEALTHY
    },
    Fault {
        name: "a host that is not there",
        check: "one-way",
        about: "10.1.0.77",
        plant: |lab| {
            lab.keep(
                "ask-none",
                Place::FarHost,
                &["ping", "-q", "-i", "0.2", "10.1.0.77"],
            );
        },
        needs: FLOWS,
        ..HEALTHY
    },
    Fault {
        name: "a part of the LAN at a site",
        check: "overlap",
        about: "10.1.0.128/25",
        prepare: |lab| {
            lab.plans[0].peers[0]
                .routes
                .push("10.1.0.128/25".to_owned());
        },
        needs: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "a network of this host in a site",
        check: "overlap",
        about: "10.2.0.200/29",
        plant: |lab| {
            lab.netns().ip("link add docker0 type bridge").unwrap();
            lab.netns()
                .ip("address add 10.2.0.201/29 dev docker0")
                .unwrap();
            lab.netns().ip("link set docker0 up").unwrap();
        },
        needs: &["file"],
        ..HEALTHY
    },
    Fault {
        name: "a route of somebody else for a site",
        check: "foreign-route",
        about: "site route 10.2.0.0/24",
        plant: |lab| {
            let route = "route add 10.2.0.0/24 via 203.0.113.6 metric 1";
            lab.netns().ip(route).unwrap();
        },
        breaks: &["traffic"],
        ..HEALTHY
    },
];
