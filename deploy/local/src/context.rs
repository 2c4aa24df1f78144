//! What every command needs: the settings of the launcher, and those of the planes as they would read them.

use std::path::{Path, PathBuf};

use omniroute_core::settings::{
    ControlPlaneSettings, DataPlaneSettings, LauncherSettings, Origin, SettingsTable as _, Sources,
};

use crate::{
    data_dir::{DataDir, Running},
    failure::{Exit, Failure},
    screen::{Screen, quoted},
};

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
    pub(crate) sources: Sources,
    /// The gateway that runs on the data directory now. Its addresses stand in the settings above, whatever the
    /// defaults are.
    pub(crate) running: Option<Running>,
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
            sources,
            running: None,
        })
    }

    /// For every command but `up`: a gateway that runs on the data directory is found where it listens.
    ///
    /// # Errors
    /// When a flag names another port than it has.
    pub(crate) fn find_running(mut self) -> Result<Self, Failure> {
        if self.is_remote() {
            return Ok(self);
        }
        let Some(running) = self.data_dir().running() else { return Ok(self) };
        let ports = [
            ("port", &mut self.launcher.port, running.proxy),
            ("control_plane_port", &mut self.launcher.control_plane_port, running.control_plane),
            ("grpc_port", &mut self.launcher.grpc_port, running.grpc),
        ];
        for (key, setting, address) in ports {
            let is_asked = matches!(self.sources.text(key, &[], "").0, Origin::Flag(_));
            if is_asked && *setting != address.port() && !self.launcher.token.is_set() {
                let flag = key.replace('_', "-");
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "the gateway of {} listens on port {}, not on {setting}: leave --{flag} out, or name the other \
                         gateway's directory with --data-dir, or its address and a key with --url and OMNIROUTE_TOKEN",
                        self.launcher.data_dir.display(),
                        address.port(),
                    ),
                ));
            }
            if !is_asked {
                *setting = address.port();
            }
        }
        self.data_plane.host = running.proxy.ip();
        self.control_plane.control_plane_host = running.control_plane.ip();
        self.control_plane.grpc_host = running.grpc.ip();
        self.running = Some(running);
        Ok(self)
    }

    pub(crate) fn data_dir(&self) -> DataDir {
        DataDir::at(&self.launcher.data_dir)
    }

    /// Whether the settings name a gateway by its address.
    pub(crate) fn is_remote(&self) -> bool {
        !self.launcher.url.is_empty()
    }

    /// Whether a setting of the launcher has another source than its default.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        let setting = LauncherSettings::SETTINGS.iter().find(|setting| setting.key == key);
        setting.is_some_and(|setting| self.sources.text(key, setting.env, "").0 != Origin::Default)
    }

    /// A command to type, with the flags that make it find this gateway.
    pub(crate) fn command(&self, rest: &str) -> String {
        // What is started is started here, whatever gateway the other commands are for.
        let options = if rest == "up" { self.local_options() } else { self.options() };
        format!("{} {rest}{options}", program())
    }

    /// The flags that a command needs to find this gateway: none where it is the usual one.
    pub(crate) fn options(&self) -> String {
        if self.is_remote() {
            return format!(" --url {}", quoted(&self.launcher.url));
        }
        self.local_options()
    }

    fn local_options(&self) -> String {
        let usual = std::env::var_os("HOME").map(|home| Path::new(&home).join(".omniroute"));
        let mut options = String::new();
        if usual.as_ref() != Some(&self.launcher.data_dir) {
            options.push_str(&format!(" --data-dir {}", quoted(&self.launcher.data_dir.display().to_string())));
        }
        // The directory of a gateway that runs tells its ports.
        if self.running.is_none() {
            let ports = [
                ("port", self.launcher.port),
                ("control_plane_port", self.launcher.control_plane_port),
                ("grpc_port", self.launcher.grpc_port),
            ];
            for (key, port) in ports {
                if matches!(self.sources.text(key, &[], "").0, Origin::Flag(_)) {
                    options.push_str(&format!(" --{} {port}", key.replace('_', "-")));
                }
            }
        }
        options
    }
}

/// What to type to run this program: its name where a shell finds it, else where it is.
fn program() -> String {
    const NAME: &str = "omniroute";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_found = std::env::split_paths(&path).any(|dir| dir.join(NAME).is_file());
    match std::env::current_exe() {
        Ok(own) if !is_found => quoted(&own.display().to_string()),
        _ => NAME.to_owned(),
    }
}
