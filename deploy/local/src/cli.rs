//! The command line: a flag for each setting of the launcher, usable anywhere, and one subcommand per task.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches as _, Subcommand, ValueEnum};
use omniroute_core::settings::{LauncherSettings, SettingsTable as _};

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  the gateway refused, a check failed, or `up` could not start
  2  the command line or a setting is wrong
  3  no gateway answers
  4  the gateway does not let us in";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Start the gateway on this machine: a control plane and a proxy, until Ctrl-C
    Up,
    /// Show the gateway, its proxies and what they do
    Status,
    /// Make, list and revoke API keys
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Add, list and test provider connections
    Providers {
        #[command(subcommand)]
        action: ProvidersAction,
    },
    /// Check this machine's installation, and say what to do about what is wrong
    Doctor,
    /// Show the settings
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// What `up` runs to become one of its children; see `up::plane`
    #[command(name = "plane", hide = true)]
    Plane { parent: i32, binary: PathBuf },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Make a key; it is shown this once
    Create(CreateKey),
    /// List all keys
    List,
    /// Delete a key; every proxy refuses it within a second
    Revoke {
        /// Id or name of the key
        key: String,
    },
    /// Seal all stored secrets with the first master key of STORAGE_ENCRYPTION_KEY
    RotateMaster,
}

#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Name, for people
    pub name: String,
    /// When it expires: a time such as 2030-01-31T00:00:00Z, or a span such as 30d
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Model that the key may use, `prefix/model`, a trailing * matches any suffix (repeatable) [default: every model]
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// Connection that the key may use (repeatable) [default: every connection]
    #[arg(long = "connection", value_name = "ID")]
    pub connections: Vec<String>,
    /// Scope of the key; `manage` lets it use the management API (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersAction {
    /// Add a connection to a provider, test it and list its models
    Add(AddProvider),
    /// List all connections
    List,
    /// Ask a provider whether a connection works
    Test {
        /// Id or name of the connection [default: every connection]
        connection: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddProvider {
    /// A provider of the catalog (`openai`, `groq`…); with --prefix, a name for your own endpoint
    pub provider: String,
    /// Base URL of your own endpoint, or one to use instead of the provider's
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Makes it an endpoint of your own, whose models are called `PREFIX/model`
    #[arg(long, requires = "base_url")]
    pub prefix: Option<String>,
    /// What your own endpoint speaks
    #[arg(long = "type", value_enum, default_value_t = NodeType::Openai, requires = "prefix")]
    pub node_type: NodeType,
    /// The provider's API key; other users of this machine can see it in the list of processes
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Read the provider's API key from the first line of standard input
    #[arg(long, conflicts_with = "api_key")]
    pub api_key_stdin: bool,
    /// Name of the connection [default: the provider's name]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeType {
    Openai,
    Anthropic,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Print every setting of every process as Markdown tables
    Docs,
}

/// Reads the command line; ends the process when it is wrong or asks for help.
pub(crate) fn parse() -> (Action, ArgMatches) {
    let matches = command().get_matches();
    match Action::from_arg_matches(&matches) {
        Ok(action) => (action, matches),
        Err(error) => error.exit(),
    }
}

fn command() -> clap::Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for programs");
    let base = LauncherSettings::command()
        .about("Starts the OmniRoute AI gateway on one machine, and manages any gateway through REST")
        .arg(json)
        .mut_args(|arg| arg.global(true).help_heading("Settings, for every command"))
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true);
    Action::augment_subcommands(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Action, ArgMatches), clap::Error> {
        let matches = command().try_get_matches_from(line.split(' '))?;
        Ok((Action::from_arg_matches(&matches)?, matches))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn a_setting_may_stand_before_and_after_the_subcommand() {
        for line in ["omniroute --port 1234 --json keys list", "omniroute keys list --port 1234 --json"] {
            let (action, matches) = parsed(line).expect("understood");
            assert!(matches!(action, Action::Keys { action: KeysAction::List }));
            assert_eq!(matches.get_one::<String>("port").map(String::as_str), Some("1234"), "{line}");
            assert!(matches.get_flag("json"), "{line}");
        }
    }

    #[test]
    fn a_prefix_without_a_base_url_is_refused() {
        assert!(parsed("omniroute providers add mine --prefix mine").is_err());
        assert!(parsed("omniroute providers add mine --prefix mine --base-url http://x/v1").is_ok());
        assert!(parsed("omniroute providers add openai --base-url http://x/v1").is_ok());
        assert!(parsed("omniroute providers add openai --api-key a --api-key-stdin").is_err());
    }
}
