//! XDP modes on real devices.

use crossway_datapath::{Attachment, Datapath, Mode, TcAttach, Wanted};
use crossway_types::interface::XdpChoice;

use super::support::*;

fn attach(datapath: &mut Datapath, interface: &str, choice: XdpChoice) -> anyhow::Result<()> {
    datapath.attach(Wanted {
        wan: &[wan(interface, choice)],
        ..Wanted::default()
    })
}

fn only(datapath: &Datapath) -> &Attachment {
    let [attachment] = datapath.attachments() else {
        panic!("{:?}", datapath.attachments());
    };
    attachment
}

#[test]
fn auto_stays_off_on_devices_that_lose_by_it_and_says_why() {
    enter_sandbox();
    veth("wan0", "wan-host");
    tun("tun0");
    ip("link add br0 type bridge");
    let mut datapath = load_datapath("xdp-auto", TcAttach::Auto).unwrap();
    for (interface, word) in [("wan0", "veth"), ("tun0", "TUN"), ("br0", "bridge")] {
        attach(&mut datapath, interface, XdpChoice::Auto).unwrap();
        let attachment = only(&datapath);
        assert_eq!(attachment.mode, Mode::Off);
        assert!(attachment.reason.contains(word), "{}", attachment.reason);
    }
    datapath.detach().unwrap();
}

#[test]
fn the_mode_can_change_while_it_runs_and_across_a_restart() {
    enter_sandbox();
    veth("wan0", "wan-host");
    let mut datapath = load_datapath("xdp-change", TcAttach::Auto).unwrap();
    for (choice, word) in [
        (XdpChoice::Generic, "xdpgeneric"),
        (XdpChoice::Native, "xdp "),
        (XdpChoice::Generic, "xdpgeneric"),
    ] {
        attach(&mut datapath, "wan0", choice).unwrap();
        let shown = ip("link show dev wan0");
        assert!(shown.contains(word), "{shown}");
    }
    drop(datapath);
    let mut datapath = load_datapath("xdp-change", TcAttach::Auto).unwrap();
    attach(&mut datapath, "wan0", XdpChoice::Native).unwrap();
    assert_eq!(only(&datapath).mode, Mode::Native);
    attach(&mut datapath, "wan0", XdpChoice::Off).unwrap();
    assert!(!ip("link show dev wan0").contains("xdp"));
    datapath.detach().unwrap();
}

#[test]
fn native_where_there_is_none_stays_off_names_the_mend_and_the_rest_is_attached() {
    enter_sandbox();
    ip("link add br0 type bridge");
    tun("tun0");
    let mut datapath = load_datapath("xdp-native", TcAttach::Auto).unwrap();
    datapath
        .attach(Wanted {
            wan: &[wan("br0", XdpChoice::Native)],
            tun: Some("tun0"),
            ..Wanted::default()
        })
        .unwrap();
    let [ingress, egress, guard] = datapath.attachments() else {
        panic!("{:?}", datapath.attachments());
    };
    assert!(ingress.mode != Mode::Off && egress.mode != Mode::Off);
    assert_eq!(guard.mode, Mode::Off);
    let [refusal] = datapath.refusals() else {
        panic!("{:?}", datapath.refusals());
    };
    for text in [refusal, &guard.reason] {
        assert!(
            text.contains("br0") && text.contains(r#"xdp = "generic""#),
            "{text}"
        );
    }
    // Said as long as it is so.
    attach(&mut datapath, "br0", XdpChoice::Off).unwrap();
    assert!(datapath.refusals().is_empty());
    datapath.detach().unwrap();
}
