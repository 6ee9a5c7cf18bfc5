//! The samples as a table for people and as JSON for later comparison.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::args::Args;
use crate::contender::Contender;
use crate::measure::Sample;

/// The samples of all runs, grouped.
pub(crate) struct Report<'a> {
    args: &'a Args,
    samples: &'a [Sample],
    load_average: f64,
}

/// Middle and range of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    median: f64,
    min: f64,
    max: f64,
}

impl<'a> Report<'a> {
    /// `load_average` is that of the last minute before the first run: others at work spoil the figures.
    pub(crate) fn new(args: &'a Args, samples: &'a [Sample], load_average: f64) -> Self {
        Self {
            args,
            samples,
            load_average,
        }
    }

    /// One line for each contender and number of streams.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "\n{}, kernel {}, {} CPUs for everything; {} runs of {} s, medians (lowest to highest)\n\n{:<15}{:<9}{:<27}{:<11}{}\n",
            processor(),
            kernel(),
            cpus(),
            self.args.runs,
            self.args.seconds,
            "contender",
            "streams",
            "Gbit/s",
            "of plain",
            "CPU s/GB, whole machine"
        );
        for &streams in &self.args.streams {
            for &contender in &self.args.contenders {
                let rate = self.rate(contender, streams);
                let cpu = self.cpu(contender, streams);
                let ratio = self
                    .ratio(contender, streams)
                    .map_or("-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
                let _ = writeln!(
                    text,
                    "{:<15}{streams:<9}{:<27}{ratio:<11}{}",
                    contender.name(),
                    rate.show(3),
                    cpu.show(2)
                );
            }
        }
        text
    }

    /// Everything that was measured and what it was measured on.
    pub(crate) fn json(&self) -> Value {
        let mut results = Vec::new();
        for &streams in &self.args.streams {
            for &contender in &self.args.contenders {
                results.push(json!({
                    "contender": contender.name(),
                    "streams": streams,
                    "gbit_per_second": self.rate(contender, streams).json(),
                    "cpu_seconds_per_gb": self.cpu(contender, streams).json(),
                    "ratio_to_plain": self.ratio(contender, streams),
                    "samples": self.of(contender, streams).map(|sample| json!({
                        "gbit_per_second": sample.gbit_per_second,
                        "cpu_seconds_per_gb": sample.cpu_seconds_per_gb,
                        "retransmits": sample.retransmits,
                    })).collect::<Vec<_>>(),
                }));
            }
        }
        json!({
            "machine": {
                "processor": processor(), "cpus": cpus(), "kernel": kernel(),
                "load_average_before": self.load_average,
            },
            "settings": {
                "topology": "host a - gateway a - WAN - gateway b - host b, one machine, wire-like veth (tso off gso off gro on), MTU 1500, IPv4 in IPv4",
                "traffic": "iperf3 TCP, host a to host b",
                "seconds": self.args.seconds,
                "runs": self.args.runs,
                "order": "interleaved",
            },
            "results": results,
        })
    }

    fn of(&self, contender: Contender, streams: u32) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.contender == contender && sample.streams == streams)
    }

    fn rate(&self, contender: Contender, streams: u32) -> Summary {
        Summary::of(
            self.of(contender, streams)
                .map(|sample| sample.gbit_per_second),
        )
    }

    fn cpu(&self, contender: Contender, streams: u32) -> Summary {
        Summary::of(
            self.of(contender, streams)
                .map(|sample| sample.cpu_seconds_per_gb),
        )
    }

    /// Median rate over the median rate of plain forwarding, if that was measured.
    fn ratio(&self, contender: Contender, streams: u32) -> Option<f64> {
        let plain = self.rate(Contender::Plain, streams).median;
        (plain > 0.0).then(|| self.rate(contender, streams).median / plain)
    }
}

impl Summary {
    /// Zeros for no figures.
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (figures.first(), figures.last()) else {
            return Self {
                median: 0.0,
                min: 0.0,
                max: 0.0,
            };
        };
        let middle = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            f64::midpoint(figures[middle - 1], figures[middle])
        } else {
            figures[middle]
        };
        Self { median, min, max }
    }

    fn show(self, digits: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Processes that were running or ready in the last minute, on average (proc(5)).
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.and_then(|rest| rest.split(':').nth(1))
        .map_or("unknown processor".to_owned(), |name| {
            name.trim().to_owned()
        })
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(
            summary,
            Summary {
                median: 2.5,
                min: 1.0,
                max: 4.0
            }
        );
    }

    #[test]
    fn no_figures_are_zeros() {
        assert!(Summary::of(std::iter::empty()).max.abs() < f64::EPSILON);
    }
}
