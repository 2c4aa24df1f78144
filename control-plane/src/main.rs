//! The process: settings, logs, and the way out. What it does is in the library.

use std::process::ExitCode;

use omniroute_control_plane::run;
use omniroute_core::settings::{ControlPlaneSettings, SettingsTable as _};
use omniroute_telemetry::{Options, init};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logs may not be set up yet, and an operator looks here first.
            #[expect(clippy::print_stderr, reason = "the last word of a process that does not start")]
            {
                eprintln!("omniroute-control-plane: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn start() -> anyhow::Result<()> {
    let settings = ControlPlaneSettings::load()?;
    let _telemetry = init(Options {
        process: ControlPlaneSettings::PROCESS,
        log_level: &settings.log_level,
        log_format: &settings.log_format,
        otlp_endpoint: &settings.otlp_endpoint,
        sample_ratio: settings.trace_sample_ratio,
    })?;
    run::run(settings).await
}
