//! What to try while the lab stands.

use vm_tests::crossway;
use vm_tests::topology::{Family, Topology};

/// Lines to print.
pub(super) fn of(topology: &Topology) -> String {
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    let (host, gateway) = (a.host.name(), a.gateway.name());
    let far = b.host_address(Family::V4);
    let far6 = b.host_address(Family::V6);
    let binary = crossway::binary();
    let crossway = format!("sudo {} --gateway {gateway}", binary.display());
    format!(
        "Try in another terminal:
  sudo ip netns exec {host} mtr -n {far}
  sudo ip netns exec {host} traceroute -n {far6}
  sudo ip netns exec {} iperf3 -s -D; sudo ip netns exec {host} iperf3 -c {far}
  {crossway} flows
  {crossway} routes get {far}
  {crossway} drops
  sudo bpftool map dump pinned /sys/fs/bpf/crossway/{gateway}/FLOWS4
  sudo nsenter --net=/run/netns/{gateway} tcpdump -ni wan0 udp port {}
",
        b.host.name(),
        vm_tests::topology::LISTEN_PORT
    )
}
