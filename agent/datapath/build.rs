//! Embeds the eBPF object: copies it to `OUT_DIR`, where `datapath::object` includes it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the object is made of, below `datapath-ebpf`: not its pages, whose changes need no new object.
const SOURCES: [&str; 4] = ["Cargo.toml", "src", "abi/Cargo.toml", "abi/src"];

const MEND: &str = "run `cargo xtask build` (it sets up the toolchain on the first run and builds the eBPF programs)";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CROSSWAY_EBPF_OBJECT");

    let workspace = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .ancestors()
        .nth(2)
        .expect("the crate lies two folders below the workspace")
        .to_owned();
    let sources = workspace.join("datapath-ebpf");
    let given = env::var_os("CROSSWAY_EBPF_OBJECT");
    let object = given.as_ref().map_or_else(
        || workspace.join("target/bpf/bpfel-unknown-none/release/datapath"),
        PathBuf::from,
    );
    // A path that does not exist makes cargo run this script again each time, so that the
    // object is found as soon as it is built.
    println!("cargo::rerun-if-changed={}", object.display());

    if !object.is_file() {
        println!(
            "cargo::error=the eBPF object is missing: expected it at {}: {MEND}",
            object.display()
        );
        return;
    }
    if given.is_none() {
        for source in SOURCES.map(|name| sources.join(name)) {
            println!("cargo::rerun-if-changed={}", source.display());
            warn_if_older(&object, &source);
        }
    }

    let copy = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("datapath.o");
    if let Err(error) = fs::copy(&object, &copy) {
        println!(
            "cargo::error=cannot copy the eBPF object {} to {}: {error}",
            object.display(),
            copy.display()
        );
    }
}

fn warn_if_older(object: &Path, sources: &Path) {
    let Ok(built) = fs::metadata(object).and_then(|object| object.modified()) else {
        return;
    };
    if let Some(newer) = newer_than(built, sources) {
        println!(
            "cargo::warning=the eBPF object is older than {}: {MEND}",
            newer.display()
        );
    }
}

/// A file at or below `place` that was changed after `time`.
fn newer_than(time: SystemTime, place: &Path) -> Option<PathBuf> {
    if let Ok(entries) = fs::read_dir(place) {
        return entries
            .flatten()
            .find_map(|entry| newer_than(time, &entry.path()));
    }
    let changed = fs::metadata(place).and_then(|file| file.modified()).ok()?;
    (changed > time).then(|| place.to_owned())
}
