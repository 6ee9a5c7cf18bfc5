//! The `crossway` program.
fn main() {}
