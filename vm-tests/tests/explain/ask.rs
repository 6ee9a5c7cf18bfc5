//! Questions to a gateway, by its socket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;

use crossway::control::{Request, Response, client, run_dir};
use vm_tests::api::{ExplainRequest, Explained, WhichFragment};
use vm_tests::process;

/// A packet to ask about.
#[derive(Clone, Debug)]
pub(crate) struct Question(pub(crate) ExplainRequest);

impl Question {
    pub(crate) fn udp(source: IpAddr, destination: IpAddr) -> Self {
        Self(ExplainRequest {
            source,
            destination,
            protocol: 17,
            source_port: 40_000,
            destination_port: 9,
            from: None,
            size: None,
            dont_fragment: false,
            ttl: 64,
            segment_size: None,
            fragment: None,
            options: false,
        })
    }

    pub(crate) fn tcp(source: IpAddr, destination: IpAddr) -> Self {
        let mut question = Self::udp(source, destination);
        question.0.protocol = 6;
        question
    }

    pub(crate) fn from(mut self, place: &str) -> Self {
        self.0.from = Some(place.to_owned());
        self
    }

    pub(crate) fn ttl(mut self, ttl: u8) -> Self {
        self.0.ttl = ttl;
        self
    }

    pub(crate) fn df(mut self) -> Self {
        self.0.dont_fragment = true;
        self
    }

    pub(crate) fn segment(mut self, bytes: u16) -> Self {
        self.0.segment_size = Some(bytes);
        self
    }

    pub(crate) fn options(mut self) -> Self {
        self.0.options = true;
        self
    }

    pub(crate) fn first_fragment(mut self) -> Self {
        self.0.fragment = Some(WhichFragment::First);
        self
    }

    /// The answer of a gateway, or what it says against the question.
    pub(crate) fn ask(&self, gateway: &str) -> Result<Explained, String> {
        let request = Request::Explain(self.0.clone());
        match client::ask(&run_dir(), Some(gateway), &request) {
            Ok(Response::Explain(answer)) => Ok(*answer),
            Ok(Response::Error { message, .. }) => Err(message),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether a step says so.
pub(crate) fn says(answer: &Explained, words: &str) -> bool {
    answer.steps.iter().any(|step| step.what.contains(words))
}

/// All that is in a gateway's maps.
pub(crate) fn maps_of(gateway: &str) -> BTreeMap<String, String> {
    let folder = format!("/sys/fs/bpf/crossway/{gateway}");
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let pins = entries.filter(|entry| !entry.path().is_dir());
    pins.map(|pin| {
        let mut dump = Command::new("bpftool");
        dump.args(["--json", "map", "dump", "pinned"])
            .arg(pin.path());
        let name = pin.file_name().into_string().unwrap();
        (name, process::run(&mut dump).unwrap())
    })
    .collect()
}
