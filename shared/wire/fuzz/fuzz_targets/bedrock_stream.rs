#![no_main]

use omniroute_wire::ir::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| omniroute_wire_fuzz::stream(Format::Bedrock, bytes));
