#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crossway::fuzz::run("kernel", data));
