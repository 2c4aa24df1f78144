//! What every command needs: the settings of the launcher, and those of the planes as they would read them.

use std::path::PathBuf;

use omniroute_core::settings::{
    ControlPlaneSettings, DataPlaneSettings, LauncherSettings, SettingsTable as _, Sources,
};

use crate::{data_dir::DataDir, failure::Failure, screen::Screen};

pub(crate) struct Context {
    pub(crate) launcher: LauncherSettings,
    pub(crate) control_plane: ControlPlaneSettings,
    pub(crate) data_plane: DataPlaneSettings,
    /// As the control plane's own setting, but allowed unless it is forbidden: a model on one's own machine is what a
    /// gateway on one's own machine is often for.
    pub(crate) allow_private_upstreams: bool,
    /// The file that `--config` names; the planes are told.
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) screen: Screen,
}

// === impl Context ===

impl Context {
    pub(crate) fn load(flags: &clap::ArgMatches) -> Result<Self, Failure> {
        let sources = Sources::of_process(flags, LauncherSettings::SETTINGS)?;
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|error| Failure::file("find the absolute path of", &path, &error))
        };
        let mut launcher = LauncherSettings::from_sources(&sources)?;
        launcher.data_dir = absolute(launcher.data_dir)?;
        let config_file = flags.get_one::<String>("config").map(|path| absolute(path.into())).transpose()?;
        Ok(Self {
            control_plane: ControlPlaneSettings::from_sources(&sources)?,
            data_plane: DataPlaneSettings::from_sources(&sources)?,
            allow_private_upstreams: sources.get("allow_private_upstreams", &["ALLOW_PRIVATE_UPSTREAMS"], "true")?,
            launcher,
            config_file,
            screen: Screen::new(flags.get_flag("json")),
        })
    }

    pub(crate) fn data_dir(&self) -> DataDir {
        DataDir::at(&self.launcher.data_dir)
    }
}
