//! `omniroute`: starts the gateway on one machine, and manages any gateway through REST.
//!
//! [`cli`] reads the command line, [`context`] the settings. `omniroute up` is [`up`]: it makes the missing secrets
//! ([`secrets`], kept in [`data_dir`]), starts the two planes and watches over them. Every other command is a file of
//! [`commands`], which asks the gateway through [`client`] and shows what it says with [`screen`], in the [`flag_names`] of the
//! command line.

mod cli;
mod client;
mod commands;
mod context;
mod data_dir;
mod database_owner;
mod failure;
mod flag_names;
mod ports;
mod screen;
mod secrets;
mod token;
mod up;

use std::process::ExitCode;

use crate::{cli::Action, context::Context, failure::Failure, screen::Screen};

// One thread: a plane dies with the thread that started it (see `up::plane`), and this one lives as long as we do.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (action, flags) = cli::parse();
    match run(action, &flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Screen::error(&failure);
            failure.exit().into()
        }
    }
}

async fn run(action: Action, flags: &clap::ArgMatches) -> Result<(), Failure> {
    if let Action::Plane { parent, binary } = &action {
        return Err(up::plane::become_plane(*parent, binary));
    }
    // Fails only when another provider was installed before, and none was.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let context = Context::load(flags)?;
    if let Action::Up = action {
        return up::up(context).await;
    }
    let context = context.find_running()?;
    match action {
        Action::Status => commands::status::run(&context).await,
        Action::Keys { action } => commands::keys::run(&context, action).await,
        Action::Providers { action } => commands::providers::run(&context, action).await,
        Action::Nodes { action } => commands::nodes::run(&context, action).await,
        Action::Models { action } => commands::models::run(&context, action).await,
        Action::Prices { action } => commands::prices::run(&context, action).await,
        Action::Catalog { action } => commands::catalog::run(&context, action).await,
        Action::Password(action) => commands::password::run(&context, action).await,
        Action::Doctor => commands::doctor::run(&context).await,
        Action::Config { action, set } => commands::config::run(&context, action.as_ref(), set),
        Action::Up | Action::Plane { .. } => Ok(()),
    }
}
