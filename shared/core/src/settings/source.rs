//! Where values come from, and which source wins.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use super::{Setting, SettingValue, TABLES};

/// Where a value came from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Environment(String),
    File(PathBuf, String),
    Default,
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{origin} (setting `{key}`): {reason}")]
    Value { key: String, origin: Origin, reason: String },
    #[error("configuration file {path}: {reason}")]
    File { path: PathBuf, reason: String },
}

/// Flags, environment and file, read once.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    file_path: PathBuf,
}

/// Adds `--config` and a flag per setting to a command.
pub(super) fn with_flags(command: clap::Command, settings: &'static [Setting]) -> clap::Command {
    let config = clap::Arg::new("config").long("config").value_name("FILE").help("Configuration file (TOML)");
    settings.iter().fold(command.arg(config), |command, setting| {
        let mut help = setting.doc.trim().to_owned();
        if !setting.default.is_empty() {
            help.push_str(&format!(" [default: {}]", setting.default));
        }
        command.arg(
            clap::Arg::new(setting.key)
                .long(setting.key.replace('_', "-"))
                .value_name(setting.kind.to_uppercase())
                .help(help)
                .allow_hyphen_values(true),
        )
    })
}

// === impl Sources ===

impl Sources {
    /// Of this process: parsed flags, the environment, and the file that `--config`, `OMNIROUTE_CONFIG` or
    /// `DATA_DIR/omniroute.toml` names (the last only where it exists).
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or has a key that no process knows.
    pub fn of_process(flags: &clap::ArgMatches, settings: &[Setting]) -> Result<Self, SettingsError> {
        let mut sources = Self { environment: std::env::vars().collect(), ..Self::default() };
        for setting in settings {
            if let Ok(Some(value)) = flags.try_get_one::<String>(setting.key) {
                sources.flags.insert(setting.key.to_owned(), value.clone());
            }
        }
        let named = match flags.try_get_one::<String>("config") {
            Ok(Some(path)) => Some(path.clone()),
            _ => sources.environment.get("OMNIROUTE_CONFIG").filter(|path| !path.is_empty()).cloned(),
        };
        match named {
            Some(path) => sources.with_file(Path::new(&path)),
            None => {
                let data_dir: PathBuf = sources.get("data_dir", &["DATA_DIR"], "~/.omniroute")?;
                let usual = data_dir.join("omniroute.toml");
                if usual.exists() { sources.with_file(&usual) } else { Ok(sources) }
            }
        }
    }

    /// Of given values, for tests and for children that a launcher configures.
    pub fn of_values<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Self { environment: environment.into_iter().map(own).collect(), ..Self::default() }
    }

    /// Adds a configuration file.
    ///
    /// # Errors
    /// As [`Self::of_process`].
    pub fn with_file(mut self, path: &Path) -> Result<Self, SettingsError> {
        let fail = |reason: String| SettingsError::File { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| fail(placed(&text, &error)))?;
        let known: BTreeSet<&str> = TABLES.iter().flat_map(|(_, settings)| *settings).map(|s| s.key).collect();
        for (key, value) in table {
            if !known.contains(key.as_str()) {
                return Err(fail(format!("no process has a setting `{key}`; docs/configuration.md lists them")));
            }
            let text =
                text_of(&value).ok_or_else(|| fail(format!("`{key}` must be text, a number, a boolean or a list")))?;
            self.file.insert(key, text);
        }
        self.file_path = path.to_owned();
        Ok(self)
    }

    /// The value of one setting from the strongest source that has it. An empty variable counts as not set.
    ///
    /// # Errors
    /// Names the source and what was expected.
    pub fn get<T: SettingValue>(&self, key: &str, env: &[&str], default: &str) -> Result<T, SettingsError> {
        let (origin, text) = self.text(key, env, default);
        T::parse(text).map_err(|reason| SettingsError::Value { key: key.to_owned(), origin, reason })
    }

    /// The text of one setting, unread, and where it comes from.
    pub fn text<'a>(&'a self, key: &str, env: &[&str], default: &'a str) -> (Origin, &'a str) {
        let from_environment = || {
            env.iter().find_map(|name| {
                let value = self.environment.get(*name).filter(|value| !value.is_empty())?;
                Some((Origin::Environment((*name).to_owned()), value.as_str()))
            })
        };
        let from_file = || Some((Origin::File(self.file_path.clone(), key.to_owned()), self.file.get(key)?.as_str()));
        self.flags
            .get(key)
            .map(|value| (Origin::Flag(key.replace('_', "-")), value.as_str()))
            .or_else(from_environment)
            .or_else(from_file)
            .unwrap_or((Origin::Default, default))
    }
}

/// What is wrong with a TOML text, and where. The text itself is not repeated: it may hold secrets.
fn placed(text: &str, error: &toml::de::Error) -> String {
    let what = error.message().trim().replace('\n', ", ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return what };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
    format!("line {line}, column {column}: {what}")
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => items.iter().map(text_of).collect::<Option<Vec<_>>>().map(|all| all.join(",")),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Environment(name) => write!(f, "variable {name}"),
            Self::File(path, key) => write!(f, "{}: {key}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
