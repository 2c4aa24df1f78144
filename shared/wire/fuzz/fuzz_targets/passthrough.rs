#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| omniroute_wire_fuzz::passthrough(bytes));
