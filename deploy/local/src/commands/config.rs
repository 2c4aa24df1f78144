//! `omniroute config`.

use omniroute_core::settings;

use crate::{cli::ConfigAction, context::Context, failure::Failure, screen::Screen};

pub(crate) fn run(_: &Context, action: &ConfigAction) -> Result<(), Failure> {
    match action {
        ConfigAction::Docs => Screen::text(&settings::markdown()),
    }
    Ok(())
}
