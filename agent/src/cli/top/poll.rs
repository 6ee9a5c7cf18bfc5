//! The thread that asks the gateway again and again.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::Options;
use super::super::failure::Failure;
use crate::control::client::{self, ClientError};
use crate::control::message::{DropsReply, FlowsReply, FlowsRequest, Status};
use crate::control::{Request, Response, run_dir};

/// From one look to the next; rates take half a second of it.
const PACE: Duration = Duration::from_secs(1);

/// What one look has shown.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) drops: DropsReply,
    pub(super) flows: FlowsReply,
}

pub(super) struct Poll {
    wanted: Arc<Mutex<FlowsRequest>>,
    answers: Receiver<Result<Box<Sample>, String>>,
}

impl Poll {
    /// Asks once, so that what keeps the gateway from answering is an error, then goes on in the background until
    /// this is dropped.
    pub(super) fn start(options: &Options) -> Result<Self, Failure> {
        let gateway = options.gateway.clone();
        let wanted = Arc::new(Mutex::new(super::State::default().request()));
        let first = look(gateway.as_deref(), &request_in(&wanted))?;
        let (answering, answers) = channel();
        drop(answering.send(Ok(Box::new(first))));
        let asked = Arc::clone(&wanted);
        std::thread::spawn(move || go_on(gateway.as_deref(), &asked, &answering));
        Ok(Self { wanted, answers })
    }

    /// Asks for other flows from now on.
    pub(super) fn want(&self, request: FlowsRequest) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = request;
    }

    /// What has come since the last time.
    pub(super) fn answers(&self) -> impl Iterator<Item = Result<Box<Sample>, String>> {
        self.answers.try_iter()
    }
}

fn request_in(wanted: &Mutex<FlowsRequest>) -> FlowsRequest {
    wanted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn go_on(
    gateway: Option<&str>,
    wanted: &Mutex<FlowsRequest>,
    answering: &Sender<Result<Box<Sample>, String>>,
) {
    loop {
        let begun = crossway_sys::clock::now();
        let sample = look(gateway, &request_in(wanted)).map(Box::new);
        if answering
            .send(sample.map_err(|error| error.to_string()))
            .is_err()
        {
            return;
        }
        std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
}

fn look(gateway: Option<&str>, flows: &FlowsRequest) -> Result<Sample, ClientError> {
    let ask = |request: &Request| client::ask(&run_dir(), gateway, request);
    let unexpected = || ClientError::Answer("another kind of answer".to_owned());
    let Response::Flows(flows) = ask(&Request::Flows(flows.clone()))? else {
        return Err(unexpected());
    };
    let Response::Drops(drops) = ask(&Request::Drops)? else {
        return Err(unexpected());
    };
    let Response::Status(status) = ask(&Request::Status)? else {
        return Err(unexpected());
    };
    Ok(Sample {
        at: crossway_sys::clock::now(),
        status: *status,
        drops,
        flows,
    })
}
