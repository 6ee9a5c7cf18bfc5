//! What the kernel stack does with what the fast path leaves to it: routing, forwarding, the FORWARD chains, the
//! neighbour.

use std::net::IpAddr;

use anyhow::Result;
use datapath_abi::explanation::{Decision, Explanation};

use super::forwarding::{self, Fate, Output};
use super::packet::Packet;
use super::place::Named;
use super::story::Story;
use crate::control::message::End;
use crate::datapath::Hook;
use crate::gateway::Gateway;
use crate::host::decision::{Found, RouteDecision, RoutedPacket};
use crate::host::firewall::{self, Passage};
use crate::host::kernel_routes::{LOCAL_TABLE, MAIN_TABLE, RouteKind};
use crate::host::sysctl::{Key, Name};
use crate::ids::SiteId;

const AT: &str = "kernel";
/// Family of an address in a program's answer.
const AF_INET: u32 = 2;

impl Gateway {
    /// The kernel has the packet, by `input` or from this host itself.
    pub(super) async fn by_kernel(
        &mut self,
        packet: &Packet,
        input: Option<&Named>,
        story: &mut Story,
    ) -> Result<()> {
        let request = &packet.request;
        if input.is_some()
            && let Some(why) = forwarding::refuse_at_input(request)
        {
            story.step(AT, &format!("dropped: {why}"));
            return Ok(());
        }
        let decision = self
            .host
            .kernel
            .route_decision(RoutedPacket {
                source: packet.source(),
                destination: packet.destination(),
                protocol: request.protocol,
                ports: packet.ports(),
                input: input.map(|input| input.index),
            })
            .await?;
        match decision {
            RouteDecision::Refused(errno) => {
                refused(packet, input, errno, story);
                Ok(())
            }
            RouteDecision::Found(found) => self.by_route(packet, input, &found, story).await,
        }
    }

    async fn by_route(
        &mut self,
        packet: &Packet,
        input: Option<&Named>,
        found: &Found,
        story: &mut Story,
    ) -> Result<()> {
        let interfaces = self.host.kernel.interfaces().await?;
        let hop = found.way.hops.first().copied().unwrap_or_default();
        let output = interfaces
            .into_iter()
            .find(|interface| Some(interface.index) == hop.interface)
            .map(Named::from);
        self.tell_kernel_route(packet, found, output.as_ref(), story)
            .await?;
        match found.way.kind {
            RouteKind::Unicast => {}
            RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Multicast => {
                story.answer.end = End::ToHost;
                story.step(AT, "delivered to this host, where its INPUT chains see it");
                return Ok(());
            }
            kind => {
                story.step(AT, &format!("dropped: {} route", word(kind)));
                return Ok(());
            }
        }
        let Some(output) = output else {
            story.step(AT, "dropped: the interface of the route has just gone");
            return Ok(());
        };
        if let Some(input) = input
            && !is_forwarding(input, packet.is_ipv4())
        {
            story.step(AT, &not_forwarded(input, packet.is_ipv4()));
            return Ok(());
        }
        let mtu = found.way.mtu.unwrap_or(output.mtu);
        let out = Output {
            mtu,
            is_input: input.is_some_and(|input| input.index == output.index),
        };
        if !leaves(packet, input, out, story) {
            return Ok(());
        }
        story.answer.output = Some(output.name.clone());
        story.answer.mtu_bytes = Some(mtu);
        if let Some(input) = input {
            self.tell_chains(packet, input, &output, story)?;
        }
        if output.index == self.host.tun.index {
            return self.routed_into_tunnel(packet, &output, story).await;
        }
        let lans = self.desired.lans_with(self.host.kernel.virtual_macs());
        let is_lan = lans.iter().any(|lan| lan.interface == output.name);
        story.answer.end = if is_lan { End::ToLan } else { End::Elsewhere };
        let next = hop.gateway.unwrap_or(packet.destination());
        self.tell_neighbour(&output, next, story).await
    }

    /// Which route it is, of which table.
    async fn tell_kernel_route(
        &self,
        packet: &Packet,
        found: &Found,
        output: Option<&Named>,
        story: &mut Story,
    ) -> Result<()> {
        let way = &found.way;
        let mut words = vec![word(way.kind)];
        let prefix = found.prefix.unwrap_or(way.prefix);
        words.push(prefix.to_string());
        if let Some(gateway) = way.hops.first().and_then(|hop| hop.gateway) {
            words.push(format!("via {gateway}"));
        }
        if let Some(output) = output {
            words.push(format!("dev {}", output.name));
        }
        let mut text = format!("route {}, table {}", words.join(" "), table(way.table));
        if !way.is_in_default_tables() {
            let rules = self
                .host
                .kernel
                .rules_to(way.table, packet.is_ipv4())
                .await?;
            text = [vec![text], rules].concat().join("; ");
        }
        story.step(AT, &text);
        Ok(())
    }

    /// The nftables chains that see it on its way, which what the fast path carries passes by.
    fn tell_chains(
        &mut self,
        packet: &Packet,
        input: &Named,
        output: &Named,
        story: &mut Story,
    ) -> Result<()> {
        let named = |interface: &Named| firewall::Named {
            name: interface.name.clone(),
            index: interface.index,
        };
        let (from, to) = (named(input), named(output));
        let passage = Passage {
            from: Some(&from),
            to: Some(&to),
            ports: None,
        };
        let chains = self.host.chains(passage, packet.is_ipv4())?;
        for chain in &chains {
            story.answer.chains.push(chain.name.clone());
        }
        let told: Vec<String> = chains
            .into_iter()
            .map(|chain| match chain.drops {
                Some(true) => format!(
                    "{} drops what begins a connection on this way, unless a rule about its addresses accepts it",
                    chain.name
                ),
                Some(false) => format!("{} lets it pass", chain.name),
                None => format!("{}, whose rules are not read here", chain.name),
            })
            .collect();
        let text = if told.is_empty() {
            "no FORWARD chain sees it".to_owned()
        } else {
            format!("FORWARD: {}", told.join("; "))
        };
        story.step(AT, &text);
        Ok(())
    }

    /// The kernel has routed it into the TUN, where `tun_egress` gives it its lane.
    async fn routed_into_tunnel(
        &self,
        packet: &Packet,
        tun: &Named,
        story: &mut Story,
    ) -> Result<()> {
        let at = format!("{} tun_egress", tun.name);
        let explanation = self.ask_program(Hook::TunEgress, packet, tun)?;
        match explanation.map(|explanation| (explanation.decision(), explanation)) {
            Some((Decision::ToTunnel, explanation)) => {
                story.step(&at, "counted for its site, and given its lane");
                return self.enter_tunnel(packet, &explanation, story).await;
            }
            Some((Decision::Drop, explanation)) => {
                return self.dropped_by_program(&at, packet, &explanation, story);
            }
            _ => {}
        }
        let site: Option<SiteId> = self
            .planned_route(packet.destination())
            .map(|(_, site)| site);
        self.by_lane(packet, site, 0, story).await
    }

    /// A program sends the packet out of a LAN.
    pub(super) async fn to_lan(
        &self,
        at: &str,
        packet: &Packet,
        explanation: &Explanation,
        story: &mut Story,
    ) -> Result<()> {
        let interfaces = self.host.kernel.interfaces().await?;
        let output = interfaces
            .into_iter()
            .find(|interface| interface.index.0 == explanation.ifindex)
            .map(Named::from);
        let Some(output) = output else {
            story.step(at, "dropped: the LAN has just gone");
            return Ok(());
        };
        let next = next_hop(explanation).unwrap_or(packet.destination());
        story.answer.end = End::ToLan;
        story.answer.output = Some(output.name.clone());
        story.answer.mtu_bytes = Some(output.mtu);
        story.step(
            at,
            &format!(
                "redirected out of {} to {next}, by the kernel's routing; no FORWARD chain sees it",
                output.name
            ),
        );
        self.tell_neighbour(&output, next, story).await
    }

    async fn tell_neighbour(&self, output: &Named, next: IpAddr, story: &mut Story) -> Result<()> {
        story.answer.next_hop = Some(next);
        let known = self.host.kernel.neighbour(output.index, next).await?;
        let what = match &known {
            Some(neighbour) => match &neighbour.address {
                Some(address) => format!("{next} is at {address} ({})", neighbour.state),
                None => format!(
                    "{next} is {}: it does not answer, and the sender is told that it is unreachable",
                    neighbour.state
                ),
            },
            None => format!(
                "{next} is not known yet: the kernel asks for it first, and tells the sender if nobody answers"
            ),
        };
        story.answer.neighbour = known.and_then(|neighbour| neighbour.address);
        story.step(&format!("{} neighbour", output.name), &what);
        Ok(())
    }
}

/// The routing has no way for the packet.
fn refused(packet: &Packet, input: Option<&Named>, errno: i32, story: &mut Story) {
    let Some(input) = input else {
        let error = std::io::Error::from_raw_os_error(errno);
        story.step(AT, &format!("the sender's socket gets an error: {error}"));
        return;
    };
    // Of IPv4 the routing says the same of an interface whose packets are not forwarded, and nobody is told.
    if packet.is_ipv4() && errno == libc::EHOSTUNREACH && !is_forwarding(input, true) {
        story.step(AT, &not_forwarded(input, true));
        return;
    }
    end_with(forwarding::refuse(&packet.request, errno), packet, story);
}

/// Whether the kernel forwards what comes by an interface.
fn is_forwarding(input: &Named, ipv4: bool) -> bool {
    let is_on = |key: Key| matches!(key.read(), Ok(Some(value)) if value != "0");
    if ipv4 {
        return is_on(Key::ipv4(&input.name, Name::Forwarding));
    }
    is_on(Key::ipv6("all", Name::Forwarding))
        || is_on(Key::ipv6(&input.name, Name::ForceForwarding))
}

fn not_forwarded(input: &Named, ipv4: bool) -> String {
    let name = &input.name;
    if ipv4 {
        format!(
            "dropped: the kernel forwards nothing that comes by {name} (net.ipv4.conf.{name}.forwarding is 0); \
             if hosts are there, name it as a LAN"
        )
    } else {
        format!(
            "dropped: the kernel forwards nothing of IPv6 that comes by {name} (net.ipv6.conf.all.forwarding is 0); if \
             hosts are there, name it as a LAN"
        )
    }
}

/// Whether the packet leaves, in one piece or several.
fn leaves(packet: &Packet, input: Option<&Named>, output: Output, story: &mut Story) -> bool {
    let mut request = packet.request.clone();
    if input.is_none() {
        // What a host sends itself is not forwarded: its TTL is as it set it.
        request.ttl = u8::MAX;
    }
    match forwarding::forward(&request, packet.largest, output) {
        Fate::Goes => true,
        Fate::GoesInFragments => {
            story.answer.fragmented = true;
            let (largest, mtu) = (packet.largest, output.mtu);
            story.step(
                AT,
                &format!("cut into fragments: {largest} bytes, and the way out takes {mtu}"),
            );
            true
        }
        Fate::Answered(_, why) | Fate::Dropped(why) if input.is_none() => {
            story.step(AT, &format!("the sender's socket gets an error: {why}"));
            false
        }
        fate => {
            end_with(fate, packet, story);
            false
        }
    }
}

fn end_with(fate: Fate, packet: &Packet, story: &mut Story) {
    match fate {
        Fate::Answered(answer, why) => {
            story.step(AT, &format!("it ends here, {answer} is sent: {why}"));
            packet.tell_sender(story, answer);
        }
        Fate::Dropped(why) => story.step(AT, &format!("dropped: {why}")),
        Fate::Goes | Fate::GoesInFragments => {}
    }
}

fn next_hop(explanation: &Explanation) -> Option<IpAddr> {
    let bytes = explanation.next_hop;
    match explanation.family {
        0 => None,
        AF_INET => Some(IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])),
        _ => Some(IpAddr::from(bytes)),
    }
}

fn word(kind: RouteKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn table(table: u32) -> String {
    match table {
        MAIN_TABLE => "main".to_owned(),
        LOCAL_TABLE => "local".to_owned(),
        other => other.to_string(),
    }
}
