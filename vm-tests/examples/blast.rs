//! What `cargo xtask blast` runs: the test of that name with as many packets as one likes, and optimised.

use anyhow::{Context, Result};

#[path = "../tests/blast/run.rs"]
mod run;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let count = number().context("usage: blast COUNT SEED")?;
    let seed = number().context("usage: blast COUNT SEED")?;
    run::blast(count, seed)
}
