//! Prometheus and its promtool (Debian's package `prometheus`), which read a gateway's metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::netns::Netns;
use crate::process::{self, ProcessGuard};

/// It opens a database first.
const START_LIMIT: Duration = Duration::from_secs(20);
const SCRAPE_LIMIT: Duration = Duration::from_secs(10);
const ADDRESS: &str = "127.0.0.1:9090";

/// A Prometheus that scrapes once a second. Dropped, it is gone.
#[derive(Debug)]
pub struct Prometheus<'a> {
    netns: &'a Netns,
    _process: ProcessGuard,
}

/// One series of an answer, with its value now.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels; the name is `__name__`.
    pub labels: serde_json::Map<String, Value>,
    /// Its value.
    pub value: f64,
}

/// The folder of the rules and the dashboard.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/packaging/monitoring")
}

/// Has `promtool` do something, with `input` as its standard input if there is one; what it says.
///
/// # Errors
/// What it finds wrong.
pub fn promtool(words: &[&str], input: Option<&Path>) -> Result<String> {
    let mut command = std::process::Command::new("sh");
    let script = r#"input=$1; shift; exec promtool "$@" < "$input""#;
    let input = input.unwrap_or(Path::new("/dev/null"));
    command.args(["-c", script, "promtool"]).arg(input);
    process::run(command.args(words)).context("promtool: is Debian's package prometheus there?")
}

/// One scrape as Prometheus does it; the text.
pub fn scrape(netns: &Netns, address: SocketAddr) -> Result<String> {
    let mut stream = netns.enter(|| TcpStream::connect(address))??;
    stream.set_read_timeout(Some(SCRAPE_LIMIT))?;
    stream.write_all(
        b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nAccept: application/openmetrics-text\r\n\r\n",
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, text) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    ensure!(head.contains("application/openmetrics-text"), "{head}");
    Ok(text.to_owned())
}

impl<'a> Prometheus<'a> {
    /// Starts it in a namespace, its files in `directory`, with one target of the job `crossway` and the rules of
    /// the repository. `scrape` is what else the configuration says of the job.
    pub fn start(netns: &'a Netns, directory: &Path, target: &str, scrape: &str) -> Result<Self> {
        let rules = fs::canonicalize(folder().join("rules.yml"))?;
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{}]\n\
             scrape_configs:\n  - job_name: crossway\n    static_configs: [{{ targets: [\"{target}\"] }}]\n{scrape}",
            rules.display()
        );
        let file = directory.join("prometheus.yml");
        fs::write(&file, text)?;
        let mut command = netns.command("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("prometheus").display()
            ))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .arg("--log.level=warn");
        let name = format!("{}-prometheus", netns.name());
        let log = directory.join("prometheus.log");
        let mut process = ProcessGuard::spawn(&name, &mut command, &log)?;
        process.wait_until("be ready", START_LIMIT, || ask(netns, "vector(1)").ok())?;
        Ok(Self {
            netns,
            _process: process,
        })
    }

    /// Evaluates an expression now.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        ask(self.netns, expression)
    }

    /// The value of an expression that has one.
    pub fn value(&self, expression: &str) -> Result<Option<f64>> {
        let samples = self.query(expression)?;
        Ok(samples.first().map(|sample| sample.value))
    }
}

fn ask(netns: &Netns, expression: &str) -> Result<Vec<Sample>> {
    #[derive(Deserialize)]
    struct Series {
        metric: serde_json::Map<String, Value>,
        value: (f64, String),
    }
    let mut command = netns.command("promtool");
    command.args(["query", "instant", "--format=json"]);
    command.arg(format!("http://{ADDRESS}")).arg(expression);
    let answer = process::run(&mut command)?;
    let series: Vec<Series> = serde_json::from_str(&answer)
        .with_context(|| format!("{expression}: Prometheus answered {answer}"))?;
    let samples = series.into_iter().map(|series| {
        Ok(Sample {
            value: series.value.1.parse()?,
            labels: series.metric,
        })
    });
    samples.collect()
}
