//! What would become of a packet, step by step: the programs are run on it, with the maps as they are; then what the
//! kernel stack and the lane would do is looked up. Nothing is sent, counted or remembered.

mod forwarding;
mod kernel;
mod mapping;
mod packet;
mod place;
mod policy;
mod reasons;
mod story;
mod tunnel;

use anyhow::{Context, Result};
use datapath_abi::explanation::{Decision, Explanation, KNOWN_FLOW, TARGET};
use datapath_abi::outcome::{DropReason, StackReason};

use self::packet::Packet;
use self::place::{Named, Place};
use self::story::Story;
use crate::control::message::{End, ExplainRequest, Explained, FastPath, Response};
use crate::control::{Wrong, refusal};
use crate::datapath::{Datapath, Hook, Mode, Question};
use crate::gateway::Gateway;
use crate::ids::SiteId;

impl Gateway {
    /// Answers `explain`.
    pub(super) async fn explain(&mut self, request: &ExplainRequest) -> Response {
        match self.explain_packet(request).await {
            Ok(explained) => Response::Explain(Box::new(explained)),
            Err(error) => refusal(&error),
        }
    }

    async fn explain_packet(&mut self, request: &ExplainRequest) -> Result<Explained> {
        let packet = Packet::of(request).map_err(|error| Wrong(format!("{error:#}")))?;
        let place = self.place_of(request).await?;
        let mut story = Story::of(&packet, &place);
        let tagged = match place.interface() {
            Some(interface) => self.tell_vlan(interface, &mut story).await?,
            None => false,
        };
        match place {
            Place::Lan(lan) => self.by_lan(&packet, &lan, &mut story).await?,
            Place::Tunnel => self.out_of_tunnel(&packet, &mut story).await?,
            Place::Host => self.by_host(&packet, &mut story).await?,
            Place::Other(interface) => {
                if tagged {
                    story.answer.fast_path = FastPath::Declines;
                    story.answer.reason = Some(StackReason::VlanTagged.as_str().to_owned());
                } else {
                    story.step(
                        &interface.name,
                        "neither a LAN nor the tunnel: no program of the fast path judges the packet",
                    );
                }
                self.by_kernel(&packet, Some(&interface), &mut story)
                    .await?;
            }
        }
        Ok(story.finish())
    }

    /// A frame for a VLAN interface comes by the interface below with a tag. Whether a program there leaves it to the
    /// kernel.
    async fn tell_vlan(&self, interface: &Named, story: &mut Story) -> Result<bool> {
        let Some((lan, id)) = self.lan_below(interface).await? else {
            return Ok(false);
        };
        let there = self.has_program(Hook::LanIngress, &lan);
        if there {
            let reason = StackReason::VlanTagged.as_str();
            story.step(
                &format!("{lan} lan_ingress"),
                &format!(
                    "left to the kernel ({reason}): VLAN {id}, which is for {}",
                    interface.name
                ),
            );
        }
        Ok(there)
    }

    /// By a LAN interface.
    async fn by_lan(&mut self, packet: &Packet, lan: &Named, story: &mut Story) -> Result<()> {
        self.tell_virtual_routers(packet, lan, story);
        let at = format!("{} lan_ingress", lan.name);
        let Some(explanation) = self.ask_program(Hook::LanIngress, packet, lan)? else {
            let why = self.why_no_program(Hook::LanIngress, &lan.name);
            story.step(&lan.name, &why);
            return self.by_kernel(packet, Some(lan), story).await;
        };
        match explanation.decision() {
            Decision::Drop => self.dropped_by_program(&at, packet, &explanation, story),
            Decision::ToTunnel => {
                story.answer.fast_path = FastPath::Carries;
                let flow = if explanation.has(KNOWN_FLOW) {
                    "its flow is in the table"
                } else {
                    "the first packet of a flow"
                };
                story.step(&at, &format!("redirected into the tunnel; {flow}"));
                self.enter_tunnel(packet, &explanation, story).await
            }
            Decision::Leave => {
                story.answer.fast_path = FastPath::Declines;
                story.step(
                    &at,
                    "a datagram of the tunnel itself: left to the kernel, uncounted",
                );
                self.by_kernel(packet, Some(lan), story).await
            }
            _ => {
                self.decline(&at, packet, &explanation, story)?;
                self.by_kernel(packet, Some(lan), story).await
            }
        }
    }

    /// Out of the tunnel: from the site that its source belongs to.
    async fn out_of_tunnel(&mut self, packet: &Packet, story: &mut Story) -> Result<()> {
        let tun = self.tun();
        if !self.accept_source(packet, story) {
            return Ok(());
        }
        let (judge, drops) = if self.has_program(Hook::TunIngress, &tun.name) {
            (format!("{} tun_ingress", tun.name), FastPath::Drops)
        } else {
            ("lane".to_owned(), FastPath::None)
        };
        if !self.tell_policy(&judge, packet, story)? {
            story.answer.fast_path = drops;
            return Ok(());
        }
        let Some(explanation) = self.ask_program(Hook::TunIngress, packet, &tun)? else {
            let why = self.why_no_program(Hook::TunIngress, &tun.name);
            story.step(&tun.name, &why);
            return self.by_kernel(packet, Some(&tun), story).await;
        };
        let at = format!("{} tun_ingress", tun.name);
        match explanation.decision() {
            Decision::ToNeighbour | Decision::Unresolved => {
                story.answer.fast_path = FastPath::Carries;
                self.to_lan(&at, packet, &explanation, story).await
            }
            Decision::ToTunnel => {
                story.answer.fast_path = FastPath::Carries;
                story.step(
                    &at,
                    "redirected back into the tunnel: this gateway is a hub",
                );
                let second = self.ask_program(Hook::TunEgress, packet, &tun)?;
                let second = second.context("the programs have just been detached")?;
                self.enter_tunnel(packet, &second, story).await
            }
            Decision::TurnedBack => {
                story.answer.fast_path = FastPath::Drops;
                story.answer.reason = Some(DropReason::TurnedBack.as_str().to_owned());
                story.step(
                    &at,
                    "dropped (turned-back): its route leads back to the site that it came from, a loop; the routes of that \
                     site, or of this gateway for it, hold an address that is not there",
                );
                packet.tell_sender(story, "host-unreachable");
                Ok(())
            }
            _ => {
                self.decline(&at, packet, &explanation, story)?;
                self.by_kernel(packet, Some(&tun), story).await
            }
        }
    }

    /// From this host itself: no program sees it in front of the kernel's routing.
    async fn by_host(&mut self, packet: &Packet, story: &mut Story) -> Result<()> {
        self.by_kernel(packet, None, story).await
    }

    /// A program drops the packet, which the policy alone may have it do.
    fn dropped_by_program(
        &self,
        at: &str,
        packet: &Packet,
        explanation: &Explanation,
        story: &mut Story,
    ) -> Result<()> {
        story.answer.fast_path = FastPath::Drops;
        let reason = explanation.drop_reason();
        if reason != Some(DropReason::PolicyDenied) || self.tell_policy(at, packet, story)? {
            let reason = reason.map_or("?", DropReason::as_str);
            story.answer.reason = Some(reason.to_owned());
            story.step(at, &format!("dropped ({reason})"));
        }
        Ok(())
    }

    /// A program leaves the packet to the kernel.
    fn decline(
        &self,
        at: &str,
        packet: &Packet,
        explanation: &Explanation,
        story: &mut Story,
    ) -> Result<()> {
        let reason = explanation.stack_reason().with_context(|| {
            format!(
                "{at} has decided {:?}, for which there is no word here",
                explanation.decision()
            )
        })?;
        let site = explanation
            .has(TARGET)
            .then_some(SiteId(explanation.target));
        let site = site.and_then(|site| self.desired.plan.site(site));
        let mtu = site.and_then(|site| {
            let datapath = self.forwarding.datapath.as_ref()?;
            Some(datapath.sites.get(site.id).ok()?.mtu)
        });
        let name = site.map(|site| site.config.name.as_str());
        let why = reasons::describe(reason, packet, name, mtu);
        story.answer.fast_path = FastPath::Declines;
        story.answer.reason = Some(reason.as_str().to_owned());
        story.step(
            at,
            &format!("left to the kernel ({}): {why}", reason.as_str()),
        );
        Ok(())
    }

    /// Has the program of a hook judge the packet; `None` if there is none.
    fn ask_program(
        &self,
        at: Hook,
        packet: &Packet,
        interface: &Named,
    ) -> Result<Option<Explanation>> {
        let datapath = self.forwarding.datapath.as_ref();
        let Some(datapath) = datapath.filter(|_| self.has_program(at, &interface.name)) else {
            return Ok(None);
        };
        let explanation = datapath.explain(&Question {
            at,
            interface: interface.index,
            address: interface.address,
            packet: &packet.bytes,
            gso_size: packet.segment_size,
        })?;
        Ok(Some(explanation))
    }

    fn has_program(&self, at: Hook, interface: &str) -> bool {
        let datapath = self.forwarding.datapath.as_ref();
        let attachments = datapath.map(Datapath::attachments).unwrap_or_default();
        attachments.iter().any(|attachment| {
            attachment.hook == at
                && attachment.interface == interface
                && attachment.mode != Mode::Off
        })
    }

    /// Why a hook has no program.
    fn why_no_program(&self, at: Hook, interface: &str) -> String {
        let Some(datapath) = &self.forwarding.datapath else {
            return "the fast path is off: the kernel stack forwards".to_owned();
        };
        let mut attachments = datapath.attachments().iter();
        let there = attachments
            .find(|attachment| attachment.hook == at && attachment.interface == interface);
        let why = there.map_or("it is not attached", |attachment| &attachment.reason);
        format!("no {}: {why}; the kernel stack forwards", at.program())
    }

    /// Of a virtual router that this gateway does not serve, hosts send to the other.
    fn tell_virtual_routers(&self, packet: &Packet, lan: &Named, story: &mut Story) {
        let family = if packet.is_ipv4() { "ipv4" } else { "ipv6" };
        let routers = self.lan.vrrp.describe(crossway_sys::clock::now());
        for router in routers {
            if router.interface != lan.name || router.family != family || router.state == "master" {
                continue;
            }
            let master = router
                .master_address
                .map_or("no master is known".to_owned(), |master| {
                    format!("the master is {master}")
                });
            let addresses: Vec<String> = router.addresses.iter().map(ToString::to_string).collect();
            story.step(
                &lan.name,
                &format!(
                    "virtual router {} ({}) is {} here, {master}: hosts that use its address send there; what follows is for a \
                     packet that is sent to this gateway all the same",
                    router.id,
                    addresses.join(", "),
                    router.state,
                ),
            );
        }
    }

    /// Ends with a drop of the lane's.
    fn dropped_by_lane(story: &mut Story, reason: DropReason, why: &str) {
        story.answer.end = End::Dropped;
        story.answer.reason = Some(reason.as_str().to_owned());
        story.step("lane", &format!("dropped ({}): {why}", reason.as_str()));
    }
}
