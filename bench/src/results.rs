//! All that was measured, in one shape for the table, the chart, the JSON file and the comparison.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::summary::Summary;

/// Of the JSON file; another number means other names or other meanings.
const FORMAT: u32 = 2;
/// The contender that the others are shown as a share of.
pub(crate) const CEILING: &str = "plain";

/// One run of the bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    format: u32,
    pub(crate) machine: Machine,
    pub(crate) settings: BTreeMap<String, String>,
    /// What was found out about the bench itself.
    #[serde(default)]
    pub(crate) checks: BTreeMap<String, String>,
    /// Version of each contender.
    pub(crate) versions: BTreeMap<String, String>,
    /// Contenders that were left out, and why.
    pub(crate) skipped: BTreeMap<String, String>,
    pub(crate) figures: Vec<Figure>,
}

/// One figure of one contender under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) load: String,
    pub(crate) contender: String,
    /// Name with its unit.
    pub(crate) name: String,
    pub(crate) better: Better,
    /// In the order of the runs.
    pub(crate) samples: Vec<f64>,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Median over that of plain forwarding.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) of_plain: Option<f64>,
    /// Median over that of each other tunnel.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(crate) ratio_to: BTreeMap<String, f64>,
}

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
    /// For information; never judged.
    Neither,
}

impl Results {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            format: FORMAT,
            machine,
            settings: BTreeMap::new(),
            checks: BTreeMap::new(),
            versions: BTreeMap::new(),
            skipped: BTreeMap::new(),
            figures: Vec::new(),
        }
    }

    /// Adds one sample.
    pub(crate) fn add(
        &mut self,
        load: &str,
        contender: &str,
        figure: &str,
        better: Better,
        sample: f64,
    ) {
        if let Some(known) = self
            .figures
            .iter_mut()
            .find(|known| known.is(load, contender, figure))
        {
            known.samples.push(sample);
            return;
        }
        self.figures.push(Figure {
            load: load.to_owned(),
            contender: contender.to_owned(),
            name: figure.to_owned(),
            better,
            samples: vec![sample],
            median: 0.0,
            min: 0.0,
            max: 0.0,
            of_plain: None,
            ratio_to: BTreeMap::new(),
        });
    }

    pub(crate) fn get(&self, load: &str, contender: &str, figure: &str) -> Option<&Figure> {
        let mut figures = self.figures.iter();
        figures.find(|known| known.is(load, contender, figure))
    }

    /// Computes medians, ranges and ratios. To be called when all samples are in.
    pub(crate) fn finish(&mut self) {
        for figure in &mut self.figures {
            let Summary { median, min, max } = Summary::of(&figure.samples);
            (figure.median, figure.min, figure.max) = (median, min, max);
        }
        let all = self.figures.clone();
        for figure in &mut self.figures {
            for other in &all {
                let comparable = other.load == figure.load && other.name == figure.name;
                if !comparable || other.contender == figure.contender || other.median <= 0.0 {
                    continue;
                }
                let ratio = figure.median / other.median;
                if other.contender == CEILING {
                    figure.of_plain = Some(ratio);
                } else {
                    figure.ratio_to.insert(other.contender.clone(), ratio);
                }
            }
        }
    }

    /// The loads, in the order in which they were measured first.
    pub(crate) fn loads(&self) -> Vec<&str> {
        let mut loads: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !loads.contains(&figure.load.as_str()) {
                loads.push(&figure.load);
            }
        }
        loads
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let results: Self = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is no result of `cargo xtask bench --json`",
                file.display()
            )
        })?;
        ensure!(
            results.format == FORMAT,
            "{} has format {}, this bench reads {FORMAT}: measure again",
            file.display(),
            results.format
        );
        Ok(results)
    }
}

impl Figure {
    fn is(&self, load: &str, contender: &str, figure: &str) -> bool {
        self.load == load && self.contender == contender && self.name == figure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_medians_under_the_same_load() {
        let mut results = Results::new(Machine::default());
        for (contender, samples) in [("plain", [4.0, 5.0, 3.0]), ("ours", [2.0, 2.0, 9.0])] {
            for sample in samples {
                results.add("tcp-1", contender, "Gbit/s", Better::Higher, sample);
            }
        }
        results.add("tcp-4", "plain", "Gbit/s", Better::Higher, 100.0);
        results.finish();
        let ours = results.get("tcp-1", "ours", "Gbit/s").unwrap();
        assert_eq!(
            (ours.median, ours.max, ours.of_plain),
            (2.0, 9.0, Some(0.5))
        );
        let plain = results.get("tcp-1", "plain", "Gbit/s").unwrap();
        assert!((plain.ratio_to["ours"] - 2.0).abs() < 1e-9);
        assert_eq!(results.loads(), ["tcp-1", "tcp-4"]);
    }

    #[test]
    fn a_file_is_read_back_as_it_was_written() {
        let mut results = Results::new(Machine::default());
        results.add("tcp-1", "plain", "Gbit/s", Better::Higher, 4.25);
        results.finish();
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
