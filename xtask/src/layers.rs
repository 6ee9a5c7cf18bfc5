//! The layers of the agent: which crate may name which, and which of them do no I/O. Cargo refuses circles; this says
//! which way is down.

use anyhow::Result;

use crate::cmd;
use crate::setup::toolchain::Toolchain;

/// A target without files, sockets and clocks: what compiles for it does no I/O.
const PURE_TARGET: &str = "wasm32-unknown-unknown";
/// Layers without I/O.
const PURE: [&str; 6] = [
    "crossway-types",
    "crossway-policy",
    "crossway-api",
    "crossway-liveness",
    "crossway-config",
    "crossway-tunnel",
];

/// Compiles the pure layers for [`PURE_TARGET`].
pub(crate) fn check_purity(toolchain: &Toolchain) -> Result<()> {
    let mut command = toolchain.cargo();
    command.args(["check", "--quiet", "-Zbuild-std=std,panic_abort"]);
    command.args(["--target", PURE_TARGET, "--target-dir", "target/pure"]);
    // boringtun reads the clock.
    command.arg("--no-default-features");
    for layer in PURE {
        command.args(["-p", layer]);
    }
    // There are no random numbers either: what asks for them compiles, and would fail.
    command.env("RUSTFLAGS", "--cfg getrandom_backend=\"unsupported\"");
    cmd::run("the layers without I/O", &mut command)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;
    use vm_tests::process;

    use super::*;

    /// Every layer, and those below it that it names. Nothing else of this workspace is named by any.
    #[rustfmt::skip]
    const LAYERS: &[(&str, &[&str])] = &[
        ("datapath-abi", &[]),
        ("wireguard-aead", &[]),
        ("crossway-sys", &[]),
        ("crossway-types", &["datapath-abi"]),
        ("crossway-api", &["crossway-types", "datapath-abi"]),
        ("crossway-liveness", &["crossway-types"]),
        ("crossway-policy", &["crossway-types", "datapath-abi"]),
        ("crossway-config", &["crossway-liveness", "crossway-policy", "crossway-types", "datapath-abi"]),
        ("crossway-tunnel", &["crossway-liveness", "crossway-types", "datapath-abi", "wireguard-aead"]),
        ("crossway-lane", &["crossway-liveness", "crossway-sys", "crossway-tunnel", "crossway-types", "datapath-abi"]),
        ("crossway-host", &["crossway-sys", "crossway-types"]),
        ("crossway-datapath", &["crossway-sys", "crossway-types", "datapath-abi"]),
        ("crossway-discovery", &[
            "crossway-api", "crossway-config", "crossway-sys", "crossway-types", "datapath-abi",
        ]),
        ("crossway", &[
            "crossway-api", "crossway-config", "crossway-datapath", "crossway-discovery", "crossway-host",
            "crossway-lane", "crossway-liveness", "crossway-policy", "crossway-sys", "crossway-tunnel", "crossway-types",
            "datapath-abi",
        ]),
    ];

    /// Each package of the workspace with the workspace's packages that it names, but for its tests.
    fn named() -> BTreeMap<String, Vec<String>> {
        let words = ["metadata", "--no-deps", "--format-version", "1"];
        let text = process::run(&mut cmd::cargo(&words)).unwrap();
        let metadata: Value = serde_json::from_str(&text).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let dependencies = |package: &Value| {
            let all = package["dependencies"].as_array().unwrap();
            let product = all.iter().filter(|one| one["kind"] != "dev");
            let here = product.filter(|one| one["path"].is_string());
            here.map(|one| text(&one["name"])).collect()
        };
        packages
            .iter()
            .map(|package| (text(&package["name"]), dependencies(package)))
            .collect()
    }

    #[test]
    fn a_layer_names_only_layers_below_it() {
        let named = named();
        let mut below: Vec<&str> = Vec::new();
        for (layer, allowed) in LAYERS {
            for name in &named[*layer] {
                assert!(allowed.contains(&name.as_str()), "{layer} names {name}");
            }
            assert!(allowed.iter().all(|name| below.contains(name)), "{layer}");
            below.push(layer);
        }
    }

    #[test]
    fn every_crate_of_the_agent_is_a_layer() {
        for package in named().keys().filter(|name| name.starts_with("crossway")) {
            let is_layer = LAYERS.iter().any(|(layer, _)| layer == package);
            assert!(is_layer || package == "crossway-fuzz", "{package}");
        }
    }
}
