use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use omniroute_core::settings::{DataPlaneSettings, SettingsTable as _};
use omniroute_data_plane::process;

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
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if settings.worker_threads.0 > 0 {
        runtime.worker_threads(settings.worker_threads.0.into());
    }
    let runtime = runtime.enable_all().thread_name("omniroute").build()?;
    runtime.block_on(process::run(settings))?;
    // What still runs has had its time.
    runtime.shutdown_background();
    Ok(())
}
