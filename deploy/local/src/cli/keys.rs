//! `omniroute keys …`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Make a key; it is shown this once
    Create(CreateKey),
    /// List all keys
    List,
    /// Change what a key may do
    Edit(EditKey),
    /// Give a key a new secret, which is shown this once; the old one is refused
    Regenerate {
        /// Id or name of the key
        key: String,
        /// Let the old secret work on for so long, for example 24h; 30d at most
        #[arg(long, value_name = "SPAN")]
        grace: Option<String>,
    },
    /// Delete a key; every proxy refuses it within a second
    Revoke {
        /// Id or name of the key
        key: String,
        /// Delete all keys of that name
        #[arg(long)]
        all: bool,
    },
    /// Seal all stored secrets with the first master key of STORAGE_ENCRYPTION_KEY
    RotateMaster,
}

#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Name, for people; no other key may have it
    pub name: String,
    /// When it expires: a span from now such as 30d or 12h, a day such as 2030-01-31, or a time
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub expires: Option<String>,
    /// Model that the key may use, `prefix/model`, a trailing * matches any suffix (repeatable) [default: every model]
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// Connection that the key may use, by id or name (repeatable) [default: every connection]
    #[arg(long = "connection", value_name = "CONNECTION")]
    pub connections: Vec<String>,
    /// Scope of the key; `manage` lets it use the management API (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
}

/// Each list that is given replaces the old one.
#[derive(Debug, Args)]
pub(crate) struct EditKey {
    /// Id or name of the key
    pub key: String,
    /// A new name
    #[arg(long)]
    pub name: Option<String>,
    /// When it expires: a span from now such as 30d or 12h, a day such as 2030-01-31, a time, or `never`
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub expires: Option<String>,
    /// Model that the key may use from now on (repeatable)
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// Every model again
    #[arg(long, conflicts_with = "models")]
    pub any_model: bool,
    /// Connection that the key may use from now on, by id or name (repeatable)
    #[arg(long = "connection", value_name = "CONNECTION")]
    pub connections: Vec<String>,
    /// Every connection again
    #[arg(long, conflicts_with = "connections")]
    pub any_connection: bool,
    /// Scope that the key has from now on (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// No scope: the key may call models and nothing else
    #[arg(long, conflicts_with = "scopes")]
    pub no_scope: bool,
    /// Switch the key on
    #[arg(long)]
    pub enable: bool,
    /// Switch the key off; it is kept
    #[arg(long, conflicts_with = "enable")]
    pub disable: bool,
}
