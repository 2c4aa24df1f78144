//! The command line: a flag for each setting of the launcher, usable anywhere, and one subcommand per task.

mod catalog;
mod keys;
mod prices;
mod providers;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches as _, Subcommand};
use omniroute_core::settings::{LauncherSettings, SettingsTable as _};

pub(crate) use self::{
    catalog::{CatalogAction, UpdateCatalog},
    keys::{CreateKey, EditKey, KeysAction},
    prices::{PricesAction, SetPrice},
    providers::{AddProvider, EditProvider, ModelsAction, NodeType, NodesAction, ProviderKey, ProvidersAction},
};

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
    /// Make, list, change and revoke API keys
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Add, list, test, change and remove provider connections
    Providers {
        #[command(subcommand)]
        action: ProvidersAction,
    },
    /// List, change and remove endpoints of your own
    Nodes {
        #[command(subcommand)]
        action: NodesAction,
    },
    /// List the models that clients can ask for
    Models {
        #[command(subcommand)]
        action: ModelsAction,
    },
    /// List and set what models cost
    Prices {
        #[command(subcommand)]
        action: PricesAction,
    },
    /// Keep the table of models up to date, in the source tree of this program
    Catalog {
        #[command(subcommand)]
        action: CatalogAction,
    },
    /// Show where the admin password is, or set a new one
    Password(Password),
    /// Check this machine's installation, and say what to do about what is wrong
    Doctor,
    /// Show the settings in force and where each comes from
    Config {
        #[command(subcommand)]
        action: Option<ConfigAction>,
        /// Only those that are set somewhere
        #[arg(long)]
        set: bool,
    },
    /// What `up` runs to become one of its children; see `up::plane`
    #[command(name = "plane", hide = true)]
    Plane { parent: i32, binary: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Make a new password, set it, keep it in the data directory, show it
    #[arg(long)]
    pub new: bool,
    /// Set the password that the first line of standard input holds; it is kept nowhere else
    #[arg(long, conflicts_with = "new")]
    pub stdin: bool,
    /// The first line of standard input is the current password (and with --stdin the second is the new one). Needed for
    /// a gateway on another machine, and wherever OMNIROUTE_TOKEN is set
    #[arg(long)]
    pub current_stdin: bool,
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

    #[test]
    fn an_api_type_is_one_of_those_that_there_are() {
        assert!(parsed("omniroute providers add openai --base-url http://x/v1 --api-type both").is_ok());
        assert!(
            parsed("omniroute providers add mine --prefix mine --base-url http://x/v1 --api-type responses").is_ok()
        );
        assert!(parsed("omniroute providers add openai --api-type default").is_err(), "nothing was set before");
        assert!(parsed("omniroute providers edit openai --api-type default").is_ok());
        assert!(parsed("omniroute nodes edit mine --api-type chat").is_ok());
        assert!(parsed("omniroute nodes edit mine --api-type realtime").is_err());
    }

    #[test]
    fn a_price_names_at_least_one_class() {
        assert!(parsed("omniroute prices set mine m").is_err());
        assert!(parsed("omniroute prices set mine m --output 2.5").is_ok());
        assert!(parsed("omniroute prices set mine m --input much").is_err());
        assert!(parsed("omniroute catalog update prices.json --dry-run").is_ok());
    }

    #[test]
    fn an_edit_of_a_key_does_not_contradict_itself() {
        assert!(parsed("omniroute keys edit ci --any-model").is_ok());
        assert!(parsed("omniroute keys edit ci --model a --model b --disable").is_ok());
        assert!(parsed("omniroute keys edit ci --model a --any-model").is_err());
        assert!(parsed("omniroute keys edit ci --enable --disable").is_err());
        assert!(parsed("omniroute keys create ci --expires -1d").is_ok(), "what is wrong with it is said later");
    }
}
