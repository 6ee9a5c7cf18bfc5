#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crossway_fuzz::run("mapping", data));
