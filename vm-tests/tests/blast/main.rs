//! The short form of `cargo xtask blast`. `CROSSWAY_BLAST_SEED` gives it other packets.

#[path = "run.rs"]
mod run;

const COUNT: u64 = 40_000;

#[test]
fn malformed_packets_are_counted_one_by_one_and_nothing_else_happens() {
    let seed = std::env::var("CROSSWAY_BLAST_SEED").ok();
    let seed = seed.map_or(1, |text| text.parse().expect("a number"));
    run::blast(COUNT, seed).unwrap();
}
