use crate::{frame::Packet, harness::*};
use datapath_abi::{maps, settings::Role, site::SiteState};
#[test]
fn loads() {
    let mut d = Datapath::load();
    d.set_settings(settings(5));
    d.set_interface(1, Role::Lan, 0, 1500);
    d.set_site(1, SiteState::Up, 1420);
    d.add_route(0, "10.2.0.0/16", 1);
    let p = Packet::new("10.1.0.5", "10.2.0.9").tcp(1000, 443, 2, 100);
    let r = d.tc(maps::LAN_INGRESS, &p.frame(), Context::default());
    println!("{r:?}");
    println!("{:?}", d.flows());
    println!("{:?}", d.take_events());
}
