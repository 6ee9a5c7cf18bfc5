//! A capture from its beginning to its end.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossway_sys::{clock, interface};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::choice::Choice;
use super::encoder::Encoder;
use super::ground::Ground;
use super::writer::Writer;
use crate::control::client::{self, ClientError};
use crate::control::message::{CaptureEnd, CaptureSummary, Status};
use crate::control::{Request, Response, run_dir};
use crate::datapath::capture::Capture;

/// How often the gateway is asked for what has changed: interfaces, sites, links and their endpoints.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How far a capture goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Packets in the file.
    pub packets: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// How long it runs.
    pub time: Duration,
    /// Bytes of the ring between the programs and this process, at least.
    pub buffer: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            packets: 10_000,
            bytes: 100 << 20,
            time: Duration::from_mins(1),
            buffer: datapath_abi::maps::CAPTURE_RING as u32,
        }
    }
}

/// Captures until a bound is reached, somebody ends it, or the gateway does. `file` is where it goes, without it
/// standard output. `on_begin` is called when the first packet can be captured, with the gateway's name.
///
/// # Errors
/// It could not begin, or what it has captured could not be written.
pub fn capture(
    gateway: Option<&str>,
    choice: &Choice,
    bounds: Bounds,
    file: Option<&PathBuf>,
    on_begin: impl FnOnce(&str),
) -> Result<CaptureSummary> {
    let status = ask(gateway)?;
    if !status.fast_path {
        bail!(
            "gateway {} runs without the fast path, whose programs say what becomes of a packet: see the warnings of \
             `crossway status`; `tcpdump -ni {}` shows the packets in its tunnel",
            status.gateway,
            status.tun.name
        );
    }
    if interface::index(&status.tun.name).is_err() {
        let program = std::env::current_exe().unwrap_or_else(|_| "crossway".into());
        bail!(
            "gateway {} runs in another network namespace (its tunnel device {} is not here): `nsenter --net --target {} \
             {} --gateway {} capture`",
            status.gateway,
            status.tun.name,
            status.pid,
            program.display(),
            status.gateway
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let ended = runtime.block_on(async {
        let session = Session::begin(&status, choice, bounds, file)?;
        on_begin(&status.gateway);
        session.run().await
    });
    // A question that is under way, or a reader that takes nothing, is not waited for.
    runtime.shutdown_background();
    ended
}

struct Session<'a> {
    choice: &'a Choice,
    ground: Ground,
    capture: Capture,
    encoder: Encoder,
    writer: Writer,
    begun: Instant,
    bounds: Bounds,
    signals: [Signal; 3],
    /// What was said already.
    told: Vec<String>,
}

impl<'a> Session<'a> {
    fn begin(
        status: &Status,
        choice: &'a Choice,
        bounds: Bounds,
        file: Option<&PathBuf>,
    ) -> Result<Self> {
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        let ground = Ground::of(status)?;
        let capture = Capture::load(&ground.gateway, &choice.filter(&ground)?, bounds.buffer)?;
        let writer = match file {
            Some(path) => Writer::to_file(path)?,
            None => Writer::to_stdout()?,
        };
        let mut session = Self {
            encoder: Encoder::begin(bounds, choice.snap, &ground),
            choice,
            ground,
            capture,
            writer,
            begun: clock::now(),
            bounds,
            signals: [interrupt?, terminate?, hangup?],
            told: Vec::new(),
        };
        session.follow()?;
        Ok(session)
    }

    async fn run(mut self) -> Result<CaptureSummary> {
        // What was captured until then is written, whatever has ended it.
        let ended = self.serve().await;
        let Self {
            capture,
            encoder,
            ground,
            ..
        } = &mut self;
        capture.finish(|head, bytes| encoder.add(head, bytes, ground))?;
        let lost = self.capture.counts()?.lost;
        self.encoder.finish(lost);
        let mut summary = CaptureSummary {
            packets: self.encoder.packets(),
            inner_packets: self.encoder.inner,
            outer_packets: self.encoder.outer,
            lost_packets: lost,
            file_bytes: self.encoder.bytes,
            milliseconds: clock::now().duration_since(self.begun).as_millis() as u64,
            ended: self.encoder.ended().unwrap_or_default(),
        };
        // From here on nothing of it is in the kernel.
        drop(self.capture);
        let last = self.encoder.take();
        tokio::select! {
            written = self.writer.finish(last) => match written {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    summary.ended = CaptureEnd::Reader;
                }
                written => written.context("write what was captured")?,
            },
            () = told_to_end(&mut self.signals) => {
                bail!("ended before its reader had taken all that was captured");
            }
        }
        let ended = ended?;
        if self.encoder.ended().is_none() && summary.ended != CaptureEnd::Reader {
            summary.ended = ended;
        }
        Ok(summary)
    }

    /// Takes packets until something ends it.
    async fn serve(&mut self) -> Result<CaptureEnd> {
        let deadline = self.begun + self.bounds.time;
        let mut tick = interval(ASK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Option<JoinHandle<Result<Status, ClientError>>> = None;
        loop {
            if let Some(ended) = self.encoder.ended() {
                return Ok(ended);
            }
            let waiting = self.encoder.is_waiting();
            let Self {
                capture,
                encoder,
                ground,
                writer,
                signals,
                ..
            } = self;
            tokio::select! {
                biased;
                () = told_to_end(signals) => return Ok(CaptureEnd::Signal),
                () = sleep_until(deadline.into()) => return Ok(CaptureEnd::Seconds),
                answer = answer(&mut asked) => {
                    asked = None;
                    if let Some(ended) = self.take_answer(answer)? {
                        return Ok(ended);
                    }
                }
                _ = tick.tick(), if asked.is_none() => {
                    let gateway = ground.gateway.clone();
                    asked = Some(tokio::task::spawn_blocking(move || ask(Some(&gateway))));
                }
                // While the writer has no room the packets wait in the ring.
                room = writer.room(), if waiting => {
                    if !room {
                        return Ok(CaptureEnd::Reader);
                    }
                    writer.write(encoder.take());
                }
                read = capture.next(|head, bytes| encoder.add(head, bytes, ground)), if !waiting => {
                    read.context("read what was captured")?;
                }
            }
        }
    }

    /// Follows what the gateway says; the end where it has none to say, or is another.
    fn take_answer(&mut self, answer: Result<Status, ClientError>) -> Result<Option<CaptureEnd>> {
        let status = match answer {
            Ok(status) => status,
            // It lives, and says more the next time.
            Err(ClientError::Refused(_) | ClientError::Answer(_)) => return Ok(None),
            Err(_) => return Ok(Some(CaptureEnd::Gateway)),
        };
        if !status.fast_path {
            return Ok(Some(CaptureEnd::Gateway));
        }
        if !self.capture.is_current() {
            return Ok(Some(CaptureEnd::Replaced));
        }
        self.ground = Ground::of(&status)?;
        self.follow()?;
        Ok(None)
    }

    /// Captures where and what the ground says.
    fn follow(&mut self) -> Result<()> {
        self.capture
            .set_filter(&self.choice.filter(&self.ground)?)?;
        let links = self.choice.links(&self.ground)?;
        let links: Vec<_> = links
            .into_iter()
            .map(|link| (link.id, self.ground.ends(link)))
            .collect();
        self.capture.set_links(&links)?;
        self.capture.set_wans(&self.ground.wans)?;
        let points = if self.choice.wants_inner() {
            &self.ground.points[..]
        } else {
            &[]
        };
        for (point, error) in self.capture.attach(points) {
            let text = format!("nothing is captured at {}: {error:#}", point.interface);
            if !self.told.contains(&text) {
                eprintln!("crossway: {text}");
                self.told.push(text);
            }
        }
        Ok(())
    }
}

async fn told_to_end(signals: &mut [Signal; 3]) {
    let [interrupt, terminate, hangup] = signals;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Waits for the answer that was asked for; for ever if none was.
async fn answer(
    asked: &mut Option<JoinHandle<Result<Status, ClientError>>>,
) -> Result<Status, ClientError> {
    let Some(asked) = asked else {
        return std::future::pending().await;
    };
    let failed = |error: tokio::task::JoinError| Err(ClientError::Answer(error.to_string()));
    asked.await.unwrap_or_else(failed)
}

fn ask(gateway: Option<&str>) -> Result<Status, ClientError> {
    match client::ask(&run_dir(), gateway, &Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => Err(ClientError::Answer("not a status".to_owned())),
    }
}
