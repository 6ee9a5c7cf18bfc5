//! Where every datagram went.
//!
//! ```text
//!  host sends ─► gateway seals ─► netem ─► kernel ─► agent ─► host receives
//!                                   ▼ lost    ▼ checksum  ▼ named
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::topology::{Family, Site};
use vm_tests::traffic::{Numbered, NumberedReport};
use vm_tests::wait;
use vm_tests::weather::{Passed, Way};

use crate::table::{Brings, Sky};

const COUNT: u32 = 600;
/// With IPv4 and UDP (28) a multiple of 16, so that WireGuard adds no padding.
const PAYLOAD: usize = 708;
/// Of the datagram in the tunnel: 736, and IPv4 20, UDP 8, WireGuard 32 around it. No other packet is so long.
const OUTER: u16 = 796;
const INTERVAL: Duration = Duration::from_millis(1);
/// For the last ones.
const LIMIT: Duration = Duration::from_secs(3);
/// Drops of data messages whose bits flipped.
const OF_FLIPPED_BITS: [&str; 6] = [
    "authentication-failed",
    "no-session",
    "not-wireguard",
    "replayed",
    "bad-mac",
    "handshake-invalid",
];

/// One direction.
pub(super) struct Leg<'a> {
    pub(super) near: (&'a Crossway, &'a Site),
    pub(super) far: (&'a Crossway, &'a Site),
    pub(super) way: Way<'a>,
    pub(super) sky: &'a Sky,
    /// Whether the agents count flows: with the fast path.
    pub(super) flows: bool,
}

/// What the far gateway has counted before.
struct Before {
    named: BTreeMap<String, u64>,
    kernel: u64,
}

/// Of one direction, so far.
#[derive(Debug)]
struct Account {
    host: NumberedReport,
    passed: Passed,
    /// Drops of the far agent by name.
    named: BTreeMap<String, u64>,
    /// What the far gateway's kernel refused.
    kernel: u64,
    /// Packets of the flow, as the near and the far agent count them; `None` without the fast path.
    flow: Option<(u64, u64)>,
}

/// Sends both ways at once, and accounts for each; what to say of it.
pub(super) fn datagrams_both_ways(legs: &[Leg<'_>; 2]) -> Result<String> {
    let mut checksums = Vec::new();
    for leg in legs {
        if leg.sky.brings == Brings::FlippedBitsUnseen {
            checksums.push(NoChecksums::in_gateway(&leg.far.1.gateway)?);
        }
    }
    let mut streams = Vec::new();
    for leg in legs {
        leg.way.only(OUTER, leg.sky.netem)?;
    }
    for leg in legs {
        let before = leg.before()?;
        streams.push((leg, before, leg.send()?));
    }
    let mut said = Vec::new();
    for (leg, before, mut stream) in streams {
        let sent = stream.all_sent()?;
        wait::try_until("netem to let go", LIMIT, || {
            let (_, held_back) = leg.way.passed()?;
            Ok((held_back == 0).then_some(()))
        })?;
        let look = || leg.look(&before, &stream, sent);
        let settled = wait::try_until("every datagram to be somewhere", LIMIT, || {
            let account = look()?;
            Ok(leg.closes(&account).is_ok().then_some(account))
        });
        let account = settled.or_else(|_| look())?;
        let from = &leg.near.1.name;
        leg.closes(&account)
            .with_context(|| format!("from {from}: {account:?}"))?;
        said.push(account.said());
    }
    drop(checksums);
    Ok(said.join(" | "))
}

impl Leg<'_> {
    fn send(&self) -> Result<Numbered> {
        let end = |site: &'_ Site| site.host_address(Family::V4);
        let (from, to) = (self.near.1, self.far.1);
        Numbered::start(
            (&from.host, end(from)),
            (&to.host, end(to)),
            COUNT,
            PAYLOAD,
            INTERVAL,
        )
    }

    fn before(&self) -> Result<Before> {
        Ok(Before {
            named: self.far.0.dropped()?.into_iter().collect(),
            kernel: refused_by_kernel(&self.far.1.gateway)?,
        })
    }

    fn look(&self, before: &Before, stream: &Numbered, sent: u64) -> Result<Account> {
        let (passed, _) = self.way.passed()?;
        let named = self.far.0.dropped()?.into_iter();
        let named = named.map(|(reason, packets)| {
            let then = before.named.get(&reason).copied().unwrap_or(0);
            (reason, packets - then)
        });
        let kernel = refused_by_kernel(&self.far.1.gateway)?;
        Ok(Account {
            host: stream.report(sent),
            passed,
            named: named.filter(|(_, packets)| *packets > 0).collect(),
            kernel: kernel - before.kernel,
            flow: self.flow(stream)?,
        })
    }

    fn flow(&self, stream: &Numbered) -> Result<Option<(u64, u64)>> {
        if !self.flows {
            return Ok(None);
        }
        let (source, target) = stream.ports();
        let of = |agent: &Crossway, local: u16, remote: u16| {
            let flows = agent.flows(&["--protocol", "udp", "--port", &local.to_string()])?;
            let mut flows = flows.into_iter();
            let found =
                flows.find(|(flow, _)| flow.local_port == local && flow.remote_port == remote);
            Ok::<_, anyhow::Error>(found.map(|(_, counters)| counters).unwrap_or_default())
        };
        let near = of(self.near.0, source, target)?.to_site_packets;
        let far = of(self.far.0, target, source)?.from_site_packets;
        Ok(Some((near, far)))
    }

    /// Whether nothing is missing and nothing is too much.
    fn closes(&self, account: &Account) -> Result<()> {
        let Account {
            host,
            passed,
            named,
            kernel,
            flow,
        } = account;
        let sky = self.sky;
        ensure!(host.sent == u64::from(COUNT), "the host did not send all");
        let left = passed.sent + passed.dropped;
        ensure!(left >= host.sent, "netem saw too few");
        let doubles = left - host.sent;
        let lost = passed.dropped as f64 / host.sent as f64;
        ensure!(sky.lost.contains(&lost), "netem dropped {lost} of all");
        ensure!(host.again == 0, "the far host got some twice");
        ensure!(host.changed == 0, "the far host got changed content");
        if let Some((near, far)) = *flow {
            ensure!(near == host.sent, "the near gateway counts {near}");
            ensure!(far == host.received, "the far gateway counts {far}");
        }
        let names: Vec<&str> = named.keys().map(String::as_str).collect();
        let dropped: u64 = named.values().sum();
        let accounted = host.received + dropped + kernel;
        ensure!(accounted <= passed.sent, "more arrived than netem sent");
        let nowhere = passed.sent - accounted;
        let expects_doubles = sky.brings == Brings::Doubles;
        ensure!((doubles > 0) == expects_doubles, "{doubles} doubles");
        match sky.brings {
            Brings::Nothing => ensure!(names.is_empty(), "dropped as {names:?}"),
            Brings::Doubles => {
                ensure!(names == ["replayed"], "dropped as {names:?}");
                ensure!(dropped == doubles, "{doubles} doubles");
            }
            Brings::FlippedBits => {
                ensure!(names.is_empty(), "dropped as {names:?}");
                ensure!(*kernel > 0, "the kernel found nothing");
            }
            Brings::FlippedBitsUnseen => {
                let known = names.iter().all(|name| OF_FLIPPED_BITS.contains(name));
                ensure!(known, "dropped as {names:?}");
                let refused = named.get("authentication-failed");
                ensure!(refused.is_some(), "nothing failed to authenticate");
            }
        }
        let flips = matches!(sky.brings, Brings::FlippedBits | Brings::FlippedBitsUnseen);
        if flips {
            // A link-layer header that is another machine's or another protocol's is counted nowhere: 14 of
            // 810 bytes.
            ensure!(nowhere <= 3 + u64::from(COUNT) / 100, "{nowhere} vanished");
        } else {
            ensure!(*kernel == 0, "the kernel refused {kernel}");
            ensure!(nowhere == 0, "{nowhere} vanished");
        }
        Ok(())
    }
}

impl Account {
    fn said(&self) -> String {
        let Self {
            host,
            passed,
            named,
            kernel,
            ..
        } = self;
        let mut text = format!("{}/{}", host.received, host.sent);
        if passed.dropped > 0 {
            let _ = write!(text, " lost {}", passed.dropped);
        }
        for (name, packets) in named {
            let _ = write!(text, " {name} {packets}");
        }
        if *kernel > 0 {
            let _ = write!(text, " kernel {kernel}");
        }
        text
    }
}

/// IPv4 packets and UDP datagrams that the kernel found wrong or for nobody (`/proc/net/snmp`, RFC 1213).
fn refused_by_kernel(gateway: &Netns) -> Result<u64> {
    let text = gateway.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut sum = 0;
    for (protocol, names) in [
        (
            "Ip:",
            &["InHdrErrors", "InAddrErrors", "InUnknownProtos"][..],
        ),
        ("Udp:", &["InErrors", "NoPorts"]),
    ] {
        let mut lines = text.lines().filter(|line| line.starts_with(protocol));
        let head = lines.next().context("no names in snmp")?.split(' ');
        let values = lines.next().context("no values in snmp")?.split(' ');
        for (name, value) in head.zip(values) {
            if names.contains(&name) {
                sum += value.parse::<u64>()?;
            }
        }
    }
    Ok(sum)
}

/// While it lives, a gateway takes UDP over IPv4 without looking at its checksum.
struct NoChecksums<'a>(&'a Netns);

impl<'a> NoChecksums<'a> {
    fn in_gateway(gateway: &'a Netns) -> Result<Self> {
        let guard = Self(gateway);
        let table = "table ip nosums { chain early { type filter hook prerouting priority -400; meta l4proto udp udp checksum set 0; }; }";
        vm_tests::process::run(gateway.command("nft").arg(table))?;
        Ok(guard)
    }
}

impl Drop for NoChecksums<'_> {
    fn drop(&mut self) {
        let _ = self.0.run("nft delete table ip nosums");
    }
}
