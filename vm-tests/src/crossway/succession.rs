//! One agent after another for the same gateway: by hand-over, or as a supervisor restarts one that was killed.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Crossway, START_LIMIT, STOP_LIMIT, ask};
use crate::api::Status;
use crate::process::ProcessGuard;
use crate::{sys, wait};

/// What an agent logged of the time in which nothing was carried while it took over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// From the stop of the first lane to the start of the new ones.
    pub whole: Duration,
    /// Of that, until the state was being written: waiting for the slowest lane.
    pub stopping: Duration,
    /// Writing the state and carrying it over.
    pub carrying: Duration,
    /// Making lanes of it.
    pub filling: Duration,
    /// Starting their threads.
    pub starting: Duration,
    /// Sessions that went on.
    pub sessions: u64,
    /// Links that needed a new handshake.
    pub handshakes: u64,
}

impl Crossway {
    /// Starts another agent that takes over, and waits until it answers and the one before has ended by itself;
    /// the status that that one ended with.
    pub fn take_over(&mut self) -> Result<ExitStatus> {
        let next = self.spawn(&["--take-over"])?;
        self.succeed(next)
    }

    /// Starts another agent that is to take over, and waits for nothing.
    pub fn begin_take_over(&self) -> Result<ProcessGuard> {
        self.spawn(&["--take-over"])
    }

    /// Waits until an agent from [`Self::begin_take_over`] has taken over; the status that the one before ended
    /// with.
    pub fn succeed(&mut self, mut next: ProcessGuard) -> Result<ExitStatus> {
        let name = self.plan.name.clone();
        let pid = next.pid();
        next.wait_until("take over", START_LIMIT, || answers_as(&name, pid))?;
        let mut before = self.process.replace(next).context("it was not running")?;
        before.wait(STOP_LIMIT)
    }

    /// Starts another agent with `--take-over`, which must not succeed; its exit code and what was logged
    /// meanwhile, by either.
    pub fn take_over_refused(&self) -> Result<(i32, String)> {
        self.refused_with(&["--take-over"])
    }

    /// Has the agent start its own successor by SIGUSR2, and waits until that answers; its process id. It is
    /// nobody's child here, so this gateway cannot be stopped or dropped before it has been taken over again.
    pub fn upgrade(&mut self) -> Result<u32> {
        let before = self.pid()?;
        sys::upgrade(before)?;
        let name = &self.plan.name;
        let pid = wait::until("the successor to answer", START_LIMIT, || {
            let status: Status = ask(name, &["status"]).ok()?;
            (status.pid != before).then_some(status.pid)
        })?;
        let mut process = self.process.take().context("it is not running")?;
        let ended = process.wait(STOP_LIMIT)?;
        ensure!(ended.success(), "the agent before ended with {ended}");
        Ok(pid)
    }

    /// Takes over from an agent that [`Self::upgrade`] has left running.
    pub fn take_back(&mut self) -> Result<()> {
        let mut next = self.spawn(&["--take-over"])?;
        let (name, pid) = (self.plan.name.clone(), next.pid());
        next.wait_until("take over", START_LIMIT, || answers_as(&name, pid))?;
        self.process = Some(next);
        Ok(())
    }

    /// Ends the agent by SIGKILL and, as a supervisor would, starts it again after `pause`; returns when it
    /// answers.
    pub fn kill_and_restart(&mut self, pause: Duration) -> Result<()> {
        self.kill()?;
        wait::pace(pause);
        let mut next = self.spawn(&["--take-over"])?;
        let (name, pid) = (self.plan.name.clone(), next.pid());
        next.wait_until("answer", START_LIMIT, || answers_as(&name, pid))?;
        self.process = Some(next);
        Ok(())
    }

    /// What each take-over logged, in their order.
    pub fn gaps(&self) -> Vec<Gap> {
        self.log().lines().filter_map(Gap::read).collect()
    }
}

impl Gap {
    fn read(line: &str) -> Option<Self> {
        let (_, fields) = line.split_once("took over from the agent before ")?;
        let number = |name: &str| {
            let mut fields = fields.split_whitespace();
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        let span = |name: &str| number(name).map(Duration::from_micros);
        Some(Self {
            whole: span("gap_us")?,
            stopping: span("stopping_us")?,
            carrying: span("carrying_us")?,
            filling: span("filling_us")?,
            starting: span("starting_us")?,
            sessions: number("sessions")?,
            handshakes: number("handshakes")?,
        })
    }
}

fn answers_as(gateway: &str, pid: u32) -> Option<()> {
    let status: Status = ask(gateway, &["status"]).ok()?;
    (status.pid == pid).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_gap_are_read_from_the_log() {
        let line = "2026-01-01T00:00:00Z  INFO crossway::gateway::take: took over from the agent before \
            gap_us=2100 stopping_us=300 carrying_us=900 filling_us=700 starting_us=200 state_bytes=4000 \
            sessions=2 handshakes=0";
        let gap = Gap::read(line).unwrap();
        assert_eq!(gap.whole, Duration::from_micros(2100));
        assert_eq!((gap.sessions, gap.handshakes), (2, 0));
        assert_eq!(Gap::read("INFO crossway: running"), None);
    }
}
