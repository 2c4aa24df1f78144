use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use omniroute_core::settings::{DataPlaneSettings, SettingsTable as _};
use omniroute_data_plane::{process, server::worker_count};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a stderr that is closed.
            let _ = writeln!(io::stderr(), "{}: {error}", DataPlaneSettings::PROCESS);
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let settings = DataPlaneSettings::load()?;
    // For what is not a connection's: those have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_count(&settings).get())
        .enable_all()
        .thread_name("omniroute")
        .build()?;
    runtime.block_on(process::run(settings))?;
    // What still runs has had its time.
    runtime.shutdown_background();
    Ok(())
}
