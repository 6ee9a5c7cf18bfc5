//! What the steps of a long command took.

use std::time::Duration;

use anyhow::Result;
use vm_tests::wait;

/// Steps in their order, each with what it took.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<(String, Duration)>);

impl Times {
    /// Does a step.
    pub(crate) fn of<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = wait::now();
        let outcome = step();
        self.0.push((name.to_owned(), start.elapsed()));
        outcome
    }

    /// One line for all.
    pub(crate) fn print(&self) {
        eprintln!("Seconds: {}", self.line());
    }

    fn line(&self) -> String {
        let total: Duration = self.0.iter().map(|(_, took)| *took).sum();
        let steps = self.0.iter().map(|(name, took)| (name.as_str(), *took));
        let all = steps.chain([("in all", total)]);
        let words = all.map(|(name, took)| format!("{name} {:.1}", took.as_secs_f64()));
        words.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_step_counts_also_where_it_fails() {
        let mut times = Times(vec![("one".to_owned(), Duration::from_millis(1500))]);
        assert!(times.of("two", || -> Result<()> { bail!("no") }).is_err());
        assert!(
            times.line().starts_with("one 1.5, two 0.0, in all 1.5"),
            "{}",
            times.line()
        );
    }
}
