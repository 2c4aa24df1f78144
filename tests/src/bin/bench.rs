//! Measures the gateway; see the module it calls.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use omniroute_tests::bench::{self, Options};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: the load generator has one core, and a child runs on the core of the thread that starts it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match bench::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a stderr that is closed.
            let _ = writeln!(io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
