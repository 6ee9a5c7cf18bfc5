//! How each disturbance is done.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::disturbance::Disturbance;
use super::field::Field;
use super::files::{GHOST, Wanted};
use crate::crossway::link_name;
use crate::kernel::Counts;
use crate::vitals::Vitals;
use crate::wait;

/// The gateway whose file changes: that of site `b`.
const FAR: usize = 2;
/// Between two packets of a burst.
const BURST_INTERVAL: Duration = Duration::from_micros(300);
const GHOST_INTERVAL: Duration = Duration::from_millis(1);
/// A link is drained for this long.
const DRAINED: Duration = Duration::from_secs(1);
/// Of one core, that an agent may use while nothing flows: BFD's packets of its links, ten a second each way.
pub(super) const IDLE_BOUND: f64 = 0.05;

/// What is to be known of a disturbance for its account.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Packets to where nobody answers.
    pub(super) ghosts: u64,
    /// Of an agent that stopped.
    pub(super) last_words: Counts,
    /// The largest share of a core that a quiet agent used.
    pub(super) idle: Option<f64>,
}

pub(super) fn disturb(field: &mut Field, what: Disturbance) -> Result<Done> {
    let mut done = Done::default();
    match what {
        Disturbance::None => {}
        Disturbance::RoutesReloaded { routes } => reload_routes(field, routes)?,
        Disturbance::GhostReloaded { packets } => {
            done.ghosts = packets.into();
            reload_ghost(field, packets)?;
        }
        Disturbance::FileRefused => refuse_file(field)?,
        Disturbance::SiteRemoved { span } => {
            let without = Wanted {
                without_c: true,
                ..Wanted::default()
            };
            reload(field, without)?;
            wait::pace(span);
            reload(field, Wanted::default())?;
        }
        Disturbance::PathCut { path, span } => {
            field.ground.net.cut_path(path)?;
            wait::pace(span);
            field.ground.net.mend_path(path)?;
        }
        Disturbance::CarrierLost {
            gateway,
            path,
            span,
        } => {
            field.ground.set_carrier(gateway, path, false)?;
            wait::pace(span);
            field.ground.set_carrier(gateway, path, true)?;
        }
        Disturbance::Stopped { gateway, pause } => {
            done.last_words = field.stop(gateway)?;
            wait::pace(pause);
            field.agents[gateway].start_again()?;
        }
        Disturbance::Killed { gateway, pause } => {
            field.agents[gateway].kill_and_restart(pause)?;
        }
        Disturbance::HandedOver { gateway } => {
            let ended = field.agents[gateway].take_over()?;
            ensure!(ended.success(), "the agent before ended with {ended}");
        }
        Disturbance::Drained { gateway } => drain(field, gateway)?,
        Disturbance::RouterMoved { span } => {
            field.ground.set_master_lan(false)?;
            wait::pace(span);
            field.ground.set_master_lan(true)?;
        }
        Disturbance::PeerLeft { span } => {
            field.stock = None;
            wait::pace(span);
            field.start_stock()?;
        }
        Disturbance::FlowsBurst { flows } => {
            let host = field.ground.hosts()[1];
            field.streams.burst(host, flows, BURST_INTERVAL)?;
        }
        Disturbance::Quiet { span } => done.idle = Some(be_quiet(field, span)?),
    }
    Ok(done)
}

fn reload(field: &Field, wanted: Wanted) -> Result<()> {
    field.write_file(FAR, wanted)?;
    field.agents[FAR].command(&["reload"]).map(drop)
}

fn reload_routes(field: &Field, routes: u16) -> Result<()> {
    let more = Wanted {
        extra_routes: routes,
        ..Wanted::default()
    };
    reload(field, more)?;
    let last = format!("10.77.{}.9", routes - 1);
    let site = || -> Result<String> {
        let answer = field.agents[FAR].route(&last)?;
        Ok(answer.site.unwrap_or_default())
    };
    ensure!(site()? == "c", "{last} does not lead to site c");
    reload(field, Wanted::default())?;
    ensure!(site()?.is_empty(), "{last} still leads somewhere");
    Ok(())
}

/// A site is added whose gateway never answers; packets to it wait, then there is no site.
fn reload_ghost(field: &Field, packets: u16) -> Result<()> {
    let ghost = Wanted {
        ghost: true,
        ..Wanted::default()
    };
    reload(field, ghost)?;
    let host = field.ground.hosts()[1];
    host.enter(|| -> Result<()> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        for _ in 0..packets {
            socket.send_to(b"to nobody", (GHOST, 9))?;
            std::thread::sleep(GHOST_INTERVAL);
        }
        Ok(())
    })??;
    // They are with the lane before it hears of the end of their site.
    wait::pace(GHOST_INTERVAL * 100);
    reload(field, Wanted::default())
}

fn refuse_file(field: &Field) -> Result<()> {
    let agent = &field.agents[FAR];
    let good = std::fs::read_to_string(agent.config())?;
    for wrong in [
        good.replace("10.1.0.0/24", "10.1.0.1/24"),
        good.replace("[gateway]", "[gateway"),
        String::new(),
    ] {
        agent.write_config_text(&wrong)?;
        let (code, said) = agent.failing_command(&["reload"])?;
        ensure!(code == 2, "a wrong file gave exit code {code}: {said}");
    }
    agent.write_config_text(&good)?;
    let said = agent.command(&["reload"])?;
    ensure!(said.contains("Nothing changed"), "{said}");
    Ok(())
}

/// The link that carries a gateway's flows to its first site.
fn drain(field: &Field, gateway: usize) -> Result<()> {
    let agent = &field.agents[gateway];
    let links = agent.links()?;
    let carrier = links.iter().find(|link| link.carries_flows);
    let link = link_name(carrier.context("no link carries flows")?);
    agent.command(&["drain", &link])?;
    wait::pace(DRAINED);
    agent.command(&["undrain", &link]).map(drop)
}

/// The largest share of a core that an agent uses while nothing flows.
fn be_quiet(field: &Field, span: Duration) -> Result<f64> {
    field.pause()?;
    // What had flowed is done with.
    wait::pace(DRAINED);
    let pids = field.agents.iter().map(crate::crossway::Crossway::pid);
    let pids: Vec<u32> = pids.collect::<Result<_>>()?;
    let used = |pids: &[u32]| -> Result<Vec<f64>> {
        let busy = |pid: &u32| Ok(Vitals::of(*pid)?.busy.as_secs_f64());
        pids.iter().map(busy).collect()
    };
    let (begun, before) = (wait::now(), used(&pids)?);
    wait::pace(span);
    let (after, span) = (used(&pids)?, begun.elapsed().as_secs_f64());
    field.resume()?;
    let shares = before
        .iter()
        .zip(&after)
        .map(|(before, after)| (after - before) / span);
    Ok(shares.fold(0.0, f64::max))
}
